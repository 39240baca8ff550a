//! The keys of an attachment's guards, each by itself.

use toml::Spanned;

use super::{
    super::{Control, Ethertype, Guards, Limits, MacAddr, OverLimit, Prefix, Trust},
    fields::{Fields, flag, number_within, word, wrong_type},
    sink::Sink,
};

/// The keys, for the list of those that are known.
pub(super) const KEYS: [&str; 8] =
    ["mac_limit", "over_limit", "macs", "sticky", "trusted", "control", "prefixes", "ethertypes"];

/// As it is written.
pub(super) struct GuardsDraft {
    pub mac_limit: Option<Spanned<u32>>,
    pub over_limit: Option<Spanned<OverLimit>>,
    pub macs: Vec<Spanned<MacAddr>>,
    pub sticky: Option<Spanned<bool>>,
    pub trusted: Vec<Spanned<Trust>>,
    pub control: Option<Spanned<Control>>,
    pub prefixes: Vec<Spanned<Prefix>>,
    pub ethertypes: Option<Vec<Spanned<Ethertype>>>,
}

impl GuardsDraft {
    pub(super) fn read(fields: &Fields<'_>, sink: &mut Sink) -> Self {
        for key in ["macs", "prefixes", "ethertypes"] {
            not_empty(fields, key, sink);
        }
        Self {
            mac_limit: fields.optional(sink, "mac_limit", number_within(1..=Limits::MOST_FDB)),
            over_limit: fields.optional(sink, "over_limit", word),
            macs: fields.list(sink, "macs", word),
            sticky: fields.optional(sink, "sticky", flag),
            trusted: fields.list(sink, "trusted", word),
            control: fields.optional(sink, "control", word),
            prefixes: fields.list(sink, "prefixes", word),
            ethertypes: ethertypes(fields, sink),
        }
    }

    /// The guards, once the rules have found nothing wrong.
    pub(super) fn build(&self) -> Guards {
        fn set<T: Ord + Copy>(list: &[Spanned<T>]) -> std::collections::BTreeSet<T> {
            list.iter().map(|value| *value.get_ref()).collect()
        }
        let default = Guards::default();
        Guards {
            mac_limit: self.mac_limit.as_ref().map_or(default.mac_limit, |limit| *limit.get_ref()),
            over_limit: self.over_limit.as_ref().map_or(default.over_limit, |over| *over.get_ref()),
            macs: set(&self.macs),
            sticky: self.sticky.as_ref().is_some_and(|sticky| *sticky.get_ref()),
            trusted: set(&self.trusted),
            control: self.control.as_ref().map_or(default.control, |control| *control.get_ref()),
            prefixes: set(&self.prefixes),
            ethertypes: self.ethertypes.as_deref().map(set),
        }
    }
}

/// An empty list would let nothing through; who wants everything leaves the key out.
fn not_empty(fields: &Fields<'_>, key: &str, sink: &mut Sink) {
    let Some(value) = fields.get(key) else { return };
    if value.get_ref().as_array().is_some_and(|list| list.is_empty()) {
        sink.error(value.span(), format!("{key}: the list is empty"), "")
            .help(format!("list what the attachment may have; without {key} it may have any"));
    }
}

/// `"any"`, or a list.
fn ethertypes(fields: &Fields<'_>, sink: &mut Sink) -> Option<Vec<Spanned<Ethertype>>> {
    let value = fields.get("ethertypes")?;
    if value.get_ref().as_array().is_some() {
        return Some(fields.list(sink, "ethertypes", word));
    }
    fields.optional(sink, "ethertypes", |value| {
        if value.as_str() == Some("any") {
            Ok(())
        } else {
            Err(wrong_type(value, "\"any\", or a list in square brackets"))
        }
    });
    None
}
