//! What an operator may not send, and where the owner says so, what it may. In this order, those
//! with a name in a file of that name:
//!
//! - nobody sends from a group or zero address (IEEE 802.3 clause 3.2.3), or more than the
//!   segment's MTU;
//! - `control`: link-local control frames belong to the link, and not to the segment;
//! - `ethertype`: an attachment with a list sends nothing else;
//! - `server`: DHCP servers and routers speak only where they are trusted;
//! - `address`: an attachment with prefixes speaks for no address outside them;
//! - `fdb::moves`: who may use which source address. It asks the FDB, so `fdb::learn` and
//!   `fdb::lookup` call it.
//!
//! A guard looks at frames where they enter the fabric, which is at an attachment. What comes out
//! of a tunnel has been looked at by the node that it comes from; only whose its addresses are is
//! asked again. `addresses` depends on nothing but the attachment and the two MACs: while a
//! decision on them is cached it need not be asked. `packet` is for each frame.

mod address;
pub mod control;
mod ethertype;
pub mod ipv6;
pub mod server;
pub mod unwrap;

use sillon_abi::{DropReason, Guards};

use crate::{
    frame::{Frame, Macs},
    hook::Hook,
    meta::{Ingress, Inner},
    register::{to_number, to_result},
    wire::IPV4,
};

/// What the two addresses say.
#[inline(always)]
pub fn addresses(ingress: &Ingress, macs: Macs) -> Result<(), DropReason> {
    let (dst, src) = (macs.dst(), macs.src());
    if src.is_group() {
        return Err(DropReason::SourceGroup);
    }
    if src.is_zero() {
        return Err(DropReason::SourceZero);
    }
    control::address(ingress, dst)
}

/// What the packet says.
#[inline(always)]
pub fn packet(frame: &impl Hook, ingress: &Ingress, inner: &Inner) -> Result<(), DropReason> {
    control::ethertype(inner.ethertype)?;
    if inner.len - inner.gso.excess > inner.l3 + ingress.mtu as usize {
        return Err(DropReason::TooBig);
    }
    kind(frame, ingress, inner)?;
    if ingress.guards & Guards::PREFIXES == 0 {
        return Ok(());
    }
    let src = inner.macs.src_number();
    to_result(frame.addresses(what(ingress, inner), ingress.endpoint.id(), inner.l3 as u32, src))
}

/// What the packet is.
#[inline(always)]
fn kind(frame: &impl Hook, ingress: &Ingress, inner: &Inner) -> Result<(), DropReason> {
    if ingress.guards & Guards::KINDS == 0 {
        return Ok(());
    }
    let has_list = ingress.guards & Guards::ETHERTYPES != 0;
    if inner.ethertype == IPV4 && !has_list {
        // Most frames by far: without a call.
        server::over_ipv4(frame, ingress.guards, inner.l3)
    } else if has_list || unwrap::may_hide(inner.ethertype) {
        to_result(frame.kinds(what(ingress, inner), ingress.endpoint.id(), inner.l3 as u32))
    } else {
        Ok(())
    }
}

/// The guards and the ethertype, for functions that take no more than five words.
#[inline(always)]
fn what(ingress: &Ingress, inner: &Inner) -> u32 {
    u32::from(ingress.guards) << 16 | u32::from(inner.ethertype)
}

/// What kind of packet it is, against `ethertype` and `server`. See [`what`].
#[inline(always)]
pub fn kinds(frame: &impl Frame, what: u32, attachment: u32, l3: u32) -> u32 {
    let guards = (what >> 16) as u16;
    let check = || {
        let packet = unwrap::packet(frame, what as u16, l3 as usize)?;
        if guards & Guards::ETHERTYPES != 0 {
            ethertype::check(attachment, packet.ethertype)?;
        }
        server::check(frame, guards, &packet)
    };
    to_number(check())
}

/// Whose addresses are in it, against `address`; `src` is the source address as a number.
#[inline(always)]
pub fn whose(frame: &impl Frame, what: u32, attachment: u32, l3: u32, src: u64) -> u32 {
    let packet = unwrap::packet(frame, what as u16, l3 as usize);
    to_number(packet.and_then(|packet| address::check(frame, attachment, src, &packet)))
}
