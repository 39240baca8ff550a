//! What the segment's MTU promises passes with every encapsulation, and not a byte more. Sizes are
//! of the wire, with FCS: 1518 bytes untagged, 1522 with one tag, 1526 with two.

use sillon_rig::{
    Fabric, Family, Frame, Tag, Underlay, Wire,
    frame::{BROADCAST, Macs},
};

use crate::common::{PATIENCE, fabric, mac, soon, stays_away};

const FCS: usize = 4;
const ENCAPS: [(&str, &[Tag], usize); 4] = [
    ("untagged", &[], 1518),
    ("dot1q 100", &[Tag::c(100)], 1522),
    ("qinq 200", &[Tag::s(200)], 1522),
    ("qinq 200.300", &[Tag::s(200), Tag::c(300)], 1526),
];

/// One segment with all encapsulations: `p0` … `p3` on each edge.
fn lay_out(fabric: &mut Fabric, family: Family) -> [Vec<Wire>; 2] {
    [0, 1].map(|edge| {
        let remote = fabric.vtep(1 - edge, family);
        let mut file = fabric.file(edge).segment("alder-lan", 100, "lan", &[remote]);
        for (port, (encap, ..)) in ENCAPS.iter().enumerate() {
            let name = format!("p{port}");
            file = file.port(&name, "access").attach("alder-lan", &name, encap);
        }
        let wires =
            (0..ENCAPS.len()).map(|port| fabric.plug(edge, &format!("p{port}")).unwrap()).collect();
        fabric.edges[edge].start(&file).unwrap();
        wires
    })
}

/// A frame whose length on the wire is `size`.
fn sized(from: u8, to: [u8; 6], tags: &[Tag], size: usize, fill: u8) -> Frame {
    let payload = vec![fill; size - FCS - 14 - 4 * tags.len()];
    Frame::ethertype(Macs { from: mac(from), to }, 0x88b5, &payload).tagged(tags)
}

fn arrives(wire: &Wire, frame: &Frame) -> bool {
    wire.expect(PATIENCE, |came| came == frame).unwrap().is_some()
}

fn the_limit_holds(family: Family) {
    let mut fabric = fabric(Underlay::Direct);
    let wires = lay_out(&mut fabric, family);
    let pairs = (0..ENCAPS.len()).flat_map(|from| (0..ENCAPS.len()).map(move |to| (from, to)));
    for (from, to) in pairs {
        let [(_, from_tags, from_size), (_, to_tags, to_size)] = [ENCAPS[from], ENCAPS[to]];
        let fill = (10 + 4 * from + to) as u8;
        // Across, flooded and then, the far end known, alone.
        for dst in [BROADCAST, mac(10 + to as u8)] {
            wires[0][from].send(&sized(1, dst, from_tags, from_size, fill)).unwrap();
            assert!(
                arrives(&wires[1][to], &sized(1, dst, to_tags, to_size, fill)),
                "{from} to {to}, {dst:x?}"
            );
            wires[1][to].send(&sized(10 + to as u8, BROADCAST, to_tags, to_size, fill)).unwrap();
            assert!(arrives(
                &wires[0][from],
                &sized(10 + to as u8, BROADCAST, from_tags, from_size, fill)
            ));
        }
    }
    for (port, (encap, tags, size)) in ENCAPS.iter().enumerate() {
        wires[0][port].send(&sized(1, BROADCAST, tags, size + 1, b'!')).unwrap();
        wires[0][port].send(&sized(1, mac(10), tags, size + 1, b'!')).unwrap();
        assert!(wires[1].iter().all(|wire| stays_away(wire, "!!!!!!!!")));
        let name = format!("p{port} {encap}");
        assert!(soon(|| fabric.edges[0].dropped(&name, "too-big").unwrap() == 2), "{name}");
    }
}

#[test]
fn the_largest_frame_passes_and_one_byte_more_does_not_over_ipv4() {
    the_limit_holds(Family::V4);
}

#[test]
fn the_largest_frame_passes_and_one_byte_more_does_not_over_ipv6() {
    the_limit_holds(Family::V6);
}

#[test]
fn a_frame_too_long_for_the_underlay_is_dropped_for_that_reason() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = lay_out(&mut fabric, Family::V4);
    let long = sized(1, BROADCAST, &[], 1518, 1);
    wires[0][0].send(&long).unwrap();
    assert!(arrives(&wires[1][0], &long));
    wires[1][0].send(&sized(2, BROADCAST, &[], 100, 2)).unwrap();
    assert!(arrives(&wires[0][0], &sized(2, BROADCAST, &[], 100, 2)));
    // 1500 bytes, an Ethernet header and 36 bytes of outer header need 1550.
    fabric.edges[0].netns.ip("link set up0 mtu 1549").unwrap();
    let drops = |reason| fabric.edges[0].dropped("p0 untagged", reason).unwrap();
    assert!(soon(|| {
        wires[0][0].send(&sized(1, mac(2), &[], 1518, b'u')).unwrap();
        drops("underlay-mtu") > 0
    }));
    wires[0][0].send(&sized(1, BROADCAST, &[], 1518, b'b')).unwrap();
    let short = sized(1, mac(2), &[], 1517, 3);
    wires[0][0].send(&short).unwrap();
    assert!(arrives(&wires[1][0], &short), "one byte less fits");
}
