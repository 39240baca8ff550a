//! Addresses as they travel in messages.

use std::net::IpAddr;

use sillon_abi::{BindingKey, Claim, FdbKey, Mac};

use super::local_table::Publication;
use crate::{
    agent::{node_index::NodeIndex, subject::Bound},
    dataplane::{compile::addr, names::ip},
    model::MacAddr,
    protocol::{bytes, host, pb},
};

/// Where a MAC is said to be, if that can be.
pub fn decode_mac(index: &NodeIndex, learned: pb::Learned) -> Option<(FdbKey, Option<IpAddr>)> {
    let key = FdbKey::new(index.uid(&learned.segment)?, mac(learned.mac)?);
    Some((key, remote(learned.at)?))
}

/// Whose an IP address is said to be, if that can be, and where.
pub fn decode_binding(
    index: &NodeIndex,
    bound: pb::Bound,
) -> Option<(BindingKey, Option<(IpAddr, Claim)>)> {
    let key = BindingKey::new(index.uid(&bound.segment)?, addr(host(&bound.address)?));
    let Some(at) = remote(bound.at)? else { return Some((key, None)) };
    let flag = |is: bool, flag: u16| if is { flag } else { 0 };
    let flags = flag(bound.router, Claim::ROUTER)
        | flag(bound.replaces, Claim::OVERRIDE)
        | flag(bound.leaf, Claim::LEAF);
    Some((key, Some((at, Claim { mac: mac(bound.mac)?, flags }))))
}

pub fn encode_mac(Publication { key, segment, at }: Publication<FdbKey>) -> pb::Learned {
    pb::Learned { segment, mac: key.mac.octets().to_vec(), at: at.map(|(port, ())| port) }
}

pub fn encode_binding(Publication { key, segment, at }: Publication<BindingKey>) -> pb::Bound {
    let address = bytes(ip(key.addr));
    let Some((port, Claim { mac, flags })) = at else {
        return pb::Bound { segment, address, ..pb::Bound::default() };
    };
    let has = |flag: u16| flags & flag != 0;
    pb::Bound {
        segment,
        address,
        at: Some(port),
        mac: mac.octets().to_vec(),
        router: has(Claim::ROUTER),
        replaces: has(Claim::OVERRIDE),
        leaf: has(Claim::LEAF),
    }
}

/// Whether it is an address that a host may have.
pub fn is_hosts(bound: &Bound) -> bool {
    host(&bytes(ip(bound.key.addr))).is_some() && MacAddr::new(bound.word.mac.octets()).is_ok()
}

fn mac(bytes: Vec<u8>) -> Option<Mac> {
    let octets = <[u8; 6]>::try_from(bytes).ok()?;
    MacAddr::new(octets).ok().map(|mac| Mac::new(mac.octets()))
}

/// None where that is no address; nothing in it where there is none.
fn remote(at: Option<String>) -> Option<Option<IpAddr>> {
    at.map(|at| at.parse()).transpose().ok()
}
