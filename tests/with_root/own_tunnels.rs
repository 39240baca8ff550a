//! Tunnels of the operators' own, between hosts of theirs: with all that the hosts' devices leave
//! to others, as it is by default.

use std::{
    io::ErrorKind,
    net::{TcpStream, UdpSocket},
};

use serde_json::Value;
use sillon_rig::{Fabric, Family, KernelHost, NodeFile, Underlay};

use crate::common::{SILENCE, fabric, soon};

/// Bytes of a transfer: enough for many super-packets.
const BYTES: u64 = 16 << 20;
/// Most that a packet has.
const MTU: u64 = 1500;

/// What makes a tunnel between two hosts: what `ip link add` is told after the device, where this
/// is host `here` and that is `there`.
type Kind = fn(here: u8, there: u8) -> String;

/// This kernel knows no others.
const KINDS: [(&str, Kind); 3] = [
    ("VXLAN", |here, there| {
        format!("type vxlan id 7 local 10.0.0.{here} remote 10.0.0.{there} dstport 4789")
    }),
    ("VXLAN with checksums", |here, there| {
        format!("type vxlan id 7 local 10.0.0.{here} remote 10.0.0.{there} dstport 4789 udpcsum")
    }),
    ("VXLAN over IPv6", |here, there| {
        format!("type vxlan id 7 local fd00::{here} remote fd00::{there} dstport 8472")
    }),
];

/// Host 1 at `p0` of edge 0, host 2 at `p0` of edge 1, host 3 at `p1` of edge 0.
fn start(uplink: &str, more: impl Fn(NodeFile) -> NodeFile) -> (Fabric, [KernelHost; 3]) {
    let mut fabric = fabric(Underlay::Direct);
    let wires =
        [(0, "p0"), (1, "p0"), (0, "p1")].map(|(edge, port)| fabric.plug(edge, port).unwrap());
    for edge in [0, 1] {
        let remote = fabric.vtep(1 - edge, Family::V4);
        let mut file = fabric.file_at(edge, uplink).port_at("p0", "access", "auto");
        if edge == 0 {
            file = file.port_at("p1", "access", "auto");
        }
        file = file.segment("alder-lan", 100, "lan", &[remote]);
        if edge == 0 {
            file = file.attach("alder-lan", "p1", "untagged");
        }
        let file = more(file.attach("alder-lan", "p0", "untagged"));
        fabric.edges[edge].start(&file).unwrap();
    }
    let on = ["tx", "on", "tso", "on", "gso", "on", "gro", "on"];
    let offload = |netns: &sillon_rig::Netns, device| {
        netns.run("ethtool", &[&["-K", device][..], &on].concat()).unwrap();
    };
    if uplink == "tc" {
        fabric.edges.iter().for_each(|edge| offload(&edge.netns, "up0"));
    }
    let mut number = 0;
    let hosts = wires.map(|wire| {
        number += 1;
        offload(&wire.netns, "eth0");
        let host = KernelHost::new(wire, &format!("02:00:00:00:00:0{number}"), &[]).unwrap();
        let addresses = [format!("10.0.0.{number}/24"), format!("fd00::{number}/64")];
        host.wire
            .netns
            .ip(&addresses.map(|address| format!("addr add {address} dev eth0")).join("\n"))
            .unwrap();
        host
    });
    (fabric, hosts)
}

/// Makes the tunnel between two hosts; its ends are 172.16.0.1 and 172.16.0.2.
fn dig(hosts: [&KernelHost; 2], numbers: [u8; 2], kind: Kind) {
    let [one, two] = numbers;
    for (host, number, [here, there]) in [(hosts[0], 1, [one, two]), (hosts[1], 2, [two, one])] {
        let made = kind(here, there);
        host.wire
            .netns
            .ip(&format!(
                "link add tun0 {made}\nlink set tun0 mtu 1400 up\naddr add 172.16.0.{number}/24 \
                    dev tun0"
            ))
            .unwrap();
    }
}

/// Sends bytes through the tunnel, both ways.
fn use_it(hosts: [&KernelHost; 2], name: &str) {
    assert_eq!(hosts[0].ping("172.16.0.2", 3, 0.05).unwrap(), 3, "{name}");
    for (from, to) in [(0, "172.16.0.2"), (1, "172.16.0.1")] {
        let transfer =
            hosts[from].transfer(hosts[1 - from], to.parse().unwrap(), BYTES as usize).unwrap();
        assert!(transfer.intact, "{name} to {to}");
        eprintln!("{name} to {to}: {:.2} Gbit/s", transfer.gigabits());
    }
}

/// Frames and bytes that the attachment on a port has received and sent.
fn traffic(fabric: &Fabric, edge: usize, name: &str) -> [u64; 4] {
    let ports = fabric.edges[edge].show("ports").unwrap();
    let port: &Value = ports.iter().find(|port| port["name"] == name).unwrap();
    let traffic = &port["attachments"][0]["traffic"];
    ["in_frames", "in_bytes", "out_frames", "out_bytes"].map(|key| traffic[key].as_u64().unwrap())
}

fn crosses(uplink: &str) {
    let (fabric, hosts) = start(uplink, |file| file);
    let hosts = [&hosts[0], &hosts[1]];
    for (name, kind) in KINDS {
        dig(hosts, [1, 2], kind);
        let before = traffic(&fabric, 0, "p0");
        use_it(hosts, name);
        let after = traffic(&fabric, 0, "p0");
        // The host sends many as one. What is taken apart is counted as it came, and once.
        let [frames, bytes] = [0, 1].map(|at| after[at] - before[at]);
        assert!(bytes > BYTES && bytes < BYTES * 3 / 2, "{name}: {frames} frames, {bytes} bytes");
        for edge in &fabric.edges {
            assert_eq!(edge.dropped("p0", "no-headroom").unwrap(), 0, "{name}");
        }
        hosts.iter().for_each(|host| host.wire.netns.ip("link del tun0").unwrap());
    }
    let proof = fabric.edges[0].sillon(&["verify", "--node", fabric.edges[0].name()]).unwrap();
    assert!(
        proof.status.success(),
        "{}",
        String::from_utf8_lossy(&[proof.stdout, proof.stderr].concat())
    );
}

#[test]
fn a_hosts_tunnel_crosses_ours_with_uplinks_at_xdp() {
    crosses("xdp");
}

#[test]
fn a_hosts_tunnel_crosses_ours_with_uplinks_at_tc() {
    crosses("tc");
}

/// Between two ports of a node nothing has to be taken apart.
#[test]
fn a_hosts_tunnel_within_a_node_stays_whole() {
    let (fabric, hosts) = start("xdp", |file| file);
    let hosts = [&hosts[0], &hosts[2]];
    for (name, kind) in KINDS {
        dig(hosts, [1, 3], kind);
        let before = traffic(&fabric, 0, "p1");
        use_it(hosts, name);
        let after = traffic(&fabric, 0, "p1");
        let size = (after[3] - before[3]) / (after[2] - before[2]);
        assert!(size > MTU * 2, "{name}: {size} bytes a frame");
        hosts.iter().for_each(|host| host.wire.netns.ip("link del tun0").unwrap());
    }
}

/// A profile charges what goes on the wire, each packet once, and what it finds yellow is yellow to
/// the end.
#[test]
fn a_profile_charges_a_hosts_tunnel_once() {
    let profile = |file: NodeFile| {
        let file = file.key("ingress", "\"fast\"").profile("fast");
        file.key("cir", "\"1 Mbit/s\"")
            .key("cbs", "\"2000 B\"")
            .key("eir", "\"100 Gbit/s\"")
            .key("ebs", "\"64 MiB\"")
    };
    let (fabric, hosts) = start("xdp", profile);
    let hosts = [&hosts[0], &hosts[1]];
    dig(hosts, [1, 2], KINDS[0].1);
    use_it(hosts, "VXLAN");
    let guards = fabric.edges[0].show("guards").unwrap();
    let guard = guards.iter().find(|guard| guard["port"] == "p0").unwrap();
    let bytes = |colour: &str| guard["ingress"][colour]["bytes"].as_u64().unwrap();
    let on_the_wire = BYTES / 1348 * 1464;
    let charged = bytes("green") + bytes("yellow");
    assert!(
        charged >= on_the_wire && charged < on_the_wire * 5 / 4,
        "{charged} bytes of {on_the_wire}"
    );
    assert!(bytes("yellow") > on_the_wire * 3 / 4, "{guard:#}");
}

/// Without the program that knows them, nothing of an operator's comes to the node's own stack,
/// although that has the address; and an agent puts it back.
#[test]
fn the_nodes_own_stack_takes_nothing_that_is_to_be_taken_apart() {
    let (mut fabric, hosts) = start("xdp", |file| file);
    let hosts = [&hosts[0], &hosts[1]];
    dig(hosts, [1, 2], KINDS[0].1);
    use_it(hosts, "VXLAN");
    let node = &mut fabric.edges[0];
    node.netns.ip("addr add 10.0.0.2/32 dev lo").unwrap();
    let socket = node.netns.enter(|| Ok(UdpSocket::bind("10.0.0.2:4789")?)).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let hears = || socket.recv(&mut [0; 2048]).is_ok();
    // What the node says to itself goes by the same device.
    let say = || Ok(UdpSocket::bind("127.0.0.1:0")?.send_to(b"to itself", "10.0.0.2:4789")?);
    node.netns.enter(say).unwrap();
    assert!(hears());
    use_it(hosts, "VXLAN");
    assert!(!hears());

    node.kill().unwrap();
    let detach = || {
        let pins = sillon::dataplane::pins::Pins::of_node("edge1");
        Ok(sillon::dataplane::detach::detach_pinned(&pins.links().join("apart-1"))?)
    };
    node.netns.enter(detach).unwrap();
    assert!(!node.sillon(&["verify"]).unwrap().status.success());
    let call = || {
        Ok(TcpStream::connect_timeout(&"172.16.0.2:9".parse()?, SILENCE)
            .map_err(|error| error.kind()))
    };
    // The other end would refuse it.
    assert_eq!(hosts[0].wire.netns.enter(call).unwrap().err(), Some(ErrorKind::TimedOut));
    assert!(!hears());
    node.restart().unwrap();
    assert!(soon(|| {
        let refused = hosts[0].wire.netns.enter(call).unwrap().err();
        refused == Some(ErrorKind::ConnectionRefused)
    }));
    use_it(hosts, "VXLAN");
}
