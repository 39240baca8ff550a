//! Manifests: files of wanted objects, in TOML or YAML.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;
use serde_norway::Value as Yaml;
use toml::de::{DeTable, DeValue};

use crate::{
    fabric::{Key, Kind, Spec},
    model::{self, InvalidValue, Mistake, did_you_mean},
};

/// A mistake in a file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", .path.display())]
pub struct WrongFile {
    path: PathBuf,
    what: String,
}

/// An object in a file. It may be an answer of the API: the fields that only answers have are
/// ignored.
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
    object: Vec<Value>,
}

/// Reads the objects of files and directories, in the order in which they can be made. Defaults are
/// filled in.
///
/// # Errors
/// Fails if a file can't be read, or if something in it is wrong.
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

/// Returns a file itself, or the manifests in a directory.
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

/// Reads the objects of a text.
///
/// # Errors
/// Returns what is wrong, in a sentence.
pub fn parse(text: &str, is_toml: bool) -> Result<Vec<(Key, Value)>, String> {
    let items = if is_toml { toml_items(text)? } else { yaml_items(text)? };
    let item = |(index, value)| {
        model::decode(value).map_err(|mistake| format!("object {}: {mistake}", index + 1))
    };
    let items = items.into_iter().enumerate().map(item).collect::<Result<Vec<Item>, _>>()?;
    items.into_iter().map(object).collect()
}

fn toml_items(text: &str) -> Result<Vec<Value>, String> {
    let root = DeTable::parse(text).map_err(|error| error.to_string())?;
    let toml = model::decode::<Toml>(of_toml(DeValue::Table(root.into_inner())));
    Ok(toml.map_err(|mistake| mistake.to_string())?.object)
}

/// Turns a TOML value into a JSON one. A date becomes text. A number that is too large becomes a
/// float, so that it is refused with its place.
fn of_toml(value: DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => text.into_owned().into(),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => match (u64::try_from(number), i64::try_from(number)) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) => number.into(),
                _ => number.to_string().parse::<f64>().unwrap_or(f64::INFINITY).into(),
            },
            Err(_) => f64::INFINITY.into(),
        },
        DeValue::Float(number) => number.as_str().parse::<f64>().unwrap_or(f64::NAN).into(),
        DeValue::Boolean(is) => is.into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(all) => all.into_iter().map(|value| of_toml(value.into_inner())).collect(),
        DeValue::Table(all) => all
            .into_iter()
            .map(|(key, value)| (key.into_inner().into_owned(), of_toml(value.into_inner())))
            .collect(),
    }
}

fn yaml_items(text: &str) -> Result<Vec<Value>, String> {
    let mut items = Vec::new();
    for document in serde_norway::Deserializer::from_str(text) {
        let value = Yaml::deserialize(document).map_err(|error| error.to_string())?;
        match of_yaml(value).map_err(|mistake| mistake.to_string())? {
            // An empty document, as behind the last `---`.
            Value::Null => {}
            Value::Array(all) => items.extend(all),
            one => items.push(one),
        }
    }
    Ok(items)
}

/// Turns a YAML value into a JSON one. JSON has no tags, and only text as keys.
fn of_yaml(value: Yaml) -> Result<Value, Mistake> {
    Ok(match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(is) => is.into(),
        Yaml::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), ..) => number.into(),
            (_, Some(number), _) => number.into(),
            (.., number) => number.into(),
        },
        Yaml::String(text) => text.into(),
        Yaml::Sequence(all) => {
            let element = |(index, value)| of_yaml(value).map_err(|mistake| mistake.at(index));
            all.into_iter().enumerate().map(element).collect::<Result<_, _>>()?
        }
        Yaml::Mapping(all) => {
            let entry = |(key, value)| match key {
                Yaml::String(key) => match of_yaml(value) {
                    Ok(value) => Ok((key, value)),
                    Err(mistake) => Err(mistake.within(key)),
                },
                _ => Err(Mistake::new("this has a key that is not text", "write it in quotes")),
            };
            all.into_iter().map(entry).collect::<Result<_, _>>()?
        }
        Yaml::Tagged(tagged) => {
            let what = format_args!("this has the tag {}", tagged.tag);
            return Err(Mistake::new(what, "leave it out; text with a ! is written in quotes"));
        }
    })
}

fn object(item: Item) -> Result<(Key, Value), String> {
    let Item { kind, name, spec, .. } = item;
    let key = key(&kind, &name)?;
    let spec = normal(&key, spec).map_err(|what| format!("{key}: {what}"))?;
    Ok((key, spec))
}

/// Makes the key of an object from its `kind` and `name`, and names the one that is wrong.
fn key(kind: &str, name: &str) -> Result<Key, String> {
    let asked = Kind::ALL.into_iter().filter(|kind| form_of_name(*kind).is_some());
    let Some(form) = asked.clone().find(|one| one.as_str() == kind).and_then(form_of_name) else {
        let known: Vec<&str> = asked.map(Kind::as_str).collect();
        let help = did_you_mean(kind, known.iter().copied())
            .unwrap_or_else(|| format!("it is one of {}", known.join(", ")));
        return Err(format!("{kind}/{name}: kind: there is no kind {kind:?} ({help})"));
    };
    let text = format!("{kind}/{name}");
    if name.split('/').count() != form.split('/').count() {
        return Err(format!("{text}: name: {name:?} is no name of a {kind} (write {form})"));
    }
    text.parse()
        .map_err(|invalid: InvalidValue| format!("{text}: name: {invalid} ({})", invalid.help()))
}

/// Returns the form of a kind's names; `None` for kinds that only the controller makes.
const fn form_of_name(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Operator | Kind::Node | Kind::Server => "NAME",
        Kind::Port => "NODE/INTERFACE",
        Kind::Lease | Kind::Profile | Kind::Segment | Kind::Attachment => "OPERATOR/NAME",
        Kind::Tombstone | Kind::Trial => return None,
    })
}

/// Fills in the defaults of a spec, as a controller would give it.
///
/// # Errors
/// Returns what is wrong with it, in a sentence.
pub fn normal(key: &Key, spec: Value) -> Result<Value, String> {
    let spec = Spec::decode(key.kind(), spec)
        .ok_or_else(|| format!("a {} is made by the controller alone", key.kind()))?
        .map_err(|mistake| mistake.within("spec").to_string())?;
    spec.check().map_err(|invalid| format!("spec.{invalid} ({})", invalid.help()))?;
    let mut value = serde_json::to_value(&spec).map_err(|error| error.to_string())?;
    Ok(value.get_mut("spec").map(Value::take).unwrap_or_default())
}

#[cfg(test)]
mod tests;
