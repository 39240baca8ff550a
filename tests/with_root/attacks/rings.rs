//! Frames whose memory the sender still writes to while they are under way (PACKET_TX_RING): what a
//! guard has read may be something else by the time that the victim reads it.

use sillon_rig::{Frame, Ring, Underlay};

use crate::{
    attacks::{
        frames::*,
        lan::{ATTACKER, VICTIM},
        undone::Receiver,
    },
    common::{datagram, fabric, soon, v6},
};

/// Bytes that the kernel copies for the programs.
const COPIED: usize = 192;

/// What is sent, the place of what is written over it then, and what that is.
type Change = (&'static str, Frame, usize, Vec<u8>);

/// Behind a header of destination options of so many times 8 bytes.
fn changes(eights: u8) -> Vec<Change> {
    let at = 14 + 40 + usize::from(eights) * 8;
    let header = || options(DESTINATION, eights);
    let echo = [&[128, 0, 0, 0, 0, 1, 0, 1][..], WORD].concat();
    let mut udp = Frame::udp(from_attacker(), (v6(ATTACKER), v6(VICTIM)), (1547, 1546), WORD).0;
    let transport = udp.split_off(54);
    let mut inside = icmpv6(from_attacker(), link_local(ATTACKER), &[header()], &transport);
    // UDP, and not ICMPv6.
    inside.0[54] = 17;
    vec![
        (
            "a router advertisement",
            icmpv6(from_attacker(), link_local(ATTACKER), &[header()], &echo),
            at,
            vec![134],
        ),
        (
            "a DHCPv6 advertisement",
            inside,
            at,
            [547u16.to_be_bytes(), 546u16.to_be_bytes()].concat(),
        ),
    ]
}

#[test]
fn headers_in_memory_that_the_sender_still_writes_to() {
    let mut fabric = fabric(Underlay::Direct);
    let attacker = fabric.plug(0, "p0").unwrap();
    let victim = Receiver::new(fabric.plug(0, "p1").unwrap());
    // A device that takes frames in pieces is given the ring's own pages.
    attacker.netns.run("ethtool", &["-K", "eth0", "tx", "on", "sg", "on"]).unwrap();
    let ring = attacker.netns.enter(|| Ok(Ring::open("eth0")?)).unwrap();
    let file = |trusted: &str| {
        let file = fabric.file(0).port_at("p0", "access", "tc").port_at("p1", "access", "tc");
        let file = file.segment("alder-lan", 100, "lan", &[]).attach("alder-lan", "p1", "untagged");
        file.attach("alder-lan", "p0", "untagged").key("trusted", trusted)
    };
    let [open, guarded] = [file("[\"dhcp\", \"ra\"]"), file("[]")];
    let dropped = |edge: &sillon_rig::Node| edge.dropped_in_all().unwrap();
    // What the victim reads of a frame that is changed as soon as it is sent: whether it comes, and
    // whether as it was changed.
    let reads = |(_, frame, at, bytes): &Change| {
        ring.send(&frame.0).unwrap();
        ring.write(*at, bytes).unwrap();
        let came = victim.seen_now();
        let came: Vec<_> = came.iter().filter(|frame| frame.contains(WORD)).collect();
        (came.len(), came.iter().any(|frame| frame.0[*at..*at + bytes.len()] == bytes[..]))
    };
    let far = changes(25);
    assert!(far.iter().all(|(_, _, at, _)| *at > COPIED));
    let near = changes(2);
    fabric.edges[0].start(&open).unwrap();
    victim.wire.send(&datagram(VICTIM, [0xff; 6], "hello")).unwrap();
    // Who reads it before it is changed is a matter of luck.
    for change in &far {
        assert_eq!(reads(change).0, 1, "it arrives where nobody minds: {}", change.0);
    }
    fabric.edges[0].reload(&guarded).unwrap();
    for change in &far {
        let before = dropped(&fabric.edges[0]);
        assert_eq!(reads(change), (0, false), "{}", change.0);
        let drops = || fabric.edges[0].drops().unwrap();
        assert!(
            soon(|| dropped(&fabric.edges[0]) > before),
            "{} is dropped: {:?}",
            change.0,
            drops()
        );
    }
    assert_eq!(fabric.edges[0].dropped("p0 untagged", "header-chain").unwrap(), far.len() as u64);
    // What the guard reads is what the victim gets.
    for change in &near {
        assert_eq!(reads(change), (1, false), "{}", change.0);
    }
}
