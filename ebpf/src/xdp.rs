//! The pipeline, on every port, at XDP.

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use sillon_abi::{DropReason, Role};

use crate::{
    classify, count,
    count::Scope,
    deliver, ecn, flood,
    frame::Frame,
    guard,
    lookup::{self, Route},
    maps::PORTS,
    parse, tunnel,
};

#[xdp(frags)]
pub fn sillon_xdp(ctx: XdpContext) -> u32 {
    let frame = Frame::new(&ctx);
    let mut scope = Scope::port(frame.ifindex());
    match pipeline(&frame, &mut scope) {
        Ok(action) => action,
        Err(reason) => {
            count::dropped(scope, reason);
            xdp_action::XDP_DROP
        }
    }
}

#[inline(always)]
fn pipeline(frame: &Frame, scope: &mut Scope) -> Result<u32, DropReason> {
    // SAFETY: a map value, alive for the run of the program.
    let port =
        PORTS.get_ptr(frame.ifindex()).map(|port| unsafe { &*port }).ok_or(DropReason::NoAttachment)?;
    let origin = if port.role == Role::Uplink as u8 {
        match tunnel::decapsulate(frame, port, scope)? {
            Some(origin) => origin,
            None => return Ok(flood::to_host(frame)),
        }
    } else {
        classify::classify(frame, port, scope)?
    };
    let inner = parse::inner(frame, &origin)?;
    let len = frame.len();
    guard::guard(&origin, &inner, len)?;
    ecn::decapsulated(frame, &inner, origin.outer_ecn)?;
    match lookup::lookup(&origin, &inner)? {
        Route::To(exit) => deliver::deliver(frame, &origin, &inner, exit, len),
        Route::Flood => flood::hand_over(frame, &origin, &inner),
    }
}
