//! Whether the tables are what the configuration makes of the node's devices: all of it, value by
//! value, by the same [`compile`] that made them. What `compile` takes from what is there (ids,
//! uids, lists) has no other source than the maps; that these are consistent is what the other
//! checks ask.

use std::{collections::BTreeMap, fmt::Debug};

use sillon_abi::{Endpoint, map};

use super::{Reference, Verifier};
use crate::dataplane::{
    compile::compile,
    links::Mode,
    maps::whole::Misled,
    names::ip,
    sizes::Sizes,
    tables::{Tables, unpadded},
};

/// The fields in which two values differ, as `field: is (should be …)`.
fn difference(is: &impl Debug, should: &impl Debug) -> String {
    let (is, should) = (format!("{is:#?}"), format!("{should:#?}"));
    if is.lines().count() != should.lines().count() {
        return format!("it is {is}, and should be {should}");
    }
    let differs = is.lines().zip(should.lines()).filter(|(is, should)| is != should);
    let said = differs.map(|(is, should)| {
        let should = should.trim().trim_end_matches(',');
        let should = should.split_once(": ").map_or(should, |(_, value)| value);
        format!("{} (should be {should})", is.trim().trim_end_matches(','))
    });
    said.collect::<Vec<_>>().join(", ")
}

impl Verifier<'_> {
    pub(super) fn derived(&mut self, reference: &Reference) {
        for Misled { map: name, ifindex, leads_to } in &self.live.misled {
            let (port, to) = (self.names().port(*ifindex), self.names().port(*leads_to));
            let what = match leads_to == ifindex {
                true => {
                    format!("a program of another hand has its say about what is sent to {port}")
                }
                false => format!("what is sent to {port} goes to {to}"),
            };
            self.violation(if *name == map::DEVICES { "devices" } else { "tc devices" }, what, &[]);
        }
        let Some(kept) = &reference.kept else {
            let what = "what the agent applied is not kept beside the maps, or can't be read, so \
                        that they can't be compared with it";
            self.violation("configuration", what.to_owned(), &[]);
            return;
        };
        let node = &self.tables.node;
        if (node.next_uid, node.next_list) != (kept.next_uid, kept.next_list) {
            let what = format!(
                "the next numbers are {} and {}, and the agent would give out {} and {}",
                node.next_uid, node.next_list, kept.next_uid, kept.next_list
            );
            self.violation("node", what, &[]);
        }
        let sizes = Sizes::from(kept.config.node.limits);
        match compile(&kept.config, &reference.devices, self.tables, &sizes) {
            Ok(wanted) => self.compare(&wanted),
            Err(error) => {
                self.violation(
                    "configuration",
                    format!("it can't be what was applied: {error}"),
                    &[],
                );
            }
        }
        self.records(reference, kept.mode);
    }

    fn compare(&mut self, wanted: &Tables) {
        let is = self.tables;
        let (node, should) = (is.node, wanted.node);
        if node.own_macs != should.own_macs {
            self.violation("node", difference(&node, &should), &[]);
        }
        let names = self.names();
        self.table("ports", &is.ports, &wanted.ports, |ifindex| (names.port(*ifindex), vec![]));
        self.table("classes", &is.classes, &wanted.classes, |class| (names.class(*class), vec![]));
        let segment_of = |id: &u32| {
            let one = is.attachments.get(id).or_else(|| wanted.attachments.get(id));
            one.map_or_else(
                || (format!("#{id}"), vec![]),
                |one| (names.class(one.class), vec![one.segment]),
            )
        };
        self.table("attachments", &is.attachments, &wanted.attachments, segment_of);
        self.table("rates", &is.rates, &wanted.rates, segment_of);
        let segment = |uid: &u32| (names.segment(*uid), vec![*uid]);
        self.table("segments", &is.segments, &wanted.segments, segment);
        let said = |labels: &BTreeMap<u32, sillon_abi::Label>| {
            let words = |label: &sillon_abi::Label| {
                // What does not read as it is written is told by its bytes.
                let exact =
                    label.segment.iter().chain(&label.operator).fold(0_u64, |sum, byte| {
                        sum.wrapping_mul(0x100_0000_01b3) ^ u64::from(*byte)
                    });
                (unpadded(&label.segment), unpadded(&label.operator), exact)
            };
            labels.iter().map(|(uid, label)| (*uid, words(label))).collect::<BTreeMap<_, _>>()
        };
        self.table("labels", &said(&is.labels), &said(&wanted.labels), segment);
        self.table("tunnel sources", &is.tunnels, &wanted.tunnels, |key| {
            (format!("VNI {} from {}", key.vni, ip(key.source)), vec![])
        });
        self.table("VNIs", &is.vnis, &wanted.vnis, |vni| (format!("VNI {vni}"), vec![]));
        self.table("remotes", &is.remotes, &wanted.remotes, |id| {
            (names.endpoint(Endpoint::remote(*id)), vec![])
        });
        self.table("flood lists", &is.flood, &wanted.flood, |key| {
            (format!("place {} of list {}", key.index, key.list), vec![])
        });
        let set = |devices: &std::collections::BTreeSet<u32>| {
            devices.iter().map(|one| (*one, ())).collect()
        };
        let devices: [BTreeMap<u32, ()>; 2] = [set(&is.devices), set(&wanted.devices)];
        self.table("devices", &devices[0], &devices[1], |ifindex| (names.port(*ifindex), vec![]));
        let devices: [BTreeMap<u32, ()>; 2] = [set(&is.tc_devices), set(&wanted.tc_devices)];
        self.table("tc devices", &devices[0], &devices[1], |ifindex| {
            (names.port(*ifindex), vec![])
        });
        self.table("configured MACs", &is.macs, &wanted.macs, |key| {
            (format!("{} in {}", key.mac, names.segment(key.segment)), vec![key.segment])
        });
        let own = |tables: &Tables| {
            tables.own_macs.iter().map(|mac| (*mac, ())).collect::<BTreeMap<_, _>>()
        };
        self.table("own MACs", &own(is), &own(wanted), |mac| (mac.to_string(), vec![]));
        let prefixes = |tables: &Tables| {
            tables.prefixes.iter().map(|one| (*one, ())).collect::<BTreeMap<_, _>>()
        };
        self.table("prefixes", &prefixes(is), &prefixes(wanted), |(length, key)| {
            let bits = length.saturating_sub(sillon_abi::PrefixKey::ID_BITS);
            let (name, segments) = segment_of(&key.attachment());
            (format!("{}/{bits} of {name}", ip(key.addr)), segments)
        });
        let types = |tables: &Tables| {
            tables.ethertypes.iter().map(|one| (*one, ())).collect::<BTreeMap<_, _>>()
        };
        self.table("ethertypes", &types(is), &types(wanted), |key| {
            let (name, segments) = segment_of(&key.attachment);
            (format!("{:#06x} of {name}", key.ethertype), segments)
        });
        self.table("configured bindings", &is.bindings, &wanted.bindings, |key| {
            (format!("{} in {}", ip(key.addr), names.segment(key.segment)), vec![key.segment])
        });
    }

    /// One table against what it should be.
    fn table<K: Ord, V: PartialEq + Debug>(
        &mut self,
        of: &'static str,
        is: &BTreeMap<K, V>,
        should: &BTreeMap<K, V>,
        name: impl Fn(&K) -> (String, Vec<u32>),
    ) {
        for (key, value) in is {
            let (name, segments) = match should.get(key) {
                Some(wanted) if wanted == value => continue,
                Some(wanted) => {
                    let (name, segments) = name(key);
                    (
                        format!("{name} is not as configured: {}", difference(value, wanted)),
                        segments,
                    )
                }
                None => {
                    let (name, segments) = name(key);
                    (format!("{name} is there, and not configured"), segments)
                }
            };
            self.violation(of, name, &segments);
        }
        for key in should.keys().filter(|key| !is.contains_key(key)) {
            let (name, segments) = name(key);
            self.violation(of, format!("{name} is configured, and not there"), &segments);
        }
    }

    /// The records are what is known of the devices; what was turned off of their features is for
    /// who flushes the node.
    fn records(&mut self, reference: &Reference, xdp: Mode) {
        for (ifindex, record) in &self.tables.records {
            let name = unpadded(&record.name);
            let device = reference.devices.get(&name).filter(|device| device.ifindex == *ifindex);
            let padded: [u8; 16] = crate::dataplane::tables::padded(&name);
            let Some(device) = device.filter(|_| padded == record.name) else {
                self.violation("records", format!("port {name} is not the device #{ifindex}"), &[]);
                continue;
            };
            let mode = if device.at_tc { Mode::Tc } else { xdp };
            if record.mode != mode.number() {
                self.violation(
                    "records",
                    format!("port {name} is said to be seen to elsewhere than at {mode}"),
                    &[],
                );
            }
        }
        let slots: Vec<(&'static str, u32)> =
            self.live.leftovers.iter().map(|left| (left.map, left.id)).collect();
        for (name, id) in slots {
            let of = if name == map::PORTS { "ports" } else { "free slots" };
            let what = format!("slot {id} of {name} is nobody's, and not empty");
            self.violation(of, what, &[]);
        }
    }
}
