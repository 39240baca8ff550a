//! What the maps hold, as values: what `compile` makes and what is read back.

use std::collections::{BTreeMap, BTreeSet};

use sillon_abi::{
    Addr, Attachment, Binding, BindingKey, ClassKey, Endpoint, EthertypeKey, FdbKey, FloodKey,
    Guards, Label, Mac, NodeEntry, PortEntry, PortRecord, PrefixKey, Rates, Segment, TunnelEntry,
    TunnelKey,
};

/// The configured tables of a node; not what the programs learn, nor the ways through the underlay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Addresses, and the next ids.
    pub node: NodeEntry,
    /// By ifindex.
    pub ports: BTreeMap<u32, PortEntry>,
    /// By ifindex.
    pub records: BTreeMap<u32, PortRecord>,
    /// Attachment ids by class.
    pub classes: BTreeMap<ClassKey, u32>,
    /// By attachment id.
    pub attachments: BTreeMap<u32, Attachment>,
    /// By attachment id, one of each.
    pub rates: BTreeMap<u32, Rates>,
    /// By segment uid.
    pub segments: BTreeMap<u32, Segment>,
    /// By segment uid.
    pub labels: BTreeMap<u32, Label>,
    /// By VNI and source.
    pub tunnels: BTreeMap<TunnelKey, TunnelEntry>,
    /// Segment uids by VNI.
    pub vnis: BTreeMap<u32, u32>,
    /// By remote id.
    pub remotes: BTreeMap<u32, Addr>,
    /// Flood lists.
    pub flood: BTreeMap<FloodKey, Endpoint>,
    /// Ifindexes that XDP may redirect to.
    pub devices: BTreeSet<u32>,
    /// Ifindexes that TC may redirect to.
    pub tc_devices: BTreeSet<u32>,
    /// Where the configured addresses of each segment are.
    pub macs: BTreeMap<FdbKey, Endpoint>,
    /// The node's own addresses.
    pub own_macs: BTreeSet<Mac>,
    /// Lengths and bits.
    pub prefixes: BTreeSet<(u32, PrefixKey)>,
    /// What attachments with a list may send.
    pub ethertypes: BTreeSet<EthertypeKey>,
    /// Whose the configured addresses of hosts are.
    pub bindings: BTreeMap<BindingKey, Binding>,
}

impl Tables {
    /// The flood list of a segment, in order, as far as it is there: how many there should be may
    /// be any number.
    pub fn members(&self, segment: &Segment) -> Vec<Endpoint> {
        let key = |index| FloodKey { list: segment.list, index };
        self.flood.range(key(0)..key(segment.members)).map(|(_, endpoint)| *endpoint).collect()
    }

    /// Where frames of each segment may come from and go to.
    pub fn endpoints(&self) -> BTreeSet<(u32, Endpoint)> {
        let attached = self
            .attachments
            .iter()
            .map(|(id, attachment)| (attachment.segment, Endpoint::attachment(*id)));
        let tunnelled =
            self.tunnels.values().map(|tunnel| (tunnel.segment, Endpoint::remote(tunnel.remote)));
        attached.chain(tunnelled).collect()
    }

    /// Where it is heard who has which address: those of [`Self::endpoints`] whose segment
    /// suppresses.
    pub fn claimants(&self) -> BTreeSet<(u32, Endpoint)> {
        let hears = |guards: u16| guards & Guards::SUPPRESS != 0;
        let attached = self.attachments.iter().filter(|(_, attachment)| hears(attachment.guards));
        let attached =
            attached.map(|(id, attachment)| (attachment.segment, Endpoint::attachment(*id)));
        let tunnelled = self.tunnels.values().filter(|tunnel| hears(tunnel.guards));
        attached
            .chain(tunnelled.map(|tunnel| (tunnel.segment, Endpoint::remote(tunnel.remote))))
            .collect()
    }
}

/// What the guards list for each attachment, by its id.
#[derive(Debug, Default)]
pub struct Lists {
    /// Configured addresses.
    pub macs: BTreeMap<u32, Vec<Mac>>,
    /// Prefixes, with their lengths.
    pub prefixes: BTreeMap<u32, Vec<(u32, PrefixKey)>>,
    /// Ethertypes.
    pub ethertypes: BTreeMap<u32, Vec<u16>>,
}

impl Lists {
    /// Sorts out what the tables list.
    pub fn of(tables: &Tables) -> Self {
        let mut lists = Self::default();
        for (key, endpoint) in tables.macs.iter().filter(|(_, endpoint)| !endpoint.is_remote()) {
            lists.macs.entry(endpoint.id()).or_default().push(key.mac);
        }
        for (length, key) in &tables.prefixes {
            lists.prefixes.entry(key.attachment()).or_default().push((*length, *key));
        }
        for key in &tables.ethertypes {
            lists.ethertypes.entry(key.attachment).or_default().push(key.ethertype);
        }
        lists
    }
}

/// By how much the ids of flood lists differ, so that each has an interim list.
pub const LIST_STEP: u32 = 2;

/// The list that a segment has on the way to list `id`: those members that it has before and after.
pub const fn interim_list(id: u32) -> u32 {
    id | 1
}

/// A name as the maps keep it, zero-padded. What does not fit is cut: names are checked at the
/// edge.
pub fn padded<const N: usize>(name: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let len = name.len().min(N);
    bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
    bytes
}

/// The name in a zero-padded field.
pub fn unpadded(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What another version, or a stray write, leaves in a map may be any number: it must not be
    /// counted up to.
    #[test]
    fn a_flood_list_ends_where_its_entries_do() {
        let segment = Segment { list: 4, members: u32::MAX, ..Segment::default() };
        let [one, other] = [1, 2].map(Endpoint::attachment);
        let flood = [(4, 0, one), (4, 1, other), (5, 0, one)];
        let flood =
            flood.map(|(list, index, endpoint)| (FloodKey { list, index }, endpoint)).into();
        let tables = Tables { flood, ..Tables::default() };
        assert_eq!(tables.members(&segment), [one, other]);
        assert_eq!(tables.members(&Segment { members: 1, ..segment }), [one]);
        assert_eq!(tables.members(&Segment { members: 0, ..segment }), []);
    }
}
