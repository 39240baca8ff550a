//! The ways to remotes: from next hops to prebuilt headers, and into the maps.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use sillon_abi::{PATH_BUCKETS, PathEntry, PortEntry, RemoteEntry, Role, V4_OUTER, V6_OUTER};

use super::{DataplaneError, barrier, compile::addr, maps::Maps};

/// A next hop on the way to a remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// The uplink.
    pub ifindex: u32,
    /// The uplink's MAC.
    pub src_mac: [u8; 6],
    /// The neighbour's.
    pub dst_mac: [u8; 6],
    /// Largest layer-3 packet, bytes.
    pub mtu: u32,
    /// Its share, beside the others' weights.
    pub weight: u32,
}

/// The VTEP addresses of this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vteps {
    /// IPv4.
    pub v4: Option<Ipv4Addr>,
    /// IPv6.
    pub v6: Option<Ipv6Addr>,
}

const VXLAN_PORT: u16 = 4789;
/// RFC 7348 leaves the outer TTL open; 64 is what hosts use (RFC 1700).
const TTL: u8 = 64;
const UDP: u8 = 17;
const DONT_FRAGMENT: u16 = 0x4000;
const I_FLAG: u8 = 0x08;

/// The header in front of frames to `remote` by `hop`; none where this node has no VTEP of that
/// family.
pub fn entry(vteps: Vteps, remote: IpAddr, hop: NextHop) -> Option<PathEntry> {
    let mut header = Vec::with_capacity(V6_OUTER);
    header.extend_from_slice(&hop.dst_mac);
    header.extend_from_slice(&hop.src_mac);
    let checksum = match remote {
        IpAddr::V4(remote) => ipv4(&mut header, vteps.v4?, remote),
        IpAddr::V6(remote) => {
            ipv6(&mut header, vteps.v6?, remote);
            0
        }
    };
    // Source port, length and checksum; the kernel half fills in the first two, and the third stays
    // zero (RFC 6935).
    header.extend_from_slice(&[0, 0]);
    header.extend_from_slice(&VXLAN_PORT.to_be_bytes());
    header.extend_from_slice(&[0; 4]);
    header.extend_from_slice(&[I_FLAG, 0, 0, 0, 0, 0, 0, 0]);
    let mut path = PathEntry {
        header_len: u16::try_from(header.len()).ok()?,
        ifindex: hop.ifindex,
        checksum,
        mtu: u16::try_from(hop.mtu).unwrap_or(u16::MAX),
        ..PathEntry::default()
    };
    for (word, pair) in path.header.iter_mut().zip(header.chunks_exact(2)) {
        *word = u16::from_ne_bytes([pair[0], pair[1]]);
    }
    Some(path)
}

/// The headers in front of frames to `remote`, each with its weight: by the next hops that leave by
/// an uplink that is one of the node's `ports`. One that is left out carries nothing back, so it is
/// no way there either.
pub fn ways(
    vteps: Vteps,
    remote: IpAddr,
    hops: &[NextHop],
    ports: &BTreeMap<u32, PortEntry>,
) -> Vec<(PathEntry, u32)> {
    let is_uplink = |hop: &&NextHop| {
        ports.get(&hop.ifindex).is_some_and(|port| port.role == Role::Uplink as u8)
    };
    let hops = hops.iter().filter(is_uplink);
    hops.filter_map(|hop| Some((entry(vteps, remote, *hop)?, hop.weight))).collect()
}

/// Appends ethertype and header; returns the sum of its words (RFC 1071), lengths and TOS zero.
fn ipv4(header: &mut Vec<u8>, source: Ipv4Addr, destination: Ipv4Addr) -> u32 {
    header.extend_from_slice(&0x0800u16.to_be_bytes());
    let start = header.len();
    header.extend_from_slice(&[0x45, 0, 0, 0, 0, 0]);
    header.extend_from_slice(&DONT_FRAGMENT.to_be_bytes());
    header.extend_from_slice(&[TTL, UDP, 0, 0]);
    header.extend_from_slice(&source.octets());
    header.extend_from_slice(&destination.octets());
    header[start..]
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum()
}

fn ipv6(header: &mut Vec<u8>, source: Ipv6Addr, destination: Ipv6Addr) {
    header.extend_from_slice(&0x86ddu16.to_be_bytes());
    header.extend_from_slice(&[0x60, 0, 0, 0, 0, 0, UDP, TTL]);
    header.extend_from_slice(&source.octets());
    header.extend_from_slice(&destination.octets());
}

const _: () = assert!(V4_OUTER < V6_OUTER);

/// Which paths and buckets a node should have, and what they are now.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// New paths, to be written first.
    add: Vec<(u32, PathEntry)>,
    /// Remotes whose buckets change.
    switch: Vec<(u32, RemoteEntry)>,
    /// Paths that nobody uses any more.
    remove: Vec<u32>,
}

/// Shares the buckets among a remote's paths by their weights, in the order of their ids: each gets
/// its part rounded down, and those that lose most by that get one more (of equals the first). So a
/// path with less than a bucket's part may get none.
pub(super) fn buckets(weights: &BTreeMap<u32, u32>) -> [u32; PATH_BUCKETS] {
    const ALL: u64 = PATH_BUCKETS as u64;
    let total: u64 = weights.values().map(|weight| u64::from(*weight)).sum();
    let mut buckets = [0; PATH_BUCKETS];
    if total == 0 {
        return buckets;
    }
    let part = |weight: &u32| (u64::from(*weight) * ALL / total, u64::from(*weight) * ALL % total);
    let mut parts: Vec<(u32, (u64, u64))> =
        weights.iter().map(|(path, weight)| (*path, part(weight))).collect();
    parts.sort_by_key(|(path, (_, rest))| (Reverse(*rest), *path));
    let mut left = ALL - parts.iter().map(|(_, (whole, _))| whole).sum::<u64>();
    for (_, (whole, _)) in &mut parts {
        let more = left.min(1);
        (*whole, left) = (*whole + more, left - more);
    }
    parts.sort_unstable();
    let filled = parts.iter().flat_map(|(path, (count, _))| (0..*count).map(|_| *path));
    for (bucket, path) in buckets.iter_mut().zip(filled) {
        *bucket = path;
    }
    buckets
}

/// What the ways follow from.
#[derive(Clone, Copy, Debug)]
pub struct Underlay<'a> {
    /// This node's VTEPs.
    pub vteps: Vteps,
    /// The next hops of each remote, as the kernel's routes and neighbours say.
    pub hops: &'a BTreeMap<IpAddr, Vec<NextHop>>,
}

fn plan(
    Underlay { vteps, hops }: Underlay<'_>,
    ports: &BTreeMap<u32, PortEntry>,
    remotes: &[(u32, RemoteEntry)],
    paths: &[(u32, PathEntry)],
    room: u32,
) -> Plan {
    let by_addr: BTreeMap<_, _> = hops.iter().map(|(ip, hops)| (addr(*ip), (*ip, hops))).collect();
    let taken: HashSet<u32> = paths.iter().map(|(id, _)| *id).collect();
    let mut free = (1..room).filter(|id| !taken.contains(id));
    // Of equal ones the first. There are as many as remotes, so nothing here looks through all of
    // them for each.
    let mut known: HashMap<PathEntry, u32> =
        paths.iter().rev().map(|(id, path)| (*path, *id)).collect();
    let mut plan = Plan { add: Vec::new(), switch: Vec::new(), remove: Vec::new() };
    let mut used = HashSet::new();
    for (id, remote) in remotes {
        let mut weights = BTreeMap::new();
        if let Some((ip, hops)) = by_addr.get(&remote.addr) {
            for (entry, weight) in ways(vteps, *ip, hops, ports) {
                let path = known.get(&entry).copied().or_else(|| {
                    let path = free.next()?;
                    known.insert(entry, path);
                    plan.add.push((path, entry));
                    Some(path)
                });
                // Without room it is as if there were no such way.
                let Some(path) = path else { continue };
                let sum: &mut u32 = weights.entry(path).or_default();
                *sum = sum.saturating_add(weight);
            }
        }
        used.extend(weights.keys().copied());
        let wanted = RemoteEntry { addr: remote.addr, paths: buckets(&weights) };
        if wanted != *remote {
            plan.switch.push((*id, wanted));
        }
    }
    plan.remove = paths.iter().map(|(id, _)| *id).filter(|id| !used.contains(id)).collect();
    plan
}

/// Brings the ways to remotes into the maps: new headers, then the switch, then, when no program
/// can hold them, the old headers go. Returns how many remotes changed.
///
/// # Errors
/// A map can't be read or written.
pub fn apply(maps: &mut Maps, underlay: Underlay<'_>, room: u32) -> Result<usize, DataplaneError> {
    let ports = maps.ports(&maps.records()?)?;
    let plan = plan(underlay, &ports, &maps.remotes()?, &maps.paths()?, room);
    maps.set_paths(&plan.add)?;
    maps.set_paths_of(&plan.switch)?;
    if !plan.switch.is_empty() || !plan.remove.is_empty() {
        // Programs remember which path is a remote's only one, until they are told.
        maps.bump_epoch();
    }
    if !plan.remove.is_empty() {
        barrier::wait_for_programs()?;
        maps.set_paths(
            &plan.remove.iter().map(|id| (*id, PathEntry::default())).collect::<Vec<_>>(),
        )?;
    }
    Ok(plan.switch.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vteps() -> Vteps {
        Vteps { v4: Some(Ipv4Addr::new(10, 99, 0, 1)), v6: "fd99::1".parse().ok() }
    }

    fn hop(last: u8) -> NextHop {
        NextHop {
            ifindex: 7,
            src_mac: [2, 0, 0, 0, 0, 1],
            dst_mac: [2, 0, 0, 0, 0, last],
            mtu: 1600,
            weight: 1,
        }
    }

    /// The node's only uplink.
    fn ports() -> BTreeMap<u32, PortEntry> {
        BTreeMap::from([(7, PortEntry { role: Role::Uplink as u8, ..PortEntry::default() })])
    }

    fn planned(
        hops: &BTreeMap<IpAddr, Vec<NextHop>>,
        remote: (u32, RemoteEntry),
        paths: &[(u32, PathEntry)],
    ) -> Plan {
        plan(Underlay { vteps: vteps(), hops }, &ports(), &[remote], paths, 64)
    }

    fn bytes(path: &PathEntry) -> Vec<u8> {
        path.header
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .take(path.header_len.into())
            .collect()
    }

    #[test]
    fn the_ipv4_header_is_one_that_etherparse_reads() {
        let path = entry(vteps(), "10.99.0.2".parse().unwrap(), hop(2)).unwrap();
        let bytes = bytes(&path);
        let packet = etherparse::LaxSlicedPacket::from_ethernet(&bytes).unwrap();
        let Some(etherparse::LaxNetSlice::Ipv4(ip)) = packet.net else { panic!("no IPv4") };
        let ip = ip.header();
        assert_eq!((ip.ttl(), ip.dont_fragment(), ip.protocol().0), (64, true, 17));
        assert_eq!(ip.source_addr(), Ipv4Addr::new(10, 99, 0, 1));
        assert_eq!(ip.destination_addr(), Ipv4Addr::new(10, 99, 0, 2));
        assert_eq!(u16::from_be_bytes([bytes[36], bytes[37]]), 4789);
        // With the checksum filled in from the sum, all words add up to 0xffff (RFC 1071).
        let folded = (path.checksum & 0xffff) + (path.checksum >> 16);
        let sum = u32::from(!(folded as u16)) + folded;
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }

    #[test]
    fn a_remote_of_a_family_without_a_vtep_has_no_path() {
        let v6_only = Vteps { v4: None, ..vteps() };
        assert!(entry(v6_only, "10.99.0.2".parse().unwrap(), hop(2)).is_none());
        assert!(entry(v6_only, "fd99::2".parse().unwrap(), hop(2)).is_some());
    }

    #[test]
    fn two_hops_share_the_buckets_and_a_lost_one_leaves_them_to_the_other() {
        let remote: IpAddr = "10.99.0.2".parse().unwrap();
        let unknown = (1, RemoteEntry { addr: addr(remote), ..RemoteEntry::default() });
        let both = planned(&BTreeMap::from([(remote, vec![hop(2), hop(3)])]), unknown, &[]);
        assert_eq!(both.add.len(), 2);
        let [(1, entry)] = both.switch[..] else { panic!("one remote changes") };
        assert_eq!(entry.paths.iter().filter(|path| **path == 1).count(), PATH_BUCKETS / 2);
        let one = planned(&BTreeMap::from([(remote, vec![hop(3)])]), (1, entry), &both.add);
        assert_eq!(one.switch[0].1.paths, [2; PATH_BUCKETS]);
        assert_eq!((one.add.len(), one.remove), (0, vec![1]));
    }

    #[test]
    fn paths_have_their_part_of_the_buckets() {
        let counts = |weights: &[u32]| {
            let ids: BTreeMap<u32, u32> = (1..).zip(weights.iter().copied()).collect();
            let buckets = buckets(&ids);
            let count = |id: &u32| buckets.iter().filter(|path| *path == id).count();
            ids.keys().map(count).collect::<Vec<_>>()
        };
        assert_eq!(counts(&[1, 1]), [8, 8]);
        assert_eq!(counts(&[1, 3]), [4, 12]);
        assert_eq!(counts(&[1, 1, 1]), [6, 5, 5]);
        assert_eq!(counts(&[2, 1, 1]), [8, 4, 4]);
        assert_eq!(counts(&[1, 65536]), [0, 16], "less than half a bucket");
        assert_eq!(counts(&[u32::MAX, u32::MAX]), [8, 8]);
        assert_eq!(counts(&[7]), [16]);
        assert_eq!(counts(&[1; 20]).iter().sum::<usize>(), PATH_BUCKETS);
        assert_eq!(buckets(&BTreeMap::new()), [0; PATH_BUCKETS]);
    }

    proptest::proptest! {
        #[test]
        fn no_path_is_a_bucket_away_from_its_part(
            weights in proptest::collection::vec(1u32..5000, 1..40)
        ) {
            let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            let ids: BTreeMap<u32, u32> = (1..).zip(weights).collect();
            let buckets = buckets(&ids);
            for (id, weight) in ids {
                let count = buckets.iter().filter(|path| **path == id).count() as u64;
                let exact = u64::from(weight) * PATH_BUCKETS as u64;
                assert!((count * total).abs_diff(exact) < total, "{count} of 16 for {weight} of \
                    {total}");
            }
        }
    }

    #[test]
    fn a_way_that_is_there_twice_has_both_weights() {
        let remote: IpAddr = "10.99.0.2".parse().unwrap();
        let unknown = (1, RemoteEntry { addr: addr(remote), ..RemoteEntry::default() });
        let hops = vec![hop(2), NextHop { weight: 2, ..hop(3) }, hop(2)];
        let plan = planned(&BTreeMap::from([(remote, hops)]), unknown, &[]);
        let count = |id| plan.switch[0].1.paths.iter().filter(|path| **path == id).count();
        assert_eq!((plan.add.len(), count(1), count(2)), (2, 8, 8));
    }

    #[test]
    fn a_device_that_is_no_uplink_port_is_no_way() {
        let remote: IpAddr = "10.99.0.2".parse().unwrap();
        let access = PortEntry { role: Role::Access as u8, ..PortEntry::default() };
        let hops = [hop(2), NextHop { ifindex: 8, ..hop(3) }, NextHop { ifindex: 9, ..hop(4) }];
        let ports = ports().into_iter().chain([(8, access)]).collect();
        let ways = ways(vteps(), remote, &hops, &ports);
        assert_eq!(ways, [(entry(vteps(), remote, hop(2)).unwrap(), 1)]);
    }

    #[test]
    fn a_remote_that_is_out_of_reach_has_empty_buckets() {
        let remote: IpAddr = "fd99::2".parse().unwrap();
        let known = (1, RemoteEntry { addr: addr(remote), paths: [5; PATH_BUCKETS] });
        let gone = [(5, PathEntry::default())];
        let plan = planned(&BTreeMap::from([(remote, vec![])]), known, &gone);
        assert_eq!(plan.switch[0].1.paths, [0; PATH_BUCKETS]);
        assert_eq!(plan.remove, [5]);
    }
}
