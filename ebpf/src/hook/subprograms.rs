//! Steps that are global functions, each for its kind of context. The verifier walks through such a
//! function once and by itself: as a part of the pipeline it would be walked through for each way
//! that leads there, and a million instructions are not enough for that. They take no more than
//! five words, and return one.

use aya_ebpf::bindings::{__sk_buff, xdp_md};

use crate::{
    frame::{Frame, XdpFrame},
    guard, parse,
    skb::frame::SkbFrame,
    suppress,
};

macro_rules! subprogram {
    ($step:path, $xdp:ident, $skb:ident, ($($arg:ident: $kind:ty),*) -> $out:ty) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $xdp(ctx: *mut xdp_md, $($arg: $kind),*) -> $out {
            $step(&XdpFrame::of(ctx), $($arg),*)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $skb(ctx: *mut __sk_buff, $($arg: $kind),*) -> $out {
            $step(&SkbFrame::of(ctx), $($arg),*)
        }
    };
}

subprogram!(
    parse::behind_tags_word,
    sillon_behind_tags, sillon_behind_tags_skb,
    (tpid: u32, at: u32, priority: u32) -> u64
);
subprogram!(
    guard::kinds,
    sillon_kinds, sillon_kinds_skb,
    (what: u32, attachment: u32, l3: u32) -> u32
);
subprogram!(
    guard::whose,
    sillon_addresses, sillon_addresses_skb,
    (what: u32, attachment: u32, l3: u32, src: u64) -> u32
);
subprogram!(
    suppress::arp,
    sillon_arp, sillon_arp_skb,
    (what: u32, segment: u32, ingress: u32, src: u64) -> u32
);
subprogram!(
    suppress::neighbour,
    sillon_neighbour, sillon_neighbour_skb,
    (what: u32, segment: u32, ingress: u32, src: u64) -> u32
);
