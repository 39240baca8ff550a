//! Jumbo frames: an underlay of 9216 bytes carries segments of 9000, in frames that the driver
//! gives in several pieces; a port that needs none of that runs the program for frames in one
//! piece.

use sillon_rig::{
    Fabric, Family, Frame, Node, Underlay, Wire,
    frame::{BROADCAST, Macs},
};

use crate::common::{self, PATIENCE, fabric, mac, soon};

const ETHERNET: usize = 14;

/// A segment of 9000 bytes between `p0` of each edge, and one of 1500 between `p1`, whose devices
/// have the usual MTU.
fn lay_out(fabric: &mut Fabric, family: Family) -> [[Wire; 2]; 2] {
    [0, 1].map(|edge| {
        let wires = [fabric.plug(edge, "p0").unwrap(), fabric.plug(edge, "p1").unwrap()];
        wires[0].netns.ip("link set eth0 mtu 9100").unwrap();
        wires[1].netns.ip("link set eth0 mtu 1500").unwrap();
        let node = &fabric.edges[edge].netns;
        node.ip("link set p0 mtu 9000\nlink set p1 mtu 1500\nlink set up0 mtu 9216").unwrap();
        // The far end of its cable, too, which is the other's uplink.
        fabric.edges[1 - edge].netns.ip("link set up0 mtu 9216").unwrap();
        let remote = fabric.vtep(1 - edge, family);
        let file = fabric.file(edge).segment("alder-jumbo", 100, "lan", &[remote]).key("mtu", 9000);
        let file = file.segment("birch-lan", 200, "lan", &[remote]);
        let file = file.port("p0", "access").attach("alder-jumbo", "p0", "untagged");
        let file = file.port("p1", "access").attach("birch-lan", "p1", "untagged");
        fabric.edges[edge].start(&file).unwrap();
        wires
    })
}

/// A packet over IPv4 of `size` bytes, or something else of that size.
fn sized(from: u8, to: [u8; 6], size: usize, is_ip: bool) -> Frame {
    let macs = Macs { from: mac(from), to };
    if is_ip {
        let addresses = (common::v4(from), common::v4(9));
        return Frame::udp(macs, addresses, (4000, 4001), &vec![from; size - 28]);
    }
    Frame::ethertype(macs, 0x88b5, &vec![from; size])
}

fn crosses(from: &Wire, to: &Wire, frame: &Frame) -> bool {
    from.send(frame).unwrap();
    to.expect(PATIENCE, |came| came == frame).unwrap().is_some()
}

/// The name of the program on a port, as far as the kernel keeps it.
fn program(node: &Node, port: &str) -> String {
    let id = node.program_id(port).unwrap();
    let programs = aya::programs::loaded_programs().flatten();
    let names = programs.filter(|program| program.id() == id);
    names.map(|program| program.name_as_str().unwrap().to_owned()).collect()
}

fn jumbos_cross(family: Family) {
    let mut fabric = fabric(Underlay::Direct);
    let [near, far] = lay_out(&mut fabric, family);
    for edge in &fabric.edges {
        assert_eq!(program(edge, "p0"), "sillon_xdp_frag");
        assert_eq!(program(edge, "up0"), "sillon_xdp_frag");
        assert_eq!(program(edge, "p1"), "sillon_xdp");
    }
    // Flooded; then, with each end known, decided, and from the cache. 4000 bytes are the first that
    // are in two pieces.
    assert!(crosses(&near[0], &far[0], &sized(1, BROADCAST, 9000, false)), "flooded");
    assert!(crosses(&far[0], &near[0], &sized(2, mac(1), 9000, true)), "back");
    for size in [64, 1500, 4000, 8999, 9000] {
        for is_ip in [true, true, false] {
            assert!(
                crosses(&near[0], &far[0], &sized(1, mac(2), size, is_ip)),
                "{size}, IP: {is_ip}"
            );
        }
    }
    let dropped = || fabric.edges[0].dropped("p0 untagged", "too-big").unwrap();
    let before = dropped();
    near[0].send(&sized(1, mac(2), 9001, true)).unwrap();
    assert!(soon(|| dropped() == before + 1), "one byte more than the segment has");
    // A small port beside it, over the same uplinks.
    assert!(crosses(&near[1], &far[1], &sized(1, BROADCAST, 1500, true)));
    assert!(crosses(&far[1], &near[1], &sized(2, mac(1), 1500, true)));
    let shown = fabric.edges[0].show("ports").unwrap();
    let shown = |name| shown.iter().find(|port| port["name"] == name).unwrap();
    let multi_buffer = ["p0", "p1", "up0"].map(|name| shown(name)["multi_buffer"].as_bool());
    assert_eq!(multi_buffer, [Some(true), Some(false), Some(true)]);
    let port = shown("p0");
    let bytes = &port["attachments"][0]["traffic"]["in_bytes"];
    let sizes = 3 * (64 + 1500 + 4000 + 8999 + 9000) + 9000 + 9001;
    assert_eq!(
        bytes.as_u64(),
        Some((sizes + 17 * ETHERNET) as u64),
        "each byte counts, in whichever piece"
    );
}

#[test]
fn jumbo_frames_cross_over_ipv4() {
    jumbos_cross(Family::V4);
}

#[test]
fn jumbo_frames_cross_over_ipv6() {
    jumbos_cross(Family::V6);
}
