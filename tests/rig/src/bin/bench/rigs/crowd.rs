//! Two edges with many more on them than the two hosts that are measured: segments, attachments,
//! addresses and remotes of others.

use anyhow::{Context, ensure};
use aya::maps::MapData;
use sillon_rig::{
    Fabric, Family, Frame, Node, NodeFile, Tag, Underlay, Wire,
    frame::{BROADCAST, Macs},
};

use super::{
    line::{VNI, introduce},
    load::{Track, station},
};
use crate::turns::Bench;

/// How many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// Segments.
    pub segments: u32,
    /// Attachments, shared out among the segments.
    pub attachments: u32,
    /// Addresses in the FDB, shared out among the attachments.
    pub macs: u32,
    /// Remotes, shared out among the segments.
    pub remotes: u32,
}

/// Stations behind the sink.
pub const STATIONS: u16 = 16_384;
/// C-VIDs that are used within an S-VID.
const C_VIDS: u32 = 4000;
/// Addresses that nobody has; the way to them is the way to the other edge.
const ELSEWHERE: &str = "10.100.0.0/16";

/// Two edges with a crowd on each.
pub struct Crowded {
    /// From the first host to the second.
    pub track: Track,
    /// The edges.
    pub fabric: Fabric,
    _wires: Vec<Wire>,
}

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Of a node's maps, as the kernel counts them.
    pub maps: u64,
    /// Of the agent, resident.
    pub agent: u64,
}

impl Crowd {
    /// The tags of an attachment.
    const fn tags(attachment: u32) -> [u16; 2] {
        [(attachment / C_VIDS + 1) as u16, (attachment % C_VIDS + 1) as u16]
    }

    /// The remotes of a segment, besides the other edge.
    fn remotes_of(self, segment: u32) -> Vec<String> {
        let numbers = (segment..self.remotes).step_by(self.segments as usize);
        numbers.map(|number| format!("10.100.{}.{}", number / 250, number % 250 + 1)).collect()
    }

    fn mac_limit(self) -> u32 {
        self.macs / self.segments.max(1) + 64
    }

    /// An edge's file.
    fn file(self, fabric: &Fabric, edge: usize) -> NodeFile {
        let remote = fabric.vtep(1 - edge, Family::V4);
        let file = NodeFile::new(fabric.edges[edge].name(), &[fabric.vtep(edge, Family::V4)]);
        let file = file
            .key("max_attachments", self.attachments + 16)
            .key("max_segments", self.segments + 16);
        let fdb = self.segments * self.mac_limit() + u32::from(STATIONS) + 1000;
        let file = file.key("max_fdb", fdb).key("max_remotes", self.remotes + 16);
        let file = file.port("up0", "uplink").port("p0", "access").port("p1", "access");
        let file = file.segment("bench-lan", VNI, "lan", &[remote]).key("ageing", 1_000_000);
        let file = file.key("mac_limit", u32::from(STATIONS) + 100);
        let file =
            file.attach("bench-lan", "p0", "untagged").key("mac_limit", u32::from(STATIONS) + 100);
        (0..self.segments).fold(file, |file, segment| {
            let name = format!("crowd{segment}");
            let more = self.remotes_of(segment);
            let remotes: Vec<&str> =
                std::iter::once(remote).chain(more.iter().map(String::as_str)).collect();
            let file = file.segment(&name, VNI + 1 + segment, "lan", &remotes);
            let file = file.key("ageing", 1_000_000).key("mac_limit", self.mac_limit());
            (segment..self.attachments).step_by(self.segments as usize).fold(
                file,
                |file, attachment| {
                    let [s_vid, c_vid] = Self::tags(attachment);
                    let file = file.attach(&name, "p1", &format!("qinq {s_vid}.{c_vid}"));
                    file.key("mac_limit", self.mac_limit())
                },
            )
        })
    }

    /// Lets an edge learn the crowd's addresses, from frames as its servers would send them.
    fn introduce(self, fabric: &Fabric, edge: usize) -> anyhow::Result<()> {
        let runner = fabric.edges[edge].runner("p1")?;
        runner.on_cpu(1, |run| {
            for number in 0..self.macs {
                let [_, a, b, c] = number.to_be_bytes();
                // Whose turn it is goes round, so that no segment's addresses lie side by side.
                let [s_vid, c_vid] = Self::tags(number % self.attachments);
                let macs = Macs { from: [2, 1, edge as u8, a, b, c], to: BROADCAST };
                let frame = Frame::ethertype(macs, 0x88b5, &[0; 46])
                    .tagged(&[Tag::s(s_vid), Tag::c(c_vid)]);
                run(&frame.0, 1)?;
            }
            Ok(())
        })
    }

    /// Two edges with this crowd on each.
    ///
    /// # Errors
    /// An agent does not start, or does not learn.
    pub fn gather(self, bench: &Bench) -> anyhow::Result<Crowded> {
        let mut fabric = Fabric::new(Underlay::Direct, &bench.sillon)?;
        let wires = [fabric.plug(0, "p0")?, fabric.plug(1, "p0")?];
        let crowds = [fabric.plug(0, "p1")?, fabric.plug(1, "p1")?];
        for edge in [0, 1] {
            let file = self.file(&fabric, edge);
            fabric.edges[edge]
                .netns
                .ip(&format!("route add {ELSEWHERE} via {}", fabric.vtep(1 - edge, Family::V4)))?;
            fabric.edges[edge].start(&file)?;
        }
        introduce(&wires, [&[], &[]])?;
        for number in 0..STATIONS {
            let macs = Macs { from: station(number), to: [2, 0, 0, 0, 0, 1] };
            wires[1].send(&Frame::ethertype(macs, 0x88b5, b"here I am"))?;
        }
        for edge in [0, 1] {
            self.introduce(&fabric, edge)?;
            let known = fabric.edges[edge].fdb()?.len();
            let wanted = self.macs as usize + usize::from(STATIONS) + 2;
            ensure!(
                known == wanted,
                "{} knows {known} MACs, not {wanted}",
                fabric.edges[edge].name()
            );
        }
        let track = Track::new(&bench.object, &wires[0].netns, &wires[1].netns, &[], 0)?;
        Ok(Crowded { track, fabric, _wires: wires.into_iter().chain(crowds).collect() })
    }
}

/// What a node takes.
///
/// # Errors
/// It is not up.
pub fn memory(node: &Node) -> anyhow::Result<Memory> {
    let agent = node.agent().context("no agent runs")?;
    let status = std::fs::read_to_string(format!("/proc/{agent}/status"))?;
    let agent = kilobytes(&status, "VmRSS:").context("no VmRSS")? * 1024;
    let maps = node.netns.enter(|| {
        let mut bytes = 0;
        for version in std::fs::read_dir(format!("/sys/fs/bpf/sillon/{}", node.name()))? {
            for pin in std::fs::read_dir(version?.path().join("maps"))? {
                bytes += memlock(&MapData::from_pin(pin?.path())?)?;
            }
        }
        Ok(bytes)
    })?;
    Ok(Memory { maps, agent })
}

fn memlock(map: &MapData) -> anyhow::Result<u64> {
    use std::os::fd::{AsFd, AsRawFd};
    let path = format!("/proc/thread-self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
    kilobytes(&std::fs::read_to_string(path)?, "memlock:").context("no memlock")
}

/// The number behind a word, whatever its unit.
fn kilobytes(text: &str, word: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_are_shared_out_and_none_is_given_twice() {
        let crowd = Crowd { segments: 3, attachments: 3, macs: 0, remotes: 1000 };
        let mut all: Vec<String> = (0..3).flat_map(|segment| crowd.remotes_of(segment)).collect();
        assert_eq!(all.len(), 1000);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 1000);
    }

    #[test]
    fn the_number_behind_a_word_is_read() {
        assert_eq!(kilobytes("Name:\tx\nVmRSS:\t   1234 kB\n", "VmRSS:"), Some(1234));
        assert_eq!(kilobytes("Name:\tx\n", "VmRSS:"), None);
    }
}
