//! Whose a step is that was refused.

use sillon_abi::{Addr, FloodKey, Mac};

use crate::dataplane::{
    diff::Op,
    left_out::Item,
    names::{Names, encap},
    tables::{Tables, interim_list},
};

/// Whether a step only takes something away.
pub const fn removes(op: &Op) -> bool {
    match op {
        Op::RemoveClass(_)
        | Op::RemoveTunnel(_)
        | Op::RemoveVni(_)
        | Op::RemovePort(_)
        | Op::RemoveAttachment(_)
        | Op::RemoveSegment(_)
        | Op::RemoveFlood(_)
        | Op::RemoveRemote(_)
        | Op::RemoveDevice(_)
        | Op::RemoveTcDevice(_)
        | Op::RemoveRecord(_)
        | Op::RemoveMac(_)
        | Op::RemoveOwnMac(_)
        | Op::RemovePrefix(..)
        | Op::RemoveEthertype(_)
        | Op::RemoveBinding(_)
        | Op::Forget
        | Op::Barrier
        | Op::PurgeFdb(_)
        | Op::PurgeBindings(_) => true,
        Op::SetNode(_)
        | Op::SetLabel(..)
        | Op::AddFdbUse(_)
        | Op::SetRemote(..)
        | Op::SetRates(..)
        | Op::SetAttachment(..)
        | Op::SetFlood(..)
        | Op::AddDevice(_)
        | Op::AddTcDevice(_)
        | Op::SetRecord(..)
        | Op::SetSegment(..)
        | Op::SetPort(..)
        | Op::SetClass(..)
        | Op::SetTunnel(_)
        | Op::SetVni(..)
        | Op::SetMac(..)
        | Op::AddOwnMac(_)
        | Op::AddPrefix(..)
        | Op::AddEthertype(_)
        | Op::SetBinding(..) => false,
    }
}

/// What can be left out instead of a step on the way from `old` to `new`; nothing, where it is
/// nobody's or takes something away.
pub fn items(op: &Op, old: &Tables, new: &Tables) -> Vec<Item> {
    let by_id = |id: u32| {
        [new, old].into_iter().find_map(|tables| attachment(tables, id)).into_iter().collect()
    };
    let by_uid =
        |uid: u32| vec![segment(if new.labels.contains_key(&uid) { new } else { old }, uid)];
    match op {
        Op::SetLabel(uid, _) | Op::AddFdbUse(uid) | Op::SetSegment(uid, _) | Op::SetVni(_, uid) => {
            by_uid(*uid)
        }
        Op::SetTunnel(entry) => by_uid(entry.segment),
        Op::SetFlood(key, _) => {
            [new, old].into_iter().flat_map(|tables| by_list(tables, key)).collect()
        }
        Op::SetRemote(id, addr) => by_remote(new, *id, addr),
        Op::SetRates(id, _) | Op::SetAttachment(id, ..) | Op::SetClass(_, id) => by_id(*id),
        Op::SetMac(_, endpoint) => by_id(endpoint.id()),
        Op::AddPrefix(_, key) => by_id(key.attachment()),
        Op::AddEthertype(key) => by_id(key.attachment),
        Op::SetBinding(_, binding) => by_id(binding.endpoint.id()),
        Op::AddDevice(ifindex)
        | Op::AddTcDevice(ifindex)
        | Op::SetRecord(ifindex, _)
        | Op::SetPort(ifindex, _) => {
            vec![Item::Port { port: Names(new).port(*ifindex) }]
        }
        Op::AddOwnMac(mac) => by_mac(new, mac),
        _ => Vec::new(),
    }
}

fn attachment(tables: &Tables, id: u32) -> Option<Item> {
    let entry = tables.attachments.get(&id)?;
    let names = Names(tables);
    let (segment, port) = (names.segment(entry.segment), names.port(entry.class.ifindex));
    Some(Item::Attachment { segment, port, encap: encap(entry.class) })
}

fn segment(tables: &Tables, uid: u32) -> Item {
    Item::Segment { segment: Names(tables).segment(uid) }
}

fn by_list<'a>(tables: &'a Tables, key: &FloodKey) -> impl Iterator<Item = Item> + use<'a> {
    let list = key.list;
    let its = tables
        .segments
        .iter()
        .filter(move |(_, it)| it.list == list || interim_list(it.list) == list);
    its.map(|(uid, _)| segment(tables, *uid))
}

fn by_remote(tables: &Tables, id: u32, addr: &Addr) -> Vec<Item> {
    let its = tables.tunnels.values().filter(|it| it.remote == id || it.key.source == *addr);
    its.map(|tunnel| segment(tables, tunnel.segment)).collect()
}

fn by_mac(tables: &Tables, mac: &Mac) -> Vec<Item> {
    let its = tables.ports.iter().filter(|(_, port)| port.mac == *mac);
    its.map(|(ifindex, _)| Item::Port { port: Names(tables).port(*ifindex) }).collect()
}
