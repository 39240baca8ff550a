//! The flow cache. A flow is a known unicast pair: where it comes in, by its tags or its tunnel,
//! and its two addresses. The first frame looks everything up, and the decision serves those that
//! follow for a moment. It is void
//!
//! - when the node's epoch changes: the agent raises it after it has purged the FDB, when the paths
//!   to remotes change, and at the end of every change;
//! - when the segment's epoch changes: an address that moves raises it at once;
//! - after [`LIFETIME`], so that the FDB hears of those who talk.
//!
//! The epoch is read before anything is looked up, so that a decision that was made while things
//! changed is void from the start.
//!
//! Each CPU has a cache of its own, and two flows in one slot displace each other: an operator with
//! many flows makes others' frames slower by some look-ups, and no worse.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    helpers::generated::bpf_jiffies64,
    macros::map,
    maps::{Array, PerCpuArray},
};
use sillon_abi::{
    Endpoint, Epochs, Guards, V4_OUTER,
    decision::{self, OVER_IPV6, TUNNELLED},
};

use crate::{
    classify::Tags,
    count,
    frame::Macs,
    meta::Ingress,
    vxlan::{
        decap::{TunnelPacket, Vxlan},
        encap,
    },
    wire::ETHERTYPE,
};

/// In jiffies: 50 to 500 ms.
const LIFETIME: u64 = 50;

/// Decisions by flow. Not pinned, so that new programs begin without any. The loader sets its size.
#[map]
static DECISIONS: PerCpuArray<Decision> = PerCpuArray::with_max_entries(1 << 12, 0);
/// Its last slot, one less than a power of two. The loader sets this, too.
#[unsafe(no_mangle)]
static LAST_SLOT: u32 = (1 << 12) - 1;
#[map]
static EPOCHS: Array<Epochs> = Array::pinned(1, BPF_F_MMAPABLE);

/// Whether anything is remembered: the loader writes 0 where the kernel may interrupt one program
/// by another on the same CPU (PREEMPT_RT), which could leave halves of two decisions in one slot.
#[unsafe(no_mangle)]
static RECALL: u8 = 1;

#[inline(always)]
fn is_on() -> bool {
    // SAFETY: a static, which the loader may have written before the program was loaded.
    unsafe { core::ptr::read_volatile(&raw const RECALL) != 0 }
}

/// What tells flows apart.
#[derive(Clone, Copy)]
pub struct FlowKey {
    /// Port and tags, or VNI and family of a tunnel: a port's is never a tunnel's, nor an IPv4
    /// tunnel's one over IPv6.
    place: u64,
    source: Source,
    macs: Macs,
}

/// The source address of a frame's tunnel.
#[derive(Clone, Copy)]
pub enum Source {
    /// It came from no tunnel.
    None,
    /// An IPv4 address, as on the wire.
    V4(u32),
    /// An IPv6 address, as on the wire.
    V6([u64; 2]),
}

impl Source {
    /// Its second word, which for IPv4 is all.
    #[inline(always)]
    fn word(self) -> u64 {
        match self {
            Self::None => 0,
            Self::V4(address) => u64::from(address),
            Self::V6(words) => words[1],
        }
    }
}

/// Where a flow goes, and how its frames are treated.
#[repr(C)]
pub struct Decision {
    place: u64,
    source: [u64; 2],
    macs: Macs,
    pub endpoint: Endpoint,
    epoch: u64,
    until: u64,
    /// The longest frame that may take the fast path; 0 where none may.
    pub plain: u32,
    /// The only path to the remote that it goes to; 0 where there are several, or it goes to none.
    pub path: u32,
    pub ingress: Ingress,
}

impl Decision {
    #[inline(always)]
    fn is_of(&self, flow: &FlowKey) -> bool {
        let is_from_there = match flow.source {
            Source::None => true,
            Source::V4(_) => self.source[1] == flow.source.word(),
            Source::V6(words) => self.source == words,
        };
        self.place == flow.place && is_from_there && self.macs == flow.macs
    }
}

impl FlowKey {
    #[inline(always)]
    pub fn on_port(tags: &Tags) -> Self {
        Self { place: tags.key.word(), source: Source::None, macs: tags.macs }
    }

    #[inline(always)]
    pub fn in_tunnel(packet: &TunnelPacket) -> Self {
        let source = if packet.header == V4_OUTER {
            Source::V4((packet.source[1] >> 32) as u32)
        } else {
            Source::V6(packet.source)
        };
        Self::of_vxlan(packet.vxlan, source, packet.macs)
    }

    #[inline(always)]
    pub fn of_vxlan(vxlan: Vxlan, source: Source, macs: Macs) -> Self {
        let over = if let Source::V6(_) = source { OVER_IPV6 } else { 0 };
        Self { place: TUNNELLED | over | vxlan.place(), source, macs }
    }

    #[inline(always)]
    fn slot(&self) -> u32 {
        let slot = decision::slot(self.place, self.source.word(), (self.macs.head, self.macs.tail));
        // SAFETY: a static, as `RECALL`.
        slot & unsafe { core::ptr::read_volatile(&raw const LAST_SLOT) }
    }
}

/// A segment's epoch.
///
/// # Safety
/// `epochs` must be the map's value.
#[inline(always)]
unsafe fn of_segment(epochs: *const Epochs, segment: u32) -> *const u64 {
    const { assert!(Epochs::SEGMENTS.is_power_of_two()) };
    let place = segment as usize & (Epochs::SEGMENTS - 1);
    // SAFETY: a word of that value.
    unsafe { (&raw const (*epochs).segments).cast::<u64>().add(place) }
}

/// The node's epoch.
#[inline(always)]
fn node_epoch() -> u64 {
    // SAFETY: one aligned word, read at once.
    EPOCHS
        .get_ptr(0)
        .map_or(0, |epochs| unsafe { core::ptr::read_volatile(&raw const (*epochs).node) })
}

/// The sum of the node's and a segment's epoch: both only grow.
#[inline(always)]
fn both(segment: u32) -> u64 {
    // SAFETY: aligned words, each read at once.
    EPOCHS.get_ptr(0).map_or(0, |epochs| unsafe {
        let node = core::ptr::read_volatile(&raw const (*epochs).node);
        node.wrapping_add(core::ptr::read_volatile(of_segment(epochs, segment)))
    })
}

/// Voids what any CPU has cached of a segment.
#[inline(always)]
pub fn invalidate(segment: u32) {
    if let Some(epochs) = EPOCHS.get_ptr_mut(0) {
        // SAFETY: an aligned word of a map value.
        unsafe { count::add(of_segment(epochs, segment).cast_mut(), 1) };
    }
}

/// A flow that is not cached.
pub struct Miss {
    flow: FlowKey,
    /// Read before anything is looked up.
    node_epoch: u64,
}

impl FlowKey {
    /// Returns the decision on this flow, if one is cached and still holds.
    #[inline(always)]
    pub fn lookup(self) -> Result<&'static Decision, Miss> {
        self.decision().ok_or_else(|| Miss { flow: self, node_epoch: node_epoch() })
    }

    /// The same, where a miss is not to be filled.
    #[inline(always)]
    pub fn decision(&self) -> Option<&'static Decision> {
        // SAFETY: a map value of this CPU, which nothing else touches while we run.
        let decision = DECISIONS.get_ptr(self.slot()).map(|decision| unsafe { &*decision })?;
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_jiffies64() };
        let holds = decision.is_of(self)
            && now <= decision.until
            && decision.epoch == both(decision.ingress.segment);
        holds.then_some(decision)
    }
}

impl Miss {
    /// Returns the epoch to cache a decision with. Ask for it before the FDB.
    #[inline(always)]
    pub fn epoch(&self, segment: u32) -> u64 {
        // SAFETY: one aligned word, read at once.
        EPOCHS.get_ptr(0).map_or(0, |epochs| unsafe {
            self.node_epoch.wrapping_add(core::ptr::read_volatile(of_segment(epochs, segment)))
        })
    }

    #[inline(always)]
    pub fn insert(&self, epoch: u64, ingress: &Ingress, endpoint: Endpoint) {
        let Some(decision) = DECISIONS.get_ptr_mut(self.flow.slot()) else { return };
        if !is_on() {
            return;
        }
        // SAFETY: as for `lookup`; and a helper without arguments.
        unsafe {
            let until = bpf_jiffies64() + LIFETIME;
            let FlowKey { place, source, macs } = self.flow;
            let source = if let Source::V6(words) = source { words } else { [0, source.word()] };
            let plain = longest(ingress, endpoint);
            let path = if endpoint.is_remote() { encap::only(endpoint.id()) } else { 0 };
            *decision = Decision {
                place,
                source,
                macs,
                endpoint,
                epoch,
                until,
                plain,
                path,
                ingress: *ingress,
            };
        }
    }
}

/// Guards that look at each packet, also of those over IPv4.
const CLOSER: u16 = Guards::POLICED_IN | Guards::PREFIXES | Guards::ETHERTYPES;

/// The longest frame of a flow that may take the fast path; 0 where a step has to see each of its
/// frames.
#[inline(always)]
fn longest(ingress: &Ingress, endpoint: Endpoint) -> u32 {
    let is_remote = ingress.endpoint.is_remote();
    // What servers say is looked at per packet, but at attachments only.
    let closer = if is_remote { CLOSER | Guards::KINDS } else { CLOSER };
    // `lookup` decides no flow from a tunnel into a tunnel (split horizon); here it is made sure.
    if ingress.guards & closer != 0 || is_remote && endpoint.is_remote() {
        return 0;
    }
    (ingress.lead() + ETHERTYPE + 2) as u32 + u32::from(ingress.mtu)
}
