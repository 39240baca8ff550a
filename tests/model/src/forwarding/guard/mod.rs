//! What an operator may send (docs/explanation/guards.md), asked where a frame enters the
//! fabric, in this order: what no station may do, control frames, and then what is in the packet,
//! as far as the attachment has a guard that looks into it. Whose the source address is, is asked
//! last, where it is learned ([`mac`]).
//!
//! What comes out of a tunnel was looked at by the node that it comes from: of it, only addresses
//! and control frames are asked of again.

mod address;
pub mod control;
mod inside;
mod ipv6;
pub mod mac;
mod server;
#[cfg(test)]
mod tests;

use sillon::model::{Guards, Trust};
use sillon_abi::DropReason;

use super::{
    Place,
    frame::{Inner, Mac},
    node::{Arrival, Node},
};

/// Whether a frame may pass.
///
/// # Errors
/// The first reason why not.
pub fn check(node: &Node, arrival: &Arrival, inner: &Inner) -> Result<(), DropReason> {
    // IEEE 802.3 clause 3.2.3: a source is an individual address.
    if inner.src[0] & 1 == 1 {
        return Err(DropReason::SourceGroup);
    }
    if inner.src == Mac::default() {
        return Err(DropReason::SourceZero);
    }
    control::check(node, arrival, inner)?;
    if inner.packet.len() > usize::from(node.config.segments[arrival.segment].mtu) {
        return Err(DropReason::TooBig);
    }
    match arrival.from {
        Place::Attachment(attachment) => packet(&node.config.attachments[attachment].guards, inner),
        Place::Remote(_) => Ok(()),
    }
}

/// Whether an attachment is trusted to be something.
fn trusts(guards: &Guards, to_be: Trust) -> bool {
    guards.trusted.contains(&to_be)
}

/// What is in the packet. An attachment that is trusted for everything and lists nothing is asked
/// nothing.
fn packet(guards: &Guards, inner: &Inner) -> Result<(), DropReason> {
    let is_trusted = trusts(guards, Trust::Dhcp) && trusts(guards, Trust::Ra);
    let asks_for_kinds = !is_trusted || guards.ethertypes.is_some();
    if !asks_for_kinds && guards.prefixes.is_empty() {
        return Ok(());
    }
    let packet = inside::packet(inner)?;
    if let Some(list) = &guards.ethertypes
        && !list.iter().any(|listed| listed.get() == packet.ethertype)
    {
        return Err(DropReason::EthertypeNotListed);
    }
    if asks_for_kinds {
        server::check(guards, &packet)?;
    }
    if guards.prefixes.is_empty() { Ok(()) } else { address::check(guards, inner.src, &packet) }
}
