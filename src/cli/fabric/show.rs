//! Objects as tables and descriptions for people.

use serde_json::Value;

use super::plan::yaml;
use crate::{
    cli::tables::{Sheet, text},
    fabric::Kind,
};

/// Returns the columns of a kind's table: a title, and a JSON pointer into the object.
const fn columns(kind: Kind) -> (&'static str, &'static [(&'static str, &'static str)]) {
    match kind {
        Kind::Operator => (
            "Operators",
            &[
                ("name", "/name"),
                ("vnis", "/spec/vnis"),
                ("segments", "/spec/quota/segments"),
                ("attachments", "/spec/quota/attachments"),
                ("macs", "/spec/quota/macs"),
                ("profiles", "/spec/quota/profiles"),
                ("prefixes", "/spec/quota/prefixes"),
                ("bandwidth", "/spec/quota/bandwidth"),
                ("mtu", "/spec/ceiling/mtu"),
            ],
        ),
        Kind::Node => (
            "Nodes",
            &[
                ("name", "/name"),
                ("vtep", "/spec/vtep"),
                ("applied", "/status/applied"),
                ("verified", "/status/conditions/Verified/is"),
            ],
        ),
        Kind::Port => (
            "Ports",
            &[
                ("name", "/name"),
                ("role", "/spec/role"),
                ("grants", "/spec/grants"),
                ("peer", "/spec/peer"),
                ("down", "/status/conditions/Degraded/is"),
            ],
        ),
        Kind::Server => ("Servers", &[("name", "/name"), ("ports", "/spec/ports")]),
        Kind::Lease => (
            "Leases",
            &[
                ("name", "/name"),
                ("server", "/spec/server"),
                ("state", "/status/state"),
                ("since", "/status/since"),
                ("until", "/spec/until"),
            ],
        ),
        Kind::Profile => (
            "Profiles",
            &[
                ("name", "/name"),
                ("cir", "/spec/cir"),
                ("cbs", "/spec/cbs"),
                ("eir", "/spec/eir"),
                ("ebs", "/spec/ebs"),
            ],
        ),
        Kind::Segment => (
            "Segments",
            &[
                ("name", "/name"),
                ("service", "/spec/service"),
                ("vni", "/status/vni"),
                ("mtu", "/spec/mtu"),
                ("programmed", "/status/conditions/Programmed/is"),
            ],
        ),
        Kind::Attachment => (
            "Attachments",
            &[
                ("name", "/name"),
                ("segment", "/spec/segment"),
                ("port", "/spec/port"),
                ("encap", "/status/encap"),
                ("role", "/spec/role"),
                ("programmed", "/status/conditions/Programmed/is"),
            ],
        ),
        Kind::Tombstone => (
            "Tombstones",
            &[
                ("name", "/name"),
                ("operator", "/status/operator"),
                ("segment", "/status/segment"),
                ("freed", "/status/freed"),
            ],
        ),
        Kind::Trial => (
            "Trials",
            &[
                ("of", "/name"),
                ("deadline", "/status/deadline"),
                ("rolls back", "/status/rollback"),
                ("refused", "/status/conditions/Degraded/why"),
            ],
        ),
    }
}

/// Writes a table, one object a line.
pub fn table(kind: Kind, objects: &[Value]) -> String {
    let (title, columns) = columns(kind);
    let titles: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
    let mut sheet = Sheet::new(title, &titles);
    for object in objects {
        sheet.row(columns.iter().map(|(_, pointer)| text(cell(object.pointer(pointer)))).collect());
    }
    sheet.text()
}

/// Writes a value on one line.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::Bool(is)) => if *is { "yes" } else { "no" }.to_owned(),
        Some(Value::String(text)) => text.clone(),
        // A range.
        Some(Value::Array(pair)) if pair.len() == 2 && pair.iter().all(Value::is_number) => {
            format!("{}-{}", cell(pair.first()), cell(pair.last()))
        }
        Some(Value::Array(all)) => {
            let all: Vec<String> = all.iter().map(|value| cell(Some(value))).collect();
            if all.is_empty() { "-".to_owned() } else { all.join(" ") }
        }
        Some(Value::Object(map)) => {
            let keys: Vec<&str> = map.keys().map(String::as_str).collect();
            if keys.is_empty() { "-".to_owned() } else { keys.join(" ") }
        }
        Some(other) => other.to_string(),
    }
}

/// Writes everything about an object.
pub fn describe(object: &Value) -> String {
    let part = |pointer: &str| object.pointer(pointer).cloned().unwrap_or_default();
    let mut out = format!("{} {}\n", cell(object.get("kind")), cell(object.get("name")));
    let mut section = |title: &str, value: &Value| {
        if value.as_object().is_some_and(|map| !map.is_empty()) {
            out.push_str(&format!("\n{title}:\n"));
            yaml(value).lines().for_each(|line| out.push_str(&format!("  {line}\n")));
        }
    };
    section("Spec", &part("/spec"));
    let mut status = part("/status");
    let conditions =
        status.as_object_mut().and_then(|map| map.remove("conditions")).unwrap_or_default();
    section("Status", &status);
    if let Some(conditions) = conditions.as_object().filter(|all| !all.is_empty()) {
        let mut sheet = Sheet::new("\nConditions", &["condition", "is", "since", "why"]);
        for (name, condition) in conditions {
            let row = ["is", "since", "why"].map(|field| text(cell(condition.get(field))));
            sheet.row([vec![text(name)], row.into()].concat());
        }
        out.push_str(&sheet.text());
    }
    out
}

/// Writes which of these attachments are not programmed and why; nothing if all are.
pub fn not_programmed(attachments: &[Value]) -> String {
    let mut sheet = Sheet::new("\nAttachments that are not programmed", &["name", "why"]);
    let mut is_empty = true;
    for attachment in attachments {
        let programmed = |field: &str| {
            attachment.pointer("/status/conditions/Programmed").and_then(|it| it.get(field))
        };
        if programmed("is").and_then(Value::as_bool) == Some(false) {
            is_empty = false;
            sheet.row([attachment.get("name"), programmed("why")].map(|it| text(cell(it))).into());
        }
    }
    if is_empty { String::new() } else { sheet.text() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_has_what_matters_of_each_kind() {
        let spec = json!({
            "vnis": [[100, 199], [300, 300]],
            "quota": { "segments": 3, "bandwidth": null },
        });
        let operator = json!({ "name": "alder", "spec": spec });
        let text = table(Kind::Operator, &[operator]);
        let row: Vec<&str> = text.lines().last().unwrap_or_default().split_whitespace().collect();
        assert_eq!(row, ["alder", "100-199", "300-300", "3", "-", "-", "-", "-", "-", "-"]);
        assert_eq!(table(Kind::Node, &[]), "Nodes: none\n");
    }

    #[test]
    fn of_what_is_attached_it_says_what_is_left_out_and_why() {
        let attachment = |name: &str, is: bool| {
            let programmed = json!({ "is": is, "why": "node/edge1 does not carry it out" });
            json!({ "name": name, "status": { "conditions": { "Programmed": programmed } } })
        };
        let all = [attachment("alder/a1", true), attachment("alder/a2", false)];
        assert_eq!(not_programmed(&all[..1]), "");
        let text = not_programmed(&all);
        assert!(text.contains("alder/a2") && text.contains("does not carry it out"), "{text}");
        assert!(!text.contains("alder/a1"), "{text}");
    }

    #[test]
    fn a_description_says_all() {
        let accepted = json!({ "is": true, "since": "2026", "why": "it keeps every rule" });
        let object = json!({
            "kind": "segment", "name": "a/lan", "spec": { "mtu": 1500 },
            "status": { "vni": 7, "conditions": { "Accepted": accepted } },
        });
        let counters = json!({
            "in_frames": 7, "dropped": { "too-big": 4 }, "macs": { "learned": 3 },
            "in_colours": { "red": { "frames": 5 } },
        });
        let attached = json!({
            "kind": "attachment", "name": "a/a1",
            "status": { "encap": "untagged", "counters": counters },
        });
        let counted = describe(&attached);
        for part in
            ["counters:", "in_frames: 7", "too-big: 4", "learned: 3", "in_colours:", "frames: 5"]
        {
            assert!(counted.contains(part), "{counted}");
        }
        let text = describe(&object);
        for part in
            ["segment a/lan", "mtu: 1500", "vni: 7", "Accepted", "yes", "it keeps every rule"]
        {
            assert!(text.contains(part), "{text}");
        }
    }
}
