use std::collections::BTreeSet;

use serde_json::json;

use super::*;

const YAML: &str = "
kind: segment
name: alder/lan
spec: { service: lan, mtu: 9000 }
---
- kind: node
  name: edge1
  spec: {}
---
";
const TOML: &str = r#"
[[object]]
kind = "segment"
name = "alder/lan"
spec = { service = "lan", mtu = 9000 }
[[object]]
kind = "node"
name = "edge1"
[object.spec]
"#;

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

/// A spec of each kind that has every key.
fn whole() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        (
            "operator",
            "alder",
            json!({
                "vnis": [[100, 199]],
                "quota": {
                    "segments": 1, "attachments": 2, "macs": 3, "profiles": 4, "prefixes": 5,
                    "listed_macs": 6, "ethertypes": 7, "bindings": 8, "tombstones": 9,
                    "bandwidth": "1 Gbit/s",
                    "node": {
                        "segments": 1, "attachments": 2, "macs": 3, "prefixes": 5,
                        "listed_macs": 6, "ethertypes": 7, "bindings": 8,
                    },
                },
                "ceiling": {
                    "mtu": 9000, "dscp": [46], "moves": 60,
                    "storm": { "broadcast": 1, "multicast": 2, "unknown": 3 },
                },
            }),
        ),
        (
            "node",
            "edge1",
            json!({
                "vtep": ["10.99.0.1", "fd99::1"],
                "limits": { "attachments": 1, "fdb": 2, "remotes": 3, "segments": 4 },
            }),
        ),
        (
            "port",
            "edge1/p0",
            json!({
                "role": "handover", "hook": "tc", "peer": true,
                "grants": { "alder": { "vids": [[100, 199]] } },
                "storm": { "broadcast": 1, "multicast": 2, "unknown": 3 },
            }),
        ),
        ("port", "edge1/p1", json!({ "role": "handover", "grants": { "alder": "whole" } })),
        ("server", "s1", json!({ "ports": ["edge1/p0"] })),
        (
            "lease",
            "alder/l1",
            json!({
                "server": "s1", "quarantine": 60,
                "from": "2026-07-01T00:00:00Z", "until": "2026-08-01T00:00:00Z",
            }),
        ),
        (
            "profile",
            "alder/gold",
            json!({
                "cir": "10 Mbit/s", "cbs": "64 KiB", "eir": "20 Mbit/s", "ebs": "64 KiB",
            }),
        ),
        (
            "segment",
            "alder/lan",
            json!({
                "service": "lan", "vni": 100, "mtu": 1500, "ageing": 300, "mac_limit": 10,
                "dscp": 46, "suppress": true,
                "moves": { "limit": 5, "window": 180, "freeze": 180 },
            }),
        ),
        (
            "attachment",
            "alder/a1",
            json!({
                "segment": "lan", "port": "edge1/p0", "encap": "dot1q 7", "role": "leaf",
                "ingress": "gold", "egress": "gold",
                "storm": { "broadcast": 1, "multicast": 2, "unknown": 3 },
                "guards": {
                    "mac_limit": 64, "over_limit": "drop", "macs": ["02:00:00:00:00:01"],
                    "sticky": false, "trusted": ["dhcp"], "control": "drop",
                    "prefixes": ["192.0.2.0/24"], "ethertypes": ["ipv4"],
                },
                "bindings": ["192.0.2.1 02:00:00:00:00:01"],
            }),
        ),
    ]
}

/// Where all values of a value are, itself first.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| places(value, &format!("{at}/{key}"), all));
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(n, value)| places(value, &format!("{at}/{n}"), all));
        }
        _ => {}
    }
}

/// Words that somebody would have to know Rust, or our libraries, to understand.
const OF_RUST: [&str; 27] = [
    "struct",
    "enum",
    "variant",
    "tuple",
    "newtype",
    "unit value",
    "option",
    "Some(",
    "None",
    "u8",
    "u16",
    "u32",
    "u64",
    "i64",
    "f64",
    "usize",
    "integer `",
    "string \"",
    "sequence",
    "invalid type",
    "invalid value",
    "a map",
    "expected",
    "field",
    "serde",
    "std::",
    "deserial",
];

/// Whether a message says in plain words what is wrong at `key`, and in brackets what would be
/// right.
fn is_plain(message: &str, key: Option<&str>) -> bool {
    !OF_RUST.iter().any(|word| message.contains(word))
        && message.ends_with(')')
        && key.is_none_or(|key| message.contains(key))
}

fn refused(item: &Value) -> Option<String> {
    let yaml = parse(&item.to_string(), false).err();
    if item.is_array() {
        // YAML's own: a document is an object, or a list of them.
        return yaml;
    }
    if let Ok(toml) = toml::to_string(&json!({ "object": [item] })) {
        assert_eq!(parse(&toml, true).err(), yaml, "{toml}");
    }
    yaml
}

#[test]
fn every_key_of_every_kind_is_known_to_the_test() {
    for (kind, name, spec) in whole() {
        let item = json!({ "kind": kind, "name": name, "spec": spec });
        let normal = parse(&item.to_string(), false).unwrap_or_else(|wrong| panic!("{wrong}"));
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        places(&spec, "", &mut ours);
        places(&normal[0].1, "", &mut theirs);
        if name != "edge1/p1" {
            assert_eq!(ours.len(), theirs.len(), "{ours:?} {theirs:?}");
        }
    }
}

#[test]
fn no_mistake_in_any_key_of_any_kind_is_told_in_words_of_rust() {
    let values = [
        json!(null),
        json!(true),
        json!(7),
        json!(-1),
        json!(1.5),
        json!(1e30),
        json!(70_000),
        json!(u64::MAX),
        json!("x"),
        json!(""),
        json!([]),
        json!([7]),
        json!(["x"]),
        json!([[1]]),
        json!({}),
        json!({ "x": 1 }),
        json!({ "x": 1, "y": 2 }),
        json!({ "vids": null }),
        json!({ "whole": 1 }),
        json!("vids"),
        json!("2026"),
        json!("a/b/c"),
    ];
    let (mut told, mut all, mut unclear) = (0, 0, BTreeSet::new());
    let mut hear = |at: &str, wrong: Value, key: Option<&str>| {
        all += 1;
        let message = refused(&wrong);
        told += u32::from(message.is_some());
        if let Some(message) = message.filter(|message| !is_plain(message, key)) {
            unclear.insert(format!("{at}: {message}"));
        }
    };
    for (kind, name, spec) in whole() {
        let item = json!({ "kind": kind, "name": name, "spec": spec });
        let mut places_of_item = Vec::new();
        places(&item, "", &mut places_of_item);
        for at in &places_of_item {
            let key = at.rsplit('/').find(|part| part.parse::<u32>().is_err() && !part.is_empty());
            for value in &values {
                let mut wrong = item.clone();
                *wrong.pointer_mut(at).unwrap() = value.clone();
                hear(at, wrong, key);
            }
            let mut wrong = item.clone();
            if let Some(map) = wrong.pointer_mut(at).and_then(Value::as_object_mut) {
                map.insert("xyzzy".to_owned(), json!(1));
                hear(at, wrong, Some("xyzzy"));
            }
            let (parent, key) = at.rsplit_once('/').unwrap_or_default();
            let mut wrong = item.clone();
            if let Some(map) = wrong.pointer_mut(parent).and_then(Value::as_object_mut) {
                map.remove(key);
                hear(at, wrong, Some(key));
            }
        }
    }
    let unclear: Vec<String> = unclear.into_iter().collect();
    assert!(unclear.is_empty(), "{} unclear messages:\n{}", unclear.len(), unclear.join("\n"));
    assert!(told * 2 > all, "only {told} of {all} were mistakes");
}

#[test]
fn a_mistake_in_a_file_says_what_may_have_been_meant() {
    for (text, said) in [
        (
            "kind: segmnt\nname: a/lan\nspec: {}",
            "segmnt/a/lan: kind: there is no kind \"segmnt\" (did you mean \"segment\"?)",
        ),
        (
            "kind: segment\nname: lan\nspec: {}",
            "segment/lan: name: \"lan\" is no name of a segment (write OPERATOR/NAME)",
        ),
        (
            "kind: segment\nname: a/lan\nspec: { service: lann }",
            "segment/a/lan: spec.service: \"lann\" is not a service (did you mean \"lan\"?)",
        ),
        (
            "kind: segment\nname: a/lan\nspecs: {}",
            "object 1: unknown key \"specs\" (did you mean \"spec\"?)",
        ),
        (
            "kind: segment\nname: a/lan\nspec: { service: lan, 7: x }",
            "spec: this has a key that is not text (write it in quotes)",
        ),
        (
            "kind: segment\nname: a/lan\nspec: { service: !lan x }",
            "spec.service: this has the tag !lan (leave it out; text with a ! is written in \
             quotes)",
        ),
    ] {
        assert_eq!(parse(text, false).unwrap_err(), said);
    }
}

#[test]
fn a_date_of_toml_is_a_time() {
    let text = "[[object]]\nkind = \"lease\"\nname = \"a/l\"\nspec = { server = \"s\", from = \
        2026-07-01T00:00:00Z }";
    assert_eq!(parse(text, true).unwrap()[0].1["from"], "2026-07-01T00:00:00Z");
}

#[test]
fn a_port_limits_only_the_storms_that_are_named() {
    let storm = |kind: &str, name: &str, spec: Value| {
        let item = json!({ "kind": kind, "name": name, "spec": spec });
        parse(&item.to_string(), false).unwrap()[0].1["storm"].clone()
    };
    let none = json!({ "broadcast": null, "multicast": null, "unknown": null });
    assert_eq!(storm("port", "e/p0", json!({ "role": "access" })), none);
    for said in [json!({ "broadcast": 5 }), json!({ "broadcast": 5, "unknown": null })] {
        let port = json!({ "role": "access", "storm": said });
        let only = json!({ "broadcast": 5, "multicast": null, "unknown": null });
        assert_eq!(storm("port", "e/p0", port), only);
    }
    // What an attachment does not name has the default.
    let attachment = json!({
        "segment": "lan", "port": "e/p0", "encap": "untagged", "storm": { "broadcast": 5 },
    });
    let filled = json!({ "broadcast": 5, "multicast": 10_000, "unknown": 10_000 });
    assert_eq!(storm("attachment", "a/a1", attachment), filled);
}
