//! Why a frame was dropped: one list for the programs, the tables, the help and the metrics.

use crate::pod;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $value:literal, $name:literal;)*) => {
        /// Why a frame was dropped.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DropReason { $($(#[doc = $doc])+ $variant = $value,)* }

        impl DropReason {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name that tables, JSON and metrics show.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What happened, in a sentence.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)* }
            }

            /// The reason with this number.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number { $($value => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

reasons! {
    /// The frame ends before its headers do.
    Truncated = 1, "truncated";
    /// The port has no attachment for the frame's tags, or for frames without one.
    NoAttachment = 2, "no-attachment";
    /// VID 4095, which IEEE 802.1Q reserves.
    ReservedVid = 3, "reserved-vid";
    /// A tag of a TPID that is neither 0x8100 nor 0x88a8 at this place.
    UnknownTpid = 4, "unknown-tpid";
    /// A tag inside the attachment's own, on an attachment that carries none.
    NestedTag = 5, "nested-tag";
    /// The source address is a group address.
    SourceGroup = 6, "source-group";
    /// The source address is zero.
    SourceZero = 7, "source-zero";
    /// A link-local control frame (01-80-C2-00-00-0x, or Cisco's 01-00-0C-CC-CC-CC and -CD), which
    /// no bridge forwards.
    LinkLocalControl = 8, "link-local-control";
    /// The packet is larger than the segment's MTU.
    TooBig = 9, "too-big";
    /// With its outer header the packet is larger than the MTU of the way to the remote.
    UnderlayMtu = 10, "underlay-mtu";
    /// The destination is where the frame came from.
    SameExit = 11, "same-exit";
    /// The frame came out of a tunnel and would go back into one.
    SplitHorizon = 12, "split-horizon";
    /// From a leaf of a tree to a leaf.
    LeafToLeaf = 13, "leaf-to-leaf";
    /// A line whose other point is not there.
    LineIncomplete = 14, "line-incomplete";
    /// The underlay has no way to the remote at present.
    Unreachable = 15, "unreachable";
    /// The device that the frame should leave by is gone or down.
    NoDevice = 16, "no-device";
    /// Nobody to flood the frame to.
    NoReceiver = 17, "no-receiver";
    /// The kernel could not copy the frame.
    CopyFailed = 18, "copy-failed";
    /// The endpoint belongs to another segment: a stale entry met while tables change.
    StaleExit = 19, "stale-exit";
    /// The frame could not be grown or shrunk for its new header.
    NoHeadroom = 20, "no-headroom";
    /// VXLAN for this node with a VNI that it does not serve.
    UnknownVni = 21, "unknown-vni";
    /// VXLAN from a source that is no remote of the segment.
    UnknownSource = 22, "unknown-source";
    /// VXLAN without the I flag (RFC 7348 section 5).
    NoVniFlag = 23, "no-vni-flag";
    /// The outer header is malformed: lengths that do not agree, options, a wrong checksum.
    OuterMalformed = 24, "outer-malformed";
    /// A fragment of a UDP packet to a VTEP address; VTEPs do not fragment (RFC 7348 section 4.3).
    OuterFragment = 25, "outer-fragment";
    /// Congestion was marked on a packet that does not know ECN (RFC 6040 section 4.2).
    EcnNotCapable = 26, "ecn-not-capable";
    /// A frame of the node's own stack, sent out by a port that serves operators.
    HostEgress = 27, "host-egress";
    /// A frame at TC that XDP has not classified.
    Unclassified = 28, "unclassified";
    /// Red: beyond CIR and EIR of the bandwidth profile of the attachment that the frame came in
    /// at.
    PolicedIngress = 29, "policed-ingress";
    /// Red: beyond CIR and EIR of the bandwidth profile of the attachment that the frame should
    /// leave by.
    PolicedEgress = 30, "policed-egress";
    /// More broadcasts than the attachment may flood.
    StormBroadcast = 31, "storm-broadcast";
    /// More multicasts than the attachment may flood.
    StormMulticast = 32, "storm-multicast";
    /// More frames to addresses that are not known than the attachment may flood.
    StormUnknownUnicast = 33, "storm-unknown-unicast";
    /// The source address is new, and the attachment has as many addresses as its `mac_limit`.
    MacLimit = 34, "mac-limit";
    /// The source address is none of those that are configured for the attachment.
    MacNotListed = 35, "mac-not-listed";
    /// The source address is configured for another attachment of the segment.
    MacConfigured = 36, "mac-configured";
    /// The source address was learned at a sticky attachment, and came from elsewhere.
    MacSticky = 37, "mac-sticky";
    /// The source address moved too often (RFC 7432 section 15.1), and came from elsewhere than
    /// where it was frozen.
    MacFrozen = 38, "mac-frozen";
    /// The source address is that of one of the node's own ports.
    SourceIsNode = 39, "source-is-node";
    /// A PAUSE or other MAC control frame (IEEE 802.3 annex 31B), which stops a link and belongs to
    /// no segment.
    MacControl = 40, "mac-control";
    /// A packet of a DHCP server, from an attachment that is not trusted for it.
    DhcpServer = 41, "dhcp-server";
    /// A router advertisement (RFC 4861, or RFC 1256 over IPv4), from an attachment that is not
    /// trusted for it.
    RouterAdvertisement = 42, "router-advertisement";
    /// An ICMP or ICMPv6 redirect, from an attachment that is not trusted as a router.
    IcmpRedirect = 43, "icmp-redirect";
    /// A first fragment without the headers that say what it is (RFC 7113 section 2.1).
    HeadlessFragment = 44, "headless-fragment";
    /// IPv6 headers that could not be followed to the end: too many, or cut short.
    HeaderChain = 45, "header-chain";
    /// IP or ARP inside an LLC/SNAP header, or behind more tags than are looked through
    /// (CVE-2021-27853).
    Wrapped = 46, "wrapped";
    /// An IP source address that is in none of the attachment's prefixes.
    AddressNotListed = 47, "address-not-listed";
    /// ARP for an address that is in none of the attachment's prefixes, or for another MAC than the
    /// frame's.
    ArpSpoofed = 48, "arp-spoofed";
    /// Neighbour discovery for an address that is in none of the attachment's prefixes, or for
    /// another MAC than the frame's.
    NdSpoofed = 49, "nd-spoofed";
    /// Neighbour discovery in fragments (RFC 6980 section 5).
    NdFragment = 50, "nd-fragment";
    /// An ethertype that is not in the attachment's list.
    EthertypeNotListed = 51, "ethertype-not-listed";
    /// A frame of an operator to the address of one of the node's own ports, which nobody in a
    /// segment can have.
    DestinationIsNode = 52, "destination-is-node";
    /// A checksum that is left to the device, and whose place is not the checksum of the frame's
    /// own TCP, UDP or SCTP header.
    ChecksumOffset = 53, "checksum-offset";
    /// Several packets that travel as one (GSO), which are not TCP or UDP directly behind an IP
    /// header, of the kind that the sender says, with segments of at least 48 bytes.
    SegmentShape = 54, "segment-shape";
    /// The kernel may keep a VLAN tag beside the data where XDP can't see it, and does not say
    /// where: the agent was started before the kernel knew of veths.
    HwVlan = 55, "hw-vlan";
    /// The kernel was told that the frame is of another protocol than its bytes say, or that its
    /// packet begins elsewhere: whoever gets it would take it for another one than was judged.
    HeaderOffsets = 56, "header-offsets";
}

/// What a drop is counted for.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeKind {
    /// A port, by ifindex: no attachment is known yet.
    Port = 1,
    /// An attachment, by id.
    Attachment = 2,
    /// A segment, by uid: the frame came out of a tunnel.
    Segment = 3,
}

/// Where something was dropped.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DropKey {
    /// A [`ScopeKind`].
    pub scope: u32,
    /// Ifindex, attachment id or segment uid.
    pub id: u32,
}

/// How many frames were dropped there, by the number of the [`DropReason`]. Userspace makes the
/// entry together with what it is for, so that a program always finds it, and nobody's drops leave
/// no room for another's. Several CPUs count in it (atomically).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drops(pub [u64; Self::PLACES]);

impl Drops {
    /// One more than the highest number of a reason may be.
    pub const PLACES: usize = 64;
    /// None.
    pub const NONE: Self = Self([0; Self::PLACES]);
}

const _: () = assert!(DropReason::ALL.len() < Drops::PLACES);

pod!(DropKey = 8, Drops = 512);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_numbered_without_a_gap_and_named_once() {
        for (place, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place + 1);
            assert_eq!(DropReason::from_number(*reason as u32), Some(*reason));
            assert!(
                DropReason::ALL.iter().filter(|other| other.name() == reason.name()).count() == 1
            );
            assert!(!reason.help().is_empty());
        }
    }
}
