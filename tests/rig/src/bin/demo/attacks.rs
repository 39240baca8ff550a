//! What must not work: a server that reaches another operator's, by whatever frame its root can
//! make.

use std::{net::IpAddr, thread, time::Duration};

use sillon_rig::{
    Family, Frame, PacketSocket, Tag, Wire,
    frame::{BROADCAST, Macs},
};

use crate::cast::{Cast, OPERATORS, Operator, SHARED, Seat};

/// How often each frame is sent.
const TIMES: usize = 5;
/// What comes at all comes far sooner.
const SILENCE: Duration = Duration::from_millis(300);

/// Frames that were sent by and came to operators: rows send.
pub struct Reached {
    /// Frames sent by each.
    pub sent: [usize; 3],
    /// Frames of each that came to each.
    pub came: [[usize; 3]; 3],
}

/// Where a server listens: its wire and its own tags on it.
struct Ear {
    operator: usize,
    tags: &'static [Tag],
    tap: PacketSocket,
}

/// Has every server try to reach every other.
pub fn try_all(cast: &Cast, vnis: &[u32; 3]) -> anyhow::Result<Reached> {
    let mut ears = Vec::new();
    for (operator, servers) in cast.servers.iter().enumerate() {
        for (server, seat) in servers.iter().zip(OPERATORS[operator].seats) {
            ears.push(Ear { operator, tags: seat.tags, tap: server.wire().tap()? });
        }
    }
    let mut reached = Reached { sent: [0; 3], came: [[0; 3]; 3] };
    for (operator, servers) in cast.servers.iter().enumerate() {
        for (index, server) in servers.iter().enumerate() {
            let seat = OPERATORS[operator].seats[index];
            let port_mac = cast.fabric.edges[seat.edge].netns.mac(seat.port)?;
            let frames = frames(cast, vnis, (operator, index), port_mac);
            for frame in frames.iter().cycle().take(frames.len() * TIMES) {
                send(server.wire(), frame)?;
                reached.sent[operator] += 1;
            }
        }
    }
    thread::sleep(SILENCE);
    for ear in &ears {
        count(ear, &mut reached)?;
    }
    Ok(reached)
}

/// Paced, so that no queue of the rig overflows: what is lost there would look like isolation.
fn send(wire: &Wire, frame: &Frame) -> anyhow::Result<()> {
    wire.send(frame)?;
    thread::sleep(Duration::from_micros(50));
    Ok(())
}

fn count(ear: &Ear, reached: &mut Reached) -> anyhow::Result<()> {
    while let Some(bytes) = ear.tap.try_receive()? {
        let frame = Frame(bytes);
        if !frame.tags().starts_with(ear.tags) {
            continue;
        }
        for (from, operator) in OPERATORS.iter().enumerate() {
            reached.came[from][ear.operator] +=
                usize::from(frame.contains(mark(operator).as_bytes()));
        }
    }
    Ok(())
}

/// What the frames of an operator say.
fn mark(operator: &Operator) -> String {
    format!("sent by {}", operator.name)
}

/// All frames that server `index` of an operator tries once.
fn frames(
    cast: &Cast,
    vnis: &[u32; 3],
    (operator, index): (usize, usize),
    port_mac: [u8; 6],
) -> Vec<Frame> {
    let operator = &OPERATORS[operator];
    let seat = operator.seats[index];
    let plain = |to: [u8; 6], to_ip: [u8; 4]| {
        let macs = Macs { from: [2, 0, 0, 0, 0, index as u8 + 1], to };
        let ips = (IpAddr::from([10, 0, 0, index as u8 + 1]), IpAddr::from(to_ip));
        Frame::udp(macs, ips, (7, 9), mark(operator).as_bytes())
    };
    let mut frames = vec![plain(BROADCAST, [10, 0, 0, 255]).tagged(seat.tags)];
    for number in 1..=3 {
        frames.push(plain([2, 0, 0, 0, 0, number], [10, 0, 0, number]).tagged(seat.tags));
    }
    for (other, vni) in OPERATORS.iter().zip(vnis).filter(|(other, _)| other.name != operator.name)
    {
        let inner = plain(BROADCAST, [10, 0, 0, 255]);
        // On the shared cable, the tags are the switch's business: whoever sends with birch's there
        // is birch.
        if seat.port != SHARED {
            frames.extend(with_tags_of(other, seat, &inner));
        }
        frames.extend(
            tunnelled(cast, *vni, &inner, port_mac).iter().map(|frame| frame.tagged(seat.tags)),
        );
    }
    frames
}

/// The other's tags, alone and inside of one's own.
fn with_tags_of(other: &Operator, own: Seat, inner: &Frame) -> Vec<Frame> {
    let tagged = other.seats.iter().filter(|seat| seat.tags != own.tags && !seat.tags.is_empty());
    tagged
        .flat_map(|seat| [inner.tagged(seat.tags), inner.tagged(seat.tags).tagged(own.tags)])
        .collect()
}

/// VXLAN of the other's VNI, as if a server were an edge, over either family.
fn tunnelled(cast: &Cast, vni: u32, inner: &Frame, port_mac: [u8; 6]) -> Vec<Frame> {
    let [_, a, b, c] = vni.to_be_bytes();
    let payload = [&[8, 0, 0, 0, a, b, c, 0], &inner.0[..]].concat();
    let macs = Macs { from: [2, 0, 0, 0, 0, 0x66], to: port_mac };
    let vtep = |edge, family| cast.fabric.vtep(edge, family).parse::<IpAddr>();
    let ways =
        [Family::V4, Family::V6].into_iter().flat_map(|family| [(0, 1, family), (1, 0, family)]);
    let ways = ways
        .filter_map(|(from, to, family)| Some((vtep(from, family).ok()?, vtep(to, family).ok()?)));
    ways.map(|ips| Frame::udp(macs, ips, (50_000, 4789), &payload)).collect()
}
