//! What others have learned, learned here: the agent runs this on a frame of its own making (never
//! on a port) that says which address is behind which remote. It is learned by the same code, and
//! so within the same rules, as if a frame had come out of that tunnel: what is configured, sticky
//! or frozen stays, a move counts as one, and a segment's share is its share. Each run takes one
//! address; the agent has it run as often as there are some.

use aya_ebpf::{
    bindings::xdp_action, helpers::generated::bpf_ktime_get_coarse_ns, macros::xdp,
    programs::XdpContext,
};
use sillon_abi::{DropReason, Endpoint, FdbKey, InjectHeader};

use crate::{
    fdb::moves,
    frame::{Frame, XdpFrame},
    maps::{FDB, SEGMENTS},
};

const SIZE: usize = 16;

#[xdp]
pub fn sillon_inject(ctx: XdpContext) -> u32 {
    match inject(&XdpFrame::new(&ctx)) {
        Ok(()) => xdp_action::XDP_DROP,
        Err(_) => xdp_action::XDP_ABORTED,
    }
}

#[inline(always)]
fn inject(frame: &XdpFrame) -> Result<(), DropReason> {
    let [next, how]: [u32; 2] = frame.read(0)?;
    frame.write(0, next.wrapping_add(1))?;
    let index = core::hint::black_box(next) & (InjectHeader::MOST - 1);
    let [segment, head, tail, endpoint]: [u32; 4] = frame.read_far(SIZE + index as usize * SIZE)?;
    let (endpoint, now) = (Endpoint::from_word(endpoint), unsafe {
        // SAFETY: a helper without arguments.
        bpf_ktime_get_coarse_ns()
    });
    // SAFETY: the same twelve bytes.
    let key: FdbKey = unsafe { core::mem::transmute([segment, head, tail]) };
    // SAFETY: one aligned word of a map value.
    let limit = SEGMENTS.get_ptr(segment).map(|segment| unsafe { (*segment).fdb_limit });
    let limit = limit.filter(|_| endpoint.is_remote()).ok_or(DropReason::StaleExit)?;
    let Some(entry) = FDB.get_ptr_mut(key) else {
        if how != InjectHeader::REFRESH {
            moves::learn(&key, endpoint, 0, limit, now).result()?;
        }
        return Ok(());
    };
    // SAFETY: map values are aligned; each field is one word, written at once.
    unsafe {
        if (*entry).endpoint == endpoint {
            (*entry).seen = now;
        } else if how != InjectHeader::REFRESH {
            moves::moved(entry, segment, endpoint, 0, now).result()?;
        }
    }
    Ok(())
}
