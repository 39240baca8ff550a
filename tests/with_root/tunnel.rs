//! The outer header, both ways, held against its RFCs byte for byte. Edge 1 has no agent: what it
//! does is up to the test.

use std::{collections::BTreeSet, time::Instant};

use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6Header, NetSlice, SlicedPacket,
    TransportSlice, UdpHeader,
};
use sillon_rig::{
    Fabric, Family, Frame, PacketSocket, Tag, Underlay, Wire,
    frame::{BROADCAST, Macs},
};

use crate::common::{self, PATIENCE, comes, datagram, fabric, mac, soon, stays_away, v4, v6};

const VNI: u32 = 0x00ab_cdef;
/// A segment that has another remote than [`VNI`]'s.
const OTHER_VNI: u32 = 77;
const VXLAN: u16 = 4789;

/// Edge 0 with host 1 at `p0`, and the bare underlay in front of it.
struct Bench {
    fabric: Fabric,
    host: Wire,
    other: Wire,
    underlay: PacketSocket,
    uplink: [u8; 6],
}

impl Bench {
    fn new(family: Family, keys: &[(&str, &str)]) -> Self {
        let mut fabric = fabric(Underlay::Direct);
        let [host, other] = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
        let mut file = fabric.file(0).port("p0", "access").port("p1", "access");
        file = file.segment("alder-lan", VNI, "lan", &[fabric.vtep(1, family)]);
        file = keys.iter().fold(file, |file, (key, value)| file.key(key, value));
        let far = if family == Family::V4 { "10.99.0.3" } else { "fd99::3" };
        file = file.segment("birch-lan", OTHER_VNI, "lan", &[far]);
        file = file.attach("alder-lan", "p0", "untagged").attach("birch-lan", "p1", "untagged");
        fabric.edges[0].start(&file).unwrap();
        let underlay = fabric.edges[1].netns.enter(|| Ok(PacketSocket::open("up0")?)).unwrap();
        let uplink = fabric.edges[0].netns.mac("up0").unwrap();
        Self { fabric, host, other, underlay, uplink }
    }

    /// The next VXLAN packet that edge 0 sends.
    fn next(&self) -> Outer {
        let end = Instant::now() + PATIENCE;
        while let Some(patience) = end.checked_duration_since(Instant::now()) {
            let frame = Frame(self.underlay.receive(patience).unwrap().unwrap());
            if let Some(outer) = Outer::read(&frame) {
                return outer;
            }
        }
        panic!("no VXLAN packet comes");
    }

    fn dropped(&self, name: &str, reason: &str) -> u64 {
        self.fabric.edges[0].dropped(name, reason).unwrap()
    }
}

/// What a VXLAN packet's outer header says.
#[derive(Debug)]
struct Outer {
    to: [u8; 6],
    ttl: u8,
    tos: u8,
    dont_fragment: bool,
    ports: (u16, u16),
    udp_checksum: u16,
    /// Flags and VNI.
    vxlan: [u8; 8],
    inner: Frame,
}

impl Outer {
    /// Reads it; panics where lengths or the checksum of IPv4 are wrong.
    fn read(frame: &Frame) -> Option<Self> {
        let sliced = SlicedPacket::from_ethernet(&frame.0).unwrap();
        let Some(TransportSlice::Udp(udp)) = &sliced.transport else { return None };
        if udp.destination_port() != VXLAN {
            return None;
        }
        assert_eq!(usize::from(udp.length()), udp.slice().len());
        let (ttl, tos, dont_fragment) = match sliced.net.as_ref()? {
            NetSlice::Ipv4(ip) => {
                let header = ip.header().to_header();
                assert_eq!(header.header_checksum, header.calc_header_checksum());
                assert_eq!(usize::from(header.total_len) + 14, frame.0.len());
                (
                    header.time_to_live,
                    header.dscp.value() << 2 | header.ecn.value(),
                    header.dont_fragment,
                )
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header().to_header();
                assert_eq!(usize::from(header.payload_length) + 54, frame.0.len());
                (header.hop_limit, header.traffic_class, true)
            }
            NetSlice::Arp(_) => return None,
        };
        let (vxlan, inner) = udp.payload().split_first_chunk().unwrap();
        Some(Self {
            to: frame.0[..6].try_into().unwrap(),
            ttl,
            tos,
            dont_fragment,
            ports: (udp.source_port(), udp.destination_port()),
            udp_checksum: udp.checksum(),
            vxlan: *vxlan,
            inner: Frame(inner.to_vec()),
        })
    }
}

/// A VXLAN packet as a remote would send it; tests change what they are about.
#[derive(Clone)]
struct Forged {
    to: [u8; 6],
    ip: Ip,
    udp_length: Option<u16>,
    vxlan: [u8; 8],
    inner: Frame,
}

#[derive(Clone)]
enum Ip {
    V4(Ipv4Header),
    V6(Ipv6Header),
}

impl Forged {
    fn new(bench: &Bench, family: Family, inner: &Frame) -> Self {
        let [to, from] = [0, 1].map(|edge| bench.fabric.vtep(edge, family));
        let len = u16::try_from(inner.0.len() + 16).unwrap();
        let ip = match family {
            Family::V4 => {
                let octets = |text: &str| text.parse::<std::net::Ipv4Addr>().unwrap().octets();
                Ip::V4(Ipv4Header::new(len, 64, IpNumber::UDP, octets(from), octets(to)).unwrap())
            }
            Family::V6 => {
                let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
                Ip::V6(Ipv6Header {
                    payload_length: len,
                    next_header: IpNumber::UDP,
                    hop_limit: 64,
                    source: octets(from),
                    destination: octets(to),
                    ..Ipv6Header::default()
                })
            }
        };
        let [_, a, b, c] = VNI.to_be_bytes();
        Self {
            to: bench.uplink,
            ip,
            udp_length: None,
            vxlan: [8, 0, 0, 0, a, b, c, 0],
            inner: inner.clone(),
        }
    }

    fn with_vni(mut self, vni: u32) -> Self {
        self.vxlan[4..7].copy_from_slice(&vni.to_be_bytes()[1..]);
        self
    }

    fn v4(mut self, change: impl FnOnce(&mut Ipv4Header)) -> Self {
        if let Ip::V4(header) = &mut self.ip {
            change(header);
        }
        self
    }

    fn frame(&self) -> Frame {
        let ether_type =
            if matches!(self.ip, Ip::V4(_)) { EtherType::IPV4 } else { EtherType::IPV6 };
        let mut bytes = Ethernet2Header { source: mac(99), destination: self.to, ether_type }
            .to_bytes()
            .to_vec();
        match &self.ip {
            Ip::V4(header) => header.write(&mut bytes).unwrap(),
            Ip::V6(header) => header.write(&mut bytes).unwrap(),
        }
        let length = self.udp_length.unwrap_or(u16::try_from(self.inner.0.len() + 16).unwrap());
        let udp = UdpHeader { source_port: 50_000, destination_port: VXLAN, length, checksum: 0 };
        bytes.extend(udp.to_bytes());
        bytes.extend(self.vxlan);
        bytes.extend(&self.inner.0);
        Frame(bytes)
    }

    fn send(&self, bench: &Bench) {
        bench.underlay.send(&self.frame().0).unwrap();
    }
}

#[test]
fn the_outer_header_is_what_the_rfcs_say() {
    for family in [Family::V4, Family::V6] {
        let bench = Bench::new(family, &[]);
        let inner = datagram(1, BROADCAST, "out");
        bench.host.send(&inner).unwrap();
        let outer = bench.next();
        let [_, a, b, c] = VNI.to_be_bytes();
        assert_eq!(outer.vxlan, [8, 0, 0, 0, a, b, c, 0], "RFC 7348 section 5");
        assert_eq!(outer.inner, inner);
        assert_eq!((outer.ttl, outer.dont_fragment, outer.udp_checksum), (64, true, 0));
        assert!(outer.ports.0 >= 49152, "RFC 7348 section 5: {:?}", outer.ports);
        assert_eq!(outer.to, bench.fabric.edges[1].netns.mac("up0").unwrap());
    }
}

#[test]
fn a_flow_has_one_source_port_and_flows_have_many() {
    let bench = Bench::new(Family::V4, &[]);
    let port_of = |flow: u16, payload: &str| {
        let macs = Macs { from: mac(1), to: mac(2) };
        let frame = Frame::udp(macs, (v4(1), v4(2)), (flow, 9), payload.as_bytes());
        bench.host.send(&frame).unwrap();
        bench.next().ports.0
    };
    let ports: BTreeSet<u16> = (1000..1100).map(|flow| port_of(flow, "x")).collect();
    assert!(ports.len() > 90, "{} source ports of 100 flows", ports.len());
    assert_eq!(port_of(1005, "one"), port_of(1005, "another"));
}

/// Only a datagram's first fragment has its ports, and all must go the same way (RFC 7348 section
/// 5): also of a flow that is decided.
#[test]
fn fragments_of_a_decided_flow_keep_together() {
    let bench = Bench::new(Family::V4, &[]);
    Forged::new(&bench, Family::V4, &datagram(2, mac(1), "learn me")).send(&bench);
    assert!(comes(&bench.host, "learn me"));
    let port_of = |flow: u16, fragment: u16| {
        let mut frame = Frame::udp(
            Macs { from: mac(1), to: mac(2) },
            (v4(1), v4(2)),
            (flow, 9),
            b"piece by piece",
        );
        let (mut header, _) = Ipv4Header::from_slice(&frame.0[14..]).unwrap();
        header.more_fragments = fragment == 0;
        header.fragment_offset = fragment.try_into().unwrap();
        header.header_checksum = header.calc_header_checksum();
        frame.0[14..34].copy_from_slice(&header.to_bytes());
        bench.host.send(&frame).unwrap();
        bench.next().ports.0
    };
    let ports: BTreeSet<u16> = (1000..1020)
        .flat_map(|flow| [(flow, 0), (flow, 1)])
        .map(|(flow, piece)| port_of(flow, piece))
        .collect();
    assert_eq!(ports.len(), 1, "{ports:?}");
}

#[test]
fn ecn_is_copied_out_and_dscp_is_the_owners() {
    for (keys, dscp) in [(&[][..], 0), (&[("dscp", "10")], 10)] {
        let bench = Bench::new(Family::V4, keys);
        for ecn in 0..4 {
            for is_v4 in [true, false] {
                let inner = marked(1, BROADCAST, 46 << 2 | ecn, is_v4);
                bench.host.send(&inner).unwrap();
                let outer = bench.next();
                assert_eq!((outer.tos >> 2, outer.tos & 3), (dscp, ecn), "inner IPv4: {is_v4}");
                assert_eq!(outer.inner, inner);
            }
        }
    }
}

/// A datagram with this traffic class.
fn marked(from: u8, to: [u8; 6], class: u8, is_v4: bool) -> Frame {
    let (ips, macs) =
        (if is_v4 { (v4(1), v4(2)) } else { (v6(1), v6(2)) }, Macs { from: mac(from), to });
    let mut frame = Frame::udp(macs, ips, (1, 2), b"marked");
    if is_v4 {
        let (mut header, _) = Ipv4Header::from_slice(&frame.0[14..]).unwrap();
        header.dscp = (class >> 2).try_into().unwrap();
        header.ecn = (class & 3).try_into().unwrap();
        header.header_checksum = header.calc_header_checksum();
        frame.0[14..34].copy_from_slice(&header.to_bytes());
    } else {
        frame.0[14] = 0x60 | class >> 4;
        frame.0[15] = class << 4;
    }
    frame
}

/// RFC 6040 figure 4: rows are the inner field, columns the outer one; not-ECT, ECT(0), ECT(1), CE
/// of each. `None` is a drop.
const COMBINED: [(u8, [Option<u8>; 4]); 4] = [
    (0b00, [Some(0b00), Some(0b00), Some(0b00), None]),
    (0b10, [Some(0b10), Some(0b10), Some(0b01), Some(0b11)]),
    (0b01, [Some(0b01), Some(0b01), Some(0b01), Some(0b11)]),
    (0b11, [Some(0b11), Some(0b11), Some(0b11), Some(0b11)]),
];
const OUTER_FIELDS: [u8; 4] = [0b00, 0b10, 0b01, 0b11];

/// To everybody, where each frame is looked up, and to one host, where what was decided on the flow
/// is in the cache.
#[test]
fn ecn_is_combined_on_the_way_in() {
    for (family, to) in
        [Family::V4, Family::V6].into_iter().flat_map(|f| [(f, BROADCAST), (f, mac(1))])
    {
        let bench = Bench::new(family, &[]);
        bench.host.send(&datagram(1, BROADCAST, "here")).unwrap();
        bench.next();
        let mut drops = 0;
        for ((inner, row), is_v4) in COMBINED.iter().flat_map(|row| [(row, true), (row, false)]) {
            for (outer, combined) in OUTER_FIELDS.iter().zip(row) {
                let mut forged = Forged::new(&bench, family, &marked(2, to, *inner, is_v4));
                match &mut forged.ip {
                    Ip::V4(header) => {
                        header.ecn = (*outer).try_into().unwrap();
                        header.header_checksum = header.calc_header_checksum();
                    }
                    Ip::V6(header) => header.traffic_class = *outer,
                }
                forged.send(&bench);
                let name = format!(
                    "{family:?}, to {to:x?}, inner {inner:02b} (IPv4: {is_v4}), outer {outer:02b}"
                );
                if let Some(combined) = combined {
                    let wanted = marked(2, to, *combined, is_v4);
                    assert!(
                        bench.host.expect(PATIENCE, |came| *came == wanted).unwrap().is_some(),
                        "{name}"
                    );
                } else {
                    drops += 1;
                    assert!(
                        soon(|| bench.dropped("alder-lan", "ecn-not-capable") == drops),
                        "{name}"
                    );
                    assert!(stays_away(&bench.host, "marked"), "{name}");
                }
            }
        }
    }
}

#[test]
fn reserved_bits_of_the_vxlan_header_are_ignored() {
    let bench = Bench::new(Family::V4, &[]);
    let mut forged = Forged::new(&bench, Family::V4, &datagram(2, BROADCAST, "reserved"));
    forged.vxlan[0] = 0xff;
    forged.vxlan[1..4].fill(0xff);
    forged.vxlan[7] = 0xff;
    forged.send(&bench);
    assert!(comes(&bench.host, "reserved"));
}

/// With the G bit (VXLAN-GBP), a policy of the sender's stands where our nodes have their marks.
#[test]
fn a_group_policy_is_no_mark_of_ours() {
    for hooks in [common::XDP, common::TC] {
        let mut fabric = fabric(Underlay::Direct);
        let [host, other] = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
        let file = fabric.file_at(0, hooks.uplinks).port_at("p0", "access", hooks.ports[0]);
        let file = file.segment("alder-tree", VNI, "tree", &[fabric.vtep(1, Family::V4)]);
        let file = file.attach("alder-tree", "p0", "dot1q 5").key("role", "\"leaf\"");
        fabric.edges[0].start(&file).unwrap();
        let underlay = fabric.edges[1].netns.enter(|| Ok(PacketSocket::open("up0")?)).unwrap();
        let uplink = fabric.edges[0].netns.mac("up0").unwrap();
        let bench = Bench { fabric, host, other, underlay, uplink };
        // Known from here on, so that it gets its frames on the shortest way.
        bench.host.send(&datagram(1, BROADCAST, "I am 1").tagged(&[Tag::c(5)])).unwrap();
        assert_eq!(bench.next().vxlan[3], 1, "a leaf says so");
        let mut number = 0;
        let mut arrives = |to, [flags, d, policy, marks]: [u8; 4]| {
            number += 1;
            let word = format!("number {number:03}");
            let mut forged = Forged::new(&bench, Family::V4, &datagram(2, to, &word));
            forged.vxlan[..4].copy_from_slice(&[flags, d, policy, marks]);
            forged.send(&bench);
            let came =
                bench.host.expect(PATIENCE / 6, |frame| frame.contains(word.as_bytes())).unwrap();
            came.map(|frame| frame.tags().iter().map(|tag| tag.dei).collect::<Vec<_>>())
        };
        for to in [BROADCAST, mac(1), mac(1), mac(1)] {
            for first in [
                [0x88, 0, 0xff, 0xff],
                [0x88, 0, 0, 1],
                [0x88, 0x48, 0, 3],
                [0x8f, 0, 0, 3],
                [8, 0, 0, 0],
            ] {
                assert_eq!(
                    arrives(to, first),
                    Some(vec![false]),
                    "{first:x?} to {to:x?} is green and of a root"
                );
            }
            assert_eq!(arrives(to, [8, 0, 0, 1]), None, "that of a leaf stays one");
            assert_eq!(arrives(to, [8, 0, 0, 2]), Some(vec![true]), "and yellow is yellow");
        }
    }
}

#[test]
fn padding_behind_the_datagram_is_cut_off() {
    let bench = Bench::new(Family::V4, &[]);
    let inner = datagram(2, BROADCAST, "padded");
    let mut frame = Forged::new(&bench, Family::V4, &inner).frame();
    frame.0.extend([0xee; 9]);
    bench.underlay.send(&frame.0).unwrap();
    assert!(bench.host.expect(PATIENCE, |came| *came == inner).unwrap().is_some());
}

#[test]
fn strangers_and_malformed_packets_are_dropped_for_their_reason() {
    for family in [Family::V4, Family::V6] {
        let bench = Bench::new(family, &[]);
        let good = || Forged::new(&bench, family, &datagram(2, BROADCAST, "forged"));
        let mut stranger = good();
        match &mut stranger.ip {
            Ip::V4(header) => {
                header.source[3] = 66;
                header.header_checksum = header.calc_header_checksum();
            }
            Ip::V6(header) => header.source[15] = 66,
        }
        let mut flagless = good();
        flagless.vxlan[0] = 0xf7;
        let mut long = good();
        long.udp_length = Some(4000);
        let mut short = good();
        short.udp_length = Some(20);
        let cases = [
            ("alder-lan", "unknown-source", stranger, 1),
            // This remote is one of another segment, which makes it no less a stranger to this
            // one.
            ("birch-lan", "unknown-source", good().with_vni(OTHER_VNI), 1),
            ("up0", "unknown-vni", good().with_vni(1), 1),
            ("up0", "no-vni-flag", flagless, 1),
            ("up0", "outer-malformed", long, 1),
            ("up0", "outer-malformed", short, 2),
        ];
        for (name, reason, forged, count) in cases {
            forged.send(&bench);
            assert!(soon(|| bench.dropped(name, reason) == count), "{family:?} {name} {reason}");
        }
        assert!(stays_away(&bench.host, "forged") && stays_away(&bench.other, "forged"));
        good().send(&bench);
        assert!(comes(&bench.host, "forged"), "the same without a fault arrives");
        assert!(stays_away(&bench.other, "forged"));
    }
}

#[test]
fn an_ipv4_header_must_be_plain_and_whole() {
    let bench = Bench::new(Family::V4, &[]);
    let good = || Forged::new(&bench, Family::V4, &datagram(2, BROADCAST, "forged"));
    let right = |header: &mut Ipv4Header| header.header_checksum = header.calc_header_checksum();
    let cases = [
        ("outer-malformed", good().v4(|header| header.header_checksum ^= 1), 1),
        (
            "outer-malformed",
            good().v4(|header| {
                header.total_len += 100;
                right(header)
            }),
            2,
        ),
        (
            "outer-malformed",
            good().v4(|header| {
                header.total_len = 40;
                right(header)
            }),
            3,
        ),
        (
            "outer-fragment",
            good().v4(|header| {
                header.more_fragments = true;
                right(header)
            }),
            1,
        ),
    ];
    for (reason, mut forged, count) in cases {
        // `write` computes the checksum itself, so a wrong one is put in behind its back.
        let wrong = matches!(&forged.ip, Ip::V4(header) if header.header_checksum != header.calc_header_checksum());
        forged = forged.v4(right);
        let mut frame = forged.frame();
        if wrong {
            frame.0[24] ^= 1;
        }
        bench.underlay.send(&frame.0).unwrap();
        assert!(soon(|| bench.dropped("up0", reason) == count), "{reason} {count}");
    }
    assert!(stays_away(&bench.host, "forged"));
}

#[test]
fn what_is_not_a_tunnels_is_the_hosts() {
    let bench = Bench::new(Family::V4, &[]);
    let netns = &bench.fabric.edges[1].netns;
    for to in ["10.99.0.1", "fd99::1"] {
        let said = netns.run("ping", &["-n", "-c", "3", "-i", "0.05", "-W", "1", to]).unwrap();
        assert!(said.contains(" 0% packet loss"), "{said}");
    }
    // VXLAN to another MAC is somebody else's.
    let mut other = Forged::new(&bench, Family::V4, &datagram(2, BROADCAST, "forged"));
    other.to = mac(0x42);
    other.send(&bench);
    assert!(stays_away(&bench.host, "forged"));
}
