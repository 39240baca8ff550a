//! The proof of isolation, over what a node's maps hold now: every port and tag leads to one
//! segment, every VNI to one, and whatever a segment refers to is its own ([`verify`]); and all of
//! it is what the configuration makes of the node's devices and routes, by the programs of this
//! binary, with nothing before them ([`judge`]). Pure but for [`Live::read`]. The agent judges by
//! the same function, and puts right what it finds.
//!
//! It trusts the programs to do what they say (`tests/with_root/isolation.rs` holds them to it),
//! and nothing of what wrote the maps.

mod accounts;
mod bindings;
mod derived;
mod drops;
mod guards;
mod learned;
mod programs;
mod rates;
mod reference;
mod stack;
mod ways;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sillon_abi::{
    Binding, BindingKey, ClassKey, DropKey, Endpoint, FdbEntry, FdbKey, Meters, PathEntry,
    RemoteEntry, Role, Service,
};

pub use self::reference::{Applied, Reference};

use super::{
    DataplaneError,
    clock::monotonic_ns,
    hooks::Hooks,
    links,
    maps::{
        Maps,
        whole::{Account, Accounts, Balance, Leftover, Misled},
    },
    names::{Names, ip},
    pins::Pins,
    tables::Tables,
};

/// What a violation of the node's own IP stack is of. It is in no map.
pub const STACK: &str = "stack";

/// What a node holds now.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// The configured tables.
    pub tables: Tables,
    /// What was learned.
    pub fdb: Vec<(FdbKey, FdbEntry)>,
    /// What was heard of who has which address.
    pub bindings: Vec<(BindingKey, Binding)>,
    /// The remotes with their paths, by id.
    pub remotes: Vec<(u32, RemoteEntry)>,
    /// The paths, by id.
    pub paths: BTreeMap<u32, PathEntry>,
    /// Ifindexes of the ports whose programs are pinned.
    pub attached: BTreeSet<u32>,
    /// Where drops are counted.
    pub drops: BTreeSet<DropKey>,
    /// Devices under whose number another one is found.
    pub misled: Vec<Misled>,
    /// Slots of arrays that nobody has, and that are not empty.
    pub leftovers: Vec<Leftover>,
    /// Whose share of addresses is how large by its count.
    pub accounts: Accounts,
    /// Those that changed while the addresses were read.
    pub moving: BTreeSet<Account>,
    /// The buckets that were used.
    pub meters: BTreeMap<u32, Meters>,
    /// When that was, in nanoseconds of the kernel's monotonic clock.
    pub now: u64,
    /// What is on the ports.
    pub hooks: Hooks,
}

impl Live {
    /// Reads it all. Not at one blow: what changes meanwhile may look like a violation, and does
    /// not a second time.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn read(maps: &Maps, pins: &Pins) -> Result<Self, DataplaneError> {
        let tables = maps.read()?;
        let ports =
            tables.ports.iter().filter(|(ifindex, port)| links::is_complete(pins, **ifindex, port));
        let attached = ports.map(|(ifindex, _)| *ifindex).collect();
        let before = maps.accounts(&tables.attachments)?;
        let (fdb, bindings) = (maps.fdb()?, maps.bindings()?);
        let accounts = maps.accounts(&tables.attachments)?;
        let moving =
            accounts.iter().filter(|(account, balance)| before.get(account) != Some(balance));
        Ok(Self {
            fdb,
            bindings,
            remotes: maps.remotes()?,
            paths: maps.paths()?.into_iter().collect(),
            attached,
            drops: maps.drop_keys()?,
            misled: maps.misled()?,
            leftovers: maps.leftovers(&tables.attachments)?,
            moving: moving.map(|(account, _)| *account).collect(),
            accounts,
            meters: maps.meters(&tables.attachments)?,
            now: monotonic_ns(),
            hooks: Hooks::read(pins, tables.ports.keys().copied())?,
            tables,
        })
    }

    /// Whether programs count there just now, so that the account can't be held against what was
    /// read before or after it.
    fn is_moving(&self, account: Account) -> bool {
        self.moving.contains(&account)
    }
}

/// Something that is not where it belongs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Violation {
    /// What it is about: a map's contents, in a word.
    pub of: &'static str,
    /// What is wrong.
    pub what: String,
    /// The operators that it concerns, where they are known.
    pub operators: BTreeSet<String>,
}

/// What was checked, and what was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// How many of what.
    pub checked: BTreeMap<&'static str, usize>,
    /// All that is wrong.
    pub violations: Vec<Violation>,
    /// Of that, what applying the same configuration again does not put right by itself.
    #[serde(skip)]
    pub unsound: Unsound,
}

/// What has to be taken out, or made anew.
#[derive(Clone, Debug, Default)]
pub struct Unsound {
    /// Entries of the FDB.
    pub fdb: BTreeSet<FdbKey>,
    /// Bindings that were heard.
    pub bindings: BTreeSet<BindingKey>,
    /// Links that are not on their hooks, by ifindex and kind.
    pub lost: BTreeSet<(u32, &'static str)>,
    /// Ports in whose links are other programs.
    pub replaced: BTreeSet<u32>,
    /// Ports on which others stand before ours.
    pub behind: BTreeSet<u32>,
    /// Accounts: what they say, and how many there are.
    pub accounts: BTreeMap<Account, (Balance, u64)>,
    /// Attachments whose buckets are wrong.
    pub meters: BTreeSet<u32>,
    /// Whether programs are there that do not read the pinned maps: all links are to be made anew.
    pub is_split: bool,
}

/// Checks that what is there keeps the operators apart, whatever it should be.
pub fn verify(live: &Live) -> Report {
    let mut verifier = Verifier::new(live);
    verifier.all();
    verifier.report()
}

/// As [`verify`], and that it is what it should be.
pub fn judge(live: &Live, reference: &Reference) -> Report {
    let mut verifier = Verifier::new(live);
    verifier.all();
    verifier.accounts();
    verifier.meters();
    verifier.programs(reference);
    verifier.derived(reference);
    verifier.hops(reference);
    verifier.stack(reference);
    verifier.report()
}

/// What both of two looks found: programs and underlay change while somebody looks, and nothing
/// that is wrong goes by itself.
pub fn both(first: &Report, mut second: Report) -> Report {
    second.violations.retain(|violation| first.violations.contains(violation));
    second
}

struct Verifier<'a> {
    live: &'a Live,
    tables: &'a Tables,
    /// Where frames of each segment may come from and go to.
    endpoints: BTreeSet<(u32, Endpoint)>,
    unsound: Unsound,
    report: Report,
}

/// Where an endpoint belongs that is not where it should be.
enum Stray {
    /// To another segment.
    To(u32),
    /// To none.
    ToNone,
}

impl<'a> Verifier<'a> {
    fn new(live: &'a Live) -> Self {
        let tables = &live.tables;
        let (unsound, report) = (Unsound::default(), Report::default());
        Self { live, tables, endpoints: tables.endpoints(), unsound, report }
    }

    fn all(&mut self) {
        self.ports();
        self.classes();
        self.attachments();
        self.rates();
        self.segments();
        self.flood_lists();
        self.tunnels();
        self.ways();
        self.fdb();
        self.guards();
        self.bindings();
        self.drops();
    }

    fn report(self) -> Report {
        Report { unsound: self.unsound, ..self.report }
    }

    fn names(&self) -> Names<'a> {
        Names(self.tables)
    }

    fn checked(&mut self, what: &'static str, count: usize) {
        self.report.checked.insert(what, count);
    }

    fn violation(&mut self, of: &'static str, what: String, segments: &[u32]) {
        let operators = segments.iter().map(|uid| self.names().operator(*uid));
        let operators = operators.filter(|operator| !operator.is_empty()).collect();
        self.report.violations.push(Violation { of, what, operators });
    }

    /// Whether a segment may have this endpoint: its own attachment, or a remote that is accepted
    /// as its source.
    fn belongs(&self, endpoint: Endpoint, uid: u32) -> Result<(), Stray> {
        if !endpoint.is_remote() {
            return match self.tables.attachments.get(&endpoint.id()) {
                Some(attachment) if attachment.segment == uid => Ok(()),
                Some(attachment) => Err(Stray::To(attachment.segment)),
                None => Err(Stray::ToNone),
            };
        }
        if self.endpoints.contains(&(uid, endpoint)) { Ok(()) } else { Err(Stray::ToNone) }
    }

    /// Tells of an endpoint that `whose` refers to and that is not of segment `uid`.
    fn expect_own(&mut self, of: &'static str, whose: &str, endpoint: Endpoint, uid: u32) {
        let (segment, endpoint_name) = (self.names().segment(uid), self.names().endpoint(endpoint));
        match self.belongs(endpoint, uid) {
            Ok(()) => {}
            Err(Stray::To(other)) => {
                let what = format!(
                    "{whose} leads to {endpoint_name}, which is of {}",
                    self.names().segment(other)
                );
                self.violation(of, what, &[uid, other]);
            }
            Err(Stray::ToNone) => {
                self.violation(
                    of,
                    format!("{whose} leads to {endpoint_name}, which is not of {segment}"),
                    &[uid],
                );
            }
        }
    }

    fn ports(&mut self) {
        let tables = self.tables;
        self.checked("ports", tables.ports.len());
        for (ifindex, port) in &tables.ports {
            let name = self.names().port(*ifindex);
            let is_known = [Role::Access, Role::Handover, Role::Uplink]
                .iter()
                .any(|role| *role as u8 == port.role);
            if !is_known {
                self.violation(
                    "ports",
                    format!("port {name} has the unknown role {}", port.role),
                    &[],
                );
            }
            if !self.live.attached.contains(ifindex) {
                self.violation("ports", format!("port {name} has no program, or not all"), &[]);
            }
            let (is_device, is_at_tc) = (tables.devices.contains(ifindex), port.is_at_tc());
            if is_device && is_at_tc {
                self.violation(
                    "devices",
                    format!("port {name} is at TC, and XDP would send to it"),
                    &[],
                );
            } else if !is_device && !is_at_tc {
                self.violation("devices", format!("nothing can be sent to port {name}"), &[]);
            }
        }
        for ifindex in tables.ports.keys().filter(|ifindex| !tables.tc_devices.contains(ifindex)) {
            self.violation(
                "tc devices",
                format!("nothing can be sent to port {} at TC", self.names().port(*ifindex)),
                &[],
            );
        }
        let devices = tables.devices.union(&tables.tc_devices);
        for ifindex in devices.filter(|ifindex| !tables.ports.contains_key(ifindex)) {
            let what = format!(
                "{} is no port, and frames could be sent to it",
                self.names().port(*ifindex)
            );
            self.violation("devices", what, &[]);
        }
    }

    fn classes(&mut self) {
        let tables = self.tables;
        self.checked("classes", tables.classes.len());
        for (class, id) in &tables.classes {
            let name = self.names().class(*class);
            match tables.attachments.get(id) {
                Some(attachment) if attachment.class == *class => {}
                Some(attachment) => {
                    let other = self.names().class(attachment.class);
                    let what = format!("the tags of {name} lead to the attachment {other}");
                    self.violation("classes", what, &[attachment.segment]);
                }
                None => self.violation(
                    "classes",
                    format!("the tags of {name} lead to no attachment"),
                    &[],
                ),
            }
            let inside = ClassKey { inner: ClassKey::ANY, ..*class };
            if inside != *class
                && class.outer & ClassKey::S_TAG != 0
                && tables.classes.contains_key(&inside)
            {
                let owners = [*class, inside].map(|class| self.owner(class));
                let what = format!(
                    "{name} is inside {}: one frame has two owners",
                    self.names().class(inside)
                );
                self.violation("classes", what, &owners.into_iter().flatten().collect::<Vec<_>>());
            }
        }
    }

    /// The segment of a class.
    fn owner(&self, class: ClassKey) -> Option<u32> {
        Some(self.tables.attachments.get(self.tables.classes.get(&class)?)?.segment)
    }

    fn attachments(&mut self) {
        let tables = self.tables;
        self.checked("attachments", tables.attachments.len());
        for (id, attachment) in &tables.attachments {
            let (name, uid) = (self.names().class(attachment.class), attachment.segment);
            let whole = tables.ports.get(&attachment.class.ifindex).map_or(0, |port| port.whole);
            if whole != *id && (whole != 0 || tables.classes.get(&attachment.class) != Some(id)) {
                self.violation(
                    "attachments",
                    format!("no frame comes to the attachment {name}"),
                    &[uid],
                );
            }
            if tables
                .ports
                .get(&attachment.class.ifindex)
                .is_none_or(|port| port.role == Role::Uplink as u8)
            {
                let what = format!("the attachment {name} is on no access or handover port");
                self.violation("attachments", what, &[uid]);
            }
            let Some(segment) = tables.segments.get(&uid) else {
                self.violation(
                    "attachments",
                    format!("the attachment {name} is of no segment"),
                    &[uid],
                );
                continue;
            };
            let has = (
                attachment.vni,
                attachment.service,
                attachment.mtu,
                attachment.tos,
                attachment.fdb_limit,
            );
            if has != (segment.vni, segment.service, segment.mtu, segment.tos, segment.fdb_limit) {
                let what = format!(
                    "the attachment {name} treats frames otherwise than its segment {} (VNI, \
                     service, MTU, DSCP or limit)",
                    self.names().segment(uid)
                );
                self.violation("attachments", what, &[uid]);
            }
            self.cross("attachments", &format!("the line from {name}"), attachment.cross, uid);
        }
    }

    /// A `line`'s other point, which only a `line` has.
    fn cross(&mut self, of: &'static str, whose: &str, cross: Endpoint, uid: u32) {
        let is_line = self
            .tables
            .segments
            .get(&uid)
            .is_some_and(|segment| segment.service == Service::Line as u8);
        if is_line && !cross.is_none() {
            self.expect_own(of, whose, cross, uid);
        } else if !is_line && !cross.is_none() {
            self.violation(of, format!("{whose} is in a segment that is no line"), &[uid]);
        }
    }

    fn segments(&mut self) {
        let tables = self.tables;
        self.checked("segments", tables.segments.len());
        self.checked("VNIs", tables.vnis.len());
        let mut lists: BTreeMap<u32, u32> = BTreeMap::new();
        for (uid, segment) in &tables.segments {
            let name = self.names().segment(*uid);
            if !tables.labels.contains_key(uid) {
                self.violation("labels", format!("segment {name} belongs to nobody"), &[*uid]);
            }
            if *uid >= tables.node.next_uid {
                self.violation(
                    "node",
                    format!("the uid {uid} of {name} will be given out again"),
                    &[*uid],
                );
            }
            match tables.vnis.get(&segment.vni) {
                Some(served) if served == uid => {}
                Some(other) => {
                    let what = format!(
                        "VNI {} of {name} means {}",
                        segment.vni,
                        self.names().segment(*other)
                    );
                    self.violation("VNIs", what, &[*uid, *other]);
                }
                None => self.violation(
                    "VNIs",
                    format!("VNI {} of {name} is not served", segment.vni),
                    &[*uid],
                ),
            }
            if let Some(other) = lists.insert(segment.list, *uid).filter(|_| segment.members > 0) {
                let what =
                    format!("{name} and {} have one flood list", self.names().segment(other));
                self.violation("flood lists", what, &[*uid, other]);
            }
        }
        for uid in tables.labels.keys().filter(|uid| !tables.segments.contains_key(uid)) {
            let what = format!("{} has a name and is not there", self.names().segment(*uid));
            self.violation("labels", what, &[*uid]);
        }
        for (vni, uid) in &tables.vnis {
            if tables.segments.get(uid).is_none_or(|segment| segment.vni != *vni) {
                let what = format!(
                    "VNI {vni} means {}, which does not have it",
                    self.names().segment(*uid)
                );
                self.violation("VNIs", what, &[*uid]);
            }
        }
    }

    fn flood_lists(&mut self) {
        let tables = self.tables;
        self.checked("flood list entries", tables.flood.len());
        let points = self.points();
        let mut reached = 0;
        for (uid, segment) in &tables.segments {
            let members = tables.members(segment);
            reached += members.len();
            let whose = format!("the flood of {}", self.names().segment(*uid));
            if members.len() != segment.members as usize {
                self.violation("flood lists", format!("{whose} has gaps"), &[*uid]);
            }
            let reaches: BTreeSet<&Endpoint> = members.iter().collect();
            if reaches.len() != members.len() {
                self.violation(
                    "flood lists",
                    format!("{whose} sends more than one copy to one place"),
                    &[*uid],
                );
            }
            members
                .iter()
                .for_each(|endpoint| self.expect_own("flood lists", &whose, *endpoint, *uid));
            let points = points.get(uid).map_or(&[][..], Vec::as_slice);
            for endpoint in points.iter().filter(|endpoint| !reaches.contains(endpoint)) {
                let what = format!("{whose} leaves out {}", self.names().endpoint(*endpoint));
                self.violation("flood lists", what, &[*uid]);
            }
        }
        if reached != tables.flood.len() {
            let what = format!(
                "{} entries are of no segment's list",
                tables.flood.len().abs_diff(reached)
            );
            self.violation("flood lists", what, &[]);
        }
    }

    /// What the flood of each segment should reach.
    fn points(&self) -> BTreeMap<u32, Vec<Endpoint>> {
        let mut points: BTreeMap<u32, Vec<Endpoint>> = BTreeMap::new();
        for (uid, endpoint) in self.endpoints.iter().copied() {
            let service = self.tables.segments.get(&uid).map_or(0, |segment| segment.service);
            if service != Service::Line as u8 {
                points.entry(uid).or_default().push(endpoint);
            }
        }
        points
    }

    fn tunnels(&mut self) {
        let tables = self.tables;
        self.checked("tunnel sources", tables.tunnels.len());
        for (key, tunnel) in &tables.tunnels {
            let (name, uid) = (format!("VNI {} from {}", key.vni, ip(key.source)), tunnel.segment);
            if tunnel.key != *key {
                self.violation(
                    "tunnel sources",
                    format!("{name} has the entry of another"),
                    &[uid],
                );
            }
            match tables.vnis.get(&key.vni) {
                Some(served) if *served == uid => {}
                served => {
                    let means =
                        served.map_or("nothing".to_owned(), |served| self.names().segment(*served));
                    let what = format!(
                        "{name} leads to {}, and the VNI means {means}",
                        self.names().segment(uid)
                    );
                    let segments: Vec<u32> = [uid].into_iter().chain(served.copied()).collect();
                    self.violation("tunnel sources", what, &segments);
                }
            }
            if tables.remotes.get(&tunnel.remote) != Some(&key.source) {
                let what = format!(
                    "{name} is counted for another remote, {}",
                    self.names().endpoint(Endpoint::remote(tunnel.remote))
                );
                self.violation("tunnel sources", what, &[uid]);
            }
            let treats = tables
                .segments
                .get(&uid)
                .map(|segment| (segment.service, segment.mtu, segment.fdb_limit));
            if treats != Some((tunnel.service, tunnel.mtu, tunnel.fdb_limit)) {
                let what =
                    format!("{name} treats frames otherwise than {}", self.names().segment(uid));
                self.violation("tunnel sources", what, &[uid]);
            }
            self.cross("tunnel sources", &format!("the line from {name}"), tunnel.cross, uid);
        }
    }
}
