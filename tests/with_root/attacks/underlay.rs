//! Tunnels that somebody else makes: from a rented server, or from a place in the underlay.

use std::net::IpAddr;

use sillon_abi::{ClassKey, decision};
use sillon_rig::{
    Fabric, Frame, PacketSocket, Tag, Underlay, Wire,
    frame::{BROADCAST, Macs},
};

use crate::{
    attacks::{frames::WORD, victim},
    common::{SILENCE, comes, datagram, fabric, mac, soon, stays_away},
};

/// alder's and birch's hosts on one node, and the bare underlay in front of it, as whoever is in it
/// has it.
struct Bench {
    fabric: Fabric,
    alder: Wire,
    birch: Wire,
    /// Birch's other host, which the first one talks to all the time.
    birchs_other: Wire,
    underlay: PacketSocket,
    uplink: [u8; 6],
}

impl Bench {
    fn new() -> Self {
        let mut fabric = fabric(Underlay::Direct);
        let ports = ["p0", "p1", "p2"];
        let [alder, birch, birchs_other] = ports.map(|port| fabric.plug(0, port).unwrap());
        // Jumbo frames get as far as the node.
        fabric.edges[0].netns.ip("link set p0 mtu 3000").unwrap();
        let file = ports.into_iter().fold(fabric.file(0), |file, port| file.port(port, "access"));
        let file = file.segment("alder-lan", 100, "lan", &["10.99.0.2"]).segment(
            "birch-lan",
            200,
            "lan",
            &["10.99.0.3"],
        );
        let file = file.attach("alder-lan", "p0", "untagged").attach("birch-lan", "p1", "untagged");
        let file =
            file.key("macs", "[\"02:00:00:00:00:01\"]").attach("birch-lan", "p2", "untagged");
        let file = file.key("macs", "[\"02:00:00:00:00:05\"]");
        fabric.edges[0].start(&file).unwrap();
        let underlay = fabric.edges[1].netns.enter(|| Ok(PacketSocket::open("up0")?)).unwrap();
        let uplink = fabric.edges[0].netns.mac("up0").unwrap();
        alder.drain().unwrap();
        birch.drain().unwrap();
        Self { fabric, alder, birch, birchs_other, underlay, uplink }
    }

    /// Nobody hears of the attack, and birch's hosts talk as if there were none.
    fn withstands(&self, attack: impl FnOnce()) {
        victim::goes_on(&self.birch, mac(5), &self.birchs_other, attack);
        self.nothing_came();
    }

    /// A VXLAN packet to the node.
    fn vxlan(&self, source: [u8; 4], vni: u32, inner: &Frame) -> Frame {
        let macs = Macs { from: mac(66), to: self.uplink };
        let [_, a, b, c] = vni.to_be_bytes();
        let payload = [&[8, 0, 0, 0, a, b, c, 0], &inner.0[..]].concat();
        Frame::udp(
            macs,
            (IpAddr::from(source), IpAddr::from([10, 99, 0, 1])),
            (50_000, 4789),
            &payload,
        )
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

/// RFC 7348 section 7: "a rogue end point" that injects frames. With the right source and VNI it
/// can, which is why the underlay is the owner's; with any other of either it can't.
#[test]
fn vxlan_from_a_spoofed_vtep() {
    let bench = Bench::new();
    bench.send(&bench.vxlan(REMOTE, 100, &inner(9)));
    assert!(comes(&bench.alder, "attack!"), "the remote of the segment is heard");
    bench.withstands(|| {
        for (count, source) in
            (1..).zip([OTHERS_REMOTE, [10, 99, 0, 66], [10, 99, 0, 1], [192, 0, 2, 1]])
        {
            bench.send(&bench.vxlan(source, 100, &inner(9)));
            assert!(soon(|| bench.dropped("alder-lan", "unknown-source") == count), "{source:?}");
        }
    });
}

/// The same with a VNI that is not the source's, or nobody's.
#[test]
fn vxlan_with_a_wrong_vni() {
    let bench = Bench::new();
    bench.withstands(|| {
        bench.send(&bench.vxlan(REMOTE, 200, &inner(9)));
        assert!(soon(|| bench.dropped("birch-lan", "unknown-source") == 1));
        for (count, vni) in (1..).zip([0, 99, 101, 0xff_ffff]) {
            bench.send(&bench.vxlan(REMOTE, vni, &inner(9)));
            assert!(soon(|| bench.dropped("up0", "unknown-vni") == count), "{vni}");
        }
    });
}

/// A remote that says to be a server of this node.
#[test]
fn vxlan_with_a_forged_inner_source() {
    let bench = Bench::new();
    bench.send(&bench.vxlan(OTHERS_REMOTE, 200, &inner(9)));
    assert!(comes(&bench.birch, "attack!"), "what it says in its own name is heard");
    bench.birchs_other.drain().unwrap();
    bench.withstands(|| {
        bench.send(&bench.vxlan(OTHERS_REMOTE, 200, &inner(1)));
        assert!(soon(|| bench.dropped("birch-lan", "mac-configured") == 1));
        let port = bench.fabric.edges[0].netns.mac("p0").unwrap();
        let mut forged = inner(9);
        forged.0[6..12].copy_from_slice(&port);
        bench.send(&bench.vxlan(REMOTE, 100, &forged));
        assert!(soon(|| bench.dropped("alder-lan", "source-is-node") == 1));
    });
}

/// Where a flow is remembered, in the largest memory that there is. Anybody can reckon that, and
/// look for frames that fall into the place of another's.
fn slot(place: u64, source: u32, frame: &Frame) -> u16 {
    let head = u64::from_ne_bytes(*frame.0.first_chunk().unwrap());
    let tail = u32::from_ne_bytes(*frame.0[8..].first_chunk().unwrap());
    decision::slot(place, source.into(), (head, tail)) as u16
}

/// A stranger in the underlay that finds an address, or a VNI, whose frames fall into the place of
/// a flow that is remembered (chosen collisions: S. Crosby, D. Wallach, USENIX Security 2003): they
/// are not that flow's.
#[test]
fn vxlan_that_falls_into_the_place_of_a_remembered_flow() {
    let bench = Bench::new();
    bench.alder.send(&datagram(1, BROADCAST, "here")).unwrap();
    let (flow, attack) = (datagram(9, mac(1), "welcome"), datagram(9, mac(1), "attack!"));
    let place = |vni: u32| decision::TUNNELLED | u64::from(vni.to_be() >> 8);
    let wire = u32::from_ne_bytes;
    let taken = slot(place(100), wire(REMOTE), &flow);
    let source = (1..u32::MAX)
        .map(u32::to_ne_bytes)
        .find(|source| *source != REMOTE && slot(place(100), wire(*source), &flow) == taken);
    let vni = (101..1 << 24).find(|vni| slot(place(*vni), wire(REMOTE), &flow) == taken);
    bench.withstands(|| {
        for (source, vni) in [(source.unwrap(), 100), (REMOTE, vni.unwrap())] {
            for _ in 0..5 {
                bench.send(&bench.vxlan(REMOTE, 100, &flow));
                bench.send(&bench.vxlan(source, vni, &attack));
            }
        }
        assert!(comes(&bench.alder, "welcome"), "the remote's own flow is carried");
        assert!(soon(|| bench.dropped("alder-lan", "unknown-source") == 5));
        assert!(soon(|| bench.dropped("up0", "unknown-vni") == 5));
    });
}

/// The same at a port: an operator finds tags whose frames fall into the place of another's flow.
#[test]
fn tags_that_fall_into_the_place_of_a_remembered_flow() {
    let bench = Bench::new();
    let ifindex = |port| {
        bench.fabric.edges[0].netns.enter(|| Ok(nix::net::if_::if_nametoindex(port)?)).unwrap()
    };
    let (alders, birchs) = (ifindex("p0"), ifindex("p1"));
    let (flow, attack) = (datagram(1, mac(5), "welcome"), datagram(1, mac(5), "attack!"));
    let taken = slot(ClassKey::untagged(birchs).word(), 0, &flow);
    let both = (1..4095).flat_map(|outer| (1..4095).map(move |inner| (outer, inner)));
    let mut colliding = both.filter(|(outer, inner)| {
        slot(ClassKey::qinq(alders, *outer, *inner).word(), 0, &flow) == taken
    });
    let (outer, inner) = colliding.next().unwrap();
    let attack = attack.tagged(&[Tag::s(outer), Tag::c(inner)]);
    bench.birchs_other.send(&datagram(5, BROADCAST, "here")).unwrap();
    bench.birch.send(&datagram(1, BROADCAST, "here")).unwrap();
    for _ in 0..5 {
        bench.birch.send(&flow).unwrap();
        assert!(comes(&bench.birchs_other, "welcome"));
        bench.alder.send(&attack).unwrap();
    }
    assert!(stays_away(&bench.birchs_other, "attack!"));
    assert!(soon(|| bench.dropped("p0", "no-attachment") == 5));
}

/// A server that makes tunnels itself (RFC 7348 section 7). One that it sends to the node, at any
/// of its addresses, ends there; any other is a frame as every frame is, whoever's IP address it
/// has: carried as alder's own, in alder's own tunnel and in no other, since operators' addresses
/// are their own business and may be the same as the owner's.
#[test]
fn vxlan_injection_from_an_access_port() {
    let bench = Bench::new();
    let netns = &bench.fabric.edges[0].netns;
    let own = ["up0", "p0", "p1"].map(|port| netns.mac(port).unwrap());
    let injected = |source, to: [u8; 6], vni| {
        let mut frame = bench.vxlan(source, vni, &inner(9));
        frame.0[..6].copy_from_slice(&to);
        frame.0[6..12].copy_from_slice(&mac(7));
        frame
    };
    bench.withstands(|| {
        let mut count = 0;
        for (source, vni) in
            [(REMOTE, 100), (REMOTE, 200), (OTHERS_REMOTE, 100), (OTHERS_REMOTE, 200)]
        {
            for to in own {
                bench.alder.send(&injected(source, to, vni)).unwrap();
                count += 1;
                assert!(
                    soon(|| bench.dropped("p0 untagged", "destination-is-node") == count),
                    "{to:02x?}"
                );
            }
        }
    });
    let underlay = || bench.underlay.receive(SILENCE).unwrap().map(Frame);
    while let Some(frame) = underlay() {
        assert!(!frame.contains(WORD), "it left the node: {frame:?}");
    }
    bench.alder.send(&injected(REMOTE, BROADCAST, 200)).unwrap();
    let carried = std::iter::from_fn(underlay).find(|frame| frame.contains(WORD)).unwrap();
    assert_eq!(carried.0[46..49], [0, 0, 100], "{carried:?}");
    bench.nothing_came();
}

/// CVE-2020-10136: IP in IP from anywhere is unpacked and forwarded; CVE-2024-7596: GUE likewise. A
/// node unpacks neither: not on its uplink, where it passes to a host that has no such tunnel, and
/// not on an access port.
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
    bench.withstands(|| {
        for (count, frame) in (1..).zip([outer(4, ip), gue(6080), gue(5555), outer(47, &gre)]) {
            bench.send(&frame);
            let mut from_server = frame.clone();
            from_server.0[6..12].copy_from_slice(&mac(7));
            bench.alder.send(&from_server).unwrap();
            assert!(soon(|| bench.dropped("p0 untagged", "destination-is-node") == count));
        }
    });
}

/// RFC 7348 section 4.3: VTEPs don't fragment; a fragment would be a tunnel whose header is not
/// there. CVE-2018-5391: of fragments that never become a packet, the host would keep each for a
/// while, so that none of them is left to it.
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
    bench.withstands(|| {
        for (count, piece) in (1..).zip(pieces.iter().chain([&short])) {
            bench.send(piece);
            assert!(soon(|| bench.dropped("up0", "outer-fragment") == count), "{count}");
        }
        // What is not UDP is the host's: BGP may come in fragments.
        bench.send(&piece(0x0008, 6));
    });
    assert_eq!(bench.dropped("up0", "outer-fragment"), 4);
}

/// Truncated, runt, giant, jumbo and all-zero frames (the "ping of death", CVE-1999-0128, and its
/// kin), from a server and inside a tunnel: dropped or carried, never more than they are, and the
/// node goes on.
#[test]
fn frames_of_impossible_sizes() {
    let bench = Bench::new();
    let whole = bench.vxlan(REMOTE, 100, &inner(9));
    bench.withstands(|| {
        for length in 14..whole.0.len() {
            let _ = bench.underlay.send(&whole.0[..length]);
            let _ =
                bench.alder.send(&Frame(inner(9).0[..length.min(inner(9).0.len() - 8)].to_vec()));
        }
        for zero in [14, 60, 1514, 2900] {
            // The smallest may not even get onto the wire.
            let _ = bench.alder.send(&Frame(vec![0; zero]));
            let _ = bench
                .underlay
                .send(&[&bench.uplink[..], &mac(66), &vec![0; zero.min(1600)]].concat());
        }
    });
    assert!(soon(|| bench.dropped("p0 untagged", "source-zero") >= 3), "zeroes are nobody's frame");
    let of = |length: usize| {
        let filled = [WORD, &vec![b'!'; length - WORD.len()]].concat();
        Frame::ethertype(Macs { from: mac(7), to: BROADCAST }, 0x0800, &filled)
    };
    bench.withstands(|| {
        // One byte too many, and as long as the wire takes.
        for (count, length) in (1..).zip([1501, 1560, 2950]) {
            bench.alder.send(&of(length)).unwrap();
            assert!(soon(|| bench.dropped("p0 untagged", "too-big") == count), "{length}");
            let outer = bench.vxlan(REMOTE, 100, &of(length.min(1600)));
            bench.send(&outer);
            assert!(
                soon(|| bench.dropped("alder-lan", "too-big") == count),
                "{length} in a tunnel"
            );
        }
    });
    bench.send(&whole);
    assert!(comes(&bench.alder, "attack!"), "the node goes on");
    let proof = bench.fabric.edges[0].sillon(&["verify"]).unwrap();
    assert!(proof.status.success(), "{}", String::from_utf8_lossy(&proof.stdout));
}

/// Length fields that lie (CWE-130), and IPv4 options (RFC 7126 tells why nobody needs them): a
/// tunnel whose lengths do not agree with each other, or whose header is not where it should be, is
/// none. What is right about it arrives.
#[test]
fn tunnels_with_bad_length_fields_and_ip_options() {
    let bench = Bench::new();
    let honest = bench.vxlan(REMOTE, 100, &inner(9));
    bench.send(&honest);
    assert!(comes(&bench.alder, "attack!"));
    let lie = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = honest.0.clone();
        change(&mut bytes);
        bytes[24..26].fill(0);
        let words = bytes[14..14 + usize::from(bytes[14] & 0xf) * 4].chunks(2);
        let sum: u32 = words.map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        let folded = (folded & 0xffff) + (folded >> 16);
        bytes[24..26].copy_from_slice(&(!(folded as u16)).to_be_bytes());
        Frame(bytes)
    };
    let total = |by: i32| {
        lie(&move |bytes: &mut Vec<u8>| {
            let length = i32::from(u16::from_be_bytes([bytes[16], bytes[17]])) + by;
            bytes[16..18].copy_from_slice(&(length as u16).to_be_bytes());
        })
    };
    let udp = |length: u16| {
        lie(&move |bytes: &mut Vec<u8>| bytes[38..40].copy_from_slice(&length.to_be_bytes()))
    };
    let options = lie(&|bytes: &mut Vec<u8>| {
        bytes.splice(34..34, [1, 1, 1, 0]);
        bytes[14] = 0x46;
        let length = u16::from_be_bytes([bytes[16], bytes[17]]) + 4;
        bytes[16..18].copy_from_slice(&length.to_be_bytes());
    });
    let attack =
        [total(1), total(-1), total(-60), total(20_000), udp(0), udp(7), udp(65_535), options];
    bench.withstands(|| {
        for (count, frame) in (1..).zip(&attack) {
            bench.send(frame);
            assert!(
                soon(|| bench.dropped("up0", "outer-malformed") == count),
                "{count}: {frame:?}"
            );
        }
    });
}
