//! The contract between the kernel half (`ebpf/`) and the user half (`src/`) of Sillon.
//!
//! Plain old data only: every struct is `#[repr(C)]`, names its padding and has its size asserted
//! at compile time. Integers are in host byte order unless the type says otherwise ([`Mac`],
//! [`Addr`] and prebuilt headers are bytes as they stand on the wire). A change of any layout, map
//! or meaning here must raise [`ABI_VERSION`]: it is part of the pin path, so that a program never
//! reads maps that another version left.
#![no_std]

mod binding;
pub mod decision;
mod endpoint;
mod fdb;
mod flood;
mod guard;
mod rate;
mod reason;
mod seal;
mod skb;
mod tables;
mod tunnel;

pub use binding::{Answers, Binding, BindingKey, Claim};
pub use endpoint::Endpoint;
pub use fdb::{FdbEntry, FdbKey, FdbUse, InjectHeader, MacLocation};
pub use flood::{Cookies, ETHERNET, FloodKey, Handoff, HandoffMetadata, MASKED_ETHERTYPE};
pub use guard::{EthertypeKey, Guards, MacUse, OverLimit, PrefixKey};
pub use rate::{
    Colour, Colours, Meters, Profile, Rate, Rates, SMALLEST_CHARGE, Storm, Tally, Word, ticks,
};
pub use reason::{DropKey, DropReason, Drops, ScopeKind};
pub use skb::SkbLayout;
pub use tables::{
    Attachment, ClassKey, Counters, Encap, Epochs, Label, NodeEntry, PortEntry, PortRecord, Role,
    Segment, Service,
};
pub use tunnel::{
    Addr, PATH_BUCKETS, PathEntry, RemoteEntry, TunnelEntry, TunnelKey, V4_OUTER, V6_OUTER,
};

/// Version of every layout and meaning in this crate.
pub const ABI_VERSION: u32 = 7;

/// How high an ifindex may be, and one: ports are in an array, since that is asked for every frame.
pub const PORT_SLOTS: u32 = 1 << 18;

/// Names of the pinned maps, as they stand under the node's bpffs directory.
pub mod map {
    /// Names the map constants once, and lists them for whoever walks the pin directory.
    macro_rules! names {
        ($($(#[doc = $doc:literal])+ $name:ident),* $(,)?) => {
            $($(#[doc = $doc])+ pub const $name: &str = stringify!($name);)*
            /// All of them.
            pub const ALL: &[&str] = &[$($name),*];
            /// What each holds, in the order of [`ALL`]: for `docs/reference/maps.md`.
            pub const HELP: &[&str] = &[$(concat!($($doc),+)),*];
        };
    }
    names! {
        /// Array of one: [`crate::NodeEntry`].
        NODE,
        /// Array: ifindex → [`crate::PortEntry`].
        PORTS,
        /// Hash: ifindex → [`crate::PortRecord`]; for userspace only.
        PORT_RECORDS,
        /// Hash: [`crate::ClassKey`] → attachment id.
        CLASSES,
        /// Array: attachment id → [`crate::Attachment`].
        ATTACHMENTS,
        /// Hash: segment uid → [`crate::Segment`].
        SEGMENTS,
        /// Hash: segment uid → [`crate::Label`]; for userspace only.
        LABELS,
        /// Hash: [`crate::TunnelKey`] → [`crate::TunnelEntry`].
        TUNNELS,
        /// Hash: VNI → segment uid, for VNIs that this node serves.
        VNIS,
        /// Array: remote id → [`crate::RemoteEntry`].
        REMOTES,
        /// Array: path id → [`crate::PathEntry`].
        PATHS,
        /// Hash: [`crate::FdbKey`] → [`crate::FdbEntry`].
        FDB,
        /// Hash: segment uid → [`crate::FdbUse`].
        FDB_USE,
        /// Hash: segment uid → FDB entries that the agent removed.
        FDB_REMOVED,
        /// Array of one, which the agent has in its own memory, too: [`crate::Epochs`].
        EPOCHS,
        /// Per-CPU array of one: [`crate::Handoff`], of the frame that a port's pipeline at TC
        /// hands on.
        HANDOFFS,
        /// Hash: [`crate::FloodKey`] → [`crate::Endpoint`].
        FLOOD,
        /// Device hash: ifindex → ifindex, the devices that XDP may redirect to.
        DEVICES,
        /// Device hash: ifindex → ifindex, the devices that TC may redirect to. TC redirects by
        /// number alone; the kernel takes a device out of here as soon as it is gone, so that
        /// nobody else's is found under its number.
        TC_DEVICES,
        /// Array of one: [`crate::Cookies`]; for userspace only, the programs have them as
        /// constants.
        COOKIES,
        /// Per-CPU array: attachment id → [`crate::Counters`].
        ATTACHMENT_COUNTERS,
        /// Array: attachment id → [`crate::Rates`].
        RATES,
        /// Array: attachment id → [`crate::Meters`].
        METERS,
        /// Per-CPU array: attachment id → [`crate::Colours`].
        COLOURS,
        /// Per-CPU array: remote id → [`crate::Counters`].
        REMOTE_COUNTERS,
        /// Hash: [`crate::DropKey`] → [`crate::Drops`].
        DROPS,
        /// Hash: [`crate::FdbKey`] → [`crate::Endpoint`], the addresses that are configured for an
        /// attachment; for userspace only, the programs find them in the FDB.
        MACS,
        /// Array: attachment id → [`crate::MacUse`].
        MAC_USE,
        /// Array: attachment id → FDB entries that the agent removed.
        MAC_REMOVED,
        /// Hash: the node's own addresses.
        OWN_MACS,
        /// Longest-prefix trie: [`crate::PrefixKey`], what an attachment may have as source.
        PREFIXES,
        /// Hash: [`crate::EthertypeKey`], what an attachment may send.
        ETHERTYPES,
        /// Hash: [`crate::BindingKey`] → [`crate::Binding`], what the programs heard.
        BINDINGS,
        /// Hash: the same, what is configured; only the agent writes it.
        FIXED_BINDINGS,
        /// Hash: segment uid → [`crate::FdbUse`], of `BINDINGS`.
        BINDING_USE,
        /// Hash: segment uid → entries of `BINDINGS` that the agent removed.
        BINDING_REMOVED,
        /// Per-CPU array: attachment id → [`crate::Answers`].
        ANSWERS,
    }
}

/// Declares a struct as something that may stand in a map: asserts its size, and gives it aya's
/// `Pod` for the user half.
macro_rules! pod {
    ($($ty:ty = $size:literal),* $(,)?) => {$(
        const _: () = assert!(core::mem::size_of::<$ty>() == $size);
        // SAFETY: `repr(C)` or `repr(transparent)` over integers and byte arrays, without implicit
        // padding (the size above is the sum of the fields), so every byte is initialised.
        #[cfg(feature = "user")]
        unsafe impl aya::Pod for $ty {}
    )*};
}
pub(crate) use pod;

/// An Ethernet address, as on the wire. Kept as three 16-bit words because frames are 2-aligned.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u16; 3]);
pod!(Mac = 6);

impl Mac {
    /// From the six octets in the order of transmission.
    pub const fn new(o: [u8; 6]) -> Self {
        Self([
            u16::from_ne_bytes([o[0], o[1]]),
            u16::from_ne_bytes([o[2], o[3]]),
            u16::from_ne_bytes([o[4], o[5]]),
        ])
    }

    /// The six octets in the order of transmission.
    pub const fn octets(self) -> [u8; 6] {
        let [a, b, c] = [self.0[0].to_ne_bytes(), self.0[1].to_ne_bytes(), self.0[2].to_ne_bytes()];
        [a[0], a[1], b[0], b[1], c[0], c[1]]
    }

    /// The first six bytes, as read, of the word that begins with it.
    #[inline(always)]
    pub const fn number(self) -> u64 {
        let [a, b, c] = self.0;
        u64::from_le(a as u64 | (b as u64) << 16 | (c as u64) << 32)
    }

    /// Whether the I/G bit is set: broadcast or multicast (IEEE 802 clause 8.2).
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        self.0[0] & u16::from_ne_bytes([1, 0]) != 0
    }

    /// Whether all bits are zero, which no station may have.
    #[inline(always)]
    pub const fn is_zero(self) -> bool {
        self.0[0] | self.0[1] | self.0[2] == 0
    }

    /// Whether this is 01-00-0C-CC-CC-CC or -CD, where Cisco's link protocols go (CDP, VTP, UDLD;
    /// PVST+).
    #[inline(always)]
    pub const fn is_cisco_control(self) -> bool {
        self.0[0] == u16::from_ne_bytes([0x01, 0x00])
            && self.0[1] == u16::from_ne_bytes([0x0c, 0xcc])
            && (self.0[2] == u16::from_ne_bytes([0xcc, 0xcc])
                || self.0[2] == u16::from_ne_bytes([0xcc, 0xcd]))
    }

    /// Its bit in [`NodeEntry::own_macs`].
    #[inline(always)]
    pub const fn own_bit(self) -> u32 {
        1 << ((self.0[2] ^ (self.0[2] >> 8) ^ self.0[1]) & 31)
    }

    /// Whether this is 01-80-C2-00-00-0x, which no bridge forwards (IEEE 802.1Q-2022 table 8-1).
    #[inline(always)]
    pub const fn is_link_local_control(self) -> bool {
        self.0[0] == u16::from_ne_bytes([0x01, 0x80])
            && self.0[1] == u16::from_ne_bytes([0xc2, 0x00])
            && self.0[2] & u16::from_ne_bytes([0xff, 0xf0]) == 0
    }
}

#[cfg(feature = "user")]
impl core::fmt::Display for Mac {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [a, b, c, d, e, g] = self.octets();
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_keeps_the_order_of_transmission() {
        let octets = [0x02, 0x11, 0x22, 0x33, 0x44, 0x55];
        assert_eq!(Mac::new(octets).octets(), octets);
    }

    #[test]
    fn group_zero_and_control_addresses_are_told_apart() {
        assert!(Mac::new([0xff; 6]).is_group());
        assert!(Mac::new([0x33, 0x33, 0, 0, 0, 1]).is_group());
        assert!(!Mac::new([0x02, 0, 0, 0, 0, 1]).is_group());
        assert!(Mac::new([0; 6]).is_zero());
        assert!(Mac::new([0x01, 0x80, 0xc2, 0, 0, 0x0e]).is_link_local_control());
        assert!(!Mac::new([0x01, 0x80, 0xc2, 0, 0, 0x10]).is_link_local_control());
        assert!(!Mac::new([0x01, 0x00, 0x5e, 0, 0, 0x0e]).is_link_local_control());
        assert!(Mac::new([0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcc]).is_cisco_control());
        assert!(Mac::new([0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcd]).is_cisco_control());
        assert!(!Mac::new([0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xce]).is_cisco_control());
    }
}
