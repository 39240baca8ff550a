//! Who has this address? In a segment with `suppress`, the node listens to ARP (`arp`) and
//! neighbour discovery (`nd`), keeps what was said ([`known`]), and answers a question that it
//! knows the answer to, where it came in (docs/explanation/suppression.md).
//!
//! It stands behind the guards and the bridge: a frame that they drop says nothing. What is inside
//! tags of the operator's own is not looked at; a lone priority tag out of a tunnel is the
//! fabric's.

mod arp;
pub mod known;
mod nd;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

pub use known::{Claim, Heard};

use super::{
    Place,
    frame::{IPV6, Inner, Mac},
    node::{Arrival, Node},
};

const ARP: u16 = 0x0806;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// An ARP request.
    Arp,
    /// A neighbour solicitation.
    Neighbour,
}

/// What a packet means to whoever listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Heeded {
    /// That its sender has an address.
    says: Option<Said>,
    /// Who has this address?
    asks: Option<IpAddr>,
}

/// That the sender of a frame has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    address: IpAddr,
    how: How,
}

/// How it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// So that it holds, whatever was known.
    Override {
        /// With the O flag of an advertisement: ARP has none.
        flag: bool,
        is_router: bool,
    },
    /// So that no other MAC is replaced (RFC 4861 section 7.2.5).
    Offer { is_router: bool },
    /// In passing: what is not said of the address stays, and nothing is made of it alone (RFC 4861
    /// section 7.2.3).
    Hint,
}

/// Listens, and says what was asked and is answered, and the answer: without the attachment's tags.
pub fn answer(node: &mut Node, arrival: &Arrival, inner: &Inner) -> Option<(Question, Inner)> {
    if !node.config.segments[arrival.segment].suppress {
        return None;
    }
    let is_tunnelled = matches!(arrival.from, Place::Remote(_));
    let is_the_fabrics = is_tunnelled && inner.lone_priority_tag().is_some();
    if !inner.carried.is_empty() && !is_the_fabrics {
        return None;
    }
    let (question, heeded) = match inner.ethertype {
        ARP => (Question::Arp, arp::heed(inner)?),
        IPV6 => (Question::Neighbour, nd::heed(inner)?),
        _ => return None,
    };
    if let Some(said) = heeded.says {
        node.heard = known::hear(node, arrival, inner.src, said);
    }
    // Whoever is behind a tunnel has been asked for there; and what is asked of one alone asks
    // whether that one is still there.
    if is_tunnelled || !inner.is_for_group() {
        return None;
    }
    let address = heeded.asks?;
    let owner = known::owner(node, arrival, address)?;
    let packet = match question {
        Question::Arp => arp::reply(inner, owner.mac),
        Question::Neighbour => nd::advertisement(inner, &owner),
    };
    let answer = Inner { dst: inner.src, src: owner.mac, packet, ..inner.clone() };
    Some((question, answer))
}

/// The bytes there, if the packet has them.
fn bytes<const N: usize>(packet: &[u8], at: usize) -> Option<[u8; N]> {
    packet.get(at..)?.first_chunk().copied()
}

/// Which addresses a host may have.
fn is_a_hosts(address: IpAddr) -> bool {
    match address {
        // RFC 1122 section 3.2.1.3: not "this network", loopback, a group's or the broadcast
        // address.
        IpAddr::V4(v4) => {
            v4.octets()[0] != 0 && !v4.is_loopback() && !v4.is_multicast() && !v4.is_broadcast()
        }
        // Of ::/64 are the unspecified address, loopback, and those that stand for IPv4's (RFC 4291
        // section 2.5).
        IpAddr::V6(v6) => !v6.is_multicast() && v6.segments()[..4] != [0; 4],
    }
}

/// The all-ones destination.
const fn is_for_all(dst: Mac) -> bool {
    matches!(dst, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
}
