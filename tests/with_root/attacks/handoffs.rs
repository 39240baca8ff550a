//! Metadata in front of frames (`bpf_xdp_adjust_meta`), by which XDP tells TC whose a frame is:
//! whoever rents a container has programs of his own that can put some there, and so has whoever is
//! in the underlay.

use std::fs;

use sillon_abi::{ABI_VERSION, Cookies, Handoff, Label, map};
use sillon_rig::{
    Fabric, Family, Frame, Netns, Own, PacketSocket, Underlay, Wire,
    frame::{BROADCAST, Macs},
    own::Onward,
};

use crate::{
    attacks::{
        frames::WORD,
        lan::{ATTACKER, VICTIM},
        undone::Receiver,
    },
    common::maps::{element, entries},
    common::{comes, datagram, fabric, mac, soon, v4},
};

/// What every copy of the programs had in common before the seals.
const OLD_MAGIC: u32 = 0x5111_0417;
const TIMES: usize = 10;

/// alder has `p0` and `p1`, birch `p2`, all on the first node.
struct Bench {
    fabric: Fabric,
    alder: [Wire; 2],
    birch: Receiver,
    /// What the programs seal with, and birch's segment: more than any attacker knows.
    cookies: Cookies,
    birchs: u32,
}

/// Where the attacker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In alder's container.
    Container,
    /// In the underlay.
    Underlay,
}

impl Bench {
    fn new(hook: &str) -> Self {
        let mut fabric = fabric(Underlay::Direct);
        let [one, two, birch] = ["p0", "p1", "p2"].map(|port| fabric.plug(0, port).unwrap());
        let remote = fabric.vtep(1, Family::V4);
        let file = ["p0", "p1", "p2"]
            .into_iter()
            .fold(fabric.file_at(0, hook), |file, port| file.port_at(port, "access", hook));
        let file =
            file.segment("alder-lan", 100, "lan", &[remote]).attach("alder-lan", "p0", "untagged");
        let file = file.attach("alder-lan", "p1", "untagged");
        let file =
            file.segment("birch-lan", 200, "lan", &[remote]).attach("birch-lan", "p2", "untagged");
        fabric.edges[0].start(&file).unwrap();
        let node = &fabric.edges[0];
        let cookies = element(node, map::COOKIES, 0);
        let labels: Vec<(u32, Label)> = entries(node, map::LABELS);
        let is_birchs = |label: &&(u32, Label)| label.1.operator.starts_with(b"birch\0");
        let birchs = labels.iter().find(is_birchs).unwrap().0;
        Self { alder: [one, two], birch: Receiver::new(birch), fabric, cookies, birchs }
    }

    fn attacker(&self, place: Place) -> (&Netns, &'static str, &'static str) {
        match place {
            Place::Container => (&self.alder[0].netns, "eth0", "p0"),
            Place::Underlay => (&self.fabric.edges[1].netns, "up0", "up0"),
        }
    }

    /// The number of a port's device.
    fn ifindex(&self, port: &str) -> u32 {
        let links = self.fabric.edges[0].netns.run("ip", &["-j", "link", "show", port]).unwrap();
        let links: serde_json::Value = serde_json::from_str(&links).unwrap();
        links[0]["ifindex"].as_u64().unwrap().try_into().unwrap()
    }

    /// What says that a frame is of this segment, sealed as XDP does it at a port.
    fn said(&self, segment: u32, flags: u16, port: &str) -> Handoff {
        let said = Handoff { segment, flags, ethertype: u16::to_be(0x0800), ..Handoff::default() };
        Handoff { seal: said.seal(&self.cookies, self.ifindex(port)), ..said }
    }

    fn handoffs(&self, place: Place) -> Vec<(&'static str, Vec<u32>)> {
        let (birchs, port) = (self.birchs, self.attacker(place).2);
        let right = self.said(birchs, 0, port);
        let whole = words(right);
        // As TC reads it where the kernel has put the frame at its payload (see `Note`).
        let bytes: Vec<u8> = whole.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let behind = [&[0; 2][..], &bytes[16..], &[0; 14]].concat();
        let behind =
            behind.chunks(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap())).collect();
        let large = [&whole[..], &[0; 45]].concat();
        // A tenant sees the seals of handoffs that speak of its own frames.
        let other = self.said(birchs + 1, 0, port).seal;
        vec![
            ("the old magic", words(Handoff { seal: [OLD_MAGIC, 0], ..right })),
            ("what the pipeline at TC says", words(Handoff { seal: Handoff::AT_TC, ..right })),
            ("zeros", vec![0; 11]),
            ("a seal of something else", words(Handoff { seal: other, ..right })),
            ("a seal of another port", words(self.said(birchs, 0, "p1"))),
            ("a whole handoff", whole),
            ("a whole handoff, seen from behind", behind),
            ("a handoff for the host", words(self.said(birchs, Handoff::FOR_HOST, port))),
            ("a whole handoff in front of much more", large),
        ]
    }

    /// What the attacker sends: to everybody, and to whom nobody knows; in the underlay, to the
    /// node itself as well.
    fn frames(&self, place: Place) -> Vec<Frame> {
        let mut to = vec![BROADCAST, mac(VICTIM)];
        if place == Place::Underlay {
            to.push(self.fabric.edges[0].netns.mac("up0").unwrap());
        }
        let ips = (v4(ATTACKER), v4(VICTIM));
        to.into_iter()
            .map(|to| Frame::udp(Macs { from: mac(ATTACKER), to }, ips, (4000, 4001), WORD))
            .collect()
    }

    /// How many of the attacker's frames birch gets, each sent some times with this handoff in
    /// front.
    fn escape(&self, place: Place, handoff: &[u32], onward: Onward) -> usize {
        let (netns, out, _) = self.attacker(place);
        let (own, socket) = netns
            .enter(|| {
                Ok((Own::with_handoff("own1", out, handoff, onward)?, PacketSocket::open("own0")?))
            })
            .unwrap();
        for frame in self.frames(place) {
            (0..TIMES).for_each(|_| socket.send(&frame.0).unwrap());
        }
        let came = self.birch.seen_now().iter().filter(|frame| frame.contains(WORD)).count();
        drop(own);
        came
    }

    /// Takes the pipeline off the attacker's port, and nothing else: what stands in front of its
    /// frames then speaks for them.
    fn without_pipeline(&mut self, place: Place) {
        self.fabric.edges[0].kill().unwrap();
        let node = &self.fabric.edges[0].netns;
        let port = self.attacker(place).2;
        let pin =
            format!("/sys/fs/bpf/sillon/edge1/v{ABI_VERSION}/links/xdp-{}", self.ifindex(port));
        node.enter(|| Ok(fs::remove_file(pin)?)).unwrap();
        let has_none = || !node.run("ip", &["link", "show", port]).unwrap().contains("prog/xdp");
        assert!(soon(has_none));
        node.run("ethtool", &["-K", port, "gro", "on"]).unwrap();
    }
}

/// A handoff as it stands in front of a frame.
fn words(handoff: Handoff) -> Vec<u32> {
    let Handoff { seal, segment, ingress, hash, ethertype, priority, flags, ecn, pad } = handoff;
    let pair = |low: u16, high: u16| u32::from(low) | u32::from(high) << 16;
    let last = pair(flags, u16::from_ne_bytes([ecn, pad]));
    let [one, two] = seal;
    vec![0, 0, 0, 0, one, two, segment, ingress.word(), hash, pair(ethertype, priority), last]
}

fn forges(hook: &str, place: Place) {
    let mut bench = Bench::new(hook);
    bench
        .attacker(place)
        .0
        .ip("link add own0 type veth peer name own1\nlink set own0 up\nlink set own1 up")
        .unwrap();
    let hello = || datagram(ATTACKER, BROADCAST, "from alder's other");
    bench.alder[1].send(&hello()).unwrap();
    assert!(comes(&bench.alder[0], "from alder's other"));
    bench.alder[1].drain().unwrap();
    let mut seen = Vec::new();
    for (name, handoff) in bench.handoffs(place) {
        for onward in [Onward::AtXdp, Onward::AtTc] {
            // XDP's frames get to a port without XDP only where that polls.
            let escaped = bench.escape(place, &handoff, onward);
            if escaped > 0 {
                seen.push(format!("{escaped}: {name}, {onward:?}"));
            }
        }
    }
    assert!(seen.is_empty(), "birch gets, at {hook} from {place:?}: {seen:#?}");
    if place == Place::Container {
        // They are alder's, and go where alder's go.
        assert!(comes(&bench.alder[1], "attack!"), "{:?}", bench.fabric.edges[0].drops());
    }
    if hook == "tc" {
        return;
    }
    bench.without_pipeline(place);
    for (name, handoff) in bench.handoffs(place).into_iter().take(6) {
        let escaped: usize = [Onward::AtXdp, Onward::AtTc]
            .map(|onward| bench.escape(place, &handoff, onward))
            .iter()
            .sum();
        assert_eq!(
            escaped > 0,
            name == "a whole handoff",
            "{escaped} with {name} where no XDP takes it off"
        );
    }
}

#[test]
fn a_forged_hand_over_of_a_container_at_xdp() {
    forges("xdp", Place::Container);
}

#[test]
fn a_forged_hand_over_of_a_container_at_tc() {
    forges("tc", Place::Container);
}

#[test]
fn a_forged_hand_over_in_the_underlay_at_xdp() {
    forges("xdp", Place::Underlay);
}

#[test]
fn a_forged_hand_over_in_the_underlay_at_tc() {
    forges("tc", Place::Underlay);
}
