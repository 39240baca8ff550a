//! Frames that speak of a link, from where there is none.

use std::time::Instant;

use sillon_rig::{Family, Frame, PacketSocket, Tag, Underlay, frame::Macs};

use crate::{
    attacks::{
        frames::WORD,
        lan::{ATTACKER, Lan, OFF, Setting},
        victim,
    },
    common::{SILENCE, comes, fabric, mac, soon, stays_away},
};

fn frame(to: [u8; 6], ethertype: u16, head: &[u8]) -> Frame {
    Frame::ethertype(Macs { from: mac(ATTACKER), to }, ethertype, &[head, WORD, &[0; 40]].concat())
}

/// One of each, with what it could do.
fn attacks() -> Vec<(&'static str, Frame)> {
    let group = |last| [0x01, 0x80, 0xc2, 0, 0, last];
    let cisco = |last| [0x01, 0x00, 0x0c, 0xcc, 0xcc, last];
    vec![
        ("a BPDU that makes its sender the root", frame(group(0), 60, &[0x42, 0x42, 0x03])),
        ("LACP that joins an aggregate", frame(group(2), 0x8809, &[1, 1])),
        ("EAPOL that logs somebody off", frame(group(3), 0x888e, &[2, 2])),
        ("LLDP that invents a neighbour", frame(group(14), 0x88cc, &[2, 7])),
        (
            "CDP that invents a neighbour",
            frame(cisco(0xcc), 60, &[0xaa, 0xaa, 0x03, 0, 0, 0x0c, 0x20, 0]),
        ),
        (
            "PVST+ that makes its sender the root",
            frame(cisco(0xcd), 60, &[0xaa, 0xaa, 0x03, 0, 0, 0x0c, 1, 0x0b]),
        ),
    ]
}

/// IEEE 802.1Q table 8-1; Yersinia (BlackHat Europe 2005), "Yersinia, a framework for layer 2
/// attacks".
#[test]
fn link_local_control_injection() {
    let lan = Lan::new(Setting { attacker: OFF, ..Setting::default() });
    lan.introduce();
    for (count, (name, frame)) in (1..).zip(attacks()) {
        lan.attacker.send(&frame).unwrap();
        assert!(soon(|| lan.dropped("link-local-control") == count), "{name}");
    }
    for wire in [&lan.victim, &lan.peer, &lan.far] {
        assert!(stays_away(wire, "attack!"));
    }
    lan.victim_is_reached();
    let all: Vec<Frame> = attacks().into_iter().map(|(_, frame)| frame).collect();
    lan.withstands(&lan.attacker, &all);
}

/// IEEE 802.3 annex 31B: whoever answers a PAUSE stops sending; it must never leave its link, not
/// even by a line that is one. MEF 45 lets a line carry the others.
#[test]
fn pause_frame_injection() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = [0, 1].map(|edge| fabric.plug(edge, "p0").unwrap());
    let files = |control: &str| {
        [0, 1].map(|edge| {
            let remote = fabric.vtep(1 - edge, Family::V4);
            let file = fabric.file(edge).port("p0", "access").segment(
                "alder-line",
                100,
                "line",
                &[remote],
            );
            file.attach("alder-line", "p0", "port").key("control", format!("\"{control}\""))
        })
    };
    let (tunnel, drop) = (files("tunnel"), files("drop"));
    for (edge, file) in fabric.edges.iter_mut().zip(&tunnel) {
        edge.start(file).unwrap();
    }
    for (name, frame) in attacks() {
        wires[0].send(&frame).unwrap();
        assert!(comes(&wires[1], "attack!"), "a line that is a cable does not carry {name}");
    }
    let pause = frame([0x01, 0x80, 0xc2, 0, 0, 1], 0x8808, &[0, 1, 0xff, 0xff]);
    let unicast = frame(mac(9), 0x8808, &[0, 1, 0xff, 0xff]);
    let dropped = || fabric.edges[0].dropped("p0 port", "mac-control").unwrap();
    victim::goes_on(&wires[0], mac(9), &wires[1], || {
        for count in 1..100 {
            wires[0].send(if count % 2 == 0 { &pause } else { &unicast }).unwrap();
            assert!(soon(|| dropped() == count));
        }
    });
    assert!(stays_away(&wires[1], "attack!"));
    // At the far end it is dropped as well, should the near one let it through.
    fabric.edges[1].reload(&drop[1]).unwrap();
    for (_, frame) in attacks() {
        wires[0].send(&frame).unwrap();
    }
    let count = attacks().len() as u64;
    assert!(soon(|| fabric.edges[1].dropped("alder-line", "link-local-control").unwrap() == count));
    assert!(stays_away(&wires[1], "attack!"));
}

/// What the owner's own stack speaks with a device on an access port (MEF 45 "peer"): it hears that
/// port's control frames and nothing else, its own come out there and nowhere else, and neither is
/// anybody's who has not asked for it. What floods the stack is limited like other multicasts.
#[test]
fn control_frames_for_the_nodes_own_stack() {
    let mut fabric = fabric(Underlay::Direct);
    let [peer, other] = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
    let file = |control: &str| {
        let file = fabric.file(0).port("p0", "access").port("p1", "access").segment(
            "alder-lan",
            100,
            "lan",
            &[],
        );
        let file =
            file.attach("alder-lan", "p0", "untagged").key("control", format!("\"{control}\""));
        file.key("storm", "{ multicast = 100 }").attach("alder-lan", "p1", "untagged")
    };
    // Or the kernel's own neighbour and multicast listener discovery would be counted at the gate,
    // too, at moments of its own.
    for port in ["p0", "p1"] {
        fabric.edges[0].netns.sysctl(&format!("net/ipv6/conf/{port}/disable_ipv6"), "1").unwrap();
    }
    let (peers, drops) = (file("peer"), file("drop"));
    fabric.edges[0].start(&peers).unwrap();
    let node = &fabric.edges[0];
    let stack = |port: &str| node.netns.enter(|| Ok(PacketSocket::open(port)?)).unwrap();
    let (own, others) = (stack("p0"), stack("p1"));
    let lldp = frame([0x01, 0x80, 0xc2, 0, 0, 14], 0x88cc, &[2, 7]);
    let hears = |stack: &PacketSocket| {
        let mut heard = 0;
        while let Some(frame) = stack.receive(SILENCE).unwrap() {
            heard += usize::from(Frame(frame).contains(WORD));
        }
        heard
    };
    let sends = |stack: &PacketSocket| {
        // Who sends what is dropped at TC is told so.
        let _ = stack.send(&lldp.0);
        hears(peer.socket()) + hears(other.socket())
    };
    for (_, frame) in attacks() {
        peer.send(&frame).unwrap();
        other.send(&frame).unwrap();
    }
    let count = attacks().len();
    assert_eq!(
        (hears(&own), hears(&others)),
        (count, 0),
        "what comes in at p0 is for the stack, and at p1 it is not"
    );
    assert!(soon(|| node.dropped("p1 untagged", "link-local-control").unwrap() == count as u64));
    assert!(stays_away(&other, "attack!"), "it is not flooded either");
    assert_eq!(node.fdb().unwrap().len(), 0, "nothing is learned of a link's own frames");
    // A tag, and a PAUSE, are not the link's.
    peer.send(&lldp.tagged(&[Tag::c(0)])).unwrap();
    assert!(soon(|| node.dropped("p0 untagged", "link-local-control").unwrap() == 1));
    // Nor are IP and ARP, which would speak with the node's own stack.
    for (count, ethertype) in (2..).zip([0x0800, 0x86dd, 0x0806]) {
        peer.send(&frame([0x01, 0x80, 0xc2, 0, 0, 14], ethertype, &[0x45; 46])).unwrap();
        assert!(
            soon(|| node.dropped("p0 untagged", "link-local-control").unwrap() == count),
            "{ethertype:#x}"
        );
    }
    assert_eq!(hears(&own), 0);
    peer.send(&frame([0x01, 0x80, 0xc2, 0, 0, 1], 0x8808, &[0, 1, 0xff, 0xff])).unwrap();
    assert!(soon(|| node.dropped("p0 untagged", "mac-control").unwrap() == 1));
    // Out again.
    assert_eq!((sends(&own), sends(&others)), (1, 0));
    let _ = own.send(&frame([0xff; 6], 0x88b5, &[]).0);
    assert_eq!(hears(peer.socket()), 0, "nothing else comes out");
    assert!(soon(|| node.dropped("p0", "host-egress").unwrap() == 1
        && node.dropped("p1", "host-egress").unwrap() == 1));
    // A flood of them is one of multicasts.
    hears(&own);
    let start = Instant::now();
    for _ in 0..1000 {
        peer.send(&lldp).unwrap();
    }
    let most = 101 + (100.0 * start.elapsed().as_secs_f64()) as usize;
    let heard = hears(&own);
    assert!((1..=most).contains(&heard), "{heard} of at most {most}");
    assert!(
        soon(|| node.dropped("p0 untagged", "storm-multicast").unwrap() == 1000 - heard as u64)
    );
    assert!(node.sillon(&["verify"]).unwrap().status.success());
    node.reload(&drops).unwrap();
    peer.send(&lldp).unwrap();
    assert_eq!((hears(&own), sends(&own)), (0, 0), "nor where it says so no longer");
    assert!(node.sillon(&["verify"]).unwrap().status.success());
}
