//! Next-hop objects (`ip nexthop`), which a route may name by their id alone: with
//! `net.ipv4.nexthop_compat_mode=0` the kernel says nothing else of them.
//!
//! `netlink-packet-route` does not know these messages, so they have a socket of their own. The
//! layout is that of `include/uapi/linux/nexthop.h`.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures::{StreamExt, channel::mpsc::UnboundedReceiver};
use netlink_packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable, NlaBuffer, NlasIterator,
};
use rtnetlink::{
    proto::{ConnectionHandle, new_connection},
    sys::{AsyncSocket, SocketAddr, protocols::NETLINK_ROUTE},
};
use tokio::task::JoinHandle;

use crate::net::NetlinkError;

const RTM_NEWNEXTHOP: u16 = 104;
const RTM_GETNEXTHOP: u16 = 106;
const RTNLGRP_NEXTHOP: u32 = 32;
/// `struct nhmsg`: family, scope, protocol, a reserved byte, flags.
const HEADER: usize = 8;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const NHA_ENCAP_TYPE: u16 = 7;
/// `struct nexthop_grp`: the id in four bytes, the weight less one in one, and its upper eight bits
/// in the next (0 before Linux 6.12).
const GROUP_ENTRY: usize = 8;

/// A next-hop object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nexthop {
    /// By which link; none of a group or a blackhole.
    pub oif: Option<u32>,
    /// Its gateway, if the destination is not on the link itself.
    pub gateway: Option<IpAddr>,
    /// Whether what goes there is dropped.
    pub is_blackhole: bool,
    /// Whether what goes there is wrapped (MPLS, SRv6 and the like).
    pub is_encapsulated: bool,
    /// Of a group, the members' ids and weights.
    pub group: Vec<(u32, u32)>,
}

/// All of them, by id.
pub type Nexthops = BTreeMap<u32, Nexthop>;

/// What is asked and answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NexthopMessage {
    /// All objects, please.
    Get,
    /// An object that is there.
    New(u32, Nexthop),
    /// One that is not any more, or what is no message of ours.
    Other(u16),
}

impl NetlinkSerializable for NexthopMessage {
    fn message_type(&self) -> u16 {
        match self {
            Self::Get => RTM_GETNEXTHOP,
            Self::New(..) => RTM_NEWNEXTHOP,
            Self::Other(kind) => *kind,
        }
    }

    fn buffer_len(&self) -> usize {
        HEADER
    }

    /// Only a request is ever sent, and it says nothing but its kind.
    fn serialize(&self, buffer: &mut [u8]) {
        buffer.fill(0);
    }
}

impl NetlinkDeserializable for NexthopMessage {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        match header.message_type {
            RTM_NEWNEXTHOP => parse(payload),
            kind => Ok(Self::Other(kind)),
        }
    }
}

fn parse(payload: &[u8]) -> Result<NexthopMessage, DecodeError> {
    let attributes =
        payload.get(HEADER..).ok_or_else(|| DecodeError::from("a next hop without a header"))?;
    let (mut id, mut nexthop) = (None, Nexthop::default());
    for attribute in NlasIterator::new(attributes) {
        let attribute: NlaBuffer<&[u8]> = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            NHA_ID => id = number(value),
            NHA_OIF => nexthop.oif = number(value),
            NHA_GATEWAY => nexthop.gateway = address(value),
            NHA_BLACKHOLE => nexthop.is_blackhole = true,
            NHA_ENCAP_TYPE => nexthop.is_encapsulated = true,
            NHA_GROUP => {
                nexthop.group = value.chunks_exact(GROUP_ENTRY).filter_map(member).collect()
            }
            _ => {}
        }
    }
    let id = id.ok_or_else(|| DecodeError::from("a next hop without an id"))?;
    Ok(NexthopMessage::New(id, nexthop))
}

/// An object as a netlink message tells it; none in any other message.
pub fn read(message: &[u8]) -> Option<(u32, Nexthop)> {
    match NetlinkMessage::<NexthopMessage>::deserialize(message).ok()?.payload {
        NetlinkPayload::InnerMessage(NexthopMessage::New(id, nexthop)) => Some((id, nexthop)),
        _ => None,
    }
}

fn number(value: &[u8]) -> Option<u32> {
    value.try_into().map(u32::from_ne_bytes).ok()
}

fn address(value: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(value).map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    v4.or_else(|_| <[u8; 16]>::try_from(value).map(|octets| IpAddr::V6(Ipv6Addr::from(octets))))
        .ok()
}

fn member(entry: &[u8]) -> Option<(u32, u32)> {
    let (id, rest) = entry.split_first_chunk()?;
    let weight = u32::from(*rest.first()?) | u32::from(*rest.get(1)?) << 8;
    Some((u32::from_ne_bytes(*id), weight + 1))
}

/// A socket that asks for objects, and hears of changes.
pub struct Socket {
    handle: ConnectionHandle<NexthopMessage>,
    events: UnboundedReceiver<(NetlinkMessage<NexthopMessage>, SocketAddr)>,
    task: JoinHandle<()>,
}

impl Socket {
    /// Opens one.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn open() -> io::Result<Self> {
        let (mut connection, handle, events) = new_connection(NETLINK_ROUTE)?;
        let socket = connection.socket_mut().socket_mut();
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.add_membership(RTNLGRP_NEXTHOP)?;
        Ok(Self { handle, events, task: tokio::spawn(connection) })
    }

    /// Waits for a change; false if there will be none any more.
    pub async fn changed(&mut self) -> bool {
        self.events.next().await.is_some()
    }

    /// Takes the changes that have come meanwhile.
    pub fn drain(&mut self) {
        while let Ok(_event) = self.events.try_recv() {}
    }

    /// Lists all objects.
    ///
    /// # Errors
    /// Netlink fails.
    pub async fn list(&self) -> Result<Nexthops, NetlinkError> {
        const DOING: &str = "listing next hops";
        let mut message = NetlinkMessage::from(NexthopMessage::Get);
        message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let handle = self.handle.clone();
        let mut answers = handle
            .request(message, SocketAddr::new(0, 0))
            .map_err(NetlinkError::while_doing(DOING))?;
        let mut nexthops = Nexthops::new();
        while let Some(answer) = answers.next().await {
            match answer.payload {
                NetlinkPayload::InnerMessage(NexthopMessage::New(id, nexthop)) => {
                    nexthops.insert(id, nexthop);
                }
                NetlinkPayload::Error(error) => {
                    let error = io::Error::from_raw_os_error(error.raw_code().saturating_neg());
                    return Err(NetlinkError::while_doing(DOING)(error));
                }
                _ => {}
            }
        }
        Ok(nexthops)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl From<NexthopMessage> for NetlinkPayload<NexthopMessage> {
    fn from(message: NexthopMessage) -> Self {
        Self::InnerMessage(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        let mut bytes = [&len.to_ne_bytes()[..], &kind.to_ne_bytes()[..], value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn read(attributes: &[Vec<u8>]) -> Result<(u32, Nexthop), String> {
        match parse(&[vec![0; HEADER], attributes.concat()].concat()) {
            Ok(NexthopMessage::New(id, nexthop)) => Ok((id, nexthop)),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn an_object_is_read_as_iproute2_shows_it() {
        let id = attribute(NHA_ID, &7u32.to_ne_bytes());
        let oif = attribute(NHA_OIF, &3u32.to_ne_bytes());
        let gateway = attribute(NHA_GATEWAY, &[10, 98, 0, 2]);
        let found =
            Nexthop { oif: Some(3), gateway: Some([10, 98, 0, 2].into()), ..Nexthop::default() };
        assert_eq!(read(&[id.clone(), oif, gateway]), Ok((7, found)));
        let members = [[1, 0, 0, 0, 0, 0, 0, 0], [2, 0, 0, 0, 2, 1, 0, 0]].concat();
        let found = Nexthop { group: vec![(1, 1), (2, 259)], ..Nexthop::default() };
        assert_eq!(read(&[id, attribute(NHA_GROUP, &members)]), Ok((7, found)));
    }

    #[test]
    fn what_is_cut_off_is_an_error_and_no_panic() {
        assert!(read(&[]).is_err(), "no id");
        assert!(parse(&[0; 3]).is_err());
        assert!(read(&[vec![200, 0, 1, 0, 7]]).is_err());
    }
}
