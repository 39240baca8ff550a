//! Frames, well-formed and not: what servers send, what neighbours forge, and what a cable garbles.
//! All know the configuration, so that most of them get somewhere.

use std::net::IpAddr;

use fastrand::Rng;
use sillon::model::{Encap, NodeConfig};

use super::{
    guards::{self, HOSTS, host},
    isolation::{self, MARK},
    packets::{Sender, ipv4_checksum, packet, talk},
    setup::{ACCESS, DEVICES, REMOTES, VIDS, VTEPS, mac},
};

/// Frames that are sent again.
const REMEMBERED: usize = 48;
/// Longest frame.
const LONGEST: usize = 9400;
const SHORTEST: usize = 14;
const TPIDS: [u16; 7] = [0x8100, 0x8100, 0x88a8, 0x88a8, 0x9100, 0x9200, 0x9300];

/// Makes frames for one configuration.
pub struct Forge<'a> {
    rng: &'a mut Rng,
    config: &'a NodeConfig,
    sent: &'a mut Vec<(usize, Vec<u8>)>,
    /// The host that is where the next frame comes in.
    near: u8,
}

impl<'a> Forge<'a> {
    /// `sent` is what was sent lately.
    pub fn new(
        rng: &'a mut Rng,
        config: &'a NodeConfig,
        sent: &'a mut Vec<(usize, Vec<u8>)>,
    ) -> Self {
        Self { rng, config, sent, near: 0 }
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.rng.u32(..count) == 0
    }

    fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.rng.usize(..among.len())]
    }

    /// The next frame, and the device that it comes in at.
    pub fn frame(&mut self) -> (usize, Vec<u8>) {
        let (device, mut bytes) = if !self.sent.is_empty() && self.one_in(4) {
            self.again()
        } else if self.one_in(3) {
            self.on_uplink()
        } else {
            self.for_port()
        };
        if self.one_in(12) {
            self.garble(&mut bytes);
        }
        if self.sent.len() == REMEMBERED {
            let at = self.rng.usize(..REMEMBERED);
            self.sent.swap_remove(at);
        }
        self.sent.push((device, bytes.clone()));
        (device, bytes)
    }

    /// A frame once more: mostly as it was, or from elsewhere, or the answer to it, or the same two
    /// with something else to say.
    fn again(&mut self) -> (usize, Vec<u8>) {
        let at = self.rng.usize(..self.sent.len());
        let (mut device, mut bytes) = self.sent[at].clone();
        match self.rng.u8(..8) {
            0 => device = self.rng.usize(..DEVICES.len()),
            1 => bytes[..12].rotate_left(6),
            2 | 3 => self.vary(&mut bytes),
            _ => {}
        }
        (device, bytes)
    }

    /// Changes what an IPv4 header or the ports behind it say, the outer or the inner one's, or the
    /// priority in a tag: where the frame goes was decided for those before it.
    fn vary(&mut self, bytes: &mut [u8]) {
        let is_header = |at: &[u8]| at.starts_with(&[8, 0, 0x45]) && at.len() >= 26;
        let headers: Vec<usize> =
            (12..bytes.len()).filter(|&at| is_header(&bytes[at..])).map(|at| at + 2).collect();
        if headers.is_empty() || self.one_in(6) {
            if let Some(priority) = bytes.get_mut(14) {
                *priority ^= 1 << self.rng.u8(4..8);
            }
            return;
        }
        let at = self.pick(&headers);
        match self.rng.u8(..6) {
            0 => bytes[at + 1] = self.rng.u8(..),
            1 => bytes[at + 6..at + 8]
                .copy_from_slice(&self.pick(&[0x4000_u16, 0x2000, 1, 0]).to_be_bytes()),
            2 => bytes[at + 9] = self.pick(&[1, 6, 17, 47, 132]),
            3 => bytes[at + 15] = self.rng.u8(..),
            4 => bytes[at + 20..at + 22].copy_from_slice(&67_u16.to_be_bytes()),
            _ => bytes[at + 22..at + 24].copy_from_slice(&68_u16.to_be_bytes()),
        }
        let checksum = ipv4_checksum(&bytes[at..at + 20]);
        bytes[at + 10..at + 12].copy_from_slice(&checksum.to_be_bytes());
    }

    fn mac(&mut self, is_source: bool) -> [u8; 6] {
        match self.rng.u8(..24) {
            0 => [0; 6],
            1 => mac(self.rng.usize(..DEVICES.len())),
            2 if self.rng.bool() => [1, 0, 0x0c, 0xcc, 0xcc, self.rng.u8(0xcc..0xcf)],
            2 => [1, 0x80, 0xc2, 0, 0, self.rng.u8(..0x12)],
            3 => std::array::from_fn(|_| self.rng.u8(..)),
            4..8 if !is_source => [0xff; 6],
            8 => [0x33, 0x33, 0, 0, 0, self.rng.u8(..2)],
            9 if !is_source => [1, 0, 0x5e, 0, 0, 1],
            _ if is_source && self.one_in(2) => host(self.near),
            _ => host(self.rng.u8(..HOSTS)),
        }
    }

    /// A frame without tags.
    fn plain(&mut self) -> Vec<u8> {
        if self.one_in(3) {
            // Most stay where they are.
            let host = if self.one_in(4) { self.rng.u8(..HOSTS) } else { self.near };
            return talk::frame(
                self.rng,
                Sender { mac: guards::host(host), mark: &isolation::mark(None) },
            );
        }
        let mut body = isolation::mark(None).to_vec();
        let room = self.rng.usize(..48);
        body.resize(MARK + room, 0xa5);
        let (dst, src) = (self.mac(false), self.mac(true));
        let (ethertype, mut packet) = packet(self.rng, Sender { mac: src, mark: &body });
        if self.one_in(16) {
            // Around what segments carry and paths take.
            let edge = self.pick(&[576, 600, 1400, 1500, 1500, 1570, 9000]);
            let len = (edge + self.rng.usize(..120)).saturating_sub(self.pick(&[4, 50, 70, 100]));
            packet.resize(len.clamp(packet.len(), LONGEST - 100), 0x5a);
        } else if self.one_in(16) {
            packet.resize(
                self.pick(&[575, 576, 577, 1400, 1401, 1500, 1501]).max(packet.len()),
                0x5a,
            );
        }
        [&dst[..], &src, &ethertype.to_be_bytes(), &packet].concat()
    }

    fn priority(&mut self) -> u16 {
        if self.rng.bool() { u16::from(self.rng.u8(..16)) << 12 } else { 0 }
    }

    fn tag(&mut self) -> (u16, u16) {
        let vid = if self.one_in(2) { self.pick(&VIDS) } else { self.pick(&[0, 0, 3, 4095]) };
        (self.pick(&TPIDS), vid | self.priority())
    }

    /// Tags of the operator's own; now and then about as many as the guards look through, mostly
    /// priority tags.
    fn carried(&mut self) -> Vec<(u16, u16)> {
        if self.one_in(4) {
            let count = self.rng.usize(3..9);
            return (0..count)
                .map(|_| if self.one_in(8) { self.tag() } else { (0x8100, 0) })
                .collect();
        }
        (0..self.rng.usize(..4)).map(|_| self.tag()).collect()
    }

    /// The tags of an encapsulation.
    fn tags_of(&mut self, encap: Encap) -> Vec<(u16, u16)> {
        match encap {
            Encap::Untagged if self.one_in(4) => vec![(self.pick(&TPIDS[..4]), self.priority())],
            Encap::Untagged => vec![],
            Encap::Port if self.rng.bool() => vec![],
            Encap::Port => self.carried(),
            Encap::Dot1q(vid) => vec![(0x8100, vid.get() | self.priority())],
            Encap::QinqS(s) => {
                let own = (0x88a8, s.get() | self.priority());
                let carried = if self.rng.bool() { vec![] } else { self.carried() };
                [own].into_iter().chain(carried).collect()
            }
            Encap::QinqSC { s, c } => {
                vec![(0x88a8, s.get() | self.priority()), (0x8100, c.get() | self.priority())]
            }
        }
    }

    fn for_port(&mut self) -> (usize, Vec<u8>) {
        let attachments = &self.config.attachments;
        let (device, mut tags) = if attachments.is_empty() || self.one_in(8) {
            let count = self.rng.usize(..4);
            (self.rng.usize(..ACCESS), (0..count).map(|_| self.tag()).collect())
        } else {
            let at = self.rng.usize(..attachments.len());
            let one = &attachments[at];
            self.near = at as u8 % HOSTS;
            let device = DEVICES.iter().position(|name| *name == one.port.as_str()).unwrap_or(0);
            let encap = one.encap;
            (device, self.tags_of(encap))
        };
        if self.one_in(12) {
            tags.push(self.tag());
        }
        let plain = if self.one_in(24) { self.tunnelled_to(ACCESS) } else { self.plain() };
        (device, tagged(&plain, &tags))
    }

    fn on_uplink(&mut self) -> (usize, Vec<u8>) {
        let device = self.rng.usize(ACCESS..DEVICES.len());
        let bytes = if self.one_in(16) {
            // BGP, SSH, and what wants to be taken for it.
            [&mac(device)[..], &self.plain()[6..]].concat()
        } else {
            self.tunnelled_to(device)
        };
        (device, bytes)
    }

    /// A tunnel to an uplink.
    fn tunnelled_to(&mut self, uplink: usize) -> Vec<u8> {
        let segment = match self.config.segments.len() {
            0 => None,
            count => Some(&self.config.segments[self.rng.usize(..count)]),
        };
        let vni =
            segment.filter(|_| !self.one_in(16)).map_or(self.rng.u32(..9), |one| one.vni.get());
        let remotes = segment.map_or(&[][..], |segment| &segment.remotes);
        let source = if remotes.is_empty() || self.one_in(16) {
            self.pick(&REMOTES).parse().unwrap_or(IpAddr::from([10, 99, 0, 2]))
        } else {
            remotes[self.rng.usize(..remotes.len())]
        };
        self.near = source.to_string().bytes().last().unwrap_or(0) % HOSTS;
        let plain = self.plain();
        let tags: Vec<_> = match self.rng.u8(..8) {
            0 | 1 => vec![(0x8100, self.priority())],
            2 => (0..self.rng.usize(1..4)).map(|_| self.tag()).collect(),
            _ => vec![],
        };
        self.tunnel(uplink, (source, vni), &tagged(&plain, &tags))
    }

    /// VXLAN around a frame, with a lie in it now and then.
    fn tunnel(&mut self, uplink: usize, (source, vni): (IpAddr, u32), inner: &[u8]) -> Vec<u8> {
        let lie = if self.one_in(4) { self.rng.u8(..15) } else { u8::MAX };
        let [_, a, b, c] = vni.to_be_bytes();
        // From a leaf, and yellow.
        let marks = u8::from(self.one_in(4)) | u8::from(self.one_in(4)) << 1;
        let flags = match lie {
            0 => self.rng.u8(..) & !8,
            1 => self.rng.u8(..) | 8,
            _ => 8,
        };
        let spare = if lie == 2 { self.rng.u8(..) } else { 0 };
        let vxlan = [flags, spare, spare, spare & !3 | marks, a, b, c, spare];
        let mut len = 8 + vxlan.len() + inner.len();
        if lie == 3 {
            len = self.pick(&[0, 8, 16, 29, 30, len - 1, len + 1, 65535]);
        }
        let port: u16 = if lie == 4 { self.pick(&[4788, 8472]) } else { 4789 };
        let [[p, q], [l, m]] = [port.to_be_bytes(), (len as u16).to_be_bytes()];
        let checksum = if lie == 5 { 0xff } else { 0 };
        // Where the header in front announces fragments, this is what says of what.
        let first = if lie == 8 && self.rng.bool() { 17 } else { self.rng.u8(..) };
        let udp = [first, self.rng.u8(..), p, q, l, m, checksum, checksum];
        let payload = [&udp[..], &vxlan, inner].concat();
        let to = if lie == 6 { self.mac(false) } else { mac(uplink) };
        let (ethertype, ip) = match source {
            IpAddr::V4(source) => (0x0800_u16, self.ipv4(source.octets(), &payload, lie)),
            IpAddr::V6(source) => (0x86dd, self.ipv6(source.octets(), &payload, lie)),
        };
        let mut frame =
            [&to[..], &[2, 0x99, 0, 0, 0, 1], &ethertype.to_be_bytes(), &ip, &payload].concat();
        if lie == 7 {
            // Ethernet padding, which a switch may leave.
            frame.resize(frame.len() + self.rng.usize(1..40), 0);
        }
        frame
    }

    fn ipv4(&mut self, source: [u8; 4], payload: &[u8], lie: u8) -> Vec<u8> {
        let [t, u] = ((20 + payload.len()) as u16).to_be_bytes();
        let own: IpAddr = VTEPS[0].parse().unwrap_or(IpAddr::from([0; 4]));
        let IpAddr::V4(own) = own else { return Vec::new() };
        let mut ip = vec![0x45, self.rng.u8(..), t, u, 0, 0, 0x40, 0, 64, 17, 0, 0];
        ip.extend(source);
        ip.extend(own.octets());
        match lie {
            8 => ip[6..8].copy_from_slice(&[self.pick(&[0x20, 0x3f, 0x00]), self.rng.u8(..2)]),
            9 => ip[2..4].copy_from_slice(&self.rng.u16(..2000).to_be_bytes()),
            10 => ip[0] = self.pick(&[0x46, 0x44, 0x65, 0x4f]),
            11 => ip[9] = self.pick(&[6, 1, 47]),
            12 => ip[16..].copy_from_slice(&[10, 99, 0, self.rng.u8(..4)]),
            _ => {}
        }
        let checksum = ipv4_checksum(&ip).wrapping_add(u16::from(lie == 13));
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        if lie == 14 {
            ip.extend([1, 1, 1, 0]);
            ip[0] = 0x46;
        }
        ip
    }

    fn ipv6(&mut self, source: [u8; 16], payload: &[u8], lie: u8) -> Vec<u8> {
        let [l, m] = (payload.len() as u16).to_be_bytes();
        let own: IpAddr = VTEPS[1].parse().unwrap_or(IpAddr::from([0; 16]));
        let IpAddr::V6(own) = own else { return Vec::new() };
        let class = self.rng.u8(..);
        let mut ip = vec![0x60 | class >> 4, class << 4, 0, 0, l, m, 17, 64];
        ip.extend(source);
        ip.extend(own.octets());
        match lie {
            8 => ip[6] = self.pick(&[0, 44, 60, 6]),
            9 => ip[4..6].copy_from_slice(&self.rng.u16(..2000).to_be_bytes()),
            10 => ip[0] = self.pick(&[0x40, 0x50, 0x00, 0xf0]),
            11 => ip[39] ^= self.rng.u8(1..4),
            12 => ip[1..4].fill(self.rng.u8(..)),
            // An IPv4 address in IPv6's clothes (RFC 4291 section 2.5.5.2).
            13 => ip[8..24].copy_from_slice(&mapped(self.rng.u8(2..5))),
            _ => {}
        }
        ip
    }

    fn garble(&mut self, bytes: &mut Vec<u8>) {
        match self.rng.u8(..4) {
            0 => {
                let most = if self.rng.bool() { bytes.len() } else { bytes.len().min(90) };
                bytes.truncate(self.rng.usize(SHORTEST..=most.max(SHORTEST)));
            }
            1 => bytes.resize((bytes.len() + self.rng.usize(..64)).min(LONGEST), self.rng.u8(..)),
            _ => {
                for _ in 0..self.rng.usize(1..4) {
                    let at = self.rng.usize(..bytes.len().min(110));
                    bytes[at] = if self.rng.bool() {
                        self.rng.u8(..)
                    } else {
                        bytes[at] ^ 1 << self.rng.u8(..8)
                    };
                }
            }
        }
    }
}

fn mapped(host: u8) -> [u8; 16] {
    std::net::Ipv4Addr::new(10, 99, 0, host).to_ipv6_mapped().octets()
}

fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let tags: Vec<u8> = tags
        .iter()
        .flat_map(|(tpid, tci)| [tpid.to_be_bytes(), tci.to_be_bytes()].concat())
        .collect();
    [&frame[..12], &tags, &frame[12..]].concat()
}
