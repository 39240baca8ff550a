//! What the edge must not answer, and must not learn from: it goes where it went before.

use std::net::{Ipv4Addr, Ipv6Addr};

use sillon_rig::{
    Frame, Tag, Underlay,
    frame::{BROADCAST, Macs},
};

use crate::{
    common::{comes, datagram, fabric, mac, soon},
    suppress::{
        frames::*,
        lan::{Lan, PLAN},
    },
};

fn introduced() -> Lan {
    let lan = Lan::new(PLAN);
    lan.says(2, &announces(2, 2));
    lan.says(2, &advertises(2, 2, OVERRIDE));
    lan.greets(1);
    lan
}

#[test]
fn probes_reach_the_owner_that_defends_its_address() {
    let lan = introduced();
    lan.is_flooded(1, &probes(1, 2));
    lan.is_flooded(4, &probes(4, 2));
    lan.is_flooded(1, &detects_duplicates(1, 2));
    lan.is_flooded(4, &detects_duplicates(4, 2));
    // Who only asks whether an address is free has it not.
    lan.says(3, &probes(3, 9));
    lan.says(3, &detects_duplicates(3, 9));
    assert_eq!((lan.owner(0, ip4(9)), lan.owner(0, ip6(9))), (None, None));
    assert!(!lan.bindings(0).contains_key("0.0.0.0") && !lan.bindings(0).contains_key("::"));
}

#[test]
fn announcements_are_heard_and_flooded() {
    let lan = introduced();
    // Also of somebody else's address: the owner must hear of it.
    lan.is_flooded(1, &announces(1, 2));
    assert_eq!(lan.owner(0, ip4(2)), Some(1));
}

#[test]
fn unicast_questions_reach_whom_they_are_for() {
    let lan = introduced();
    let mut arp = asks(1, 2);
    arp.0[..6].copy_from_slice(&mac(2));
    lan.comes_to(1, &arp, &[2]);
    let to_you = Macs { from: mac(1), to: mac(2) };
    let message = solicitation(1, 2);
    lan.comes_to(1, &Message { macs: to_you, ips: (ip6(1), ip6(2)), ..message }.frame(), &[2]);
    lan.comes_to(1, &Message { macs: to_you, ..message }.frame(), &[2]);
    // Nor is what is for another group, in whatever frame.
    lan.is_flooded(1, &Message { ips: (ip6(1), ALL_NODES), ..message }.frame());
}

#[test]
fn questions_for_what_is_not_known_are_flooded() {
    let lan = introduced();
    lan.is_flooded(1, &asks(1, 9));
    lan.is_flooded(1, &solicits(1, 9));
}

/// The edge answers with a MAC only while it knows where that is, and only if that is not where the
/// question comes from.
#[test]
fn who_is_at_the_same_place_is_not_answered_for() {
    let lan = introduced();
    lan.is_flooded(2, &asks(1, 2));
    // Host 1 is at host 2's port by that.
    lan.is_flooded(2, &solicits(1, 2));
}

#[test]
fn what_is_malformed_is_flooded_and_not_believed() {
    let lan = introduced();
    let changed = |frame: Frame, at: usize, byte: u8| {
        let mut frame = frame;
        frame.0[at] = byte;
        frame
    };
    let all = Macs { from: mac(1), to: BROADCAST };
    let arp_of = |sender, target| arp(all, ARP_REQUEST, sender, ([0; 6], target));
    let question = solicitation(1, 2);
    let mut cut = asks(1, 2);
    cut.0.truncate(14 + 20);
    let mut more = solicits(1, 2);
    more.0.extend([0; 8]);
    more.0[14 + 5] += 8;
    for (what, frame) in [
        ("another hardware type", changed(asks(1, 2), 14 + 1, 6)),
        ("another protocol", changed(asks(1, 2), 14 + 2, 0x86)),
        ("a short hardware address", changed(asks(1, 2), 14 + 4, 5)),
        ("a long protocol address", changed(asks(1, 2), 14 + 5, 16)),
        ("an unknown operation", changed(asks(1, 2), 14 + 7, 3)),
        ("an ARP packet that is cut", cut),
        ("another's MAC", arp_of((mac(5), ip4(1)), ip4(2))),
        ("from a group", arp_of((mac(1), Ipv4Addr::new(224, 0, 0, 1)), ip4(2))),
        ("from everybody", arp_of((mac(1), Ipv4Addr::BROADCAST), ip4(2))),
        ("from loopback", arp_of((mac(1), Ipv4Addr::LOCALHOST), ip4(2))),
        ("hop limit 254", Message { hops: 254, ..question }.frame()),
        ("code 1", Message { code: 1, ..question }.frame()),
        ("a wrong checksum", changed(solicits(1, 2), 14 + 42, 0)),
        ("without its MAC", Message { option: None, ..question }.frame()),
        (
            "with another's MAC",
            Message { option: Some((SOURCE_OPTION, mac(5))), ..question }.frame(),
        ),
        (
            "with the wrong option",
            Message { option: Some((TARGET_OPTION, mac(1))), ..question }.frame(),
        ),
        ("from a group", Message { ips: (ALL_NODES, question.ips.1), ..question }.frame()),
        ("an option of no length", more),
        ("IPv5", changed(solicits(1, 2), 14, 0x50)),
    ] {
        println!("{what}");
        lan.is_flooded(1, &frame);
    }
    let before = lan.bindings(0).keys().cloned().collect::<Vec<_>>();
    let claim = advertisement(1, 7, OVERRIDE);
    for (what, frame) in [
        ("hop limit 254", Message { hops: 254, ..claim }.frame()),
        ("code 1", Message { code: 1, ..claim }.frame()),
        ("a wrong checksum", changed(claim.frame(), 14 + 42, 0)),
        ("without its MAC", Message { option: None, ..claim }.frame()),
        ("with another's MAC", Message { option: Some((TARGET_OPTION, mac(5))), ..claim }.frame()),
        ("solicited by all", Message { flags: SOLICITED | OVERRIDE, ..claim }.frame()),
        ("of a group", Message { target: ALL_NODES, ..claim }.frame()),
        ("of ::1", Message { target: Ipv6Addr::LOCALHOST, ..claim }.frame()),
        ("of an IPv4 address", Message { target: ip4(7).to_ipv6_mapped(), ..claim }.frame()),
        (
            "a reply of nobody",
            arp(all, ARP_REPLY, (mac(1), Ipv4Addr::UNSPECIFIED), (mac(2), ip4(2))),
        ),
        ("a reply of another's MAC", arp(all, ARP_REPLY, (mac(5), ip4(7)), (mac(2), ip4(2)))),
    ] {
        println!("{what}");
        lan.is_flooded(1, &frame);
    }
    assert_eq!(lan.bindings(0).into_keys().collect::<Vec<_>>(), before);
}

/// Two operators with the same addresses, MACs and hosts on one port: neither is answered from what
/// the other says.
#[test]
fn nothing_is_answered_across_segments() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
    let mut file = fabric.file(0).port("p0", "access").port("p1", "access");
    for (name, vni) in [("alder-lan", 100), ("birch-lan", 200)] {
        let encap = format!("dot1q {vni}");
        file = file.segment(name, vni, "lan", &[]).key("suppress", true);
        file = file.attach(name, "p0", &encap).attach(name, "p1", &encap);
    }
    fabric.edges[0].start(&file).unwrap();
    let (alder, birch) = ([Tag::c(100)], [Tag::c(200)]);
    // Everybody's place is known in both, and 10.0.0.2 and fd00::2 in alder's alone.
    for tags in [&alder, &birch] {
        for (host, wire) in [(1, &wires[0]), (2, &wires[1])] {
            wire.send(&datagram(host, BROADCAST, &format!("{tags:?} {host}")).tagged(tags))
                .unwrap();
            assert!(comes(&wires[2 - usize::from(host)], &format!("{tags:?} {host}")));
        }
    }
    wires[1].send(&announces(2, 2).tagged(&alder)).unwrap();
    wires[1].send(&advertises(2, 2, OVERRIDE).tagged(&alder)).unwrap();
    assert!(soon(|| fabric.edges[0].show("bindings").unwrap().len() == 2));
    wires[0].drain().unwrap();
    for (question, answer) in
        [(asks(1, 2), replies(2, 1)), (solicits(1, 2), advertises_to(2, 2, 1, OVERRIDE))]
    {
        wires[0].send(&question.tagged(&birch)).unwrap();
        let heard = wires[1].expect(crate::common::PATIENCE, is_about_neighbours).unwrap().unwrap();
        assert_eq!((heard.tags(), heard.popped(1)), (birch.to_vec(), question.clone()));
        assert!(wires[0].expect(crate::common::SILENCE, is_about_neighbours).unwrap().is_none());
        wires[0].send(&question.tagged(&alder)).unwrap();
        let heard = wires[0].expect(crate::common::PATIENCE, is_about_neighbours).unwrap();
        assert_eq!(heard, Some(answer.tagged(&alder)));
        assert!(wires[1].expect(crate::common::SILENCE, is_about_neighbours).unwrap().is_none());
    }
    // birch's own claim is birch's.
    wires[0].send(&announces(1, 2).tagged(&birch)).unwrap();
    assert!(soon(|| fabric.edges[0].show("bindings").unwrap().len() >= 3));
    let mut bindings = fabric.edges[0].show("bindings").unwrap();
    bindings.retain(|one| one["address"] == "10.0.0.2");
    let owners: Vec<_> = bindings
        .iter()
        .map(|one| (one["segment"].as_str().unwrap(), one["mac"].as_str().unwrap()))
        .collect();
    assert_eq!(owners, [("alder-lan", "02:00:00:00:00:02"), ("birch-lan", "02:00:00:00:00:01")]);
}
