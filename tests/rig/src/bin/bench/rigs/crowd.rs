//! Two edges with many more on them than the two hosts that are measured: attachments of other operators, and addresses in the FDB.

use std::path::Path;

use anyhow::ensure;
use sillon_rig::{
    Fabric, Family, Frame, NodeFile, Tag, Underlay,
    frame::{BROADCAST, Macs},
};

use crate::{
    contender::{Alive, Contender, VNI, contender, introduce},
    load::station,
};

/// How many of them.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Attachments, of half as many segments.
    pub attachments: u32,
    /// Addresses in the FDB.
    pub macs: u32,
}

/// Stations behind the sink.
pub const STATIONS: u16 = 16_384;
/// Addresses of a segment of the crowd.
const MACS_OF_A_SEGMENT: u32 = 20;
/// C-VIDs that are used within an S-VID.
const C_VIDS: u32 = 4000;

impl Crowd {
    fn segments(self) -> u32 {
        self.attachments / 2
    }

    /// The tags of an attachment.
    const fn tags(attachment: u32) -> [u16; 2] {
        [(attachment / C_VIDS + 1) as u16, (attachment % C_VIDS + 1) as u16]
    }

    /// An edge's file.
    fn file(self, fabric: &Fabric, edge: usize) -> NodeFile {
        let remote = fabric.vtep(1 - edge, Family::V4);
        let file = NodeFile::new(fabric.edges[edge].name(), &[fabric.vtep(edge, Family::V4)]);
        let file = file.key("max_attachments", 131_072).key("max_segments", 65_536).key("max_fdb", 1_200_000);
        let file = file.port("up0", "uplink").port("p0", "access").port("p1", "access");
        let file = file.segment("bench-lan", VNI, "lan", &[remote]).key("ageing", 1_000_000);
        let file = file.key("mac_limit", u32::from(STATIONS) + 100);
        let file = file.attach("bench-lan", "p0", "untagged").key("mac_limit", u32::from(STATIONS) + 100);
        (0..self.segments()).fold(file, |file, segment| {
            let name = format!("crowd{segment}");
            let file = file.segment(&name, VNI + 1 + segment, "lan", &[remote]);
            let file = file.key("ageing", 1_000_000).key("mac_limit", MACS_OF_A_SEGMENT);
            [2 * segment, 2 * segment + 1].into_iter().fold(file, |file, attachment| {
                let [s_vid, c_vid] = Self::tags(attachment);
                file.attach(&name, "p1", &format!("qinq {s_vid}.{c_vid}"))
            })
        })
    }

    /// Lets an edge learn the crowd's addresses, from frames as its servers would send them.
    fn introduce(self, fabric: &Fabric, edge: usize) -> anyhow::Result<()> {
        let runner = fabric.edges[edge].runner("p1")?;
        let attachments = self.attachments;
        runner.on_cpu(1, |run| {
            for number in 0..self.macs {
                let [_, a, b, c] = number.to_be_bytes();
                // Whose turn it is goes round, so that no segment's addresses lie side by side.
                let [s_vid, c_vid] = Self::tags(number % attachments);
                let macs = Macs { from: [2, 1, edge as u8, a, b, c], to: BROADCAST };
                let frame = Frame::ethertype(macs, 0x88b5, &[0; 46]).tagged(&[Tag::s(s_vid), Tag::c(c_vid)]);
                run(&frame.0, 1)?;
            }
            Ok(())
        })
    }

    /// Two edges with this crowd on each.
    ///
    /// # Errors
    /// An agent does not start, or does not learn.
    pub fn contender(self, object: &Path, sillon: &Path) -> anyhow::Result<Contender> {
        let mut fabric = Fabric::new(Underlay::Direct, sillon)?;
        let wires = [fabric.plug(0, "p0")?, fabric.plug(1, "p0")?];
        let crowds = [fabric.plug(0, "p1")?, fabric.plug(1, "p1")?];
        for edge in [0, 1] {
            let file = self.file(&fabric, edge);
            fabric.edges[edge].start(&file)?;
        }
        introduce(&wires)?;
        for number in 0..STATIONS {
            let macs = Macs { from: station(number), to: [2, 0, 0, 0, 0, 1] };
            wires[1].send(&Frame::ethertype(macs, 0x88b5, b"here I am"))?;
        }
        for edge in [0, 1] {
            self.introduce(&fabric, edge)?;
            let known = fabric.edges[edge].show("fdb")?.len();
            let wanted = self.macs as usize + usize::from(STATIONS) + 2;
            ensure!(known == wanted, "{} knows {known} MACs, not {wanted}", fabric.edges[edge].name());
        }
        let name = format!("{} attachments, {} addresses", self.attachments, self.macs);
        contender(
            &name,
            object,
            Alive {
                _fabric: fabric,
                _wires: wires.into_iter().chain(crowds).collect(),
                _programs: Vec::new(),
            },
        )
    }
}
