//! The rules of suppression: a `line` has nothing to suppress, and a binding is one that the attachment's guards would let it claim.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

use toml::Spanned;

use super::super::super::{Binding, MacAddr, Prefix, Service};
use super::super::draft::{AttachmentDraft, Draft, SegmentDraft};
use super::super::sink::Sink;
use super::attachments::Known;

pub(super) fn check(draft: &Draft, sink: &mut Sink) {
    draft.segments.iter().for_each(|segment| line(segment, sink));
    let segments = Known::new(&draft.segments, |segment| segment.written.as_ref());
    let listed = listed(draft);
    let mut owners: HashMap<(&str, IpAddr), Range<usize>> = HashMap::new();
    for attachment in &draft.attachments {
        let Some(name) = &attachment.segment else { continue };
        if let Some(segment) = segments.get(name) {
            suppressing(attachment, segment, sink);
        }
        let name = name.get_ref().as_str();
        for binding in &attachment.bindings {
            if let Some(first) = owners.get(&(name, binding.get_ref().address())) {
                let address = binding.get_ref().address();
                sink.error(
                    binding.span(),
                    format!("bindings: {address} is listed twice in segment {name:?}"),
                    "again here",
                )
                .at(first.clone(), "first here")
                .help("in a segment, an address is one host's");
                continue;
            }
            owners.insert((name, binding.get_ref().address()), binding.span());
            prefixes(attachment, binding, sink);
            macs(attachment, binding, listed.get(&(name, binding.get_ref().mac())), sink);
        }
    }
}

/// Where the configured MACs of each segment are listed.
fn listed(draft: &Draft) -> HashMap<(&str, MacAddr), Range<usize>> {
    let named = draft
        .attachments
        .iter()
        .filter_map(|attachment| Some((attachment.segment.as_ref()?.get_ref().as_str(), attachment)));
    named
        .flat_map(|(name, attachment)| {
            attachment.guards.macs.iter().map(move |mac| ((name, *mac.get_ref()), mac.span()))
        })
        .collect()
}

fn line(segment: &SegmentDraft, sink: &mut Sink) {
    let (Some(suppress), Some(service)) = (&segment.suppress, &segment.service) else { return };
    if *suppress.get_ref() && *service.get_ref() == Service::Line {
        sink.error(suppress.span(), "suppress: a line floods nothing".to_owned(), "given here")
            .at(service.span(), "this segment is a line")
            .help("its other end is the only one to be asked; leave suppress out, or make the segment a lan or a tree");
    }
}

fn suppressing(attachment: &AttachmentDraft, segment: &SegmentDraft, sink: &mut Sink) {
    let Some(first) = attachment.bindings.first() else { return };
    if segment.suppress_unreadable || segment.suppress.as_ref().is_some_and(|suppress| *suppress.get_ref()) {
        return;
    }
    let at = segment.suppress.as_ref().map(Spanned::span);
    let at = at.or_else(|| segment.written.as_ref().map(Spanned::span));
    let error =
        sink.error(first.span(), "bindings: nothing is answered in this segment".to_owned(), "given here");
    let error = match at {
        Some(at) => error.at(at, "it does not suppress"),
        None => error,
    };
    error.help("add suppress = true to the segment, or remove bindings");
}

/// What the guard would not let it claim is not claimed for it either.
fn prefixes(attachment: &AttachmentDraft, binding: &Spanned<Binding>, sink: &mut Sink) {
    let prefixes = &attachment.guards.prefixes;
    let Some(first) = prefixes.first() else { return };
    let address = binding.get_ref().address();
    let lists_link_local = prefixes.iter().any(|prefix| prefix.get_ref().is_link_local());
    let implied = (!lists_link_local).then_some(Prefix::LINK_LOCAL);
    let all = prefixes.iter().map(|prefix| *prefix.get_ref()).chain(implied);
    if !all.into_iter().any(|prefix| prefix.contains(address)) {
        sink.error(
            binding.span(),
            format!("bindings: {address} is in none of the attachment's prefixes"),
            "given here",
        )
        .at(first.span(), "its prefixes begin here")
        .help("add a prefix that has it, or remove the binding");
    }
}

/// A MAC that is configured is at the attachment for which it is.
fn macs(
    attachment: &AttachmentDraft,
    binding: &Spanned<Binding>,
    listed: Option<&Range<usize>>,
    sink: &mut Sink,
) {
    let (macs, mac) = (&attachment.guards.macs, binding.get_ref().mac());
    if macs.iter().any(|own| *own.get_ref() == mac) {
        return;
    }
    if let Some(at) = listed {
        sink.error(binding.span(), format!("bindings: {mac} is another attachment's"), "given here")
            .at(at.clone(), "listed here")
            .help("write the binding at the attachment whose the MAC is");
    } else if let Some(first) = macs.first() {
        sink.error(binding.span(), format!("bindings: {mac} is none of the attachment's macs"), "given here")
            .at(first.span(), "these are all that it has")
            .help("add it to macs, or remove the binding");
    }
}
