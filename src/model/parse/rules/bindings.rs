//! The rules of suppression: a `line` has nothing to suppress, and a binding is one that the attachment's guards would let it claim.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

use toml::Spanned;

use super::super::super::{Binding, MacAddr, agree};
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
    if *suppress.get_ref()
        && let Err(broken) = agree::suppress(*service.get_ref())
    {
        sink.broken(suppress.span(), &broken, "given here").at(service.span(), "this segment is a line");
    }
}

fn suppressing(attachment: &AttachmentDraft, segment: &SegmentDraft, sink: &mut Sink) {
    let Some(first) = attachment.bindings.first() else { return };
    let suppresses =
        segment.suppress_unreadable || segment.suppress.as_ref().is_some_and(|suppress| *suppress.get_ref());
    let Err(broken) = agree::answers(suppresses) else { return };
    let at = segment.suppress.as_ref().map(Spanned::span);
    let at = at.or_else(|| segment.written.as_ref().map(Spanned::span));
    let error = sink.broken(first.span(), &broken, "given here");
    if let Some(at) = at {
        error.at(at, "it does not suppress");
    }
}

/// What the guard would not let it claim is not claimed for it either.
fn prefixes(attachment: &AttachmentDraft, binding: &Spanned<Binding>, sink: &mut Sink) {
    let prefixes = &attachment.guards.prefixes;
    let Some(first) = prefixes.first() else { return };
    let all = prefixes.iter().map(|prefix| *prefix.get_ref());
    if let Err(broken) = agree::within(all, *binding.get_ref()) {
        sink.broken(binding.span(), &broken, "given here").at(first.span(), "its prefixes begin here");
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
        sink.broken(binding.span(), &agree::anothers(mac), "given here").at(at.clone(), "listed here");
    } else if let Some(first) = macs.first() {
        sink.broken(binding.span(), &agree::not_its_own(mac), "given here")
            .at(first.span(), "these are all that it has");
    }
}
