//! What an operator may not send, and where the owner says so, what it may. In this order, each in a file of its own:
//!
//! - nobody sends from a group or zero address (IEEE 802.3 clause 3.2.3), or more than the segment's MTU;
//! - `control`: link-local control frames belong to the link, and not to the segment;
//! - `ethertype`: an attachment with a list sends nothing else;
//! - `server`: DHCP servers and routers speak only where they are trusted;
//! - `address`: an attachment with prefixes speaks for no address outside them;
//! - `mac`: who may use which source address. It asks the FDB, so that `learn` calls it.
//!
//! A guard looks at frames where they enter the fabric, which is at an attachment. What comes out of a tunnel has been looked
//! at by the node that it comes from; only whose its addresses are is asked again. `addresses` depends on nothing but the
//! attachment and the two MACs: while a decision on them is recalled it need not be asked. `packet` is for each frame.

mod address;
mod control;
mod ethertype;
mod inside;
mod ipv6;
pub mod mac;
mod server;

use sillon_abi::{DropReason, Guards, Mac};

use crate::{classify::Origin, frame::Frame, parse::Inner};

/// What the two addresses say.
#[inline(always)]
pub fn addresses(origin: &Origin, dst: Mac, src: Mac) -> Result<(), DropReason> {
    if src.is_group() {
        return Err(DropReason::SourceGroup);
    }
    if src.is_zero() {
        return Err(DropReason::SourceZero);
    }
    control::address(origin, dst)
}

/// What the packet says.
#[inline(always)]
pub fn packet(frame: &Frame, origin: &Origin, inner: &Inner, len: usize) -> Result<(), DropReason> {
    control::ethertype(inner.ethertype)?;
    if len > inner.l3 + origin.mtu as usize {
        return Err(DropReason::TooBig);
    }
    if origin.guards & Guards::PACKET == 0 {
        return Ok(());
    }
    let packet = inside::packet(frame, inner)?;
    if origin.guards & Guards::ETHERTYPES != 0 {
        ethertype::check(origin.ingress, packet.ethertype)?;
    }
    if origin.guards & (Guards::NO_DHCP_SERVER | Guards::NO_ROUTER) != 0 {
        server::check(frame, origin.guards, &packet)?;
    }
    if origin.guards & Guards::PREFIXES != 0 {
        address::check(frame, origin.ingress.id(), inner.src, &packet)?;
    }
    Ok(())
}
