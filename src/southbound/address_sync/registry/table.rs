//! Who has which of a segment's addresses, within its limits. MACs and IP addresses are counted
//! each by themselves.

use std::collections::BTreeMap;

use super::{Address, Holder};
use crate::fabric::PortKey;

/// Who has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub port: PortKey,
    /// On which stream it was said last.
    pub stream: u64,
    /// Whose it is, if it is an IP address.
    pub holder: Option<Holder>,
}

/// How many there may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// MACs of the segment, and as many IP addresses.
    pub of_segment: usize,
    /// IP addresses of its attachments on one port: one that is full leaves room for the segment's
    /// others.
    pub bindings_of_port: usize,
}

/// The segment, or a port of it, has as many as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A segment's addresses.
#[derive(Debug, Default)]
pub struct Table {
    claims: BTreeMap<Address, Claim>,
    /// How many IP addresses each port has.
    bindings: BTreeMap<PortKey, usize>,
    /// How many all of them have.
    all_bindings: usize,
}

impl Table {
    pub fn get(&self, address: &Address) -> Option<&Claim> {
        self.claims.get(address)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Address, &Claim)> {
        self.claims.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// Somebody says that it has an address; gives who had it before.
    pub fn claim(
        &mut self,
        address: Address,
        claim: Claim,
        limits: Limits,
    ) -> Result<Option<Claim>, Full> {
        let before = self.claims.get(&address);
        let of_kind = match address {
            Address::Mac(_) => self.claims.len() - self.all_bindings,
            Address::Ip(_) => self.all_bindings,
        };
        if before.is_none() && of_kind >= limits.of_segment {
            return Err(Full);
        }
        let is_ports = before.is_some_and(|before| before.port == claim.port);
        let of_port = self.bindings.get(&claim.port).copied().unwrap_or(0);
        if matches!(address, Address::Ip(_)) && !is_ports && of_port >= limits.bindings_of_port {
            return Err(Full);
        }
        self.count(&address, &claim.port);
        let before = self.claims.insert(address, claim);
        if let Some(before) = &before {
            self.uncount(&address, &before.port);
        }
        Ok(before)
    }

    pub fn remove(&mut self, address: &Address) {
        if let Some(claim) = self.claims.remove(address) {
            self.uncount(address, &claim.port);
        }
    }

    /// Gives the addresses that go.
    pub fn retain(&mut self, mut keep: impl FnMut(&Claim) -> bool) -> Vec<Address> {
        let gone =
            self.claims.iter().filter(|(_, claim)| !keep(claim)).map(|(address, _)| *address);
        let gone: Vec<Address> = gone.collect();
        gone.iter().for_each(|address| self.remove(address));
        gone
    }

    fn count(&mut self, address: &Address, port: &PortKey) {
        if matches!(address, Address::Ip(_)) {
            *self.bindings.entry(port.clone()).or_default() += 1;
            self.all_bindings += 1;
        }
    }

    fn uncount(&mut self, address: &Address, port: &PortKey) {
        if !matches!(address, Address::Ip(_)) {
            return;
        }
        self.all_bindings = self.all_bindings.saturating_sub(1);
        if let Some(count) = self.bindings.get_mut(port) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.bindings.remove(port);
            }
        }
    }
}
