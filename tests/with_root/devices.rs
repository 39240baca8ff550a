//! Which devices can be ports, what an agent sets on them, and what it says of those that can't be.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use sillon_abi::ABI_VERSION;
use sillon_rig::{
    Fabric, Family, Frame, Node, NodeFile, Underlay, Wire,
    frame::{BROADCAST, Macs},
};

use crate::common::{comes, datagram, fabric, mac, soon};

/// What an agent leaves out of this file, and why; nothing of the node stays.
fn left_out(fabric: &mut Fabric, file: &NodeFile, arguments: &[&str]) -> String {
    let edge = &mut fabric.edges[0];
    edge.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    edge.start(file).unwrap();
    let text = serde_json::to_string_pretty(&edge.show("left-out").unwrap()).unwrap();
    let text = text.replace("\\\"", "\"");
    edge.kill().unwrap();
    edge.flush().unwrap();
    text
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
    let mut fabric = fabric(Underlay::Direct);
    fabric.edges[0].netns.ip("tuntap add tun9 mode tun\nlink set tun9 up").unwrap();
    for (role, hook) in
        [("access", "auto"), ("handover", "xdp"), ("uplink", "tc"), ("uplink", "auto")]
    {
        let file =
            NodeFile::new("edge1", &[]).port_at("lo", role, hook).port_at("tun9", role, hook);
        let text = left_out(&mut fabric, &file, &[]);
        assert!(text.contains("\"lo\"") && text.contains("\"tun9\""), "{text}");
        assert_eq!(text.matches("no Ethernet device").count(), 2, "{text}");
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
    assert!(
        soon(|| !log().is_empty())
            && !log().contains("attached port=\"p0\" ifindex=3 mode=generic")
    );
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
        let file = if edge == 0 {
            file.port_at("br0", "uplink", "auto")
        } else {
            file.port("up0", "uplink")
        };
        let file = file.port("p0", "access").segment(
            "alder-lan",
            100,
            "lan",
            &[fabric.vtep(1 - edge, Family::V4)],
        );
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
    let mut fabric = fabric(Underlay::Direct);
    bridged_underlay(&fabric);
    let file = NodeFile::new("edge1", &["10.99.0.1"]).port_at("br0", "uplink", "xdp");
    let text = left_out(&mut fabric, &file, &[]);
    for word in [
        "no XDP",
        "hook = \"tc\"",
        "--xdp-mode generic",
        "Operation not supported",
        "bpf_link_create",
    ] {
        assert_eq!(text.matches(word).count(), 1, "{word} in {text}");
    }
}

#[test]
fn ports_that_face_servers_hear_frames_for_everybody_and_are_given_back_as_they_were() {
    let mut fabric = fabric(Underlay::Direct);
    let _wires = ["p0", "p1", "p2"].map(|port| fabric.plug(0, port).unwrap());
    // p1 is so by its owner's wish.
    fabric.edges[0].netns.ip("link set p1 promisc on").unwrap();
    let file =
        fabric.file(0).port("p0", "access").port_at("p1", "handover", "tc").port("p2", "access");
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

/// What the node's own stack hears on a port.
fn own_stack(node: &Node, port: &str) -> [String; 3] {
    ["ipv6/conf/PORT/disable_ipv6", "ipv4/conf/PORT/rp_filter", "ipv4/conf/PORT/arp_ignore"].map(
        |key| {
            let path = format!("/proc/sys/net/{}", key.replace("PORT", port));
            node.netns.run("cat", &[&path]).unwrap().trim().to_owned()
        },
    )
}

/// Programs are not asked of every frame (`tc_skip_classify`, and what comes before they are
/// there): the node's own stack hears nothing on a port that faces servers all the same.
#[test]
fn the_nodes_own_stack_is_closed_on_ports_that_face_servers() {
    const CLOSED: [&str; 3] = ["1", "1", "8"];
    let mut fabric = fabric(Underlay::Direct);
    let wire = fabric.plug(0, "p0").unwrap();
    let _other = fabric.plug(0, "p1").unwrap();
    // All as the kernel has it, and p1 as its owner wants it.
    for (key, value) in [("ipv6/conf/p0/disable_ipv6", "0"), ("ipv4/conf/p0/rp_filter", "0")] {
        fabric.edges[0].netns.sysctl(&format!("net/{key}"), value).unwrap();
    }
    fabric.edges[0].netns.sysctl("net/ipv4/conf/p1/rp_filter", "2").unwrap();
    let before = ["p0", "p1", "up0"].map(|port| own_stack(&fabric.edges[0], port));
    let file = fabric.file(0).port("p0", "access").port_at("p1", "handover", "tc");
    fabric.edges[0].start(&file).unwrap();
    let node = &fabric.edges[0];
    for port in ["p0", "p1"] {
        assert_eq!(own_stack(node, port), CLOSED, "{port}");
    }
    assert_eq!(own_stack(node, "up0"), before[2], "the underlay is the owner's");
    node.netns.sysctl("net/ipv6/conf/p0/disable_ipv6", "0").unwrap();
    assert!(soon(|| own_stack(node, "p0") == CLOSED), "it is closed again");
    // Without any program, as for a frame that none is asked of: what is for the node's own address
    // does not get there.
    fabric.edges[0].kill().unwrap();
    let node = &fabric.edges[0];
    let links = format!("/sys/fs/bpf/sillon/edge1/v{ABI_VERSION}/links");
    node.netns.enter(|| Ok(std::fs::remove_dir_all(links)?)).unwrap();
    let received = || {
        let all = node.netns.run("cat", &["/proc/net/snmp"]).unwrap();
        let line = all.lines().filter(|line| line.starts_with("Udp:")).nth(1).unwrap();
        let numbers: Vec<u64> =
            line.split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect();
        // InDatagrams and NoPorts: it got to UDP.
        numbers[0] + numbers[1]
    };
    let [vtep, remote] = [0, 1].map(|edge| fabric.vtep(edge, Family::V4).parse().unwrap());
    let to = node.netns.mac("p0").unwrap();
    let datagram =
        Frame::udp(Macs { from: [2, 0, 0, 0, 0, 9], to }, (remote, vtep), (9, 9), b"hello?");
    let send = || (0..10).for_each(|_| wire.send(&datagram).unwrap());
    let none = received();
    send();
    // Where the stack is open it is there.
    node.netns.sysctl("net/ipv4/conf/p0/rp_filter", "0").unwrap();
    assert_eq!(received(), none);
    send();
    assert!(soon(|| received() >= none + 10), "the test itself");
    node.netns.sysctl("net/ipv4/conf/p0/rp_filter", "1").unwrap();
    node.flush().unwrap();
    assert_eq!(["p0", "p1", "up0"].map(|port| own_stack(node, port)), before);
}

/// A value for all devices can undo a port's: only the owner can mend that, and is told so.
#[test]
fn a_setting_for_all_devices_that_opens_ports_is_told_of() {
    const ALL: &str = "net/ipv4/conf/all/rp_filter";
    const LINE: &str = "net.ipv4.conf.all.rp_filter = 2";
    let mut fabric = fabric(Underlay::Direct);
    let _wire = fabric.plug(0, "p0").unwrap();
    fabric.edges[0].netns.sysctl("net/ipv4/conf/p0/arp_ignore", "3").unwrap();
    let before = own_stack(&fabric.edges[0], "p0");
    let file = fabric.file(0).port("p0", "access");
    fabric.edges[0].start(&file).unwrap();
    let node = &fabric.edges[0];
    assert_eq!(own_stack(node, "p0")[2], "8", "what answers for any address is closed as well");
    let proof = || {
        let output = node.sillon(&["verify"]).unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    assert!(proof().0, "{}", proof().1);
    node.netns.sysctl(ALL, "2").unwrap();
    assert!(!proof().0 && proof().1.contains(LINE), "{}", proof().1);
    let told = || node.log().matches(LINE).count();
    let end = Instant::now() + Duration::from_secs(12);
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(told(), 1, "once: {}", node.log());
    assert!(!node.log().contains("is applied again"), "{}", node.log());
    node.netns.sysctl(ALL, "1").unwrap();
    assert!(proof().0, "{}", proof().1);
    // What somebody opens on the port itself is seen, and closed again.
    node.netns.sysctl("net/ipv4/conf/p0/rp_filter", "2").unwrap();
    assert!(soon(|| own_stack(node, "p0")[1] == "1"));
    fabric.edges[0].kill().unwrap();
    let node = &fabric.edges[0];
    node.netns.sysctl("net/ipv6/conf/p0/disable_ipv6", "0").unwrap();
    let output = node.sillon(&["verify"]).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("net.ipv6.conf.p0.disable_ipv6 = 0"), "{text}");
    node.flush().unwrap();
    assert_eq!(own_stack(node, "p0")[2], before[2]);
}

/// A new device is an interface of the node like any other until the programs are on it.
#[test]
fn the_nodes_own_stack_is_closed_on_a_new_device_before_anything_else() {
    let mut fabric = fabric(Underlay::Direct);
    let file = fabric.file(0).port("p0", "access").segment("alder-lan", 100, "lan", &[]);
    fabric.edges[0].start(&file.attach("alder-lan", "p0", "untagged")).unwrap();
    let node = &fabric.edges[0];
    for key in ["ipv6/conf/default/disable_ipv6", "ipv4/conf/default/rp_filter"] {
        node.netns.sysctl(&format!("net/{key}"), "0").unwrap();
    }
    let _wire = fabric.plug(0, "p0").unwrap();
    assert!(soon(|| is_promiscuous(node, "p0")));
    let log = node.log();
    let at =
        |words: &str| log.lines().position(|it| it.contains("port=\"p0\"") && it.contains(words));
    let (closed, attached) = (at("IP stack hears nothing"), at("attached"));
    assert!(closed.is_some() && closed < attached, "{log}");
    assert_eq!(own_stack(node, "p0"), ["1", "1", "8"]);
    // And it is given back as it was.
    node.reload(&fabric.file(0)).unwrap();
    assert_eq!(own_stack(node, "p0"), ["0", "0", "0"]);
}

/// What another has attached, or will, is nobody's whose link goes up and down.
#[test]
fn a_container_that_flaps_its_link_costs_the_node_nothing() {
    const DEVICES: &str = "came, went or became another";
    let mut fabric = fabric(Underlay::Direct);
    let wires = ["p0", "p1", "p2"].map(|port| fabric.plug(0, port).unwrap());
    let file = |birch: bool| {
        let file = fabric.file(0).port_at("p0", "access", "tc").port("p1", "access");
        let file = file.port("p2", "access").segment("alder-lan", 100, "lan", &[]);
        let file = file.segment("birch-lan", 200, "lan", &[]);
        let file = file.attach("alder-lan", "p0", "untagged").attach("birch-lan", "p1", "untagged");
        if birch { file.attach("birch-lan", "p2", "untagged") } else { file }
    };
    let files = [file(false), file(true)];
    fabric.edges[0].environment = vec![("RUST_LOG".to_owned(), "sillon=debug".to_owned())];
    fabric.edges[0].start(&files[0]).unwrap();
    let node = &fabric.edges[0];
    let before = node.log().matches(DEVICES).count();
    let is_over = AtomicBool::new(false);
    let (flaps, took) = thread::scope(|scope| {
        let flapping = scope.spawn(|| {
            let mut flaps = 0;
            while !is_over.load(Ordering::Relaxed) || flaps < 60 {
                for to in ["down", "up"] {
                    wires[0].netns.ip(&format!("link set eth0 {to}")).unwrap();
                    thread::sleep(Duration::from_millis(7));
                }
                flaps += 1;
            }
            flaps
        });
        thread::sleep(Duration::from_secs(2));
        let begun = Instant::now();
        let reloaded = node.reload(&files[1]);
        let took = begun.elapsed();
        thread::sleep(Duration::from_secs(1));
        is_over.store(true, Ordering::Relaxed);
        reloaded.unwrap();
        (flapping.join().unwrap(), took)
    });
    assert!(took < Duration::from_secs(3), "birch waited {took:?}");
    // The reload puts programs on a port, which is a change of its device.
    let converged = node.log().matches(DEVICES).count() - before;
    assert!(converged <= 3, "{converged} times for {flaps} flaps");
    wires[1].send(&datagram(1, BROADCAST, "birch")).unwrap();
    assert!(comes(&wires[2], "birch"));
}

/// What comes back by an uplink that is left out is in no tunnel for the node.
#[test]
fn an_uplink_that_is_left_out_is_no_way() {
    let mut fabric = fabric(Underlay::Direct);
    let _wire = fabric.plug(0, "p0").unwrap();
    let file = fabric.file(0).port_at("p0", "access", "tc").segment(
        "alder-lan",
        100,
        "lan",
        &[fabric.vtep(1, Family::V4)],
    );
    let file = file.attach("alder-lan", "p0", "untagged");
    fabric.edges[0].arguments = ["--xdp-mode", "generic"].map(str::to_owned).into();
    fabric.edges[0].start(&file).unwrap();
    let node = &fabric.edges[0];
    assert!(node.table("left-out").unwrap().contains("generic XDP is not for a veth"));
    // The neighbour answers all the same.
    let neighbour = ["neigh", "show", fabric.vtep(1, Family::V4), "nud", "reachable"];
    assert!(soon(|| !node.netns.run("ip", &neighbour).unwrap().is_empty()));
    thread::sleep(Duration::from_secs(7));
    let ways = || node.show("remotes").unwrap()[0]["paths"].as_array().unwrap().len();
    assert_eq!(ways(), 0);
    assert!(node.sillon(&["verify"]).unwrap().status.success());
    assert!(!node.log().contains("drift"), "{}", node.log());
}

#[test]
fn an_uplink_that_comes_is_a_way_at_once() {
    let mut fabric = fabric(Underlay::Direct);
    let _wire = fabric.plug(0, "p0").unwrap();
    let file = fabric.file(0).port("p0", "access").segment(
        "alder-lan",
        100,
        "lan",
        &[fabric.vtep(1, Family::V4)],
    );
    let away = "link set up0 down\nlink set up0 name later\nlink set later up";
    fabric.edges[0].netns.ip(away).unwrap();
    let file = file.attach("alder-lan", "p0", "untagged");
    fabric.edges[0].start(&file).unwrap();
    let node = &fabric.edges[0];
    let ways = || node.show("remotes").unwrap()[0]["paths"].as_array().unwrap().len();
    assert_eq!(ways(), 0);
    let back = "link set later down\nlink set later name up0\nlink set up0 up";
    node.netns.ip(back).unwrap();
    assert!(soon(|| ways() == 1), "{}", node.log());
    assert!(node.sillon(&["verify"]).unwrap().status.success());
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
    // A bridge gives itself only what is for its own address, as hardware does, unless it is
    // promiscuous.
    let wires: [Wire; 2] = ["t0", "p1"].map(|port| fabric.plug(0, port).unwrap());
    fabric.edges[0]
        .netns
        .ip("link add br0 type bridge\nlink set br0 up\nlink set t0 master br0")
        .unwrap();
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

/// The kernel runs XDP for a tap on skbs whenever the guest leaves a checksum or a super-packet to
/// its card.
#[test]
fn xdp_is_refused_on_a_tap_whatever_it_faces() {
    let mut fabric = fabric(Underlay::Direct);
    fabric.edges[0].netns.ip("tuntap add tap9 mode tap\nlink set tap9 up").unwrap();
    for role in ["access", "handover", "uplink"] {
        let text =
            left_out(&mut fabric, &NodeFile::new("edge1", &[]).port_at("tap9", role, "xdp"), &[]);
        assert!(text.contains("hook = \"xdp\" is not for a tap"), "{role}: {text}");
        fabric.edges[0].start(&NodeFile::new("edge1", &[]).port_at("tap9", role, "auto")).unwrap();
        assert_eq!(mode(&fabric.edges[0], "tap9"), "tc", "{role}");
        fabric.edges[0].kill().unwrap();
        fabric.edges[0].flush().unwrap();
    }
}

#[test]
fn generic_xdp_is_refused_on_what_a_container_or_a_machine_sits_behind() {
    let mut fabric = fabric(Underlay::Direct);
    let _wires = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
    let generic = ["--xdp-mode", "generic"];
    // What is over another device has lost its tags when generic XDP sees it.
    let devices = "tuntap add tap8 mode tap\ntuntap add tap9 mode tap\nlink add br9 type \
        bridge\nlink set br9 up";
    fabric.edges[0].netns.ip(devices).unwrap();
    let file = NodeFile::new("edge1", &[])
        .port("p0", "access")
        .port("p1", "handover")
        .port("tap8", "access");
    let file = file.port("tap9", "uplink").port("up0", "uplink");
    let text = left_out(&mut fabric, &file, &generic);
    assert_eq!(text.matches("generic XDP is not for a veth").count(), 3, "{text}");
    assert_eq!(text.matches("hook = \"xdp\" is not for a tap").count(), 2, "{text}");
    assert!(text.contains("hook = \"tc\""), "{text}");
    for encap in ["dot1q 7", "qinq 7.8", "port"] {
        let file =
            NodeFile::new("edge1", &[]).port("br9", "access").segment("alder-lan", 100, "lan", &[]);
        let text = left_out(
            &mut fabric,
            &file.key("mtu", 1400).attach("alder-lan", "br9", encap),
            &generic,
        );
        assert!(text.contains("generic XDP sees no tags on a bridge"), "{text}");
    }
    let file =
        NodeFile::new("edge1", &[]).port_at("p0", "access", "auto").port_at("up0", "uplink", "tc");
    fabric.edges[0].start(&file).unwrap();
    assert_eq!(
        (mode(&fabric.edges[0], "p0"), mode(&fabric.edges[0], "up0")),
        ("tc".to_owned(), "tc".to_owned())
    );
}
