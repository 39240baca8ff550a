//! Takes the steps of a diff. Neighbours of one kind are one call, or as few as there are maps to
//! write: nothing in a diff depends on the order of steps of one kind, and the order of the kinds
//! stays as it is. Where one step writes several maps, all of its kind write the first, then all
//! the second: what is written last is written last of all of them.

use std::{collections::BTreeSet, mem::discriminant};

use aya::maps::{
    MapData, MapError,
    xdp::{DevMapHash, XdpMapError},
};
use sillon_abi::{
    Addr, Attachment, DropKey, Drops, FdbUse, MacUse, Meters, PortEntry, Rates, RemoteEntry,
    ScopeKind, map,
};

use super::{Maps, Named, batch, gone};
use crate::dataplane::{
    DataplaneError, barrier,
    diff::{Freshness, Op},
};

/// What the steps of one kind say.
macro_rules! each {
    ($steps:expr, $pattern:pat => $said:expr) => {
        $steps.iter().filter_map(|op| if let $pattern = op { Some($said) } else { None })
    };
}

/// The same as a list.
macro_rules! list {
    ($steps:expr, $pattern:pat => $said:expr) => {
        &each!($steps, $pattern => $said).collect::<Vec<_>>()
    };
}

/// Steps of one kind that each write an entry of one map.
macro_rules! set {
    ($map:expr, $name:expr, $steps:expr, $pattern:pat => $said:expr) => {
        batch::update(&mut $map, each!($steps, $pattern => $said)).named($name)
    };
}

/// Steps of one kind that each remove an entry of one map.
macro_rules! remove {
    ($map:expr, $name:expr, $steps:expr, $pattern:pat => $said:expr) => {
        batch::delete(&mut $map, each!($steps, $pattern => $said)).named($name)
    };
}

/// A step that the kernel refused.
#[derive(Debug)]
pub struct Refused {
    /// The step.
    pub op: Op,
    /// Why.
    pub why: DataplaneError,
}

impl Maps {
    /// Takes the steps in order, and goes on where one is refused: the others are not that one's.
    /// Gives those that were refused.
    pub fn apply_each(&mut self, ops: &[Op]) -> Vec<Refused> {
        let fresh: BTreeSet<u32> = each!(ops, Op::AddFdbUse(uid) => *uid).collect();
        let mut refused = Vec::new();
        for steps in ops.chunk_by(|one, next| discriminant(one) == discriminant(next)) {
            if self.take(steps, &fresh).is_ok() {
                continue;
            }
            // One of them it is, and each of them can be taken again.
            for op in steps {
                if let Err(why) = self.take(std::slice::from_ref(op), &fresh) {
                    refused.push(Refused { op: op.clone(), why });
                }
            }
        }
        refused
    }

    /// Takes the steps in order.
    ///
    /// # Errors
    /// The first that the kernel refuses; those before it are taken, and a diff against what is
    /// read back goes on from there.
    pub fn apply(&mut self, ops: &[Op]) -> Result<(), DataplaneError> {
        let fresh: BTreeSet<u32> = each!(ops, Op::AddFdbUse(uid) => *uid).collect();
        let mut kinds = ops.chunk_by(|one, next| discriminant(one) == discriminant(next));
        kinds.try_for_each(|steps| self.take(steps, &fresh))
    }

    /// Takes steps that are all of one kind; `fresh` are the segments that nobody has learned
    /// anything in yet.
    fn take(&mut self, all: &[Op], fresh: &BTreeSet<u32>) -> Result<(), DataplaneError> {
        let Some(first) = all.first() else { return Ok(()) };
        match first {
            Op::SetLabel(..) => {
                set!(self.labels, map::LABELS, all, Op::SetLabel(uid, label) => (*uid, **label))
            }
            Op::AddFdbUse(_) => self.account_for(list!(all, Op::AddFdbUse(uid) => *uid)),
            Op::SetRemote(..) => {
                self.set_remotes(list!(all, Op::SetRemote(id, addr) => (*id, *addr)))
            }
            Op::SetRates(..) => {
                set!(self.rates, map::RATES, all, Op::SetRates(id, rates) => (*id, **rates))
            }
            Op::SetAttachment(..) => self.set_attachments(all),
            Op::SetFlood(..) => {
                set!(self.flood, map::FLOOD, all, Op::SetFlood(key, endpoint) => (*key, *endpoint))
            }
            Op::SetSegment(..) => {
                set!(self.segments, map::SEGMENTS, all, Op::SetSegment(uid, it) => (*uid, *it))
            }
            Op::SetClass(..) => {
                set!(self.classes, map::CLASSES, all, Op::SetClass(class, id) => (*class, *id))
            }
            Op::SetTunnel(..) => {
                set!(self.tunnels, map::TUNNELS, all, Op::SetTunnel(it) => (it.key, *it))
            }
            Op::SetVni(..) => set!(self.vnis, map::VNIS, all, Op::SetVni(vni, uid) => (*vni, *uid)),
            Op::SetMac(..) => {
                self.set_macs(list!(all, Op::SetMac(key, endpoint) => (*key, *endpoint)), fresh)
            }
            Op::AddPrefix(..) => {
                self.add_prefixes(list!(all, Op::AddPrefix(length, key) => (*length, *key)))
            }
            Op::AddEthertype(_) => {
                set!(self.ethertypes, map::ETHERTYPES, all, Op::AddEthertype(key) => (*key, 0))
            }
            Op::SetBinding(..) => {
                set!(
                    self.fixed_bindings,
                    map::FIXED_BINDINGS,
                    all,
                    Op::SetBinding(key, it) => (*key, *it)
                )
            }
            Op::RemoveClass(_) => {
                remove!(self.classes, map::CLASSES, all, Op::RemoveClass(class) => *class)
            }
            Op::RemoveTunnel(_) => {
                remove!(self.tunnels, map::TUNNELS, all, Op::RemoveTunnel(key) => *key)
            }
            Op::RemoveVni(_) => remove!(self.vnis, map::VNIS, all, Op::RemoveVni(vni) => *vni),
            Op::RemoveAttachment(_) => {
                self.remove_attachments(list!(all, Op::RemoveAttachment(id) => *id))
            }
            Op::RemoveSegment(_) => {
                self.remove_segments(list!(all, Op::RemoveSegment(uid) => *uid))
            }
            Op::RemoveFlood(_) => {
                remove!(self.flood, map::FLOOD, all, Op::RemoveFlood(key) => *key)
            }
            Op::RemoveRemote(_) => {
                self.set_remotes(list!(all, Op::RemoveRemote(id) => (*id, Addr::default())))
            }
            Op::RemoveMac(_) => self.remove_macs(list!(all, Op::RemoveMac(key) => *key)),
            Op::RemovePrefix(..) => {
                self.remove_prefixes(list!(all, Op::RemovePrefix(length, key) => (*length, *key)))
            }
            Op::RemoveEthertype(_) => {
                remove!(self.ethertypes, map::ETHERTYPES, all, Op::RemoveEthertype(key) => *key)
            }
            Op::RemoveBinding(_) => {
                remove!(
                    self.fixed_bindings,
                    map::FIXED_BINDINGS,
                    all,
                    Op::RemoveBinding(key) => *key
                )
            }
            Op::SetNode(_)
            | Op::AddDevice(_)
            | Op::RemoveDevice(_)
            | Op::AddTcDevice(_)
            | Op::RemoveTcDevice(_)
            | Op::SetRecord(..)
            | Op::RemoveRecord(_)
            | Op::SetPort(..)
            | Op::RemovePort(_)
            | Op::AddOwnMac(_)
            | Op::RemoveOwnMac(_)
            | Op::Forget
            | Op::Barrier
            | Op::PurgeFdb(_)
            | Op::PurgeBindings(_) => all.iter().try_for_each(|op| self.take_one(op)),
        }
    }

    /// A step of a kind that there are never many of.
    fn take_one(&mut self, op: &Op) -> Result<(), DataplaneError> {
        match op {
            Op::SetNode(entry) => self.node.set(0, *entry, 0).named(map::NODE),
            // The kernel has no batches of these.
            Op::AddDevice(ifindex) => add_device(&mut self.devices, *ifindex).named(map::DEVICES),
            Op::AddTcDevice(ifindex) => {
                add_device(&mut self.tc_devices, *ifindex).named(map::TC_DEVICES)
            }
            // The kernel removes a device that is gone by itself.
            Op::RemoveDevice(ifindex) => gone(self.devices.remove(*ifindex)).named(map::DEVICES),
            Op::RemoveTcDevice(ifindex) => {
                gone(self.tc_devices.remove(*ifindex)).named(map::TC_DEVICES)
            }
            Op::SetRecord(ifindex, record) => {
                self.count_drops(ScopeKind::Port, *ifindex)?;
                self.records.insert(ifindex, record, 0).named(map::PORT_RECORDS)
            }
            Op::RemoveRecord(ifindex) => {
                self.remove_drops(ScopeKind::Port, [*ifindex])?;
                gone(self.records.remove(ifindex)).named(map::PORT_RECORDS)
            }
            Op::SetPort(ifindex, port) => self.ports.set(*ifindex, *port, 0).named(map::PORTS),
            Op::RemovePort(ifindex) => {
                self.ports.set(*ifindex, PortEntry::default(), 0).named(map::PORTS)
            }
            Op::AddOwnMac(mac) => self.add_own_mac(mac),
            Op::RemoveOwnMac(mac) => gone(self.own_macs.remove(mac)).named(map::OWN_MACS),
            Op::Forget => {
                self.bump_epoch();
                Ok(())
            }
            Op::Barrier => barrier::wait_for_programs(),
            Op::PurgeFdb(endpoints) => self.purge_fdb(endpoints),
            Op::PurgeBindings(endpoints) => self.purge_bindings(endpoints),
            // Of these there are many: `take` has them.
            _ => Ok(()),
        }
    }

    /// Voids all decisions in the flow caches: see `ebpf/src/flow_cache.rs`.
    pub(crate) fn bump_epoch(&self) {
        self.epoch.count_up();
    }

    /// Makes room for what new segments will drop and learn. Nothing was counted there: a uid is
    /// never given out twice.
    pub(super) fn account_for(&mut self, uids: &[u32]) -> Result<(), DataplaneError> {
        let (uids, scope) = (uids.iter().copied(), ScopeKind::Segment as u32);
        let counted = uids.clone().map(|id| (DropKey { scope, id }, Drops::NONE));
        batch::update(&mut self.drops, counted).named(map::DROPS)?;
        let (none, unused) =
            (uids.clone().map(|uid| (uid, 0)), uids.map(|uid| (uid, FdbUse::default())));
        batch::update(&mut self.fdb_removed, none.clone()).named(map::FDB_REMOVED)?;
        batch::update(&mut self.fdb_use, unused.clone()).named(map::FDB_USE)?;
        batch::update(&mut self.binding_removed, none).named(map::BINDING_REMOVED)?;
        batch::update(&mut self.binding_use, unused).named(map::BINDING_USE)
    }

    /// Attachments, those that are new with nothing on their accounts.
    fn set_attachments(&mut self, steps: &[Op]) -> Result<(), DataplaneError> {
        let fresh: Vec<u32> =
            each!(steps, Op::SetAttachment(id, _, Freshness::New) => *id).collect();
        let (ids, scope) = (fresh.iter().copied(), ScopeKind::Attachment as u32);
        let counted = ids.clone().map(|id| (DropKey { scope, id }, Drops::NONE));
        batch::update(&mut self.drops, counted).named(map::DROPS)?;
        batch::zero(&mut self.attachment_counters, &fresh).named(map::ATTACHMENT_COUNTERS)?;
        batch::zero(&mut self.colours, &fresh).named(map::COLOURS)?;
        batch::zero(&mut self.answers, &fresh).named(map::ANSWERS)?;
        batch::update(&mut self.mac_removed, ids.clone().map(|id| (id, 0)))
            .named(map::MAC_REMOVED)?;
        batch::update(&mut self.mac_use, ids.map(|id| (id, MacUse::default())))
            .named(map::MAC_USE)?;
        let all = each!(steps, Op::SetAttachment(id, attachment, _) => (*id, *attachment));
        batch::update(&mut self.attachments, all).named(map::ATTACHMENTS)
    }

    /// Frees ids: last, so that whoever is interrupted finds the attachments again, and takes up
    /// where this was.
    fn remove_attachments(&mut self, ids: &[u32]) -> Result<(), DataplaneError> {
        let all = ids.iter().copied();
        batch::update(&mut self.rates, all.clone().map(|id| (id, Rates::default())))
            .named(map::RATES)?;
        batch::update(&mut self.meters, all.clone().map(|id| (id, Meters::default())))
            .named(map::METERS)?;
        self.remove_drops(ScopeKind::Attachment, all.clone())?;
        batch::update(&mut self.attachments, all.map(|id| (id, Attachment::default())))
            .named(map::ATTACHMENTS)
    }

    /// The segments last, as above.
    fn remove_segments(&mut self, uids: &[u32]) -> Result<(), DataplaneError> {
        let all = uids.iter().copied();
        self.remove_drops(ScopeKind::Segment, all.clone())?;
        batch::delete(&mut self.fdb_use, all.clone()).named(map::FDB_USE)?;
        batch::delete(&mut self.fdb_removed, all.clone()).named(map::FDB_REMOVED)?;
        batch::delete(&mut self.binding_use, all.clone()).named(map::BINDING_USE)?;
        batch::delete(&mut self.binding_removed, all.clone()).named(map::BINDING_REMOVED)?;
        batch::delete(&mut self.labels, all.clone()).named(map::LABELS)?;
        batch::delete(&mut self.segments, all).named(map::SEGMENTS)
    }

    /// Remotes without ways yet; those without an address are none.
    fn set_remotes(&mut self, remotes: &[(u32, Addr)]) -> Result<(), DataplaneError> {
        let ids: Vec<u32> = remotes.iter().map(|(id, _)| *id).collect();
        batch::zero(&mut self.remote_counters, &ids).named(map::REMOTE_COUNTERS)?;
        let entry =
            |(id, addr): &(u32, Addr)| (*id, RemoteEntry { addr: *addr, ..RemoteEntry::default() });
        batch::update(&mut self.remotes, remotes.iter().map(entry)).named(map::REMOTES)
    }
}

fn add_device(devices: &mut DevMapHash<MapData>, ifindex: u32) -> Result<(), MapError> {
    match devices.insert(ifindex, ifindex, None, 0) {
        Err(XdpMapError::MapError(error)) => Err(error),
        // The other failures are of chained programs, which we do not use.
        _ => Ok(()),
    }
}
