//! Other people's IP addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sillon_rig::{
    Frame, Tag,
    frame::{BROADCAST, Macs},
};

use crate::{
    attacks::{
        frames::*,
        lan::{ATTACKER, Keys, Lan, OFF, PEER, Setting, VICTIM},
    },
    common::{PATIENCE, SILENCE, comes, mac, soon, stays_away, v4, v6},
};

const PREFIXES: Keys<'static> =
    &[("prefixes", "[\"10.0.0.2/32\", \"fd00::2/128\", \"192.0.2.0/24\"]")];
const OPEN: Setting<'static> = Setting { encap: None, segment: &[], victim: &[], attacker: OFF };
const GUARDED: Setting<'static> = Setting { attacker: PREFIXES, ..OPEN };

fn to_all() -> Macs {
    Macs { from: mac(ATTACKER), to: BROADCAST }
}

fn ip4(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, host)
}

fn ip6(host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host.into())
}

/// A message that the guard must let through.
fn passes(lan: &Lan, what: &str, frame: &Frame) {
    lan.attacker.send(frame).unwrap();
    assert!(comes(&lan.victim, "attack!"), "{what} is dropped: {:?}", lan.fabric.edges[0].drops());
}

/// RFC 826 believes everybody; "ARP cache poisoning" (S. Whalen, 2001). An answer, a question and a
/// gratuitous announcement (RFC 5227 section 3) each make the victim send to the attacker what is
/// for the peer.
#[test]
fn arp_spoofing() {
    let lan = Lan::new(OPEN);
    let own = mac(ATTACKER);
    let attack = [
        ("an answer", arp(to_all(), 2, (own, ip4(PEER)), ip4(VICTIM))),
        ("a question", arp(to_all(), 1, (own, ip4(PEER)), ip4(VICTIM))),
        ("gratuitous ARP", arp(to_all(), 1, (own, ip4(PEER)), ip4(PEER))),
        ("another's MAC", arp(to_all(), 2, (mac(PEER), ip4(ATTACKER)), ip4(VICTIM))),
        ("somebody's probe", arp(to_all(), 1, (own, Ipv4Addr::UNSPECIFIED), ip4(VICTIM))),
    ];
    lan.is_stopped_by(&attack, OPEN, GUARDED, "arp-spoofed");
    passes(&lan, "an honest question", &arp(to_all(), 1, (own, ip4(ATTACKER)), ip4(VICTIM)));
    passes(
        &lan,
        "an honest answer",
        &arp(to_all(), 2, (own, Ipv4Addr::new(192, 0, 2, 77)), ip4(VICTIM)),
    );
    passes(
        &lan,
        "a probe (RFC 5227 section 2.1.1)",
        &arp(to_all(), 1, (own, Ipv4Addr::UNSPECIFIED), ip4(ATTACKER)),
    );
}

/// CVE-2021-27853 again: ARP inspection is evaded as RA-Guard is.
#[test]
fn arp_spoofing_behind_tags_and_in_llc_snap() {
    let (open, guarded) =
        (Setting { encap: Some("port"), ..OPEN }, Setting { encap: Some("port"), ..GUARDED });
    let lan = Lan::new(open);
    let answer = arp(to_all(), 2, (mac(ATTACKER), ip4(PEER)), ip4(VICTIM));
    let attack = [
        ("one tag", answer.tagged(&[Tag::c(0)])),
        ("three tags", answer.tagged(&[Tag::c(0), Tag::c(0), Tag::c(0)])),
    ];
    lan.is_stopped_by(&attack, open, guarded, "arp-spoofed");
    lan.is_stopped_by(&[("LLC/SNAP", in_snap(&answer, [0; 3], 0))], open, guarded, "wrapped");
}

/// RFC 2827: packets with somebody else's source, for floods and for what trusts addresses.
#[test]
fn source_address_spoofing() {
    let lan = Lan::new(OPEN);
    let udp = |from: IpAddr, to: IpAddr, ports| Frame::udp(to_all(), (from, to), ports, WORD);
    let dhcp_in_fragments = {
        let mut frame = udp([0; 4].into(), [255; 4].into(), (68, 67));
        frame.0[14 + 6] = 0x20;
        frame
    };
    let attack = [
        ("IPv4", udp(v4(PEER), v4(VICTIM), (1, 2))),
        ("IPv6", udp(v6(PEER), v6(VICTIM), (1, 2))),
        ("from nobody", udp([0; 4].into(), v4(VICTIM), (1, 2))),
        ("from nobody over IPv6", udp(Ipv6Addr::UNSPECIFIED.into(), v6(VICTIM), (1, 2))),
        ("from nobody, in fragments", dhcp_in_fragments),
        ("a neighbour's number", udp(v6(3), v6(VICTIM), (1, 2))),
    ];
    lan.is_stopped_by(&attack, OPEN, GUARDED, "address-not-listed");
    passes(&lan, "its own", &udp(v4(ATTACKER), v4(VICTIM), (1, 2)));
    passes(&lan, "one of its prefix", &udp([192, 0, 2, 9].into(), v4(VICTIM), (1, 2)));
    passes(&lan, "its own over IPv6", &udp(v6(ATTACKER), v6(VICTIM), (1, 2)));
    passes(&lan, "a link-local one", &udp(link_local(7).into(), v6(VICTIM), (1, 2)));
    passes(&lan, "a DHCP question", &udp([0; 4].into(), [255; 4].into(), (68, 67)));
}

/// RFC 3756 section 4.1.1: neighbour solicitation and advertisement spoofing; section 4.1.3:
/// keeping others from their addresses by duplicate address detection.
#[test]
fn neighbour_discovery_spoofing() {
    let lan = Lan::new(OPEN);
    let message = |source, message: &[u8]| icmpv6(from_attacker(), source, &[], message);
    let (own, own_mac) = (ip6(ATTACKER), Some(mac(ATTACKER)));
    let attack = [
        ("another's address", message(own, &neighbour(136, ip6(PEER), own_mac))),
        ("another's MAC", message(own, &neighbour(136, own, Some(mac(PEER))))),
        (
            "a question for another's MAC",
            message(own, &neighbour(135, ip6(VICTIM), Some(mac(PEER)))),
        ),
        ("a duplicate", message(Ipv6Addr::UNSPECIFIED, &neighbour(135, ip6(VICTIM), None))),
        (
            "behind an extension header",
            icmpv6(
                from_attacker(),
                own,
                &[options(DESTINATION, 1)],
                &neighbour(136, ip6(PEER), own_mac),
            ),
        ),
    ];
    lan.is_stopped_by(&attack, OPEN, GUARDED, "nd-spoofed");
    let pieces =
        icmpv6(from_attacker(), own, &[fragment(0, true)], &neighbour(136, ip6(PEER), own_mac));
    lan.is_stopped_by(&[("in fragments (RFC 6980)", pieces)], OPEN, GUARDED, "nd-fragment");
    passes(&lan, "an honest answer", &message(own, &neighbour(136, own, own_mac)));
    passes(&lan, "an honest question", &message(own, &neighbour(135, ip6(VICTIM), own_mac)));
    passes(
        &lan,
        "the first of questions",
        &message(Ipv6Addr::UNSPECIFIED, &neighbour(135, own, None)),
    );
    passes(
        &lan,
        "one for a link-local address",
        &message(Ipv6Addr::UNSPECIFIED, &neighbour(135, link_local(9), None)),
    );
}

/// RFC 4861 section 4.5: a redirect names the MAC of whom it sends to. It is a trusted router's
/// word; its own MAC it may not lie about.
#[test]
fn a_routers_redirect_names_another_router() {
    let keys: Keys<'_> = &[("prefixes", "[\"fd00::2/128\"]"), ("trusted", "[\"ra\"]")];
    let lan = Lan::new(OPEN);
    let redirect = |option: u8| {
        let head = [137, 0, 0, 0, 0, 0, 0, 0];
        let (target, destination) = (link_local(PEER).octets(), ip6(9).octets());
        let message = [&head[..], &target, &destination, &[option, 1], &mac(PEER), WORD].concat();
        icmpv6(from_attacker(), link_local(ATTACKER), &[], &message)
    };
    let guarded = Setting { attacker: keys, ..OPEN };
    lan.is_stopped_by(&[("another's MAC as its own", redirect(1))], OPEN, guarded, "nd-spoofed");
    passes(&lan, "another router's MAC", &redirect(2));
}

/// Where link-local addresses are listed, another's are another's.
#[test]
fn spoofing_of_a_listed_link_local_address() {
    let keys: Keys<'_> = &[("prefixes", "[\"fd00::2/128\", \"fe80::2/128\"]")];
    let lan = Lan::new(OPEN);
    let udp = |host| Frame::udp(to_all(), (link_local(host).into(), v6(VICTIM)), (1, 2), WORD);
    lan.is_stopped_by(
        &[("another's", udp(1))],
        OPEN,
        Setting { attacker: keys, ..OPEN },
        "address-not-listed",
    );
    passes(&lan, "its own", &udp(2));
}

/// What an exchange point lets its members send (RFC 7948 section 3 tells why): everything else is
/// somebody's private protocol.
#[test]
fn unknown_ethertypes() {
    let keys: Keys<'_> = &[("ethertypes", "[\"ipv4\", \"arp\", \"ipv6\"]")];
    let lan = Lan::new(OPEN);
    let attack = [
        ("MPLS", Frame::ethertype(to_all(), 0x8847, WORD)),
        ("PPPoE discovery", Frame::ethertype(to_all(), 0x8863, WORD)),
        (
            "Cisco ISL's length",
            Frame::ethertype(to_all(), 60, &[&[0xfe, 0xfe, 3][..], WORD, &[0; 50]].concat()),
        ),
        ("an experiment", Frame::ethertype(to_all(), 0x88b5, WORD)),
    ];
    lan.is_stopped_by(&attack, OPEN, Setting { attacker: keys, ..OPEN }, "ethertype-not-listed");
    passes(&lan, "IPv4", &Frame::udp(to_all(), (v4(ATTACKER), v4(VICTIM)), (1, 2), WORD));
    passes(&lan, "ARP", &arp(to_all(), 1, (mac(ATTACKER), ip4(ATTACKER)), ip4(VICTIM)));
}

/// A list that changes, changes at once, and loses nothing of what it has before and after.
#[test]
fn what_stays_on_a_list_passes_while_it_changes() {
    let lan = Lan::new(GUARDED);
    let frame = |host| Frame::udp(to_all(), (v4(host), v4(VICTIM)), (1, 2), WORD);
    let other: Keys<'_> = &[("prefixes", "[\"10.0.0.2/32\", \"10.0.0.9/32\"]")];
    let stop = std::sync::atomic::AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0_u64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                lan.attacker.send(&frame(ATTACKER)).unwrap();
                sent += 1;
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
            sent
        });
        for _ in 0..5 {
            for keys in [other, OFF, PREFIXES] {
                lan.reload(Setting { attacker: keys, ..OPEN });
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        sender.join().unwrap()
    });
    assert!(sent > 500, "{sent}");
    assert_eq!(lan.dropped("address-not-listed"), 0);
    lan.attacker.send(&frame(9)).unwrap();
    assert!(soon(|| lan.dropped("address-not-listed") == 1));
    lan.victim.drain().unwrap();
    assert!(stays_away(&lan.victim, "attack!"));
}

/// The proxy as a weapon (RFC 9161 section 6.1 warns of it): one false claim, and the fabric itself
/// answers everybody's questions with it, and goes on when the liar is silent. With prefixes the
/// claim is not heard, and where the address is configured nobody's is; the answer is the owner's
/// address, and nobody else hears the question.
#[test]
fn proxy_abuse() {
    const SUPPRESSED: Setting<'static> = Setting { segment: &[("suppress", "true")], ..OPEN };
    const PREFIXES: Keys<'static> = &[("prefixes", "[\"10.0.0.2/32\"]")];
    const BOUND: Keys<'static> = &[("bindings", "[\"10.0.0.3 02:00:00:00:00:03\"]")];
    let lie = arp(to_all(), 2, (mac(ATTACKER), ip4(VICTIM)), ip4(PEER));
    let truth = arp(to_all(), 2, (mac(VICTIM), ip4(VICTIM)), ip4(PEER));
    let question = {
        let mut question = arp(to_all(), 1, (mac(PEER), ip4(PEER)), ip4(VICTIM));
        question.0[..6].copy_from_slice(&BROADCAST);
        question.0[6..12].copy_from_slice(&mac(PEER));
        question
    };
    // Whose address the peer is told.
    let told = |lan: &Lan| {
        lan.peer.drain().unwrap();
        lan.peer.send(&question).unwrap();
        let is_answer = |frame: &Frame| frame.0[12..14] == [8, 6] && frame.0[20..22] == [0, 2];
        let answer = lan.peer.expect(PATIENCE, is_answer).unwrap()?;
        Some(<[u8; 6]>::try_from(&answer.0[22..28]).unwrap())
    };
    let said = |lan: &Lan, victim: bool| {
        let (wire, frame, from) =
            if victim { (&lan.victim, &truth, VICTIM) } else { (&lan.attacker, &lie, ATTACKER) };
        let mut frame = frame.clone();
        frame.0[..6].copy_from_slice(&BROADCAST);
        frame.0[6..12].copy_from_slice(&mac(from));
        wire.send(&frame).unwrap();
        assert!(
            lan.far.expect(PATIENCE, |came| came.0[6..12] == mac(from)).unwrap().is_some()
                || !victim
        );
    };
    let lan = Lan::new(SUPPRESSED);
    lan.introduce();
    said(&lan, true);
    assert_eq!(told(&lan), Some(mac(VICTIM)));
    said(&lan, false);
    assert_eq!(told(&lan), Some(mac(ATTACKER)), "it works without the guard");
    drop(lan);
    let guarded = [
        (Setting { attacker: PREFIXES, ..SUPPRESSED }, true),
        (Setting { victim: BOUND, ..SUPPRESSED }, false),
    ];
    for (setting, lies_are_dropped) in guarded {
        let lan = Lan::new(setting);
        lan.introduce();
        said(&lan, true);
        said(&lan, false);
        assert_eq!(told(&lan), Some(mac(VICTIM)));
        lan.far.drain().unwrap();
        assert_eq!(told(&lan), Some(mac(VICTIM)));
        let asked = lan.far.expect(SILENCE, |frame| frame.0[20..22] == [0, 1]).unwrap();
        assert_eq!(asked, None, "the question goes no further");
        lan.victim_is_reached();
        if lies_are_dropped {
            lan.withstands(&lan.attacker, std::slice::from_ref(&lie));
        }
        assert_eq!(told(&lan), Some(mac(VICTIM)), "however often it is said");
    }
}
