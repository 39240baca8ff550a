//! What an operator may have, and what is not its decision.

use serde_json::{Value, json};

use crate::api::site::{Answer, Site};

/// Prefixes of 10.0.0.0/8, each of one address.
fn prefixes(from: u32, count: u32) -> Vec<String> {
    (from..from + count)
        .map(|n| format!("10.{}.{}.{}/32", n >> 16 & 255, n >> 8 & 255, n & 255))
        .collect()
}

fn attached(port: &str, encap: &str, guards: Value) -> Value {
    json!({"spec": {"segment": "lan", "port": port, "encap": encap, "guards": guards}})
}

/// A refusal by this rule, with what it says.
#[track_caller]
fn refused(answer: &Answer, rule: &str) -> String {
    let told = answer.json();
    assert_eq!((answer.problem().0, &told["rule"]), (409, &json!(rule)), "{told}");
    assert!(told["help"].as_str().is_some_and(|help| !help.is_empty()), "{told}");
    assert!(told["objects"].as_array().is_some_and(|objects| !objects.is_empty()), "{told}");
    told["detail"].as_str().unwrap().to_owned()
}

async fn site() -> Site {
    let site = Site::new().await;
    // As an operator is that nothing was said of.
    site.owner().put("operators/alder", json!({"spec": {"vnis": [[100, 199]]}})).await.is(200);
    for operator in ["alder", "birch"] {
        let lan = json!({"spec": {"service": "lan"}});
        site.operator(operator).put(&format!("segments/{operator}/lan"), lan).await.is(201);
    }
    site
}

#[tokio::test]
async fn sixty_thousand_prefixes_are_refused_and_leave_another_its_room() {
    let site = site().await;
    let (alder, birch) = (site.operator("alder"), site.operator("birch"));
    let path = "attachments/alder/s1";
    let all = attached("edge1/p1", "untagged", json!({"prefixes": prefixes(0, 60_000)}));
    let told = refused(&alder.put(path, all).await, "quota");
    assert!(told.contains("alder would have 6000") && told.contains("prefixes"), "{told}");
    // As much as it may have.
    let most = attached("edge1/p1", "untagged", json!({"prefixes": prefixes(0, 2000)}));
    alder.put(path, most).await.is(201);
    // And no more of it by many small lists.
    let more = attached("edge1/h0", "dot1q 10", json!({"prefixes": prefixes(3000, 100)}));
    refused(&alder.put("attachments/alder/h", more).await, "quota");
    let small = attached("edge1/p2", "untagged", json!({"prefixes": ["192.0.2.0/24"]}));
    birch.put("attachments/birch/s2", small).await.is(201);
    site.stop().await;
}

#[tokio::test]
async fn whoever_has_a_right_to_a_node_keeps_room_there_whatever_another_may_have() {
    let site = site().await;
    let (alder, birch) = (site.operator("alder"), site.operator("birch"));
    // The owner has sold alder more than the node has.
    let quota = json!({"prefixes": 100_000, "node": {"prefixes": 100_000}});
    site.owner().patch("operators/alder", &[], json!({"spec": {"quota": quota}})).await.is(200);
    let all = |count| attached("edge1/p1", "untagged", json!({"prefixes": prefixes(0, count)}));
    refused(&alder.put("attachments/alder/s1", all(33_000)).await, "room");
    alder.put("attachments/alder/s1", all(25_000)).await.is(201);
    let own = attached("edge1/p2", "untagged", json!({"prefixes": prefixes(0, 2000)}));
    birch.put("attachments/birch/s2", own).await.is(201);
    site.stop().await;
}

#[tokio::test]
async fn profiles_macs_ethertypes_and_bindings_are_counted() {
    let site = site().await;
    let alder = site.operator("alder");
    let changes = (0..5000).map(
        |n| json!({"do": "put", "key": format!("profile/alder/p{n}"), "spec": {"cir": "1 Mbit/s"}}),
    );
    let told = refused(&alder.batch(changes.collect()).await, "quota");
    assert!(told.contains("5000 profiles"), "{told}");
    alder.patch("segments/alder/lan", &[], json!({"spec": {"suppress": true}})).await.is(200);
    let mac = |n: u32| format!("02:00:00:{:02x}:{:02x}:{:02x}", n >> 16, n >> 8 & 255, n & 255);
    let macs: Vec<_> = (0..5000).map(mac).collect();
    let ethertypes: Vec<_> = (0x0800..0x0800 + 5000).map(|n| format!("{n:#06x}")).collect();
    let bindings: Vec<_> =
        (0..5000_u32).map(|n| format!("10.0.{}.{} {}", n >> 8, n & 255, mac(n))).collect();
    for (what, guards, bindings) in [
        ("MACs", json!({"macs": macs}), json!([])),
        ("ethertypes", json!({"ethertypes": ethertypes}), json!([])),
        ("bindings", json!({}), json!(bindings)),
    ] {
        let mut wanted = attached("edge1/p1", "untagged", guards);
        wanted["spec"]["bindings"] = bindings;
        let told = refused(&alder.put("attachments/alder/s1", wanted).await, "quota");
        assert!(told.contains(what), "{told}");
    }
    site.stop().await;
}

#[tokio::test]
async fn what_is_the_owners_decision_is_refused_to_an_operator_until_the_owner_allows_it() {
    let site = site().await;
    let (owner, alder) = (site.owner(), site.operator("alder"));
    alder.put("attachments/alder/s1", attached("edge1/p1", "untagged", json!({}))).await.is(201);
    let (lan, s1) = ("segments/alder/lan", "attachments/alder/s1");
    let wishes = [
        (lan, json!({"mtu": 9000}), "mtu"),
        (lan, json!({"dscp": 46}), "dscp"),
        (lan, json!({"moves": {"limit": 0}}), "moves"),
        // As good as never.
        (lan, json!({"moves": {"limit": 65535}}), "moves"),
        (lan, json!({"moves": {"limit": 5, "window": 1}}), "moves"),
        (s1, json!({"guards": {"control": "peer"}}), "control"),
        (s1, json!({"storm": {"broadcast": 1_000_000}}), "storm"),
        (s1, json!({"storm": {"multicast": null}}), "storm"),
        (s1, json!({"storm": {"unknown": 10_001}}), "storm"),
    ];
    for (path, wish, what) in &wishes {
        // A patch with null would take the default, which is a limit.
        let answer = match wish.pointer("/storm/multicast") {
            Some(Value::Null) => {
                let mut whole = attached("edge1/p1", "untagged", json!({}));
                whole["spec"]["storm"] = wish["storm"].clone();
                alder.put(path, whole).await
            }
            _ => alder.patch(path, &[], json!({"spec": wish})).await,
        };
        let told = refused(&answer, "ceiling");
        assert!(told.contains(what), "{told}");
    }
    let ceiling = json!({
        "mtu": 9000, "dscp": [46], "moves": null, "storm": {"broadcast": null, "multicast": 20_000}
    });
    let operator = json!({"spec": {"vnis": [[100, 199]], "ceiling": ceiling}});
    owner.put("operators/alder", operator).await.is(200);
    owner.patch("ports/edge1/p1", &[], json!({"spec": {"peer": true}})).await.is(200);
    for (path, wish, what) in wishes.iter().filter(|(.., what)| *what != "storm") {
        let answer = alder.patch(path, &[], json!({"spec": wish})).await;
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
    }
    alder.patch(s1, &[], json!({"spec": {"storm": {"broadcast": 1_000_000}}})).await.is(200);
    let storm = json!({"spec": {"storm": {"multicast": 20_001}}});
    refused(&alder.patch(s1, &[], storm).await, "ceiling");
    site.stop().await;
}

#[tokio::test]
async fn the_owner_takes_a_ceiling_down_together_with_what_is_beyond_it() {
    let site = site().await;
    let (owner, alder) = (site.owner(), site.operator("alder"));
    let operator = |mtu: u32| json!({"vnis": [[100, 199]], "ceiling": {"mtu": mtu}});
    owner.put("operators/alder", json!({"spec": operator(9000)})).await.is(200);
    alder.patch("segments/alder/lan", &[], json!({"spec": {"mtu": 9000}})).await.is(200);
    let told = owner.put("operators/alder", json!({"spec": operator(1500)})).await;
    assert!(refused(&told, "ceiling").contains("segment/alder/lan"));
    let both = json!([
        {"do": "put", "key": "operator/alder", "spec": operator(1500)},
        {"do": "put", "key": "segment/alder/lan", "spec": {"service": "lan"}},
    ]);
    owner.batch(both).await.is(200);
    site.stop().await;
}
