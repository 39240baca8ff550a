//! What the edge answers, and how.

use sillon_rig::{KernelHost, Tag, frame::mac_text};

use crate::{
    common::{PATIENCE, comes, datagram, mac, soon, stays_away},
    suppress::{
        frames::*,
        lan::{Lan, PLAN, Plan},
    },
};

/// Hosts 2 and 4 have said who they are.
fn introduced(plan: Plan<'_>) -> Lan {
    let lan = Lan::new(plan);
    for host in [2, 4] {
        lan.says(host, &announces(host, host));
        lan.says(host, &advertises(host, host, OVERRIDE));
    }
    lan
}

/// Each edge answers for its own host and for the other edge's.
fn all_is_answered(lan: &Lan) {
    for (host, target) in [(1, 2), (1, 4), (2, 4), (4, 2)] {
        lan.is_answered(host, &asks(host, target), &replies(target, host));
        lan.is_answered(
            host,
            &solicits(host, target),
            &advertises_to(target, target, host, OVERRIDE),
        );
    }
    let answered = lan.answered();
    let counts =
        ["edge1/p0", "edge1/p1", "edge1/p2", "edge2/p0"].map(|attachment| answered[attachment]);
    assert_eq!(counts, [[2, 2], [1, 1], [0, 0], [1, 1]]);
    lan.is_in_order();
}

#[test]
fn a_known_host_is_answered_for_and_nobody_else_hears_of_it() {
    let lan = introduced(PLAN);
    let sent = |lan: &Lan| {
        let ports = lan.fabric.edges[0].show("ports").unwrap();
        let port = ports.iter().find(|port| port["name"] == "p0").unwrap();
        port["attachments"][0]["traffic"]["out_frames"].as_u64().unwrap()
    };
    let before = sent(&lan);
    all_is_answered(&lan);
    assert_eq!(sent(&lan) - before, 4, "an answer counts as sent to the attachment");
    let remotes = lan.fabric.edges[0].show("remotes").unwrap();
    // Of each edge's host, one announcement and one advertisement.
    assert_eq!(remotes[0]["traffic"]["out_frames"], 2, "a question went into the tunnel");
}

#[test]
fn on_a_tagged_port_the_answer_has_the_tags_of_the_question() {
    for encap in ["dot1q 100", "qinq 200.300", "qinq 200"] {
        all_is_answered(&introduced(Plan { encap, ..PLAN }));
    }
}

#[test]
fn at_tc_the_answer_is_the_same() {
    for encap in ["untagged", "dot1q 100", "qinq 200.300", "qinq 200", "port"] {
        all_is_answered(&introduced(Plan { encap, hook: "tc", ..PLAN }));
    }
}

/// A priority tag is none of the attachment's (IEEE 802.1Q clause 6.9.1), and comes back as it
/// came.
#[test]
fn a_priority_tag_stays() {
    let lan = introduced(PLAN);
    lan.settle();
    for (question, answer) in
        [(asks(1, 2), replies(2, 1)), (solicits(1, 2), advertises_to(2, 2, 1, OVERRIDE))]
    {
        let tags = [Tag::c(0).with_priority(6, true)];
        lan.send(1, &question.tagged(&tags));
        let heard = lan.wire(1).expect(PATIENCE, is_about_neighbours).unwrap();
        assert_eq!(heard, Some(answer.tagged(&tags)));
    }
    assert_eq!(lan.wire(2).drain().unwrap().into_iter().find(is_about_neighbours), None);
}

#[test]
fn a_whole_port_is_answered_beside_its_tags() {
    let lan = introduced(Plan { encap: "port", ..PLAN });
    all_is_answered(&lan);
    // What is inside the operator's own VLAN is another network, and so is what is heard there.
    let vlan = |frame: sillon_rig::Frame| frame.tagged(&[Tag::c(7)]);
    lan.is_flooded(1, &vlan(asks(1, 2)));
    lan.is_flooded(1, &vlan(solicits(1, 2)));
    lan.says(3, &vlan(announces(3, 3)));
    assert_eq!(lan.owner(0, ip4(3)), None);
}

/// On one edge: generic XDP does not see floods of another one in the same kernel
/// (docs/explanation/suppression.md). Without tags, which it does not see on a device over a veth.
#[test]
fn generic_xdp_answers_as_well() {
    let lan = Lan::generic(PLAN);
    for frame in [announces(2, 2), advertises(2, 2, OVERRIDE)] {
        lan.send(2, &frame);
        assert!(lan.hears(1, &frame) && lan.hears(3, &frame));
    }
    lan.is_answered(1, &asks(1, 2), &replies(2, 1));
    lan.is_answered(1, &solicits(1, 2), &advertises_to(2, 2, 1, OVERRIDE));
}

#[test]
fn without_suppression_all_is_flooded_and_nothing_kept() {
    let lan = introduced(Plan { segment: &[], ..PLAN });
    lan.is_flooded(1, &asks(1, 2));
    lan.is_flooded(1, &solicits(1, 2));
    assert!(lan.bindings(0).is_empty());
}

#[test]
fn a_router_is_told_to_be_one() {
    let lan = Lan::new(PLAN);
    lan.says(2, &advertises(2, 2, ROUTER | OVERRIDE));
    let answer = |flags| advertises_to(2, 2, 1, flags);
    lan.is_answered(1, &solicits(1, 2), &answer(ROUTER | OVERRIDE));
    assert_eq!(lan.bindings(0)["fd00::2"]["router"], true);
    // Its own questions do not say that it is none (RFC 4861 section 7.2.3), and its advertisements
    // do.
    lan.says(2, &solicits(2, 9));
    lan.is_answered(1, &solicits(1, 2), &answer(ROUTER | OVERRIDE));
    lan.says(2, &advertises(2, 2, 0));
    lan.is_answered(1, &solicits(1, 2), &answer(0));
}

/// What `tree` promises holds for questions as well: a leaf does not even learn who the others are.
#[test]
fn a_leaf_is_not_answered_for_a_leaf() {
    let leaf: crate::suppress::lan::Keys<'_> = &[("role", "\"leaf\"")];
    let lan = Lan::new(Plan { service: "tree", hosts: [leaf, leaf, &[], leaf], ..PLAN });
    for host in [2, 4] {
        lan.comes_to(host, &announces(host, host), &[3]);
        lan.comes_to(host, &advertises(host, host, OVERRIDE), &[3]);
    }
    for other in [2, 4] {
        lan.comes_to(1, &asks(1, other), &[3]);
        lan.comes_to(1, &solicits(1, other), &[3]);
        lan.is_answered(3, &asks(3, other), &replies(other, 3));
    }
    lan.says(3, &announces(3, 3));
    lan.is_answered(1, &asks(1, 3), &replies(3, 1));
    lan.is_answered(4, &asks(4, 3), &replies(3, 4));
}

/// Answers are sent to the attachment as any other frame is, so that its bandwidth profile covers
/// them.
#[test]
fn answers_count_for_the_profile_of_who_asks() {
    let mut fabric = crate::common::fabric(sillon_rig::Underlay::Direct);
    let wires = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
    let file = fabric.file(0).profile("slow").key("cir", "\"64 kbit/s\"").key("cbs", "\"2 KB\"");
    let file = file.segment("alder-lan", 100, "lan", &[]).key("suppress", true);
    let file =
        file.port("p0", "access").attach("alder-lan", "p0", "untagged").key("egress", "\"slow\"");
    fabric.edges[0]
        .start(&file.port("p1", "access").attach("alder-lan", "p1", "untagged"))
        .unwrap();
    wires[1].send(&announces(2, 2)).unwrap();
    assert!(soon(|| !fabric.edges[0].show("bindings").unwrap().is_empty()));
    wires[0].drain().unwrap();
    for _ in 0..200 {
        wires[0].send(&asks(1, 2)).unwrap();
    }
    assert!(soon(|| fabric.edges[0].dropped("p0 untagged", "policed-egress").unwrap() > 100));
    let heard = wires[0].drain().unwrap();
    let answered = heard.iter().filter(|frame| is_about_neighbours(frame)).count() as u64;
    let ports = fabric.edges[0].show("ports").unwrap();
    let port = ports.iter().find(|port| port["name"] == "p0").unwrap();
    assert_eq!(port["attachments"][0]["answered"]["arp"].as_u64(), Some(answered));
    let flooded = wires[1].drain().unwrap().into_iter().find(is_about_neighbours);
    assert_eq!(flooded, None, "what is not sent is not flooded instead");
}

/// Kernels take the answers for what they are: they reach each other without their questions being
/// heard.
#[test]
fn kernels_believe_the_answers() {
    let lan = Lan::new(PLAN);
    let host = |number: u8| {
        let addresses = [format!("{}/24", ip4(number)), format!("{}/64", ip6(number))];
        let mac = mac_text(mac(number));
        let wire = lan.wire(number).share().unwrap();
        wire.netns.sysctl("net/ipv6/conf/eth0/accept_dad", "0").unwrap();
        let host = KernelHost::new(wire, &mac, &addresses.each_ref().map(String::as_str)).unwrap();
        // Also without duplicate address detection an address is tentative until a worker of the
        // kernel gets to it, and is not answered for.
        let tentative = || {
            let mut ip = host.wire.netns.command("ip");
            ip.args(["-6", "address", "show", "dev", "eth0", "tentative"]).output().unwrap()
        };
        assert!(soon(|| {
            let said = tentative();
            said.status.success() && said.stdout.is_empty()
        }));
        host
    };
    let (near, far) = (host(1), host(4));
    // Both have answered each other before.
    for (from, to) in
        [(&near, ip4(4).to_string()), (&near, ip6(4).to_string()), (&far, ip6(1).to_string())]
    {
        assert_eq!(from.ping(&to, 1, 0.2).unwrap(), 1, "{to}");
    }
    lan.settle();
    let before = lan.answered()["edge1/p0"];
    for _ in 0..3 {
        near.wire.netns.ip("neigh flush dev eth0").unwrap();
        assert_eq!(near.ping(&ip4(4).to_string(), 1, 0.2).unwrap(), 1);
        assert_eq!(near.ping(&ip6(4).to_string(), 1, 0.2).unwrap(), 1);
    }
    let [arp, nd] = lan.answered()["edge1/p0"];
    assert!(arp >= before[0] + 3 && nd >= before[1] + 3, "{before:?}, then {arp} and {nd}");
    let heard = lan.wire(3).drain().unwrap();
    let questions = heard.iter().filter(|frame| is_about_neighbours(frame)).count();
    assert_eq!(questions, 0, "{heard:?}");
}

/// The answer is for who asked: the flow of other frames between the same two is not touched.
#[test]
fn other_frames_go_their_way() {
    let lan = introduced(PLAN);
    lan.greets(1);
    lan.send(1, &datagram(1, mac(2), "to you"));
    assert!(comes(lan.wire(2), "to you"));
    lan.is_answered(1, &asks(1, 2), &replies(2, 1));
    lan.send(1, &datagram(1, mac(2), "to you again"));
    assert!(comes(lan.wire(2), "to you again") && stays_away(lan.wire(3), "to you"));
}
