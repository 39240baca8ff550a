//! Ports whose frames are seen to at TC: what is theirs alone, and what they have in common with
//! those at XDP. Every pair of encapsulations is in `encapsulations.rs`, who may receive what in
//! `isolation.rs`.

use std::time::Duration;

use serde_json::Value;
use sillon_rig::{
    Fabric, Family, KernelHost, NodeFile, PacketSocket, Tag, Underlay, Wire, frame::BROADCAST,
};

use crate::common::{comes, datagram, fabric, mac, soon, stays_away, stream};

/// Bytes of a transfer: enough for many super-packets.
const BYTES: usize = 32 << 20;
/// Most that a packet has.
const MTU: u64 = 1500;

/// A segment between `p0` and `p1` of one edge and `p0` of the other; all ports are at `hook`, and
/// the uplinks at `uplink`.
fn file(fabric: &Fabric, edge: usize, hook: &str, uplink: &str) -> NodeFile {
    let remote = fabric.vtep(1 - edge, Family::V4);
    let file =
        fabric.file_at(edge, uplink).port_at("p0", "access", hook).port_at("p1", "access", hook);
    let file =
        file.segment("alder-lan", 100, "lan", &[remote]).attach("alder-lan", "p0", "untagged");
    if edge == 0 { file.attach("alder-lan", "p1", "dot1q 100") } else { file }
}

/// Host 1 at edge 0, host 2 at edge 1, whose second port has no attachment.
fn wires(fabric: &mut Fabric, hook: &str, uplink: &str) -> [Wire; 4] {
    let wires = [(0, "p0"), (1, "p0"), (1, "p1"), (0, "p1")]
        .map(|(edge, port)| fabric.plug(edge, port).unwrap());
    start(fabric, hook, uplink);
    wires
}

fn start(fabric: &mut Fabric, hook: &str, uplink: &str) {
    for edge in [0, 1] {
        let file = file(fabric, edge, hook, uplink);
        fabric.edges[edge].start(&file).unwrap();
    }
}

/// The rig readies its underlay for XDP.
fn ready_underlay_for_tc(fabric: &Fabric) {
    for edge in &fabric.edges {
        edge.netns
            .run("ethtool", &["-K", "up0", "tx", "on", "tso", "on", "gso", "on", "gro", "on"])
            .unwrap();
    }
}

fn greet(wires: &[Wire; 4]) {
    wires[1].send(&datagram(2, BROADCAST, "I am 2")).unwrap();
    assert!(comes(&wires[0], "I am 2"));
    wires[0].send(&datagram(1, BROADCAST, "I am 1")).unwrap();
    assert!(comes(&wires[1], "I am 1"));
}

fn port(fabric: &Fabric, edge: usize, name: &str) -> Value {
    let ports = fabric.edges[edge].show("ports").unwrap();
    ports.into_iter().find(|port| port["name"] == name).unwrap()
}

/// Frames and bytes that the attachment on a port has received and sent.
fn traffic(fabric: &Fabric, edge: usize) -> [u64; 4] {
    let port = port(fabric, edge, "p0");
    let traffic = &port["attachments"][0]["traffic"];
    ["in_frames", "in_bytes", "out_frames", "out_bytes"].map(|key| traffic[key].as_u64().unwrap())
}

/// Two kernels as hosts, with all that their devices can do for them on, as it is by default.
fn kernels(wires: [Wire; 4]) -> [KernelHost; 2] {
    let [one, two, ..] = wires;
    let mut number = 0;
    [one, two].map(|wire| {
        number += 1;
        wire.netns
            .run("ethtool", &["-K", "eth0", "tx", "on", "tso", "on", "gso", "on", "gro", "on"])
            .unwrap();
        let addresses = [format!("10.0.0.{number}/24"), format!("fd00::{number}/64")];
        let addresses = [addresses[0].as_str(), addresses[1].as_str()];
        KernelHost::new(wire, &format!("02:00:00:00:00:0{number}"), &addresses).unwrap()
    })
}

/// Sends bytes from one host to the other, and says how many bytes a frame had where it came in and
/// where it went out.
fn bytes_a_frame(fabric: &Fabric, hosts: &[KernelHost; 2], (from, to): (usize, &str)) -> [u64; 2] {
    let edges = [from, 1 - from];
    let before = edges.map(|edge| traffic(fabric, edge));
    let transfer = hosts[from].transfer(&hosts[1 - from], to.parse().unwrap(), BYTES).unwrap();
    assert!(transfer.intact);
    eprintln!("{:.1} Gbit/s", transfer.gigabits());
    let after = edges.map(|edge| traffic(fabric, edge));
    let of = |edge: usize, at: usize| after[edge][at] - before[edge][at];
    [of(0, 1) / of(0, 0), of(1, 3) / of(1, 2)]
}

#[test]
fn super_packets_cross_whole() {
    let mut fabric = fabric(Underlay::Direct);
    let hosts = kernels(wires(&mut fabric, "tc", "tc"));
    ready_underlay_for_tc(&fabric);
    for to in ["10.0.0.2", "fd00::2"] {
        let sizes = bytes_a_frame(&fabric, &hosts, (0, to));
        assert!(sizes.iter().all(|size| *size > 4 * MTU), "{to}: {sizes:?} bytes a frame");
    }
}

/// What a virtual machine's kernel leaves to its card goes through the tap and the tunnel as it is,
/// both ways.
#[test]
fn a_virtual_machine_behind_a_tap_keeps_its_super_packets() {
    let mut fabric = fabric(Underlay::Direct);
    let [one, two] = [0, 1].map(|edge| fabric.boot(edge, "p0").unwrap());
    let [three, four] = [1, 0].map(|edge| fabric.plug(edge, "p1").unwrap());
    start(&mut fabric, "auto", "tc");
    ready_underlay_for_tc(&fabric);
    assert_eq!(port(&fabric, 0, "p0")["hook"], "tc", "auto is TC on a tap");
    let hosts = kernels([one, two, three, four]);
    for (from, to) in [(0, "10.0.0.2"), (0, "fd00::2"), (1, "10.0.0.1"), (1, "fd00::1")] {
        let sizes = bytes_a_frame(&fabric, &hosts, (from, to));
        assert!(sizes.iter().all(|size| *size > 4 * MTU), "{to}: {sizes:?} bytes a frame");
    }
}

/// The underlay's frames are one packet each there, and what is decapsulated is put together again.
#[test]
fn behind_an_uplink_at_xdp_packets_become_super_packets_again() {
    let mut fabric = fabric(Underlay::Direct);
    let hosts = kernels(wires(&mut fabric, "tc", "xdp"));
    // One of these packets is a frame of the uplink's, which counts it there; the kernel of the
    // host puts as many together as came at once.
    for to in ["10.0.0.2", "fd00::2"] {
        let [sent, _] = bytes_a_frame(&fabric, &hosts, (0, to));
        assert!(sent > 4 * MTU, "{to}: {sent} bytes a frame");
    }
}

#[test]
fn a_profile_charges_what_goes_on_the_wire() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = wires(&mut fabric, "tc", "tc");
    let remote = fabric.vtep(1, Family::V4);
    let file = fabric.file_at(0, "tc").port_at("p0", "access", "tc").port_at("p1", "access", "tc");
    let file =
        file.segment("alder-lan", 100, "lan", &[remote]).attach("alder-lan", "p0", "untagged");
    let file = file.key("ingress", "\"fast\"").attach("alder-lan", "p1", "dot1q 100");
    let file = file.profile("fast").key("cir", "\"100 Gbit/s\"").key("cbs", "\"64 MiB\"");
    fabric.edges[0].reload(&file).unwrap();
    let hosts = kernels(wires);
    let [sent, _] = bytes_a_frame(&fabric, &hosts, (0, "10.0.0.2"));
    assert!(sent > 4 * MTU, "{sent} bytes a frame");
    let guards = fabric.edges[0].show("guards").unwrap();
    let guard = guards.iter().find(|guard| guard["port"] == "p0").unwrap();
    let charged = guard["ingress"]["green"]["bytes"].as_u64().unwrap();
    // Each packet has 1448 bytes of what is sent, and 66 of headers, of which a super-packet has
    // but one.
    let on_the_wire = BYTES as u64 / 1448 * 1514;
    assert!(charged >= on_the_wire, "{charged} bytes of {on_the_wire}");
}

#[test]
fn a_port_without_an_attachment_carries_nothing_at_tc() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = wires(&mut fabric, "tc", "tc");
    greet(&wires);
    let before = fabric.edges[1].dropped("p1", "no-attachment").unwrap();
    wires[2].send(&datagram(3, BROADCAST, "let me in")).unwrap();
    wires[2].send(&datagram(3, mac(2), "let me in")).unwrap();
    assert!(stays_away(&wires[0], "let me in") && stays_away(&wires[1], "let me in"));
    assert_eq!(fabric.edges[1].dropped("p1", "no-attachment").unwrap() - before, 2);
    assert!(stays_away(&wires[2], "I am"), "a port without an attachment heard something");
}

#[test]
fn the_nodes_own_stack_says_nothing_on_a_port_at_tc() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = wires(&mut fabric, "tc", "tc");
    greet(&wires);
    let before = fabric.edges[0].dropped("p0", "host-egress").unwrap();
    let netns = &fabric.edges[0].netns;
    netns
        .ip("addr add 10.77.0.1/24 dev p0\nneigh add 10.77.0.2 lladdr 02:00:00:00:00:01 dev p0")
        .unwrap();
    let _ = netns.run("ping", &["-c", "1", "-W", "1", "10.77.0.2"]);
    assert!(fabric.edges[0].dropped("p0", "host-egress").unwrap() > before);
}

#[test]
fn an_agent_that_is_killed_and_started_again_loses_no_frame_at_tc() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = wires(&mut fabric, "tc", "tc");
    greet(&wires);
    for to in [mac(2), BROADCAST] {
        let stream = stream(&wires[0], to, &wires[1], || {
            for edge in [0, 1, 0] {
                fabric.edges[edge].kill().unwrap();
                fabric.edges[edge].restart().unwrap();
            }
        });
        assert!(stream.sent > 500, "only {} frames were sent", stream.sent);
        assert!(stream.lost.is_empty() && stream.doubled == 0, "{:?} lost", stream.lost);
    }
}

#[test]
fn a_flush_takes_a_port_at_tc_down() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = wires(&mut fabric, "tc", "tc");
    greet(&wires);
    assert_eq!(port(&fabric, 0, "p0")["hook"], "tc");
    fabric.edges[0].stop().unwrap();
    fabric.edges[0].flush().unwrap();
    wires[0].send(&datagram(1, BROADCAST, "still there?")).unwrap();
    assert!(stays_away(&wires[1], "still there?"));
    let left = fabric.edges[0].netns.run("bpftool", &["net", "show"]).unwrap_or_default();
    assert!(!left.contains("sillon"), "{left}");
}

/// How many frames a device of edge 0 has sent.
fn sent(fabric: &Fabric, device: &str) -> u64 {
    let links =
        fabric.edges[0].netns.run("ip", &["-j", "-s", "link", "show", "dev", device]).unwrap();
    let links: Value = serde_json::from_str(&links).unwrap();
    links[0]["stats64"]["tx"]["packets"].as_u64().unwrap()
}

/// Between two ports of one node, and out of a tunnel, a frame for one address is in the other
/// network namespace without having been sent by the port's device; so it is no more if the far end
/// comes to be in the node's own.
#[test]
fn what_is_for_one_address_goes_to_the_far_end_at_once() {
    for uplink in ["tc", "xdp"] {
        let mut fabric = fabric(Underlay::Direct);
        let wires = wires(&mut fabric, "tc", uplink);
        greet(&wires);
        wires[3].send(&datagram(4, BROADCAST, "I am 4").tagged(&[Tag::c(100)])).unwrap();
        assert!(comes(&wires[0], "I am 4") && comes(&wires[1], "I am 4"));
        let before = sent(&fabric, "p1");
        for from in [1, 2] {
            for number in 0..20 {
                let text = format!("{number} of {from}");
                wires[from - 1].send(&datagram(from as u8, mac(4), &text)).unwrap();
                assert!(comes(&wires[3], &text));
            }
        }
        assert_eq!(sent(&fabric, "p1"), before);
        wires[0].send(&datagram(1, BROADCAST, "to all")).unwrap();
        assert!(comes(&wires[3], "to all"));
        assert_eq!(sent(&fabric, "p1"), before + 1);
        let home = fabric.edges[0].netns.path();
        let home = home.to_str().unwrap();
        wires[3].netns.run("ip", &["link", "set", "eth0", "netns", home]).unwrap();
        let edge = &fabric.edges[0].netns;
        edge.ip("link set eth0 up").unwrap();
        let socket = edge.enter(|| Ok(PacketSocket::open("eth0")?)).unwrap();
        assert!(soon(|| {
            wires[0].send(&datagram(1, mac(4), "at home")).unwrap();
            let frame = socket.receive(Duration::from_millis(50)).unwrap();
            frame.is_some_and(|frame| frame.windows(7).any(|text| text == b"at home"))
        }));
        assert!(sent(&fabric, "p1") > before + 1);
    }
}

#[test]
fn a_hook_is_told_and_can_not_be_changed_under_way() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = wires(&mut fabric, "auto", "auto");
    greet(&wires);
    let hooks =
        ["p0", "p1", "up0"].map(|name| port(&fabric, 0, name)["hook"].as_str().unwrap().to_owned());
    assert_eq!(hooks, ["tc", "tc", "xdp"], "auto is TC on a veth that is no uplink");
    let refused = fabric.edges[0].reload(&file(&fabric, 0, "xdp", "auto")).unwrap_err();
    assert!(format!("{refused:#}").contains("hook"), "{refused:#}");
    greet(&wires);
    // Out, and in again.
    let without = fabric.file_at(0, "auto");
    fabric.edges[0].reload(&without).unwrap();
    fabric.edges[0].reload(&file(&fabric, 0, "xdp", "auto")).unwrap();
    assert_eq!(port(&fabric, 0, "p0")["hook"], "xdp");
    assert!(soon(|| {
        wires[1].send(&datagram(2, BROADCAST, "I am 2")).unwrap();
        comes(&wires[0], "I am 2")
    }));
    let proof = fabric.edges[0].sillon(&["verify", "--node", fabric.edges[0].name()]).unwrap();
    assert!(
        proof.status.success(),
        "{}",
        String::from_utf8_lossy(&[proof.stdout, proof.stderr].concat())
    );
}

/// How many instructions the verifier may walk through. The kernel gives up at a million; long
/// before that an agent starts slowly, and is taken over slowly: half a million were two seconds
/// and a half.
const WALK: u32 = 200_000;

#[test]
fn the_verifier_is_soon_through_with_every_program() {
    let mut fabric = fabric(Underlay::Direct);
    let _wires = wires(&mut fabric, "tc", "xdp");
    // Those of other tests are the same, and may go at any moment.
    let programs: Vec<_> = aya::programs::loaded_programs().filter_map(Result::ok).collect();
    for name in ["sillon_xdp", "sillon_tc", "sillon_ingress", "sillon_egress", "sillon_apart"] {
        let named = programs.iter().filter(|program| program.name_as_str() == Some(name));
        let walked = named.filter_map(aya::programs::ProgramInfo::verified_instruction_count).max();
        assert!(walked.is_some_and(|walked| walked < WALK), "{name}: {walked:?} instructions");
    }
}
