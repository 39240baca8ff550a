//! The rules of attachments: on what, to what, and which share a port.
//!
//! An attachment names a port that is not an uplink and a segment, both defined in the file. On one
//! port no frame may belong to two attachments. A `line` has at most two points, remotes included;
//! roles are for trees.

use std::collections::HashMap;

use toml::Spanned;

use super::super::{
    super::{Encap, PortRole, Service, VlanId, cross_checks, suggest::did_you_mean},
    draft::{AttachmentDraft, Draft, PortDraft, SegmentDraft},
    sink::Sink,
};

/// How many names a message lists.
const FEW: usize = 8;

pub(super) fn check(draft: &Draft, sink: &mut Sink) {
    let ports = Known::new(&draft.ports, |port| port.written.as_ref());
    let segments = Known::new(&draft.segments, |segment| segment.written.as_ref());
    let mut on_port: HashMap<&str, Occupied<'_>> = HashMap::new();
    let mut points: HashMap<&str, Vec<&AttachmentDraft>> = HashMap::new();
    for attachment in &draft.attachments {
        if let Some(name) = &attachment.port {
            check_port(name, &ports, sink);
            let port = on_port.entry(name.get_ref()).or_default();
            if let Some((first, encap)) =
                attachment.encap.as_ref().and_then(|encap| Some((port.add(encap)?, encap)))
            {
                overlap(name, first, encap, sink);
            }
        }
        if let Some(name) = &attachment.segment {
            points.entry(name.get_ref()).or_default().push(attachment);
            match segments.get(name) {
                Some(segment) => check_role(attachment, segment, sink),
                None => unknown("segment", name, &segments, sink),
            }
        }
    }
    for segment in &draft.segments {
        if let Some(name) = &segment.written {
            check_line(
                segment,
                points.get(name.get_ref().as_str()).map_or(&[], Vec::as_slice),
                sink,
            );
        }
    }
}

/// The ports or the segments of the file, by name.
pub(super) struct Known<'d, T> {
    by_name: HashMap<&'d str, &'d T>,
    some_unreadable: bool,
}

impl<'d, T> Known<'d, T> {
    pub(super) fn new(all: &'d [T], name: impl Fn(&'d T) -> Option<&'d Spanned<String>>) -> Self {
        // The first of two of one name, which is the one that the other's error calls the first.
        let by_name =
            all.iter().rev().filter_map(|one| Some((name(one)?.get_ref().as_str(), one))).collect();
        Self { by_name, some_unreadable: all.iter().any(|one| name(one).is_none()) }
    }

    pub(super) fn get(&self, name: &Spanned<String>) -> Option<&'d T> {
        self.by_name.get(name.get_ref().as_str()).copied()
    }
}

fn check_port(name: &Spanned<String>, ports: &Known<'_, PortDraft>, sink: &mut Sink) {
    let Some(port) = ports.get(name) else {
        return unknown("port", name, ports, sink);
    };
    if let Some(role) = port.role.as_ref().filter(|role| *role.get_ref() == PortRole::Uplink) {
        sink.error(
            name.span(),
            format!("port {:?} is an uplink and takes no attachment", name.get_ref()),
            "",
        )
        .at(role.span(), "an uplink")
        .help("attach segments to access and handover ports; an uplink carries the tunnels");
    }
}

/// Says nothing if the name of one of `known` could not be read: it may be the one that is meant.
pub(super) fn unknown<T>(
    what: &str,
    name: &Spanned<String>,
    known: &Known<'_, T>,
    sink: &mut Sink,
) {
    if known.some_unreadable {
        return;
    }
    let mut words: Vec<_> = known.by_name.keys().copied().collect();
    words.sort_unstable();
    let name_of = name.get_ref();
    let help = did_you_mean(name_of, words.iter().copied()).unwrap_or_else(|| {
        let define = format!("define it with [[{what}]], name = {name_of:?}");
        match words.len() {
            1..=FEW => format!("{define}; defined are {}", words.join(", ")),
            _ => define,
        }
    });
    sink.error(name.span(), format!("there is no {what} {name_of:?}"), "not defined").help(help);
}

fn check_role(attachment: &AttachmentDraft, segment: &SegmentDraft, sink: &mut Sink) {
    let (Some(role), Some(service)) = (&attachment.role, &segment.service) else { return };
    if let Err(broken) = cross_checks::role(*service.get_ref()) {
        sink.broken(role.span(), &broken, "given here")
            .at(service.span(), format!("this segment is a {}", service.get_ref()));
    }
}

fn check_line(segment: &SegmentDraft, attachments: &[&AttachmentDraft], sink: &mut Sink) {
    let Some(service) =
        segment.service.as_ref().filter(|service| *service.get_ref() == Service::Line)
    else {
        return;
    };
    let remotes = segment.remotes.iter().map(Spanned::span);
    let mut points = remotes.chain(attachments.iter().map(|attachment| attachment.at.clone()));
    let count = segment.remotes.len() + attachments.len();
    if let Err(broken) = cross_checks::line_points(count)
        && let Some(third) = points.nth(cross_checks::LINE_POINTS)
    {
        sink.broken(third, &broken, "the third point").at(service.span(), "a line");
    }
}

fn overlap(
    port: &Spanned<String>,
    first: &Spanned<Encap>,
    second: &Spanned<Encap>,
    sink: &mut Sink,
) {
    let (one, two) = (first.get_ref(), second.get_ref());
    let message = format!("\"{two}\" overlaps with \"{one}\" on port {:?}", port.get_ref());
    sink.error(second.span(), message, "this one")
        .at(first.span(), "and this one")
        .help("no frame of a port may belong to two attachments: choose another encapsulation");
}

/// What is taken on one port. It agrees with [`Encap::overlaps`] without asking every pair: a port
/// may have as many attachments as there are pairs of tags.
#[derive(Default)]
struct Occupied<'d> {
    any: Option<&'d Spanned<Encap>>,
    whole: Option<&'d Spanned<Encap>>,
    exact: HashMap<Encap, &'d Spanned<Encap>>,
    outer: HashMap<VlanId, &'d Spanned<Encap>>,
}

impl<'d> Occupied<'d> {
    /// Takes the place of `encap`, or gives what has it already.
    fn add(&mut self, encap: &'d Spanned<Encap>) -> Option<&'d Spanned<Encap>> {
        let wanted = *encap.get_ref();
        let taken =
            self.whole.or_else(|| self.exact.get(&wanted).copied()).or_else(|| match wanted {
                Encap::Port => self.any,
                Encap::QinqS(s) => self.outer.get(&s).copied(),
                Encap::QinqSC { s, .. } => self.exact.get(&Encap::QinqS(s)).copied(),
                Encap::Untagged | Encap::Dot1q(_) => None,
            });
        if taken.is_some() {
            return taken;
        }
        self.any.get_or_insert(encap);
        self.exact.insert(wanted, encap);
        match wanted {
            Encap::Port => self.whole = Some(encap),
            Encap::QinqSC { s, .. } => {
                self.outer.entry(s).or_insert(encap);
            }
            _ => {}
        }
        None
    }
}
