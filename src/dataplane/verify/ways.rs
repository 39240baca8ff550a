//! The ways to remotes: each header is made anew of what it is for, byte by byte, and where the
//! kernel's routes and neighbours are known, so are the next hops.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use sillon_abi::{PathEntry, RemoteEntry, Role};

use super::{Reference, Verifier};
use crate::dataplane::{
    names::ip,
    paths::{NextHop, Vteps, buckets, entry, ways},
};

/// The octets of a header from `at` on.
fn octets<const N: usize>(path: &PathEntry, at: usize) -> [u8; N] {
    let mut octets = [0; N];
    for (index, octet) in octets.iter_mut().enumerate() {
        let place = at + index;
        *octet = path.header[place / 2].to_ne_bytes()[place % 2];
    }
    octets
}

impl Verifier<'_> {
    pub(super) fn ways(&mut self) {
        let live = self.live;
        self.checked("remotes", live.remotes.len());
        self.checked("paths", live.paths.len());
        let mut used = BTreeSet::new();
        for (id, remote) in &live.remotes {
            let address = ip(remote.addr);
            if !self.tables.tunnels.values().any(|tunnel| tunnel.remote == *id) {
                self.violation("remotes", format!("{address} is a remote of no segment"), &[]);
            }
            let ids: BTreeSet<u32> = remote.paths.into_iter().filter(|path| *path != 0).collect();
            for path in &ids {
                match live.paths.get(path) {
                    Some(path) => self.way(address, path),
                    None => self.violation("paths", format!("a way to {address} is missing"), &[]),
                }
            }
            // A place without a way where others have one would lose the flows that fall into it.
            if !ids.is_empty() && remote.paths.contains(&0) {
                self.violation(
                    "remotes",
                    format!("{address}: flows have no way where others have one"),
                    &[],
                );
            }
            used.extend(ids);
        }
        for id in live.paths.keys().filter(|id| !used.contains(id)).copied().collect::<Vec<_>>() {
            self.violation("paths", format!("path {id} is a way to no remote"), &[]);
        }
    }

    /// A header has no byte that its remote, its uplink and its next hop do not give it.
    fn way(&mut self, remote: IpAddr, path: &PathEntry) {
        let out = self.names().port(path.ifindex);
        let Some(port) =
            self.tables.ports.get(&path.ifindex).filter(|port| port.role == Role::Uplink as u8)
        else {
            self.violation(
                "paths",
                format!("a way to {remote} goes out of {out}, which is no uplink"),
                &[],
            );
            return;
        };
        let hop = NextHop {
            ifindex: path.ifindex,
            src_mac: port.mac.octets(),
            dst_mac: octets(path, 0),
            mtu: u32::from(path.mtu),
            weight: 1,
        };
        let vteps = Vteps {
            v4: Some(port.vtep4).filter(|vtep| *vtep != [0; 4]).map(Into::into),
            v6: Some(port.vtep6).filter(|vtep| *vtep != [0; 8]).and_then(|vtep| {
                if let IpAddr::V6(v6) = ip(sillon_abi::Addr(vtep)) { Some(v6) } else { None }
            }),
        };
        let Some(should) = entry(vteps, remote, hop) else {
            let what =
                format!("a way to {remote} goes out of {out}, which has no VTEP of its family");
            self.violation("paths", what, &[]);
            return;
        };
        let destination = match remote {
            IpAddr::V4(remote) => octets::<4>(path, 30) == remote.octets(),
            IpAddr::V6(remote) => octets::<16>(path, 38) == remote.octets(),
        };
        if !destination {
            let what = format!("a way to {remote} has another destination in its header");
            self.violation("paths", what, &[]);
        } else if octets::<6>(path, 6) != port.mac.octets() {
            let what = format!("a way to {remote} is not sent from the MAC of {out}");
            self.violation("paths", what, &[]);
        } else if should != *path {
            let word = path.header.iter().zip(&should.header).position(|(is, should)| is != should);
            let place =
                word.map_or("beside its header".to_owned(), |word| format!("at byte {}", 2 * word));
            let what = format!("a way to {remote} has another header than it should have, {place}");
            self.violation("paths", what, &[]);
        }
    }

    /// Whether the ways are those that the kernel has.
    pub(super) fn hops(&mut self, reference: &Reference) {
        let Some(vteps) = reference.vteps() else { return };
        let by_remote: BTreeMap<IpAddr, &RemoteEntry> =
            self.live.remotes.iter().map(|(_, remote)| (ip(remote.addr), remote)).collect();
        for (remote, entry_of) in by_remote {
            let hops = reference.hops.get(&remote).map_or(&[][..], Vec::as_slice);
            let ways = ways(vteps, remote, hops, &self.tables.ports);
            let ids: BTreeSet<u32> = entry_of.paths.into_iter().filter(|path| *path != 0).collect();
            let is: Vec<&PathEntry> = ids.iter().filter_map(|id| self.live.paths.get(id)).collect();
            if let Some(path) = is.iter().find(|path| ways.iter().all(|(way, _)| way != **path)) {
                let [a, b, c, d, e, f] = octets::<6>(path, 0);
                let out = self.names().port(path.ifindex);
                let what = format!(
                    "a way to {remote} goes to {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} \
                     out of {out}, which is not what the kernel's routes and neighbours say"
                );
                self.violation("paths", what, &[]);
            }
            let mut weights: BTreeMap<u32, u32> = BTreeMap::new();
            for (way, weight) in &ways {
                if let Some(id) = ids.iter().find(|id| self.live.paths.get(id) == Some(way)) {
                    let sum = weights.entry(*id).or_default();
                    *sum = sum.saturating_add(*weight);
                }
            }
            if buckets(&weights) != entry_of.paths {
                let what = format!("{remote}: its flows are not shared by its ways' weights");
                self.violation("remotes", what, &[]);
            }
            if ways.iter().any(|(way, _)| !is.contains(&way)) {
                self.violation(
                    "paths",
                    format!("a way to {remote} that the kernel has is not used"),
                    &[],
                );
            }
        }
    }
}
