//! What the node's own device makes one of before anybody has looked: GRO that goes by a tunnel's
//! outer header (`rx-udp-gro-forwarding`, `rx-gro-list`) merges packets of one flow, which are of
//! as many inner frames as there were.

use sillon_rig::{
    DropRow, Fabric, Family, Frame, Netns, PacketSocket, Underlay, Wire,
    frame::{BROADCAST, Macs},
    undone::UDP,
};

use crate::{
    attacks::{
        frames::WORD,
        lan::{FAR, VICTIM},
        ordinary::leave,
    },
    common::{SILENCE, datagram, fabric, mac, soon},
};

const KINDS: [&str; 2] = ["rx-udp-gro-forwarding", "rx-gro-list"];
/// So many packets come at once, so often.
const BURST: usize = 20;
const BURSTS: usize = 5;
/// Where a packet's UDP header is, and what is behind that.
const UDP_AT: usize = 34;
const BEHIND: usize = UDP_AT + 8;
const VXLAN: [u8; 8] = [8, 0, 0, 0, 0, 0, 100, 0];

fn is_on(node: &Netns, kind: &str) -> bool {
    node.run("ethtool", &["-k", "up0"]).unwrap().contains(&format!("{kind}: on"))
}

fn turn(node: &Netns, kind: &str, on: bool) {
    node.run("ethtool", &["-K", "up0", kind, if on { "on" } else { "off" }]).unwrap();
}

struct Bench {
    fabric: Fabric,
    host: Wire,
    far: PacketSocket,
    /// Who looks on at the uplink: what is one here is one to the pipeline.
    looks: PacketSocket,
}

impl Bench {
    fn new(hook: &str) -> Self {
        let mut fabric = fabric(Underlay::Direct);
        let host = fabric.plug(0, "p0").unwrap();
        let [near, far] = fabric.edges.each_ref().map(|edge| edge.netns.clone());
        // With checksums and with datagrams that travel as one, which are taken apart as they
        // leave: they come at once.
        far.run("ethtool", &["-K", "up0", "tx", "on", "tx-udp-segmentation", "off"]).unwrap();
        KINDS.iter().for_each(|kind| turn(&near, kind, true));
        let file = fabric.file_at(0, "tc").port_at("p0", "access", hook);
        let file = file.segment("alder-lan", 100, "lan", &[fabric.vtep(1, Family::V4)]);
        fabric.edges[0].start(&file.attach("alder-lan", "p0", "untagged")).unwrap();
        host.send(&datagram(VICTIM, BROADCAST, "here I am")).unwrap();
        let far = far.enter(|| Ok(PacketSocket::open_headed("up0")?)).unwrap();
        let looks = near.enter(|| Ok(PacketSocket::open_headed("up0")?)).unwrap();
        Self { fabric, host, far, looks }
    }

    /// Packets of the remote's, in bursts: how many came in at the uplink, at the host, and were
    /// dropped with a reason.
    fn burst(&self, to: [u8; 6]) -> [usize; 3] {
        std::iter::from_fn(|| self.looks.receive(SILENCE).unwrap()).for_each(drop);
        self.host.drain().unwrap();
        let inner = datagram(FAR, to, "attack! of a remote that sends much at once");
        let packet = [&VXLAN[..], &inner.0].concat();
        let [from, node] = [1, 0].map(|edge| self.fabric.edges[edge].netns.mac("up0").unwrap());
        let ips = [1, 0].map(|edge| self.fabric.vtep(edge, Family::V4).parse().unwrap());
        let macs = Macs { from, to: node };
        let whole = Frame::udp(macs, (ips[0], ips[1]), (50_000, 4789), &packet.repeat(BURST));
        let (undone, left) = leave(&whole, UDP_AT, 6);
        let before = self.dropped();
        for _ in 0..BURSTS {
            self.far
                .send_undone(undone.segments(UDP, BEHIND, packet.len() as u16), &left.0)
                .unwrap();
        }
        let is_it = |bytes: &Vec<u8>| {
            bytes.is_empty() || bytes.windows(WORD.len()).any(|word| word == WORD)
        };
        let came =
            std::iter::from_fn(|| self.looks.receive(SILENCE).unwrap()).filter(is_it).count();
        let arrived =
            self.host.drain().unwrap().iter().filter(|frame| frame.contains(WORD)).count();
        assert!(
            soon(|| self.dropped() - before + arrived >= came),
            "{came} came, {arrived} arrived: {:?}",
            self.drops()
        );
        [came, arrived, self.dropped() - before]
    }

    fn drops(&self) -> Vec<DropRow> {
        self.fabric.edges[0].drops().unwrap()
    }

    fn dropped(&self) -> usize {
        self.fabric.edges[0].dropped_in_all().unwrap() as usize
    }
}

fn merges(hook: &str) {
    let mut bench = Bench::new(hook);
    let node = bench.fabric.edges[0].netns.clone();
    let all = BURST * BURSTS;
    for to in [mac(VICTIM), BROADCAST] {
        assert_eq!(bench.burst(to), [all, all, 0], "{:?}", bench.drops());
    }
    for kind in KINDS {
        assert!(!is_on(&node, kind), "{kind} is turned off");
        turn(&node, kind, true);
        assert!(soon(|| !is_on(&node, kind)), "{kind} is turned off again");
    }
    bench.fabric.edges[0].kill().unwrap();
    for kind in KINDS {
        turn(&node, kind, true);
        for to in [mac(VICTIM), BROADCAST] {
            let [came, arrived, dropped] = bench.burst(to);
            assert!(came < all, "{kind} merges");
            assert_eq!(came, arrived + dropped, "{kind} at {hook}: {:?}", bench.drops());
        }
        turn(&node, kind, false);
    }
    assert!(bench.drops().iter().any(|drop| drop.reason == "segment-shape"), "{:?}", bench.drops());
    bench.fabric.edges[0].restart().unwrap();
    bench.fabric.edges[0].kill().unwrap();
    bench.fabric.edges[0].flush().unwrap();
    for kind in KINDS {
        assert!(is_on(&node, kind), "{kind} is as it was");
    }
}

#[test]
fn packets_of_a_tunnel_that_the_uplink_merges() {
    merges("tc");
}

#[test]
fn packets_of_a_tunnel_that_the_uplink_merges_for_a_port_at_xdp() {
    merges("xdp");
}
