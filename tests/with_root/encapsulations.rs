//! Every pair of encapsulations, on one node and across both underlays: what the segment promises
//! arrives at its other end, as the encapsulation there says. All pairs run at once on the same
//! nodes, and all hosts have the same MACs and the same addresses. At XDP, at TC, and between the
//! two.

use std::{net::IpAddr, thread, time::Duration};

use sillon_rig::{
    Fabric, Family, Frame, NodeFile, SmolHost, Tag, Underlay, Wire,
    frame::{BROADCAST, Macs},
    smol::{self, Identity},
};

use crate::common::{Hooks, MIXED, TC, XDP};

const PATIENCE: Duration = Duration::from_secs(3);
const TRANSFER: usize = 10_000_000;
const ENCAPS: [&str; 5] = ["untagged", "dot1q 100", "qinq 200", "qinq 200.300", "port"];

/// The tags of a host's frames behind an attachment; `inner` is what a transparent attachment
/// carries through.
fn tags(encap: &str, inner: &[Tag]) -> Vec<Tag> {
    match encap {
        "untagged" => vec![],
        "dot1q 100" => vec![Tag::c(100)],
        "qinq 200" => [&[Tag::s(200)], inner].concat(),
        "qinq 200.300" => vec![Tag::s(200), Tag::c(300)],
        _ => inner.to_vec(),
    }
}

/// A segment between two attachments.
struct Pair {
    name: String,
    wires: [Wire; 2],
    tags: [Vec<Tag>; 2],
}

/// Where the two ends of each segment are.
#[derive(Clone, Copy)]
enum Ends {
    OneNode,
    Across(Family),
}

fn pairs() -> impl Iterator<Item = (usize, &'static str, &'static str)> {
    let all = ENCAPS.iter().flat_map(|one| ENCAPS.iter().map(move |two| (*one, *two)));
    all.enumerate().map(|(index, (one, two))| (index, one, two))
}

fn segment(file: NodeFile, index: usize, remotes: &[&str]) -> NodeFile {
    file.segment(&format!("op{index}-lan"), 1000 + index as u32, "lan", remotes)
}

fn lay_out(fabric: &mut Fabric, ends: Ends, hooks: Hooks) -> Vec<Pair> {
    let mut files = [fabric.file_at(0, hooks.uplinks), fabric.file_at(1, hooks.uplinks)];
    let mut laid = Vec::new();
    for (index, one, two) in pairs() {
        let far = matches!(ends, Ends::Across(_)) as usize;
        for (edge, file) in files.iter_mut().enumerate().take(far + 1) {
            let remote = match ends {
                Ends::OneNode => vec![],
                Ends::Across(family) => vec![fabric.vtep(1 - edge, family)],
            };
            *file = segment(file.clone(), index, &remote);
        }
        let name = format!("op{index}-lan");
        let ports = [format!("a{index}"), format!("b{index}")];
        let [hook, far_hook] = hooks.ports;
        for (edge, port, encap, hook) in
            [(0, &ports[0], one, hook), (far, &ports[1], two, far_hook)]
        {
            files[edge] =
                files[edge].clone().port_at(port, "access", hook).attach(&name, port, encap);
        }
        let wires = [fabric.plug(0, &ports[0]).unwrap(), fabric.plug(far, &ports[1]).unwrap()];
        let both_transparent = [one, two].iter().all(|encap| ["qinq 200", "port"].contains(encap));
        let inner: &[Tag] = if both_transparent { &[Tag::c(7)] } else { &[] };
        let tags = [tags(one, inner), tags(two, inner)];
        laid.push(Pair { name: format!("{one} to {two}"), wires, tags });
    }
    for (edge, file) in files.iter().enumerate() {
        fabric.edges[edge].start(file).unwrap();
    }
    laid
}

/// A group frame of one end arrives at the other, once and with nothing changed but its tags.
fn group_frame(pair: &Pair, from: usize, to_mac: [u8; 6], to_ip: IpAddr, from_ip: IpAddr) {
    let macs = Macs { from: [2, 0, 0, 0, 0, 1 + from as u8], to: to_mac };
    let frame = Frame::udp(macs, (from_ip, to_ip), (4000, 4001), pair.name.as_bytes());
    pair.wires[from].send(&frame.tagged(&pair.tags[from])).unwrap();
    let wanted = frame.tagged(&pair.tags[1 - from]);
    let came = pair.wires[1 - from].expect(PATIENCE, |frame| *frame == wanted).unwrap();
    assert!(came.is_some(), "{}: no {to_mac:02x?} from end {from}", pair.name);
}

fn talk(pair: Pair) {
    let name = pair.name.clone();
    let v4 = |last| IpAddr::from([10, 0, 0, last]);
    let v6 = |last| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last]);
    for from in [0, 1] {
        let host = 1 + from as u8;
        group_frame(&pair, from, BROADCAST, v4(255), v4(host));
        group_frame(&pair, from, [1, 0, 0x5e, 0, 0, 0xfb], [224, 0, 0, 251].into(), v4(host));
        let group = [0xff02, 0, 0, 0, 0, 0, 0, 0xfb].into();
        group_frame(&pair, from, [0x33, 0x33, 0, 0, 0, 0xfb], group, v6(host.into()));
    }
    let [one, two] = pair.wires;
    let mut one = SmolHost::new(one, &Identity::number(1, &pair.tags[0])).unwrap();
    let mut two = SmolHost::new(two, &Identity::number(2, &pair.tags[1])).unwrap();
    // Nobody knows anybody yet: ARP and neighbour discovery come first.
    assert!(smol::ping(&mut one, &mut two, v4(2), PATIENCE).unwrap(), "{name}: ARP, echo");
    assert!(smol::ping(&mut two, &mut one, v4(1), PATIENCE).unwrap(), "{name}: echo back");
    assert!(smol::ping(&mut one, &mut two, v6(2), PATIENCE).unwrap(), "{name}: ND, echo");
    assert!(smol::ping(&mut two, &mut one, v6(1), PATIENCE).unwrap(), "{name}: ND, echo back");
    let sent = smol::transfer(&mut one, &mut two, v4(2), TRANSFER).unwrap();
    assert!(sent.intact, "{name}: {sent:?}");
    let strays: Vec<_> = one.strays().chain(two.strays()).collect();
    assert!(strays.is_empty(), "{name}: {strays:?}");
}

fn every_pair_talks(ends: Ends, hooks: Hooks) {
    let mut fabric = Fabric::new(Underlay::Direct, env!("CARGO_BIN_EXE_sillon")).unwrap();
    let pairs = lay_out(&mut fabric, ends, hooks);
    // At once: smoltcp waits a second between one address resolution and the next.
    thread::scope(|scope| pairs.into_iter().for_each(|pair| drop(scope.spawn(|| talk(pair)))));
}

#[test]
fn every_pair_of_encapsulations_talks_on_one_node() {
    every_pair_talks(Ends::OneNode, XDP);
}

#[test]
fn every_pair_of_encapsulations_talks_across_ipv4() {
    every_pair_talks(Ends::Across(Family::V4), XDP);
}

#[test]
fn every_pair_of_encapsulations_talks_across_ipv6() {
    every_pair_talks(Ends::Across(Family::V6), XDP);
}

#[test]
fn every_pair_of_encapsulations_talks_on_one_node_at_tc() {
    every_pair_talks(Ends::OneNode, TC);
}

#[test]
fn every_pair_of_encapsulations_talks_across_ipv4_at_tc() {
    every_pair_talks(Ends::Across(Family::V4), TC);
}

#[test]
fn every_pair_of_encapsulations_talks_across_ipv6_at_tc() {
    every_pair_talks(Ends::Across(Family::V6), TC);
}

#[test]
fn every_pair_of_encapsulations_talks_on_one_node_between_tc_and_xdp() {
    every_pair_talks(Ends::OneNode, MIXED);
}

#[test]
fn every_pair_of_encapsulations_talks_across_ipv4_between_tc_and_xdp() {
    every_pair_talks(Ends::Across(Family::V4), MIXED);
}

#[test]
fn every_pair_of_encapsulations_talks_across_ipv6_between_tc_and_xdp() {
    every_pair_talks(Ends::Across(Family::V6), MIXED);
}
