//! The fuzzer's frames get everywhere: a run that meets only a few ends proves little.

#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use sillon_abi::DropReason;
use sillon_model::{
    forwarding::suppress::Heard,
    fuzz::{
        bed::Hooks,
        run::{Options, run},
    },
};

/// What a frame can't meet at XDP as long as tables and devices stay as they are, and what is met
/// at TC, behind the verdict.
const ELSEWHERE: [DropReason; 11] = [
    DropReason::NoDevice,
    DropReason::StaleExit,
    DropReason::NoHeadroom,
    DropReason::CopyFailed,
    DropReason::NoReceiver,
    DropReason::HostEgress,
    DropReason::Unclassified,
    // What a sender's kernel leaves to be done is seen at TC: `left.rs`.
    DropReason::ChecksumOffset,
    DropReason::SegmentShape,
    // Set by programs of a container's own: `attacks/told.rs`.
    DropReason::HeaderOffsets,
    // Where the kernel has no veths.
    DropReason::HwVlan,
];

#[test]
fn random_frames_meet_every_end_and_the_node_does_what_the_model_says() {
    let corpus = std::env::temp_dir();
    let (frames, hooks) = (Some(100_000), Hooks::Xdp);
    let options =
        Options { seed: 1, frames, time: None, corpus, hooks, left: 0, keeps_whole: false };
    let report = run(&options, &|_| ()).unwrap();
    if let Some((divergence, path)) = report.divergence {
        panic!("{}: {}", path.display(), divergence.what);
    }
    let verdicts = [
        "passed to the host",
        "passed to the host as a peer's",
        "sent to one place",
        "flooded",
        "flooded as yellow",
    ];
    // Questions that are answered, and what becomes of what neighbours say.
    let answers = ["ARP request answered", "solicitation answered"];
    let said = [
        Heard::First,
        Heard::Changed,
        Heard::Again,
        Heard::Refused,
        Heard::Configured,
        Heard::TooLittle,
        Heard::NotThere,
    ];
    let suppressed = said.into_iter().map(Heard::name).chain(answers);
    let reasons = DropReason::ALL.iter().filter(|reason| !ELSEWHERE.contains(reason));
    for end in reasons.map(|reason| reason.name()).chain(verdicts).chain(suppressed) {
        assert!(report.tally.ends.contains_key(end), "no frame met {end}: {:?}", report.tally.ends);
    }
    // Bounds that leave most decisions open would show nothing, however much the machine has to do.
    let (timed, open) = (report.tally.timed, report.tally.open);
    assert!(timed > 5000 && open * 10 < timed, "{open} of {timed} decisions by time are open");
    assert!(report.tally.seen > 1000, "{} frames were seen on wires", report.tally.seen);
}
