//! What has to agree: the rules that need two values, each told once with the words for its breach.
//! A node's file and the fabric's objects both ask here, and add the places or the names.

use std::{collections::HashMap, net::IpAddr};

use super::{
    Binding, BitRate, ByteSize, Control, Encap, InvalidValue, LeafRole, MacAddr, Prefix, Profile,
    Segment, Service,
};

/// What a rule answers: nothing, or what is wrong and what would be right.
pub(crate) type Checked = Result<(), InvalidValue>;

/// The two halves of a bandwidth profile, by the names of their rate and their size.
#[derive(Clone, Copy)]
pub(crate) struct Bucket {
    pub rate: &'static str,
    pub burst: &'static str,
}

/// CIR and CBS.
pub(crate) const COMMITTED: Bucket = Bucket { rate: "cir", burst: "cbs" };
/// EIR and EBS.
pub(crate) const EXCESS: Bucket = Bucket { rate: "eir", burst: "ebs" };

/// The largest frame of the segments with the smallest MTU.
pub(crate) const LEAST_BURST: ByteSize = ByteSize(Segment::largest_frame(Segment::LEAST_MTU));

/// The points that a `line` has at most.
pub(crate) const LINE_POINTS: usize = 2;

/// Roles are for trees.
pub(crate) fn role(service: Service) -> Checked {
    if service == Service::Tree {
        return Ok(());
    }
    Err(InvalidValue::new(
        format_args!("a {service} has no roles"),
        "remove the role, or make the segment a tree",
    ))
}

/// A leaf is only in a tree; in any other service all are roots, which nobody has to say.
pub(crate) fn leaf(role_of: LeafRole, service: Service) -> Checked {
    if role_of == LeafRole::Leaf { role(service) } else { Ok(()) }
}

/// What speaks of a link crosses only a line.
pub(crate) fn control(control: Control, service: Service) -> Checked {
    if control != Control::Tunnel || service == Service::Line {
        return Ok(());
    }
    Err(InvalidValue::new(
        format_args!("control: a {service} tunnels no control frames"),
        "what speaks of a link can only cross a line; leave control out, or make the segment a \
         line",
    ))
}

/// A tag is not the link's, but a VLAN's: on an attachment with one, no link-local control frame
/// comes.
pub(crate) fn peer(control: Control, encap: Encap) -> Checked {
    if control != Control::Peer || matches!(encap, Encap::Untagged | Encap::Port) {
        return Ok(());
    }
    Err(InvalidValue::new(
        "control: with \"peer\", the attachment has no tag",
        "control frames are those of a link, and have no tag: say \"peer\" on an \"untagged\" or \
         \"port\" attachment",
    ))
}

/// An attachment with a list of MACs learns nothing: `key` speaks of learning.
pub(crate) fn learns_nothing(key: &str) -> InvalidValue {
    InvalidValue::new(
        format_args!("{key}: an attachment with macs learns no addresses"),
        format_args!("remove {key}, or macs"),
    )
}

/// A line has two points.
pub(crate) fn line_points(count: usize) -> Checked {
    if count <= LINE_POINTS {
        return Ok(());
    }
    Err(InvalidValue::new(
        format_args!("a line has two points, and this one has {count}"),
        "attachments and remotes are points: remove some, or make the segment a lan or a tree",
    ))
}

/// A line has nothing to suppress.
pub(crate) fn suppress(service: Service) -> Checked {
    if service != Service::Line {
        return Ok(());
    }
    Err(InvalidValue::new(
        "suppress: a line floods nothing",
        "its other end is the only one to be asked; leave suppress out, or make the segment a lan \
         or a tree",
    ))
}

/// Bindings are for segments that answer.
pub(crate) fn answers(suppress: bool) -> Checked {
    if suppress {
        return Ok(());
    }
    Err(InvalidValue::new(
        "bindings: nothing is answered in this segment",
        "add suppress = true to the segment, or remove bindings",
    ))
}

/// What the guard would not let an attachment claim is not claimed for it either. Without a list,
/// it may have any address.
pub(crate) fn within(prefixes: impl IntoIterator<Item = Prefix>, binding: Binding) -> Checked {
    let (mut any, mut lists_link_local, address) = (false, false, binding.address());
    for prefix in prefixes {
        any = true;
        lists_link_local |= prefix.is_link_local();
        if prefix.contains(address) {
            return Ok(());
        }
    }
    if !any || (!lists_link_local && Prefix::LINK_LOCAL.contains(address)) {
        return Ok(());
    }
    Err(InvalidValue::new(
        format_args!("bindings: {address} is in none of the attachment's prefixes"),
        "add a prefix that has it, or remove the binding",
    ))
}

/// A binding's MAC is one of the attachment's, where these are listed.
pub(crate) fn not_its_own(mac: MacAddr) -> InvalidValue {
    InvalidValue::new(
        format_args!("bindings: {mac} is none of the attachment's macs"),
        "add it to macs, or remove the binding",
    )
}

/// A MAC that is configured is at the attachment for which it is.
pub(crate) fn anothers(mac: MacAddr) -> InvalidValue {
    InvalidValue::new(
        format_args!("bindings: {mac} is another attachment's"),
        "write the binding at the attachment whose the MAC is",
    )
}

/// A profile lets something pass.
pub(crate) fn passes(cir: BitRate, eir: BitRate) -> Checked {
    if cir != BitRate::ZERO || eir != BitRate::ZERO {
        return Ok(());
    }
    Err(InvalidValue::new("the profile lets nothing pass", "add a line like: cir = \"100 Mbit/s\""))
}

/// A burst has a rate, and a size that makes sense for it.
pub(crate) fn burst(bucket: Bucket, rate: BitRate, size: ByteSize) -> Checked {
    let Bucket { rate: rate_key, burst: key } = bucket;
    if rate == BitRate::ZERO {
        if size == ByteSize(0) {
            return Ok(());
        }
        return Err(InvalidValue::new(
            format_args!("{key} without {rate_key}: a burst that never comes again"),
            format_args!("add a line like: {rate_key} = \"100 Mbit/s\", or remove {key}"),
        ));
    }
    if size < LEAST_BURST {
        let default = Profile::default_burst(rate);
        return Err(InvalidValue::new(
            format_args!("{key}: {size} holds no frame of any segment"),
            format_args!("write at least {LEAST_BURST}, or leave {key} out for {default}"),
        ));
    }
    let (lasts, longest) = (Profile::burst_ms(rate, size), Profile::LONGEST_BURST_MS);
    if lasts > longest.into() {
        let most = rate.get() / 8 * (longest / 1000);
        return Err(InvalidValue::new(
            format_args!("{key}: {size} take {} seconds at {rate}", lasts.div_ceil(1000)),
            format_args!("a burst is of {} s at most, which is {most} B", longest / 1000),
        ));
    }
    Ok(())
}

/// A profile's burst holds its segment's largest frame (MEF 10.3 section 12.1: a smaller one would
/// never let that frame pass).
pub(crate) fn holds(profile: &str, bucket: Bucket, size: ByteSize, mtu: u16) -> Checked {
    let (largest, key) = (Segment::largest_frame(mtu), bucket.burst);
    if size.0 >= largest {
        return Ok(());
    }
    Err(InvalidValue::new(
        format_args!(
            "profile {profile:?} does not fit: its {key} of {size} is less than the largest frame \
             of the segment"
        ),
        format_args!(
            "write {key} = \"{largest} B\" or more: an MTU of {mtu}, an Ethernet header and up to \
             four tags"
        ),
    ))
}

/// Why an address can't be one end of a tunnel.
pub(crate) fn not_for_tunnels(address: IpAddr) -> Option<&'static str> {
    let (link_local, odd) = match address {
        IpAddr::V4(v4) if v4.is_broadcast() => (false, Some("the broadcast address, not unicast")),
        IpAddr::V4(v4) if v4.octets()[0] == 0 => {
            (false, Some("of \"this network\" (RFC 1122 §3.2.1.3)"))
        }
        IpAddr::V4(v4) => (v4.is_link_local(), None),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            (false, Some("an IPv4 address in IPv6's clothes"))
        }
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), None),
    };
    if address.is_unspecified() {
        Some("the unspecified address, not unicast")
    } else if address.is_multicast() {
        Some("a multicast address, not unicast")
    } else if address.is_loopback() {
        Some("a loopback address, which no other node can reach")
    } else if link_local {
        Some("a link-local address, which routers don't forward")
    } else {
        odd
    }
}

/// In a segment, an address is one host's.
pub(crate) fn bound_twice(address: IpAddr, segment: &str) -> InvalidValue {
    InvalidValue::new(
        format_args!("bindings: {address} is listed twice in segment {segment:?}"),
        "in a segment, an address is one host's",
    )
}

/// Whose the addresses of one segment are. `W` is where that is said: a place of a file, or an
/// attachment's name.
#[derive(Debug)]
pub(crate) struct Claims<W> {
    macs: HashMap<MacAddr, W>,
    addresses: HashMap<IpAddr, W>,
}

impl<W> Default for Claims<W> {
    fn default() -> Self {
        Self { macs: HashMap::new(), addresses: HashMap::new() }
    }
}

impl<W: Clone> Claims<W> {
    /// In a segment, a configured MAC is at one attachment. If it is listed already, says where.
    pub(crate) fn list(
        &mut self,
        mac: MacAddr,
        at: W,
        segment: &str,
    ) -> Result<(), (W, InvalidValue)> {
        if let Some(first) = self.macs.get(&mac) {
            let broken = InvalidValue::new(
                format_args!("macs: {mac} is listed twice in segment {segment:?}"),
                "in a segment, an address is at one attachment",
            );
            return Err((first.clone(), broken));
        }
        self.macs.insert(mac, at);
        Ok(())
    }

    /// In a segment, an address is one host's. If it is somebody's already, says whose.
    pub(crate) fn bind(
        &mut self,
        address: IpAddr,
        at: W,
        segment: &str,
    ) -> Result<(), (W, InvalidValue)> {
        if let Some(first) = self.addresses.get(&address) {
            return Err((first.clone(), bound_twice(address, segment)));
        }
        self.addresses.insert(address, at);
        Ok(())
    }

    /// Where a MAC is listed.
    pub(crate) fn listed(&self, mac: MacAddr) -> Option<&W> {
        self.macs.get(&mac)
    }
}
