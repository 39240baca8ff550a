//! The neighbours on the ways to remotes.
//!
//! The kernel resolves neighbours only for packets of its own, and what XDP sends is none. So the
//! neighbours that are needed are made *managed* (`NTF_EXT_MANAGED`, Linux 5.16): the kernel then
//! resolves them, and refreshes them before they go stale.
//!
//! What the owner, or a routing daemon, has set is left alone: an entry that is permanent, needs no
//! ARP, was learned externally, is another program's by its protocol, or is managed for another. To
//! make a permanent one managed would take it out (`__neigh_update`).
//!
//! What was changed is written down where it was changed: such an entry has `OURS` as its protocol.
//! So the kernel keeps the list, in one step with the change, over whatever becomes of the agent.
//! To undo it is to remove the entry and to put it back as one that the kernel has made itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use futures::TryStreamExt;
use nix::errno::Errno;
use rtnetlink::{
    Handle,
    packet_route::{
        AddressFamily,
        neighbour::{
            NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags,
            NeighbourMessage, NeighbourState,
        },
        route::RouteProtocol,
    },
};
use tracing::{info, warn};

use super::resolve::Wanted;
use crate::net::NetlinkError;

/// The protocol of entries that an agent has the kernel manage: one that is nobody's in iproute2's
/// `rt_protos` ("S").
const OURS: RouteProtocol = RouteProtocol::Other(83);

/// What the kernel has of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    state: NeighbourState,
    mac: Option<[u8; 6]>,
    flags: NeighbourFlags,
    managed: bool,
    protocol: RouteProtocol,
}

/// All that the kernel has.
pub type Table = BTreeMap<Wanted, Entry>;

/// Neighbours' MACs.
pub type Neighbours = BTreeMap<Wanted, [u8; 6]>;

impl Entry {
    /// Its MAC, if it can be sent to.
    fn usable(&self) -> Option<[u8; 6]> {
        let usable = matches!(
            self.state,
            NeighbourState::Permanent
                | NeighbourState::Noarp
                | NeighbourState::Reachable
                | NeighbourState::Stale
                | NeighbourState::Delay
                | NeighbourState::Probe
        );
        self.mac.filter(|_| usable)
    }

    /// Whether the kernel would keep packets for it until it knows more.
    const fn is_pending(&self) -> bool {
        matches!(self.state, NeighbourState::None | NeighbourState::Incomplete)
    }

    fn is_ours(&self) -> bool {
        self.managed && self.protocol == OURS
    }

    /// Whether its state is somebody's word, which a request to manage or to look would take back.
    const fn is_fixed(&self) -> bool {
        matches!(
            self.state,
            NeighbourState::Permanent | NeighbourState::Noarp | NeighbourState::Other(_)
        )
    }

    /// Whether somebody else has made it, or has it managed.
    fn is_somebody_elses(&self) -> bool {
        self.is_fixed()
            || self.flags.contains(NeighbourFlags::ExtLearned)
            || (self.managed && !self.is_ours())
            || !matches!(self.protocol, RouteProtocol::Unspec | OURS)
    }
}

/// What is to be done for a neighbour that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Care {
    /// Nothing.
    None,
    /// There is none: have it made and managed.
    Make,
    /// Have it managed from now on.
    Manage,
    /// It did not answer: have it asked for again. Nothing else of it changes.
    Ask,
}

fn care(entry: Option<&Entry>) -> Care {
    let Some(entry) = entry else { return Care::Make };
    let is_quiet = entry.usable().is_some() || entry.is_pending() || entry.is_fixed();
    match (entry.is_somebody_elses() || entry.is_ours(), is_quiet) {
        (true, true) => Care::None,
        (true, false) => Care::Ask,
        (false, _) => Care::Manage,
    }
}

/// Where each neighbour is. Of one that the kernel is about to resolve again, as after `ip neigh
/// flush`, it is where it was `before`: where the kernel would keep packets until it knows, they go
/// on. One that does not answer is nowhere.
pub fn places(table: &Table, before: &Neighbours) -> Neighbours {
    let is_open = |wanted: &Wanted| table.get(wanted).is_none_or(Entry::is_pending);
    let known =
        before.iter().filter(|(wanted, _)| is_open(wanted)).map(|(wanted, mac)| (*wanted, *mac));
    let usable = table.iter().filter_map(|(wanted, entry)| Some((*wanted, entry.usable()?)));
    known.chain(usable).collect()
}

/// Lists them.
///
/// # Errors
/// Netlink fails.
pub async fn list(handle: &Handle) -> Result<Table, NetlinkError> {
    let messages = handle.neighbours().get().execute().try_collect::<Vec<NeighbourMessage>>().await;
    let messages = messages.map_err(NetlinkError::while_doing("listing neighbours"))?;
    Ok(messages.iter().filter_map(entry).collect())
}

pub(crate) fn entry(message: &NeighbourMessage) -> Option<(Wanted, Entry)> {
    // A bridge's and a VXLAN device's entries are no neighbours.
    if !matches!(message.header.family, AddressFamily::Inet | AddressFamily::Inet6) {
        return None;
    }
    let mut address = None;
    let mut entry = Entry {
        state: message.header.state,
        mac: None,
        flags: message.header.flags,
        managed: false,
        protocol: RouteProtocol::Unspec,
    };
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                address = Some(IpAddr::V4(*v4))
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                address = Some(IpAddr::V6(*v6))
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                entry.mac = bytes.as_slice().try_into().ok()
            }
            NeighbourAttribute::Protocol(protocol) => entry.protocol = *protocol,
            NeighbourAttribute::ExtFlags(flags) => {
                entry.managed = flags.contains(NeighbourExtFlags::Managed)
            }
            _ => {}
        }
    }
    Some((Wanted { ifindex: message.header.ifindex, address: address? }, entry))
}

/// What an agent has done with neighbours.
#[derive(Default)]
pub struct Keeper {
    /// Those that it had managed, or found so.
    had: BTreeSet<Wanted>,
    /// Those that the kernel does not manage; told once.
    refused: BTreeSet<Wanted>,
}

impl Keeper {
    /// Has the kernel resolve and refresh those that are `wanted`, and no longer those of ours that
    /// are not: on these `ports` (ifindexes), whoever asked for it, and wherever this agent
    /// did. `again`: those that did not answer are asked for again.
    ///
    /// # Errors
    /// Netlink fails. What the kernel refuses is logged.
    pub async fn keep(
        &mut self,
        handle: &Handle,
        (table, wanted): (&Table, &BTreeSet<Wanted>),
        ports: &BTreeSet<u32>,
        again: bool,
    ) -> Result<(), NetlinkError> {
        if again {
            self.refused.clear();
        }
        let todo = |table: &Table, wanted: &Wanted| match care(table.get(wanted)) {
            Care::Ask if !again => Care::None,
            care => care,
        };
        let of_concern =
            |wanted: &&Wanted| !self.refused.contains(wanted) && todo(table, wanted) != Care::None;
        let needed: Vec<Wanted> = wanted.iter().filter(of_concern).copied().collect();
        let is_left = |(place, entry): &(&Wanted, &Entry)| {
            let is_near = ports.contains(&place.ifindex) || self.had.contains(place);
            entry.is_ours() && is_near && !wanted.contains(place)
        };
        let left: Vec<Wanted> = table.iter().filter(is_left).map(|(place, _)| *place).collect();
        if needed.is_empty() && left.is_empty() {
            return Ok(());
        }
        // What somebody has set since it was listed must not be taken back.
        let table = list(handle).await?;
        for place in needed {
            if let Err(error) = tend(handle, place, todo(&table, &place), table.get(&place)).await {
                warn!(address = %place.address, %error, "the kernel does not resolve a neighbour");
                self.refused.insert(place);
            } else {
                self.had.insert(place);
            }
        }
        for place in left {
            if let Some(entry) = table.get(&place).filter(|entry| entry.is_ours()) {
                give_back(handle, place, entry).await;
            }
            self.had.remove(&place);
        }
        Ok(())
    }

    /// Whether the kernel refuses to look for it.
    pub fn is_refused(&self, wanted: &Wanted) -> bool {
        self.refused.contains(wanted)
    }
}

async fn tend(
    handle: &Handle,
    place: Wanted,
    care: Care,
    entry: Option<&Entry>,
) -> Result<(), rtnetlink::Error> {
    let request = handle.neighbours().add(place.ifindex, place.address).state(NeighbourState::None);
    let (request, managed, protocol) = match care {
        Care::None => return Ok(()),
        // Only if it is still not there.
        Care::Make => (request.flags(NeighbourFlags::Use), true, Some(OURS)),
        Care::Manage => (request.flags(NeighbourFlags::Use).replace(), true, Some(OURS)),
        Care::Ask => {
            // Flags that are not named are taken off.
            let kept = entry
                .map_or(NeighbourFlags::empty(), |entry| entry.flags & NeighbourFlags::ExtLearned);
            let managed = entry.is_some_and(|entry| entry.managed);
            (request.flags(NeighbourFlags::Use | kept).replace(), managed, None)
        }
    };
    let mut request = request;
    let attributes = &mut request.message_mut().attributes;
    if managed {
        attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
    }
    attributes.extend(protocol.map(NeighbourAttribute::Protocol));
    match request.execute().await {
        Err(error) if errno(&error) == Some(Errno::EEXIST) => Ok(()),
        result => result,
    }
}

/// Gives entries back that an agent had managed, on these ports.
///
/// # Errors
/// Netlink fails.
pub async fn release(ports: &BTreeSet<u32>) -> Result<(), NetlinkError> {
    if ports.is_empty() {
        return Ok(());
    }
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(NetlinkError::while_doing("opening a socket"))?;
    let connection = tokio::spawn(connection);
    let table = list(&handle).await;
    if let Ok(table) = &table {
        let ours =
            table.iter().filter(|(place, entry)| ports.contains(&place.ifindex) && entry.is_ours());
        for (place, entry) in ours {
            give_back(&handle, *place, entry).await;
        }
    }
    connection.abort();
    table.map(drop)
}

/// Makes an entry one that the kernel may forget. It knows no way to take a protocol off, so the
/// entry is made anew, if nobody was faster.
async fn give_back(handle: &Handle, place: Wanted, entry: &Entry) {
    let mut old = handle.neighbours().add(place.ifindex, place.address);
    let old = old.message_mut().clone();
    let removed = handle.neighbours().del(old).execute().await;
    if let Err(error) = removed
        && errno(&error) != Some(Errno::ENOENT)
    {
        warn!(address = %place.address, %error, "a neighbour could not be given back");
        return;
    }
    info!(address = %place.address, ifindex = place.ifindex, "the kernel need not keep a \
        neighbour any more");
    let Some(mac) = entry.usable() else { return };
    let again = handle.neighbours().add(place.ifindex, place.address).link_layer_address(&mac);
    let again = again.state(NeighbourState::Stale).flags(entry.flags & NeighbourFlags::Router);
    if let Err(error) = again.execute().await
        && errno(&error) != Some(Errno::EEXIST)
    {
        // The kernel makes it when it needs it.
        warn!(address = %place.address, %error, "a neighbour has to be asked for again");
    }
}

fn errno(error: &rtnetlink::Error) -> Option<Errno> {
    match error {
        rtnetlink::Error::NetlinkError(message) => {
            Some(Errno::from_raw(message.raw_code().saturating_neg()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

    fn place(last: u8) -> Wanted {
        Wanted { ifindex: 5, address: IpAddr::from([10, 99, 0, last]) }
    }

    fn learned(state: NeighbourState) -> Entry {
        let mac =
            (!matches!(state, NeighbourState::Incomplete | NeighbourState::None)).then_some(MAC);
        let flags = NeighbourFlags::empty();
        Entry { state, mac, flags, managed: false, protocol: RouteProtocol::Unspec }
    }

    fn ours(state: NeighbourState) -> Entry {
        Entry { managed: true, protocol: OURS, ..learned(state) }
    }

    #[test]
    fn what_the_kernel_has_made_is_managed_and_what_somebody_else_has_made_is_not() {
        use NeighbourState::{Failed, Incomplete, Noarp, Permanent, Reachable, Stale};
        assert_eq!(care(None), Care::Make);
        for state in [Reachable, Stale, Failed, Incomplete] {
            assert_eq!(care(Some(&learned(state))), Care::Manage, "{state}");
        }
        for state in [Permanent, Noarp] {
            assert_eq!(care(Some(&learned(state))), Care::None, "{state}");
            // Whatever else is said of it.
            assert_eq!(care(Some(&ours(state))), Care::None, "{state}");
        }
        let theirs = |state| {
            let entry = learned(state);
            [
                Entry { flags: NeighbourFlags::ExtLearned, ..entry },
                Entry { protocol: RouteProtocol::Zebra, ..entry },
                Entry { managed: true, ..entry },
                Entry { managed: true, protocol: RouteProtocol::Zebra, ..entry },
            ]
        };
        for entry in theirs(Reachable).into_iter().chain(theirs(Incomplete)).chain([ours(Stale)]) {
            assert_eq!(care(Some(&entry)), Care::None, "{entry:?}");
        }
        for entry in theirs(Failed).into_iter().chain([ours(Failed)]) {
            assert_eq!(care(Some(&entry)), Care::Ask, "{entry:?}");
        }
    }

    #[test]
    fn a_neighbour_that_is_asked_for_again_is_where_it_was_until_it_does_not_answer() {
        let before = Neighbours::from([(place(1), MAC)]);
        let known = |entry: Option<Entry>| {
            let table: Table = entry.map(|entry| (place(1), entry)).into_iter().collect();
            places(&table, &before).get(&place(1)).copied()
        };
        assert_eq!(known(None), Some(MAC));
        assert_eq!(known(Some(ours(NeighbourState::Incomplete))), Some(MAC));
        assert_eq!(known(Some(ours(NeighbourState::Failed))), None);
        let other = [2, 0, 0, 0, 0, 8];
        let moved = Entry { mac: Some(other), ..ours(NeighbourState::Reachable) };
        assert_eq!(known(Some(moved)), Some(other));
        assert_eq!(places(&Table::from([(place(2), moved)]), &Neighbours::new()).len(), 1);
    }
}
