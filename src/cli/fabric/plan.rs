//! The difference between files and the fabric, as a transaction.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use similar::TextDiff;

use crate::fabric::Key;

/// One object to create or change.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    key: Key,
    /// Its present spec and tag, if it is there.
    before: Option<(Value, String)>,
    after: Value,
}

/// The changes, in an order in which they can be made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan(Vec<Step>);

impl Plan {
    /// Compares the specs that are wanted with the objects of the API.
    pub fn new(wanted: &BTreeMap<Key, Value>, there: &BTreeMap<Key, Value>) -> Self {
        let step = |(key, spec): (&Key, &Value)| {
            let before = there.get(key).map(|object| {
                let tag = object.get("etag").and_then(Value::as_str).unwrap_or_default();
                (object.get("spec").cloned().unwrap_or_default(), tag.to_owned())
            });
            let is_so = before.as_ref().is_some_and(|(before, _)| before == spec);
            (!is_so).then(|| Step { key: key.clone(), before, after: spec.clone() })
        };
        Self(wanted.iter().filter_map(step).collect())
    }

    /// Whether nothing has to change.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the transaction. It expects that no object changed since the plan was made.
    pub fn transaction(&self) -> Value {
        let change = |step: &Step| {
            let expect = step.before.as_ref().map_or("absent", |(_, tag)| tag.as_str());
            json!({ "do": "put", "key": step.key, "spec": step.after, "expect": expect })
        };
        json!({ "changes": self.0.iter().map(change).collect::<Vec<_>>() })
    }

    /// Writes the plan for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for step in &self.0 {
            let after = yaml(&step.after);
            match &step.before {
                None => {
                    text.push_str(&format!("+ {}\n", step.key));
                    after.lines().for_each(|line| text.push_str(&format!("    {line}\n")));
                }
                Some((before, _)) => {
                    text.push_str(&format!("~ {}\n", step.key));
                    let before = yaml(before);
                    let diff = TextDiff::from_lines(&before, &after);
                    for change in diff.iter_all_changes() {
                        text.push_str(&format!("  {} {change}", change.tag()));
                    }
                }
            }
        }
        let new = self.0.iter().filter(|step| step.before.is_none()).count();
        text.push_str(&format!("{new} to make, {} to change\n", self.0.len() - new));
        text
    }
}

/// Writes a value as YAML.
pub fn yaml(value: &Value) -> String {
    // Whatever came as JSON can be said in YAML.
    serde_norway::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_so_already_is_not_planned() {
        let wanted = BTreeMap::from([
            (key("segment/a/one"), json!({"mtu":1})),
            (key("segment/a/two"), json!({"mtu":1})),
            (key("node/edge1"), json!({})),
        ]);
        let object = |mtu: u32| json!({"spec":{"mtu":mtu},"etag":"t","status":{"vni":7}});
        let mut there =
            BTreeMap::from([(key("segment/a/one"), object(1)), (key("segment/a/two"), object(2))]);
        let plan = Plan::new(&wanted, &there);
        assert_eq!(
            plan.transaction(),
            json!({"changes":[
                {"do":"put","key":"node/edge1","spec":{},"expect":"absent"},
                {"do":"put","key":"segment/a/two","spec":{"mtu":1},"expect":"t"},
            ]})
        );
        assert_eq!(
            plan.text(),
            "+ node/edge1\n    {}\n~ segment/a/two\n  - mtu: 2\n  + mtu: 1\n1 to make, 1 to \
             change\n"
        );
        there.insert(key("segment/a/two"), object(1));
        there.insert(key("node/edge1"), json!({"spec":{}}));
        assert!(Plan::new(&wanted, &there).is_empty());
    }
}
