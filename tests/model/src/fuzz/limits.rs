//! Random bandwidth profiles and storm control of an attachment, as lines of a node's file: small
//! ones, so that frames are dropped.

use std::fmt::Write;

use fastrand::Rng;

/// What a profile may let pass, bit/s: from a frame in a while to all that the fuzzer makes.
const RATES: [u64; 6] = [64_000, 64_000, 200_000, 1_000_000, 5_000_000, 100_000_000];
/// Ethernet's header and four tags.
const HEADERS: u64 = 30;
/// A burst lasts no longer, in seconds.
const LONGEST: u64 = 10;
/// Flooded frames in a second.
const FLOODED: [u32; 6] = [1, 3, 10, 100, 1000, 10_000];

/// Puts an attachment's limits at the end of `text`, where its table is; returns the profiles that
/// it names, for behind the table. `number` tells it from others.
pub fn lines(rng: &mut Rng, mtu: u64, number: usize, text: &mut String) -> String {
    if rng.u8(..3) > 0 {
        *text += "storm = \"off\"\n";
    } else {
        let [broadcast, multicast, unknown] = [(); 3].map(|()| limit(rng));
        let _ = writeln!(
            text,
            "storm = {{ broadcast = {broadcast}, multicast = {multicast}, unknown = {unknown} }}"
        );
    }
    let mut profiles = String::new();
    for direction in ["ingress", "egress"] {
        if rng.u8(..4) == 0 {
            let _ = writeln!(text, "{direction} = \"{direction}-{number}\"");
            profiles += &profile(rng, &format!("{direction}-{number}"), mtu + HEADERS);
        }
    }
    profiles
}

fn limit(rng: &mut Rng) -> String {
    match rng.u8(..4) {
        0 => "\"off\"".to_owned(),
        _ => rng.choice(FLOODED).unwrap_or(1).to_string(),
    }
}

/// With one bucket or both, which hold a frame of `largest` bytes and some more.
fn profile(rng: &mut Rng, name: &str, largest: u64) -> String {
    let mut text = format!("\n[[profile]]\nname = {name:?}\n");
    let buckets: &[(&str, &str)] = match rng.u8(..4) {
        0 => &[("cir", "cbs")],
        1 => &[("eir", "ebs")],
        _ => &[("cir", "cbs"), ("eir", "ebs")],
    };
    for (rate, burst) in buckets {
        let bits = rng.choice(RATES).unwrap_or(RATES[0]);
        let most = (bits / 8 * LONGEST).min(largest * 4);
        let bytes = rng.u64(largest..=most.max(largest));
        let _ = write!(text, "{rate} = \"{bits} bit/s\"\n{burst} = \"{bytes} B\"\n");
    }
    text
}
