//! Tags that lead out of one's own segment. None of what stops them can be turned off, so that
//! there is no rig without it; what is shown instead is that the same frame with the right tag
//! arrives.

use sillon_rig::{Fabric, NodeFile, Tag, Underlay, Wire, frame::BROADCAST};

use crate::{
    attacks::victim,
    common::{comes, datagram, fabric, soon, stays_away},
};

/// A tag of the TPID that some makers' stacked VLANs have.
const fn q_in_q_of_old(vid: u16) -> Tag {
    Tag { tpid: 0x9100, ..Tag::c(vid) }
}

/// One node: the attacker is alder's on `p0`, and shares `p2` with the victims. Birch has another
/// server on `p3`.
struct Bench {
    fabric: Fabric,
    attacker: Wire,
    /// alder's own other server, by which it is seen that the attacker's attachment works.
    own: Wire,
    shared: Wire,
    birch: Wire,
}

/// Tags, and where and why a frame with them is dropped.
type Stopped<'a> = (Vec<Tag>, &'a str, &'a str);

impl Bench {
    /// With alder under `encap` on `p0` and under `on_shared` on `p2`, where `others` are too:
    /// birch and cedar.
    fn new(encap: &str, on_shared: &str, others: [&str; 2]) -> Self {
        let mut fabric = fabric(Underlay::Direct);
        let [attacker, own, shared, birch] =
            ["p0", "p1", "p2", "p3"].map(|port| fabric.plug(0, port).unwrap());
        let file =
            file(&fabric).attach("alder-lan", "p0", encap).attach("alder-lan", "p1", "untagged");
        let file = file.attach("alder-lan", "p2", on_shared).attach("birch-lan", "p2", others[0]);
        let file = file.attach("cedar-lan", "p2", others[1]).attach("birch-lan", "p3", "untagged");
        fabric.edges[0].start(&file).unwrap();
        Self { fabric, attacker, own, shared, birch }
    }

    /// The frame with these tags is alder's own.
    fn is_heard(&self, tags: &[Tag]) {
        self.attacker.send(&datagram(7, BROADCAST, "alder's own").tagged(tags)).unwrap();
        assert!(comes(&self.own, "alder's own"), "{tags:?}");
        self.shared.drain().unwrap();
    }

    /// Each of the frames is dropped where and why it says, and is seen nowhere, while birch's go
    /// on.
    fn are_stopped(&self, attacks: &[Stopped<'_>]) {
        victim::goes_on(&self.birch, BROADCAST, &self.shared, || {
            for (tags, name, reason) in attacks {
                let dropped = || self.fabric.edges[0].dropped(name, reason).unwrap();
                let before = dropped();
                self.attacker.send(&datagram(7, BROADCAST, "attack!").tagged(tags)).unwrap();
                assert!(
                    soon(|| dropped() > before),
                    "{tags:?} is not dropped at {name} for {reason}: {:?}",
                    self.fabric.edges[0].drops()
                );
            }
        });
        for wire in [&self.shared, &self.own, &self.birch] {
            assert!(stays_away(wire, "attack!"), "{attacks:?}");
        }
    }
}

fn file(fabric: &Fabric) -> NodeFile {
    let ports = ["p0", "p1", "p2", "p3"];
    let file = ports.into_iter().fold(fabric.file(0), |file, port| file.port(port, "access"));
    let operators = [("alder-lan", 100), ("birch-lan", 200), ("cedar-lan", 300)];
    operators.into_iter().fold(file, |file, (name, vni)| file.segment(name, vni, "lan", &[]))
}

/// Double tagging (CAPEC-133; S. Rouiller, "Virtual LAN security", 2003): a switch takes the outer
/// tag off, and the next one believes the inner one.
#[test]
fn vlan_hopping_by_double_tagging() {
    let bench = Bench::new("dot1q 10", "untagged", ["dot1q 20", "dot1q 30"]);
    bench.is_heard(&[Tag::c(10)]);
    let attacks = [20, 30].into_iter().flat_map(|victim| {
        [
            (vec![Tag::c(10), Tag::c(victim)], "p0 dot1q 10", "nested-tag"),
            (vec![Tag::c(10), Tag::s(victim)], "p0 dot1q 10", "nested-tag"),
            (vec![Tag::c(victim)], "p0", "no-attachment"),
        ]
    });
    bench.are_stopped(&attacks.collect::<Vec<_>>());
}

/// By the native VLAN (the same source): what is untagged at one port is a trunk's native VLAN at
/// the next, and tags inside it are the trunk's own there. An attachment that lets its operator's
/// tags through must not let them out where others have tags.
#[test]
fn vlan_hopping_by_the_native_vlan() {
    let bench = Bench::new("untagged", "untagged", ["dot1q 20", "dot1q 30"]);
    bench.is_heard(&[]);
    bench.are_stopped(&[(vec![Tag::c(20)], "p0", "no-attachment")]);
    drop(bench);
    let bench = Bench::new("qinq 200", "untagged", ["dot1q 20", "dot1q 30"]);
    bench.is_heard(&[Tag::s(200)]);
    bench.are_stopped(&[(vec![Tag::s(200), Tag::c(20)], "p0 qinq 200", "nested-tag")]);
}

/// By a priority tag: VID 0 means "no VLAN" (IEEE 802.1Q clause 6.9.1), and whoever skips it may
/// take the next tag for the first.
#[test]
fn vlan_hopping_by_a_priority_tag() {
    let bench = Bench::new("untagged", "untagged", ["dot1q 20", "dot1q 30"]);
    bench.is_heard(&[Tag::c(0).with_priority(5, false)]);
    let stacks = [
        vec![Tag::c(0), Tag::c(20)],
        vec![Tag::c(0), Tag::c(0), Tag::c(20)],
        vec![Tag::s(0), Tag::c(20)],
    ];
    bench.are_stopped(&stacks.map(|tags| (tags, "p0 untagged", "nested-tag")));
}

/// By TPIDs that one device takes for a tag and the next for something else: 0x8100, 0x88a8 and
/// 0x9100 in each other's place, three deep, and VID 4095, which IEEE 802.1Q table 9-2 reserves.
#[test]
fn vlan_hopping_by_tpid_confusion() {
    let bench = Bench::new("qinq 200.300", "untagged", ["dot1q 20", "qinq 200.20"]);
    bench.is_heard(&[Tag::s(200), Tag::c(300)]);
    let (none, unknown) = (("p0", "no-attachment"), ("p0", "unknown-tpid"));
    let attacks = [
        (vec![Tag::c(200), Tag::c(300)], none),
        (vec![Tag::s(200), Tag::c(20)], none),
        (vec![Tag::s(200), Tag::s(300)], none),
        (vec![Tag::s(200), q_in_q_of_old(300)], none),
        (vec![q_in_q_of_old(200), Tag::c(300)], unknown),
        (vec![q_in_q_of_old(20)], unknown),
        (vec![Tag::s(200), Tag::c(300), Tag::c(20)], ("p0 qinq 200.300", "nested-tag")),
        (vec![Tag::s(200), Tag::c(300), q_in_q_of_old(20)], ("p0 qinq 200.300", "nested-tag")),
        (vec![Tag::s(4095), Tag::c(20)], ("p0", "reserved-vid")),
        (vec![Tag::c(4095)], ("p0", "reserved-vid")),
    ];
    bench.are_stopped(&attacks.map(|(tags, (name, reason))| (tags, name, reason)));
}

/// QinQ inner-tag escape: two operators have the same S-VID on one port, or one has all of it on
/// another; each has the C-VIDs that are its own, and none that are the other's.
#[test]
fn qinq_inner_tag_escape() {
    let bench = Bench::new("qinq 200.300", "qinq 200.300", ["qinq 200.301", "qinq 200.302"]);
    bench.is_heard(&[Tag::s(200), Tag::c(300)]);
    bench.are_stopped(&[
        (vec![Tag::s(200), Tag::c(301)], "p0", "no-attachment"),
        (vec![Tag::s(200)], "p0", "no-attachment"),
        (vec![Tag::s(200), Tag::c(300), Tag::c(301)], "p0 qinq 200.300", "nested-tag"),
    ]);
    drop(bench);
    // The operator's own tags are transparent on p0, and would be others' on p2.
    let bench = Bench::new("qinq 200", "qinq 200.300", ["qinq 200.301", "qinq 200.302"]);
    bench.is_heard(&[Tag::s(200)]);
    let stacks = [vec![Tag::s(200), Tag::c(301)], vec![Tag::s(200), Tag::s(200), Tag::c(301)]];
    bench.are_stopped(&stacks.map(|tags| (tags, "p0 qinq 200", "nested-tag")));
}

/// A device that takes tags off its frames before XDP sees them makes all of a port's operators
/// one. Whoever turns that on under a running node (a driver's reset, a script) has it turned off
/// again, and the node's flush restores what was found last.
#[test]
fn tag_stripping_left_on_by_the_driver() {
    let bench = Bench::new("untagged", "untagged", ["dot1q 20", "dot1q 30"]);
    let node = &bench.fabric.edges[0];
    let is_on =
        || node.netns.run("ethtool", &["-k", "p0"]).unwrap().contains("rx-vlan-offload: on");
    assert!(!is_on(), "it is off from the start");
    node.netns.run("ethtool", &["-K", "p0", "rxvlan", "on"]).unwrap();
    assert!(is_on(), "the attack works");
    assert!(soon(|| !is_on()), "it is turned off again");
    assert!(
        soon(|| node.log().contains("somebody turned on what was off")),
        "and somebody is told"
    );
    bench.are_stopped(&[(vec![Tag::c(20)], "p0", "no-attachment")]);
    bench.is_heard(&[]);
}

/// VLAN hopping, exhaustively: every stack of up to three tags, of every TPID that
/// anybody uses and the VIDs of others, out of one operator's access port.
#[test]
fn vlan_hopping_by_any_stack() {
    let mut fabric = fabric(Underlay::Direct);
    let [shared, birch, cedar] = ["p0", "p1", "p2"].map(|port| fabric.plug(0, port).unwrap());
    let file =
        ["p0", "p1", "p2"].into_iter().fold(fabric.file(0), |file, port| file.port(port, "access"));
    let file = file
        .segment("alder-lan", 100, "lan", &[])
        .segment("birch-lan", 200, "lan", &[])
        .segment("cedar-lan", 300, "lan", &[]);
    let file = file.attach("alder-lan", "p0", "dot1q 10").attach("birch-lan", "p1", "untagged");
    let file = file.attach("cedar-lan", "p2", "dot1q 20").attach("birch-lan", "p2", "dot1q 30");
    fabric.edges[0].start(&file).unwrap();
    let mut stacks = vec![vec![]];
    for _ in 0..3 {
        let longer = stacks.iter().flat_map(|stack: &Vec<Tag>| {
            let tags = [0x8100, 0x88a8, 0x9100]
                .into_iter()
                .flat_map(|tpid| [0, 10, 20, 30, 4095].map(|vid| Tag { tpid, ..Tag::c(vid) }));
            tags.map(|tag| [&stack[..], &[tag]].concat()).collect::<Vec<_>>()
        });
        stacks.extend(longer.collect::<Vec<_>>());
    }
    for stack in &stacks {
        shared.send(&datagram(7, BROADCAST, "attack!").tagged(stack)).unwrap();
    }
    assert!(
        stays_away(&birch, "attack!") && stays_away(&cedar, "attack!"),
        "{} stacks",
        stacks.len()
    );
    birch.send(&datagram(8, BROADCAST, "to birch's other port")).unwrap();
    assert!(comes(&cedar, "to birch's other port"));
}
