//! Random guards of an attachment, as lines of a node's file.

use std::{collections::BTreeSet, fmt::Write};

use fastrand::Rng;
use sillon::model::Service;

use super::setup::{DEVICES, mac};

/// Hosts of a segment: few, so that they meet, move, and are more than some limits.
pub const HOSTS: u8 = 8;
/// Prefixes of what `packets` sends from, and of more.
const PREFIXES: [&str; 14] = [
    "10.0.0.0/24",
    "10.0.0.1/32",
    "10.0.0.2/31",
    "0.0.0.0/0",
    "0.0.0.0/32",
    "fd00::/64",
    "fd00::1/128",
    "fd00::2/127",
    "::/0",
    "::/96",
    "fe80::/64",
    "fe80::1/128",
    "fe80::2/127",
    "::ffff:10.0.0.2/128",
];
const ETHERTYPES: [&str; 7] = ["ipv4", "arp", "ipv6", "0x8847", "0x88b5", "0x0600", "0x8808"];

/// The MAC of a host.
pub const fn host(number: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, number]
}

/// When a segment's addresses are frozen. The model knows no time: whatever moves in a case moves within the window, and what is frozen is
/// so until its end.
pub fn moves(rng: &mut Rng) -> String {
    let limit = rng.choice([0, 1, 2, 3, 5, 20]).unwrap_or(5);
    format!("move_limit = {limit}\nmove_window = 65535\nfreeze = 1000000\n")
}

/// Some of them, each once.
fn some(rng: &mut Rng, among: &[&'static str], most: usize) -> Vec<&'static str> {
    let mut list = among.to_vec();
    rng.shuffle(&mut list);
    list.truncate(rng.usize(1..=most));
    list
}

/// The guards of an attachment; `taken` are the addresses that are configured in its segment.
pub fn lines(rng: &mut Rng, service: Service, may_peer: bool, taken: &mut BTreeSet<[u8; 6]>) -> String {
    let mut text = String::new();
    if rng.u8(..5) == 0 {
        macs(rng, taken, &mut text);
    } else {
        let limit = rng.choice([1, 2, 3, 64, 64, 64]).unwrap_or(64);
        let over = if rng.bool() { "drop" } else { "forward" };
        let sticky = rng.u8(..5) == 0;
        let _ = write!(text, "mac_limit = {limit}\nover_limit = \"{over}\"\nsticky = {sticky}\n");
    }
    let trusted: &[&str] = match rng.u8(..8) {
        0..3 => &[],
        3 => &["dhcp"],
        4 => &["ra"],
        _ => &["dhcp", "ra"],
    };
    let _ = writeln!(text, "trusted = {trusted:?}");
    if rng.u8(..3) == 0 {
        let list = some(rng, &PREFIXES, 4);
        let _ = writeln!(text, "prefixes = {list:?}");
    }
    if rng.u8(..6) == 0 {
        let list = some(rng, &ETHERTYPES, 6);
        let _ = writeln!(text, "ethertypes = {list:?}");
    }
    if service == Service::Line && rng.u8(..3) > 0 {
        text += "control = \"tunnel\"\n";
    } else if may_peer && rng.bool() {
        text += "control = \"peer\"\n";
    }
    text
}

/// Some of the hosts' addresses, and now and then one that is a port's of the node.
fn macs(rng: &mut Rng, taken: &mut BTreeSet<[u8; 6]>, text: &mut String) {
    let mut list = Vec::new();
    for _ in 0..rng.usize(1..4) {
        let one = if rng.u8(..16) == 0 { mac(rng.usize(..DEVICES.len())) } else { host(rng.u8(..HOSTS)) };
        if taken.insert(one) {
            list.push(one.map(|octet| format!("{octet:02x}")).join(":"));
        }
    }
    if !list.is_empty() {
        let _ = writeln!(text, "macs = {list:?}");
    }
}
