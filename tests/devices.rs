//! Which devices can be ports, what an agent sets on them, and what it says of those that can't be.

#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

mod common;

use common::{comes, datagram, fabric, mac, soon};
use sillon_rig::{Fabric, Family, Node, NodeFile, Underlay, Wire, frame::BROADCAST};

/// The agent does not start with this file; what it says.
fn refused(node: &Node, file: &NodeFile, arguments: &[&str]) -> (Option<i32>, String) {
    node.write(file).unwrap();
    let config = node.file();
    // An agent that does start would run for ever.
    let agent = ["20", env!("CARGO_BIN_EXE_sillon"), "agent", "--config", &config];
    let output = node.netns.command("timeout").args([&agent, arguments].concat()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() != Some(124) && !output.status.success(), "it started: {text}");
    assert!(!node.netns.run("ip", &["link"]).unwrap().contains("xdp"), "something was left");
    (output.status.code(), text)
}

fn is_promiscuous(node: &Node, port: &str) -> bool {
    let link = node.netns.run("ip", &["link", "show", port]).unwrap();
    link.contains("PROMISC")
}

fn mode(node: &Node, port: &str) -> String {
    let ports = node.show("ports").unwrap();
    let port = ports.iter().find(|found| found["name"] == port).unwrap();
    port["mode"].as_str().unwrap_or("tc").to_owned()
}

#[test]
fn what_is_no_ethernet_device_is_no_port() {
    let fabric = fabric(Underlay::Direct);
    let node = &fabric.edges[0];
    node.netns.ip("tuntap add tun9 mode tun\nlink set tun9 up").unwrap();
    for device in ["lo", "tun9"] {
        for role in ["access", "handover", "uplink"] {
            for hook in ["auto", "xdp", "tc"] {
                let (code, text) =
                    refused(node, &NodeFile::new("edge1", &[]).port_at(device, role, hook), &[]);
                assert_eq!(code, Some(2), "{text}");
                assert!(
                    text.contains(&format!("port {device}")) && text.contains("no Ethernet device"),
                    "{text}"
                );
            }
        }
    }
}

#[test]
fn a_port_that_becomes_another_device_under_its_name_carries_nothing() {
    let mut fabric = fabric(Underlay::Direct);
    let _wire = fabric.plug(0, "p0").unwrap();
    let file = fabric.file(0).port_at("p0", "access", "tc").segment("alder-lan", 100, "lan", &[]);
    fabric.edges[0].start(&file.attach("alder-lan", "p0", "untagged")).unwrap();
    let node = &fabric.edges[0];
    node.netns.ip("link del p0\ntuntap add p0 mode tun\nlink set p0 up").unwrap();
    assert!(soon(|| node.show("ports").unwrap().iter().all(|port| port["name"] != "p0")));
    let log = || node.log();
    assert!(soon(|| !log().is_empty()) && !log().contains("attached port=\"p0\" ifindex=3 mode=generic"));
}

/// A bridge `br0` in an edge, with the rig's underlay in it and the VTEP on it.
fn bridged_underlay(fabric: &Fabric) {
    fabric.edges[0]
        .netns
        .ip("link add br0 type bridge\nlink set br0 mtu 1600\nlink set br0 up\nlink set up0 master br0\naddr del 10.99.0.1/24 dev up0\n\
             addr add 10.99.0.1/24 dev br0")
        .unwrap();
}

#[test]
fn a_device_over_others_is_an_uplink_at_tc_by_itself() {
    let mut fabric = fabric(Underlay::Direct);
    bridged_underlay(&fabric);
    let wires = [0, 1].map(|edge| {
        let file = NodeFile::new(fabric.edges[edge].name(), &[fabric.vtep(edge, Family::V4)]);
        let file = if edge == 0 { file.port_at("br0", "uplink", "auto") } else { file.port("up0", "uplink") };
        let file =
            file.port("p0", "access").segment("alder-lan", 100, "lan", &[fabric.vtep(1 - edge, Family::V4)]);
        let wire = fabric.plug(edge, "p0").unwrap();
        fabric.edges[edge].start(&file.attach("alder-lan", "p0", "untagged")).unwrap();
        wire
    });
    assert_eq!(mode(&fabric.edges[0], "br0"), "tc");
    wires[0].send(&datagram(1, BROADCAST, "for all")).unwrap();
    assert!(comes(&wires[1], "for all"));
    wires[1].send(&datagram(2, mac(1), "for one")).unwrap();
    assert!(comes(&wires[0], "for one"));
}

#[test]
fn a_driver_without_xdp_is_named_with_what_can_be_done() {
    let fabric = fabric(Underlay::Direct);
    bridged_underlay(&fabric);
    let file = NodeFile::new("edge1", &["10.99.0.1"]).port_at("br0", "uplink", "xdp");
    let (_, text) = refused(&fabric.edges[0], &file, &[]);
    for word in ["br0", "no XDP", "hook = \"tc\"", "--xdp-mode generic", "Operation not supported"] {
        assert_eq!(text.matches(word).count(), 1, "{word} in {text}");
    }
    assert_eq!(text.matches("bpf_link_create").count(), 1, "{text}");
}

#[test]
fn ports_that_face_servers_hear_frames_for_everybody_and_are_given_back_as_they_were() {
    let mut fabric = fabric(Underlay::Direct);
    let _wires = ["p0", "p1", "p2"].map(|port| fabric.plug(0, port).unwrap());
    // p1 is so by its owner's wish.
    fabric.edges[0].netns.ip("link set p1 promisc on").unwrap();
    let file = fabric.file(0).port("p0", "access").port_at("p1", "handover", "tc").port("p2", "access");
    fabric.edges[0].start(&file).unwrap();
    let node = &fabric.edges[0];
    for port in ["p0", "p1", "p2"] {
        assert!(is_promiscuous(node, port), "{port}");
    }
    assert!(!is_promiscuous(node, "up0"), "an uplink is the owner's, who hears what is for it");
    // Somebody turns it off: it is turned on again, with a word.
    node.netns.ip("link set p0 promisc off").unwrap();
    assert!(soon(|| is_promiscuous(node, "p0")));
    assert!(soon(|| node.log().contains("hears no frames for others")), "{}", node.log());
    // A port that is none any more.
    let fewer = fabric.file(0).port("p0", "access").port_at("p1", "handover", "tc");
    node.reload(&fewer).unwrap();
    assert!(!is_promiscuous(node, "p2"));
    // Whoever set it may be dead when it is undone.
    fabric.edges[0].kill().unwrap();
    fabric.edges[0].restart().unwrap();
    fabric.edges[0].kill().unwrap();
    let node = &fabric.edges[0];
    assert!(is_promiscuous(node, "p0"), "without an agent the port goes on");
    node.flush().unwrap();
    assert!(!is_promiscuous(node, "p0"));
    assert!(is_promiscuous(node, "p1"), "who had it so keeps it so");
}

#[test]
fn an_uplink_that_becomes_an_access_port_hears_frames_for_everybody() {
    let mut fabric = fabric(Underlay::Direct);
    let _wire = fabric.plug(0, "p0").unwrap();
    let [uplink, access] = ["uplink", "access"].map(|role| fabric.file(0).port("p0", role));
    fabric.edges[0].start(&uplink).unwrap();
    let node = &fabric.edges[0];
    assert!(!is_promiscuous(node, "p0"));
    node.reload(&access).unwrap();
    assert!(is_promiscuous(node, "p0"));
    node.reload(&uplink).unwrap();
    assert!(!is_promiscuous(node, "p0"));
}

#[test]
fn unicast_for_others_passes_a_device_that_filters_addresses() {
    let mut fabric = fabric(Underlay::Direct);
    // A bridge gives itself only what is for its own address, as hardware does, unless it is promiscuous.
    let wires: [Wire; 2] = ["t0", "p1"].map(|port| fabric.plug(0, port).unwrap());
    fabric.edges[0].netns.ip("link add br0 type bridge\nlink set br0 up\nlink set t0 master br0").unwrap();
    let file = fabric.file(0).port_at("br0", "access", "tc").port("p1", "access").segment(
        "alder-lan",
        100,
        "lan",
        &[],
    );
    let file = file.attach("alder-lan", "br0", "untagged").attach("alder-lan", "p1", "untagged");
    fabric.edges[0].start(&file).unwrap();
    wires[1].send(&datagram(2, BROADCAST, "I am 2")).unwrap();
    assert!(comes(&wires[0], "I am 2"));
    wires[0].send(&datagram(1, mac(2), "for you alone")).unwrap();
    assert!(comes(&wires[1], "for you alone"));
}

#[test]
fn generic_xdp_is_refused_on_what_a_container_or_a_machine_sits_behind() {
    let mut fabric = fabric(Underlay::Direct);
    let _wire = fabric.plug(0, "p0").unwrap();
    let generic = ["--xdp-mode", "generic"];
    let node = &fabric.edges[0];
    node.netns.ip("tuntap add tap9 mode tap\nlink set tap9 up").unwrap();
    for (device, role) in
        [("p0", "access"), ("p0", "handover"), ("tap9", "access"), ("up0", "uplink"), ("tap9", "uplink")]
    {
        let (code, text) = refused(node, &NodeFile::new("edge1", &[]).port_at(device, role, "xdp"), &generic);
        assert_eq!(code, Some(2), "{text}");
        let words = [&format!("port {device}"), "generic XDP", "hook = \"tc\""];
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
    let file = NodeFile::new("edge1", &[]).port_at("p0", "access", "auto").port_at("up0", "uplink", "tc");
    fabric.edges[0].arguments = generic.map(str::to_owned).to_vec();
    fabric.edges[0].start(&file).unwrap();
    assert_eq!(
        (mode(&fabric.edges[0], "p0"), mode(&fabric.edges[0], "up0")),
        ("tc".to_owned(), "tc".to_owned())
    );
}
