//! The guards of attachments as tables for people.

use super::tables::{Sheet, list, number, optional, text};
use crate::{
    dataplane::view::{GuardView, StormLimitView},
    model::{BitRate, ByteSize},
};

/// What may be sent, then the bandwidth profiles and what they made of the frames, then the storm
/// control.
pub fn guards(guards: &[GuardView]) -> String {
    [rules(guards), profiles(guards), storms(guards)].join("\n")
}

fn rules(guards: &[GuardView]) -> String {
    let mut sheet = Sheet::new(
        "Guards",
        &[
            "port",
            "encap",
            "segment",
            "operator",
            "macs",
            "limit",
            "over",
            "sticky",
            "trusted",
            "control",
            "prefixes",
            "ethertypes",
            "dropped",
        ],
    );
    for guard in guards {
        let rules = &guard.rules;
        let dropped = guard.dropped.iter().map(|(reason, frames)| format!("{reason}:{frames}"));
        sheet.row(vec![
            text(&guard.port),
            text(&guard.encap),
            text(&guard.segment),
            text(&guard.operator),
            if rules.mac_limit.is_some() { number(rules.macs) } else { list(&rules.listed) },
            rules.mac_limit.map_or_else(|| text("listed"), number),
            text(rules.over_limit),
            text(if rules.sticky { "yes" } else { "no" }),
            list(&rules.trusted),
            text(rules.control),
            list(&rules.prefixes),
            rules.ethertypes.as_ref().map_or_else(|| text("any"), list),
            list(dropped),
        ]);
    }
    sheet.text()
}

fn profiles(guards: &[GuardView]) -> String {
    let mut sheet = Sheet::new(
        "Bandwidth profiles",
        &[
            "port",
            "encap",
            "segment",
            "direction",
            "cir",
            "cbs",
            "eir",
            "ebs",
            "green",
            "yellow",
            "red",
            "red bytes",
        ],
    );
    for guard in guards {
        let directions = [("ingress", &guard.limits.ingress), ("egress", &guard.limits.egress)];
        for (direction, profile) in directions {
            let Some(profile) = profile else { continue };
            sheet.row(vec![
                text(&guard.port),
                text(&guard.encap),
                text(&guard.segment),
                text(direction),
                rate(profile.cir),
                size(profile.cbs),
                rate(profile.eir),
                size(profile.ebs),
                number(profile.green.frames),
                number(profile.yellow.frames),
                number(profile.red.frames),
                number(profile.red.bytes),
            ]);
        }
    }
    sheet.text()
}

fn rate(bits: u64) -> comfy_table::Cell {
    optional((bits > 0).then(|| {
        BitRate::new(bits).map_or_else(|_| format!("{bits} bit/s"), |rate| rate.to_string())
    }))
}

fn size(bytes: u64) -> comfy_table::Cell {
    optional((bytes > 0).then_some(ByteSize(bytes)))
}

fn storms(guards: &[GuardView]) -> String {
    let mut sheet = Sheet::new(
        "Storm control, frames/s (dropped)",
        &["port", "encap", "segment", "broadcast", "multicast", "unknown unicast"],
    );
    let limit = |limit: &StormLimitView| {
        let rate = limit.limit.map_or_else(|| "off".to_owned(), |limit| limit.to_string());
        text(format!("{rate} ({})", limit.dropped))
    };
    for guard in guards {
        let storm = &guard.limits.storm;
        sheet.row(vec![
            text(&guard.port),
            text(&guard.encap),
            text(&guard.segment),
            limit(&storm.broadcast),
            limit(&storm.multicast),
            limit(&storm.unknown),
        ]);
    }
    sheet.text()
}
