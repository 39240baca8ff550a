//! The proof of isolation, over what a node's maps hold now and not over what they should hold: every port and tag leads to one
//! segment, every VNI to one, and whatever a segment refers to is its own. Pure but for [`Live::read`].
//!
//! It trusts the programs to do what they say (`tests/isolation.rs` holds them to it), and nothing of what wrote the maps.

mod bindings;
mod drops;
mod guards;
mod rates;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sillon_abi::{
    Binding, BindingKey, ClassKey, DropKey, Exit, FdbEntry, FdbKey, PathEntry, RemoteEntry, Role, Service,
    V4_OUTER, V6_OUTER,
};

use super::{
    DataplaneError, links,
    maps::Maps,
    names::{Names, ip},
    pins::Pins,
    tables::Tables,
};

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
}

impl Live {
    /// Reads it all. Not at one blow: what changes meanwhile may look like a violation, and does not a second time.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn read(maps: &Maps, pins: &Pins) -> Result<Self, DataplaneError> {
        let tables = maps.read()?;
        let ports = tables.ports.iter().filter(|(ifindex, port)| links::is_complete(pins, **ifindex, port));
        let attached = ports.map(|(ifindex, _)| *ifindex).collect();
        let paths = maps.paths()?.into_iter().collect();
        Ok(Self {
            fdb: maps.fdb()?,
            bindings: maps.bindings()?,
            remotes: maps.remotes()?,
            paths,
            attached,
            drops: maps.drop_keys()?,
            tables,
        })
    }
}

/// Something that is not where it belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
}

/// Checks everything.
pub fn verify(live: &Live) -> Report {
    let tables = &live.tables;
    let mut verifier = Verifier { live, tables, exits: tables.exits(), report: Report::default() };
    verifier.ports();
    verifier.classes();
    verifier.attachments();
    verifier.rates();
    verifier.segments();
    verifier.flood_lists();
    verifier.tunnels();
    verifier.ways();
    verifier.fdb();
    verifier.guards();
    verifier.bindings();
    verifier.drops();
    verifier.report
}

struct Verifier<'a> {
    live: &'a Live,
    tables: &'a Tables,
    /// Where frames of each segment may come from and go to.
    exits: BTreeSet<(u32, Exit)>,
    report: Report,
}

/// Where an exit belongs that is not where it should be.
enum Stray {
    /// To another segment.
    To(u32),
    /// To none.
    ToNone,
}

impl<'a> Verifier<'a> {
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

    /// Whether a segment may have this exit: its own attachment, or a remote that is accepted as its source.
    fn belongs(&self, exit: Exit, uid: u32) -> Result<(), Stray> {
        if !exit.is_remote() {
            return match self.tables.attachments.get(&exit.id()) {
                Some(attachment) if attachment.segment == uid => Ok(()),
                Some(attachment) => Err(Stray::To(attachment.segment)),
                None => Err(Stray::ToNone),
            };
        }
        if self.exits.contains(&(uid, exit)) { Ok(()) } else { Err(Stray::ToNone) }
    }

    /// Tells of an exit that `whose` refers to and that is not of segment `uid`.
    fn expect_own(&mut self, of: &'static str, whose: &str, exit: Exit, uid: u32) {
        let (segment, exit_name) = (self.names().segment(uid), self.names().exit(exit));
        match self.belongs(exit, uid) {
            Ok(()) => {}
            Err(Stray::To(other)) => {
                let what =
                    format!("{whose} leads to {exit_name}, which is of {}", self.names().segment(other));
                self.violation(of, what, &[uid, other]);
            }
            Err(Stray::ToNone) => {
                self.violation(
                    of,
                    format!("{whose} leads to {exit_name}, which is not of {segment}"),
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
            let is_known =
                [Role::Access, Role::Handover, Role::Uplink].iter().any(|role| *role as u8 == port.role);
            if !is_known {
                self.violation("ports", format!("port {name} has the unknown role {}", port.role), &[]);
            }
            if !self.live.attached.contains(ifindex) {
                self.violation("ports", format!("port {name} has no program, or not all"), &[]);
            }
            let (is_device, is_at_tc) = (tables.devices.contains(ifindex), port.is_at_tc());
            if is_device && is_at_tc {
                self.violation("devices", format!("port {name} is at TC, and XDP would send to it"), &[]);
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
            let what = format!("{} is no port, and frames could be sent to it", self.names().port(*ifindex));
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
                None => self.violation("classes", format!("the tags of {name} lead to no attachment"), &[]),
            }
            let inside = ClassKey { inner: ClassKey::ANY, ..*class };
            if inside != *class && class.outer & ClassKey::S_TAG != 0 && tables.classes.contains_key(&inside)
            {
                let owners = [*class, inside].map(|class| self.owner(class));
                let what =
                    format!("{name} is inside {}: one frame has two owners", self.names().class(inside));
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
                self.violation("attachments", format!("no frame comes to the attachment {name}"), &[uid]);
            }
            if tables.ports.get(&attachment.class.ifindex).is_none_or(|port| port.role == Role::Uplink as u8)
            {
                let what = format!("the attachment {name} is on no access or handover port");
                self.violation("attachments", what, &[uid]);
            }
            let Some(segment) = tables.segments.get(&uid) else {
                self.violation("attachments", format!("the attachment {name} is of no segment"), &[uid]);
                continue;
            };
            let has =
                (attachment.vni, attachment.service, attachment.mtu, attachment.tos, attachment.fdb_limit);
            if has != (segment.vni, segment.service, segment.mtu, segment.tos, segment.fdb_limit) {
                let what = format!(
                    "the attachment {name} treats frames otherwise than its segment {} (VNI, service, MTU, DSCP or limit)",
                    self.names().segment(uid)
                );
                self.violation("attachments", what, &[uid]);
            }
            self.cross("attachments", &format!("the line from {name}"), attachment.cross, uid);
        }
    }

    /// A `line`'s other point, which only a `line` has.
    fn cross(&mut self, of: &'static str, whose: &str, cross: Exit, uid: u32) {
        let is_line =
            self.tables.segments.get(&uid).is_some_and(|segment| segment.service == Service::Line as u8);
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
                self.violation("node", format!("the uid {uid} of {name} will be given out again"), &[*uid]);
            }
            match tables.vnis.get(&segment.vni) {
                Some(served) if served == uid => {}
                Some(other) => {
                    let what =
                        format!("VNI {} of {name} means {}", segment.vni, self.names().segment(*other));
                    self.violation("VNIs", what, &[*uid, *other]);
                }
                None => {
                    self.violation("VNIs", format!("VNI {} of {name} is not served", segment.vni), &[*uid])
                }
            }
            if let Some(other) = lists.insert(segment.list, *uid).filter(|_| segment.members > 0) {
                let what = format!("{name} and {} have one flood list", self.names().segment(other));
                self.violation("flood lists", what, &[*uid, other]);
            }
        }
        for uid in tables.labels.keys().filter(|uid| !tables.segments.contains_key(uid)) {
            let what = format!("{} has a name and is not there", self.names().segment(*uid));
            self.violation("labels", what, &[*uid]);
        }
        for (vni, uid) in &tables.vnis {
            if tables.segments.get(uid).is_none_or(|segment| segment.vni != *vni) {
                let what = format!("VNI {vni} means {}, which does not have it", self.names().segment(*uid));
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
            let reaches: BTreeSet<&Exit> = members.iter().collect();
            if reaches.len() != members.len() {
                self.violation(
                    "flood lists",
                    format!("{whose} sends more than one copy to one place"),
                    &[*uid],
                );
            }
            members.iter().for_each(|exit| self.expect_own("flood lists", &whose, *exit, *uid));
            let points = points.get(uid).map_or(&[][..], Vec::as_slice);
            for exit in points.iter().filter(|exit| !reaches.contains(exit)) {
                let what = format!("{whose} leaves out {}", self.names().exit(*exit));
                self.violation("flood lists", what, &[*uid]);
            }
        }
        if reached != tables.flood.len() {
            let what = format!("{} entries are of no segment's list", tables.flood.len().abs_diff(reached));
            self.violation("flood lists", what, &[]);
        }
    }

    /// What the flood of each segment should reach.
    fn points(&self) -> BTreeMap<u32, Vec<Exit>> {
        let mut points: BTreeMap<u32, Vec<Exit>> = BTreeMap::new();
        for (uid, exit) in self.exits.iter().copied() {
            let service = self.tables.segments.get(&uid).map_or(0, |segment| segment.service);
            if service != Service::Line as u8 {
                points.entry(uid).or_default().push(exit);
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
                self.violation("tunnel sources", format!("{name} has the entry of another"), &[uid]);
            }
            match tables.vnis.get(&key.vni) {
                Some(served) if *served == uid => {}
                served => {
                    let means = served.map_or("nothing".to_owned(), |served| self.names().segment(*served));
                    let what =
                        format!("{name} leads to {}, and the VNI means {means}", self.names().segment(uid));
                    let segments: Vec<u32> = [uid].into_iter().chain(served.copied()).collect();
                    self.violation("tunnel sources", what, &segments);
                }
            }
            if tables.remotes.get(&tunnel.remote) != Some(&key.source) {
                let what = format!(
                    "{name} is counted for another remote, {}",
                    self.names().exit(Exit::remote(tunnel.remote))
                );
                self.violation("tunnel sources", what, &[uid]);
            }
            let treats =
                tables.segments.get(&uid).map(|segment| (segment.service, segment.mtu, segment.fdb_limit));
            if treats != Some((tunnel.service, tunnel.mtu, tunnel.fdb_limit)) {
                let what = format!("{name} treats frames otherwise than {}", self.names().segment(uid));
                self.violation("tunnel sources", what, &[uid]);
            }
            self.cross("tunnel sources", &format!("the line from {name}"), tunnel.cross, uid);
        }
    }

    fn ways(&mut self) {
        let live = self.live;
        self.checked("remotes", live.remotes.len());
        self.checked("paths", live.paths.len());
        for (id, remote) in &live.remotes {
            let name = ip(remote.addr);
            if !self.tables.tunnels.values().any(|tunnel| tunnel.remote == *id) {
                self.violation("remotes", format!("{name} is a remote of no segment"), &[]);
            }
            let ids: BTreeSet<u32> = remote.paths.into_iter().filter(|path| *path != 0).collect();
            for path in ids {
                match live.paths.get(&path) {
                    Some(path) => self.way(&name.to_string(), path),
                    None => self.violation("paths", format!("a way to {name} is missing"), &[]),
                }
            }
        }
    }

    fn way(&mut self, remote: &str, path: &PathEntry) {
        if destination(path).is_none_or(|to| to != remote) {
            self.violation("paths", format!("a way to {remote} has another destination in its header"), &[]);
        }
        if self.tables.ports.get(&path.ifindex).is_none_or(|port| port.role != Role::Uplink as u8) {
            let out = self.names().port(path.ifindex);
            self.violation("paths", format!("a way to {remote} goes out of {out}, which is no uplink"), &[]);
        }
    }

    fn fdb(&mut self) {
        let live = self.live;
        self.checked("FDB entries", live.fdb.len());
        let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
        for (key, entry) in &live.fdb {
            // What is configured is not of the share.
            *counts.entry(key.segment).or_default() += u32::from(!entry.is_configured());
            let whose = format!("{} in {}", key.mac, self.names().segment(key.segment));
            if !self.tables.segments.contains_key(&key.segment) {
                self.violation("FDB", format!("{whose} is of no segment"), &[key.segment]);
                continue;
            }
            if key.mac.is_group() || key.mac.is_zero() {
                self.violation("FDB", format!("{whose} is no station's address"), &[key.segment]);
            }
            self.expect_own("FDB", &whose, entry.exit, key.segment);
        }
        for (uid, segment) in &self.tables.segments {
            let has = counts.get(uid).copied().unwrap_or(0);
            if has > segment.fdb_limit {
                let name = self.names().segment(*uid);
                let what = format!("{name} has {has} addresses, more than its {}", segment.fdb_limit);
                self.violation("FDB", what, &[*uid]);
            }
        }
    }
}

/// The address that a path's header is for.
fn destination(path: &PathEntry) -> Option<String> {
    let octets = |words: &[u16]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
    match usize::from(path.header_len) {
        V4_OUTER => {
            Some(std::net::IpAddr::from(<[u8; 4]>::try_from(octets(&path.header[15..17])).ok()?).to_string())
        }
        V6_OUTER => {
            Some(std::net::IpAddr::from(<[u8; 16]>::try_from(octets(&path.header[19..27])).ok()?).to_string())
        }
        _ => None,
    }
}
