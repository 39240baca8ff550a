//! What bytes from outside may do: be taken or be refused, and nothing else. One function a parser,
//! for the targets of cargo-fuzz (`fuzz/`); in ordinary tests, what is kept there is replayed. It
//! is no part of the interface, and public so that the targets are linted like all else.

mod records;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use rtnetlink::{
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::RouteNetlinkMessage,
};

use crate::{
    agent::control,
    model,
    net::{
        links,
        underlay::{
            neighbours,
            nexthops::{Nexthops, read},
            resolve::{Context, resolve},
        },
    },
};

pub use self::records::records;

/// A node's file: every complaint says something, and what is taken has a name.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match model::parse("node.toml", text) {
        Ok((config, _)) => assert!(!config.node.name.as_str().is_empty()),
        Err(errors) => assert!(!errors.to_string().trim().is_empty()),
    }
}

/// What is said over an agent's socket, in either direction.
pub fn request(bytes: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<control::Request>(bytes) {
        assert!(serde_json::to_string(&request).is_ok());
    }
    if let Ok(answer) = serde_json::from_slice::<control::Answer>(bytes) {
        assert!(serde_json::to_string(&answer).is_ok());
    }
}

/// What the kernel says of links, neighbours and routes: a datagram of netlink messages, each seen
/// with what came before it. No way leads through a link that is no uplink.
pub fn netlink(bytes: &[u8]) {
    let remotes = [
        IpAddr::from(Ipv4Addr::new(10, 99, 0, 2)),
        Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 2).into(),
    ];
    let uplinks: BTreeSet<String> = ["up0".to_owned()].into();
    let (mut known, mut table, mut nexthops) =
        (BTreeMap::new(), neighbours::Table::new(), Nexthops::new());
    let mut rest = bytes;
    while let Some(Ok(length)) =
        rest.first_chunk().map(|length| usize::try_from(u32::from_ne_bytes(*length)))
    {
        // NLMSG_ALIGN (RFC 3549 section 2.3.2 has the header).
        let Some(message) = rest.get(..length).filter(|message| !message.is_empty()) else {
            return;
        };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        nexthops.extend(read(message));
        let Ok(NetlinkMessage { payload: NetlinkPayload::InnerMessage(message), .. }) =
            NetlinkMessage::deserialize(message)
        else {
            continue;
        };
        match message {
            RouteNetlinkMessage::NewLink(message) => {
                let link = links::link(message);
                known.insert(link.ifindex, link);
            }
            RouteNetlinkMessage::NewNeighbour(message) => table.extend(neighbours::entry(&message)),
            RouteNetlinkMessage::NewRoute(route) => {
                let neighbours = neighbours::places(&table, &neighbours::Neighbours::new());
                let context = Context {
                    links: &known,
                    uplinks: &uplinks,
                    neighbours: &neighbours,
                    nexthops: &nexthops,
                };
                for remote in remotes {
                    for path in resolve(remote, &route, &context).0.paths {
                        assert!(
                            known
                                .get(&path.ifindex)
                                .is_some_and(|link| uplinks.contains(&link.name))
                        );
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

    use std::{fs, path::Path};

    use super::*;

    type Target = (&'static str, fn(&[u8]));

    #[test]
    fn what_the_targets_start_from_and_what_they_found_is_taken_or_refused() {
        let targets: [Target; 4] =
            [("config", config), ("request", request), ("netlink", netlink), ("records", records)];
        for (name, target) in targets {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
            let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
            let count = files.map(|file| target(&fs::read(file).unwrap())).count();
            assert!(count > 0, "{} is empty", folder.display());
        }
    }

    /// So that the target does not pass by understanding nothing.
    #[test]
    fn the_seeds_of_netlink_say_something() {
        let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/netlink/dump");
        let bytes = fs::read(seed).unwrap();
        let header = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes).unwrap();
        assert!(matches!(
            header.payload,
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(_))
        ));
    }
}
