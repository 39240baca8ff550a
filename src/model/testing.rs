//! Generators for property tests: values that are right, and a configuration as text.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// A VID of 1 to `most`: a small `most` makes collisions likely.
pub(crate) fn vlan(most: u16) -> impl Strategy<Value = VlanId> {
    (1..=most).prop_map(|vid| VlanId::new(vid).unwrap())
}

/// Any encapsulation with VIDs of 1 to `most`.
pub(crate) fn encap(most: u16) -> impl Strategy<Value = Encap> {
    prop_oneof![
        Just(Encap::Untagged),
        vlan(most).prop_map(Encap::Dot1q),
        vlan(most).prop_map(Encap::QinqS),
        (vlan(most), vlan(most)).prop_map(|(s, c)| Encap::QinqSC { s, c }),
        Just(Encap::Port),
    ]
}

/// A bandwidth profile that satisfies every rule for every MTU.
fn profile(index: usize) -> impl Strategy<Value = Profile> {
    // Below this, a megabyte takes longer than a burst may.
    let bucket = (1_000_000..=BitRate::MAX.get(), Segment::largest_frame(9000)..1_000_000)
        .prop_map(|(bits, bytes)| (BitRate::new(bits).unwrap(), ByteSize(bytes)));
    let none = (BitRate::ZERO, ByteSize(0));
    let any_bucket = prop_oneof![Just(none), bucket.clone()];
    (bucket, any_bucket, any::<bool>()).prop_map(move |(some, any, is_committed)| {
        let ((cir, cbs), (eir, ebs)) = if is_committed { (some, any) } else { (any, some) };
        Profile { name: Name::new(&format!("profile-{index}")).unwrap(), cir, cbs, eir, ebs }
    })
}

fn storm() -> impl Strategy<Value = StormControl> {
    let limit = || prop::option::of(1..=StormControl::MAX);
    (limit(), limit(), limit()).prop_map(|(broadcast, multicast, unknown)| StormControl {
        broadcast,
        multicast,
        unknown,
    })
}

/// What an attachment has besides its place: the numbers of its profiles, and its limits.
type Limited = (Option<usize>, Option<usize>, StormControl);
/// What it may send, and who is there.
type Guarded = (Guards, BTreeSet<Binding>);

/// A configuration that satisfies every rule; it has up to 5 ports, 6 segments and 20 attachments.
pub(crate) fn node_config() -> impl Strategy<Value = NodeConfig> {
    let ports = vec((select(PortRole::ALL), select(Hook::ALL)), 0..=4);
    let place = (any::<usize>(), any::<usize>(), encap(4), select(LeafRole::ALL));
    let limited = (prop::option::of(0..2usize), prop::option::of(0..2usize), storm());
    let attachments = vec((place, limited, (guards(), bindings())), 0..=20);
    let profiles = (profile(0), profile(1)).prop_map(|(one, two)| vec![one, two]);
    let parts = (node(), ports, profiles, vec(segment(), 0..=6), attachments);
    parts.prop_map(|(node, roles, profiles, segments, attachments)| {
        let mut config =
            NodeConfig { node, ports: Vec::new(), profiles, segments, attachments: Vec::new() };
        // The last one lets every segment have remotes.
        for (index, (role, hook)) in
            roles.into_iter().chain([(PortRole::Uplink, Hook::Auto)]).enumerate()
        {
            config.ports.push(Port {
                name: InterfaceName::new(&format!("p{index}")).unwrap(),
                role,
                hook,
            });
        }
        let (vtep4, vtep6) = (config.node.vtep4.is_some(), config.node.vtep6.is_some());
        for (index, segment) in config.segments.iter_mut().enumerate() {
            segment.name = Name::new(&format!("segment-{index}")).unwrap();
            segment.vni = Vni::new(segment.vni.get() / 8 * 8 + index as u32 + 1).unwrap();
            segment.remotes.retain(|remote| if remote.is_ipv4() { vtep4 } else { vtep6 });
            if segment.service == Service::Line {
                segment.remotes.truncate(2);
                segment.suppress = false;
            }
        }
        for ((port, segment, encap, role), limited, guarded) in attachments {
            let before = config.attachments.len();
            attach(&mut config, (port, segment), encap, role, guarded);
            if let Some(attachment) = config.attachments.get_mut(before) {
                limit(attachment, &config.profiles, limited);
            }
        }
        config
    })
}

fn limit(attachment: &mut Attachment, profiles: &[Profile], (ingress, egress, storm): Limited) {
    attachment.ingress = ingress.map(|index| profiles[index].name.clone());
    attachment.egress = egress.map(|index| profiles[index].name.clone());
    attachment.storm = storm;
}

/// Adds an attachment where no rule is against it.
fn attach(
    config: &mut NodeConfig,
    at: (usize, usize),
    encap: Encap,
    role: LeafRole,
    guarded: Guarded,
) {
    let (port, segment) = at;
    if config.segments.is_empty() {
        return;
    }
    let port = &config.ports[port % config.ports.len()];
    let segment = &config.segments[segment % config.segments.len()];
    let points = config.attachments.iter().filter(|other| other.segment == segment.name).count();
    let taken = config
        .attachments
        .iter()
        .any(|other| other.port == port.name && other.encap.overlaps(&encap));
    let full = segment.service == Service::Line && points + segment.remotes.len() >= 2;
    if taken || full || port.role == PortRole::Uplink {
        return;
    }
    let role = if segment.service == Service::Tree { role } else { LeafRole::Root };
    let suppresses = segment.suppress;
    let (segment, port, service) = (segment.name.clone(), port.name.clone(), segment.service);
    let (mut guards, mut bindings) = guarded;
    guards.macs.retain(|mac| {
        !config
            .attachments
            .iter()
            .any(|other| other.segment == segment && other.guards.macs.contains(mac))
    });
    if !guards.macs.is_empty() {
        let Guards { mac_limit, over_limit, sticky, .. } = Guards::default();
        guards = Guards { mac_limit, over_limit, sticky, ..guards };
    }
    if service != Service::Line && guards.control == Control::Tunnel {
        guards.control = Control::Drop;
    }
    if guards.control == Control::Peer && !matches!(encap, Encap::Untagged | Encap::Port) {
        guards.control = Control::Drop;
    }
    let others = || config.attachments.iter().filter(|other| other.segment == segment);
    bindings.retain(|binding| suppresses && may_bind(&guards, others(), *binding));
    // Those that came before may have bound a MAC that is listed here.
    guards.macs.retain(|mac| {
        !others().any(|other| other.bindings.iter().any(|bound| bound.mac() == *mac))
    });
    bindings.retain(|binding| guards.macs.is_empty() || guards.macs.contains(&binding.mac()));
    let storm = StormControl::default();
    let (ingress, egress) = (None, None);
    config.attachments.push(Attachment {
        segment,
        port,
        encap,
        role,
        ingress,
        egress,
        storm,
        guards,
        bindings,
    });
}

/// Whether no rule is against it.
fn may_bind<'a>(
    guards: &Guards,
    mut others: impl Iterator<Item = &'a Attachment>,
    binding: Binding,
) -> bool {
    let is_in = |prefix: &Prefix| prefix.contains(binding.address());
    let implied =
        !guards.prefixes.iter().any(|prefix| prefix.is_link_local()) && is_in(&Prefix::LINK_LOCAL);
    let allowed = guards.prefixes.is_empty() || implied || guards.prefixes.iter().any(is_in);
    let taken = |other: &Attachment| {
        other.guards.macs.contains(&binding.mac())
            || other.bindings.iter().any(|bound| bound.address() == binding.address())
    };
    allowed && !others.any(taken)
}

/// No two for one address.
fn bindings() -> impl Strategy<Value = BTreeSet<Binding>> {
    let address = prop_oneof![
        (1..=9u8).prop_map(|host| IpAddr::from([10, 0, 0, host])),
        (1..=9u16).prop_map(|host| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, host])),
        (1..=3u16).prop_map(|host| IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, host])),
    ];
    let whose = ((1..=9u8), any::<bool>());
    prop::collection::btree_map(address, whose, 0..=3).prop_map(|bindings| {
        let bind = |(address, (last, is_router)): (IpAddr, (u8, bool))| {
            let mac = MacAddr::new([2, 0, 0, 0, 0, last]).unwrap();
            Binding::new(address, mac, is_router && address.is_ipv6()).unwrap()
        };
        bindings.into_iter().map(bind).collect()
    })
}

fn guards() -> impl Strategy<Value = Guards> {
    let macs = prop::collection::btree_set(
        (1..=9u8).prop_map(|last| MacAddr::new([2, 0, 0, 0, 0, last]).unwrap()),
        0..=2,
    );
    let prefixes = ["10.0.0.0/24", "10.0.0.1/32", "fd00::/64", "fe80::1/128"]
        .map(|text| text.parse().unwrap());
    let prefixes = prop::collection::btree_set(select(prefixes.to_vec()), 0..=2);
    let ethertypes = ["ipv4", "arp", "ipv6", "0x8847"].map(|text| text.parse().unwrap());
    let ethertypes =
        prop::option::of(prop::collection::btree_set(select(ethertypes.to_vec()), 1..=3));
    let words = (
        select(OverLimit::ALL),
        select(Control::ALL),
        prop::collection::btree_set(select(Trust::ALL), 0..=2),
    );
    (1..=100u32, macs, any::<bool>(), prefixes, ethertypes, words).prop_map(
        |(mac_limit, macs, sticky, prefixes, ethertypes, (over_limit, control, trusted))| Guards {
            mac_limit,
            over_limit,
            macs,
            sticky,
            trusted,
            control,
            prefixes,
            ethertypes,
        },
    )
}

fn node() -> impl Strategy<Value = Node> {
    let vtep4 = prop::option::of(Just(Ipv4Addr::new(10, 99, 0, 1)));
    let vtep6 = prop::option::of(Just(Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 1)));
    let limits = (20..5000u32, 600..100_000u32, 36..2000u32, 6..5000u32);
    (vtep4, vtep6, limits).prop_map(|(vtep4, vtep6, (attachments, fdb, remotes, segments))| Node {
        name: Name::new("edge1").unwrap(),
        vtep4,
        vtep6,
        limits: Limits { attachments, fdb, remotes, segments },
    })
}

fn segment() -> impl Strategy<Value = Segment> {
    let remote = (any::<bool>(), 2..=20u8).prop_map(|(v4, host)| match v4 {
        true => IpAddr::from([10, 99, 0, host]),
        false => IpAddr::from([0xfd99, 0, 0, 0, 0, 0, 0, u16::from(host)]),
    });
    let remotes = prop::collection::btree_set(remote, 0..=6);
    let moves = (0..=9u16, 1..=999u16, 1..=999u32).prop_map(|(limit, window, freeze)| Moves {
        limit,
        window,
        freeze,
    });
    let numbers = (1..16_777_200u32, 576..=9000u16, 1..=1_000_000u32, 1..=100u32, 0..=63u8, moves);
    (select(Service::ALL), select(&["alder", "birch", "cedar"]), remotes, numbers, any::<bool>())
        .prop_map(
            |(service, operator, remotes, (vni, mtu, ageing, mac_limit, dscp, moves), suppress)| {
                Segment {
                    name: Name::new("segment").unwrap(),
                    operator: Name::new(operator).unwrap(),
                    vni: Vni::new(vni).unwrap(),
                    service,
                    remotes: Vec::from_iter(remotes),
                    mtu,
                    ageing,
                    mac_limit,
                    dscp,
                    moves,
                    suppress,
                }
            },
        )
}

/// A configuration as text, in its own order.
pub(crate) fn to_toml(config: &NodeConfig) -> String {
    write::parts(config).map(|(_, text)| text).collect()
}

/// Every rule again, pair by pair, in the plainest way.
pub(crate) fn assert_every_rule(config: &NodeConfig) {
    let NodeConfig { node, ports, profiles, segments, attachments } = config;
    let distinct = |count: usize, all: BTreeSet<String>| assert_eq!(all.len(), count, "{all:?}");
    distinct(ports.len(), ports.iter().map(|port| port.name.to_string()).collect());
    distinct(segments.len(), segments.iter().map(|segment| segment.name.to_string()).collect());
    distinct(segments.len(), segments.iter().map(|segment| segment.vni.to_string()).collect());
    let remotes: BTreeSet<_> = segments.iter().flat_map(|segment| &segment.remotes).collect();
    assert!(
        remotes.len() <= node.limits.remotes as usize
            && segments.len() <= node.limits.segments as usize
    );
    assert!(remotes.is_empty() || ports.iter().any(|port| port.role == PortRole::Uplink));
    assert!(attachments.len() <= node.limits.attachments as usize);
    for segment in segments {
        distinct(segment.remotes.len(), segment.remotes.iter().map(IpAddr::to_string).collect());
        for remote in &segment.remotes {
            let vtep = if remote.is_ipv4() {
                node.vtep4.map(IpAddr::V4)
            } else {
                node.vtep6.map(IpAddr::V6)
            };
            assert!(vtep.is_some_and(|vtep| vtep != *remote), "{remote}");
            assert!(
                !remote.is_multicast() && !remote.is_unspecified() && !remote.is_loopback(),
                "{remote}"
            );
        }
        let here = attachments.iter().filter(|attachment| attachment.segment == segment.name);
        assert!(
            segment.service != Service::Line || here.clone().count() + segment.remotes.len() <= 2
        );
        assert!(
            segment.service == Service::Tree || here.clone().all(|one| one.role == LeafRole::Root)
        );
        assert!((576..=9000).contains(&segment.mtu) && (1..=1_000_000).contains(&segment.ageing));
        assert!(segment.mac_limit >= 1 && segment.dscp <= 63);
    }
    let mut owned = BTreeSet::new();
    for attachment in attachments {
        let guards = &attachment.guards;
        assert!(
            guards.macs.iter().all(|mac| owned.insert((&attachment.segment, mac))),
            "{attachment:?}"
        );
        assert!(guards.macs.is_empty() || !guards.sticky);
        let is_line = config.segment(&attachment.segment).unwrap().service == Service::Line;
        assert!(is_line || guards.control != Control::Tunnel);
        let has_tag = !matches!(attachment.encap, Encap::Untagged | Encap::Port);
        assert!(!has_tag || guards.control != Control::Peer);
        assert!(guards.ethertypes.as_ref().is_none_or(|list| !list.is_empty()));
        assert_bindings(config, attachment);
    }
    let macs: u64 = config.segments.iter().map(|segment| u64::from(segment.mac_limit)).sum();
    assert!(macs <= u64::from(node.limits.fdb));
    distinct(profiles.len(), profiles.iter().map(|profile| profile.name.to_string()).collect());
    for Profile { cir, cbs, eir, ebs, .. } in profiles {
        assert!(cir.get() + eir.get() > 0);
        for (rate, burst) in [(cir, cbs), (eir, ebs)] {
            assert_eq!(rate.get() == 0, burst.0 == 0);
            assert!(rate.get() == 0 || Profile::burst_ms(*rate, *burst) <= 10_000);
        }
    }
    for (index, one) in attachments.iter().enumerate() {
        let largest = u64::from(config.segment(&one.segment).unwrap().mtu) + 30;
        for name in [&one.ingress, &one.egress].into_iter().flatten() {
            let Profile { cir, cbs, eir, ebs, .. } = config.profile(name).unwrap();
            assert!((cir.get() == 0 || cbs.0 >= largest) && (eir.get() == 0 || ebs.0 >= largest));
        }
        assert_ne!(config.port(&one.port).unwrap().role, PortRole::Uplink);
        assert!(config.segment(&one.segment).is_some());
        let mut before = attachments[..index].iter().filter(|two| two.port == one.port);
        assert!(!before.any(|two| two.encap.overlaps(&one.encap)), "{one:?}");
    }
}

/// The rules of an attachment's bindings.
fn assert_bindings(config: &NodeConfig, attachment: &Attachment) {
    let segment = config.segment(&attachment.segment).unwrap();
    assert!(!segment.suppress || segment.service != Service::Line);
    assert!(segment.suppress || attachment.bindings.is_empty());
    let of_segment = config.attachments.iter().filter(|other| other.segment == attachment.segment);
    for binding in &attachment.bindings {
        let here = of_segment.clone().flat_map(|other| &other.bindings);
        assert_eq!(
            here.filter(|other| other.address() == binding.address()).count(),
            1,
            "{binding}"
        );
        let mut others = of_segment.clone().filter(|other| !std::ptr::eq(*other, attachment));
        assert!(!others.any(|other| other.guards.macs.contains(&binding.mac())), "{binding}");
        assert!(may_bind(&attachment.guards, std::iter::empty(), *binding), "{binding}");
        let macs = &attachment.guards.macs;
        assert!(macs.is_empty() || macs.contains(&binding.mac()), "{binding}");
    }
}
