//! The bindings' part of [`super::verify`]: who answers for an address is of the address's segment,
//! and may have it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use sillon_abi::{Addr, Binding, BindingKey, Claim, Endpoint, Guards, PrefixKey, Service};

use super::Verifier;
use crate::dataplane::{
    names::ip,
    tables::{Lists, Tables},
};

const HEARD: &str = "bindings";
const CONFIGURED: &str = "configured bindings";

impl Verifier<'_> {
    pub(super) fn bindings(&mut self) {
        let (live, tables) = (self.live, self.tables);
        self.checked(HEARD, live.bindings.len());
        self.checked(CONFIGURED, tables.bindings.len());
        let known = Known::new(tables);
        let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
        for (key, binding) in &live.bindings {
            *counts.entry(key.segment).or_default() += 1;
            let before = self.report.violations.len();
            self.binding(HEARD, key, binding, &known);
            if self.report.violations.len() > before {
                self.unsound.bindings.insert(*key);
            }
        }
        for (key, binding) in &tables.bindings {
            self.binding(CONFIGURED, key, binding, &known);
            self.configured(key, binding);
        }
        for (uid, segment) in &tables.segments {
            let has = counts.get(uid).copied().unwrap_or(0);
            if has > segment.fdb_limit {
                let name = self.names().segment(*uid);
                let what =
                    format!("{name} has {has} bindings, more than its {}", segment.fdb_limit);
                self.violation(HEARD, what, &[*uid]);
            }
        }
        self.suppression();
    }

    fn whose(&self, key: &BindingKey) -> String {
        format!("{} in {}", ip(key.addr), self.names().segment(key.segment))
    }

    fn binding(&mut self, of: &'static str, key: &BindingKey, binding: &Binding, known: &Known) {
        let (whose, uid, mac) = (self.whose(key), key.segment, binding.claim.mac);
        if !self.tables.segments.contains_key(&uid) {
            self.violation(of, format!("{whose} is of no segment"), &[uid]);
            return;
        }
        if binding.segment != uid {
            let other = self.names().segment(binding.segment);
            self.violation(
                of,
                format!("{whose} has the entry of {other}"),
                &[uid, binding.segment],
            );
        }
        let known_flags = Claim::ROUTER | Claim::OVERRIDE | Claim::LEAF;
        if binding.claim.flags & !known_flags != 0 || key.pad != 0 || self.is_ahead(binding.seen) {
            let what = format!(
                "{whose} is kept as nobody writes it, or was heard in the future: {binding:?}"
            );
            self.violation(of, what, &[uid]);
        }
        if mac.is_group() || mac.is_zero() {
            self.violation(
                of,
                format!("{whose} is at {mac}, which is no station's address"),
                &[uid],
            );
        }
        self.expect_own(of, &whose, binding.endpoint, uid);
        if self.belongs(binding.endpoint, uid).is_ok()
            && !known.claimants.contains(&(uid, binding.endpoint))
        {
            self.violation(of, format!("{whose} is in a segment that answers nothing"), &[uid]);
        }
        if !known.may_have(binding.endpoint, key.addr) {
            let name = self.names().endpoint(binding.endpoint);
            self.violation(of, format!("{whose} is at {name}, which may not have it"), &[uid]);
        }
    }

    /// A configured one is an attachment's, and a leaf's if that is a leaf: elsewhere, only the
    /// flag says it.
    fn configured(&mut self, key: &BindingKey, binding: &Binding) {
        let whose = self.whose(key);
        if binding.endpoint.is_remote() {
            self.violation(
                CONFIGURED,
                format!("{whose} is configured for a remote"),
                &[key.segment],
            );
            return;
        }
        let Some(attachment) = self.tables.attachments.get(&binding.endpoint.id()) else { return };
        let (is_leafs, is_leaf) = (binding.claim.flags & Claim::LEAF != 0, attachment.leaf != 0);
        if is_leafs != is_leaf {
            let word = |leaf| if leaf { "a leaf" } else { "no leaf" };
            let name = self.names().endpoint(binding.endpoint);
            let what = format!(
                "{whose} is kept as that of {}, and {name} is {}",
                word(is_leafs),
                word(is_leaf)
            );
            self.violation(CONFIGURED, what, &[key.segment]);
        }
    }

    /// All points of a segment listen, or none does; those of a line do not.
    fn suppression(&mut self) {
        let tables = self.tables;
        let points = tables.attachments.values().map(|one| (one.segment, one.service, one.guards));
        let tunnels = tables.tunnels.values().map(|one| (one.segment, one.service, one.guards));
        let mut segments: BTreeMap<u32, bool> = BTreeMap::new();
        for (uid, service, guards) in points.chain(tunnels) {
            let hears = guards & Guards::SUPPRESS != 0;
            let is_line = service == Service::Line as u8;
            if hears && is_line || *segments.entry(uid).or_insert(hears) != hears {
                let what = format!(
                    "the points of {} do not agree on what is answered",
                    self.names().segment(uid)
                );
                self.violation("guards", what, &[uid]);
            }
        }
    }
}

/// What is asked of the tables for each binding.
struct Known {
    claimants: BTreeSet<(u32, Endpoint)>,
    /// Lengths and prefixes, by attachment.
    prefixes: BTreeMap<u32, Vec<(u32, PrefixKey)>>,
}

impl Known {
    fn new(tables: &Tables) -> Self {
        Self { claimants: tables.claimants(), prefixes: Lists::of(tables).prefixes }
    }

    /// Whether an endpoint's prefixes let it have an address; what has none may have any.
    fn may_have(&self, endpoint: Endpoint, addr: Addr) -> bool {
        let prefixes = self.prefixes.get(&endpoint.id()).filter(|_| !endpoint.is_remote());
        let is_in = |(length, key): &(u32, PrefixKey)| {
            let same = (bits(key.addr) ^ bits(addr)).leading_zeros() + PrefixKey::ID_BITS;
            key.is_v4() == addr.is_v4() && same >= *length
        };
        prefixes.is_none_or(|prefixes| prefixes.iter().any(is_in))
    }
}

fn bits(addr: Addr) -> u128 {
    match ip(addr) {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    }
}
