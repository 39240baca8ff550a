//! What is asked for: the specs of the objects. Each is right by itself once [`Spec::check`] says
//! so; what needs the rest of the fabric is asked in [`super::transact`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Kind, Owned, PortKey, Ranges,
    bounds::{storm, within},
    quota::{Ceiling, Lists, Quota},
};
use crate::model::{
    self, Binding, BitRate, ByteSize, Encap, Guards, Hook, InvalidValue, LeafRole, Limits, Mistake,
    Moves, Name, PortRole, Service, StormControl, VlanId, Vni, cross_checks, decode,
};

/// The spec of any kind that can be asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "spec", rename_all = "lowercase")]
pub enum Spec {
    Operator(OperatorSpec),
    Node(NodeSpec),
    Port(PortSpec),
    Server(ServerSpec),
    Lease(LeaseSpec),
    Profile(ProfileSpec),
    Segment(SegmentSpec),
    Attachment(Box<AttachmentSpec>),
}

/// What an operator may have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OperatorSpec {
    /// The VNIs of its segments. No two operators share one.
    pub vnis: Ranges,
    /// How much it may have.
    #[serde(default)]
    pub quota: Quota,
    /// How far it may decide what costs others.
    #[serde(default)]
    pub ceiling: Ceiling,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Its tunnel addresses: at most one of a family.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub vtep: BTreeSet<IpAddr>,
    /// What it has room for.
    #[serde(default)]
    pub limits: Limits,
}

/// A port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortSpec {
    /// What it faces.
    pub role: PortRole,
    /// Where in the kernel its frames are seen to.
    #[serde(default)]
    pub hook: Hook,
    /// On a handover port: who may attach to it, and with which outer VIDs.
    #[serde(default)]
    pub grants: BTreeMap<Name, Grant>,
    /// Whether attachments may make the node's own stack the peer of control frames (`control:
    /// peer`): it is the owner's machine that answers.
    #[serde(default)]
    pub peer: bool,
    /// The most that storm control may let pass here, for each attachment, if it is less than its
    /// operator's ceiling. Only what is named has a ceiling; null is none as well.
    #[serde(default = "unlimited", deserialize_with = "only_named")]
    pub storm: StormControl,
}

fn unlimited() -> StormControl {
    StormControl::OFF
}

/// Reads limits of which one that is left out is none. By itself [`StormControl`] fills in what an
/// attachment has if nothing is said.
fn only_named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StormControl, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Named {
        broadcast: Option<u32>,
        multicast: Option<u32>,
        unknown: Option<u32>,
    }
    let Named { broadcast, multicast, unknown } = Named::deserialize(deserializer)?;
    Ok(StormControl { broadcast, multicast, unknown })
}

/// What an operator may attach on a handover port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Grant {
    /// Anything. Then the port is nobody else's.
    Whole,
    /// What has one of these as its outer VID, under either TPID.
    Vids(Ranges),
}

impl Grant {
    /// Whether it allows an encapsulation.
    pub fn allows(&self, encap: Encap) -> bool {
        match (self, encap) {
            (Self::Whole, _) => true,
            (Self::Vids(_), Encap::Untagged | Encap::Port) => false,
            (
                Self::Vids(vids),
                Encap::Dot1q(vid) | Encap::QinqS(vid) | Encap::QinqSC { s: vid, .. },
            ) => vids.contains(vid.get().into()),
        }
    }

    /// Whether some encapsulation is allowed by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Vids(one), Self::Vids(two)) => one.overlaps(two),
            _ => true,
        }
    }
}

/// A server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerSpec {
    /// The access ports that face it, as `NODE/INTERFACE`; they are no other server's.
    pub ports: BTreeSet<PortKey>,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseSpec {
    /// Of which server.
    pub server: Name,
    /// When it can begin; at once if left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// When it begins to drain, or the offer ends.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// How long the quarantine lasts if the owner does not confirm, in seconds.
    #[serde(default = "default_quarantine")]
    pub quarantine: u32,
}

impl LeaseSpec {
    /// What `quarantine` is if it is left out, in seconds.
    pub const DEFAULT_QUARANTINE: u32 = 3600;
}

fn default_quarantine() -> u32 {
    LeaseSpec::DEFAULT_QUARANTINE
}

/// A bandwidth profile of an operator.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProfileSpec {
    /// Committed information rate.
    pub cir: BitRate,
    /// Committed burst size; 10 ms and at least 64 KiB if left out.
    pub cbs: Option<ByteSize>,
    /// Excess information rate.
    pub eir: BitRate,
    /// Excess burst size; the same.
    pub ebs: Option<ByteSize>,
}

impl ProfileSpec {
    /// As a node knows it, under this name.
    pub fn named(&self, name: Name) -> model::Profile {
        let burst =
            |size: Option<ByteSize>, rate| size.unwrap_or(model::Profile::default_burst(rate));
        let (cbs, ebs) = (burst(self.cbs, self.cir), burst(self.ebs, self.eir));
        model::Profile { name, cir: self.cir, cbs, eir: self.eir, ebs }
    }
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentSpec {
    /// Who reaches whom.
    pub service: Service,
    /// Its VNI, of the operator's own; one is drawn if it is left out.
    #[serde(default)]
    pub vni: Option<Vni>,
    /// The largest layer-3 packet, in bytes.
    #[serde(default = "default_mtu")]
    pub mtu: u16,
    /// After how many seconds of silence an address is forgotten.
    #[serde(default = "default_ageing")]
    pub ageing: u32,
    /// How many addresses it may have.
    #[serde(default = "default_mac_limit")]
    pub mac_limit: u32,
    /// The DSCP of the outer header.
    #[serde(default)]
    pub dscp: u8,
    /// When a moving address is frozen.
    #[serde(default)]
    pub moves: Moves,
    /// Whether its nodes answer ARP and neighbour discovery.
    #[serde(default)]
    pub suppress: bool,
}

fn default_mtu() -> u16 {
    model::Segment::DEFAULT_MTU
}

fn default_ageing() -> u32 {
    model::Segment::DEFAULT_AGEING
}

fn default_mac_limit() -> u32 {
    model::Segment::DEFAULT_MAC_LIMIT
}

/// An attachment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AttachmentSpec {
    /// One of the operator's segments.
    pub segment: Name,
    /// The port, as `NODE/INTERFACE`.
    pub port: PortKey,
    /// Which frames of the port.
    pub encap: EncapWish,
    /// What it is in a tree.
    #[serde(default = "root")]
    pub role: LeafRole,
    /// One of the operator's profiles, for what comes from it.
    #[serde(default)]
    pub ingress: Option<Name>,
    /// The same for what goes to it.
    #[serde(default)]
    pub egress: Option<Name>,
    /// How much of what comes from it may be flooded.
    #[serde(default)]
    pub storm: StormControl,
    /// What may be sent there.
    #[serde(default)]
    pub guards: Guards,
    /// Addresses of hosts there.
    #[serde(default)]
    pub bindings: BTreeSet<Binding>,
}

impl AttachmentSpec {
    /// Returns how many entries its lists take on a node.
    pub fn lists(&self) -> Lists {
        let (guards, length) =
            (&self.guards, |length: usize| u64::try_from(length).unwrap_or(u64::MAX));
        // A node adds the link-local addresses where there is a list without any.
        let adds = !guards.prefixes.is_empty()
            && !guards.prefixes.iter().any(|prefix| prefix.is_link_local());
        Lists {
            prefixes: length(guards.prefixes.len()) + u64::from(adds),
            macs: length(guards.macs.len()),
            ethertypes: length(guards.ethertypes.as_ref().map_or(0, BTreeSet::len)),
            bindings: length(self.bindings.len()),
        }
    }

    /// The profiles that the attachment of this name asks for: its operator's.
    pub(super) fn profiles_of(&self, attachment: &Owned) -> impl Iterator<Item = Owned> {
        [&self.ingress, &self.egress].into_iter().flatten().map(|name| attachment.beside(name))
    }
}

fn root() -> LeafRole {
    LeafRole::Root
}

/// An encapsulation, or one with a VID to be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncapWish {
    /// This one.
    Given(Encap),
    /// `dot1q` with any VID.
    AnyDot1q,
    /// `qinq` with any S-VID.
    AnyQinq,
}

impl EncapWish {
    /// What it would be with this VID.
    pub const fn with(self, vid: VlanId) -> Encap {
        match self {
            Self::Given(encap) => encap,
            Self::AnyDot1q => Encap::Dot1q(vid),
            Self::AnyQinq => Encap::QinqS(vid),
        }
    }

    /// Whether this is one of what is wished for.
    pub fn fits(self, encap: Encap) -> bool {
        match self {
            Self::Given(given) => given == encap,
            Self::AnyDot1q => matches!(encap, Encap::Dot1q(_)),
            Self::AnyQinq => matches!(encap, Encap::QinqS(_)),
        }
    }
}

impl fmt::Display for EncapWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(encap) => encap.fmt(f),
            Self::AnyDot1q => f.pad("dot1q"),
            Self::AnyQinq => f.pad("qinq"),
        }
    }
}

impl Serialize for EncapWish {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EncapWish {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "dot1q" => Ok(Self::AnyDot1q),
            "qinq" => Ok(Self::AnyQinq),
            text => text.parse().map(Self::Given).map_err(|invalid| model::refused(&invalid)),
        }
    }
}

impl Spec {
    /// The kind of object that it is of.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Operator(_) => Kind::Operator,
            Self::Node(_) => Kind::Node,
            Self::Port(_) => Kind::Port,
            Self::Server(_) => Kind::Server,
            Self::Lease(_) => Kind::Lease,
            Self::Profile(_) => Kind::Profile,
            Self::Segment(_) => Kind::Segment,
            Self::Attachment(_) => Kind::Attachment,
        }
    }

    /// Reads the spec of an object of this kind; `None` where nobody can ask for one.
    ///
    /// # Errors
    /// Returns what is wrong with it, and where.
    pub fn decode(kind: Kind, spec: Value) -> Option<Result<Self, Mistake>> {
        Some(match kind {
            Kind::Operator => decode(spec).map(Self::Operator),
            Kind::Node => decode(spec).map(Self::Node),
            Kind::Port => decode(spec).map(Self::Port),
            Kind::Server => decode(spec).map(Self::Server),
            Kind::Lease => decode(spec).map(Self::Lease),
            Kind::Profile => decode(spec).map(Self::Profile),
            Kind::Segment => decode(spec).map(Self::Segment),
            Kind::Attachment => decode(spec).map(Self::Attachment),
            Kind::Tombstone | Kind::Trial => return None,
        })
    }

    /// What can be said of it without the rest of the fabric.
    pub fn check(&self) -> Result<(), InvalidValue> {
        match self {
            Self::Operator(spec) => {
                ranges(&spec.vnis, "vnis", Vni::MIN.get(), Vni::MAX.get())?;
                spec.ceiling.check()
            }
            Self::Node(spec) => node(spec),
            Self::Port(spec) => port(spec),
            Self::Server(_) => Ok(()),
            Self::Lease(spec) => lease(spec),
            Self::Profile(spec) => profile(spec),
            Self::Segment(spec) => segment(spec),
            Self::Attachment(spec) => attachment(spec),
        }
    }
}

fn ranges(ranges: &Ranges, key: &str, least: u32, most: u32) -> Result<(), InvalidValue> {
    let Some((first, last)) = ranges.outside(least, most) else { return Ok(()) };
    Err(InvalidValue::new(
        format_args!("{key}: {first}–{last} is no range within {least}–{most}"),
        format_args!("write pairs like [{least}, {most}], the smaller number first"),
    ))
}

fn node(spec: &NodeSpec) -> Result<(), InvalidValue> {
    for address in &spec.vtep {
        if let Some(what) = cross_checks::not_for_tunnels(*address) {
            return Err(InvalidValue::new(
                format_args!("vtep: {address} is {what}"),
                "write a unicast address that the other nodes can reach",
            ));
        }
    }
    let v4 = spec.vtep.iter().filter(|address| address.is_ipv4()).count();
    if v4 > 1 || spec.vtep.len() - v4 > 1 {
        return Err(InvalidValue::new(
            "vtep: two addresses of one family",
            "write one address, or one of each family",
        ));
    }
    let Limits { attachments, fdb, remotes, segments } = spec.limits;
    within("limits.attachments", attachments, 1..=Limits::MOST)?;
    within("limits.fdb", fdb, 1..=Limits::MOST_FDB)?;
    within("limits.remotes", remotes, 1..=Limits::MOST)?;
    within("limits.segments", segments, 1..=Limits::MOST)
}

fn port(spec: &PortSpec) -> Result<(), InvalidValue> {
    storm("storm", &spec.storm)?;
    if spec.role != PortRole::Handover && !spec.grants.is_empty() {
        return Err(InvalidValue::new(
            format_args!("grants: this port is {}", spec.role),
            "grants are for handover ports; whoever leases a server has its access ports",
        ));
    }
    for (index, (operator, grant)) in spec.grants.iter().enumerate() {
        if let Grant::Vids(vids) = grant {
            let key = format!("grants.{operator}.vids");
            ranges(vids, &key, VlanId::MIN.get().into(), VlanId::MAX.get().into())?;
        }
        if let Some((other, _)) =
            spec.grants.iter().skip(index + 1).find(|(_, two)| two.overlaps(grant))
        {
            return Err(InvalidValue::new(
                format_args!("grants: {operator} and {other} could take the same frames"),
                "give each operator VIDs of its own",
            ));
        }
    }
    Ok(())
}

fn lease(spec: &LeaseSpec) -> Result<(), InvalidValue> {
    match (spec.from, spec.until) {
        (Some(from), Some(until)) if until <= from => Err(InvalidValue::new(
            format_args!("until: {until} is not after {from}"),
            "write a time after from, or leave one of them out",
        )),
        _ => Ok(()),
    }
}

fn profile(spec: &ProfileSpec) -> Result<(), InvalidValue> {
    cross_checks::passes(spec.cir, spec.eir)?;
    for (bucket, rate, size) in
        [(cross_checks::COMMITTED, spec.cir, spec.cbs), (cross_checks::EXCESS, spec.eir, spec.ebs)]
    {
        size.map_or(Ok(()), |size| cross_checks::burst(bucket, rate, size))?;
    }
    Ok(())
}

fn segment(spec: &SegmentSpec) -> Result<(), InvalidValue> {
    within("mtu", spec.mtu.into(), model::Segment::MTUS)?;
    within("ageing", spec.ageing, model::Segment::SECONDS)?;
    within("mac_limit", spec.mac_limit, 1..=Limits::MOST_FDB)?;
    within("dscp", spec.dscp.into(), model::Segment::DSCPS)?;
    within("moves.window", spec.moves.window.into(), 1..=u16::MAX.into())?;
    within("moves.freeze", spec.moves.freeze, model::Segment::SECONDS)?;
    if spec.suppress { cross_checks::suppress(spec.service) } else { Ok(()) }
}

fn attachment(spec: &AttachmentSpec) -> Result<(), InvalidValue> {
    let (guards, default) = (&spec.guards, Guards::default());
    within("guards.mac_limit", guards.mac_limit, 1..=Limits::MOST_FDB)?;
    if guards.ethertypes.as_ref().is_some_and(BTreeSet::is_empty) {
        return Err(InvalidValue::new(
            "guards.ethertypes: the list is empty",
            "list what the attachment may have; without ethertypes it may have any",
        ));
    }
    let learning = [
        ("mac_limit", guards.mac_limit != default.mac_limit),
        ("over_limit", guards.over_limit != default.over_limit),
        ("sticky", guards.sticky),
    ];
    if let Some((key, _)) = learning.iter().find(|(_, is_set)| *is_set && !guards.macs.is_empty()) {
        return Err(cross_checks::learns_nothing(key));
    }
    storm("storm", &spec.storm)?;
    let mut addresses = BTreeSet::new();
    for binding in &spec.bindings {
        if !addresses.insert(binding.address()) {
            return Err(cross_checks::bound_twice(binding.address(), spec.segment.as_str()));
        }
        cross_checks::within(guards.prefixes.iter().copied(), *binding)?;
        if !guards.macs.is_empty() && !guards.macs.contains(&binding.mac()) {
            return Err(cross_checks::not_its_own(binding.mac()));
        }
    }
    Ok(())
}
