//! The rules of bandwidth profiles: each lets something pass, a burst has a rate and a size that makes sense for it, and an
//! attachment names one that is there and whose bursts hold its segment's largest frame (MEF 10.3 section 12.1: a smaller one would
//! never let that frame pass).

use toml::Spanned;

use super::super::super::{BitRate, ByteSize, Name, Profile, Segment};
use super::super::draft::{Draft, SegmentDraft};
use super::super::police::{BucketDraft, ProfileDraft};
use super::super::sink::Sink;
use super::attachments::{Known, unknown};

/// What a bucket's rate and size are called.
#[derive(Clone, Copy)]
struct Words {
    rate: &'static str,
    burst: &'static str,
}

const COMMITTED: Words = Words { rate: "cir", burst: "cbs" };
const EXCESS: Words = Words { rate: "eir", burst: "ebs" };

pub(super) fn check(draft: &Draft, sink: &mut Sink) {
    for profile in &draft.profiles {
        if profile.readable && buckets(profile).all(|(_, bucket)| bucket.rate() == BitRate::ZERO) {
            sink.error(profile.at.clone(), "the profile lets nothing pass".to_owned(), "neither cir nor eir")
                .help("add a line like: cir = \"100 Mbit/s\"");
        }
        buckets(profile).for_each(|(words, bucket)| check_bucket(words, bucket, sink));
    }
    let profiles = Known::new(&draft.profiles, |profile| profile.written.as_ref());
    let segments = Known::new(&draft.segments, |segment| segment.written.as_ref());
    for attachment in &draft.attachments {
        let segment = attachment.segment.as_ref().and_then(|name| segments.get(name));
        for name in [&attachment.ingress, &attachment.egress].into_iter().flatten() {
            match profiles.get(name) {
                None => unknown("profile", name, &profiles, sink),
                Some(profile) => {
                    if let Some(segment) = segment {
                        check_use(name, profile, segment, sink);
                    }
                }
            }
        }
    }
}

fn buckets(profile: &ProfileDraft) -> impl Iterator<Item = (Words, &BucketDraft)> {
    [(COMMITTED, &profile.committed), (EXCESS, &profile.excess)].into_iter()
}

fn check_bucket(words: Words, bucket: &BucketDraft, sink: &mut Sink) {
    let Some(burst) = &bucket.burst else { return };
    let (Words { rate: rate_key, burst: key }, rate, size) = (words, bucket.rate(), *burst.get_ref());
    let at = burst.span();
    if rate == BitRate::ZERO {
        if size != ByteSize(0) {
            sink.error(at, format!("{key} without {rate_key}: a burst that never comes again"), "")
                .help(format!("add a line like: {rate_key} = \"100 Mbit/s\", or remove {key}"));
        }
        return;
    }
    let least = Segment::largest_frame(Segment::LEAST_MTU);
    if size.0 < least {
        sink.error(at, format!("{key}: {size} holds no frame of any segment"), "").help(format!(
            "write at least {least} B, or leave {key} out for {}",
            Profile::default_burst(rate)
        ));
        return;
    }
    let lasts = Profile::burst_ms(rate, size);
    if lasts > Profile::LONGEST_BURST_MS.into() {
        let message = format!("{key}: {size} take {} seconds at {rate}", lasts.div_ceil(1000));
        let most = rate.get() / 8 * (Profile::LONGEST_BURST_MS / 1000);
        let help = format!("a burst is of {} s at most, which is {most} B", Profile::LONGEST_BURST_MS / 1000);
        sink.error(at, message, "").help(help);
    }
}

/// Whether an attachment's largest frame can ever pass.
fn check_use(name: &Spanned<String>, profile: &ProfileDraft, segment: &SegmentDraft, sink: &mut Sink) {
    let Ok(mtu) = u16::try_from(segment.mtu) else { return };
    let largest = Segment::largest_frame(mtu);
    for (words, bucket) in buckets(profile) {
        let Some(burst) = bucket.burst.as_ref().filter(|_| bucket.rate() != BitRate::ZERO) else { continue };
        let (size, key) = (burst.get_ref(), words.burst);
        if size.0 < largest {
            let message = format!(
                "profile {:?} does not fit: its {key} of {size} is less than the largest frame of the segment",
                name.get_ref()
            );
            sink.error(name.span(), message, "used here").at(burst.span(), "too small").help(format!(
                "write {key} = \"{largest} B\" or more: an MTU of {mtu}, an Ethernet header and up to four tags"
            ));
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
