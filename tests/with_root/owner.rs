//! The owner's network is the owner's: what an agent changes of it is undone, and what the owner,
//! or a daemon of the owner's, has set there is never touched.

use sillon_rig::{
    Fabric, Family, Frame, NodeFile, PacketSocket, Underlay, Wire,
    frame::{BROADCAST, Macs, mac_text},
};

use crate::common::{self, comes, datagram, fabric, mac, soon, stream};

/// `p0` of an edge in one segment with the other edge.
fn file(fabric: &Fabric, edge: usize) -> NodeFile {
    let remote = fabric.vtep(1 - edge, Family::V4);
    let file = fabric.file(edge).port("p0", "access").segment("alder-lan", 100, "lan", &[remote]);
    file.attach("alder-lan", "p0", "untagged")
}

/// Both edges run, with a host at each, who know each other.
fn hosts(fabric: &mut Fabric) -> [Wire; 2] {
    let wires = [0, 1].map(|edge| {
        let wire = fabric.plug(edge, "p0").unwrap();
        let file = file(fabric, edge);
        fabric.edges[edge].start(&file).unwrap();
        wire
    });
    wires[1].send(&datagram(2, BROADCAST, "I am 2")).unwrap();
    assert!(comes(&wires[0], "I am 2"));
    wires[0].send(&datagram(1, BROADCAST, "I am 1")).unwrap();
    assert!(comes(&wires[1], "I am 1"));
    wires
}

/// What the kernel has of a node's neighbours.
fn neighbours(fabric: &Fabric, edge: usize) -> String {
    fabric.edges[edge].netns.run("ip", &["-d", "neigh", "show", "nud", "all"]).unwrap()
}

/// The one of `address`.
fn neighbour(fabric: &Fabric, address: &str) -> String {
    let all = neighbours(fabric, 0);
    all.lines().find(|line| line.starts_with(address)).unwrap_or_default().to_owned()
}

fn managed(fabric: &Fabric) -> bool {
    neighbours(fabric, 0).contains("managed")
}

#[test]
fn neighbours_that_somebody_has_set_are_not_touched() {
    // What an owner sets by hand, what FRR sets for BGP unnumbered, what a control plane has
    // learned, and what another program has asked the kernel to manage.
    let ways = [
        "nud permanent",
        "nud noarp",
        "nud permanent proto zebra",
        "extern_learn",
        "nud reachable proto zebra",
        "managed",
    ];
    for way in ways {
        let mut fabric = fabric(Underlay::Direct);
        let [uplink, gateway] =
            [0, 1].map(|edge| mac_text(fabric.edges[edge].netns.mac("up0").unwrap()));
        fabric.edges[1]
            .netns
            .ip(&format!("neigh replace 10.99.0.1 lladdr {uplink} dev up0 nud permanent"))
            .unwrap();
        let address = if way == "managed" { String::new() } else { format!("lladdr {gateway}") };
        fabric.edges[0]
            .netns
            .ip(&format!("neigh replace 10.99.0.2 {address} dev up0 {way}"))
            .unwrap();
        assert!(soon(|| neighbour(&fabric, "10.99.0.2").contains(&gateway)), "{way}");
        // A managed one changes from state to state by itself.
        let what_is_set = |line: String| {
            let states = ["REACHABLE", "STALE", "DELAY", "PROBE"];
            states.iter().fold(line, |line, state| line.replace(state, ""))
        };
        let before = what_is_set(neighbour(&fabric, "10.99.0.2"));
        let wires = hosts(&mut fabric);
        let stays = |fabric: &Fabric, when: &str| {
            assert_eq!(what_is_set(neighbour(fabric, "10.99.0.2")), before, "{way}, {when}");
            assert_eq!(
                fabric.edges[0]
                    .netns
                    .run("ping", &["-c", "1", "-W", "1", "10.99.0.2"])
                    .map(drop)
                    .map_err(|e| e.to_string()),
                Ok(()),
                "{way}, {when}"
            );
        };
        stays(&fabric, "while the agent runs");
        // Long enough that whatever the agent does from time to time has been done.
        std::thread::sleep(std::time::Duration::from_millis(2500));
        stays(&fabric, "after some time");
        wires[0].send(&datagram(1, mac(2), "through the tunnel")).unwrap();
        assert!(comes(&wires[1], "through the tunnel"), "{way}");
        fabric.edges[0].stop().unwrap();
        fabric.edges[0].flush().unwrap();
        stays(&fabric, "after the flush");
    }
}

#[test]
fn a_neighbour_that_becomes_permanent_stays_so() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = hosts(&mut fabric);
    let gateway = mac_text(fabric.edges[1].netns.mac("up0").unwrap());
    fabric.edges[0]
        .netns
        .ip(&format!("neigh replace 10.99.0.2 lladdr {gateway} dev up0 nud permanent"))
        .unwrap();
    // A change of the underlay makes the agent look at all neighbours.
    fabric.edges[0].netns.ip("route add 203.0.113.0/24 dev up0").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    fabric.edges[0].kill().unwrap();
    fabric.edges[0].restart().unwrap();
    assert!(neighbour(&fabric, "10.99.0.2").contains("PERMANENT"), "{}", neighbours(&fabric, 0));
    wires[0].send(&datagram(1, mac(2), "still there")).unwrap();
    assert!(comes(&wires[1], "still there"));
}

#[test]
fn neighbours_are_given_back_when_they_are_no_longer_needed() {
    let mut fabric = fabric(Underlay::Direct);
    let _wires = hosts(&mut fabric);
    assert!(
        managed(&fabric),
        "the kernel keeps a neighbour that is needed: {}",
        neighbours(&fabric, 0)
    );
    let (with, without) = (file(&fabric, 0), fabric.file(0));
    fabric.edges[0].reload(&without).unwrap();
    assert!(soon(|| !managed(&fabric)), "the remote is gone: {}", neighbours(&fabric, 0));
    fabric.edges[0].reload(&with).unwrap();
    assert!(soon(|| managed(&fabric)));
    // Whoever made the change may be dead, and the file another, when it is undone.
    fabric.edges[0].kill().unwrap();
    fabric.edges[0].start(&without).unwrap();
    assert!(soon(|| !managed(&fabric)), "the next agent knows of it: {}", neighbours(&fabric, 0));
    fabric.edges[0].reload(&with).unwrap();
    assert!(soon(|| managed(&fabric)));
    // A port that is none any more.
    let no_uplink = NodeFile::new(fabric.edges[0].name(), &[]);
    fabric.edges[0].kill().unwrap();
    fabric.edges[0].start(&no_uplink).unwrap();
    assert!(soon(|| !managed(&fabric)), "its port is gone: {}", neighbours(&fabric, 0));
    fabric.edges[0].stop().unwrap();
    fabric.edges[0].flush().unwrap();
}

#[test]
fn a_flush_gives_neighbours_back() {
    for family in [Family::V4, Family::V6] {
        let mut fabric = fabric(Underlay::Direct);
        let remote = fabric.vtep(1, family);
        let file = fabric.file(0).segment("alder-lan", 100, "lan", &[remote]);
        // One that answers and one that does not.
        let nobody = if family == Family::V4 { "10.99.0.99" } else { "fd99::99" };
        let file = file.segment("birch-lan", 200, "lan", &[nobody]);
        fabric.edges[0].start(&file).unwrap();
        assert!(managed(&fabric));
        let mac = mac_text(fabric.edges[1].netns.mac("up0").unwrap());
        fabric.edges[0].kill().unwrap();
        fabric.edges[0].flush().unwrap();
        let after = neighbours(&fabric, 0);
        assert!(!after.contains("managed") && !after.contains("proto"), "{after}");
        assert!(neighbour(&fabric, remote).contains(&mac), "who is known stays so: {after}");
        assert!(!neighbour(&fabric, nobody).contains(&mac), "{after}");
    }
}

#[test]
fn flushed_neighbours_cost_no_frame() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = hosts(&mut fabric);
    let stream = stream(&wires[0], mac(2), &wires[1], || {
        for _ in 0..3 {
            fabric.edges[0].netns.run("ip", &["neigh", "flush", "dev", "up0"]).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
    });
    assert!(
        stream.sent > 500 && stream.lost.is_empty(),
        "{} of {} lost",
        stream.lost.len(),
        stream.sent
    );
}

#[test]
fn a_neighbour_that_answers_no_more_is_no_way() {
    let mut fabric = fabric(Underlay::Direct);
    let _wires = hosts(&mut fabric);
    // It has an address no longer, and its edge no agent.
    fabric.edges[1].stop().unwrap();
    fabric.edges[1].netns.ip("addr del 10.99.0.2/24 dev up0").unwrap();
    fabric.edges[0].netns.run("ip", &["neigh", "flush", "dev", "up0"]).unwrap();
    let is_gone = || fabric.edges[0].table("remotes").unwrap().contains("via");
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while is_gone() {
        assert!(std::time::Instant::now() < end, "{}", fabric.edges[0].table("remotes").unwrap());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    fabric.edges[1].netns.ip("addr add 10.99.0.2/24 dev up0").unwrap();
    assert!(soon(|| fabric.edges[0].table("remotes").unwrap().contains("via")), "it answers again");
}

/// Where 256 flows of host 1 go: how many reach each router.
fn shares(fabric: &Fabric, wire: &Wire, word: &str) -> [usize; 2] {
    let taps = [0, 1].map(|router: usize| {
        fabric.routers[router].enter(|| Ok(PacketSocket::open("edge0")?)).unwrap()
    });
    for port in 1000..1256 {
        let macs = Macs { from: mac(1), to: mac(2) };
        wire.send(&Frame::udp(macs, (common::v4(1), common::v4(2)), (port, 7), word.as_bytes()))
            .unwrap();
    }
    std::thread::sleep(common::SILENCE);
    taps.each_ref().map(|tap| {
        let frames = std::iter::from_fn(|| tap.try_receive().unwrap());
        frames.filter(|bytes| Frame(bytes.clone()).contains(word.as_bytes())).count()
    })
}

/// Whether some 3 of 4 flows take the second way, and all of them one.
fn is_one_to_three([one, two]: [usize; 2]) -> bool {
    one + two == 256 && (32..=96).contains(&one)
}

#[test]
fn paths_have_their_weight() {
    let mut fabric = fabric(Underlay::Routed);
    let wires = hosts(&mut fabric);
    let edge = fabric.edges[0].netns.clone();
    edge.ip(
        "route replace 10.99.0.2 nexthop via 10.98.0.2 dev up0 weight 1 nexthop via 10.98.1.2 dev \
            up1 weight 3",
    )
    .unwrap();
    let ways = || fabric.edges[0].table("remotes").unwrap();
    assert!(soon(|| ways().contains("(4)") && ways().contains("(12)")), "{}", ways());
    let shares = shares(&fabric, &wires[0], "by weight");
    assert!(is_one_to_three(shares), "{shares:?}");
}

#[test]
fn routes_over_nexthop_objects_are_followed_whatever_the_kernel_says_of_them() {
    for compatible in ["1", "0"] {
        let mut fabric = fabric(Underlay::Routed);
        let wires = hosts(&mut fabric);
        let edge = fabric.edges[0].netns.clone();
        edge.sysctl("net/ipv4/nexthop_compat_mode", compatible).unwrap();
        edge.ip("nexthop add id 1 via 10.98.0.2 dev up0\nnexthop add id 2 via 10.98.1.2 dev up1\n\
             nexthop add id 10 group 1/2\nroute replace 10.99.0.2 nhid 10")
            .unwrap();
        let ways = || fabric.edges[0].table("remotes").unwrap();
        let both = |one: usize, two: usize| {
            assert!(
                soon(|| [one, two].iter().all(|ways_of| ways().contains(&format!("({ways_of})")))),
                "{}",
                ways()
            );
        };
        edge.ip("nexthop replace id 10 group 1/2").unwrap();
        both(8, 8);
        edge.ip("nexthop replace id 10 group 1,1/2,3").unwrap();
        both(4, 12);
        let shares = shares(&fabric, &wires[0], "by object");
        assert!(is_one_to_three(shares), "{shares:?}");
        edge.ip("route replace 10.99.0.2 nhid 1").unwrap();
        let only = mac_text(fabric.routers[0].mac("edge0").unwrap());
        assert!(soon(|| ways().contains(&format!("up0 via {only} (16)"))), "{}", ways());
        // The object alone changes, and the route says nothing of it.
        edge.ip("nexthop replace id 1 via 10.98.1.2 dev up1").unwrap();
        let other = mac_text(fabric.routers[1].mac("edge0").unwrap());
        assert!(soon(|| ways().contains(&format!("up1 via {other} (16)"))), "{}", ways());
        edge.ip("nexthop del id 10\nnexthop replace id 1 blackhole").unwrap();
        assert!(soon(|| !ways().contains(" via ")), "{}", ways());
    }
}

#[test]
fn an_ipv6_route_over_a_nexthop_object_is_followed() {
    let mut fabric = fabric(Underlay::Routed);
    let file = fabric.file(0).segment("alder-lan", 100, "lan", &[fabric.vtep(1, Family::V6)]);
    fabric.edges[0].start(&file).unwrap();
    let edge = fabric.edges[0].netns.clone();
    edge.sysctl("net/ipv4/nexthop_compat_mode", "0").unwrap();
    edge.ip("nexthop add id 1 via fd98:00::2 dev up0\nnexthop add id 2 via fd98:01::2 dev up1\n\
         nexthop add id 10 group 1,3/2\nroute del fd99::2\nroute add fd99::2 nhid 10")
        .unwrap();
    let ways = || fabric.edges[0].table("remotes").unwrap();
    assert!(soon(|| ways().contains("(12)") && ways().contains("(4)")), "{}", ways());
}
