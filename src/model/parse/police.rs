//! `[[profile]]`, and an attachment's `storm`, as they are written.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    super::{BitRate, ByteSize, InvalidValue, Name, StormControl},
    fields::{Fields, number_within, report, spelled, text, word, wrong_type},
    sink::Sink,
};

/// `[[profile]]`
pub(super) struct ProfileDraft {
    pub at: Range<usize>,
    /// The name as it is written: an attachment may refer to a profile whose name is wrong.
    pub written: Option<Spanned<String>>,
    pub name: Option<Name>,
    pub committed: BucketDraft,
    pub excess: BucketDraft,
    /// Whether all that is in it could be read; else nothing can be said of what is missing.
    pub readable: bool,
}

/// CIR and CBS, or EIR and EBS.
pub(super) struct BucketDraft {
    pub rate: Option<Spanned<BitRate>>,
    pub burst: Option<Spanned<ByteSize>>,
}

impl BucketDraft {
    fn read(fields: &Fields<'_>, sink: &mut Sink, rate: &str, burst: &str) -> Self {
        Self { rate: fields.optional(sink, rate, word), burst: fields.optional(sink, burst, word) }
    }

    /// The rate, zero where none is given.
    pub(super) fn rate(&self) -> BitRate {
        self.rate.as_ref().map_or(BitRate::ZERO, |rate| *rate.get_ref())
    }
}

pub(super) fn read_profile(at: Range<usize>, table: &DeTable<'_>, sink: &mut Sink) -> ProfileDraft {
    let known = ["name", "cir", "cbs", "eir", "ebs"];
    let fields = Fields::new("[[profile]]", at, table, &known, sink);
    let written = fields.required(sink, "name", "\"gold\"", text);
    let committed = BucketDraft::read(&fields, sink, "cir", "cbs");
    let excess = BucketDraft::read(&fields, sink, "eir", "ebs");
    let is_read = [
        ("cir", committed.rate.is_some()),
        ("cbs", committed.burst.is_some()),
        ("eir", excess.rate.is_some()),
        ("ebs", excess.burst.is_some()),
    ];
    ProfileDraft {
        at: fields.at(),
        name: written.as_ref().and_then(|written| spelled(written, sink)),
        written,
        committed,
        excess,
        readable: is_read.iter().all(|(key, is_read)| *is_read || fields.get(key).is_none()),
    }
}

/// `storm = "off"`, or a table of limits; what is not in it has its default.
pub(super) fn read_storm(fields: &Fields<'_>, sink: &mut Sink) -> StormControl {
    let default = StormControl::default();
    let Some(value) = fields.get("storm") else { return default };
    match value.get_ref() {
        DeValue::String(word) if word == "off" => StormControl::OFF,
        DeValue::Table(table) => {
            let known = ["broadcast", "multicast", "unknown"];
            let limits = Fields::new("storm", value.span(), table, &known, sink);
            let mut limit = |key, default| {
                limits.optional(sink, key, storm_limit).map_or(default, Spanned::into_inner)
            };
            StormControl {
                broadcast: limit("broadcast", default.broadcast),
                multicast: limit("multicast", default.multicast),
                unknown: limit("unknown", default.unknown),
            }
        }
        other => {
            let wanted =
                "\"off\", or limits like { broadcast = 1000, multicast = \"off\" }, in frames/s";
            report(sink, value.span(), "storm", &wrong_type(other, wanted));
            default
        }
    }
}

fn storm_limit(value: &DeValue<'_>) -> Result<Option<u32>, InvalidValue> {
    match value {
        DeValue::Integer(_) => number_within(1..=StormControl::MAX)(value).map(Some),
        DeValue::String(word) if word == "off" => Ok(None),
        other => Err(wrong_type(other, "a number of frames/s, or \"off\"")),
    }
}
