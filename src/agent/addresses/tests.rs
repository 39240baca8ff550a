#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use sillon_abi::{
    Attachment, Claim, ClassKey, Endpoint, Guards, Label, Mac, PortRecord, Segment, Service,
    TunnelEntry, TunnelKey,
};

use super::*;
use crate::agent::subject::Found;
use crate::dataplane::{
    compile::addr,
    tables::{Tables, padded},
};

const FAR: &str = "10.0.0.2";

/// Two segments, alder's (uid 1) and birch's (uid 2): each has an attachment of its uid, at p0 and
/// p1, and a remote, 9.
fn index() -> Arc<NodeIndex> {
    Arc::new(NodeIndex::of(&tables()))
}

fn tables() -> Tables {
    let mut tables = Tables::default();
    for (uid, operator) in [(1, "alder"), (2, "birch")] {
        let vni = 100 + uid;
        let segment =
            Segment { vni, service: Service::Lan as u8, fdb_limit: 10_000, ..Segment::default() };
        tables.segments.insert(uid, segment);
        let label =
            Label { segment: padded(&format!("{operator}.lan")), operator: padded(operator) };
        tables.labels.insert(uid, label);
        tables.records.insert(
            uid,
            PortRecord { name: padded(&format!("p{}", uid - 1)), features: 0, mode: 1 },
        );
        let class = ClassKey { ifindex: uid, ..ClassKey::default() };
        tables.attachments.insert(uid, Attachment { class, segment: uid, ..Attachment::default() });
        let key = TunnelKey::new(vni, addr(FAR.parse().unwrap()));
        tables
            .tunnels
            .insert(key, TunnelEntry { key, segment: uid, remote: 9, ..TunnelEntry::default() });
    }
    tables
}

fn location(uid: u32, number: u16) -> MacLocation {
    let [a, b] = number.to_be_bytes();
    MacLocation {
        key: FdbKey::new(uid, Mac::new([2, 0, 0, 0, a, b])),
        endpoint: Endpoint::attachment(uid),
    }
}

fn there(revision: u64, uid: u32, number: u16, at: Option<&str>) -> pb::There {
    let segment = ["alder.lan", "birch.lan"][uid as usize - 1].to_owned();
    let mac = location(uid, number).key.mac.octets().to_vec();
    let learned = vec![pb::Learned { segment, mac, at: at.map(str::to_owned) }];
    pb::There { term: 1, revision, learned, ..pb::There::default() }
}

/// With a stream, on which all that was there is said.
fn begun() -> Addresses {
    let mut addresses = Addresses::default();
    addresses.follow(index());
    addresses.begin();
    addresses.begin_walk();
    addresses.end_fdb();
    addresses.end_walk();
    let first = addresses.publish(1, Instant::now()).unwrap();
    assert_eq!((first.want.len(), first.complete, first.learned.len()), (2, true, 0));
    addresses
}

fn said(addresses: &mut Addresses) -> Vec<(String, Option<String>)> {
    let here = addresses.publish(1, Instant::now());
    here.into_iter().flat_map(|here| here.learned).map(|one| (one.segment, one.at)).collect()
}

#[test]
fn what_is_new_is_said_once_and_what_is_gone_too() {
    let mut addresses = begun();
    let at = |port: Option<&str>| [("alder.lan".to_owned(), port.map(str::to_owned))];
    addresses.record(&location(1, 7));
    assert_eq!(said(&mut addresses), at(Some("p0")));
    addresses.begin_walk();
    addresses.refresh(&location(1, 7));
    addresses.end_fdb();
    addresses.end_walk();
    assert_eq!(said(&mut addresses), []);
    // It went away and came back between two walks.
    addresses.record(&location(1, 7));
    assert_eq!(said(&mut addresses), at(Some("p0")));
    addresses.begin_walk();
    addresses.end_fdb();
    addresses.end_walk();
    assert_eq!(said(&mut addresses), at(None));
    assert!(!addresses.has_unpublished());
    // Of another segment's attachment nothing is said.
    addresses.record(&MacLocation { endpoint: Endpoint::attachment(2), ..location(1, 8) });
    assert_eq!(said(&mut addresses), []);
}

#[test]
fn one_operators_flood_leaves_room_for_the_others_and_has_a_budget() {
    let (mut addresses, now) = (begun(), Instant::now());
    (0..9000).for_each(|number| addresses.record(&location(1, number)));
    addresses.record(&location(2, 1));
    let first = addresses.publish(1, now).unwrap().learned;
    assert!(first.iter().any(|learned| learned.segment == "birch.lan"));
    let mut count = first.len();
    while let Some(here) = addresses.publish(1, now) {
        count += here.learned.len();
    }
    assert!(count < 5000, "{count} at once");
    addresses.record(&location(2, 2));
    assert!(said(&mut addresses).iter().any(|(segment, _)| segment == "birch.lan"));
}

#[test]
fn what_others_say_is_learned_unless_it_is_late_or_known_better() {
    let mut addresses = begun();
    let far = MacLocation { endpoint: Endpoint::remote(9), ..location(1, 7) };
    assert_eq!(addresses.accept(there(5, 1, 7, Some(FAR))).learn, [far]);
    assert!(addresses.is_remote_mac(&far));
    assert_eq!(
        addresses.accept(there(5, 1, 8, Some("10.0.0.3"))),
        ToDo::default(),
        "there is no such remote"
    );
    assert_eq!(addresses.accept(there(5, 1, 7, None)).remove, [far]);
    // It was just learned here, which was not said yet.
    addresses.record(&location(1, 7));
    assert_eq!(addresses.accept(there(5, 1, 7, Some(FAR))), ToDo::default());
    said(&mut addresses);
    assert_eq!(addresses.accept(there(5, 1, 7, Some(FAR))).learn, [far]);
    // What was said before the node had to purge it.
    addresses.purge_remote("alder.lan", FAR.parse().unwrap(), 9);
    assert!(!addresses.is_remote_mac(&far));
    assert_eq!(addresses.accept(there(8, 1, 7, Some(FAR))), ToDo::default());
    assert_eq!(addresses.publish(9, Instant::now()).unwrap().want, ["alder.lan"]);
    assert_eq!(addresses.accept(there(9, 1, 7, Some(FAR))).learn, [far]);
}

#[test]
fn a_server_that_is_purged_takes_its_addresses_along() {
    let mut addresses = begun();
    addresses.record(&location(1, 7));
    addresses.record(&location(2, 7));
    addresses.purge_port("alder.lan", "p0");
    let said = said(&mut addresses);
    assert!(
        said.contains(&("alder.lan".to_owned(), None))
            && said.contains(&("birch.lan".to_owned(), Some("p1".to_owned())))
    );
}

/// Alder's segment suppresses.
fn suppressing() -> Arc<NodeIndex> {
    let mut tables = tables();
    tables
        .attachments
        .values_mut()
        .filter(|one| one.segment == 1)
        .for_each(|one| one.guards = Guards::SUPPRESS);
    Arc::new(NodeIndex::of(&tables))
}

fn bound(uid: u32, number: u8) -> Bound {
    let claim =
        Claim { mac: Mac::new([2, 0, 0, 0, 0, number]), flags: Claim::OVERRIDE | Claim::LEAF };
    let key = BindingKey::new(uid, addr([10, 0, 0, number].into()));
    Found { key, endpoint: Endpoint::attachment(uid), word: claim }
}

/// As another node's agent says it, and the controller passes it on.
fn there_bound(uid: u32, number: u8, at: Option<&str>) -> pb::There {
    let mut saying = addresses_of_another(uid, number);
    let mut bound = saying.publish(1, Instant::now()).unwrap().bound.remove(0);
    bound.at = at.map(str::to_owned);
    pb::There { term: 1, revision: 5, bound: vec![bound], ..pb::There::default() }
}

fn addresses_of_another(uid: u32, number: u8) -> Addresses {
    let mut addresses = Addresses::default();
    addresses.follow(suppressing());
    addresses.refresh_binding(&bound(uid, number));
    addresses
}

#[test]
fn whose_an_ip_address_is_is_said_once_and_that_it_is_nobodys_too() {
    let mut addresses = begun();
    let said = |addresses: &mut Addresses| {
        let here = addresses.publish(1, Instant::now());
        let bound = here.into_iter().flat_map(|here| here.bound);
        bound.map(|one| (one.segment, one.address, one.at)).collect::<Vec<_>>()
    };
    let walk = |addresses: &mut Addresses, seen: &[Bound]| {
        addresses.begin_walk();
        addresses.end_fdb();
        seen.iter().for_each(|bound| addresses.refresh_binding(bound));
        addresses.end_walk();
    };
    let at =
        |port: Option<&str>| [("alder.lan".to_owned(), vec![10, 0, 0, 7], port.map(str::to_owned))];
    walk(&mut addresses, &[bound(1, 7)]);
    assert_eq!(said(&mut addresses), at(Some("p0")));
    walk(&mut addresses, &[bound(1, 7)]);
    assert_eq!(said(&mut addresses), []);
    // Another MAC has it.
    walk(&mut addresses, &[Found { word: bound(1, 8).word, ..bound(1, 7) }]);
    assert_eq!(said(&mut addresses), at(Some("p0")));
    walk(&mut addresses, &[Found { endpoint: Endpoint::remote(9), ..bound(1, 7) }]);
    assert_eq!(said(&mut addresses), at(None), "it was heard elsewhere since");
    // What no host has would end the stream.
    walk(
        &mut addresses,
        &[Found { key: BindingKey::new(1, addr("::1:2".parse().unwrap())), ..bound(1, 7) }],
    );
    assert_eq!(said(&mut addresses), []);
}

#[test]
fn a_binding_of_elsewhere_counts_where_it_is_asked_for_until_something_newer_is_heard() {
    let mut addresses = begun();
    let far = Bound { endpoint: Endpoint::remote(9), ..bound(1, 7) };
    assert_eq!(
        addresses.accept(there_bound(1, 7, Some(FAR))),
        ToDo::default(),
        "it does not suppress"
    );
    let none = addresses.follow(suppressing());
    assert_eq!(none, ToDo::default());
    assert_eq!(addresses.publish(1, Instant::now()).unwrap().want, ["alder.lan"]);
    assert_eq!(
        addresses.accept(there_bound(1, 7, Some(FAR))),
        ToDo { bind: vec![far], ..ToDo::default() }
    );
    assert!(addresses.is_remote_binding(&far));
    assert!(!addresses.is_remote_binding(&Found { word: bound(1, 8).word, ..far }));
    // Claimed here, before a walk saw it and while nobody was told: the other one is older.
    assert!(addresses.is_newer(&bound(1, 7)));
    addresses.refresh_binding(&bound(1, 7));
    assert!(addresses.is_newer(&bound(1, 7)));
    assert_eq!(addresses.accept(there_bound(1, 7, Some(FAR))), ToDo::default());
    addresses.publish(1, Instant::now());
    assert!(!addresses.is_newer(&bound(1, 7)));
    assert_eq!(addresses.accept(there_bound(1, 7, Some(FAR))).bind, [far]);
    assert_eq!(addresses.accept(there_bound(1, 7, None)).unbind, [far]);
    assert!(!addresses.is_remote_binding(&far));
    // It suppresses no more.
    addresses.accept(there_bound(1, 7, Some(FAR)));
    addresses.follow(index());
    assert!(!addresses.is_remote_binding(&far));
}
