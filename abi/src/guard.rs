//! What the operator of an attachment may send: switches that every frame carries with it, and the
//! lists that they ask for.

use crate::{Addr, pod};

/// Bits of [`crate::Attachment::guards`] and [`crate::TunnelEntry::guards`]; a guard that is off
/// costs the test of its bit.
pub struct Guards;

impl Guards {
    /// It has a bandwidth profile for what comes from it.
    pub const POLICED_IN: u16 = 1;
    /// It has a bandwidth profile for what goes to it.
    pub const POLICED_OUT: u16 = 1 << 1;
    /// Its broadcasts are limited.
    pub const STORM_BROADCAST: u16 = 1 << 2;
    /// Its multicasts are limited.
    pub const STORM_MULTICAST: u16 = 1 << 3;
    /// Its frames to unknown addresses are limited.
    pub const STORM_UNKNOWN_UNICAST: u16 = 1 << 4;
    /// The guards that are about rates.
    pub const RATES: u16 = Self::POLICED_IN
        | Self::POLICED_OUT
        | Self::STORM_BROADCAST
        | Self::STORM_MULTICAST
        | Self::STORM_UNKNOWN_UNICAST;

    /// ARP and neighbour discovery are listened to and, at attachments, answered. All points of a
    /// segment have it or none.
    pub const SUPPRESS: u16 = 1 << 5;

    /// Link-local control frames are for the node's own stack.
    pub const PEER: u16 = 1 << 6;
    /// Only addresses that are configured for the attachment may be sources.
    pub const FIXED_MACS: u16 = 1 << 8;
    /// An address that was learned here does not move away.
    pub const STICKY: u16 = 1 << 9;
    /// In a `line`, which learns nothing: sources are compared with configured addresses all the
    /// same.
    pub const LINE_MACS: u16 = 1 << 10;
    /// DHCP servers are not trusted here.
    pub const NO_DHCP_SERVER: u16 = 1 << 11;
    /// Routers are not trusted here.
    pub const NO_ROUTER: u16 = 1 << 12;
    /// Source addresses must be in one of the attachment's prefixes.
    pub const PREFIXES: u16 = 1 << 13;
    /// Ethertypes must be in the attachment's list.
    pub const ETHERTYPES: u16 = 1 << 14;
    /// Link-local control frames are carried across.
    pub const CONTROL: u16 = 1 << 15;

    /// The guards that ask what kind of packet it is.
    pub const KINDS: u16 = Self::NO_DHCP_SERVER | Self::NO_ROUTER | Self::ETHERTYPES;
}

/// What becomes of frames whose source is new on an attachment that has had its share of addresses.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OverLimit {
    /// They are dropped.
    Drop = 0,
    /// They are forwarded, and nothing is learned.
    Forward = 1,
}

/// How many FDB entries of an attachment the programs learned. Only they write it (atomically);
/// what the agent removed again stands in a map of its own. An attachment has `held - removed`
/// entries.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MacUse {
    /// Entries learned here or moved here, less those that moved away.
    pub held: u64,
    /// Frames whose source was not learned, since the attachment had its share.
    pub refused: u64,
}

/// An address at an attachment, as the key of a prefix: of the prefix's length count the bits of
/// `of`, and then those of `addr`, where an IPv4 address has 96 bits in front. The family is a part
/// of `of`: an attachment that may have `::/0` has no IPv4 address by it, and 10.0.0.0/24 none in
/// the clothes of IPv6 (`::ffff:10.0.0.1`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrefixKey {
    /// Attachment id, with [`PrefixKey::IS_V4`] where the address is IPv4.
    pub of: u32,
    /// The address.
    pub addr: Addr,
}

impl PrefixKey {
    /// In `of`: the address is IPv4. Ids of attachments are less.
    pub const IS_V4: u32 = 1 << 31;

    /// Attachment id.
    pub const fn attachment(&self) -> u32 {
        self.of & !Self::IS_V4
    }

    /// Whether it is an IPv4 address.
    pub const fn is_v4(&self) -> bool {
        self.of & Self::IS_V4 != 0
    }

    /// Bits of the attachment's id and the family, which are always matched in full.
    pub const ID_BITS: u32 = 32;
    /// Bits of a whole key.
    pub const BITS: u32 = Self::ID_BITS + 128;
}

/// An ethertype that an attachment may send.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EthertypeKey {
    /// Attachment id.
    pub attachment: u32,
    /// The ethertype, host order.
    pub ethertype: u16,
    /// Zero.
    pub pad: u16,
}

pod!(MacUse = 16, PrefixKey = 20, EthertypeKey = 8);
