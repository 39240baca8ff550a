//! What becomes of a frame.

use std::net::IpAddr;

use sillon_abi::DropReason;

use super::{flow::FlowKey, suppress::Question};

/// Where frames of a segment come from and go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// An attachment, by its place in the configuration.
    Attachment(usize),
    /// A remote VTEP.
    Remote(IpAddr),
}

/// What a drop is counted for: the narrowest thing that is known by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// A device, by its place in the node's list.
    Port(usize),
    /// An attachment, by its place in the configuration.
    Attachment(usize),
    /// A segment, by its place in the configuration: the frame came out of a tunnel.
    Segment(usize),
}

/// What becomes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the host's, as it is.
    Host,
    /// It is a control frame that an attachment shares with the host's own stack, as it is.
    Peer(Place),
    /// It is dropped.
    Dropped(Scope, DropReason),
    /// It leaves at one place.
    Sent(Copy),
    /// It is for many.
    Flooded(Flood),
    /// It asked for what is known: the answer leaves where it came in.
    Answered(Question, Copy),
}

/// A frame that leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Where.
    pub to: Place,
    /// The device and the bytes; several where the underlay has several ways of equal cost.
    pub ways: Vec<(usize, Vec<u8>)>,
    /// In a tunnel: the offset of the UDP source port, whose value is open, and the flow, which it
    /// may depend on alone.
    pub tunnelled: Option<(usize, FlowKey)>,
}

/// A frame for many, as its segment sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flood {
    /// Its segment.
    pub segment: usize,
    /// Where it came in.
    pub from: Place,
    /// Whether that is a leaf of a tree.
    pub leaf: bool,
    /// Without the attachment's tags, and without a lone priority tag.
    pub frame: Vec<u8>,
    /// Whether there was a lone priority tag.
    pub priority_tagged: bool,
    /// Whether it carries tags of the operator's own.
    pub carries_tags: bool,
    /// PCP and DEI, in the place that they have in a tag.
    pub priority: u16,
    /// Whether a bandwidth profile found it yellow: it may be dropped first.
    pub yellow: bool,
    /// ECN field of its packet.
    pub ecn: u8,
    /// Its flow.
    pub flow: FlowKey,
}

impl Copy {
    /// Which of the ways these bytes went, if they are this copy; and their UDP source port.
    pub fn explains(&self, bytes: &[u8]) -> Option<(usize, u16)> {
        self.ways.iter().find_map(|(device, wanted)| {
            let Some((at, _)) = self.tunnelled else {
                return (wanted == bytes).then_some((*device, 0));
            };
            let same = wanted.len() == bytes.len()
                && wanted[..at] == bytes[..at]
                && wanted[at + 2..] == bytes[at + 2..];
            same.then(|| (*device, u16::from_be_bytes([bytes[at], bytes[at + 1]])))
        })
    }
}
