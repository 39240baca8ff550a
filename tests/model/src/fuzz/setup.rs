//! Random configurations, as the text of a node's file: the parser has its part.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    net::IpAddr,
};

use anyhow::Context;
use fastrand::Rng;
use sillon::model::{Encap, NodeConfig, Service};

use super::{
    guards::{self, Taken},
    limits,
};
use crate::forwarding::Way;

/// The devices of the bed: the first are for operators, the last two face the underlay.
pub const DEVICES: [&str; 6] = ["p0", "p1", "p2", "p3", "up0", "up1"];
/// How many of them are for operators.
pub const ACCESS: usize = 4;
/// The node's limits: the maps are made once, for all configurations.
const LIMITS: &str = "max_attachments = 32\nmax_fdb = 512\nmax_remotes = 8\nmax_segments = 8\n";
/// Every remote that a segment may have.
pub const REMOTES: [&str; 6] =
    ["10.99.0.2", "10.99.0.3", "10.99.0.4", "fd99::2", "fd99::3", "fd99::4"];
/// The node's own addresses.
pub const VTEPS: [&str; 2] = ["10.99.0.1", "fd99::1"];
/// Few VIDs, so that ports share them and tags nest.
pub const VIDS: [u16; 4] = [1, 2, 100, 4094];
/// Segments that there are to choose from.
const SEGMENTS: usize = 6;
/// Ports and tags that a segment comes back to.
const POINTS: usize = 4;

/// The MAC of a device.
pub const fn mac(device: usize) -> [u8; 6] {
    [0x02, 0x5e, 0x11, 0, 0, device as u8]
}

/// A node's file, and the underlay as it finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// The file.
    pub text: String,
    /// The ways to each remote that is in reach.
    pub ways: BTreeMap<IpAddr, Vec<Way>>,
}

impl Setup {
    /// A node without ports.
    pub fn empty() -> Self {
        Self { text: format!("[node]\nname = \"fuzz\"\n{LIMITS}"), ways: BTreeMap::new() }
    }

    /// What the file says.
    ///
    /// # Errors
    /// It is refused.
    pub fn config(&self) -> anyhow::Result<NodeConfig> {
        let parsed = sillon::model::parse("setup", &self.text);
        let (config, _) =
            parsed.map_err(|errors| anyhow::anyhow!("{errors}")).context("a random file")?;
        Ok(config)
    }
}

/// The segments that the configurations of one case are made of: those that follow each other have
/// some in common.
pub struct World {
    segments: Vec<Known>,
}

/// What stays of a segment from one configuration to the next.
struct Known {
    name: String,
    operator: &'static str,
    vni: u32,
    service: Service,
    /// Where most of its attachments are.
    points: [(&'static str, Encap); POINTS],
}

impl World {
    /// A random one.
    pub fn new(rng: &mut Rng) -> Self {
        let mut vnis = BTreeSet::new();
        while vnis.len() < SEGMENTS {
            vnis.insert(if rng.bool() { rng.u32(1..8) } else { rng.u32(1..0x100_0000) });
        }
        let services = [Service::Lan, Service::Lan, Service::Tree, Service::Line];
        let segment = |(index, vni)| {
            let operator = ["alder", "birch", "cedar"][rng.usize(..3)];
            let service = services[rng.usize(..services.len())];
            let points = std::array::from_fn(|_| (DEVICES[rng.usize(..ACCESS)], encap(rng)));
            Known { name: format!("{operator}-{index}"), operator, vni, service, points }
        };
        Self { segments: vnis.into_iter().enumerate().map(segment).collect() }
    }

    /// A configuration of some of its segments.
    pub fn setup(&self, rng: &mut Rng) -> Setup {
        let mut draft = Draft::new(rng);
        for segment in &self.segments {
            if rng.u8(..5) > 0 {
                draft.segment(rng, segment);
            }
        }
        let ways = draft.ways(rng);
        Setup { text: draft.text, ways }
    }
}

/// A file in the making.
struct Draft {
    text: String,
    vteps: Vec<&'static str>,
    ports: Vec<&'static str>,
    uplinks: Vec<usize>,
    taken: Vec<(&'static str, Encap)>,
    remotes: BTreeSet<&'static str>,
}

impl Draft {
    fn new(rng: &mut Rng) -> Self {
        let mut vteps = VTEPS.to_vec();
        if rng.u8(..4) == 0 {
            vteps.remove(rng.usize(..2));
        }
        let mut text = format!("[node]\nname = \"fuzz\"\nvtep = {vteps:?}\n{LIMITS}");
        let (mut ports, mut uplinks) = (Vec::new(), Vec::new());
        for (device, name) in DEVICES.into_iter().enumerate() {
            let role = match device {
                ACCESS.. => "uplink",
                _ if rng.bool() => "access",
                _ => "handover",
            };
            // One uplink at least, for the remotes.
            if rng.u8(..8) > 0 || device == ACCESS {
                let _ = write!(text, "\n[[port]]\nname = {name:?}\nrole = {role:?}\n");
                if device < ACCESS { ports.push(name) } else { uplinks.push(device) }
            }
        }
        Self { text, vteps, ports, uplinks, taken: Vec::new(), remotes: BTreeSet::new() }
    }

    fn segment(&mut self, rng: &mut Rng, known: &Known) {
        let Known { name, operator, vni, service, .. } = known;
        let service = *service;
        let has = |remote: &&str| {
            self.vteps.iter().any(|vtep| vtep.contains(':') == remote.contains(':'))
        };
        let mut remotes: Vec<&str> =
            REMOTES.into_iter().filter(has).filter(|_| rng.u8(..3) == 0).collect();
        if service == Service::Line {
            remotes.truncate(rng.usize(..3));
        }
        self.remotes.extend(&remotes);
        let mtu: u64 = rng.choice([576, 1400, 1500, 1500, 9000]).unwrap_or(1500);
        let limit = rng.choice([1, 2, 4, 64, 64, 64]).unwrap_or(64);
        let dscp = rng.choice([0, 0, 10, 46, 63]).unwrap_or(0);
        let moves = guards::moves(rng);
        let _ = write!(
            self.text,
            "\n[[segment]]\nname = {name:?}\noperator = {operator:?}\nvni = {vni}\nservice = \"{service}\"\n\
             remotes = {remotes:?}\nmtu = {mtu}\nmac_limit = {limit}\ndscp = {dscp}\n{moves}"
        );
        let points = match service {
            Service::Line => 2 - remotes.len(),
            _ => rng.usize(..5),
        };
        let suppresses = service != Service::Line && rng.u8(..3) > 0;
        if suppresses {
            self.text += "suppress = true\n";
        }
        let mut taken = Taken::new(suppresses);
        (0..points).for_each(|_| self.attach(rng, known, mtu, &mut taken));
    }

    fn attach(&mut self, rng: &mut Rng, known: &Known, mtu: u64, taken: &mut Taken) {
        let Known { name: segment, service, .. } = known;
        let Some(mut port) = rng.choice(&self.ports).copied() else { return };
        let mut encap = encap(rng);
        if rng.u8(..3) > 0 {
            (port, encap) = known.points[rng.usize(..POINTS)];
        }
        if !self.ports.contains(&port) {
            return;
        }
        if self.taken.iter().any(|(other, taken)| *other == port && taken.overlaps(&encap)) {
            return;
        }
        self.taken.push((port, encap));
        let _ = write!(
            self.text,
            "\n[[attachment]]\nsegment = {segment:?}\nport = {port:?}\nencap = \"{encap}\"\n"
        );
        let profiles = limits::lines(rng, mtu, self.taken.len(), &mut self.text);
        if *service == Service::Tree && rng.bool() {
            self.text += "role = \"leaf\"\n";
        }
        let may_peer = matches!(encap, Encap::Untagged | Encap::Port);
        self.text += &guards::lines(rng, *service, may_peer, taken);
        self.text += &profiles;
    }

    /// Ways of equal cost have one MTU: which of them a flow takes is open, whether it gets through
    /// is not.
    fn ways(&self, rng: &mut Rng) -> BTreeMap<IpAddr, Vec<Way>> {
        let mut ways = BTreeMap::new();
        for remote in self.remotes.iter().filter_map(|remote| remote.parse().ok()) {
            let mtu = rng.choice([600, 1500, 1570, 1700, 9216]).unwrap_or(1700);
            let count = rng.usize(..8).min(2).min(self.uplinks.len());
            let mut devices = self.uplinks.clone();
            rng.shuffle(&mut devices);
            let way =
                |device| Way { device, next_hop: [2, 0x99, 0, 0, device as u8, rng.u8(..)], mtu };
            ways.insert(remote, devices.into_iter().take(count).map(way).collect());
        }
        ways
    }
}

fn encap(rng: &mut Rng) -> Encap {
    let vid = VIDS[rng.usize(..VIDS.len())];
    let c = VIDS[rng.usize(..VIDS.len())];
    let text = match rng.u8(..16) {
        0..4 => "untagged".to_owned(),
        4..9 => format!("dot1q {vid}"),
        9..12 => format!("qinq {vid}"),
        12..15 => format!("qinq {vid}.{c}"),
        _ => "port".to_owned(),
    };
    text.parse().unwrap_or(Encap::Untagged)
}
