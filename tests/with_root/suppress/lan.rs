//! The place of these tests: hosts 1, 2 and 3 on ports of one edge and host 4 on another, in one
//! segment that suppresses.

use std::collections::BTreeMap;

use serde_json::Value;
use sillon_rig::{Fabric, Family, Frame, NodeFile, Tag, Underlay, Wire, frame::mac_text};

use crate::{
    common::{PATIENCE, SILENCE, comes, datagram, fabric, mac},
    suppress::frames::is_about_neighbours,
};

/// Keys of a table of the file.
pub type Keys<'a> = &'a [(&'a str, &'a str)];

/// What the file says.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    pub service: &'a str,
    pub encap: &'a str,
    pub segment: Keys<'a>,
    /// Of the ports; uplinks are at XDP.
    pub hook: &'a str,
    /// Of each host's attachment.
    pub hosts: [Keys<'a>; 4],
}

pub const PLAN: Plan<'static> = Plan {
    service: "lan",
    encap: "untagged",
    segment: &[("suppress", "true")],
    hook: "xdp",
    hosts: [&[]; 4],
};

pub struct Lan {
    pub fabric: Fabric,
    wires: [Wire; 4],
    encap: String,
}

fn with(file: NodeFile, keys: Keys<'_>) -> NodeFile {
    keys.iter().fold(file, |file, (key, value)| file.key(key, value))
}

fn file(fabric: &Fabric, edge: usize, plan: Plan<'_>, uplinks: &str) -> NodeFile {
    let remote = fabric.vtep(1 - edge, Family::V4);
    let file = with(
        fabric.file_at(edge, uplinks).segment("alder-lan", 100, plan.service, &[remote]),
        plan.segment,
    );
    let hosts = if edge == 0 { &plan.hosts[..3] } else { &plan.hosts[3..] };
    (0..).zip(hosts).fold(file, |file, (port, keys)| {
        let port = format!("p{port}");
        with(file.port_at(&port, "access", plan.hook).attach("alder-lan", &port, plan.encap), keys)
    })
}

impl Lan {
    pub fn new(plan: Plan<'_>) -> Self {
        Self::with(plan, &[], "xdp", Fabric::plug)
    }

    /// With generic XDP on the ports, which is for no veth.
    pub fn generic(plan: Plan<'_>) -> Self {
        Self::with(plan, &["--xdp-mode", "generic"], "tc", Fabric::plug_over)
    }

    fn with(
        plan: Plan<'_>,
        arguments: &[&str],
        uplinks: &str,
        plug: impl Fn(&Fabric, usize, &str) -> anyhow::Result<Wire>,
    ) -> Self {
        let mut fabric = fabric(Underlay::Direct);
        let plug = |(edge, port)| plug(&fabric, edge, port).unwrap();
        let wires = [(0, "p0"), (0, "p1"), (0, "p2"), (1, "p0")].map(plug);
        for edge in [0, 1] {
            let file = file(&fabric, edge, plan, uplinks);
            fabric.edges[edge].arguments =
                arguments.iter().map(|argument| (*argument).to_owned()).collect();
            fabric.edges[edge].start(&file).unwrap();
        }
        Self { fabric, wires, encap: plan.encap.to_owned() }
    }

    /// Both edges with another plan.
    pub fn reload(&self, plan: Plan<'_>) {
        for edge in [0, 1] {
            self.fabric.edges[edge].reload(&file(&self.fabric, edge, plan, "xdp")).unwrap();
        }
    }

    /// Where a host is plugged in.
    pub fn wire(&self, host: u8) -> &Wire {
        &self.wires[usize::from(host) - 1]
    }

    /// The tags of a host's frames.
    fn tags(&self) -> Vec<Tag> {
        match self.encap.as_str() {
            "dot1q 100" => vec![Tag::c(100).with_priority(5, true)],
            "qinq 200" => vec![Tag::s(200)],
            "qinq 200.300" => vec![Tag::s(200).with_priority(3, false), Tag::c(300)],
            _ => vec![],
        }
    }

    /// Sends a frame of a host's, with its tags.
    pub fn send(&self, host: u8, frame: &Frame) {
        self.wire(host).send(&frame.tagged(&self.tags())).unwrap();
    }

    /// A host makes itself known: its place alone, not its addresses.
    pub fn greets(&self, host: u8) {
        let word = format!("hello from {host}");
        self.send(host, &datagram(host, [0xff; 6], &word));
        let others = (1..=4).filter(|other| *other != host);
        others.for_each(|other| {
            assert!(comes(self.wire(other), &word), "{other} does not hear {host}")
        });
    }

    /// A host says something that all others hear.
    pub fn says(&self, host: u8, frame: &Frame) {
        self.send(host, frame);
        let others = (1..=4).filter(|other| *other != host);
        others
            .for_each(|other| assert!(self.hears(other, frame), "{other} does not hear {frame:?}"));
    }

    /// Whether a host hears a frame in time, whatever its tags' priorities are on the way.
    pub fn hears(&self, host: u8, frame: &Frame) -> bool {
        let count = self.tags().len();
        let is_it = |heard: &Frame| heard.tags().len() >= count && heard.popped(count) == *frame;
        self.wire(host).expect(PATIENCE, is_it).unwrap().is_some()
    }

    /// The frame is answered with `answer`, tags and all, once; nobody else hears of it.
    pub fn is_answered(&self, host: u8, question: &Frame, answer: &Frame) {
        self.settle();
        self.send(host, question);
        let heard = self.wire(host).expect(PATIENCE, is_about_neighbours).unwrap();
        assert_eq!(heard, Some(answer.tagged(&self.tags())), "asked with {question:?}");
        std::thread::sleep(SILENCE);
        for other in 1..=4 {
            let heard = self.wire(other).drain().unwrap().into_iter().find(is_about_neighbours);
            assert_eq!(heard, None, "{other} hears of {question:?}");
        }
    }

    /// The frame comes to all others, and the node answers nothing.
    pub fn is_flooded(&self, host: u8, frame: &Frame) {
        self.comes_to(host, frame, &(1..=4).filter(|other| *other != host).collect::<Vec<_>>());
    }

    /// The frame comes to these alone, and the node answers nothing.
    pub fn comes_to(&self, host: u8, frame: &Frame, others: &[u8]) {
        self.settle();
        let before = self.answered();
        self.send(host, frame);
        others.iter().for_each(|other| {
            assert!(self.hears(*other, frame), "{other} does not hear {frame:?}")
        });
        std::thread::sleep(SILENCE);
        for silent in (1..=4).filter(|silent| !others.contains(silent)) {
            let heard = self.wire(silent).drain().unwrap().into_iter().find(is_about_neighbours);
            assert_eq!(heard, None, "{silent} hears something after {frame:?}");
        }
        assert_eq!(self.answered(), before, "{frame:?} counts as answered");
    }

    /// What is under way has come.
    pub fn settle(&self) {
        std::thread::sleep(SILENCE / 3);
        self.wires.iter().for_each(|wire| drop(wire.drain().unwrap()));
    }

    /// Questions of ARP and of neighbour discovery that were answered at each attachment.
    pub fn answered(&self) -> BTreeMap<String, [u64; 2]> {
        let mut answered = BTreeMap::new();
        for edge in &self.fabric.edges {
            let ports = edge.show("ports").unwrap();
            for attachment in
                ports.iter().filter_map(|port| port["attachments"].as_array()).flatten()
            {
                let counts =
                    ["arp", "nd"].map(|kind| attachment["answered"][kind].as_u64().unwrap());
                let port = attachment["port"].as_str().unwrap();
                answered.insert(format!("{}/{port}", edge.name()), counts);
            }
        }
        answered
    }

    /// What an edge knows: the MAC of each address, and the rest.
    pub fn bindings(&self, edge: usize) -> BTreeMap<String, Value> {
        let bindings = self.fabric.edges[edge].show("bindings").unwrap();
        bindings.into_iter().map(|one| (one["address"].as_str().unwrap().to_owned(), one)).collect()
    }

    /// Whose an address is, as an edge knows it: the number of a host.
    pub fn owner(&self, edge: usize, address: impl ToString) -> Option<u8> {
        let bindings = self.bindings(edge);
        let known = bindings.get(&address.to_string())?["mac"].as_str().unwrap().to_owned();
        (0..=255).find(|host| mac_text(mac(*host)) == known)
    }

    pub fn is_in_order(&self) {
        for edge in &self.fabric.edges {
            let output = edge.sillon(&["verify", "--node", edge.name()]).unwrap();
            assert!(output.status.success(), "{output:?}");
        }
    }
}
