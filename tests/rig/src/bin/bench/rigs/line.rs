//! A line of veths with two hosts at its ends, and whoever carries frames between them.

use std::{fs, path::Path, thread, time::Duration};

use anyhow::{Context, bail, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, DevMap},
    programs::{SchedClassifier, TcAttachType},
};
use nix::net::if_::if_nametoindex;
use sillon_rig::{
    Fabric, Family, Frame, Netns, NodeFile, Tag, Underlay, Wire,
    frame::{BROADCAST, Macs},
    kernel,
};

use super::{
    load::{Attached, Track},
    ovs::{self, Ovs},
};
use crate::turns::Bench;

/// The way that frames take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From one port of an edge to another.
    Local,
    /// The same, from a tag to two others.
    Translated,
    /// Through two edges with a tunnel between them.
    Vxlan(Family),
}

/// Who carries them.
#[derive(Clone, Copy)]
pub enum Carrier {
    /// One `XDP_REDIRECT` on each edge, and nothing else.
    Bare,
    /// One `bpf_redirect` at TC on each edge, which looks at nothing either, but has skbs.
    BareAtTc,
    /// Ours, with what this adds to the attachment's keys.
    Sillon(fn(NodeFile) -> NodeFile),
    /// Ours, with all its ports at TC.
    AtTc,
    /// Another build of ours ([`Bench::against`]), as a file has it that says nothing of guards.
    Other,
    /// Ours with its defaults, in a segment with `suppress`.
    Suppressing,
    /// The kernel's bridge and VXLAN device.
    Kernel,
    /// Open vSwitch with its userspace datapath.
    Ovs,
}

/// A carrier by its name.
pub type Contender = (&'static str, Carrier);

/// The references, and ours as a file has it that says nothing of guards. A contender of another
/// hook is a line here.
pub const CONTENDERS: [Contender; 4] = [
    ("bare", Carrier::Bare),
    ("sillon", Carrier::Sillon(|file| file)),
    ("kernel", Carrier::Kernel),
    ("ovs", Carrier::Ovs),
];
/// With the pipeline on skbs, as virtual ports have it.
pub const AT_TC: Contender = ("sillon tc", Carrier::AtTc);
/// What that is beside: skbs, and nothing done with them.
pub const BARE_AT_TC: Contender = ("bare tc", Carrier::BareAtTc);
/// Another build of ours.
pub const OTHER: Contender = ("other", Carrier::Other);
/// Without the guards that are on by default.
pub const UNGUARDED: Contender = ("unguarded", Carrier::Sillon(unguarded));

/// With the defaults, and with suppression, which is not one of them.
pub const SUPPRESSING: Contender = ("suppressing", Carrier::Suppressing);

fn unguarded(file: NodeFile) -> NodeFile {
    file.key("trusted", "[\"dhcp\", \"ra\"]").key("storm", "\"off\"")
}

/// The VNI of what is measured.
pub const VNI: u32 = 100;

impl Way {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Translated => "dot1q → qinq",
            Self::Vxlan(Family::V4) => "VXLAN v4",
            Self::Vxlan(Family::V6) => "VXLAN v6",
        }
    }

    /// The port of each host: its edge, and its name there.
    pub fn ports(self) -> [(usize, &'static str); 2] {
        match self {
            Self::Local | Self::Translated => [(0, "p0"), (0, "p1")],
            Self::Vxlan(_) => [(0, "p0"), (1, "p0")],
        }
    }

    /// The tags that each host has.
    fn tags(self) -> [&'static [Tag]; 2] {
        const ONE: [Tag; 1] = [Tag::c(100)];
        const TWO: [Tag; 2] = [Tag::s(200), Tag::c(300)];
        if self == Self::Translated { [&ONE, &TWO] } else { [&[], &[]] }
    }

    fn encaps(self) -> [&'static str; 2] {
        if self == Self::Translated { ["dot1q 100", "qinq 200.300"] } else { ["untagged"; 2] }
    }
}

/// A line with everything on it; all of it ends when it is dropped.
pub struct Line {
    /// From the first host to the second.
    pub track: Track,
    /// The hosts' cables.
    pub wires: [Wire; 2],
    /// The edges.
    pub fabric: Fabric,
    /// Programs of the benchmark's own.
    pub programs: Vec<Attached>,
    _redirects: Vec<Ebpf>,
    _daemons: Vec<Ovs>,
}

/// A line, or why there can't be one.
pub type Built = Result<Line, String>;

/// What stands between the hosts.
struct Between {
    wires: Vec<Wire>,
    programs: Vec<Attached>,
    redirects: Vec<Ebpf>,
    daemons: Vec<Ovs>,
}

impl From<Vec<Wire>> for Between {
    fn from(wires: Vec<Wire>) -> Self {
        Self { wires, programs: Vec::new(), redirects: Vec::new(), daemons: Vec::new() }
    }
}

impl Line {
    /// Builds one, and lets both hosts be known.
    ///
    /// # Errors
    /// The kernel refuses, or an agent does not start.
    pub fn new(bench: &Bench, way: Way, carrier: Carrier) -> anyhow::Result<Built> {
        if let Some(why) = absent(way, carrier) {
            return Ok(Err(why));
        }
        let sillon = match (carrier, &bench.against) {
            (Carrier::Other, Some(other)) => other,
            _ => &bench.sillon,
        };
        let mut fabric = Fabric::new(Underlay::Direct, sillon)?;
        let mut between = match carrier {
            Carrier::Bare => bare(&fabric, &bench.object, way)?,
            Carrier::BareAtTc => bare_at_tc(&fabric, &bench.object, way)?,
            Carrier::Sillon(keys) => ours(&mut fabric, way, Ours { keys, ..PLAIN })?.into(),
            Carrier::AtTc => ours(&mut fabric, way, Ours { hook: "tc", ..PLAIN })?.into(),
            Carrier::Other => ours(&mut fabric, way, PLAIN)?.into(),
            Carrier::Suppressing => {
                ours(&mut fabric, way, Ours { suppresses: true, ..PLAIN })?.into()
            }
            Carrier::Kernel => bridges(&fabric, way)?.into(),
            Carrier::Ovs => switches(&fabric, way)?,
        };
        let Ok(wires) = <[Wire; 2]>::try_from(std::mem::take(&mut between.wires)) else {
            bail!("two hosts have two wires")
        };
        let [leaving, mut arriving] = way.tags();
        if matches!(carrier, Carrier::Bare | Carrier::BareAtTc) {
            // It changes nothing.
            arriving = leaving;
        }
        introduce(&wires, [leaving, way.tags()[1]])?;
        let [from, to] = &wires;
        let track =
            Track::new(&bench.object, &from.netns, &to.netns, leaving, arriving.len() as u32)?;
        let Between { programs, redirects, daemons, .. } = between;
        Ok(Ok(Self { track, wires, fabric, programs, _redirects: redirects, _daemons: daemons }))
    }

    /// Gives the hosts addresses of the kernel's, 10.0.0.1 and 10.0.0.2, which know each other.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn inhabit(&self) -> anyhow::Result<()> {
        for (host, wire) in (1..).zip(&self.wires) {
            inhabit(&wire.netns, host, 3 - host)?;
        }
        Ok(())
    }
}

/// Makes a namespace the host of a number.
///
/// # Errors
/// The kernel refuses.
pub fn inhabit(netns: &Netns, host: u8, other: u8) -> anyhow::Result<()> {
    netns.ip(&format!(
        "link set eth0 address 02:00:00:00:00:0{host} mtu 1500\naddr add 10.0.0.{host}/24 dev eth0\n\
         neigh replace 10.0.0.{other} lladdr 02:00:00:00:00:0{other} dev eth0 nud permanent"
    ))
}

fn absent(way: Way, carrier: Carrier) -> Option<String> {
    match carrier {
        Carrier::Kernel if way == Way::Translated => {
            Some("needs 802.1Q devices or VLAN filtering; this kernel may have neither".to_owned())
        }
        Carrier::Ovs => ovs::absent(),
        _ => None,
    }
}

fn plug(fabric: &Fabric, way: Way) -> anyhow::Result<Vec<Wire>> {
    way.ports().into_iter().map(|(edge, port)| fabric.plug(edge, port)).collect()
}

/// Where a redirect sends what comes in: edge, from, to.
fn hops(way: Way) -> &'static [(usize, &'static str, &'static str)] {
    match way {
        Way::Local | Way::Translated => &[(0, "p0", "p1"), (0, "p1", "p0")],
        Way::Vxlan(_) => &[(0, "p0", "up0"), (1, "up0", "p0"), (1, "p0", "up0"), (0, "up0", "p0")],
    }
}

fn bare(fabric: &Fabric, object: &Path, way: Way) -> anyhow::Result<Between> {
    let mut between = Between::from(plug(fabric, way)?);
    for (edge, from, to) in hops(way) {
        let netns = &fabric.edges[*edge].netns;
        let mut program = Attached::new(object, netns, from, "forward")?;
        let to = netns.enter(|| Ok(if_nametoindex(*to)?))?;
        netns.enter(|| Ok(DevMap::try_from(program.map("OUT")?)?.set(0, to, None, 0)?))?;
        between.programs.push(program);
    }
    Ok(between)
}

fn bare_at_tc(fabric: &Fabric, object: &Path, way: Way) -> anyhow::Result<Between> {
    const DEVICE: u32 = 5;
    let bytes = fs::read(object).with_context(|| object.display().to_string())?;
    let mut between = Between::from(plug(fabric, way)?);
    for (edge, from, to) in hops(way) {
        between.redirects.push(fabric.edges[*edge].netns.enter(|| {
            let mut ebpf = EbpfLoader::new().load(&bytes)?;
            let settings = ebpf.map_mut("SETTINGS").context("no SETTINGS")?;
            Array::try_from(settings)?.set(DEVICE, if_nametoindex(*to)?, 0)?;
            let program =
                ebpf.program_mut("forward_skb").context("the object is not the benchmark's")?;
            let program: &mut SchedClassifier = program.try_into()?;
            program.load()?;
            program.attach(from, TcAttachType::Ingress)?;
            Ok(ebpf)
        })?);
    }
    Ok(between)
}

/// How ours is set up.
#[derive(Clone, Copy)]
struct Ours {
    /// What this adds to the attachment's keys.
    keys: fn(NodeFile) -> NodeFile,
    suppresses: bool,
    /// Of all ports.
    hook: &'static str,
}

/// As a file has it that says nothing of it, on ports that stand for hardware.
const PLAIN: Ours = Ours { keys: |file| file, suppresses: false, hook: "xdp" };

fn ours(fabric: &mut Fabric, way: Way, ours: Ours) -> anyhow::Result<Vec<Wire>> {
    let wires = plug(fabric, way)?;
    let edges: &[usize] = if let Way::Vxlan(_) = way { &[0, 1] } else { &[0] };
    for edge in edges.iter().copied() {
        let file = file(fabric, way, edge, ours);
        fabric.edges[edge].start(&file)?;
    }
    Ok(wires)
}

/// An edge's file.
fn file(fabric: &Fabric, way: Way, edge: usize, Ours { keys, suppresses, hook }: Ours) -> NodeFile {
    let remote: &[&str] =
        if let Way::Vxlan(family) = way { &[fabric.vtep(1 - edge, family)] } else { &[] };
    let ports = way.ports().into_iter().zip(way.encaps()).filter(|((at, _), _)| *at == edge);
    let file = ports.clone().fold(fabric.file_at(edge, hook), |file, ((_, port), _)| {
        file.port_at(port, "access", hook)
    });
    let file = file.profile("wide").key("cir", "\"400 Gbit/s\"");
    // The sink says nothing more once it is known.
    let file = file.segment("bench-lan", VNI, "lan", remote).key("ageing", 1_000_000);
    let file = file.key("suppress", suppresses);
    ports.fold(file, |file, ((_, port), encap)| keys(file.attach("bench-lan", port, encap)))
}

fn bridges(fabric: &Fabric, way: Way) -> anyhow::Result<Vec<Wire>> {
    let edges: &[usize] = if let Way::Vxlan(_) = way { &[0, 1] } else { &[0] };
    for edge in edges.iter().copied() {
        let netns = &fabric.edges[edge].netns;
        if let Way::Vxlan(family) = way {
            let [near, far] = [edge, 1 - edge].map(|edge| fabric.vtep(edge, family));
            kernel::vxlan_peer(netns, VNI, near, far)?;
        } else {
            netns.ip("link add br0 type bridge\nlink set br0 up")?;
        }
    }
    let plug = |(edge, port): (usize, &str)| {
        let host = fabric.mounts.netns(&format!("host{edge}{port}"))?;
        kernel::plug_port_into_bridge(&fabric.edges[edge].netns, port, host)
    };
    way.ports().into_iter().map(plug).collect()
}

fn switches(fabric: &Fabric, way: Way) -> anyhow::Result<Between> {
    let mut between = Between::from(plug(fabric, way)?);
    let edges: &[usize] = if let Way::Vxlan(_) = way { &[0, 1] } else { &[0] };
    for edge in edges.iter().copied() {
        let mut ovs = Ovs::start(&fabric.edges[edge].netns)?;
        match way {
            Way::Local => ovs.local()?,
            Way::Translated => ovs.translating()?,
            Way::Vxlan(family) => {
                let [near, far] = [edge, 1 - edge].map(|edge| fabric.vtep(edge, family));
                ovs.tunnel(VNI, near, far)?;
            }
        }
        between.daemons.push(ovs);
    }
    Ok(between)
}

/// Lets both ends be learned: the load is known unicast.
///
/// # Errors
/// Nothing of one comes to the other.
pub fn introduce(wires: &[Wire; 2], tags: [&[Tag]; 2]) -> anyhow::Result<()> {
    let [one, two] = wires;
    let patience = Duration::from_millis(200);
    for (number, (from, to, tags)) in (1..).zip([(one, two, tags[0]), (two, one, tags[1])]) {
        let macs = Macs { from: [2, 0, 0, 0, 0, number], to: BROADCAST };
        let word = format!("here is {number}, for all to know");
        let hello = Frame::ethertype(macs, 0x88b5, word.as_bytes()).tagged(tags);
        // A bridge may not forward in its first moment, and Open vSwitch asks first who has the
        // tunnel's address.
        let mut came = None;
        for _ in 0..50 {
            from.send(&hello)?;
            came = to.expect(patience, |frame| frame.contains(word.as_bytes()))?;
            if came.is_some() {
                break;
            }
        }
        ensure!(came.is_some(), "nothing of host {number} comes to the other end");
    }
    thread::sleep(Duration::from_millis(10));
    Ok(())
}

/// Each contender's line for a way.
///
/// # Errors
/// As for [`Line::new`].
pub fn lines(
    bench: &Bench,
    way: Way,
    contenders: &[Contender],
) -> anyhow::Result<Vec<(&'static str, Built)>> {
    bench.say(&format!("building: {}", way.name()));
    let build = |(name, carrier): &Contender| {
        let built =
            Line::new(bench, way, *carrier).with_context(|| format!("{name}, {}", way.name()))?;
        Ok((*name, built))
    };
    contenders.iter().map(build).collect()
}
