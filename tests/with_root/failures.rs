//! What goes wrong under traffic: agents that die, underlays that change, ports that vanish, files
//! that are changed.

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use sillon_rig::{
    Fabric, Family, Frame, NodeFile, PacketSocket, Tag, Underlay, Wire,
    frame::{BROADCAST, Macs, mac_text},
};

use crate::common::{self, Stream, comes, datagram, fabric, mac, soon, stays_away, stream};

/// Within this, a change of the underlay is in the maps.
const FOLLOWED: Duration = Duration::from_millis(100);

/// No program remembers for longer what it did with a flow.
const REMEMBERED: Duration = Duration::from_millis(600);

/// Waits until all that a node sends goes out of `uplink` to `neighbour` (a MAC).
fn follows(fabric: &Fabric, uplink: &str, neighbour: &str) {
    let way = format!("{uplink} via {neighbour} (16)");
    assert!(soon(|| fabric.edges[0].table("remotes").unwrap().contains(&way)), "{way}");
}

/// A segment between `p0` of one edge and `p0` of the other.
fn file(fabric: &Fabric, edge: usize, family: Family) -> NodeFile {
    let remote = fabric.vtep(1 - edge, family);
    let file = fabric.file(edge).port("p0", "access").segment("alder-lan", 100, "lan", &[remote]);
    file.attach("alder-lan", "p0", "untagged")
}

/// Two hosts that know each other: host 1 at edge 0, host 2 at edge 1.
fn hosts(fabric: &mut Fabric, family: Family) -> [Wire; 2] {
    let wires = [0, 1].map(|edge| {
        let wire = fabric.plug(edge, "p0").unwrap();
        let file = file(fabric, edge, family);
        fabric.edges[edge].start(&file).unwrap();
        wire
    });
    greet(&wires);
    wires
}

fn greet(wires: &[Wire; 2]) {
    wires[1].send(&datagram(2, BROADCAST, "I am 2")).unwrap();
    assert!(comes(&wires[0], "I am 2"));
    wires[0].send(&datagram(1, BROADCAST, "I am 1")).unwrap();
    assert!(comes(&wires[1], "I am 1"));
}

fn nothing_lost(what: &str, stream: &Stream) {
    assert!(stream.sent > 500, "{what}: only {} frames were sent", stream.sent);
    assert!(
        stream.lost.is_empty() && stream.doubled == 0,
        "{what}: {} of {} lost, {} doubled: {:?}",
        stream.lost.len(),
        stream.sent,
        stream.doubled,
        stream.lost
    );
}

#[test]
fn an_agent_that_is_killed_and_started_again_loses_no_frame() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = hosts(&mut fabric, Family::V4);
    for to in [mac(2), BROADCAST] {
        let stream = stream(&wires[0], to, &wires[1], || {
            for edge in [0, 1, 0] {
                fabric.edges[edge].kill().unwrap();
                thread::sleep(Duration::from_millis(50));
                fabric.edges[edge].restart().unwrap();
            }
        });
        nothing_lost("SIGKILL", &stream);
    }
    fabric.edges[0].stop().unwrap();
    nothing_lost("without an agent", &stream_for(&wires, 300));
    assert_eq!(fabric.edges[0].fdb().unwrap().len(), 2, "the node still learns and shows");
}

fn stream_for(wires: &[Wire; 2], milliseconds: u64) -> Stream {
    stream(&wires[0], mac(2), &wires[1], || thread::sleep(Duration::from_millis(milliseconds)))
}

#[test]
fn a_reload_costs_an_untouched_segment_no_frame() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = hosts(&mut fabric, Family::V6);
    let other = fabric.plug(0, "p1").unwrap();
    let plain = file(&fabric, 0, Family::V6);
    let more = plain
        .clone()
        .port("p1", "access")
        .segment("birch-lan", 200, "lan", &["10.99.0.2"])
        .segment("cedar-line", 300, "line", &["10.99.0.2"])
        .attach("birch-lan", "p0", "dot1q 100")
        .attach("birch-lan", "p1", "untagged")
        .attach("cedar-line", "p1", "qinq 7.8");
    for to in [mac(2), BROADCAST] {
        let stream = stream(&wires[0], to, &wires[1], || {
            for _ in 0..5 {
                fabric.edges[0].reload(&more).unwrap();
                fabric.edges[0].reload(&plain).unwrap();
            }
            fabric.edges[0].reload(&more).unwrap();
        });
        nothing_lost("reload", &stream);
    }
    wires[0].send(&datagram(1, BROADCAST, "to the new one").tagged(&[Tag::c(100)])).unwrap();
    assert!(comes(&other, "to the new one"));
    fabric.edges[0].reload(&plain).unwrap();
    wires[0].send(&datagram(1, BROADCAST, "to nobody").tagged(&[Tag::c(100)])).unwrap();
    assert!(stays_away(&other, "to nobody"), "what the file no longer has carries nothing");
}

#[test]
fn a_wrong_file_changes_nothing() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = hosts(&mut fabric, Family::V4);
    let wrong = file(&fabric, 0, Family::V4).attach("alder-lan", "p9", "untagged");
    let stream = stream(&wires[0], mac(2), &wires[1], || {
        let error = fabric.edges[0].reload(&wrong).unwrap_err().to_string();
        assert!(error.contains("exit status: 2") && error.contains("p9"), "{error}");
        fabric.edges[0].signal(Signal::SIGHUP).unwrap();
        assert!(soon(|| fabric.edges[0].log().contains("not reloaded")));
    });
    nothing_lost("a wrong file", &stream);
}

#[test]
fn a_hangup_reloads() {
    let mut fabric = fabric(Underlay::Direct);
    hosts(&mut fabric, Family::V4);
    fabric.edges[0]
        .write(&file(&fabric, 0, Family::V4).segment("birch-lan", 200, "lan", &[]))
        .unwrap();
    fabric.edges[0].signal(Signal::SIGHUP).unwrap();
    assert!(soon(|| fabric.edges[0].show("segments").unwrap().len() == 2));
}

#[test]
fn traffic_follows_a_route_without_a_loss() {
    for (family, to, via) in [
        (Family::V4, "10.99.0.2", ["10.98.00.2", "10.98.01.2"]),
        (Family::V6, "fd99::2", ["fd98:00::2", "fd98:01::2"]),
    ] {
        let mut fabric = fabric(Underlay::Routed);
        let wires = hosts(&mut fabric, family);
        let (edge, routers) = (&fabric.edges[0].netns, &fabric.routers);
        let via = via.map(|via| via.replace(".00.", ".0.").replace(".01.", ".1."));
        let stream = stream(&wires[0], mac(2), &wires[1], || {
            for (way, closed) in [(1, 0), (0, 1), (1, 0)] {
                // First the way that is to be left carries on; then it is closed, which nobody may
                // notice any more.
                edge.ip(&format!("route replace {to} via {} dev up{way}", via[way])).unwrap();
                follows(
                    &fabric,
                    &format!("up{way}"),
                    &mac_text(routers[way].mac("edge0").unwrap()),
                );
                for (router, forwards) in [(way, "1"), (closed, "0")] {
                    routers[router].sysctl("net/ipv4/conf/all/forwarding", forwards).unwrap();
                    routers[router].sysctl("net/ipv6/conf/all/forwarding", forwards).unwrap();
                }
                thread::sleep(Duration::from_millis(50));
                let next = 1 - way;
                routers[next].sysctl("net/ipv4/conf/all/forwarding", "1").unwrap();
                routers[next].sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
            }
        });
        nothing_lost(&format!("{family:?} route"), &stream);
    }
}

#[test]
fn a_new_route_is_used_within_100_ms() {
    let mut fabric = fabric(Underlay::Routed);
    let wires = hosts(&mut fabric, Family::V4);
    let taps = [0, 1].map(|router: usize| {
        fabric.routers[router].enter(|| Ok(PacketSocket::open("edge0")?)).unwrap()
    });
    let mut took = Vec::new();
    for way in [1, 0].into_iter().cycle().take(10) {
        taps.iter().for_each(|tap| while tap.try_receive().unwrap().is_some() {});
        let route = format!("route replace 10.99.0.2 via 10.98.{way}.2 dev up{way}");
        fabric.edges[0].netns.ip(&route).unwrap();
        let changed = Instant::now();
        let is_ours = |bytes: Vec<u8>| Frame(bytes).contains(b"which way?");
        while !std::iter::from_fn(|| taps[way].try_receive().unwrap()).any(is_ours) {
            assert!(changed.elapsed() < common::PATIENCE, "route {way} is not used");
            wires[0].send(&datagram(1, mac(2), "which way?")).unwrap();
            thread::sleep(Duration::from_millis(1));
        }
        took.push(changed.elapsed());
        thread::sleep(Duration::from_millis(20));
    }
    took.sort();
    assert!(took[5] < FOLLOWED, "{took:?}");
}

#[test]
fn a_smaller_underlay_mtu_is_obeyed() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = hosts(&mut fabric, Family::V4);
    let long = "long".repeat(300);
    wires[0].send(&datagram(1, mac(2), &long)).unwrap();
    assert!(comes(&wires[1], &long));
    fabric.edges[0].netns.ip("route replace 10.99.0.2 dev up0 mtu 1100").unwrap();
    assert!(soon(|| {
        wires[0].send(&datagram(1, mac(2), &long)).unwrap();
        fabric.edges[0].dropped("p0 untagged", "underlay-mtu").unwrap() > 0
    }));
}

#[test]
fn flows_share_paths_of_equal_cost_and_move_when_one_breaks() {
    let mut fabric = fabric(Underlay::Routed);
    let wires = hosts(&mut fabric, Family::V4);
    let taps = [0, 1].map(|router: usize| {
        fabric.routers[router].enter(|| Ok(PacketSocket::open("edge0")?)).unwrap()
    });
    let flows = |word: &str| {
        for port in 0..64 {
            let macs = Macs { from: mac(1), to: mac(2) };
            wires[0]
                .send(&Frame::udp(macs, (common::v4(1), common::v4(2)), (port, 7), word.as_bytes()))
                .unwrap();
        }
        thread::sleep(common::SILENCE);
        taps.each_ref().map(|tap| {
            let mut seen = 0;
            while let Some(bytes) = tap.try_receive().unwrap() {
                seen += usize::from(Frame(bytes).contains(word.as_bytes()));
            }
            seen
        })
    };
    let [one, two] = flows("shared");
    assert!(one + two == 64 && one >= 12 && two >= 12, "{one} and {two} of 64 flows");
    fabric.edges[0].netns.ip("link set up0 down").unwrap();
    follows(&fabric, "up1", &mac_text(fabric.routers[1].mac("edge0").unwrap()));
    assert_eq!(flows("moved"), [0, 64]);
    assert_eq!(
        wires[1].drain().unwrap().iter().filter(|frame| frame.contains(b"moved")).count(),
        64
    );
}

#[test]
fn a_second_way_is_used_within_100_ms() {
    let mut fabric = fabric(Underlay::Routed);
    let wires = hosts(&mut fabric, Family::V4);
    let edge = fabric.edges[0].netns.clone();
    let tap = fabric.routers[1].enter(|| Ok(PacketSocket::open("edge0")?)).unwrap();
    let macs = Macs { from: mac(1), to: mac(2) };
    let mut ports = (0..64).cycle();
    let mut send = || {
        let ports = (ports.next().unwrap(), 7);
        wires[0]
            .send(&Frame::udp(macs, (common::v4(1), common::v4(2)), ports, b"which way?"))
            .unwrap();
        thread::sleep(Duration::from_millis(1));
    };
    let mut took = Vec::new();
    for _ in 0..5 {
        edge.ip("route replace 10.99.0.2 via 10.98.0.2 dev up0").unwrap();
        follows(&fabric, "up0", &mac_text(fabric.routers[0].mac("edge0").unwrap()));
        // What the programs remember of the flow is new when its ways change, and would hold for a
        // while.
        thread::sleep(REMEMBERED);
        (0..8).for_each(|_| send());
        while tap.try_receive().unwrap().is_some() {}
        edge.ip(
            "route replace 10.99.0.2 nexthop via 10.98.0.2 dev up0 nexthop via 10.98.1.2 dev up1",
        )
        .unwrap();
        let changed = Instant::now();
        let is_ours = |bytes: Vec<u8>| Frame(bytes).contains(b"which way?");
        while !std::iter::from_fn(|| tap.try_receive().unwrap()).any(is_ours) {
            assert!(changed.elapsed() < common::PATIENCE, "the second way is not used");
            send();
        }
        took.push(changed.elapsed());
    }
    took.sort();
    assert!(took[2] < FOLLOWED, "{took:?}");
}

#[test]
fn a_neighbours_new_address_is_used_within_100_ms() {
    let mut fabric = fabric(Underlay::Direct);
    let wire = fabric.plug(0, "p0").unwrap();
    // As fast as the wire takes them, which is more broadcasts than an attachment may flood by
    // default.
    let file = file(&fabric, 0, Family::V4).key("storm", "\"off\"");
    fabric.edges[0].start(&file).unwrap();
    // No agent at the far edge: its end of the underlay shows what is on it.
    let tap = fabric.edges[1].netns.enter(|| Ok(PacketSocket::open("up0")?)).unwrap();
    let mut took = Vec::new();
    for host in (11..=12).cycle().take(10) {
        let change =
            format!("neigh replace 10.99.0.2 lladdr {} dev up0 nud permanent", mac_text(mac(host)));
        fabric.edges[0].netns.ip(&change).unwrap();
        let changed = Instant::now();
        while changed.elapsed() < common::PATIENCE {
            wire.send(&datagram(1, BROADCAST, "whose?")).unwrap();
            let is_ours = |bytes: &Vec<u8>| Frame(bytes.clone()).contains(b"whose?");
            let frame = std::iter::from_fn(|| tap.receive(common::PATIENCE).unwrap())
                .find(is_ours)
                .unwrap();
            if frame[..6] == mac(host) {
                break;
            }
        }
        took.push(changed.elapsed());
    }
    // The median: a single change may have to wait for the tests that run beside this one.
    took.sort();
    assert!(took[5] < FOLLOWED, "{took:?}");
}

#[test]
fn a_tunnel_follows_an_uplink_whose_address_changes() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = hosts(&mut fabric, Family::V6);
    fabric.edges[1].netns.ip("link set up0 address 02:99:00:00:00:02").unwrap();
    // The near edge hears of it by neighbour discovery, the far edge by netlink.
    fabric.edges[0]
        .netns
        .ip("neigh replace fd99::2 lladdr 02:99:00:00:00:02 dev up0 nud reachable")
        .unwrap();
    follows(&fabric, "up0", "02:99:00:00:00:02");
    wires[0].send(&datagram(1, mac(2), "to the new address")).unwrap();
    assert!(comes(&wires[1], "to the new address"));
}

#[test]
fn a_port_that_comes_back_is_a_port_again() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = hosts(&mut fabric, Family::V4);
    let third = {
        let file =
            file(&fabric, 1, Family::V4).port("p1", "access").attach("alder-lan", "p1", "untagged");
        let wire = fabric.plug(1, "p1").unwrap();
        fabric.edges[1].reload(&file).unwrap();
        wire
    };
    fabric.edges[1].netns.ip("link del p0").unwrap();
    assert!(soon(|| fabric.edges[1]
        .show("ports")
        .unwrap()
        .iter()
        .all(|port| port["name"] != "p0")));
    wires[0].send(&datagram(1, BROADCAST, "to who is left")).unwrap();
    assert!(comes(&third, "to who is left"));
    let again = fabric.plug(1, "p0").unwrap();
    // XDP is what comes last.
    assert!(soon(|| fabric.edges[1]
        .netns
        .run("ip", &["link", "show", "p0"])
        .unwrap()
        .contains("xdp")));
    let wires = [wires.into_iter().next().unwrap(), again];
    greet(&wires);
    nothing_lost("after the port came back", &stream_for(&wires, 100));
}

#[test]
fn a_port_whose_role_changes_is_what_it_is_now() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = hosts(&mut fabric, Family::V4);
    /// Bytes of an Ethernet header and ARP.
    const ARP: usize = 14 + 28;
    fabric.edges[0].netns.ip("address add 192.0.2.1/24 dev p0").unwrap();
    let [node, host] = [1, 2].map(|last| Ipv4Addr::new(192, 0, 2, last));
    let macs = Macs { from: mac(1), to: BROADCAST };
    let question = Frame::arp(macs, 1, (mac(1), host), ([0; 6], node), &[]);
    let its_mac = fabric.edges[0].netns.mac("p0").unwrap();
    let macs = Macs { from: its_mac, to: mac(1) };
    let answer = Frame::arp(macs, 2, (its_mac, node), (mac(1), host), &[]);
    let is_answered = || {
        wires[0].drain().unwrap();
        wires[0].send(&question).unwrap();
        // The kernel sends no padding.
        let is_answer = |frame: &Frame| frame.0.starts_with(&answer.0[..ARP]);
        wires[0].expect(Duration::from_millis(300), is_answer).unwrap().is_some()
    };
    let (access, uplink) = (file(&fabric, 0, Family::V4), fabric.file(0).port("p0", "uplink"));
    let own_frame_leaves = || {
        let own = fabric.edges[0].netns.enter(|| Ok(PacketSocket::open("p0")?)).unwrap();
        // Who sends what is dropped at TC is told so.
        let _ = own.send(&datagram(9, mac(1), "of the host itself").0);
        comes(&wires[0], "of the host itself")
    };
    assert!(!is_answered() && !own_frame_leaves(), "the host is nobody on an access port");
    fabric.edges[0].reload(&uplink).unwrap();
    assert!(is_answered() && own_frame_leaves(), "an uplink is the host's");
    fabric.edges[0].reload(&access).unwrap();
    assert!(!is_answered() && !own_frame_leaves(), "it is an access port again");
    greet(&wires);
}
