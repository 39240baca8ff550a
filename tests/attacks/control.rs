//! Frames that speak of a link, from where there is none.

use sillon_rig::{Family, Frame, Underlay, frame::Macs};

use crate::{
    common::{comes, fabric, mac, soon, stays_away},
    frames::WORD,
    lan::{ATTACKER, Lan, OFF, Setting},
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
        ("CDP that invents a neighbour", frame(cisco(0xcc), 60, &[0xaa, 0xaa, 0x03, 0, 0, 0x0c, 0x20, 0])),
        (
            "PVST+ that makes its sender the root",
            frame(cisco(0xcd), 60, &[0xaa, 0xaa, 0x03, 0, 0, 0x0c, 1, 0x0b]),
        ),
    ]
}

/// IEEE 802.1Q table 8-1; Yersinia (BlackHat Europe 2005), "Yersinia, a framework for layer 2 attacks".
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
}

/// IEEE 802.3 annex 31B: whoever answers a PAUSE stops sending; it must never leave its link, not even by a line that is one.
/// MEF 45 lets a line carry the others.
#[test]
fn pause_frame_injection() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = [0, 1].map(|edge| fabric.plug(edge, "p0").unwrap());
    let files = |control: &str| {
        [0, 1].map(|edge| {
            let remote = fabric.vtep(1 - edge, Family::V4);
            let file = fabric.file(edge).port("p0", "access").segment("alder-line", 100, "line", &[remote]);
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
    wires[0].send(&pause).unwrap();
    wires[0].send(&unicast).unwrap();
    assert!(soon(|| fabric.edges[0].dropped("p0 port", "mac-control").unwrap() == 2));
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
