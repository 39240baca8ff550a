//! The links of this network namespace, as far as ports care.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use nix::errno::Errno;
use rtnetlink::{
    Handle,
    packet_route::link::{
        AfSpecInet, AfSpecInet6, AfSpecUnspec, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType,
        LinkMessage, LinkXdp, XdpAttached as KernelXdp,
    },
};

use super::{NetlinkError, stack};

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its ifindex.
    pub ifindex: u32,
    /// Its MAC; zero where it has none.
    pub mac: [u8; 6],
    /// Its MTU, bytes of layer 3.
    pub mtu: u32,
    /// Whether its frames are Ethernet's, and it is no loopback.
    pub is_ethernet: bool,
    /// Whether somebody has set it to hear frames for everybody. What a packet socket asks for
    /// does not show here.
    pub is_promiscuous: bool,
    /// Whether it is set up.
    pub admin_up: bool,
    /// Whether it is up and has a carrier.
    pub carrier: bool,
    /// Ifindex of the bridge, bond or team that it is part of.
    pub master: Option<u32>,
    /// Its kind, as `ip -d link` shows it; none for hardware.
    pub kind: Option<String>,
    /// Whether it is one end of a veth pair whose other end is in another network namespace.
    pub has_far_end: bool,
    /// The XDP program on it.
    pub xdp: Option<XdpAttached>,
    /// What the node's own IP stack does with what comes there.
    pub stack: stack::Conf,
}

impl Link {
    /// Whether nothing is different of what decides whether it can be a port, and what that can
    /// carry. That a link is up, has a carrier or is promiscuous decides nothing, and who is at its
    /// other end can change that as often as it likes.
    pub fn is_as_fit_as(&self, other: &Self) -> bool {
        let Self { admin_up, carrier, is_promiscuous, stack, .. } = *other;
        Self { admin_up, carrier, is_promiscuous, stack, ..self.clone() } == *other
    }

    /// Whether nothing is different but that it is up, or has a carrier.
    pub fn differs_by_carrier_alone(&self, other: &Self) -> bool {
        let Self { admin_up, carrier, .. } = *other;
        Self { admin_up, carrier, ..self.clone() } == *other
    }
}

/// An XDP program on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpAttached {
    /// Its id.
    pub prog_id: u32,
    /// Whether it runs after the driver, on an skb.
    pub generic: bool,
}

/// All links of this namespace, by name.
///
/// # Errors
/// Netlink fails.
pub async fn list() -> Result<BTreeMap<String, Link>, NetlinkError> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(NetlinkError::while_doing("opening a socket"))?;
    let connection = tokio::spawn(connection);
    let links = dump(&handle).await;
    connection.abort();
    links
}

/// Has a device hear frames for everybody, or no longer. Unlike what a packet socket asks for, that
/// outlives who sets it. A device that is gone is as good as done.
///
/// # Errors
/// Netlink fails, or the kernel refuses.
pub async fn set_promiscuous(device: &str, on: bool) -> Result<(), NetlinkError> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(NetlinkError::while_doing("opening a socket"))?;
    let connection = tokio::spawn(connection);
    let mut message = LinkMessage::default();
    message.header.flags = if on { LinkFlags::Promisc } else { LinkFlags::empty() };
    message.header.change_mask = LinkFlags::Promisc;
    message.attributes.push(LinkAttribute::IfName(device.to_owned()));
    let done = handle.link().set(message).execute().await;
    connection.abort();
    match done {
        Err(rtnetlink::Error::NetlinkError(error))
            if error.raw_code() == -(Errno::ENODEV as i32) =>
        {
            Ok(())
        }
        result => result
            .map_err(NetlinkError::while_doing("setting a device to hear frames for everybody")),
    }
}

/// As [`list`], over an open connection.
pub(super) async fn dump(handle: &Handle) -> Result<BTreeMap<String, Link>, NetlinkError> {
    let messages: Vec<LinkMessage> = handle
        .link()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(NetlinkError::while_doing("listing links"))?;
    Ok(messages.into_iter().map(link).map(|link| (link.name.clone(), link)).collect())
}

pub(crate) fn link(message: LinkMessage) -> Link {
    let mut link = Link {
        name: String::new(),
        ifindex: message.header.index,
        mac: [0; 6],
        mtu: 0,
        is_ethernet: message.header.link_layer_type == LinkLayerType::Ether
            && !message.header.flags.contains(LinkFlags::Loopback),
        is_promiscuous: message.header.flags.contains(LinkFlags::Promisc),
        admin_up: message.header.flags.contains(LinkFlags::Up),
        carrier: message.header.flags.contains(LinkFlags::LowerUp),
        master: None,
        kind: None,
        has_far_end: false,
        xdp: None,
        stack: stack::Conf::default(),
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(mac) => link.mac = mac.try_into().unwrap_or_default(),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(master) => link.master = Some(master),
            LinkAttribute::LinkInfo(infos) => link.kind = infos.iter().find_map(kind),
            LinkAttribute::LinkNetNsId(_) => link.has_far_end = true,
            LinkAttribute::Xdp(attributes) => link.xdp = xdp(&attributes),
            LinkAttribute::AfSpecUnspec(families) => link.stack = stack(&families),
            _ => {}
        }
    }
    // Others have this, too, whose lower device is elsewhere.
    link.has_far_end &= link.kind.as_deref() == Some("veth");
    link
}

fn stack(families: &[AfSpecUnspec]) -> stack::Conf {
    let mut conf = stack::Conf::default();
    for family in families {
        match family {
            AfSpecUnspec::Inet(attributes) => {
                for attribute in attributes {
                    if let AfSpecInet::DevConf(inet) = attribute {
                        conf.rp_filter = Some(inet.rp_filter);
                        conf.arp_ignore = Some(inet.arp_ignore);
                    }
                }
            }
            AfSpecUnspec::Inet6(attributes) => {
                for attribute in attributes {
                    if let AfSpecInet6::DevConf(inet6) = attribute {
                        conf.disable_ipv6 = Some(inet6.disable_ipv6);
                    }
                }
            }
            _ => {}
        }
    }
    conf
}

fn kind(info: &LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

fn xdp(attributes: &[LinkXdp]) -> Option<XdpAttached> {
    let mut id = None;
    let mut generic = false;
    for attribute in attributes {
        match attribute {
            LinkXdp::ProgId(prog_id)
            | LinkXdp::DrvProgId(prog_id)
            | LinkXdp::SkbProgId(prog_id) => id = Some(*prog_id),
            LinkXdp::Attached(attached) => generic = *attached == KernelXdp::SocketBuffer,
            _ => {}
        }
    }
    id.map(|prog_id| XdpAttached { prog_id, generic })
}
