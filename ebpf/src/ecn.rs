//! RFC 6040 at the end of a tunnel: congestion that the underlay marked on the outer header reaches
//! the inner packet (section 4.2, figure 4). A mark on a packet that does not know ECN means loss:
//! it is dropped, and counted.

use sillon_abi::DropReason;

use crate::{
    frame::Frame,
    meta::Inner,
    wire::{IPV4, IPV6},
};

const NOT_ECT: u8 = 0;
const ECT_1: u8 = 1;
const ECT_0: u8 = 2;
const CE: u8 = 3;

/// The inner field after the tunnel.
#[inline(always)]
fn combine(outer: u8, inner: u8) -> Result<u8, DropReason> {
    match (outer, inner) {
        (CE, NOT_ECT) => Err(DropReason::EcnNotCapable),
        (CE, _) => Ok(CE),
        (ECT_1, ECT_0) => Ok(ECT_1),
        _ => Ok(inner),
    }
}

#[inline(always)]
pub fn decapsulated(frame: &impl Frame, inner: &Inner, outer: u8) -> Result<(), DropReason> {
    if outer == NOT_ECT {
        return Ok(());
    }
    if inner.ethertype == IPV4 {
        ipv4(frame, inner.l3, outer)
    } else if inner.ethertype == IPV6 {
        let word = frame.read_be16(inner.l3)?;
        let ecn = combine(outer, (word >> 4) as u8 & 3)?;
        frame.write(inner.l3, ((word & !0x30) | u16::from(ecn) << 4).to_be())
    } else {
        Ok(())
    }
}

#[inline(always)]
fn ipv4(frame: &impl Frame, l3: usize, outer: u8) -> Result<(), DropReason> {
    let old = frame.read_be16(l3)?;
    let new = (old & !3) | u16::from(combine(outer, old as u8 & 3)?);
    if new != old {
        // RFC 1624 equation 3.
        let checksum = u32::from(!frame.read_be16(l3 + 10)?) + u32::from(!old) + u32::from(new);
        let folded = (checksum & 0xffff) + (checksum >> 16);
        let folded = (folded & 0xffff) + (folded >> 16);
        frame.write(l3 + 10, (!(folded as u16)).to_be())?;
        frame.write(l3, new.to_be())?;
    }
    Ok(())
}
