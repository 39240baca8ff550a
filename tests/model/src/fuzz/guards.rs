//! Random guards of an attachment, as lines of a node's file.

use std::{collections::BTreeSet, fmt::Write, net::IpAddr};

use fastrand::Rng;
use sillon::model::{Prefix, Service};
use sillon_rig::frame::mac_text;

use super::{
    packets::{any_host4, any_host6},
    setup::{DEVICES, mac},
};

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

/// When a segment's addresses are frozen. The model knows no time: whatever moves in a case moves
/// within the window, and what is frozen is so until its end.
pub fn moves(rng: &mut Rng) -> String {
    let limit = rng.choice([0, 0, 0, 1, 2, 3, 5, 20, 20]).unwrap_or(5);
    format!("move_limit = {limit}\nmove_window = 65535\nfreeze = 1000000\n")
}

/// What is configured of a segment already, and is nobody else's there.
#[derive(Debug, Default)]
pub struct Taken {
    /// Whether addresses may be bound at all.
    suppresses: bool,
    macs: BTreeSet<[u8; 6]>,
    /// MACs that are bound where they are on no list: others may bind them too, and nobody may
    /// list them.
    bound: BTreeSet<[u8; 6]>,
    addresses: BTreeSet<IpAddr>,
}

impl Taken {
    /// Nothing yet.
    pub fn new(suppresses: bool) -> Self {
        Self { suppresses, ..Self::default() }
    }
}

/// Some of them, each once.
fn some(rng: &mut Rng, among: &[&'static str], most: usize) -> Vec<&'static str> {
    let mut list = among.to_vec();
    rng.shuffle(&mut list);
    list.truncate(rng.usize(1..=most));
    list
}

/// The guards of an attachment, and its bindings.
pub fn lines(rng: &mut Rng, service: Service, may_peer: bool, taken: &mut Taken) -> String {
    let mut text = String::new();
    let mut macs = Vec::new();
    // Where most is dropped, little is learned and heard.
    let is_open = rng.bool();
    if is_open {
        text += "over_limit = \"forward\"\n";
    } else if rng.u8(..4) == 0 {
        macs = list_macs(rng, taken);
        if !macs.is_empty() {
            let _ = writeln!(
                text,
                "macs = {:?}",
                macs.iter().copied().map(mac_text).collect::<Vec<_>>()
            );
        }
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
    let mut prefixes = Vec::new();
    if rng.u8(..if is_open { 6 } else { 2 }) == 0 {
        prefixes = some(rng, &PREFIXES, 4);
        let _ = writeln!(text, "prefixes = {prefixes:?}");
    }
    if !is_open && rng.u8(..4) == 0 {
        let list = some(rng, &ETHERTYPES, 6);
        let _ = writeln!(text, "ethertypes = {list:?}");
    }
    if service == Service::Line && rng.u8(..3) > 0 {
        text += "control = \"tunnel\"\n";
    } else if may_peer && rng.bool() {
        text += "control = \"peer\"\n";
    }
    if taken.suppresses && rng.u8(..3) == 0 {
        let prefixes: Vec<Prefix> =
            prefixes.iter().filter_map(|prefix| prefix.parse().ok()).collect();
        let list = bindings(rng, &macs, &prefixes, taken);
        let _ = writeln!(text, "bindings = {list:?}");
    }
    text
}

/// Some of the hosts' addresses, and now and then one that is a port's of the node.
fn list_macs(rng: &mut Rng, taken: &mut Taken) -> Vec<[u8; 6]> {
    let mut list = Vec::new();
    for _ in 0..rng.usize(1..4) {
        let one =
            if rng.u8(..16) == 0 { mac(rng.usize(..DEVICES.len())) } else { host(rng.u8(..HOSTS)) };
        if !taken.bound.contains(&one) && taken.macs.insert(one) {
            list.push(one);
        }
    }
    list
}

/// Some of the hosts' IP addresses, as far as the attachment's lists and other attachments let it
/// have them.
fn bindings(
    rng: &mut Rng,
    macs: &[[u8; 6]],
    prefixes: &[Prefix],
    taken: &mut Taken,
) -> Vec<String> {
    let implied =
        (!prefixes.iter().any(|prefix| prefix.is_link_local())).then_some(Prefix::LINK_LOCAL);
    let may_have = |address| {
        prefixes.is_empty()
            || prefixes.iter().copied().chain(implied).any(|prefix| prefix.contains(address))
    };
    let mut list = Vec::new();
    for _ in 0..rng.usize(1..4) {
        let mac = rng.choice(macs).copied().unwrap_or(host(rng.u8(..HOSTS)));
        let address =
            if rng.bool() { IpAddr::from(any_host4(rng)) } else { IpAddr::from(any_host6(rng)) };
        let is_free = !taken.macs.contains(&mac) || macs.contains(&mac);
        if !is_free || !may_have(address) || !taken.addresses.insert(address) {
            continue;
        }
        if macs.is_empty() {
            taken.bound.insert(mac);
        }
        let router = if address.is_ipv6() && rng.bool() { " router" } else { "" };
        list.push(format!("{address} {}{router}", mac_text(mac)));
    }
    list
}
