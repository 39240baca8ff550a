//! Frames as bytes, and how tests make them. What the field has a library for (etherparse) is made
//! by it; the tags are ours, since tests want them in every combination.

use std::net::{IpAddr, Ipv4Addr};

use etherparse::PacketBuilder;

/// Bytes of a tag.
const TAG: usize = 4;
/// Where the first tag stands: behind the two MACs.
const FIRST_TAG: usize = 12;

/// 802.1Q customer tag.
pub const DOT1Q: u16 = 0x8100;
/// 802.1ad service tag.
pub const DOT1AD: u16 = 0x88a8;
/// All hosts of a segment.
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// A MAC as `sillon`, `ip` and node files write it.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Its TPID.
    pub tpid: u16,
    /// VID, 12 bits.
    pub vid: u16,
    /// Priority, 3 bits.
    pub pcp: u8,
    /// Drop eligible.
    pub dei: bool,
}

impl Tag {
    /// A customer tag of this VID.
    pub const fn c(vid: u16) -> Self {
        Self { tpid: DOT1Q, vid, pcp: 0, dei: false }
    }

    /// A service tag of this VID.
    pub const fn s(vid: u16) -> Self {
        Self { tpid: DOT1AD, vid, pcp: 0, dei: false }
    }

    /// The same with this priority.
    pub const fn with_priority(self, pcp: u8, dei: bool) -> Self {
        Self { pcp, dei, ..self }
    }

    fn bytes(self) -> [u8; TAG] {
        let tci = u16::from(self.pcp & 7) << 13 | u16::from(self.dei) << 12 | self.vid & 0xfff;
        let [[a, b], [c, d]] = [self.tpid.to_be_bytes(), tci.to_be_bytes()];
        [a, b, c, d]
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, d, ..] = bytes else { return None };
        let (tpid, tci) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let is_tag = tpid == DOT1Q || tpid == DOT1AD;
        let tag = Self { tpid, vid: tci & 0xfff, pcp: (tci >> 13) as u8, dei: tci & 0x1000 != 0 };
        is_tag.then_some(tag)
    }
}

/// An Ethernet frame without its FCS.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(pub Vec<u8>);

impl Frame {
    /// A UDP datagram over the IP version of both addresses; length, checksums and all.
    ///
    /// # Panics
    /// The addresses are of different families.
    pub fn udp(macs: Macs, ips: (IpAddr, IpAddr), ports: (u16, u16), payload: &[u8]) -> Self {
        let ethernet = PacketBuilder::ethernet2(macs.from, macs.to);
        let ip = match ips {
            (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), 64),
            (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), 64),
            _ => panic!("{ips:?} are of different families"),
        };
        let packet = ip.udp(ports.0, ports.1);
        let mut bytes = Vec::with_capacity(packet.size(payload.len()));
        packet.write(&mut bytes, payload).unwrap_or_else(|error| panic!("no frame: {error}"));
        Self(bytes)
    }

    /// Any ethertype with any payload.
    pub fn ethertype(macs: Macs, ethertype: u16, payload: &[u8]) -> Self {
        Self([&macs.to[..], &macs.from, &ethertype.to_be_bytes(), payload].concat())
    }

    /// ARP for IPv4 (RFC 826) with something behind it, as long as the shortest frame; `operation`
    /// 1 asks, 2 answers.
    pub fn arp(
        macs: Macs,
        operation: u16,
        sender: ([u8; 6], Ipv4Addr),
        target: ([u8; 6], Ipv4Addr),
        behind: &[u8],
    ) -> Self {
        let mut packet = vec![0, 1, 8, 0, 6, 4];
        packet.extend(operation.to_be_bytes());
        for (mac, ip) in [sender, target] {
            packet.extend(mac);
            packet.extend(ip.octets());
        }
        packet.extend(behind);
        packet.resize(46, 0);
        Self::ethertype(macs, 0x0806, &packet)
    }

    /// The same with these tags, outermost first, in front of those that it has.
    pub fn tagged(&self, tags: &[Tag]) -> Self {
        let mut bytes = self.0.clone();
        bytes.splice(FIRST_TAG..FIRST_TAG, tags.iter().flat_map(|tag| tag.bytes()));
        Self(bytes)
    }

    /// Its tags, outermost first.
    pub fn tags(&self) -> Vec<Tag> {
        let at = |index| self.0.get(FIRST_TAG + TAG * index..).and_then(Tag::read);
        (0..).map_while(at).collect()
    }

    /// The same without its `count` outermost tags.
    pub fn popped(&self, count: usize) -> Self {
        let mut bytes = self.0.clone();
        bytes.drain(FIRST_TAG..FIRST_TAG + TAG * count);
        Self(bytes)
    }

    /// Whether these bytes stand somewhere in it.
    pub fn contains(&self, bytes: &[u8]) -> bool {
        self.0.windows(bytes.len()).any(|window| window == bytes)
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hex: String = self.0.iter().take(96).map(|byte| format!("{byte:02x}")).collect();
        write!(f, "{} bytes, tags {:?}: {hex}", self.0.len(), self.tags())
    }
}

/// Who sends a frame to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Macs {
    /// Source.
    pub from: [u8; 6],
    /// Destination.
    pub to: [u8; 6],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_that_were_pushed_are_read_and_popped() {
        let macs = Macs { from: [2; 6], to: BROADCAST };
        let frame = Frame::ethertype(macs, 0x0800, b"payload");
        let tags = [Tag::s(200).with_priority(5, true), Tag::c(300)];
        let tagged = frame.tagged(&tags);
        assert_eq!(tagged.tags(), tags);
        assert_eq!(tagged.popped(2), frame);
        assert!(tagged.contains(b"payload") && !tagged.contains(b"payloads"));
    }
}
