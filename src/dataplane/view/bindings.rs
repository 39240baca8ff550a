//! Who is known to have which address.

use std::net::IpAddr;

use serde::Serialize;
use sillon_abi::{Binding, BindingKey, Claim};

use super::View;
use crate::dataplane::clock::monotonic_ns;
use crate::dataplane::{DataplaneError, names::ip};

/// Who has an address.
#[derive(Debug, Serialize)]
pub struct BindingView {
    /// Its segment's name.
    pub segment: String,
    /// Its segment's VNI.
    pub vni: u32,
    /// The address.
    pub address: IpAddr,
    /// The MAC.
    pub mac: String,
    /// Where it was last claimed, or for whom it is configured: port and encapsulation, or a
    /// remote.
    pub at: String,
    /// Whether it is an IPv6 router's.
    pub router: bool,
    /// Seconds since it was claimed, to about a second; none where it is configured.
    pub age: Option<u64>,
    /// `learned` or `configured`.
    pub state: &'static str,
}

impl View<'_> {
    /// The bindings.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn bindings(&self) -> Result<Vec<BindingView>, DataplaneError> {
        let now = monotonic_ns();
        let view = |key: &BindingKey, binding: &Binding, age, state| BindingView {
            segment: self.names().segment(key.segment),
            vni: self.tables.segments.get(&key.segment).map_or(0, |segment| segment.vni),
            address: ip(key.addr),
            mac: binding.claim.mac.to_string(),
            at: self.names().endpoint(binding.endpoint),
            router: binding.claim.flags & Claim::ROUTER != 0,
            age,
            state,
        };
        let fixed = &self.tables.bindings;
        let mut bindings: Vec<_> =
            fixed.iter().map(|(key, one)| view(key, one, None, "configured")).collect();
        // What is configured counts, also in the moment in which something else is still there.
        for (key, one) in self.maps.bindings()?.iter().filter(|(key, _)| !fixed.contains_key(key)) {
            let age = now.saturating_sub(one.seen) / 1_000_000_000;
            bindings.push(view(key, one, Some(age), "learned"));
        }
        bindings.sort_by(|a, b| (&a.segment, a.address).cmp(&(&b.segment, b.address)));
        Ok(bindings)
    }
}
