//! A frame as its segment sees it: addresses, the tags that it carries behind the attachment's own,
//! and a packet.

use sillon_abi::DropReason;

/// TPID of a C-tag (IEEE 802.1Q).
pub const C_TAG: u16 = 0x8100;
/// TPID of an S-tag (IEEE 802.1ad).
pub const S_TAG: u16 = 0x88a8;
/// TPIDs of old habit: they announce a tag, but none that an attachment can have.
pub const HABIT: [u16; 3] = [0x9100, 0x9200, 0x9300];
/// Ethertype of IPv4.
pub const IPV4: u16 = 0x0800;
/// Ethertype of IPv6.
pub const IPV6: u16 = 0x86dd;
/// How many carried tags are looked at; what is behind them is payload.
const LOOKED_AT: usize = 2;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// What kind.
    pub tpid: u16,
    /// PCP, DEI and VID.
    pub tci: u16,
}

impl Tag {
    /// Its VID.
    pub const fn vid(self) -> u16 {
        self.tci & 0x0fff
    }

    /// PCP and DEI, in their place.
    pub const fn priority(self) -> u16 {
        self.tci & 0xf000
    }

    /// The tag at this offset: its TPID, and what must follow it.
    ///
    /// # Errors
    /// The frame ends before.
    pub fn at(bytes: &[u8], offset: usize) -> Result<Self, DropReason> {
        Ok(Self { tpid: be16(bytes, offset)?, tci: be16(bytes, offset + 2)? })
    }

    fn bytes(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.tpid.to_be_bytes(), self.tci.to_be_bytes());
        [a, b, c, d]
    }
}

/// Whether an ethertype announces a tag.
pub fn is_tpid(ethertype: u16) -> bool {
    ethertype == C_TAG || ethertype == S_TAG || HABIT.contains(&ethertype)
}

/// The number at this offset.
///
/// # Errors
/// The frame ends before.
pub fn be16(bytes: &[u8], offset: usize) -> Result<u16, DropReason> {
    match bytes.get(offset..offset + 2) {
        Some(&[a, b]) => Ok(u16::from_be_bytes([a, b])),
        _ => Err(DropReason::Truncated),
    }
}

/// A frame as its segment sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Destination.
    pub dst: Mac,
    /// Source.
    pub src: Mac,
    /// Tags that it carries for its operator, outermost first.
    pub carried: Vec<Tag>,
    /// What the packet is.
    pub ethertype: u16,
    /// The packet.
    pub packet: Vec<u8>,
}

impl Inner {
    /// Reads a frame that has no tags of an attachment any more.
    ///
    /// # Errors
    /// It ends before its headers do, or carries a tag and may not.
    pub fn parse(bytes: &[u8], may_carry_tags: bool) -> Result<Self, DropReason> {
        let &[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, _, _, ..] = bytes else {
            return Err(DropReason::Truncated);
        };
        let mut carried = Vec::new();
        let mut at = 12;
        while is_tpid(be16(bytes, at)?) && carried.len() < LOOKED_AT {
            if !may_carry_tags {
                return Err(DropReason::NestedTag);
            }
            // A tag is known by what follows it.
            be16(bytes, at + 4)?;
            carried.push(Tag::at(bytes, at)?);
            at += 4;
        }
        Ok(Self {
            dst: [d0, d1, d2, d3, d4, d5],
            src: [s0, s1, s2, s3, s4, s5],
            carried,
            ethertype: be16(bytes, at)?,
            packet: bytes[at + 2..].to_vec(),
        })
    }

    /// The TCI of its only tag, if that is a priority tag (VID 0): how PCP and DEI travel between
    /// nodes.
    pub fn lone_priority_tag(&self) -> Option<u16> {
        match self.carried[..] {
            [tag] if tag.tpid == C_TAG && tag.vid() == 0 => Some(tag.tci),
            _ => None,
        }
    }

    /// Whether it carries tags of the operator's own.
    pub fn carries_tags(&self) -> bool {
        !self.carried.is_empty() && self.lone_priority_tag().is_none()
    }

    /// The frame with these tags in place of those that it carries.
    pub fn with_tags(&self, tags: &[Tag]) -> Vec<u8> {
        let tags: Vec<u8> = tags.iter().flat_map(|tag| tag.bytes()).collect();
        [&self.dst[..], &self.src, &tags, &self.ethertype.to_be_bytes(), &self.packet].concat()
    }

    /// Whether its destination is a group: broadcast or multicast (IEEE 802 clause 8.2).
    pub const fn is_for_group(&self) -> bool {
        self.dst[0] & 1 == 1
    }
}
