//! Isolation: random and forged frames are sent into every port and onto the underlay, and every
//! frame that comes out anywhere is held against a model of who may receive it, which is written
//! from the documents and knows nothing of the implementation.

use std::{collections::HashMap, net::IpAddr, thread, time::Duration};

use fastrand::Rng;
use sillon_rig::{
    Fabric, Family, Frame, NodeFile, PacketSocket, Tag, Underlay, Wire,
    frame::{BROADCAST, Macs},
};

use crate::common::{self, Hooks, MIXED, TC, XDP, fabric, mac};

const MAGIC: [u8; 8] = *b"furrow!\0";
/// Frames that are sent, and how many of them at once.
const FRAMES: usize = 12_000;
const BATCH: usize = 60;

/// One attachment of the configuration under test.
struct Place {
    segment: &'static str,
    edge: usize,
    port: usize,
    encap: &'static str,
    tags: &'static [Tag],
    transparent: bool,
}

const fn place(
    segment: &'static str,
    at: (usize, usize),
    encap: &'static str,
    tags: &'static [Tag],
) -> Place {
    Place { segment, edge: at.0, port: at.1, encap, tags, transparent: false }
}

const fn transparent(place: Place) -> Place {
    Place { transparent: true, ..place }
}

const ALDER: &str = "alder-lan";
const BIRCH: &str = "birch-lan";
const CEDAR: &str = "cedar-lan";
const DOGWOOD: &str = "dogwood-lan";

/// Four operators on shared ports; port 3 of each edge has no attachment.
const PLACES: [Place; 9] = [
    place(ALDER, (0, 0), "untagged", &[]),
    place(BIRCH, (0, 0), "dot1q 100", &[Tag::c(100)]),
    place(CEDAR, (0, 0), "qinq 200.300", &[Tag::s(200), Tag::c(300)]),
    transparent(place(DOGWOOD, (0, 1), "port", &[])),
    place(BIRCH, (0, 2), "untagged", &[]),
    place(ALDER, (1, 0), "dot1q 100", &[Tag::c(100)]),
    place(BIRCH, (1, 0), "untagged", &[]),
    transparent(place(CEDAR, (1, 0), "qinq 200", &[Tag::s(200)])),
    transparent(place(DOGWOOD, (1, 1), "port", &[])),
];
const PORTS: usize = 4;
/// VNI and the family of the tunnel.
const SEGMENTS: [(&str, u32, Family); 4] = [
    (ALDER, 100, Family::V4),
    (BIRCH, 200, Family::V6),
    (CEDAR, 300, Family::V4),
    (DOGWOOD, 400, Family::V6),
];

fn vni(segment: &str) -> u32 {
    SEGMENTS.iter().find(|(name, ..)| *name == segment).unwrap().1
}

fn file(fabric: &Fabric, edge: usize, hooks: Hooks) -> NodeFile {
    let mut file = fabric.file_at(edge, hooks.uplinks);
    for port in 0..PORTS {
        file = file.port_at(&format!("p{port}"), "access", hooks.ports[port % 2]);
    }
    for (name, vni, family) in SEGMENTS {
        // What guards drop is another matter: here they let through what they can.
        file =
            file.segment(name, vni, "lan", &[fabric.vtep(1 - edge, family)]).key("move_limit", 0);
    }
    let here = PLACES.iter().filter(|place| place.edge == edge);
    here.fold(file, |file, place| {
        let file = file.attach(place.segment, &format!("p{}", place.port), place.encap);
        file.key("over_limit", "\"forward\"").key("trusted", "[\"dhcp\", \"ra\"]")
    })
}

/// Where frames enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum From {
    Port(usize, usize),
    /// Onto the underlay towards edge 0, as whoever is in its link.
    Underlay,
}

/// The attachment whose frames have these tags on that port, by the words of the documents.
fn classify(edge: usize, port: usize, tags: &[Tag]) -> Option<&'static Place> {
    let here = || PLACES.iter().filter(|place| place.edge == edge && place.port == port);
    if let Some(whole) = here().find(|place| place.encap == "port") {
        return Some(whole);
    }
    let is = |tags: &[Tag], place: &&Place| {
        let ids = |tags: &[Tag]| tags.iter().map(|tag| (tag.tpid, tag.vid)).collect::<Vec<_>>();
        ids(tags) == ids(place.tags)
    };
    let untagged = [Tag { vid: 0, ..Tag::c(0) }, Tag { vid: 0, ..Tag::s(0) }];
    let is_priority = |tags: &[Tag]| {
        tags.len() == 1
            && untagged.iter().any(|tag| (tag.tpid, tag.vid) == (tags[0].tpid, tags[0].vid))
    };
    if is_priority(tags) {
        return here().find(|place| place.tags.is_empty());
    }
    here().find(|place| is(tags, place)).or_else(|| {
        here().find(|place| place.transparent && !tags.is_empty() && is(&tags[..1], place))
    })
}

struct Sent {
    from: From,
    frame: Frame,
    /// The segment that it belongs to, if it belongs to one.
    segment: Option<&'static str>,
}

impl Sent {
    /// Whether the frame may come out at an attachment: of the same segment, another one, and with
    /// this attachment's tags.
    fn may_reach(&self, edge: usize, port: usize, came: &Frame) -> bool {
        let from_here = self.from == From::Port(edge, port);
        let out = classify(edge, port, &came.tags());
        out.is_some_and(|out| Some(out.segment) == self.segment && !from_here)
    }

    /// Whether it is a plain broadcast, which must come out at all other attachments.
    fn must_arrive(&self) -> bool {
        self.segment.is_some()
            && self.frame.0[..6] == BROADCAST
            && matches!(self.from, From::Port(..))
    }
}

/// Frames that nobody well-meaning would send.
struct Forge {
    rng: Rng,
    /// MACs and addresses of the nodes.
    node_macs: Vec<[u8; 6]>,
    vteps: [Vec<IpAddr>; 2],
}

impl Forge {
    fn mac(&mut self) -> [u8; 6] {
        match self.rng.u8(..8) {
            0 | 1 => BROADCAST,
            2 => [1, 0, 0x5e, 0, 0, self.rng.u8(..)],
            3 => [1, 0x80, 0xc2, 0, 0, self.rng.u8(..16)],
            4 => self.rng.choice(&self.node_macs).copied().unwrap(),
            5 => std::array::from_fn(|_| self.rng.u8(..)),
            _ => mac(self.rng.u8(1..8)),
        }
    }

    fn tag(&mut self) -> Tag {
        let tpid = *self.rng.choice(&[0x8100, 0x8100, 0x88a8, 0x88a8, 0x9100, 0x9200]).unwrap();
        let vids = [0, 1, 100, 101, 200, 200, 300, 301, 4094, 4095];
        let vid = *self.rng.choice(&vids).unwrap();
        Tag { tpid, vid, pcp: self.rng.u8(..8), dei: self.rng.bool() }
    }

    fn tags(&mut self) -> Vec<Tag> {
        let of_places: Vec<&[Tag]> = PLACES.iter().map(|place| place.tags).collect();
        match self.rng.u8(..10) {
            0..5 => self.rng.choice(&of_places).unwrap().to_vec(),
            5 => [self.rng.choice(&of_places).unwrap(), &[self.tag()][..]].concat(),
            _ => (0..self.rng.u8(..4)).map(|_| self.tag()).collect(),
        }
    }

    /// A frame without tags that carries `mark` somewhere.
    fn plain(&mut self, mark: &[u8]) -> Frame {
        // Hosts send from their own addresses mostly; some forge those of others, of the nodes, or
        // of nobody.
        let macs = Macs { from: self.mac(), to: self.mac() };
        let [from, to] = [self.vtep(), self.vtep()];
        match self.rng.u8(..4) {
            0 => Frame::ethertype(
                macs,
                *self.rng.choice(&[0x0800, 0x86dd, 0x0806, 0x88cc, 0x88f7, 0xffff]).unwrap(),
                mark,
            ),
            1 if from.is_ipv4() == to.is_ipv4() => {
                let inner = Frame::ethertype(Macs { from: mac(1), to: BROADCAST }, 0x0800, mark);
                self.vxlan(macs, (from, to), &inner)
            }
            _ => Frame::udp(macs, ([10, 0, 0, 1].into(), [10, 0, 0, 2].into()), (1, 2), mark),
        }
    }

    fn vtep(&mut self) -> IpAddr {
        match self.rng.u8(..6) {
            0 => IpAddr::from([10, 99, 0, 66]),
            1 => IpAddr::from([10, 0, 0, 1]),
            _ => *self.rng.choice(&self.vteps.concat()).unwrap(),
        }
    }

    fn vxlan(&mut self, macs: Macs, ips: (IpAddr, IpAddr), inner: &Frame) -> Frame {
        let vni = *self
            .rng
            .choice(&[100, 200, 300, 400, 100, 200, 300, 400, 0, 1, 401, 0xff_ffff])
            .unwrap();
        let flags = if self.rng.u8(..8) == 0 { self.rng.u8(..) } else { 8 };
        let port = if self.rng.u8(..8) == 0 { 8472 } else { 4789 };
        let [_, a, b, c] = u32::to_be_bytes(vni);
        let payload = [&[flags, 0, 0, 0, a, b, c, 0], &inner.0[..]].concat();
        Frame::udp(macs, ips, (50_000, port), &payload)
    }
}

/// The VNI and source of a frame that edge 0 must take for a tunnel of its own, by RFC 7348 and the
/// configuration.
fn tunnelled(fabric: &Fabric, frame: &Frame, edge_mac: [u8; 6]) -> Option<(&'static str, Frame)> {
    if frame.0[..6] != edge_mac {
        return None;
    }
    let sliced = etherparse::SlicedPacket::from_ethernet(&frame.0).ok()?;
    let (source, destination): (IpAddr, IpAddr) = match sliced.net? {
        etherparse::NetSlice::Ipv4(ip) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        etherparse::NetSlice::Ipv6(ip) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        etherparse::NetSlice::Arp(_) => return None,
    };
    let Some(etherparse::TransportSlice::Udp(udp)) = sliced.transport else { return None };
    let payload = udp.payload();
    let &[flags, _, _, _, a, b, c, _, ..] = payload else { return None };
    let vni = u32::from_be_bytes([0, a, b, c]);
    let (name, _, family) = SEGMENTS.into_iter().find(|segment| segment.1 == vni)?;
    let is =
        |address: IpAddr, edge| address == fabric.vtep(edge, family).parse::<IpAddr>().unwrap();
    let is_ours =
        udp.destination_port() == 4789 && flags & 8 != 0 && is(source, 1) && is(destination, 0);
    is_ours.then(|| (name, Frame(payload[8..].to_vec())))
}

struct Arena {
    fabric: Fabric,
    wires: HashMap<(usize, usize), Wire>,
    underlay: PacketSocket,
    sent: Vec<Sent>,
    arrived: HashMap<(usize, (usize, usize)), usize>,
    from_underlay: usize,
}

fn mark(serial: usize) -> Vec<u8> {
    [&MAGIC[..], &(serial as u32).to_be_bytes()].concat()
}

/// The serial number of a frame that we sent.
fn serial(frame: &Frame) -> Option<usize> {
    let at = frame.0.windows(MAGIC.len()).position(|window| window == MAGIC)? + MAGIC.len();
    Some(u32::from_be_bytes(frame.0[at..at + 4].try_into().unwrap()) as usize)
}

impl Arena {
    /// With agents on these edges.
    fn new(edges: &[usize], hooks: [Hooks; 2]) -> Self {
        let mut fabric = fabric(Underlay::Direct);
        let mut wires = HashMap::new();
        for (edge, port) in (0..2).flat_map(|edge| (0..PORTS).map(move |port| (edge, port))) {
            wires.insert((edge, port), fabric.plug(edge, &format!("p{port}")).unwrap());
        }
        for &edge in edges {
            let file = file(&fabric, edge, hooks[edge]);
            fabric.edges[edge].start(&file).unwrap();
        }
        // What the nodes' own stacks said before their ports were ports.
        wires.values().for_each(|wire| drop(wire.drain().unwrap()));
        let underlay = fabric.edges[1].netns.enter(|| Ok(PacketSocket::open("up0")?)).unwrap();
        let (sent, arrived) = (Vec::new(), HashMap::new());
        Self { fabric, wires, underlay, sent, arrived, from_underlay: 0 }
    }

    fn forge(&self, seed: u64) -> Forge {
        let ports = (0..PORTS).map(|port| format!("p{port}")).chain(["up0".to_owned()]);
        let macs = ports.flat_map(|port| {
            self.fabric
                .edges
                .iter()
                .map(move |edge| edge.netns.mac(&port).unwrap())
                .collect::<Vec<_>>()
        });
        let vteps = [0, 1].map(|edge| {
            [Family::V4, Family::V6]
                .map(|family| self.fabric.vtep(edge, family).parse().unwrap())
                .to_vec()
        });
        Forge { rng: Rng::with_seed(seed), node_macs: macs.collect(), vteps }
    }

    fn send(&mut self, forge: &mut Forge, edge_mac: [u8; 6]) {
        let serial = self.sent.len();
        let plain = forge.plain(&mark(serial));
        let (from, frame, segment) = if serial.is_multiple_of(5) {
            let inner = plain.tagged(&if forge.rng.u8(..4) > 0 { vec![] } else { forge.tags() });
            let family = forge.rng.usize(..2);
            let ips = if forge.rng.u8(..4) == 0 {
                (IpAddr::from([10, 99, 0, 66]), IpAddr::from([10, 99, 0, 1]))
            } else {
                (forge.vteps[1][family], forge.vteps[0][family])
            };
            let to = if forge.rng.u8(..8) == 0 { forge.mac() } else { edge_mac };
            let frame = forge.vxlan(Macs { from: mac(9), to }, ips, &inner);
            let segment = tunnelled(&self.fabric, &frame, edge_mac).map(|(segment, _)| segment);
            self.underlay.send(&frame.0).unwrap();
            (From::Underlay, frame, segment)
        } else {
            let (edge, port) = (forge.rng.usize(..2), forge.rng.usize(..PORTS));
            let tags = forge.tags();
            let frame = plain.tagged(&tags);
            self.wires[&(edge, port)].send(&frame).unwrap();
            let segment = classify(edge, port, &frame.tags()).map(|place| place.segment);
            (From::Port(edge, port), frame, segment)
        };
        self.sent.push(Sent { from, frame, segment });
    }

    /// Holds everything that came out anywhere against the model.
    fn check(&mut self) {
        for (at, wire) in &self.wires {
            for came in wire.drain().unwrap() {
                let serial =
                    serial(&came).unwrap_or_else(|| panic!("who sent this to {at:?}? {came:?}"));
                let sent = &self.sent[serial];
                let wrong = || {
                    format!("{:?} sent {:?}, and at {at:?} came {came:?}", sent.from, sent.frame)
                };
                assert!(sent.may_reach(at.0, at.1, &came), "{}", wrong());
                let times = self.arrived.entry((serial, *at)).or_default();
                *times += 1;
                // Two places of one segment on one port would each get their copy; there are none
                // here.
                assert_eq!(*times, 1, "twice: {}", wrong());
                self.from_underlay += usize::from(sent.from == From::Underlay);
            }
        }
    }

    /// Every broadcast of a segment came out at each other attachment of it.
    fn check_broadcasts(&self, node_macs: &[[u8; 6]]) -> usize {
        let mut count = 0;
        for (serial, sent) in self.sent.iter().enumerate().filter(|(_, sent)| sent.must_arrive()) {
            let is_plain = sent.frame.popped(sent.frame.tags().len()).0;
            let From::Port(edge, port) = sent.from else { continue };
            // What no operator may send, or may not send to this end: those have tests of their
            // own.
            let is_nodes = node_macs.iter().any(|mac| is_plain[6..12] == *mac);
            if is_plain[6] & 1 == 1 || is_nodes || !only_own_tags(edge, port, &sent.frame) {
                continue;
            }
            for place in PLACES.iter().filter(|place| Some(place.segment) == sent.segment) {
                let at = (place.edge, place.port);
                if From::Port(at.0, at.1) != sent.from {
                    let has = self.arrived.contains_key(&(serial, at));
                    assert!(has, "{at:?} lacks {:?} from {:?}", sent.frame, sent.from);
                    count += 1;
                }
            }
        }
        count
    }
}

/// Whether a frame has just its attachment's tags, also none of a TPID of old habit.
fn only_own_tags(edge: usize, port: usize, frame: &Frame) -> bool {
    let behind = frame.popped(frame.tags().len()).0;
    let is_habit = behind[12] >= 0x91 && behind[12] <= 0x93 && behind[13] == 0;
    !is_habit
        && classify(edge, port, &frame.tags())
            .is_some_and(|place| frame.tags().len() == place.tags.len())
}

/// Every frame that was sent into a port was taken for an attachment, or dropped at the port for a
/// reason.
fn every_frame_is_accounted_for(arena: &Arena) {
    for edge in 0..2 {
        let node = &arena.fabric.edges[edge];
        let (ports, drops) = (node.show("ports").unwrap(), node.drops().unwrap());
        for port in 0..PORTS {
            let name = format!("p{port}");
            let sent =
                arena.sent.iter().filter(|sent| sent.from == From::Port(edge, port)).count() as u64;
            let here = ports.iter().find(|view| view["name"] == name.as_str()).unwrap();
            let taken: u64 = here["attachments"]
                .as_array()
                .unwrap()
                .iter()
                .map(|attachment| attachment["traffic"]["in_frames"].as_u64().unwrap())
                .sum();
            let at_port = drops.iter().filter(|drop| drop.scope == "port" && drop.name == name);
            // What the node's own stack tried to send is no frame of ours.
            let dropped: u64 =
                at_port.filter(|drop| drop.reason != "host-egress").map(|drop| drop.frames).sum();
            assert_eq!(
                taken + dropped,
                sent,
                "edge {edge} {name}: {taken} taken, {dropped} dropped"
            );
        }
    }
}

#[test]
fn nothing_comes_out_where_the_configuration_does_not_allow_it() {
    nothing_strays([XDP, XDP]);
}

#[test]
fn nothing_comes_out_where_the_configuration_does_not_allow_it_at_tc() {
    nothing_strays([TC, TC]);
}

#[test]
fn nothing_comes_out_where_the_configuration_does_not_allow_it_between_tc_and_xdp() {
    nothing_strays([MIXED, XDP]);
    nothing_strays([MIXED, MIXED]);
}

fn nothing_strays(hooks: [Hooks; 2]) {
    let mut arena = Arena::new(&[0, 1], hooks);
    let seed = std::env::var("SILLON_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| Rng::new().u64(..));
    eprintln!("SILLON_SEED={seed}");
    let mut forge = arena.forge(seed);
    let edge_mac = arena.fabric.edges[0].netns.mac("up0").unwrap();
    for _ in 0..FRAMES / BATCH {
        for _ in 0..BATCH {
            arena.send(&mut forge, edge_mac);
        }
        thread::sleep(Duration::from_millis(4));
        arena.check();
    }
    thread::sleep(common::SILENCE);
    arena.check();
    assert!(
        arena.check_broadcasts(&forge.node_macs) > FRAMES / 50,
        "too few broadcasts to prove anything"
    );
    eprintln!("{} came out of the underlay", arena.from_underlay);
    assert!(arena.from_underlay > FRAMES / 250, "too few tunnelled frames to prove anything");
    every_frame_is_accounted_for(&arena);
    for edge in &arena.fabric.edges {
        let proof = edge.sillon(&["verify", "--node", edge.name()]).unwrap();
        let said = [proof.stdout, proof.stderr].concat();
        assert!(proof.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn a_segment_is_only_in_its_own_vni_on_the_underlay() {
    [XDP, TC, MIXED].into_iter().for_each(is_in_its_own_vni);
}

fn is_in_its_own_vni(hooks: Hooks) {
    // Edge 1 has no agent, so that its end of the underlay shows what is on it.
    let arena = Arena::new(&[0], [hooks; 2]);
    let tap = arena.fabric.edges[1].netns.enter(|| Ok(PacketSocket::open("up0")?)).unwrap();
    let mut seen = 0;
    for place in PLACES.iter().filter(|place| place.edge == 0) {
        let frame = Frame::ethertype(Macs { from: mac(1), to: BROADCAST }, 0x0800, &mark(0))
            .tagged(place.tags);
        arena.wires[&(0, place.port)].send(&frame).unwrap();
        while let Some(bytes) = tap.receive(common::SILENCE).unwrap() {
            let outer = Frame(bytes);
            if serial(&outer).is_none() {
                continue;
            }
            let header = if outer.0[12..14] == [0x86, 0xdd] { 62 } else { 42 };
            let [_, a, b, c] = vni(place.segment).to_be_bytes();
            assert_eq!(
                outer.0[header + 4..header + 7],
                [a, b, c],
                "{} {}: {outer:?}",
                place.segment,
                place.encap
            );
            seen += 1;
        }
    }
    assert_eq!(seen, PLACES.iter().filter(|place| place.edge == 0).count());
}
