//! The guards against the documents' own sentences, on bytes that are written out here.

use std::collections::BTreeMap;

use sillon_abi::DropReason;
use sillon_rig::NodeFile;

use super::super::{Device, Held, Node, Place, Scope, Verdict, frame::Mac};

const ALL: Mac = [0xff; 6];
const A: Mac = [2, 0, 0, 0, 0, 1];
const B: Mac = [2, 0, 0, 0, 0, 2];
const C: Mac = [2, 0, 0, 0, 0, 3];
const OWN: Mac = [2, 9, 9, 9, 9, 0];

/// A segment with three attachments, one a port; the first has these keys, the segment those.
fn node(service: &str, segment: &[(&str, &str)], first: &[(&str, &str)]) -> Node {
    let file = NodeFile::new("guards", &["10.99.0.1"]).port("p0", "access").port("p1", "access");
    let mut file = file.port("p2", "access").segment("alder", 100, service, &[]);
    for (key, value) in segment {
        file = file.key(key, value);
    }
    file = file.attach("alder", "p0", "port");
    for (key, value) in first {
        file = file.key(key, value);
    }
    file = file.attach("alder", "p1", "untagged");
    if service != "line" {
        file = file.attach("alder", "p2", "untagged");
    }
    let (config, _) = sillon::model::parse("guards", file.text()).unwrap();
    let device = |at: u8| Device { name: format!("p{at}"), mac: [2, 9, 9, 9, 9, at] };
    Node::new(config, (0..3).map(device).collect(), BTreeMap::new())
}

fn from(node: &mut Node, port: usize, dst: Mac, src: Mac, rest: &[u8]) -> Option<DropReason> {
    match node.receive(port, &[&dst[..], &src, rest].concat()) {
        Verdict::Dropped(_, reason) => Some(reason),
        _ => None,
    }
}

/// What becomes of a frame for all with this behind its addresses, at an attachment with these
/// keys.
fn guarded(keys: &[(&str, &str)], rest: &[u8]) -> Option<DropReason> {
    from(&mut node("lan", &[], keys), 0, ALL, A, rest)
}

/// IPv6 from `source` to all nodes, with a chain of headers of eight bytes.
fn ipv6(source: [u8; 16], kinds: &[u8], upper: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet =
        vec![0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, kinds.first().copied().unwrap_or(upper), 255];
    packet.extend(source);
    packet.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    for (at, kind) in kinds.iter().enumerate() {
        let next = kinds.get(at + 1).copied().unwrap_or(upper);
        let more = if *kind == 44 { 1 } else { 0 };
        packet.extend([next, 0, 0, more, 0, 0, 0, 0]);
    }
    packet.extend(payload);
    packet
}

/// fe80::1, fd00::1 and ::.
fn source(head: [u8; 2], last: u8) -> [u8; 16] {
    let mut address = [0; 16];
    [address[0], address[1]] = head;
    address[15] = last;
    address
}

#[test]
fn an_advertisement_is_found_behind_eight_headers_and_dropped_behind_nine() {
    let advertisement = [134, 0, 0, 0];
    let sent =
        |kinds: &[u8]| guarded(&[], &ipv6(source([0xfe, 0x80], 1), kinds, 58, &advertisement));
    assert_eq!(sent(&[]), Some(DropReason::RouterAdvertisement));
    assert_eq!(sent(&[0, 43, 60, 135, 139, 140, 60, 60]), Some(DropReason::RouterAdvertisement));
    assert_eq!(sent(&[60; 9]), Some(DropReason::HeaderChain));
    let trusted = [("trusted", "[\"ra\", \"dhcp\"]")];
    assert_eq!(
        guarded(&trusted, &ipv6(source([0xfe, 0x80], 1), &[60; 9], 58, &advertisement)),
        None
    );
}

#[test]
fn a_first_fragment_says_what_it_is() {
    let fragment =
        |payload: &[u8]| guarded(&[], &ipv6(source([0xfe, 0x80], 1), &[44], 58, payload));
    assert_eq!(fragment(&[]), Some(DropReason::HeadlessFragment));
    assert_eq!(fragment(&[137, 0, 0, 0]), Some(DropReason::IcmpRedirect));
    assert_eq!(fragment(&[128, 0, 0, 0]), None);
}

#[test]
fn a_dhcp_server_is_found_behind_options_and_tags() {
    let ip = |head: u8| {
        [&[head, 0, 0, 40, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 255, 255, 255, 255][..]].concat()
    };
    let plain = [&[8, 0][..], &ip(0x45), &[0, 67, 0, 68]].concat();
    let optional = [&[8, 0][..], &ip(0x46), &[1, 1, 1, 1, 0, 67, 0, 68]].concat();
    assert_eq!(guarded(&[], &plain), Some(DropReason::DhcpServer));
    assert_eq!(guarded(&[], &optional), Some(DropReason::DhcpServer));
    let tagged = |count| [[0x81, 0, 0, 0].repeat(count), plain.clone()].concat();
    assert_eq!(guarded(&[], &tagged(6)), Some(DropReason::DhcpServer));
    assert_eq!(guarded(&[], &tagged(7)), Some(DropReason::Wrapped));
    assert_eq!(guarded(&[("trusted", "[\"dhcp\"]")], &plain), None);
}

#[test]
fn routers_speak_icmp_where_they_are_trusted() {
    let icmp = |keys: &[(&str, &str)], fragment: [u8; 2], message: &[u8]| {
        let ip =
            [0x45, 0, 0, 28, 0, 0, fragment[0], fragment[1], 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        guarded(keys, &[&[8, 0][..], &ip, message].concat())
    };
    let whole = |keys: &[(&str, &str)], kind: u8| icmp(keys, [0, 0], &[kind, 0, 0, 0]);
    let (router, dhcp) = ([("trusted", "[\"ra\"]")], [("trusted", "[\"dhcp\"]")]);
    for (kind, reason) in [(5, DropReason::IcmpRedirect), (9, DropReason::RouterAdvertisement)] {
        assert_eq!(whole(&[], kind), Some(reason));
        assert_eq!(whole(&dhcp, kind), Some(reason));
        assert_eq!(whole(&router, kind), None);
    }
    // Solicitations and echoes are everybody's.
    assert_eq!((whole(&[], 10), whole(&[], 8)), (None, None));
    assert_eq!(icmp(&[], [0x20, 0], &[5, 0]), Some(DropReason::HeadlessFragment));
    assert_eq!(icmp(&[], [0, 1], &[5, 0, 0, 0]), None);
}

#[test]
fn llc_hides_no_packet() {
    let snap = |oui: [u8; 3], number: [u8; 2]| {
        guarded(&[], &[&[0, 50, 0xaa, 0xaa, 3][..], &oui, &number, &[0; 40]].concat())
    };
    assert_eq!(snap([0, 0, 0], [0x86, 0xdd]), Some(DropReason::Wrapped));
    assert_eq!(snap([0, 0, 0xf8], [0x81, 0x00]), Some(DropReason::Wrapped));
    // PVST+ has a number of Cisco's.
    assert_eq!(snap([0, 0, 0x0c], [0x01, 0x0b]), None);
    assert_eq!(guarded(&[], &[0, 50, 0x42, 0x42, 3, 0, 0]), None);
}

#[test]
fn a_list_is_of_what_is_behind_the_tags() {
    let keys = [("ethertypes", "[\"arp\", \"0x8847\"]")];
    assert_eq!(guarded(&keys, &[0x81, 0, 0, 5, 0x88, 0x47, 1]), None);
    assert_eq!(
        guarded(&keys, &[0x81, 0, 0, 5, 0x88, 0x48, 1]),
        Some(DropReason::EthertypeNotListed)
    );
    assert_eq!(guarded(&keys, &[0, 3, 0x42, 0x42, 3]), Some(DropReason::EthertypeNotListed));
}

fn arp(operation: u8, mac: Mac, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    [&[8, 6, 0, 1, 8, 0, 6, 4, 0, operation][..], &mac, &sender, &[0; 6], &target].concat()
}

#[test]
fn arp_speaks_for_the_attachments_own() {
    let keys = [("prefixes", "[\"10.0.0.0/31\"]")];
    let spoofed = Some(DropReason::ArpSpoofed);
    assert_eq!(guarded(&keys, &arp(2, A, [10, 0, 0, 1], [10, 0, 0, 9])), None);
    assert_eq!(guarded(&keys, &arp(2, A, [10, 0, 0, 2], [10, 0, 0, 1])), spoofed);
    assert_eq!(guarded(&keys, &arp(1, B, [10, 0, 0, 1], [10, 0, 0, 9])), spoofed);
    // Probes: RFC 5227.
    assert_eq!(guarded(&keys, &arp(1, A, [0; 4], [10, 0, 0, 1])), None);
    assert_eq!(guarded(&keys, &arp(1, A, [0; 4], [10, 0, 0, 2])), spoofed);
    assert_eq!(guarded(&keys, &arp(2, A, [0; 4], [10, 0, 0, 1])), spoofed);
}

#[test]
fn prefixes_are_of_one_family_and_link_local_ones_everybodys() {
    let from =
        |keys: &str, address| guarded(&[("prefixes", keys)], &ipv6(address, &[], 6, &[0; 20]));
    let mut mapped = source([0, 0], 1);
    [mapped[10], mapped[11], mapped[12]] = [0xff, 0xff, 10];
    assert_eq!(from("[\"10.0.0.0/24\"]", mapped), Some(DropReason::AddressNotListed));
    assert_eq!(from("[\"10.0.0.0/24\"]", source([0xfe, 0x80], 7)), None);
    assert_eq!(
        from("[\"fe80::1/128\"]", source([0xfe, 0x80], 7)),
        Some(DropReason::AddressNotListed)
    );
    let ipv4 = [8, 0, 0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    assert_eq!(guarded(&[("prefixes", "[\"::/0\"]")], &ipv4), Some(DropReason::AddressNotListed));
}

#[test]
fn neighbour_discovery_speaks_for_the_attachments_own() {
    let keys = [("prefixes", "[\"fd00::/64\"]"), ("trusted", "[\"ra\"]")];
    let message = |kind: u8, target: [u8; 16], option: u8, mac: Mac| {
        [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &target, &[option, 1], &mac].concat()
    };
    let sent =
        |source, kinds: &[u8], message: &[u8]| guarded(&keys, &ipv6(source, kinds, 58, message));
    let (own, other, nobody) = (source([0xfd, 0], 1), source([0xfd, 1], 1), source([0, 0], 0));
    assert_eq!(sent(own, &[], &message(136, own, 2, A)), None);
    assert_eq!(sent(own, &[], &message(136, other, 2, A)), Some(DropReason::NdSpoofed));
    assert_eq!(sent(own, &[], &message(136, own, 2, B)), Some(DropReason::NdSpoofed));
    // Solicitations are for others' addresses; without one of its own, for one that it wants.
    assert_eq!(sent(own, &[], &message(135, other, 1, A)), None);
    assert_eq!(sent(nobody, &[], &message(135, own, 14, B)), None);
    assert_eq!(sent(nobody, &[], &message(135, other, 14, B)), Some(DropReason::NdSpoofed));
    assert_eq!(sent(own, &[44], &message(135, own, 1, A)), Some(DropReason::NdFragment));
    assert_eq!(sent(nobody, &[], &[128, 0, 0, 0]), Some(DropReason::AddressNotListed));
    // A redirect names whom it sends to, and is of the router that it says.
    let redirect = |option, mac: Mac| {
        [&[137, 0, 0, 0, 0, 0, 0, 0][..], &own, &other, &[option, 1], &mac].concat()
    };
    assert_eq!(sent(own, &[], &redirect(2, B)), None);
    assert_eq!(sent(own, &[], &redirect(1, B)), Some(DropReason::NdSpoofed));
}

#[test]
fn control_frames_cross_only_a_line_that_tunnels_at_both_ends() {
    let bpdu: [u8; 5] = [0, 3, 0x42, 0x42, 3];
    let group = [1, 0x80, 0xc2, 0, 0, 0];
    let dropped = Some(DropReason::LinkLocalControl);
    assert_eq!(from(&mut node("lan", &[], &[]), 0, group, A, &bpdu), dropped);
    let mut line = node("line", &[], &[("control", "\"tunnel\"")]);
    assert_eq!(from(&mut line, 0, group, A, &bpdu), dropped);
    for attachment in &mut line.config.attachments {
        attachment.guards.control = sillon::model::Control::Tunnel;
    }
    assert_eq!(from(&mut line, 0, group, A, &bpdu), None);
    assert_eq!(from(&mut line, 0, [1, 0, 0x0c, 0xcc, 0xcc, 0xcc], A, &bpdu), None);
    assert_eq!(from(&mut line, 0, group, A, &[0x88, 0x08, 0, 1]), Some(DropReason::MacControl));
}

#[test]
fn configured_addresses_are_nobody_elses() {
    let mut node = node("lan", &[], &[("macs", "[\"02:00:00:00:00:01\"]")]);
    assert_eq!(from(&mut node, 0, ALL, B, &[0x88, 0xb5]), Some(DropReason::MacNotListed));
    assert_eq!(from(&mut node, 1, ALL, A, &[0x88, 0xb5]), Some(DropReason::MacConfigured));
    assert_eq!(from(&mut node, 1, ALL, OWN, &[0x88, 0xb5]), Some(DropReason::SourceIsNode));
    // It need not be seen to be known.
    assert!(matches!(node.receive(1, &[&A[..], &B, &[0x88, 0xb5]].concat()), Verdict::Sent(_)));
    assert_eq!((node.counts.learned(0), node.counts.fdb[&(0, A)].held), (1, Held::Configured));
}

#[test]
fn one_address_more_than_the_limit_is_dropped_or_forwarded_and_not_learned() {
    let mut dropping = node("lan", &[], &[("mac_limit", "1")]);
    assert_eq!(from(&mut dropping, 0, ALL, A, &[0x88, 0xb5]), None);
    assert_eq!(from(&mut dropping, 0, ALL, B, &[0x88, 0xb5]), Some(DropReason::MacLimit));
    let mut forwarding = node("lan", &[], &[("mac_limit", "1"), ("over_limit", "\"forward\"")]);
    assert_eq!(from(&mut forwarding, 0, ALL, A, &[0x88, 0xb5]), None);
    assert_eq!(from(&mut forwarding, 0, ALL, B, &[0x88, 0xb5]), None);
    assert_eq!(forwarding.counts.refused.get(&Scope::Attachment(0)), Some(&1));
    assert!(!forwarding.counts.fdb.contains_key(&(0, B)));
}

#[test]
fn an_address_stays_where_it_is_sticky_and_where_it_moved_once_too_often() {
    let mut node = node("lan", &[("move_limit", "2")], &[("sticky", "true")]);
    assert_eq!(from(&mut node, 0, ALL, A, &[0x88, 0xb5]), None);
    assert_eq!(from(&mut node, 1, ALL, A, &[0x88, 0xb5]), Some(DropReason::MacSticky));
    assert_eq!(from(&mut node, 1, ALL, C, &[0x88, 0xb5]), None);
    assert_eq!(from(&mut node, 2, ALL, C, &[0x88, 0xb5]), None);
    assert_eq!(from(&mut node, 1, ALL, C, &[0x88, 0xb5]), Some(DropReason::MacFrozen));
    assert_eq!(node.counts.fdb[&(0, C)].place, Place::Attachment(2));
    assert_eq!(from(&mut node, 2, ALL, C, &[0x88, 0xb5]), None);
}
