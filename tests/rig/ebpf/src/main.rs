//! The benchmark's own programs. Each is loaded for itself, with maps of its own.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, xdp_action},
    helpers::{bpf_ktime_get_ns, generated::bpf_redirect},
    macros::{classifier, map, xdp},
    maps::{Array, DevMap, HashMap, PerCpuArray},
    programs::{TcContext, XdpContext},
};

/// Bytes to the ethertype, without tags.
const ETHERTYPE: usize = 12;
/// Bytes to the UDP source port without tags: Ethernet and IPv4 headers.
const SOURCE_PORT: usize = 14 + 20;
/// Room for two tags of four bytes, as a mask: the verifier wants a bound on what a setting says.
const TAGS: usize = 0xf;
/// The last two bytes of the destination address.
const STATION: usize = 4;
/// The first of the generator's source ports; also in `load.rs`.
const FIRST_PORT: u32 = 10_000;
/// The ethertype IPv4.
const IPV4: u16 = 0x0800;

/// 0: how many flows the generator makes. 1: how long the frames are that the sink waits for. 2: to
/// how many stations the generator sends; none for the one that the frame is for. 3: how many bytes
/// of tags the frames have there. 4: nanoseconds from one frame to the next, or 0 for as fast as it
/// goes. 5: the device that the bare redirect at TC sends everything to.
#[map]
static SETTINGS: Array<u32> = Array::with_max_entries(6, 0);
/// When the next frame is due, where there is a pace.
#[map]
static NEXT: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
/// As large as an FDB entry: how fast userspace can write to a map at all. Its size is the loader's
/// to say.
#[map]
static SCRATCH: HashMap<[u64; 2], [u64; 4]> = HashMap::with_max_entries(1, 0);
/// What tagged frames begin with, as words.
#[map]
static HEAD: Array<[u64; HEAD_WORDS]> = Array::with_max_entries(1, 0);
/// How many frames the generator has made.
#[map]
static MADE: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);
/// Where the bare redirect sends everything.
#[map]
static OUT: DevMap = DevMap::with_max_entries(1, 0);
/// What came to the sink; also in `load.rs`, as words.
#[repr(C)]
struct Came {
    /// Frames of the generator that came whole.
    ours: u64,
    /// All others, which the host's stack has.
    others: u64,
    /// When the first of ours came, in nanoseconds.
    first: u64,
    /// When the last of ours came whose number is a multiple of [`STAMPED`].
    last: u64,
}

/// One frame of so many has its time taken, which is not for nothing.
const STAMPED: u64 = 64;

#[map]
static CAME: PerCpuArray<Came> = PerCpuArray::with_max_entries(1, 0);

/// A big-endian 16-bit field.
#[inline(always)]
fn field(ctx: &XdpContext, offset: usize) -> Option<*mut u16> {
    let (start, end) = (ctx.data() + offset, ctx.data_end());
    (start + 2 <= end).then_some(start as *mut u16)
}

/// Bytes of tags that the frames have.
#[inline(always)]
fn tags() -> usize {
    SETTINGS.get(3).copied().unwrap_or(0) as usize & TAGS
}

/// MACs, two tags and an ethertype, and what of the packet fills the last word.
const HEAD_WORDS: usize = 3;

/// Writes what a tagged frame begins with: the kernel makes new frames of what became of old ones,
/// and who moves tags moves what is there.
#[inline(always)]
fn write_head(ctx: &XdpContext) -> Option<()> {
    if tags() == 0 {
        return Some(());
    }
    let head = HEAD.get(0)?;
    let start = ctx.data();
    if start + size_of_val(head) > ctx.data_end() {
        return None;
    }
    // SAFETY: the bounds were checked.
    unsafe { (start as *mut [u64; HEAD_WORDS]).write_unaligned(*head) };
    Some(())
}

/// Frames that may be made up for at once.
const BACKLOG: u64 = 64;

/// Whether a frame is due.
#[inline(always)]
fn is_due() -> bool {
    let pace = u64::from(SETTINGS.get(4).copied().unwrap_or(0));
    let Some(next) = NEXT.get_ptr_mut(0) else { return false };
    if pace == 0 {
        return true;
    }
    // SAFETY: a helper without arguments, and a map value of this CPU.
    unsafe {
        let now = bpf_ktime_get_ns();
        if now < *next {
            return false;
        }
        *next = (*next).max(now.saturating_sub(BACKLOG * pace)) + pace;
    }
    true
}

/// Gives each frame the next flow's source port and the next station's address, and sends it out.
#[xdp]
pub fn generate(ctx: XdpContext) -> u32 {
    if !is_due() {
        return xdp_action::XDP_DROP;
    }
    if write_head(&ctx).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    let (Some(flows), Some(stations), Some(made)) =
        (SETTINGS.get(0), SETTINGS.get(2), MADE.get_ptr_mut(0))
    else {
        return xdp_action::XDP_ABORTED;
    };
    let (Some(port), Some(station)) = (field(&ctx, SOURCE_PORT + tags()), field(&ctx, STATION))
    else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: a map value of this CPU, and a field whose bounds were checked.
    unsafe {
        let flow = if *flows == 0 { 0 } else { *made % *flows };
        if *stations != 0 {
            *station = ((*made % *stations) as u16).to_be();
        }
        *made = (*made).wrapping_add(1);
        *port = ((FIRST_PORT + flow) as u16).to_be();
    }
    xdp_action::XDP_TX
}

/// The least that an edge can do.
#[xdp]
pub fn forward(_ctx: XdpContext) -> u32 {
    OUT.redirect(0, 0).unwrap_or(xdp_action::XDP_ABORTED)
}

/// The same with skbs.
#[classifier]
pub fn forward_skb(_ctx: TcContext) -> i32 {
    match SETTINGS.get(5) {
        // SAFETY: a helper that takes numbers.
        Some(device) => unsafe { bpf_redirect(*device, 0) as i32 },
        None => TC_ACT_SHOT,
    }
}

#[inline(always)]
fn count(came: &mut Came) {
    came.ours += 1;
    // SAFETY: a helper without arguments.
    let now = || unsafe { bpf_ktime_get_ns() };
    if came.ours == 1 {
        came.first = now();
    }
    if came.ours.is_multiple_of(STAMPED) {
        came.last = now();
    }
}

/// Counts.
#[xdp]
pub fn sink(ctx: XdpContext) -> u32 {
    let len = SETTINGS.get(1).copied().unwrap_or(0) as usize;
    // SAFETY: the bounds were checked.
    let value = |offset| field(&ctx, offset).map(|field| u16::from_be(unsafe { *field }));
    let tags = tags();
    let ours = ctx.data_end() - ctx.data() == len
        && value(ETHERTYPE + tags) == Some(IPV4)
        && value(SOURCE_PORT + tags).is_some_and(|port| u32::from(port) >= FIRST_PORT);
    // SAFETY: a map value of this CPU.
    match CAME.get_ptr_mut(0).map(|came| unsafe { &mut *came }) {
        Some(came) if ours => count(came),
        Some(came) => came.others += 1,
        None => {}
    }
    if ours { xdp_action::XDP_DROP } else { xdp_action::XDP_PASS }
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Nothing here panics: the verifier would refuse a program that could reach this loop.
    loop {}
}
