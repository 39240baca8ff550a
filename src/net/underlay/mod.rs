//! Follows the kernel's routes and neighbours: whenever something changes, there is a new
//! [`Snapshot`] of the ways to the remotes.
//!
//! Neighbours are resolved by the kernel, which is asked to ([`neighbours`]).

pub mod neighbours;
pub(crate) mod nexthops;
pub(crate) mod resolve;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, channel::mpsc::UnboundedReceiver};
use neighbours::{Keeper, Neighbours};
use nexthops::Nexthops;
use resolve::{Context, Wanted, resolve};
pub use resolve::{Path, Resolution};
use rtnetlink::{
    Handle, MulticastGroup,
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage},
    },
    sys::SocketAddr,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::warn;

use super::{
    NetlinkError,
    links::{self, Link},
};

/// Events come in bursts; what follows within this time is looked at together.
const BURST: Duration = Duration::from_millis(3);
/// A neighbour that does not answer is asked for again this often.
const RETRY: Duration = Duration::from_secs(1);

/// What of the underlay matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchSet {
    /// This node's IPv4 VTEP.
    pub vtep4: Option<Ipv4Addr>,
    /// This node's IPv6 VTEP.
    pub vtep6: Option<Ipv6Addr>,
    /// The remotes.
    pub remotes: BTreeSet<IpAddr>,
    /// The ports of role `uplink`.
    pub uplinks: BTreeSet<String>,
    /// All ports: what an agent has done there is this node's to undo.
    pub ports: BTreeSet<String>,
}

/// Links, and the ways to the remotes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// By remote.
    pub remotes: BTreeMap<IpAddr, Resolution>,
    /// All links of the namespace, by name.
    pub links: BTreeMap<String, Link>,
}

/// Tells the follower what to watch; it ends when this is dropped.
pub struct FollowerHandle(watch::Sender<WatchSet>);

impl FollowerHandle {
    /// Watches something else from now on.
    pub fn set(&self, watched: WatchSet) {
        self.0.send_replace(watched);
    }
}

type Event = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr);
type Events = UnboundedReceiver<Event>;

/// The events of a [`BURST`].
#[derive(Default)]
struct Burst {
    /// Links that went up or down, or whose carrier did, and that are no uplinks: no way to a
    /// remote depends on them. Whoever is at the other end can have that happen a hundred times a
    /// second, and it must not cost looking at everything.
    links: BTreeMap<String, Link>,
    /// Whether there was anything else.
    is_of_more: bool,
}

impl Burst {
    fn take(&mut self, follower: &Follower, (message, _): Event) {
        let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) = message.payload
        else {
            self.is_of_more = true;
            return;
        };
        let link = links::link(message);
        let is_uplink = follower.watched.borrow().uplinks.contains(&link.name);
        let snapshot = follower.snapshots.borrow();
        let before = snapshot.links.get(&link.name);
        if !is_uplink && before.is_some_and(|before| before.differs_by_carrier_alone(&link)) {
            self.links.insert(link.name.clone(), link);
        } else {
            self.is_of_more = true;
        }
    }
}

/// A netlink connection that hears of changes.
struct Connection {
    handle: Handle,
    events: Events,
    nexthops: nexthops::Socket,
    task: JoinHandle<()>,
}

impl Connection {
    fn open() -> io::Result<Self> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
        ];
        let (connection, handle, events) = rtnetlink::new_multicast_connection(&groups)?;
        let nexthops = nexthops::Socket::open()?;
        Ok(Self { handle, events, nexthops, task: tokio::spawn(connection) })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Follows the underlay of the calling thread's network namespace.
pub struct Follower {
    connection: Connection,
    watched: watch::Receiver<WatchSet>,
    snapshots: watch::Sender<Snapshot>,
    /// What the kernel was asked to do for neighbours.
    keeper: Keeper,
    /// Where the neighbours on the ways were last.
    neighbours: Neighbours,
}

impl Follower {
    /// Starts to follow; the first snapshot is there when this returns.
    ///
    /// # Errors
    /// Netlink fails.
    pub async fn spawn(
        watched: WatchSet,
    ) -> Result<(FollowerHandle, watch::Receiver<Snapshot>), NetlinkError> {
        let connection =
            Connection::open().map_err(NetlinkError::while_doing("opening a socket"))?;
        let (set, watched) = watch::channel(watched);
        let (snapshots, receiver) = watch::channel(Snapshot::default());
        let (keeper, neighbours) = (Keeper::default(), Neighbours::new());
        let mut follower = Self { connection, watched, snapshots, keeper, neighbours };
        follower.look(true).await?;
        tokio::spawn(follower.follow());
        Ok((FollowerHandle(set), receiver))
    }

    async fn follow(mut self) {
        let mut retry = interval(RETRY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (mut again, mut burst) = (false, Burst::default());
            tokio::select! {
                event = self.connection.events.next() => match event {
                    Some(event) => burst.take(&self, event),
                    None if self.reopen().await => burst.is_of_more = true,
                    None => return,
                },
                there_are_more = self.connection.nexthops.changed() => {
                    if !there_are_more && !self.reopen().await {
                        return;
                    }
                    burst.is_of_more = true;
                }
                set = self.watched.changed() => {
                    if set.is_err() {
                        return;
                    }
                    burst.is_of_more = true;
                }
                _ = retry.tick() => (again, burst.is_of_more) = (true, true),
            }
            sleep(BURST).await;
            while let Ok(event) = self.connection.events.try_recv() {
                burst.take(&self, event);
            }
            if !burst.is_of_more {
                self.publish(|last| last.links.extend(burst.links));
                continue;
            }
            self.connection.nexthops.drain();
            if let Err(error) = self.look(again).await {
                warn!(%error, "the underlay could not be looked at; trying again");
                if !self.reopen().await {
                    return;
                }
            }
        }
    }

    /// The kernel drops a listener that does not keep up: a new socket, and everything is looked at
    /// anew.
    async fn reopen(&mut self) -> bool {
        sleep(Duration::from_millis(10)).await;
        match Connection::open() {
            Ok(connection) => {
                self.connection = connection;
                true
            }
            Err(error) => {
                warn!(%error, "no netlink socket");
                false
            }
        }
    }

    /// Looks at everything; a snapshot that differs from the last one is published. `again`:
    /// neighbours that did not answer are asked for again.
    async fn look(&mut self, again: bool) -> Result<(), NetlinkError> {
        let watched = self.watched.borrow_and_update().clone();
        let handle = self.connection.handle.clone();
        let (snapshot, table, wanted, neighbours) = self.survey(&watched).await?;
        let ports = snapshot.links.values().filter(|link| watched.ports.contains(&link.name));
        let ports = ports.map(|link| link.ifindex).collect();
        self.keeper.keep(&handle, (&table, &wanted), &ports, again).await?;
        let is_kept = |place: &Wanted| wanted.contains(place) && !self.keeper.is_refused(place);
        self.neighbours = neighbours.into_iter().filter(|(place, _)| is_kept(place)).collect();
        self.publish(|last| *last = snapshot);
        Ok(())
    }

    /// Changes the snapshot; whoever waits for one hears of it if it is another.
    fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        self.snapshots.send_if_modified(|last| {
            let before = last.clone();
            change(last);
            *last != before
        });
    }

    /// What there is, the neighbours, those that the ways need, and where they are; nothing is
    /// changed.
    async fn survey(&self, watched: &WatchSet) -> Result<Surveyed, NetlinkError> {
        let handle = self.connection.handle.clone();
        let links = links::dump(&handle).await?;
        let table = neighbours::list(&handle).await?;
        let neighbours = neighbours::places(&table, &self.neighbours);
        let by_index = links.values().map(|link| (link.ifindex, link.clone())).collect();
        let routes = self.routes(watched).await;
        let nexthops = self.nexthops(&routes).await?;
        let uplinks = &watched.uplinks;
        let context =
            Context { links: &by_index, uplinks, neighbours: &neighbours, nexthops: &nexthops };
        let mut remotes = BTreeMap::new();
        let mut wanted = BTreeSet::new();
        for (remote, route) in routes {
            let resolution = match route {
                Ok(route) => {
                    let (resolution, hops) = resolve(remote, &route, &context);
                    wanted.extend(hops);
                    resolution
                }
                Err(error) => {
                    Resolution { paths: Vec::new(), why_not: vec![format!("no route: {error}")] }
                }
            };
            remotes.insert(remote, resolution);
        }
        Ok((Snapshot { remotes, links }, table, wanted, neighbours))
    }

    /// The routes to all remotes.
    async fn routes(&self, watched: &WatchSet) -> Vec<(IpAddr, Found)> {
        let mut routes = Vec::new();
        for remote in &watched.remotes {
            routes.push((*remote, route(&self.connection.handle, watched, *remote).await));
        }
        routes
    }

    /// The next-hop objects, if one of the routes names any.
    async fn nexthops(&self, routes: &[(IpAddr, Found)]) -> Result<Nexthops, NetlinkError> {
        let mut attributes = routes
            .iter()
            .filter_map(|(_, route)| route.as_ref().ok())
            .flat_map(|route| &route.attributes);
        if attributes.any(|attribute| matches!(attribute, RouteAttribute::NhId(_))) {
            self.connection.nexthops.list().await
        } else {
            Ok(Nexthops::new())
        }
    }
}

/// What there is once, without following it or changing anything.
///
/// # Errors
/// Netlink fails.
pub async fn look(watched: &WatchSet) -> Result<Snapshot, NetlinkError> {
    let connection = Connection::open().map_err(NetlinkError::while_doing("opening a socket"))?;
    let (_, set) = watch::channel(watched.clone());
    let (snapshots, _) = watch::channel(Snapshot::default());
    let (keeper, neighbours) = (Keeper::default(), Neighbours::new());
    let follower = Follower { connection, watched: set, snapshots, keeper, neighbours };
    Ok(follower.survey(watched).await?.0)
}

/// See [`Follower::survey`].
type Surveyed = (Snapshot, neighbours::Table, BTreeSet<Wanted>, Neighbours);

/// A route, or why there is none.
type Found = Result<RouteMessage, rtnetlink::Error>;

/// The route that the kernel's tables have to a remote, with all its next hops.
async fn route(
    handle: &Handle,
    watched: &WatchSet,
    remote: IpAddr,
) -> Result<RouteMessage, rtnetlink::Error> {
    let mut message = RouteMessage::default();
    message.header.flags = RouteFlags::FibMatch;
    let (family, length, destination, source) = match remote {
        IpAddr::V4(v4) => {
            (AddressFamily::Inet, 32, RouteAddress::Inet(v4), watched.vtep4.map(RouteAddress::Inet))
        }
        IpAddr::V6(v6) => (
            AddressFamily::Inet6,
            128,
            RouteAddress::Inet6(v6),
            watched.vtep6.map(RouteAddress::Inet6),
        ),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = length;
    message.attributes.push(RouteAttribute::Destination(destination));
    if let Some(source) = source {
        message.header.source_prefix_length = length;
        message.attributes.push(RouteAttribute::Source(source));
    }
    let mut routes = Box::pin(handle.route().get(message).execute());
    routes.try_next().await?.ok_or(rtnetlink::Error::RequestFailed)
}
