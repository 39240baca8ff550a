//! The rules of suppression: a `line` has nothing to suppress, and a binding is one that the
//! attachment's guards would let it claim.

use std::ops::Range;

use toml::Spanned;

use super::{
    super::{
        super::{Binding, cross_checks},
        draft::{AttachmentDraft, Draft, SegmentDraft},
        sink::Sink,
    },
    attachments::Known,
    guards::SegmentClaims,
};

/// `claims` has the configured MACs of each segment.
pub(super) fn check<'d>(draft: &'d Draft, mut claims: SegmentClaims<'d>, sink: &mut Sink) {
    draft.segments.iter().for_each(|segment| line(segment, sink));
    let segments = Known::new(&draft.segments, |segment| segment.written.as_ref());
    for attachment in &draft.attachments {
        let Some(name) = attachment.segment.as_ref().filter(|_| !attachment.bindings.is_empty())
        else {
            continue;
        };
        if let Some(segment) = segments.get(name) {
            suppressing(attachment, segment, sink);
        }
        let name = name.get_ref().as_str();
        let claims = claims.entry(name).or_default();
        for binding in &attachment.bindings {
            let (address, mac) = (binding.get_ref().address(), binding.get_ref().mac());
            if let Err((first, broken)) = claims.bind(address, binding.span(), name) {
                sink.broken(binding.span(), &broken, "again here").at(first, "first here");
                continue;
            }
            prefixes(attachment, binding, sink);
            macs(attachment, binding, claims.listed(mac), sink);
        }
    }
}

fn line(segment: &SegmentDraft, sink: &mut Sink) {
    let (Some(suppress), Some(service)) = (&segment.suppress, &segment.service) else { return };
    if *suppress.get_ref()
        && let Err(broken) = cross_checks::suppress(*service.get_ref())
    {
        sink.broken(suppress.span(), &broken, "given here")
            .at(service.span(), "this segment is a line");
    }
}

fn suppressing(attachment: &AttachmentDraft, segment: &SegmentDraft, sink: &mut Sink) {
    let Some(first) = attachment.bindings.first() else { return };
    let suppresses = segment.suppress_unreadable
        || segment.suppress.as_ref().is_some_and(|suppress| *suppress.get_ref());
    let Err(broken) = cross_checks::answers(suppresses) else { return };
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
    if let Err(broken) = cross_checks::within(all, *binding.get_ref()) {
        sink.broken(binding.span(), &broken, "given here")
            .at(first.span(), "its prefixes begin here");
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
        sink.broken(binding.span(), &cross_checks::anothers(mac), "given here")
            .at(at.clone(), "listed here");
    } else if let Some(first) = macs.first() {
        sink.broken(binding.span(), &cross_checks::not_its_own(mac), "given here")
            .at(first.span(), "these are all that it has");
    }
}
