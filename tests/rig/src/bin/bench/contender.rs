//! What is compared: each time the same line of veths, `generator – edge – underlay – edge – sink`.

use std::{path::Path, thread, time::Duration};

use anyhow::{Context, bail, ensure};
use aya::maps::DevMap;
use nix::net::if_::if_nametoindex;
use sillon_rig::{
    Fabric, Family, Frame, NodeFile, Underlay, Wire,
    frame::{BROADCAST, Macs},
    kernel,
};

use crate::load::{Attached, Track};

/// One of them.
pub struct Contender {
    /// What it is called.
    pub name: String,
    /// Its generator and sink.
    pub track: Track,
    _alive: Alive,
}

/// What ends when it is dropped.
pub(crate) struct Alive {
    pub _fabric: Fabric,
    /// The first two are the generator's and the sink's.
    pub _wires: Vec<Wire>,
    pub _programs: Vec<Attached>,
}

/// The agents', and the kernel's bridges'.
pub(crate) const VNI: u32 = 100;

/// One `XDP_REDIRECT` on each edge, and nothing else.
///
/// # Errors
/// The kernel refuses.
pub fn bare(object: &Path, sillon: &Path) -> anyhow::Result<Contender> {
    let fabric = Fabric::new(Underlay::Direct, sillon)?;
    let wires = [fabric.plug(0, "p0")?, fabric.plug(1, "p0")?];
    let mut programs = Vec::new();
    for (edge, from, to) in [(0, "p0", "up0"), (1, "up0", "p0")] {
        let netns = &fabric.edges[edge].netns;
        let mut program = Attached::new(object, netns, from, "forward")?;
        let to = netns.enter(|| Ok(if_nametoindex(to)?))?;
        netns.enter(|| Ok(DevMap::try_from(program.map("OUT")?)?.set(0, to, None, 0)?))?;
        programs.push(program);
    }
    contender("bare redirect", object, Alive { _fabric: fabric, _wires: wires.into(), _programs: programs })
}

/// Two edges of ours, with what a file has that says nothing of guards.
///
/// # Errors
/// An agent does not start, or does not learn.
pub fn sillon(object: &Path, sillon: &Path) -> anyhow::Result<Contender> {
    ours("sillon", object, sillon, |file| file)
}

/// The same without the guards that are on by default.
///
/// # Errors
/// As for [`sillon()`].
pub fn unguarded(object: &Path, sillon: &Path) -> anyhow::Result<Contender> {
    ours("without guards", object, sillon, |file| {
        file.key("trusted", "[\"dhcp\", \"ra\"]").key("storm", "\"off\"")
    })
}

fn ours(
    name: &str,
    object: &Path,
    sillon: &Path,
    guards: impl Fn(NodeFile) -> NodeFile,
) -> anyhow::Result<Contender> {
    let mut fabric = Fabric::new(Underlay::Direct, sillon)?;
    let wires = [fabric.plug(0, "p0")?, fabric.plug(1, "p0")?];
    for edge in [0, 1] {
        let remote = fabric.vtep(1 - edge, Family::V4);
        let file = fabric.file(edge).port("p0", "access").segment("bench-lan", VNI, "lan", &[remote]);
        // The sink says nothing more once it is known.
        let file = file.key("ageing", 1_000_000).attach("bench-lan", "p0", "untagged");
        fabric.edges[edge].start(&guards(file))?;
    }
    introduce(&wires)?;
    for edge in &fabric.edges {
        let known = edge.show("fdb")?.len();
        ensure!(known == 2, "{} knows {known} MACs, not the generator's and the sink's", edge.name());
    }
    contender(name, object, Alive { _fabric: fabric, _wires: wires.into(), _programs: Vec::new() })
}

/// The kernel's bridge and VXLAN device on each edge.
///
/// # Errors
/// The kernel refuses.
pub fn kernel(object: &Path, sillon: &Path) -> anyhow::Result<Contender> {
    let fabric = Fabric::new(Underlay::Direct, sillon)?;
    let mut wires = Vec::new();
    for edge in [0, 1] {
        let netns = &fabric.edges[edge].netns;
        let [near, far] = [edge, 1 - edge].map(|edge| fabric.vtep(edge, Family::V4));
        kernel::vxlan_peer(netns, VNI, near, far)?;
        let host = fabric.mounts.netns(&format!("host{edge}"))?;
        wires.push(kernel::plug_into_bridge(netns, host)?);
    }
    let Ok(wires) = <[Wire; 2]>::try_from(wires) else { bail!("two edges have two wires") };
    introduce(&wires)?;
    contender("kernel bridge", object, Alive { _fabric: fabric, _wires: wires.into(), _programs: Vec::new() })
}

pub(crate) fn contender(name: &str, object: &Path, alive: Alive) -> anyhow::Result<Contender> {
    let [from, to, ..] = &alive._wires[..] else { bail!("two hosts are measured") };
    let track = Track::new(object, &from.netns, &to.netns).with_context(|| name.to_owned())?;
    Ok(Contender { name: name.to_owned(), track, _alive: alive })
}

/// Lets both ends be learned: the load is known unicast.
pub(crate) fn introduce(wires: &[Wire; 2]) -> anyhow::Result<()> {
    let patience = Duration::from_secs(5);
    for (number, (from, to)) in (1..).zip([(&wires[0], &wires[1]), (&wires[1], &wires[0])]) {
        let macs = Macs { from: [2, 0, 0, 0, 0, number], to: BROADCAST };
        let word = format!("here is {number}, for all to know");
        let hello = Frame::ethertype(macs, 0x88b5, word.as_bytes());
        // A bridge may not forward in its first moment.
        let mut came = None;
        for _ in 0..50 {
            from.send(&hello)?;
            came = to.expect(patience / 50, |frame| frame.contains(word.as_bytes()))?;
            if came.is_some() {
                break;
            }
        }
        ensure!(came.is_some(), "nothing of {number} comes to the other end");
    }
    thread::sleep(Duration::from_millis(10));
    Ok(())
}
