//! Who gives others their addresses and routes without being trusted for it.

use sillon_rig::{
    Frame, Tag,
    frame::{BROADCAST, Macs},
};

use crate::{
    attacks::{
        frames::*,
        lan::{ATTACKER, Lan, OFF, Setting, VICTIM},
    },
    common::{comes, mac, v4, v6},
};

const GUARDED: Setting<'static> = Setting {
    encap: None,
    segment: &[],
    victim: &[("trusted", "[\"dhcp\", \"ra\"]")],
    attacker: &[],
};
const OPEN: Setting<'static> = Setting { attacker: OFF, ..GUARDED };
/// The same with `port` attachments, which carry tags.
const GUARDED_PORT: Setting<'static> = Setting { encap: Some("port"), ..GUARDED };
const OPEN_PORT: Setting<'static> = Setting { encap: Some("port"), ..OPEN };

fn ra(headers: &[Header]) -> Frame {
    icmpv6(from_attacker(), link_local(ATTACKER), headers, &router_advertisement())
}

/// RFC 2131 section 7: "unauthorized DHCP servers may be easily set up".
#[test]
fn rogue_dhcp_server() {
    let lan = Lan::new(OPEN);
    let macs = Macs { from: mac(ATTACKER), to: BROADCAST };
    let offer = Frame::udp(macs, (v4(ATTACKER), [255; 4].into()), (67, 68), WORD);
    let advertise = Frame::udp(from_attacker(), (v6(ATTACKER), v6(VICTIM)), (547, 546), WORD);
    // Not every client asks which port an offer comes from.
    let odd_offer = Frame::udp(macs, (v4(ATTACKER), [255; 4].into()), (1067, 68), WORD);
    let odd_advertise = Frame::udp(from_attacker(), (v6(ATTACKER), v6(VICTIM)), (1547, 546), WORD);
    let attack = [
        ("an offer", offer),
        ("an advertisement", advertise),
        ("an offer from another port", odd_offer),
        ("an advertisement from another port", odd_advertise),
    ];
    lan.is_stopped_by(&attack, OPEN, GUARDED, "dhcp-server");
    // Who is trusted is heard.
    let answer = Frame::udp(
        Macs { from: mac(VICTIM), to: BROADCAST },
        (v4(VICTIM), [255; 4].into()),
        (67, 68),
        b"lease",
    );
    lan.victim.send(&answer).unwrap();
    assert!(comes(&lan.attacker, "lease") && comes(&lan.far, "lease"));
    let question = Frame::udp(macs, (v4(0), [255; 4].into()), (68, 67), b"discover");
    lan.attacker.send(&question).unwrap();
    assert!(comes(&lan.victim, "discover"), "everybody may ask");
}

/// RFC 6104: rogue IPv6 router advertisements; RFC 6105: RA-Guard.
#[test]
fn rogue_router_advertisement() {
    let lan = Lan::new(OPEN);
    lan.is_stopped_by(&[("an advertisement", ra(&[]))], OPEN, GUARDED, "router-advertisement");
    let own = Macs { from: mac(VICTIM), to: ALL_NODES };
    lan.victim.send(&icmpv6(own, link_local(VICTIM), &[], &router_advertisement())).unwrap();
    assert!(
        comes(&lan.attacker, "attack!") && comes(&lan.far, "attack!"),
        "who is trusted is heard"
    );
}

/// RFC 4861 section 11.1: a redirect moves a host's traffic for a destination to its sender.
#[test]
fn rogue_redirect() {
    let lan = Lan::new(OPEN);
    let message = [&[137, 0, 0, 0, 0, 0, 0, 0][..], &[0xfe; 32], WORD].concat();
    let redirect = icmpv6(from_attacker(), link_local(ATTACKER), &[], &message);
    lan.is_stopped_by(&[("a redirect", redirect)], OPEN, GUARDED, "icmp-redirect");
}

/// The same over IPv4 (RFC 792; "Security Problems in the TCP/IP Protocol Suite", S. Bellovin,
/// 1989, warns of redirects), and routers that advertise themselves (RFC 1256 section 7: any node
/// could).
#[test]
fn rogue_icmp_router() {
    let lan = Lan::new(OPEN);
    let icmp = |kind: u8, options: &[u8]| {
        let message = [&[kind, 1, 0, 0, 10, 0, 0, ATTACKER][..], &[0x45; 20], WORD].concat();
        let mut header = etherparse::Ipv4Header::new(
            message.len() as u16,
            64,
            etherparse::IpNumber::ICMP,
            [10, 0, 0, ATTACKER],
            [10, 0, 0, VICTIM],
        )
        .unwrap();
        header.options = options.try_into().unwrap();
        header.set_payload_len(message.len()).unwrap();
        header.header_checksum = header.calc_header_checksum();
        Frame::ethertype(from_attacker(), 0x0800, &[&header.to_bytes()[..], &message].concat())
    };
    let mut first = icmp(5, &[]);
    first.0[14 + 6] = 0x20;
    let attack =
        [("a redirect", icmp(5, &[])), ("behind options", icmp(5, &[1; 8])), ("a fragment", first)];
    lan.is_stopped_by(&attack, OPEN, GUARDED, "icmp-redirect");
    lan.is_stopped_by(&[("an advertisement", icmp(9, &[]))], OPEN, GUARDED, "router-advertisement");
    for kind in [8, 10, 3] {
        lan.attacker.send(&icmp(kind, &[])).unwrap();
        assert!(comes(&lan.victim, "attack!"), "everybody may ask, and report errors: {kind}");
    }
}

/// RFC 7113 section 2.1, figure 1 and 2: an advertisement behind extension headers, which a guard
/// that looks at the first "next header" alone lets through.
#[test]
fn router_advertisement_behind_extension_headers() {
    let lan = Lan::new(OPEN);
    let attack = [
        ("destination options", ra(&[options(DESTINATION, 1)])),
        ("hop-by-hop options", ra(&[options(HOP_BY_HOP, 2)])),
        ("long options", ra(&[options(DESTINATION, 100)])),
        ("a routing header", ra(&[options(ROUTING, 1)])),
        ("eight headers", ra(&vec![options(DESTINATION, 1); 8])),
        ("an atomic fragment", ra(&[options(HOP_BY_HOP, 1), fragment(0, false)])),
        ("a first fragment", ra(&[fragment(0, true)])),
    ];
    lan.is_stopped_by(&attack, OPEN, GUARDED, "router-advertisement");
    let attack = [("nine headers", ra(&vec![options(DESTINATION, 1); 9]))];
    lan.is_stopped_by(&attack, OPEN, GUARDED, "header-chain");
}

/// RFC 7113 section 2.2, figure 3, and RFC 6980: a first fragment that ends before it is known that
/// it carries an advertisement. The others pass, and are of no use without it.
#[test]
fn router_advertisement_in_fragments() {
    let lan = Lan::new(OPEN);
    let whole = ra(&[fragment(0, true), options(DESTINATION, 4)]);
    let upto = |behind: usize| Frame(whole.0[..14 + 40 + 8 + behind].to_vec());
    let marked = |frame: Frame| {
        // The receiver tells it by its source, as the word is in the other fragment.
        let mut bytes = frame.0;
        bytes[6..12].copy_from_slice(&mac(ATTACKER));
        Frame(bytes)
    };
    let heads = [marked(upto(8)), marked(upto(0)), marked(upto(32))];
    for head in &heads {
        lan.attacker.send(head).unwrap();
        assert!(lan.victim.expect(crate::common::PATIENCE, |came| came == head).unwrap().is_some());
    }
    lan.reload(GUARDED);
    lan.introduce();
    for head in &heads {
        lan.attacker.send(head).unwrap();
    }
    assert!(
        crate::common::soon(|| lan.dropped("headless-fragment") == 3),
        "{:?}",
        lan.fabric.edges[0].drops()
    );
    let rest = icmpv6(
        from_attacker(),
        link_local(ATTACKER),
        &[fragment(4, false)],
        &router_advertisement(),
    );
    lan.withstands(&lan.attacker, &heads);
    lan.victim.drain().unwrap();
    lan.attacker.send(&rest).unwrap();
    let came =
        lan.victim.expect(crate::common::PATIENCE, |came| came.0[6..12] == mac(ATTACKER)).unwrap();
    assert_eq!(came, Some(rest), "the rest comes alone");
    lan.victim_is_reached();
}

/// An offer of the attacker's, broadcast.
fn offer() -> Frame {
    let macs = Macs { from: mac(ATTACKER), to: BROADCAST };
    Frame::udp(macs, (v4(ATTACKER), [255; 4].into()), (67, 68), WORD)
}

/// The same over IPv4: a first fragment with the ports in it, and one without.
#[test]
fn dhcp_offer_in_fragments() {
    let lan = Lan::new(OPEN);
    let mut first = offer();
    first.0[14 + 6] = 0x20;
    lan.is_stopped_by(&[("the first fragment", first.clone())], OPEN, GUARDED, "dhcp-server");
    let head = Frame(first.0[..14 + 20].to_vec());
    lan.reload(OPEN);
    lan.attacker.send(&head).unwrap();
    assert!(lan.victim.expect(crate::common::PATIENCE, |came| *came == head).unwrap().is_some());
    lan.reload(GUARDED);
    lan.withstands(&lan.attacker, std::slice::from_ref(&head));
    assert!(crate::common::soon(|| lan.dropped("headless-fragment") == 100));
}

/// Length fields that lie, and IP options in front of the ports (RFC 7126 section 2 has what
/// filters made of them): clients read on all the same, and a guard that gives up there is none.
#[test]
fn dhcp_offer_with_bad_length_fields_and_ip_options() {
    let lan = Lan::new(OPEN);
    let lie = |at: usize, bytes: &[u8]| {
        let mut frame = offer();
        frame.0[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let mut behind_options = offer();
    behind_options.0.splice(34..34, [1; 40]);
    behind_options.0[14] = 0x4f;
    let attack = [
        ("no total length", lie(16, &[0, 0])),
        ("too long a total length", lie(16, &[0xff, 0xff])),
        ("no UDP length", lie(38, &[0, 0])),
        ("too long a UDP length", lie(38, &[0xff, 0xff])),
        ("another version", lie(14, &[0x65])),
        ("as many options as there can be", behind_options),
    ];
    lan.is_stopped_by(&attack, OPEN, GUARDED, "dhcp-server");
    // The same of an advertisement over IPv6, and in a jumbogram (RFC 2675), whose length is
    // elsewhere.
    let length = |bytes: [u8; 2]| {
        let mut frame = ra(&[]);
        frame.0[18..20].copy_from_slice(&bytes);
        frame
    };
    let mut jumbo = ra(&[options(HOP_BY_HOP, 1)]);
    jumbo.0[18..20].fill(0);
    jumbo.0[14 + 40 + 2..14 + 40 + 4].copy_from_slice(&[0xc2, 4]);
    let attack =
        [("no length", length([0, 0])), ("too long", length([0xff, 0xff])), ("a jumbogram", jumbo)];
    lan.is_stopped_by(&attack, OPEN, GUARDED, "router-advertisement");
}

/// CVE-2021-27853: hosts skip stacked priority tags (VID 0), which guards did not.
#[test]
fn router_advertisement_behind_vlan_0_tags() {
    let lan = Lan::new(OPEN_PORT);
    let zero = |count: usize| ra(&[]).tagged(&vec![Tag::c(0); count]);
    let attack = [
        ("one tag", zero(1)),
        ("two tags", zero(2)),
        ("six tags", zero(6)),
        ("another TPID", ra(&[]).tagged(&[Tag::s(0), Tag::c(0)])),
    ];
    lan.is_stopped_by(&attack, OPEN_PORT, GUARDED_PORT, "router-advertisement");
    lan.is_stopped_by(&[("seven tags", zero(7))], OPEN_PORT, GUARDED_PORT, "wrapped");
    let macs = Macs { from: mac(ATTACKER), to: BROADCAST };
    let offer = Frame::udp(macs, (v4(ATTACKER), [255; 4].into()), (67, 68), WORD)
        .tagged(&[Tag::c(0), Tag::c(0)]);
    lan.is_stopped_by(&[("an offer", offer)], OPEN_PORT, GUARDED_PORT, "dhcp-server");
    drop(lan);
    // Where no tags are carried, a stack does not pass in any case, and a single one hides nothing.
    let lan = Lan::new(OPEN);
    lan.is_stopped_by(&[("one tag", zero(1))], OPEN, GUARDED, "router-advertisement");
    lan.attacker.send(&zero(2)).unwrap();
    assert!(crate::common::soon(|| lan.dropped("nested-tag") == 1));
}

/// CVE-2021-27854, CVE-2021-27861, CVE-2021-27862: hosts, and access points that translate to
/// 802.11, take packets out of LLC/SNAP headers, with a right length, a wrong one, and behind
/// priority tags.
#[test]
fn router_advertisement_in_llc_snap() {
    let lan = Lan::new(OPEN_PORT);
    let attack = [
        ("RFC 1042", in_snap(&ra(&[]), [0; 3], 0)),
        ("802.1H", in_snap(&ra(&[]), [0, 0, 0xf8], 0)),
        ("a short length", in_snap(&ra(&[]), [0; 3], -20)),
        ("no length", in_snap(&ra(&[]), [0; 3], -(ra(&[]).0.len() as i32 - 6))),
        ("a long length", in_snap(&ra(&[]), [0; 3], 500)),
        ("a tag inside", in_snap(&ra(&[]).tagged(&[Tag::c(0)]), [0; 3], 0)),
        ("a tag outside", in_snap(&ra(&[]), [0; 3], 0).tagged(&[Tag::c(0)])),
        ("twice", in_snap(&in_snap(&ra(&[]), [0; 3], 0), [0; 3], 0)),
    ];
    lan.is_stopped_by(&attack, OPEN_PORT, GUARDED_PORT, "wrapped");
    // Other LLC is nobody's packet: IS-IS.
    let isis = Frame::ethertype(
        from_attacker(),
        60,
        &[&[0xfe, 0xfe, 0x03][..], b"is-is", &[0; 52]].concat(),
    );
    lan.attacker.send(&isis).unwrap();
    assert!(comes(&lan.victim, "is-is"));
}
