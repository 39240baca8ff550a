//! What must hold whatever the model says: no frame of a segment is seen at an attachment of
//! another, or in another's VNI.
//!
//! Every frame that is sent carries a mark that says whose it is, by the tags of the port or the
//! VNI and source of the tunnel alone. Whoever sees a marked frame says whose it would be there.

use std::net::IpAddr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use sillon::model::{Encap, NodeConfig};
use sillon_rig::{
    Frame, Tag,
    frame::{DOT1AD, DOT1Q},
};

use super::setup::{ACCESS, DEVICES};

const MAGIC: &[u8; 7] = b"furrow!";
/// Bytes of a mark.
pub const MARK: usize = MAGIC.len() + 1;
/// Of frames that are nobody's.
const NOBODY: u8 = 0xff;

/// The mark of frames of a segment.
pub fn mark(segment: Option<usize>) -> [u8; MARK] {
    let [f, u, r, o, w, x, y] = *MAGIC;
    [f, u, r, o, w, x, y, segment.map_or(NOBODY, |segment| segment as u8)]
}

/// Puts a mark in the place of the one that a frame has.
pub fn remark(bytes: &mut [u8], segment: Option<usize>) {
    if let Some(at) = find(bytes) {
        bytes[at..at + MARK].copy_from_slice(&mark(segment));
    }
}

fn find(bytes: &[u8]) -> Option<usize> {
    bytes.windows(MARK).position(|window| window.starts_with(MAGIC))
}

/// Whose frame this is by its mark; none where it has lost it.
fn marked(bytes: &[u8]) -> Option<Option<usize>> {
    let segment = bytes[find(bytes)? + MAGIC.len()];
    Some((segment != NOBODY).then_some(segment.into()))
}

/// Whose a frame at a device is, by what stands in it; `sent` if it goes into the node, and not out
/// of it.
pub fn owner(config: &NodeConfig, device: usize, bytes: &[u8], sent: bool) -> Option<usize> {
    let name = if device < ACCESS {
        on_port(config, device, bytes)
    } else {
        return in_tunnel(config, bytes, sent);
    };
    config.segments.iter().position(|segment| Some(segment.name.as_str()) == name)
}

/// The owner of a stack of tags, as `model::Encap` tells it. A priority tag is no tag.
fn on_port<'a>(config: &'a NodeConfig, device: usize, bytes: &[u8]) -> Option<&'a str> {
    let mut tags = Frame(bytes.to_vec()).tags();
    if tags.first().is_some_and(|tag| tag.vid == 0) {
        tags.clear();
    }
    let owns = |encap: Encap| match (encap, &tags[..]) {
        (Encap::Port, _) | (Encap::Untagged, []) => true,
        (Encap::Dot1q(vid), [Tag { tpid: DOT1Q, vid: is, .. }, ..]) => vid.get() == *is,
        (Encap::QinqS(s), [Tag { tpid: DOT1AD, vid, .. }, ..]) => s.get() == *vid,
        (
            Encap::QinqSC { s, c },
            [Tag { tpid: DOT1AD, vid, .. }, Tag { tpid: DOT1Q, vid: inner, .. }, ..],
        ) => s.get() == *vid && c.get() == *inner,
        _ => false,
    };
    let here = config.attachments.iter().filter(|one| one.port.as_str() == DEVICES[device]);
    // `qinq S` and `qinq S.C` can't be on one port.
    here.filter(|one| owns(one.encap)).map(|one| one.segment.as_str()).next()
}

fn in_tunnel(config: &NodeConfig, bytes: &[u8], sent: bool) -> Option<usize> {
    let packet = SlicedPacket::from_ethernet(bytes).ok()?;
    let (source, destination): (IpAddr, IpAddr) = match packet.net? {
        NetSlice::Ipv4(ip) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        NetSlice::Ipv6(ip) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        NetSlice::Arp(_) => return None,
    };
    let Some(TransportSlice::Udp(udp)) = packet.transport else { return None };
    let &[_, _, _, _, a, b, c, _, ..] = udp.payload() else { return None };
    let vni = u32::from_be_bytes([0, a, b, c]);
    let remote = if sent { source } else { destination };
    let is_it = |segment: &sillon::model::Segment| {
        segment.vni.get() == vni && segment.remotes.contains(&remote)
    };
    config.segments.iter().position(is_it)
}

/// Whether a frame that came out at a device may be seen there.
///
/// # Errors
/// Whose it is, and whose it would be.
pub fn holds(config: &NodeConfig, device: usize, bytes: &[u8]) -> Result<(), String> {
    let Some(of) = marked(bytes) else { return Ok(()) };
    let seen_as = owner(config, device, bytes, false);
    if of.is_some() && of == seen_as {
        return Ok(());
    }
    let name = |segment: Option<usize>| {
        segment.and_then(|one| config.segments.get(one)).map_or("nobody", |one| one.name.as_str())
    };
    Err(format!(
        "ISOLATION: a frame of {} came out at {} as one of {}",
        name(of),
        DEVICES[device],
        name(seen_as)
    ))
}

#[cfg(test)]
mod tests {
    use sillon_rig::NodeFile;

    use super::*;

    fn file() -> NodeFile {
        let remotes = &["10.99.0.2"];
        let file = NodeFile::new("fuzz", &["10.99.0.1"]).port("p0", "access").port("up0", "uplink");
        let file =
            file.segment("alder-lan", 1, "lan", remotes).segment("birch-lan", 2, "lan", remotes);
        file.attach("alder-lan", "p0", "untagged").attach("birch-lan", "p0", "dot1q 100")
    }

    fn frame(tags: &[Tag], of: Option<usize>) -> Vec<u8> {
        let macs = sillon_rig::frame::Macs { from: [2; 6], to: [0xff; 6] };
        Frame::ethertype(macs, 0x0800, &mark(of)).tagged(tags).0
    }

    fn vxlan(vni: u8, of: Option<usize>) -> Vec<u8> {
        let macs = sillon_rig::frame::Macs { from: [2; 6], to: [4; 6] };
        let payload = [&[8, 0, 0, 0, 0, 0, vni, 0], &frame(&[], of)[..]].concat();
        let ips = (IpAddr::from([10, 99, 0, 1]), IpAddr::from([10, 99, 0, 2]));
        Frame::udp(macs, ips, (50_000, 4789), &payload).0
    }

    #[test]
    fn a_frame_in_the_tags_or_the_vni_of_another_segment_is_noticed() {
        let (config, _) = sillon::model::parse("isolation", file().text()).unwrap();
        let p0 = |tags: &[Tag], of| holds(&config, 0, &frame(tags, of));
        assert!(p0(&[], Some(0)).is_ok() && p0(&[Tag::c(100)], Some(1)).is_ok());
        assert!(p0(&[], Some(1)).is_err() && p0(&[Tag::c(100)], Some(0)).is_err());
        assert!(p0(&[], None).is_err() && p0(&[Tag::c(7)], Some(0)).is_err());
        let up0 = |vni, of| holds(&config, ACCESS, &vxlan(vni, of));
        assert!(up0(1, Some(0)).is_ok() && up0(2, Some(1)).is_ok());
        assert!(up0(1, Some(1)).is_err() && up0(2, Some(0)).is_err() && up0(3, Some(0)).is_err());
    }
}
