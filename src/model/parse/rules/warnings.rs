//! What is allowed but may not be meant.

use std::collections::{HashMap, HashSet};

use super::super::{
    super::{NodeConfig, PortRole, Service},
    draft::Draft,
    sink::Sink,
};

pub(super) fn check(draft: &Draft, config: &NodeConfig, sink: &mut Sink) {
    let used: HashSet<_> = config.attachments.iter().map(|attachment| &attachment.port).collect();
    for (port, draft) in config.ports.iter().zip(&draft.ports) {
        if let Some(at) = draft.written.as_ref().map(toml::Spanned::span)
            && port.role != PortRole::Uplink
            && !used.contains(&port.name)
        {
            sink.warning(
                at,
                format!("port \"{}\" has no attachment: it carries nothing", port.name),
                "",
            )
            .help("add an [[attachment]] on it, or remove the port");
        }
    }
    let mut points = HashMap::new();
    for attachment in &config.attachments {
        *points.entry(&attachment.segment).or_insert(0) += 1;
    }
    for (segment, draft) in config.segments.iter().zip(&draft.segments) {
        let count = points.get(&segment.name).copied().unwrap_or(0) + segment.remotes.len();
        if let Some(at) = draft.written.as_ref().map(toml::Spanned::span)
            && segment.service == Service::Line
            && count < 2
        {
            let message = format!(
                "line \"{}\" has {count} of its two points: it carries nothing",
                segment.name
            );
            sink.warning(at, message, "").help("add an [[attachment]] or a remote");
        }
    }
}
