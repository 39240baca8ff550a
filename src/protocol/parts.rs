//! A node's file in parts, so that a change of one attachment is as short as that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::pb;
use crate::model::{InterfaceName, Name, NodeConfig, write};

/// Tells two files apart.
pub type Digest = [u8; 32];

/// The sections of a file, in the order in which people look for them.
const SECTIONS: [&str; 5] = ["node", "port/", "profile/", "segment/", "attachment/"];

/// A node's file: the text of each of its tables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parts(BTreeMap<String, String>);

impl Parts {
    /// Of a configuration.
    pub fn of(config: &NodeConfig) -> Self {
        Self(write::parts(config).collect())
    }

    /// Has these tables too, or instead.
    pub fn extend(&mut self, config: &NodeConfig) {
        self.0.extend(write::parts(config));
    }

    /// Has no port of this name, nor its attachments.
    pub fn remove_port(&mut self, name: &InterfaceName) {
        self.0.remove(&write::port_key(name));
        let prefix = write::attachments_at(name);
        let keys = self.0.range(prefix.clone()..).map(|(key, _)| key);
        let there: Vec<String> = keys.take_while(|key| key.starts_with(&prefix)).cloned().collect();
        there.iter().for_each(|key| drop(self.0.remove(key)));
    }

    /// Has no segment of this name.
    pub fn remove_segment(&mut self, name: &Name) {
        self.0.remove(&write::segment_key(name));
    }

    /// Has no profile of this name.
    pub fn remove_profile(&mut self, name: &Name) {
        self.0.remove(&write::profile_key(name));
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A part's text.
    pub fn get(&self, key: &str) -> Option<&String> {
        self.0.get(key)
    }

    /// The whole file.
    pub fn text(&self) -> String {
        self.sections().into_iter().map(|(_, text)| text).collect()
    }

    /// The parts with their keys, in the order of the file.
    pub fn sections(&self) -> Vec<(String, String)> {
        let rank = |key: &str| {
            let section = SECTIONS.iter().position(|section| key.starts_with(section));
            section.unwrap_or(SECTIONS.len())
        };
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by_key(|(key, _)| rank(key));
        all.into_iter().map(|(key, text)| (key.clone(), text.clone())).collect()
    }

    /// As `proto/agent.proto` says.
    pub fn digest(&self) -> Digest {
        let mut digest = Sha256::new();
        for text in self.0.iter().flat_map(|(key, text)| [key, text]) {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text);
        }
        digest.finalize().into()
    }

    /// What makes these of others.
    pub fn changes_from(&self, base: &Self) -> Vec<pb::Part> {
        let gone = base.0.keys().filter(|key| !self.0.contains_key(*key));
        let gone = gone.map(|key| pb::Part { key: key.clone(), text: None });
        let set = self.0.iter().filter(|(key, text)| base.0.get(*key) != Some(*text));
        gone.chain(set.map(|(key, text)| pb::Part { key: key.clone(), text: Some(text.clone()) }))
            .collect()
    }

    /// With changes.
    pub fn with(&self, changes: Vec<pb::Part>) -> Self {
        let mut parts = self.clone();
        for pb::Part { key, text } in changes {
            match text {
                Some(text) => parts.0.insert(key, text),
                None => parts.0.remove(&key),
            };
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{model, model::testing::node_config};

    proptest! {
        #[test]
        fn changes_make_of_any_file_any_other(one in node_config(), other in node_config()) {
            let (one, other) = (Parts::of(&one), Parts::of(&other));
            let changed = one.with(other.changes_from(&one));
            prop_assert_eq!(&changed, &other);
            prop_assert_eq!(changed.digest(), other.digest());
            prop_assert_eq!(one == other, one.digest() == other.digest());
            prop_assert!(one.changes_from(&one).is_empty());
            prop_assert_eq!(Parts::default().with(one.changes_from(&Parts::default())), one);
        }

        /// But for the order of its lists, which means nothing.
        #[test]
        fn the_text_of_the_parts_is_the_file(config in node_config()) {
            let (mut read, _) = model::parse("node.toml", &Parts::of(&config).text()).unwrap();
            let mut config = config;
            for config in [&mut read, &mut config] {
                config.ports.sort();
                config.profiles.sort();
                config.segments.sort();
                config.attachments.sort();
            }
            prop_assert_eq!(read, config);
        }
    }

    #[test]
    fn one_attachment_more_is_one_part() {
        let file = |vid: &str| {
            let text = format!(
                "[node]\nname = \"edge1\"\n[[port]]\nname = \"p0\"\nrole = \"access\"\n\
                 [[segment]]\nname = \"a.lan\"\noperator = \"a\"\nvni = 7\nservice = \"lan\"\n{vid}"
            );
            Parts::of(&model::parse("node.toml", &text).unwrap().0)
        };
        let one = file("");
        let two = file("[[attachment]]\nsegment = \"a.lan\"\nport = \"p0\"\nencap = \"dot1q 5\"\n");
        let changes = two.changes_from(&one);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].key, "attachment/p0/dot1q 5");
        assert_eq!(one.changes_from(&two), [pb::Part { text: None, ..changes[0].clone() }]);
    }
}
