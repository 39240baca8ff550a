//! A node: its configuration, its devices, its ways through the underlay, and what it has learned
//! and counted.

use std::{collections::BTreeMap, net::IpAddr};

use sillon::model::{NodeConfig, PortRole};
use sillon_abi::DropReason;

use super::{
    Copy, Counts, Flood, Place, Scope, Verdict, bridge, classify,
    counts::{Address, Held},
    ecn,
    frame::{C_TAG, Inner, Mac, S_TAG, Tag, be16},
    guard,
    police::{self, Bucket, Clock, Colour, Direction, Which},
    send,
    suppress::{self, Claim, Heard, known},
    tunnel,
};

/// An interface of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its MAC.
    pub mac: Mac,
}

/// A way to a remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The uplink, by its place in the node's devices.
    pub device: usize,
    /// The next hop's MAC.
    pub next_hop: Mac,
    /// Largest packet, bytes.
    pub mtu: u16,
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it shall do.
    pub config: NodeConfig,
    /// Its devices, whether they are ports or not.
    pub devices: Vec<Device>,
    /// The ways to each remote; none, or no entry, where it is out of reach.
    pub ways: BTreeMap<IpAddr, Vec<Way>>,
    /// What it has learned and counted.
    pub counts: Counts,
    /// What the buckets of each attachment hold; those that are not here are full.
    pub buckets: BTreeMap<(usize, Which), Bucket>,
    /// What became of what the last frame said of its sender's address, if it said anything and
    /// was listened to.
    pub heard: Option<Heard>,
}

/// A frame that was taken out of its tags or its tunnel.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its segment.
    pub segment: usize,
    /// Where it came in.
    pub from: Place,
    /// Whether that is a leaf of a tree.
    pub leaf: bool,
    /// PCP and DEI of the outermost of the tags that were taken off.
    pub priority: u16,
    /// Whether the frame may carry tags of the operator's own.
    pub may_carry_tags: bool,
    /// ECN field of the tunnel's outer header.
    pub outer_ecn: u8,
    /// Whether the node that it comes from says that it is yellow.
    pub yellow: bool,
    /// Bytes that are counted for where it came in.
    pub counted: usize,
    /// The tags that were taken off.
    pub tags: Vec<Tag>,
    /// The frame.
    pub frame: Vec<u8>,
}

impl Arrival {
    /// What a drop is counted for from here on.
    pub const fn scope(&self) -> Scope {
        match self.from {
            Place::Attachment(attachment) => Scope::Attachment(attachment),
            Place::Remote(_) => Scope::Segment(self.segment),
        }
    }
}

/// A drop on the way.
type Dropped = (Scope, DropReason);

impl Node {
    /// A node that has not seen a frame yet.
    pub fn new(config: NodeConfig, devices: Vec<Device>, ways: BTreeMap<IpAddr, Vec<Way>>) -> Self {
        let counts = Counts { fdb: guard::mac::configured(&config, &devices), ..Counts::default() };
        Self { config, devices, ways, counts, buckets: BTreeMap::new(), heard: None }
    }

    /// Another configuration is applied: what was learned stays where its segment and its place do,
    /// and is forgotten elsewhere. What was counted is counted anew. What is configured now is
    /// no longer learned, and what was is forgotten. Who said to have which address stays known as
    /// long as that would still be believed, also beside what is configured. A bucket stays
    /// with its attachment, whatever its rate is then.
    pub fn reconfigure(&mut self, config: NodeConfig, ways: BTreeMap<IpAddr, Vec<Way>>) {
        let mut after = Self::new(config, self.devices.clone(), ways);
        let stays = |((segment, mac), address): (&(usize, Mac), &Address)| {
            let segment = self.same_segment(*segment, &after)?;
            let place = self.same_place(address.place, segment, &after)?;
            let may_stay =
                address.held != Held::Configured && guard::mac::may_stay(&after, segment, *mac);
            may_stay.then_some(((segment, *mac), Address { place, ..*address }))
        };
        let learned: Vec<_> = self.counts.fdb.iter().filter_map(stays).collect();
        after.counts.fdb.extend(learned);
        let stays = |((segment, address), claim): (&(usize, IpAddr), &Claim)| {
            let segment = self.same_segment(*segment, &after)?;
            let place = self.same_place(claim.place, segment, &after)?;
            let may_stay = after.config.segments[segment].suppress
                && self.may_still_say(claim.place, place, &after);
            may_stay.then_some(((segment, *address), Claim { place, ..*claim }))
        };
        after.counts.bindings = self.counts.bindings.iter().filter_map(stays).collect();
        let stays = |((attachment, which), bucket): (&(usize, Which), &Bucket)| {
            let segment = self.same_segment(self.segment_of(*attachment)?, &after)?;
            match self.same_place(Place::Attachment(*attachment), segment, &after)? {
                Place::Attachment(now) => Some(((now, *which), *bucket)),
                Place::Remote(_) => None,
            }
        };
        after.buckets = self.buckets.iter().filter_map(stays).collect();
        *self = after;
    }

    /// Whether what was heard at a place would be heard there now.
    fn may_still_say(&self, before: Place, now: Place, after: &Self) -> bool {
        let (Place::Attachment(before), Place::Attachment(now)) = (before, now) else {
            return true;
        };
        known::may_still_say(&self.config.attachments[before], &after.config.attachments[now])
    }

    /// A segment stays what it is as long as it is the same operator's, by name, VNI and service.
    fn same_segment(&self, segment: usize, after: &Self) -> Option<usize> {
        let before = &self.config.segments[segment];
        let identity = |one: &sillon::model::Segment| {
            (one.name.clone(), one.operator.clone(), one.vni, one.service)
        };
        after.config.segments.iter().position(|one| identity(one) == identity(before))
    }

    fn same_place(&self, place: Place, segment: usize, after: &Self) -> Option<Place> {
        match place {
            Place::Remote(remote) => {
                after.config.segments[segment].remotes.contains(&remote).then_some(place)
            }
            Place::Attachment(attachment) => {
                let before = &self.config.attachments[attachment];
                let is_it = |one: &sillon::model::Attachment| {
                    (&one.segment, &one.port, one.encap)
                        == (&before.segment, &before.port, before.encap)
                };
                after.config.attachments.iter().position(is_it).map(Place::Attachment)
            }
        }
    }

    /// The place of a segment in the configuration.
    pub fn segment(&self, name: &str) -> Option<usize> {
        self.config.segments.iter().position(|segment| segment.name.as_str() == name)
    }

    /// The segment of an attachment.
    pub fn segment_of(&self, attachment: usize) -> Option<usize> {
        self.segment(self.config.attachments.get(attachment)?.segment.as_str())
    }

    /// The device that an attachment is on.
    pub fn device_of(&self, attachment: usize) -> Option<usize> {
        let port = &self.config.attachments.get(attachment)?.port;
        self.devices.iter().position(|device| device.name == port.as_str())
    }

    /// What becomes of a frame that comes in at a device. The copies of one for many are
    /// [`Self::flood_at`]'s.
    pub fn receive_at(&mut self, device: usize, frame: &[u8], clock: &mut Clock<'_>) -> Verdict {
        self.heard = None;
        self.pipeline(device, frame, clock).unwrap_or_else(|(scope, reason)| {
            self.counts.dropped(scope, reason);
            Verdict::Dropped(scope, reason)
        })
    }

    fn pipeline(
        &mut self,
        device: usize,
        frame: &[u8],
        clock: &mut Clock<'_>,
    ) -> Result<Verdict, Dropped> {
        let at_port = |reason| (Scope::Port(device), reason);
        // A port that the configuration does not name carries nothing.
        let role = self.role(device).ok_or(at_port(DropReason::NoAttachment))?;
        let arrival = if role == PortRole::Uplink {
            match tunnel::receive(self, device, frame)? {
                Some(arrival) => arrival,
                None => return Ok(Verdict::Host),
            }
        } else {
            classify::classify(self, device, frame).map_err(at_port)?
        };
        self.counts.received(arrival.from, arrival.counted);
        self.forward(&arrival, clock).map_err(|reason| (arrival.scope(), reason))
    }

    fn role(&self, device: usize) -> Option<PortRole> {
        let name = &self.devices.get(device)?.name;
        Some(self.config.ports.iter().find(|port| port.name.as_str() == name)?.role)
    }

    fn forward(&mut self, arrival: &Arrival, clock: &mut Clock<'_>) -> Result<Verdict, DropReason> {
        let mut inner = Inner::parse(&arrival.frame, arrival.may_carry_tags)?;
        guard::check(self, arrival, &inner)?;
        ecn::decapsulate(&mut inner, arrival.outer_ecn)?;
        let is_yellow = self.police(arrival, clock)?;
        if guard::control::is_peers(self, arrival, &inner)? {
            self.storm(arrival, &inner, clock)?;
            return Ok(Verdict::Peer(arrival.from));
        }
        let route = bridge::route(self, arrival, &inner)?;
        if let (Some((question, answer)), Place::Attachment(attachment)) =
            (suppress::answer(self, arrival, &inner), arrival.from)
        {
            let copy = send::back(self, arrival, &answer, attachment)?;
            // The answer is the node's own: it is not marked.
            self.colour_out(&copy, attachment, clock)?;
            self.count_sent(&copy);
            *self.counts.answered.entry((attachment, question)).or_default() += 1;
            return Ok(Verdict::Answered(question, copy));
        }
        let frame = Flood { yellow: is_yellow, ..send::flood(arrival, &inner) };
        match route {
            Some(to) => Ok(Verdict::Sent(self.leave(&frame, to, clock)?)),
            None => {
                self.storm(arrival, &inner, clock)?;
                Ok(Verdict::Flooded(frame))
            }
        }
    }

    /// Whether the frame is yellow: here, or where it came into the fabric.
    fn police(&mut self, arrival: &Arrival, clock: &mut Clock<'_>) -> Result<bool, DropReason> {
        let Place::Attachment(attachment) = arrival.from else { return Ok(arrival.yellow) };
        match police::colour(self, attachment, Direction::In, arrival.counted, clock) {
            Colour::Red => Err(DropReason::PolicedIngress),
            colour => Ok(colour == Colour::Yellow),
        }
    }

    fn storm(
        &mut self,
        arrival: &Arrival,
        inner: &Inner,
        clock: &mut Clock<'_>,
    ) -> Result<(), DropReason> {
        match arrival.from {
            Place::Attachment(attachment) => police::storm(self, attachment, inner, clock),
            Place::Remote(_) => Ok(()),
        }
    }

    fn colour_out(
        &mut self,
        copy: &Copy,
        attachment: usize,
        clock: &mut Clock<'_>,
    ) -> Result<Colour, DropReason> {
        let len = copy.ways.first().map_or(0, |(_, bytes)| bytes.len());
        match police::colour(self, attachment, Direction::Out, len, clock) {
            Colour::Red => Err(DropReason::PolicedEgress),
            colour => Ok(colour),
        }
    }

    /// One copy, as it leaves.
    fn leave(
        &mut self,
        frame: &Flood,
        to: Place,
        clock: &mut Clock<'_>,
    ) -> Result<Copy, DropReason> {
        let mut copy = send::copy(self, frame, to)?;
        if let Place::Attachment(attachment) = to
            && self.colour_out(&copy, attachment, clock)? == Colour::Yellow
        {
            copy = send::copy(self, &Flood { yellow: true, ..frame.clone() }, to)?;
        }
        self.count_sent(&copy);
        Ok(copy)
    }

    /// The copies of a frame for many. Each that can't be made is a drop, and so is it if there is
    /// none.
    pub fn flood_at(&mut self, flood: &Flood, clock: &mut Clock<'_>) -> Vec<Copy> {
        let mut copies = Vec::new();
        let scope = match flood.from {
            Place::Attachment(attachment) => Scope::Attachment(attachment),
            Place::Remote(_) => Scope::Segment(flood.segment),
        };
        for to in bridge::receivers(self, flood) {
            match self.leave(flood, to, clock) {
                Ok(copy) => copies.push(copy),
                Err(reason) => self.counts.dropped(scope, reason),
            }
        }
        if copies.is_empty() {
            self.counts.dropped(scope, DropReason::NoReceiver);
        }
        copies
    }

    /// The second look at a frame of the host's, at TC: the ethertype that stands in for others on
    /// the way there (`abi::MASKED_ETHERTYPE`) is nobody's else. By then the kernel has lifted
    /// a tag, or thrown the frame away, since there are not two bytes behind it
    /// (`skb_vlan_untag`).
    pub fn pass_to_host(&mut self, device: usize, frame: &[u8]) {
        const LEAST_TAGGED: usize = 14 + 4 + 2;
        let lifted = matches!(be16(frame, 12), Ok(C_TAG | S_TAG));
        if lifted && frame.len() < LEAST_TAGGED {
            return;
        }
        if be16(frame, if lifted { 16 } else { 12 }) == Ok(sillon_abi::MASKED_ETHERTYPE) {
            self.counts.dropped(Scope::Port(device), DropReason::Unclassified);
        }
    }

    /// In a tunnel, what is counted is the inner frame.
    fn count_sent(&mut self, copy: &Copy) {
        let Some((_, bytes)) = copy.ways.first() else { return };
        let outer = copy.tunnelled.as_ref().map_or(0, |(source_port, _)| source_port + 16);
        self.counts.sent(copy.to, bytes.len() - outer);
    }
}
