//! What the kernel was told of a frame, where a container's own program sends it past its device
//! (`bpf_redirect_peer`): of what protocol it is, and where its packet begins. The kernel takes tags
//! off by the one, and whoever gets the frame finds its packet by the other.

use sillon_rig::{Fabric, Own, PacketSocket, Tag, Underlay, Wire, frame::BROADCAST};

use crate::common::{SILENCE, comes, datagram, fabric, mac, soon};

const TIMES: usize = 5;

/// alder's container behind `p0`, at TC, and both operators' hosts behind `p1`.
fn lab(encap: &str) -> (Fabric, [Wire; 2]) {
    let mut fabric = fabric(Underlay::Direct);
    let wires = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
    let file = fabric.file(0).port_at("p0", "access", "tc").port_at("p1", "access", "tc");
    let file = file.segment("alder-lan", 100, "lan", &[]).segment("birch-lan", 200, "lan", &[]);
    let file = file.attach("alder-lan", "p0", encap).attach("alder-lan", "p1", "untagged");
    fabric.edges[0].start(&file.attach("birch-lan", "p1", "dot1q 200")).unwrap();
    for link in ["link add own0 type veth peer name own1", "link set own0 up", "link set own1 up"] {
        wires[0].netns.ip(link).unwrap();
    }
    (fabric, wires)
}

/// How many of its frames come to `p1`, each with these bytes in front in place of its beginning.
fn seen(wires: &[Wire; 2], front: &[u32], longer: i32) -> usize {
    wires[1].drain().unwrap();
    let own = || {
        let own = Own::past_its_device("own1", "eth0", front, longer)?;
        Ok((own, PacketSocket::open("own0")?))
    };
    let (_own, socket) = wires[0].netns.enter(own).unwrap();
    let frame = datagram(1, BROADCAST, "past its device");
    (0..TIMES).for_each(|_| socket.send(&frame.0).unwrap());
    let is_it = |frame: &sillon_rig::Frame| frame.contains(b"past its device");
    (0..TIMES).filter(|_| wires[1].expect(SILENCE, is_it).unwrap().is_some()).count()
}

/// The words of a frame's beginning.
fn words(bytes: &[u8]) -> Vec<u32> {
    let chunks = bytes.chunks_exact(4);
    chunks.map(|chunk| u32::from_ne_bytes([chunk[0], chunk[1], chunk[2], chunk[3]])).collect()
}

fn is_counted(fabric: &Fabric) -> bool {
    let counted = || {
        let drops = fabric.edges[0].show("drops").unwrap();
        drops.iter().any(|row| {
            row["reason"] == "header-offsets" && row["frames"].as_u64() >= Some(TIMES as u64)
        })
    };
    soon(counted)
}

/// The tag is in the data, and the kernel believes that there is none: it would stay, and be birch's
/// on the way out.
#[test]
fn a_tag_that_the_kernel_was_not_told_of() {
    let (fabric, wires) = lab("dot1q 200");
    let honest = datagram(1, BROADCAST, "honest").tagged(&[Tag::c(200)]);
    wires[0].send(&honest).unwrap();
    assert!(comes(&wires[1], "honest"));
    let front = [&[0xff; 6][..], &mac(1), &[0x81, 0, 0, 200, 8, 0, 0x45, 0]].concat();
    assert_eq!(seen(&wires, &words(&front), 4), 0);
    assert!(is_counted(&fabric));
    wires[0].send(&honest).unwrap();
    assert!(comes(&wires[1], "honest"));
}

/// The packet that is judged is in front of the one that a receiver's kernel takes.
#[test]
fn a_packet_that_begins_elsewhere_than_the_kernel_was_told() {
    let (fabric, wires) = lab("untagged");
    let innocent = [&[0xff; 6][..], &mac(1), &[8, 0, 0x45, 0, 0, 60, 0, 0, 0, 0, 64, 17]].concat();
    assert_eq!(seen(&wires, &words(&innocent), 20), 0);
    assert!(is_counted(&fabric));
}

/// The way past the device is there, and what is told right comes through.
#[test]
fn a_frame_past_its_device_that_is_as_it_was_told() {
    let (_fabric, wires) = lab("untagged");
    let front = [&[0xff; 6][..], &mac(1), &[8, 0, 0x45, 0]].concat();
    assert_eq!(seen(&wires, &words(&front), 0), TIMES);
}
