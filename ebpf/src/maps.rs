//! The pinned maps. Sizes are the smallest useful ones: the agent sets them from the node's limits
//! when it loads.

use aya_ebpf::{
    macros::map,
    maps::{Array, DevMapHash, HashMap, LpmTrie, PerCpuArray},
};
use sillon_abi::{
    Answers, Attachment, Binding, BindingKey, ClassKey, Colours, Cookies, Counters, DropKey, Drops,
    Endpoint, EthertypeKey, FdbEntry, FdbKey, FdbUse, FloodKey, Handoff, Label, Mac, MacUse,
    Meters, NodeEntry, PORT_SLOTS, PathEntry, PortEntry, PortRecord, PrefixKey, Rates, RemoteEntry,
    Segment, TunnelEntry, TunnelKey,
};

/// Elements are allocated as they come: a node's limits may be far above what it uses.
const NO_PREALLOC: u32 = aya_ebpf::bindings::BPF_F_NO_PREALLOC;
/// All elements are allocated when the node is made: what is learned while frames pass needs no
/// memory of the kernel, which it may not have at that moment, and a file with many addresses is
/// installed sooner.
const PREALLOC: u32 = 0;

#[map]
pub static NODE: Array<NodeEntry> = Array::pinned(1, 0);
#[map]
static PORTS: Array<PortEntry> = Array::pinned(PORT_SLOTS, 0);

/// The port on a device, if it is one.
#[inline(always)]
pub fn port(ifindex: u32) -> Option<&'static PortEntry> {
    // SAFETY: a map value, alive for the run of the program.
    let port = PORTS.get_ptr(ifindex).map(|port| unsafe { &*port });
    port.filter(|port| port.role != 0)
}

#[map]
pub static PORT_RECORDS: HashMap<u32, PortRecord> = HashMap::pinned(1024, NO_PREALLOC);
#[map]
pub static CLASSES: HashMap<ClassKey, u32> = HashMap::pinned(1, NO_PREALLOC);
#[map]
pub static ATTACHMENTS: Array<Attachment> = Array::pinned(1, 0);
#[map]
pub static SEGMENTS: HashMap<u32, Segment> = HashMap::pinned(1, NO_PREALLOC);
#[map]
pub static LABELS: HashMap<u32, Label> = HashMap::pinned(1, NO_PREALLOC);
#[map]
pub static TUNNELS: HashMap<TunnelKey, TunnelEntry> = HashMap::pinned(1, NO_PREALLOC);
#[map]
pub static VNIS: HashMap<u32, u32> = HashMap::pinned(1, NO_PREALLOC);
#[map]
pub static REMOTES: Array<RemoteEntry> = Array::pinned(1, 0);
#[map]
pub static PATHS: Array<PathEntry> = Array::pinned(1, 0);
/// Not an LRU map, ever: one operator's MACs must not push out another's.
#[map]
pub static FDB: HashMap<FdbKey, FdbEntry> = HashMap::pinned(1, PREALLOC);
#[map]
pub static FDB_USE: HashMap<u32, FdbUse> = HashMap::pinned(1, NO_PREALLOC);
#[map]
pub static FDB_REMOVED: HashMap<u32, u64> = HashMap::pinned(1, NO_PREALLOC);
#[map]
pub static HANDOFFS: PerCpuArray<Handoff> = PerCpuArray::pinned(1, 0);
#[map]
pub static FLOOD: HashMap<FloodKey, Endpoint> = HashMap::pinned(1, NO_PREALLOC);
#[map]
pub static DEVICES: DevMapHash = DevMapHash::pinned(1024, 0);
#[map]
static TC_DEVICES: DevMapHash = DevMapHash::pinned(1024, 0);

/// Whether TC may send to a device: it is still the one that this number was given for.
#[inline(always)]
pub fn is_there(ifindex: u32) -> bool {
    TC_DEVICES.get_ifindex(ifindex) == Some(ifindex)
}

#[map]
pub static COOKIES: Array<Cookies> = Array::pinned(1, 0);

/// The same, as the loader writes it into the programs.
#[unsafe(no_mangle)]
static NODE_COOKIES: Cookies = Cookies { key: [0; 2], mark: 0, pad: 0 };

#[inline(always)]
fn cookies() -> Cookies {
    // SAFETY: a static, which the loader wrote before the program was loaded.
    unsafe {
        let key = (&raw const NODE_COOKIES.key).cast::<u64>();
        let key = [core::ptr::read_volatile(key), core::ptr::read_volatile(key.add(1))];
        Cookies { key, mark: mark_cookie(), pad: 0 }
    }
}

/// Tells the copies that we send out of a port from what the node's own stack sends.
#[inline(always)]
pub fn mark_cookie() -> u32 {
    // SAFETY: as above.
    unsafe { core::ptr::read_volatile(&raw const NODE_COOKIES.mark) }
}

/// What the programs seal a handoff with that XDP leaves at this port.
#[inline(always)]
pub fn seal(handoff: &Handoff, ifindex: u32) -> [u32; 2] {
    handoff.seal(&cookies(), ifindex)
}

#[map]
pub static ATTACHMENT_COUNTERS: PerCpuArray<Counters> = PerCpuArray::pinned(1, 0);
#[map]
pub static RATES: Array<Rates> = Array::pinned(1, 0);
#[map]
pub static METERS: Array<Meters> = Array::pinned(1, 0);
#[map]
pub static COLOURS: PerCpuArray<Colours> = PerCpuArray::pinned(1, 0);
#[map]
pub static REMOTE_COUNTERS: PerCpuArray<Counters> = PerCpuArray::pinned(1, 0);
#[map]
pub static DROPS: HashMap<DropKey, Drops> = HashMap::pinned(1, NO_PREALLOC);
#[map]
pub static MACS: HashMap<FdbKey, Endpoint> = HashMap::pinned(1, PREALLOC);
#[map]
pub static MAC_USE: Array<MacUse> = Array::pinned(1, 0);
#[map]
pub static MAC_REMOVED: Array<u64> = Array::pinned(1, 0);
#[map]
pub static OWN_MACS: HashMap<Mac, u32> = HashMap::pinned(PORT_SLOTS, NO_PREALLOC);
#[map]
pub static PREFIXES: LpmTrie<PrefixKey, u32> = LpmTrie::pinned(1, 0);
#[map]
pub static ETHERTYPES: HashMap<EthertypeKey, u32> = HashMap::pinned(1, NO_PREALLOC);
#[map]
pub static BINDINGS: HashMap<BindingKey, Binding> = HashMap::pinned(1, NO_PREALLOC);
#[map]
pub static FIXED_BINDINGS: HashMap<BindingKey, Binding> = HashMap::pinned(1, NO_PREALLOC);
#[map]
pub static BINDING_USE: HashMap<u32, FdbUse> = HashMap::pinned(1, NO_PREALLOC);
#[map]
pub static BINDING_REMOVED: HashMap<u32, u64> = HashMap::pinned(1, NO_PREALLOC);
#[map]
pub static ANSWERS: PerCpuArray<Answers> = PerCpuArray::pinned(1, 0);
