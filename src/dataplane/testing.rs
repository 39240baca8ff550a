//! The maps as values, for tests: what each step of a change does to what is read back of them.

use super::{diff::Op, tables::Tables};

/// Takes a step.
pub fn take(tables: &mut Tables, op: &Op) {
    let Tables { node, ports, records, classes, attachments, segments, labels, .. } = tables;
    match op {
        Op::SetNode(entry) => *node = *entry,
        Op::SetLabel(uid, label) => drop(labels.insert(*uid, **label)),
        Op::SetRemote(id, addr) => drop(tables.remotes.insert(*id, *addr)),
        Op::SetRates(id, rates) => drop(tables.rates.insert(*id, **rates)),
        Op::SetAttachment(id, attachment, _) => drop(attachments.insert(*id, *attachment)),
        Op::SetFlood(key, endpoint) => drop(tables.flood.insert(*key, *endpoint)),
        Op::AddDevice(ifindex) => drop(tables.devices.insert(*ifindex)),
        Op::AddTcDevice(ifindex) => drop(tables.tc_devices.insert(*ifindex)),
        Op::RemoveTcDevice(ifindex) => drop(tables.tc_devices.remove(ifindex)),
        Op::SetRecord(ifindex, record) => drop(records.insert(*ifindex, *record)),
        Op::SetSegment(uid, segment) => drop(segments.insert(*uid, *segment)),
        Op::SetPort(ifindex, port) => drop(ports.insert(*ifindex, *port)),
        Op::SetClass(class, id) => drop(classes.insert(*class, *id)),
        Op::SetTunnel(entry) => drop(tables.tunnels.insert(entry.key, *entry)),
        Op::SetVni(vni, uid) => drop(tables.vnis.insert(*vni, *uid)),
        Op::RemoveClass(class) => drop(classes.remove(class)),
        Op::RemoveTunnel(key) => drop(tables.tunnels.remove(key)),
        Op::RemoveVni(vni) => drop(tables.vnis.remove(vni)),
        Op::RemovePort(ifindex) => drop(ports.remove(ifindex)),
        // No table has what is learned, remembered or under way.
        Op::AddFdbUse(_) | Op::Forget | Op::Barrier | Op::PurgeBindings(_) | Op::PurgeFdb(_) => {}
        Op::RemoveAttachment(id) => {
            attachments.remove(id);
            tables.rates.remove(id);
        }
        Op::RemoveSegment(uid) => {
            segments.remove(uid);
            labels.remove(uid);
        }
        Op::RemoveFlood(key) => drop(tables.flood.remove(key)),
        Op::RemoveRemote(id) => drop(tables.remotes.remove(id)),
        Op::RemoveDevice(ifindex) => drop(tables.devices.remove(ifindex)),
        Op::RemoveRecord(ifindex) => drop(records.remove(ifindex)),
        Op::AddPrefix(length, key) => drop(tables.prefixes.insert((*length, *key))),
        Op::RemovePrefix(length, key) => drop(tables.prefixes.remove(&(*length, *key))),
        Op::AddEthertype(key) => drop(tables.ethertypes.insert(*key)),
        Op::RemoveEthertype(key) => drop(tables.ethertypes.remove(key)),
        Op::SetBinding(key, binding) => drop(tables.bindings.insert(*key, *binding)),
        Op::RemoveBinding(key) => drop(tables.bindings.remove(key)),
        Op::SetMac(key, endpoint) => drop(tables.macs.insert(*key, *endpoint)),
        Op::RemoveMac(key) => drop(tables.macs.remove(key)),
        Op::AddOwnMac(mac) => drop(tables.own_macs.insert(*mac)),
        Op::RemoveOwnMac(mac) => drop(tables.own_macs.remove(mac)),
    }
}
