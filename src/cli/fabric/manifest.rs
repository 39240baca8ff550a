//! Files of objects that are wanted, in TOML or YAML.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    fabric::{Key, Spec},
    model::InvalidValue,
};

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", .path.display())]
pub struct WrongFile {
    path: PathBuf,
    what: String,
}

/// An object as it stands in a file. What else an answer of the API has may be left in it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    kind: String,
    name: String,
    spec: Value,
    #[serde(rename = "etag")]
    _etag: Option<Value>,
    #[serde(rename = "revision")]
    _revision: Option<Value>,
    #[serde(rename = "status")]
    _status: Option<Value>,
}

/// A TOML file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Toml {
    #[serde(default)]
    object: Vec<Item>,
}

/// The objects of files and directories, in the order in which they can be made. Each spec has all
/// its defaults.
///
/// # Errors
/// A file can't be read, or something in it is wrong.
pub fn read(paths: &[PathBuf]) -> Result<BTreeMap<Key, Value>, WrongFile> {
    let mut all = BTreeMap::new();
    for path in paths {
        for file in files(path)? {
            let wrong = |what: String| WrongFile { path: file.clone(), what };
            let text = std::fs::read_to_string(&file)
                .map_err(|error| wrong(format!("cannot be read: {error}")))?;
            let is_toml = file.extension().is_some_and(|extension| extension == "toml");
            for (key, spec) in parse(&text, is_toml).map_err(wrong)? {
                if all.contains_key(&key) {
                    return Err(wrong(format!("{key} is there twice")));
                }
                all.insert(key, spec);
            }
        }
    }
    Ok(all)
}

/// A file, or those of a directory.
fn files(path: &Path) -> Result<Vec<PathBuf>, WrongFile> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let wrong = |what: String| WrongFile { path: path.to_owned(), what };
    let entries = std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let endings = ["toml", "yaml", "yml", "json"];
    let is_ours = |path: &PathBuf| {
        path.extension().is_some_and(|extension| endings.iter().any(|ending| extension == *ending))
    };
    let mut files: Vec<PathBuf> =
        entries.iter().map(std::fs::DirEntry::path).filter(is_ours).collect();
    files.sort_unstable();
    if files.is_empty() {
        return Err(wrong(format!(
            "there is no file in it that ends with .{}",
            endings.join(", .")
        )));
    }
    Ok(files)
}

/// The objects of a text.
///
/// # Errors
/// What is wrong, in a sentence.
pub fn parse(text: &str, is_toml: bool) -> Result<Vec<(Key, Value)>, String> {
    let items = if is_toml {
        toml::from_str::<Toml>(text).map_err(|error| error.to_string())?.object
    } else {
        let mut items = Vec::new();
        for document in serde_norway::Deserializer::from_str(text) {
            let value = Value::deserialize(document).map_err(|error| error.to_string())?;
            match value {
                // An empty document, as behind the last `---`.
                Value::Null => {}
                Value::Array(all) => items.extend(all),
                one => items.push(one),
            }
        }
        let item = |(index, value)| {
            serde_path_to_error::deserialize(value)
                .map_err(|error| format!("object {}: {error}", index + 1))
        };
        items.into_iter().enumerate().map(item).collect::<Result<Vec<Item>, _>>()?
    };
    items.into_iter().map(object).collect()
}

fn object(item: Item) -> Result<(Key, Value), String> {
    let name = format!("{}/{}", item.kind, item.name);
    let key: Key = name
        .parse()
        .map_err(|invalid: InvalidValue| format!("{name}: {invalid} ({})", invalid.help()))?;
    let spec = normal(&key, item.spec).map_err(|what| format!("{key}: {what}"))?;
    Ok((key, spec))
}

/// A spec with all its defaults, as a controller would give it.
pub fn normal(key: &Key, spec: Value) -> Result<Value, String> {
    let tagged = json!({ "kind": key.kind(), "spec": spec });
    let spec: Spec =
        serde_path_to_error::deserialize(tagged).map_err(|error| error.inner().to_string())?;
    spec.check().map_err(|invalid| format!("{invalid} ({})", invalid.help()))?;
    let mut value = serde_json::to_value(&spec).map_err(|error| error.to_string())?;
    Ok(value.get_mut("spec").map(Value::take).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "kind: segment\nname: alder/lan\nspec: { service: lan, mtu: 9000 }\n---\n- kind: node\n  name: edge1\n  spec: {}\n---\n";
    const TOML: &str = "[[object]]\nkind = \"segment\"\nname = \"alder/lan\"\nspec = { service = \"lan\", mtu = 9000 }\n[[object]]\nkind = \"node\"\nname = \"edge1\"\n[object.spec]\n";

    #[test]
    fn both_languages_say_the_same() {
        let yaml = parse(YAML, false).unwrap();
        assert_eq!(yaml, parse(TOML, true).unwrap());
        let (key, spec) = &yaml[0];
        assert_eq!(
            (key.to_string().as_str(), &spec["mtu"], &spec["ageing"]),
            ("segment/alder/lan", &json!(9000), &json!(300))
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, what) in [
            ("kind: segment\nname: lan\nspec: {}", "segment/lan"),
            ("kind: segment\nname: a/lan\nspec: { service: ring }", "one of line, lan, tree"),
            ("kind: segment\nname: a/lan\nspec: { service: lan, mtu: 1 }", "mtu"),
            ("kind: segment\nname: a/lan", "spec"),
            ("kind: segment\nname: a/lan\nspecs: {}\n", "specs"),
            ("7", "object 1"),
            (": :", ""),
        ] {
            let error = parse(text, false).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
        assert!(parse("[[objects]]", true).unwrap_err().contains("objects"));
    }

    #[test]
    fn a_directory_is_all_of_its_files_and_nothing_is_there_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = [dir.path().to_owned()];
        assert!(read(&path).unwrap_err().to_string().contains("no file"));
        std::fs::write(dir.path().join("b.toml"), TOML).unwrap();
        std::fs::write(dir.path().join("a.yaml"), "kind: server\nname: s1\nspec: { ports: [] }")
            .unwrap();
        std::fs::write(dir.path().join("README"), "x").unwrap();
        let keys: Vec<String> = read(&path).unwrap().keys().map(ToString::to_string).collect();
        assert_eq!(keys, ["node/edge1", "server/s1", "segment/alder/lan"]);
        std::fs::write(dir.path().join("c.yml"), YAML).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("twice"));
    }
}
