//! The commands of a node on a real kernel: what they refuse and why, what they print, and that
//! they leave nothing behind.

use std::process::Output;

use sillon_rig::{Fabric, Family, KernelHost, Node, NodeFile, Underlay, Wire, frame::BROADCAST};

use crate::common::{comes, datagram, fabric, soon, stays_away};

/// `p0` in one segment, with a remote.
fn file(fabric: &Fabric) -> NodeFile {
    let file = fabric.file(0).port("p0", "access").segment("alder-lan", 100, "lan", &["10.99.0.2"]);
    file.attach("alder-lan", "p0", "untagged")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

/// The agent refuses the file with exit code 2 and these words, and leaves nothing.
fn refused(node: &Node, file: &NodeFile, words: &[&str]) {
    node.write(file).unwrap();
    let output = node.sillon(&["agent", "--config", &node.file()]).unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{text} lacks one of {words:?}");
    assert_eq!(left_behind(node), "", "something was left");
}

/// Maps, links and programs of a node.
fn left_behind(node: &Node) -> String {
    let pins = node.netns.run("find", &["/sys/fs/bpf/sillon", "-type", "f"]).unwrap_or_default();
    let links = node.netns.run("ip", &["link"]).unwrap();
    pins + if links.contains("xdp") { "xdp" } else { "" }
}

/// What the node says that it leaves out, a line each.
fn left_out(node: &Node) -> Vec<String> {
    let word = |value: &serde_json::Value| value.as_str().unwrap_or("").to_owned();
    let all = node.show("left-out").unwrap();
    let line = |it: &serde_json::Value| {
        ["kind", "segment", "port", "encap", "why", "help"].map(|key| word(&it[key])).join(" ")
    };
    all.iter().map(line).collect()
}

/// Soon, nothing but what has all these words is left out.
fn only_this_is_left_out(node: &Node, words: &[&str]) {
    let is_so = || {
        let all = left_out(node);
        !all.is_empty() && all.iter().all(|line| words.iter().all(|word| line.contains(word)))
    };
    assert!(soon(is_so), "{words:?}: {:?}", left_out(node));
}

/// Two hosts of birch, which whatever is wrong with alder's must not touch.
fn reach(wires: &[Wire; 2], word: &str) {
    wires[0].send(&datagram(1, BROADCAST, word)).unwrap();
    assert!(comes(&wires[1], word), "{word}");
}

/// alder's `p0`, and birch's `p1` and `p2`.
fn of_two(fabric: &Fabric) -> NodeFile {
    let file = file(fabric).segment("birch-lan", 200, "lan", &[]);
    ["p1", "p2"]
        .into_iter()
        .fold(file, |file, port| file.port(port, "access").attach("birch-lan", port, "untagged"))
}

#[test]
fn a_port_that_can_not_be_used_is_left_out_with_the_reason_and_the_others_are_there() {
    let mut fabric = fabric(Underlay::Direct);
    let birch = ["p1", "p2"].map(|port| fabric.plug(0, port).unwrap());
    let file = of_two(&fabric);
    fabric.edges[0].start(&file).unwrap();
    reach(&birch, "without alder's");
    let node = &fabric.edges[0];
    only_this_is_left_out(node, &["port", "p0", "no such interface"]);
    assert!(node.log().contains("p0 is left out: there is no such interface"), "{}", node.log());
    assert!(node.table("all").unwrap().contains("no such interface"));
    // It is there as soon as it can be.
    let alder = fabric.plug(0, "p0").unwrap();
    let node = &fabric.edges[0];
    let follows = || {
        alder.send(&datagram(1, BROADCAST, "alder is here")).unwrap();
        node.fdb().unwrap().iter().any(|entry| entry.segment == "alder-lan")
    };
    assert!(soon(follows));
    assert!(soon(|| left_out(node).is_empty()), "{:?}", left_out(node));
    // What becomes of it later is told, too.
    node.netns.ip("link del p0").unwrap();
    only_this_is_left_out(node, &["port", "p0", "no such interface"]);
    reach(&birch, "after alder's");
}

#[test]
fn a_device_that_is_anothers_is_left_out_until_it_is_not() {
    let mut fabric = fabric(Underlay::Direct);
    let birch = ["p1", "p2"].map(|port| fabric.plug(0, port).unwrap());
    let _alder = fabric.plug(0, "p0").unwrap();
    fabric.edges[0].netns.ip("link add br9 type bridge\nlink set p0 master br9").unwrap();
    let file = of_two(&fabric);
    fabric.edges[0].start(&file).unwrap();
    reach(&birch, "beside a bridge");
    only_this_is_left_out(
        &fabric.edges[0],
        &["port", "p0", "part of another device", "enslaved to br9", "nomaster"],
    );
    fabric.edges[0].netns.ip("link set p0 nomaster").unwrap();
    assert!(soon(|| left_out(&fabric.edges[0]).is_empty()));
    assert!(soon(|| fabric.edges[0]
        .show("ports")
        .unwrap()
        .iter()
        .any(|port| port["name"] == "p0")));
}

#[test]
fn a_segment_that_its_devices_do_not_carry_is_left_out_there_until_they_do() {
    let mut fabric = fabric(Underlay::Direct);
    let birch = ["p1", "p2"].map(|port| fabric.plug(0, port).unwrap());
    let _alder = fabric.plug(0, "p0").unwrap();
    fabric.edges[0].netns.ip("link set p0 mtu 1400").unwrap();
    let file = of_two(&fabric);
    fabric.edges[0].start(&file).unwrap();
    let node = &fabric.edges[0];
    only_this_is_left_out(
        node,
        &["alder-lan", "p0", "untagged", "MTU of port p0 is 1400", "needs 1500"],
    );
    reach(&birch, "beside a small port");
    node.netns.ip("link set p0 mtu 1500").unwrap();
    assert!(soon(|| left_out(node).is_empty()));
    // A tag more than the device has room for; and what was there goes before that.
    let error = node
        .reload(&of_two(&fabric).attach("birch-lan", "p0", "qinq 7.8"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("exit status: 1") && error.contains("qinq 7.8") && error.contains("1504"),
        "{error}"
    );
    only_this_is_left_out(node, &["birch-lan", "p0", "qinq 7.8"]);
    node.reload(&of_two(&fabric)).unwrap();
    assert!(left_out(node).is_empty());
    // The wish of a larger MTU leaves what is there as it was.
    let jumbo = of_two(&fabric).text().replace("vni = 100\n", "vni = 100\nmtu = 9000\n");
    node.netns.enter(|| Ok(std::fs::write(node.file(), &jumbo)?)).unwrap();
    let output = node.sillon(&["agent", "reload", "--config", &node.file()]).unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    only_this_is_left_out(node, &["segment", "alder-lan", "needs 9000"]);
    let segments = node.show("segments").unwrap();
    assert!(
        segments.iter().any(|it| it["name"] == "alder-lan" && it["mtu"] == 1500),
        "{segments:?}"
    );
    reach(&birch, "beside a large wish");
    // The tunnel is what is too small then.
    node.netns.ip("link set p0 mtu 9000").unwrap();
    only_this_is_left_out(node, &["segment", "alder-lan", "uplink is 1700", "needs 9050"]);
    node.netns.ip("link set up0 mtu 9050").unwrap();
    assert!(soon(|| left_out(node).is_empty()), "{:?}", left_out(node));
    assert!(node.show("segments").unwrap().iter().any(|it| it["mtu"] == 9000));
    let proof = node.sillon(&["verify", "--node", node.name()]).unwrap();
    assert!(proof.status.success(), "{}", said(&proof));
}

#[test]
fn lists_that_do_not_fit_leave_out_their_attachment_alone() {
    let mut fabric = fabric(Underlay::Direct);
    let birch = ["p1", "p2"].map(|port| fabric.plug(0, port).unwrap());
    let alder = fabric.plug(0, "p0").unwrap();
    fabric.edges[0].start(&of_two(&fabric)).unwrap();
    alder.send(&datagram(9, BROADCAST, "alder")).unwrap();
    let prefixes: Vec<String> =
        (0..60_000).map(|it| format!("\"10.{}.{}.0/24\"", it / 256, it % 256)).collect();
    let many = format!("[{}]", prefixes.join(","));
    // What else the file asks for is done: alder's goes from where it was, and birch has a port
    // more.
    let file = fabric.file(0).port("p0", "access").segment("alder-lan", 100, "lan", &["10.99.0.2"]);
    let file = file.attach("alder-lan", "p0", "dot1q 9").key("prefixes", many);
    let file = file.segment("birch-lan", 200, "lan", &[]).attach("birch-lan", "p0", "untagged");
    let file = ["p1", "p2"]
        .into_iter()
        .fold(file, |file, port| file.port(port, "access").attach("birch-lan", port, "untagged"));
    let node = &fabric.edges[0];
    let error = node.reload(&file).unwrap_err().to_string();
    assert!(
        error.contains("exit status: 1") && error.contains("no room for its prefixes"),
        "{error}"
    );
    only_this_is_left_out(
        node,
        &["attachment", "alder-lan", "dot1q 9", "no room for its prefixes"],
    );
    reach(&birch, "beside many prefixes");
    alder.send(&datagram(9, BROADCAST, "now birch")).unwrap();
    assert!(comes(&birch[0], "now birch"));
}

#[test]
fn a_port_of_another_node_is_left_out_and_that_node_goes_on() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
    let both = file(&fabric).port("p1", "access").attach("alder-lan", "p1", "untagged");
    fabric.edges[0].start(&both).unwrap();
    let mut other = Node::new("other", fabric.edges[0].netns.clone(), fabric.binary());
    let theirs =
        NodeFile::new("other", &[]).port("p0", "access").segment("birch-lan", 1, "lan", &[]);
    other.arguments = vec!["--run-dir".to_owned(), "/run/other".to_owned()];
    other.start(&theirs.attach("birch-lan", "p0", "untagged")).unwrap();
    let log = other.log();
    assert!(log.contains("port p0") && log.contains("carries an XDP program"), "{log}");
    assert!(other.show("ports").unwrap().is_empty());
    wires[0].send(&datagram(1, BROADCAST, "still here")).unwrap();
    assert!(comes(&wires[1], "still here"));
}

#[test]
fn nonsense_is_refused_whole() {
    let mut fabric = fabric(Underlay::Direct);
    let birch = ["p1", "p2"].map(|port| fabric.plug(0, port).unwrap());
    refused(
        &fabric.edges[0],
        &of_two(&fabric).attach("cedar-lan", "p1", "dot1q 4"),
        &["cedar-lan"],
    );
    fabric.edges[0].start(&of_two(&fabric)).unwrap();
    let wrong = of_two(&fabric).attach("birch-lan", "p1", "dot1q 9999");
    let error = fabric.edges[0].reload(&wrong).unwrap_err().to_string();
    assert!(error.contains("exit status: 2"), "{error}");
    reach(&birch, "as before");
}

#[test]
fn a_node_has_one_agent_and_is_not_flushed_under_it() {
    let mut fabric = fabric(Underlay::Direct);
    let _wire = fabric.plug(0, "p0").unwrap();
    let file = file(&fabric);
    fabric.edges[0].start(&file).unwrap();
    let node = &fabric.edges[0];
    let second = node.sillon(&["agent", "--config", &node.file()]).unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains("an agent of this node runs"), "{}", said(&second));
    let error = node.flush().unwrap_err().to_string();
    assert!(error.contains("an agent of this node runs"), "{error}");
    assert_eq!(node.show("ports").unwrap().len(), 2);
}

#[test]
fn a_flush_takes_everything_down_and_a_start_brings_it_back() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
    let file = file(&fabric).port("p1", "access").attach("alder-lan", "p1", "untagged");
    let features = |fabric: &Fabric| fabric.edges[0].netns.run("ethtool", &["-k", "p0"]).unwrap();
    let before = features(&fabric);
    assert!(
        before.contains("rx-vlan-offload: on") && before.contains("tx-checksumming: on"),
        "{before}"
    );
    for round in ["one", "two"] {
        fabric.edges[0].start(&file).unwrap();
        wires[0].send(&datagram(1, BROADCAST, round)).unwrap();
        assert!(comes(&wires[1], round));
        let during = features(&fabric);
        assert!(
            during.contains("rx-vlan-offload: off") && during.contains("tx-checksumming: off"),
            "{during}"
        );
        assert!(fabric.edges[0].log().contains("turned off, since the pipeline can't bear it"));
        // An agent that finds them off must not take that for how they were.
        fabric.edges[0].kill().unwrap();
        fabric.edges[0].restart().unwrap();
        fabric.edges[0].stop().unwrap();
        fabric.edges[0].flush().unwrap();
        assert_eq!(left_behind(&fabric.edges[0]), "");
        assert_eq!(features(&fabric), before, "features are as they were");
        wires[0].send(&datagram(1, BROADCAST, "down")).unwrap();
        assert!(stays_away(&wires[1], "down"));
    }
    let nothing = fabric.edges[0].flush().unwrap_err().to_string();
    assert!(nothing.contains("there is no node"), "{nothing}");
}

#[test]
fn maps_that_are_not_ours_are_left_alone() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
    let file = file(&fabric).port("p1", "access").attach("alder-lan", "p1", "untagged");
    fabric.edges[0].start(&file).unwrap();
    fabric.edges[0].stop().unwrap();
    let maps = format!("/sys/fs/bpf/sillon/edge1/v{}/maps", sillon_abi::ABI_VERSION);
    // Of another kind, and of another value size.
    for (one, other) in [("NODE", "VNIS"), ("SEGMENTS", "LABELS")] {
        let swap = format!("cd {maps} && mv {one} x && mv {other} {one} && mv x {other}");
        let netns = fabric.edges[0].netns.clone();
        netns.run("sh", &["-c", &swap]).unwrap();
        let error = fabric.edges[0].start(&file).unwrap_err().to_string();
        assert!(
            error.contains("is not the map that this version makes") && error.contains("flush"),
            "{error}"
        );
        assert!(
            error.contains(&format!("{maps}/{one}")) || error.contains(&format!("{maps}/{other}")),
            "{error}"
        );
        wires[0].send(&datagram(1, BROADCAST, one)).unwrap();
        assert!(comes(&wires[1], one), "the node goes on forwarding");
        netns.run("sh", &["-c", &swap]).unwrap();
    }
    fabric.edges[0].start(&file).unwrap();
}

#[test]
fn generic_xdp_carries_the_same() {
    // Generic XDP leaves alone what was redirected since it was last received, and a flooded copy
    // would keep that mark on a veth.
    let mut fabric = fabric(Underlay::Routed);
    let wires = [0, 1].map(|edge| {
        let wire = fabric.plug_over(edge, "p0").unwrap();
        let file = fabric.file_at(edge, "tc").port("p0", "access");
        let file = file.segment("alder-lan", 100, "lan", &[fabric.vtep(1 - edge, Family::V6)]);
        fabric.edges[edge].arguments = vec!["--xdp-mode".to_owned(), "generic".to_owned()];
        fabric.edges[edge].start(&file.attach("alder-lan", "p0", "untagged")).unwrap();
        wire
    });
    let [one, two] = wires;
    let one = KernelHost::new(one, "02:00:00:00:00:01", &["10.0.0.1/24"]).unwrap();
    let two = KernelHost::new(two, "02:00:00:00:00:02", &["10.0.0.2/24"]).unwrap();
    assert_eq!(one.ping("10.0.0.2", 5, 0.02).unwrap(), 5);
    let transfer = two.transfer(&one, "10.0.0.1".parse().unwrap(), 1_000_000).unwrap();
    assert!(transfer.intact, "{transfer:?}");
    let ports = fabric.edges[0].show("ports").unwrap();
    assert_eq!(ports.iter().find(|port| port["name"] == "p0").unwrap()["mode"], "generic");
}

#[test]
fn what_is_shown_is_what_is_there() {
    let mut fabric = fabric(Underlay::Direct);
    let wire = fabric.plug(0, "p0").unwrap();
    let file = file(&fabric);
    fabric.edges[0].start(&file).unwrap();
    wire.send(&datagram(1, BROADCAST, "one")).unwrap();
    wire.send(&datagram(1, BROADCAST, "two").tagged(&[sillon_rig::Tag::c(9)])).unwrap();
    let node = &fabric.edges[0];
    assert!(soon(|| node.dropped("p0", "no-attachment").unwrap() == 1));
    let port = node.show("ports").unwrap().into_iter().find(|port| port["name"] == "p0").unwrap();
    let traffic = &port["attachments"][0]["traffic"];
    assert_eq!((traffic["in_frames"].as_u64(), traffic["in_bytes"].as_u64()), (Some(1), Some(45)));
    let remote = &node.show("remotes").unwrap()[0];
    assert_eq!(
        (remote["address"].as_str(), remote["traffic"]["out_frames"].as_u64()),
        (Some("10.99.0.2"), Some(1))
    );
    let table = node.table("all").unwrap();
    for word in
        ["p0", "untagged", "alder-lan", "alder", "02:00:00:00:00:01", "10.99.0.2", "no-attachment"]
    {
        assert!(table.contains(word), "{table} lacks {word}");
    }
}

#[test]
fn a_node_that_is_not_there_is_named_with_those_that_are() {
    let mut fabric = fabric(Underlay::Direct);
    let none = said(&fabric.edges[0].sillon(&["node", "show"]).unwrap());
    assert!(none.contains("there is no node under /sys/fs/bpf/sillon"), "{none}");
    let file = fabric.file(0);
    fabric.edges[0].start(&file).unwrap();
    let output = fabric.edges[0].sillon(&["node", "show", "--node", "edge7"]).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("there are: edge1"), "{}", said(&output));
    assert!(
        fabric.edges[0].sillon(&["node", "show"]).unwrap().status.success(),
        "the only node needs no name"
    );
}
