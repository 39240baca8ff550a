//! The rules of guards: which of them go together, and that nobody's address is somebody else's as
//! well.

use std::{collections::HashMap, ops::Range};

use super::{
    super::{
        super::cross_checks::{self, Claims},
        draft::{AttachmentDraft, Draft, SegmentDraft},
        sink::Sink,
    },
    attachments::Known,
};

/// What is configured in each segment, by its name, and where it is written.
pub(super) type SegmentClaims<'d> = HashMap<&'d str, Claims<Range<usize>>>;

/// Returns the configured MACs.
pub(super) fn check<'d>(draft: &'d Draft, sink: &mut Sink) -> SegmentClaims<'d> {
    let mut claims = SegmentClaims::new();
    let segments = Known::new(&draft.segments, |segment| segment.written.as_ref());
    for attachment in &draft.attachments {
        one_policy(attachment, sink);
        peer(attachment, sink);
        let Some(name) = &attachment.segment else { continue };
        if attachment.guards.control.is_some()
            && let Some(segment) = segments.get(name)
        {
            control(attachment, segment, sink);
        }
        let name = name.get_ref().as_str();
        for mac in &attachment.guards.macs {
            let listed = claims.entry(name).or_default().list(*mac.get_ref(), mac.span(), name);
            if let Err((first, broken)) = listed {
                sink.broken(mac.span(), &broken, "again here").at(first, "first here");
            }
        }
    }
    claims
}

/// An attachment with a list learns nothing, so that what is said of learning is not meant.
fn one_policy(attachment: &AttachmentDraft, sink: &mut Sink) {
    let guards = &attachment.guards;
    let Some(first) = guards.macs.first() else { return };
    let learning = [
        ("mac_limit", guards.mac_limit.as_ref().map(toml::Spanned::span)),
        ("over_limit", guards.over_limit.as_ref().map(toml::Spanned::span)),
        (
            "sticky",
            guards.sticky.as_ref().filter(|sticky| *sticky.get_ref()).map(toml::Spanned::span),
        ),
    ];
    for (key, place) in learning.into_iter().filter_map(|(key, place)| Some((key, place?))) {
        sink.broken(place, &cross_checks::learns_nothing(key), "given here")
            .at(first.span(), "these are all that it has");
    }
}

fn peer(attachment: &AttachmentDraft, sink: &mut Sink) {
    let (Some(control), Some(encap)) = (&attachment.guards.control, &attachment.encap) else {
        return;
    };
    if let Err(broken) = cross_checks::peer(*control.get_ref(), *encap.get_ref()) {
        sink.broken(control.span(), &broken, "given here")
            .at(encap.span(), "these frames have one");
    }
}

fn control(attachment: &AttachmentDraft, segment: &SegmentDraft, sink: &mut Sink) {
    let (Some(control), Some(service)) = (&attachment.guards.control, &segment.service) else {
        return;
    };
    if let Err(broken) = cross_checks::control(*control.get_ref(), *service.get_ref()) {
        sink.broken(control.span(), &broken, "given here")
            .at(service.span(), format!("this segment is a {}", service.get_ref()));
    }
}
