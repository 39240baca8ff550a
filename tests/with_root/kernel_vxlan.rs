//! Interoperation: the remote is the kernel's own VXLAN device in a bridge, with kernel hosts on
//! both sides.

use sillon_rig::{
    Fabric, Family, KernelHost, NodeFile, Underlay,
    kernel::{plug_into_bridge, vxlan_peer},
};

use crate::common::{self, PATIENCE, fabric};

const VNI: u32 = 4242;

/// Host 1 behind a node, host 2 behind a kernel VXLAN bridge.
fn hosts(fabric: &mut Fabric, family: Family) -> [KernelHost; 2] {
    let [local, remote] = [0, 1].map(|edge| fabric.vtep(edge, family));
    let peer = &fabric.edges[1].netns;
    vxlan_peer(peer, VNI, remote, local).unwrap();
    let host = fabric.mounts.netns("bridged").unwrap();
    let bridged = plug_into_bridge(peer, host).unwrap();
    let wire = fabric.plug(0, "p0").unwrap();
    let file: NodeFile = fabric.file(0).port("p0", "access");
    let file =
        file.segment("alder-lan", VNI, "lan", &[remote]).attach("alder-lan", "p0", "untagged");
    fabric.edges[0].start(&file).unwrap();
    [
        KernelHost::new(wire, "02:00:00:00:00:01", &["10.0.0.1/24", "fd00::1/64"]).unwrap(),
        KernelHost::new(bridged, "02:00:00:00:00:02", &["10.0.0.2/24", "fd00::2/64"]).unwrap(),
    ]
}

fn talks_with_the_kernel(family: Family) {
    let mut fabric = fabric(Underlay::Direct);
    let [one, two] = hosts(&mut fabric, family);
    for (host, to) in [(&one, "10.0.0.2"), (&two, "10.0.0.1"), (&one, "fd00::2"), (&two, "fd00::1")]
    {
        // Neither knows the other's MAC at first: ARP and neighbour discovery are flooded both
        // ways.
        assert_eq!(host.ping(to, 3, 0.05).unwrap(), 3, "{family:?} {to}");
    }
    for (from, to, address) in [
        (&one, &two, "10.0.0.2"),
        (&two, &one, "10.0.0.1"),
        (&one, &two, "fd00::2"),
        (&two, &one, "fd00::1"),
    ] {
        let transfer = from.transfer(to, address.parse().unwrap(), 10_000_000).unwrap();
        assert!(transfer.intact, "{family:?} to {address}: {transfer:?}");
    }
    let frame = common::datagram(1, [1, 0, 0x5e, 1, 1, 1], "to a group");
    one.wire.send(&frame).unwrap();
    let came = two.wire.expect(PATIENCE, |came| *came == frame).unwrap();
    assert!(came.is_some(), "{family:?}: multicast");
    // And back, also a frame as long as the segment promises.
    let frame = common::datagram(2, sillon_rig::frame::BROADCAST, &"x".repeat(1472));
    two.wire.send(&frame).unwrap();
    assert!(
        one.wire.expect(PATIENCE, |came| *came == frame).unwrap().is_some(),
        "{family:?}: long broadcast"
    );
}

#[test]
fn the_kernels_vxlan_is_a_good_remote_over_ipv4() {
    talks_with_the_kernel(Family::V4);
}

#[test]
fn the_kernels_vxlan_is_a_good_remote_over_ipv6() {
    talks_with_the_kernel(Family::V6);
}
