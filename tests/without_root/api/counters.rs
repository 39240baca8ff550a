//! What attachments have counted: whom it is shown.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use sillon::{
    controller::counters::{Answered, Colours, Counted, Counters, Macs, Tally},
    fabric::{Owned, PortKey},
};

use crate::api::site::Site;

/// As if edge1 had said so of alder's attachment.
fn said(in_frames: u64) -> Vec<Counted> {
    let counters = Counters {
        at: Timestamp::from_second(1_000_000).unwrap(),
        in_frames,
        in_bytes: 640,
        out_frames: 3,
        out_bytes: 192,
        answered: Answered { arp: 2, nd: 1 },
        dropped: BTreeMap::from([("too-big", 4)]),
        in_colours: Some(Colours { red: Tally { frames: 5, bytes: 500 }, ..Colours::default() }),
        out_colours: None,
        macs: Macs { learned: 2, refused: 6 },
    };
    vec![Counted {
        port: PortKey { node: "edge1".parse().unwrap(), port: "p1".parse().unwrap() },
        encap: "untagged".parse().unwrap(),
        segment: Owned { operator: "alder".parse().unwrap(), name: "lan".parse().unwrap() },
        counters,
    }]
}

#[tokio::test]
async fn the_owner_and_the_attachments_own_operator_are_shown_its_counters_and_nobody_else_is() {
    let site = Site::new().await;
    site.controller.lead().wait_for(Option::is_some).await.unwrap();
    let (owner, alder) = (site.owner(), site.operator("alder"));
    let (birch, auditor) = (site.operator("birch"), site.asker(Some("sillon:auditor")));
    let spec = json!({"spec":{"segment":"lan","port":"edge1/p1","encap":"untagged"}});
    alder.put("segments/alder/lan", json!({"spec":{"service":"lan"}})).await.is(201);
    alder.put("attachments/alder/a", spec).await.is(201);
    let path = "attachments/alder/a";
    // Nobody has said anything yet.
    let before = alder.get(path).await.is(200);
    assert_eq!(before.json()["status"]["counters"], Value::Null);

    let revision = site.controller.state().revision();
    site.controller.counters().hear(|| site.controller.state(), said(10));
    let expected = json!({
        "at": "1970-01-12T13:46:40Z", "in_frames": 10, "in_bytes": 640, "out_frames": 3, "out_bytes": 192,
        "answered": {"arp": 2, "nd": 1}, "dropped": {"too-big": 4},
        "in_colours": {
            "green": {"frames": 0, "bytes": 0},
            "yellow": {"frames": 0, "bytes": 0},
            "red": {"frames": 5, "bytes": 500},
        },
        "macs": {"learned": 2, "refused": 6},
    });
    for asker in [&owner, &alder] {
        assert_eq!(asker.get(path).await.is(200).json()["status"]["counters"], expected);
    }
    let seen = auditor.get(path).await.is(200);
    assert_eq!(seen.json()["status"]["counters"], Value::Null, "{seen:?}");
    assert!(!seen.text.contains("in_frames"), "{seen:?}");
    assert_eq!(birch.get(path).await.problem().0, 404);
    site.asker(Some("sillon:node/edge1")).get(path).await.is(403);

    // They are no part of the object: what asks for it by its tag asks for the same.
    assert_eq!(alder.get(path).await.tag, before.tag);
    assert_eq!(site.controller.state().revision(), revision);
    // What is shown may be put again.
    let shown = alder.get(path).await.json();
    alder.put(path, shown).await.is(200);
    assert_eq!(site.controller.state().revision(), revision);

    site.controller.counters().hear(|| site.controller.state(), said(11));
    assert_eq!(alder.get(path).await.json()["status"]["counters"]["in_frames"], 11);
    site.stop().await;
}

#[tokio::test]
async fn they_are_neither_in_the_store_nor_in_the_audit_log() {
    let site = Site::new().await;
    let alder = site.operator("alder");
    let spec = json!({"spec":{"segment":"lan","port":"edge1/p1","encap":"untagged"}});
    alder.put("segments/alder/lan", json!({"spec":{"service":"lan"}})).await.is(201);
    alder.put("attachments/alder/a", spec).await.is(201);
    site.controller.counters().hear(|| site.controller.state(), said(10));
    // Something that is written afterwards, of the same object.
    let patch = json!({"spec":{"guards":{"mac_limit":9}}});
    alder.patch("attachments/alder/a", &[], patch).await.is(200);
    let store = site.controller.store();
    let range = sillon::store::Store::range(&**store, "", "\u{7f}", usize::MAX);
    let all: Vec<(String, String)> = range.await.unwrap();
    assert!(all.iter().any(|(key, _)| key.contains("attachment/alder/a")), "{all:?}");
    let told = all.iter().find(|(_, text)| text.contains("in_frames") || text.contains("too-big"));
    assert_eq!(told, None);
    site.stop().await;
}
