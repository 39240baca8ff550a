//! The rules of bandwidth profiles: each lets something pass, a burst has a rate and a size that
//! makes sense for it, and an attachment names one that is there and whose bursts hold its
//! segment's largest frame (MEF 10.3 section 12.1: a smaller one would never let that frame pass).

use toml::Spanned;

use super::{
    super::{
        super::{
            BitRate, Name, Profile,
            cross_checks::{self, Bucket},
        },
        draft::{Draft, SegmentDraft},
        police::{BucketDraft, ProfileDraft},
        sink::Sink,
    },
    attachments::{Known, unknown},
};

pub(super) fn check(draft: &Draft, sink: &mut Sink) {
    for profile in draft.profiles.iter().filter(|profile| profile.readable) {
        if let Err(broken) = cross_checks::passes(profile.committed.rate(), profile.excess.rate()) {
            sink.broken(profile.at.clone(), &broken, "neither cir nor eir");
        }
        buckets(profile).for_each(|(words, bucket)| check_bucket(words, bucket, sink));
    }
    let profiles = Known::new(&draft.profiles, |profile| profile.written.as_ref());
    let segments = Known::new(&draft.segments, |segment| segment.written.as_ref());
    for attachment in &draft.attachments {
        for name in [&attachment.ingress, &attachment.egress].into_iter().flatten() {
            match profiles.get(name) {
                None => unknown("profile", name, &profiles, sink),
                Some(profile) => {
                    let segment = attachment.segment.as_ref().and_then(|name| segments.get(name));
                    if let Some(segment) = segment.filter(|_| profile.readable) {
                        check_use(name, profile, segment, sink);
                    }
                }
            }
        }
    }
}

fn buckets(profile: &ProfileDraft) -> impl Iterator<Item = (Bucket, &BucketDraft)> {
    [(cross_checks::COMMITTED, &profile.committed), (cross_checks::EXCESS, &profile.excess)]
        .into_iter()
}

fn check_bucket(words: Bucket, bucket: &BucketDraft, sink: &mut Sink) {
    let Some(burst) = &bucket.burst else { return };
    if let Err(broken) = cross_checks::burst(words, bucket.rate(), *burst.get_ref()) {
        sink.broken(burst.span(), &broken, "");
    }
}

/// Whether an attachment's largest frame can ever pass.
fn check_use(
    name: &Spanned<String>,
    profile: &ProfileDraft,
    segment: &SegmentDraft,
    sink: &mut Sink,
) {
    let Ok(mtu) = u16::try_from(segment.mtu) else { return };
    for (words, bucket) in buckets(profile) {
        let Some(burst) = bucket.burst.as_ref().filter(|_| bucket.rate() != BitRate::ZERO) else {
            continue;
        };
        let size = *burst.get_ref();
        // Less than that was reported where it stands.
        if size >= cross_checks::LEAST_BURST
            && let Err(broken) = cross_checks::holds(name.get_ref(), words, size, mtu)
        {
            sink.broken(name.span(), &broken, "used here").at(burst.span(), "too small");
        }
    }
}

/// The name of a profile, if one is given; the outer `None` is a name that is none.
pub(super) fn named(name: Option<&Spanned<String>>) -> Option<Option<Name>> {
    match name {
        Some(name) => name.get_ref().parse().ok().map(Some),
        None => Some(None),
    }
}

pub(super) fn build(draft: &ProfileDraft) -> Option<Profile> {
    let burst = |bucket: &BucketDraft| match &bucket.burst {
        Some(burst) => *burst.get_ref(),
        None => Profile::default_burst(bucket.rate()),
    };
    Some(Profile {
        name: draft.name.clone()?,
        cir: draft.committed.rate(),
        cbs: burst(&draft.committed),
        eir: draft.excess.rate(),
        ebs: burst(&draft.excess),
    })
}
