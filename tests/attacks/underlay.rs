//! Tunnels that somebody else makes: from a rented server, or from a place in the underlay.

use std::net::IpAddr;

use sillon_rig::{
    Fabric, Frame, PacketSocket, Underlay, Wire,
    frame::{BROADCAST, Macs},
};

use crate::{
    common::{comes, datagram, fabric, mac, soon, stays_away},
    frames::WORD,
};

/// alder's and birch's hosts on one node, and the bare underlay in front of it, as whoever is in it has it.
struct Bench {
    fabric: Fabric,
    alder: Wire,
    birch: Wire,
    underlay: PacketSocket,
    uplink: [u8; 6],
}

impl Bench {
    fn new() -> Self {
        let mut fabric = fabric(Underlay::Direct);
        let [alder, birch] = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
        let file = fabric.file(0).port("p0", "access").port("p1", "access");
        let file = file.segment("alder-lan", 100, "lan", &["10.99.0.2"]).segment(
            "birch-lan",
            200,
            "lan",
            &["10.99.0.3"],
        );
        let file = file.attach("alder-lan", "p0", "untagged").attach("birch-lan", "p1", "untagged");
        let file = file.key("macs", "[\"02:00:00:00:00:01\"]");
        fabric.edges[0].start(&file).unwrap();
        let underlay = fabric.edges[1].netns.enter(|| Ok(PacketSocket::open("up0")?)).unwrap();
        let uplink = fabric.edges[0].netns.mac("up0").unwrap();
        alder.drain().unwrap();
        birch.drain().unwrap();
        Self { fabric, alder, birch, underlay, uplink }
    }

    /// A VXLAN packet to the node.
    fn vxlan(&self, source: [u8; 4], vni: u32, inner: &Frame) -> Frame {
        let macs = Macs { from: mac(66), to: self.uplink };
        let [_, a, b, c] = vni.to_be_bytes();
        let payload = [&[8, 0, 0, 0, a, b, c, 0], &inner.0[..]].concat();
        Frame::udp(macs, (IpAddr::from(source), IpAddr::from([10, 99, 0, 1])), (50_000, 4789), &payload)
    }

    fn send(&self, frame: &Frame) {
        self.underlay.send(&frame.0).unwrap();
    }

    fn dropped(&self, name: &str, reason: &str) -> u64 {
        self.fabric.edges[0].dropped(name, reason).unwrap()
    }

    fn nothing_came(&self) {
        assert!(stays_away(&self.alder, "attack!") && stays_away(&self.birch, "attack!"));
    }
}

fn inner(from: u8) -> Frame {
    datagram(from, BROADCAST, "attack!")
}

const REMOTE: [u8; 4] = [10, 99, 0, 2];
const OTHERS_REMOTE: [u8; 4] = [10, 99, 0, 3];

/// RFC 7348 section 7: "a rogue end point" that injects frames. With the right source and VNI it can, which is why the underlay is the owner's;
/// with any other of either it can't.
#[test]
fn vxlan_from_a_spoofed_vtep() {
    let bench = Bench::new();
    bench.send(&bench.vxlan(REMOTE, 100, &inner(9)));
    assert!(comes(&bench.alder, "attack!"), "the remote of the segment is heard");
    for (count, source) in (1..).zip([OTHERS_REMOTE, [10, 99, 0, 66], [10, 99, 0, 1], [192, 0, 2, 1]]) {
        bench.send(&bench.vxlan(source, 100, &inner(9)));
        assert!(soon(|| bench.dropped("alder-lan", "unknown-source") == count), "{source:?}");
    }
    bench.nothing_came();
}

/// The same with a VNI that is not the source's, or nobody's.
#[test]
fn vxlan_with_a_wrong_vni() {
    let bench = Bench::new();
    bench.send(&bench.vxlan(REMOTE, 200, &inner(9)));
    assert!(soon(|| bench.dropped("birch-lan", "unknown-source") == 1));
    for (count, vni) in (1..).zip([0, 99, 101, 0xff_ffff]) {
        bench.send(&bench.vxlan(REMOTE, vni, &inner(9)));
        assert!(soon(|| bench.dropped("up0", "unknown-vni") == count), "{vni}");
    }
    bench.nothing_came();
}

/// A remote that says to be a server of this node.
#[test]
fn vxlan_with_a_forged_inner_source() {
    let bench = Bench::new();
    bench.send(&bench.vxlan(OTHERS_REMOTE, 200, &inner(1)));
    assert!(soon(|| bench.dropped("birch-lan", "mac-configured") == 1));
    let port = bench.fabric.edges[0].netns.mac("p0").unwrap();
    let mut forged = inner(9);
    forged.0[6..12].copy_from_slice(&port);
    bench.send(&bench.vxlan(REMOTE, 100, &forged));
    assert!(soon(|| bench.dropped("alder-lan", "source-is-node") == 1));
    bench.nothing_came();
}

/// A server that makes tunnels itself: to its port, what it sends is a frame like any other, whoever's address it has.
#[test]
fn vxlan_injection_from_an_access_port() {
    let bench = Bench::new();
    for (source, to) in [(REMOTE, bench.uplink), (OTHERS_REMOTE, bench.uplink), (REMOTE, BROADCAST)] {
        for vni in [100, 200] {
            let mut frame = bench.vxlan(source, vni, &inner(9));
            frame.0[..6].copy_from_slice(&to);
            frame.0[6..12].copy_from_slice(&mac(7));
            bench.alder.send(&frame).unwrap();
            // Also to the port's own address, at which the node would hear it if it were not an operator's.
            frame.0[..6].copy_from_slice(&bench.fabric.edges[0].netns.mac("p0").unwrap());
            bench.alder.send(&frame).unwrap();
        }
    }
    assert!(stays_away(&bench.birch, "attack!"));
    // It is carried, as alder's own, in alder's own tunnel and in no other.
    while let Some(bytes) = bench.underlay.receive(crate::common::SILENCE).unwrap() {
        let frame = Frame(bytes);
        if frame.contains(WORD) {
            assert_eq!(frame.0[46..49], [0, 0, 100], "{frame:?}");
        }
    }
}

/// CVE-2020-10136: IP in IP from anywhere is unpacked and forwarded; CVE-2024-7596: GUE likewise. A node unpacks neither: not on its
/// uplink, where it passes to a host that has no such tunnel, and not on an access port.
#[test]
fn ip_in_ip_and_gue() {
    let bench = Bench::new();
    let vxlan = bench.vxlan(REMOTE, 100, &inner(9));
    let ip = &vxlan.0[14..];
    let outer = |protocol: u8, payload: &[u8]| {
        let mut header = etherparse::Ipv4Header::new(
            payload.len() as u16,
            64,
            protocol.into(),
            [10, 99, 0, 66],
            [10, 99, 0, 1],
        )
        .unwrap();
        header.header_checksum = header.calc_header_checksum();
        let macs = Macs { from: mac(66), to: bench.uplink };
        Frame::ethertype(macs, 0x0800, &[&header.to_bytes()[..], payload].concat())
    };
    let gue = |port: u16| {
        let length = (ip.len() + 12) as u16;
        let udp = [
            &50_000_u16.to_be_bytes()[..],
            &port.to_be_bytes(),
            &length.to_be_bytes(),
            &[0, 0],
            &[0, 4, 0, 0],
            ip,
        ]
        .concat();
        outer(17, &udp)
    };
    let gre = [&[0, 0, 0x65, 0x58][..], &inner(9).0].concat();
    for frame in [outer(4, ip), gue(6080), gue(5555), outer(47, &gre)] {
        bench.send(&frame);
        let mut from_server = frame.clone();
        from_server.0[6..12].copy_from_slice(&mac(7));
        bench.alder.send(&from_server).unwrap();
    }
    bench.nothing_came();
}

/// RFC 7348 section 4.3: VTEPs don't fragment; a fragment would be a tunnel whose header is not there. CVE-2018-5391: of fragments that never
/// become a packet, the host would keep each for a while, so that none of them is left to it.
#[test]
fn vxlan_in_fragments() {
    let bench = Bench::new();
    let piece = |flags: u16, protocol: u8| {
        let mut frame = bench.vxlan(REMOTE, 100, &inner(9));
        frame.0[20..22].copy_from_slice(&flags.to_be_bytes());
        frame.0[23] = protocol;
        let mut header = etherparse::Ipv4Header::from_slice(&frame.0[14..]).unwrap().0;
        header.header_checksum = header.calc_header_checksum();
        frame.0[14..34].copy_from_slice(&header.to_bytes());
        frame
    };
    // The first, one amid, the last, and a first one that ends before its port.
    let pieces = [piece(0x2000, 17), piece(0x2004, 17), piece(0x0008, 17)];
    let short = Frame(pieces[0].0[..36].to_vec());
    for (count, piece) in (1..).zip(pieces.iter().chain([&short])) {
        bench.send(piece);
        assert!(soon(|| bench.dropped("up0", "outer-fragment") == count), "{count}");
    }
    // What is not UDP is the host's: BGP may come in fragments.
    bench.send(&piece(0x0008, 6));
    bench.nothing_came();
    assert_eq!(bench.dropped("up0", "outer-fragment"), 4);
}

/// Truncated, runt, giant and all-zero frames, from a server and inside a tunnel: dropped or carried, never more than they are, and the
/// node goes on.
#[test]
fn frames_of_impossible_sizes() {
    let bench = Bench::new();
    let whole = bench.vxlan(REMOTE, 100, &inner(9));
    for length in 14..whole.0.len() {
        let _ = bench.underlay.send(&whole.0[..length]);
        let _ = bench.alder.send(&Frame(inner(9).0[..length.min(inner(9).0.len() - 8)].to_vec()));
    }
    for zero in [14, 60, 1514, 2900] {
        // The smallest may not even get onto the wire.
        let _ = bench.alder.send(&Frame(vec![0; zero]));
        let _ = bench.underlay.send(&[&bench.uplink[..], &mac(66), &vec![0; zero.min(1600)]].concat());
    }
    let giant = Frame::ethertype(Macs { from: mac(7), to: BROADCAST }, 0x0800, &[b'!'; 1560]);
    bench.alder.send(&giant).unwrap();
    assert!(soon(|| bench.dropped("p0 untagged", "too-big") == 1));
    bench.nothing_came();
    bench.send(&whole);
    assert!(comes(&bench.alder, "attack!"), "the node goes on");
    assert!(bench.fabric.edges[0].sillon(&["verify"]).unwrap().status.success());
}
