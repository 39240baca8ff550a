//! A device that goes frees its number, and the kernel gives that to the next one, or to whoever
//! asks for it. Programs that send by number, with nobody left to tell them, would send one
//! operator's frames to another.

use aya::maps::xdp::DevMapHash;
use sillon_abi::{PortEntry, PortRecord, map};
use sillon_rig::{
    Fabric, Family, Netns, PacketSocket, Underlay, Wire, fabric::PORT_MTU, frame::BROADCAST,
};

use crate::{
    attacks::{
        frames::WORD,
        lan::{ATTACKER, FAR, VICTIM},
        undone::{At, EVERYWHERE},
    },
    common::maps::{element, entries, opened},
    common::{SILENCE, comes, datagram, fabric, mac, soon},
};

/// The reason for which they are dropped.
const REASON: &str = "no-device";
/// How often each is sent.
const TIMES: u64 = 10;
/// birch's hosts.
const BIRCH: u8 = 7;
const OTHER: u8 = 8;

/// How the number becomes another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// The new device is made with it.
    Made,
    /// It had it where it was before.
    MovedIn,
}

/// What the agent is started on again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The file that it had: the port is not there any more. The new device becomes birch's later.
    OldFile,
    /// A file in which the device is birch's.
    NewFile,
}

struct Bench {
    fabric: Fabric,
    alder: Wire,
    /// Whose device goes.
    gone: Option<Wire>,
    far: Wire,
    birchs_other: Wire,
    number: u32,
}

impl Bench {
    fn new((from, to): At) -> Self {
        let mut fabric = fabric(Underlay::Direct);
        let [alder, gone, birchs_other] =
            ["p0", "p1", "p2"].map(|port| fabric.plug(0, port).unwrap());
        let far = fabric.plug(1, "p0").unwrap();
        let file = Self::alders(&fabric, (from, to)).port_at("p1", "access", to);
        fabric.edges[0].start(&file.attach("alder-lan", "p1", "untagged")).unwrap();
        let remote = fabric.vtep(0, Family::V4);
        let file = fabric.file(1).port("p0", "access").segment("alder-lan", 100, "lan", &[remote]);
        fabric.edges[1].start(&file.attach("alder-lan", "p0", "untagged")).unwrap();
        let number = number(&fabric.edges[0].netns, "p1");
        Self { fabric, alder, gone: Some(gone), far, birchs_other, number }
    }

    /// The first node's file but for `p1`; what is added to it is alder's or birch's.
    fn alders(fabric: &Fabric, (from, to): At) -> sillon_rig::NodeFile {
        let remote = fabric.vtep(1, Family::V4);
        let file =
            fabric.file_at(0, from).port_at("p0", "access", from).port_at("p2", "access", to);
        let file = file.segment("birch-lan", 200, "lan", &[]).attach("birch-lan", "p2", "untagged");
        file.segment("alder-lan", 100, "lan", &[remote]).attach("alder-lan", "p0", "untagged")
    }

    /// Everybody of alder's knows where the one is that will be gone.
    fn introduce(&self) {
        let gone = self.gone.as_ref().unwrap();
        gone.send(&datagram(VICTIM, BROADCAST, "here I am")).unwrap();
        assert!(comes(&self.alder, "here I am") && comes(&self.far, "here I am"));
        for (from, wire) in [(ATTACKER, &self.alder), (FAR, &self.far)] {
            wire.send(&datagram(from, mac(VICTIM), "and I here")).unwrap();
            assert!(comes(gone, "and I here"), "from {from}");
        }
    }

    /// alder's device goes, and birch's has its number. Returns who listens there.
    fn replace(&mut self, how: How) -> (Netns, PacketSocket) {
        let node = &self.fabric.edges[0].netns;
        let (number, birch) = (self.number, self.fabric.mounts.netns("birch").unwrap());
        birch.sysctl("net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        node.ip("link del p1").unwrap();
        self.gone = None;
        let peer = format!("mtu {PORT_MTU} type veth peer name eth0 mtu {PORT_MTU} netns");
        if how == How::Made {
            node.ip(&format!("link add b0 index {number} {peer} {}", birch.path().display()))
                .unwrap();
        } else {
            let before = self.fabric.mounts.netns("before").unwrap();
            before
                .ip(&format!("link add b0 index {number} {peer} {}", birch.path().display()))
                .unwrap();
            before.ip(&format!("link set b0 netns {}", node.path().display())).unwrap();
        }
        birch.ip("link set eth0 up").unwrap();
        node.ip("link set b0 up").unwrap();
        sillon_rig::wire::ready_for_xdp(&birch, "eth0").unwrap();
        assert_eq!(self::number(node, "b0"), number, "the attack works");
        let socket = birch.enter(|| Ok(PacketSocket::open("eth0")?)).unwrap();
        (birch, socket)
    }

    /// alder's hosts go on: known unicast and broadcasts, here and out of the tunnel. Returns how
    /// many frames.
    fn goes_on(&self) -> u64 {
        for _ in 0..TIMES {
            for (from, wire) in [(ATTACKER, &self.alder), (FAR, &self.far)] {
                for to in [mac(VICTIM), BROADCAST] {
                    wire.send(&datagram(from, to, "attack!")).unwrap();
                }
            }
        }
        4 * TIMES
    }

    fn dropped(&self) -> u64 {
        self.fabric.edges[0].dropped_anywhere(REASON).unwrap()
    }

    /// Has the programs take the number for a device that is there, as they did before they asked:
    /// whether they may send to it.
    fn believe(&self, is_there: bool) {
        let number = self.number;
        let change = || {
            for name in [map::DEVICES, map::TC_DEVICES] {
                let mut devices: DevMapHash<_> = opened(name);
                if is_there {
                    devices.insert(number, number, None, 0)?;
                } else {
                    devices.remove(number)?;
                }
            }
            Ok(())
        };
        self.fabric.edges[0].netns.enter(change).unwrap();
    }
}

fn number(netns: &Netns, device: &str) -> u32 {
    let links = netns.run("ip", &["-j", "link", "show", device]).unwrap();
    let links: serde_json::Value = serde_json::from_str(&links).unwrap();
    links[0]["ifindex"].as_u64().unwrap().try_into().unwrap()
}

/// How many of alder's frames have come.
fn come(socket: &PacketSocket) -> usize {
    let of_alder = |frame: &Vec<u8>| frame.windows(WORD.len()).any(|word| word == WORD);
    std::iter::from_fn(|| socket.receive(SILENCE).unwrap()).filter(of_alder).count()
}

fn a_number_that_is_used_again(at: At, how: How, then: Then) {
    let case = format!("{at:?}, {how:?}, {then:?}");
    let mut bench = Bench::new(at);
    bench.introduce();
    bench.fabric.edges[0].kill().unwrap();
    let (birch, socket) = bench.replace(how);
    let before = bench.dropped();
    let sent = bench.goes_on();
    assert_eq!(come(&socket), 0, "birch gets what is alder's: {case}");
    assert!(
        soon(|| bench.dropped() - before == sent),
        "{} of {sent}: {case}",
        bench.dropped() - before
    );
    // It is nothing else that keeps them away.
    bench.believe(true);
    let sent = bench.goes_on();
    assert_eq!(come(&socket) as u64, sent, "the attack works: {case}");
    bench.believe(false);

    let hooks = Bench::alders(&bench.fabric, at);
    let old = hooks.clone().port_at("p1", "access", at.1).attach("alder-lan", "p1", "untagged");
    let new = hooks.port_at("b0", "access", at.1).attach("birch-lan", "b0", "untagged");
    if then == Then::OldFile {
        bench.fabric.edges[0].start(&old).unwrap();
        bench.goes_on();
        assert_eq!(
            come(&socket),
            0,
            "birch gets what is alder's from an agent with the old file: {case}"
        );
        bench.fabric.edges[0].reload(&new).unwrap();
    } else {
        bench.fabric.edges[0].start(&new).unwrap();
    }
    let node = &bench.fabric.edges[0];
    assert_eq!(node.show("left-out").unwrap(), Vec::<serde_json::Value>::new(), "{case}");
    bench.goes_on();
    assert_eq!(come(&socket), 0, "birch gets what is alder's at its own port: {case}");
    let records: Vec<(u32, PortRecord)> = entries(node, map::PORT_RECORDS);
    let (_, record) = records.iter().find(|(ifindex, _)| *ifindex == bench.number).unwrap();
    let port: PortEntry = element(node, map::PORTS, bench.number);
    assert_eq!(record.name[..3], *b"b0\0", "{case}");
    assert_eq!(port.is_at_tc(), at.1 == "tc", "{case}");
    // birch has its own there.
    let own = datagram(BIRCH, BROADCAST, "from the new port");
    birch.enter(|| Ok(PacketSocket::open("eth0")?.send(&own.0)?)).unwrap();
    assert!(comes(&bench.birchs_other, "from the new port"), "{case}: {:?}", node.drops());
    bench.birchs_other.send(&datagram(OTHER, mac(BIRCH), "to the new port")).unwrap();
    let came = || socket.receive(SILENCE).unwrap().unwrap_or_default();
    assert!(
        soon(|| came().windows(15).any(|word| word == b"to the new port")),
        "{case}: {:?}",
        node.drops()
    );
    let verified = node.sillon(&["verify", "--node", "edge1"]).unwrap();
    assert!(verified.status.success(), "{case}: {verified:?}");
}

#[test]
fn a_number_of_a_device_that_another_is_made_with() {
    for at in EVERYWHERE {
        a_number_that_is_used_again(at, How::Made, Then::OldFile);
    }
}

#[test]
fn a_number_of_a_device_that_another_has_where_it_comes_from() {
    for at in EVERYWHERE {
        a_number_that_is_used_again(at, How::MovedIn, Then::NewFile);
    }
}
