//! Every error is a problem (RFC 9457), and nothing that is sent makes the controller fail.

use proptest::{
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};
use reqwest::Method;
use serde_json::{Value, json};
use sillon::store::Store;

use crate::api::site::{Answer, Site};

async fn sent(site: &Site, method: &str, path: &str, kind: &str, body: &str) -> Answer {
    let headers = [("content-type", kind)];
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    site.owner().send(method, path, &headers, Some(body.as_bytes().to_vec())).await
}

#[tokio::test]
async fn every_kind_of_error_is_a_problem() {
    let site = Site::new().await;
    let good = r#"{"spec":{"service":"lan"}}"#;
    let json = "application/json";
    for (method, path, kind, body, status, word) in [
        ("GET", "nothing", json, "", 404, "no-path"),
        ("GET", "../", json, "", 404, "no-path"),
        ("GET", "segments/alder/lan/more", json, "", 404, "no-path"),
        ("GET", "segments/alder/none", json, "", 404, "not-found"),
        ("GET", "segments/alder/a%20b", json, "", 400, "request"),
        ("GET", "segments/alder/%ff", json, "", 400, "request"),
        ("POST", "segments", json, good, 405, "method"),
        ("BREW", "segments", json, "", 405, "method"),
        ("PUT", "segments/alder/lan", "text/plain", good, 415, "media-type"),
        ("PUT", "segments/alder/lan", json, "", 400, "json"),
        ("PUT", "segments/alder/lan", json, "{", 400, "json"),
        ("PUT", "segments/alder/lan", json, "{} {}", 422, "body"),
        ("PUT", "segments/alder/lan", json, r#"{"spec":{"service":"lan"}} x"#, 400, "json"),
        ("PUT", "segments/alder/lan", json, "7", 422, "body"),
        ("PUT", "segments/alder/lan", json, r#"{"spec":{"service":"ring"}}"#, 422, "body"),
        (
            "PUT",
            "segments/alder/lan",
            json,
            r#"{"spec":{"service":"lan"},"kind":"node"}"#,
            422,
            "body",
        ),
        (
            "PUT",
            "segments/alder/lan",
            json,
            r#"{"spec":{"service":"lan"},"name":"x/y"}"#,
            422,
            "body",
        ),
        ("PUT", "segments/alder/lan", json, r#"{"spec":{"service":"lan","mtu":1}}"#, 422, "spec"),
        ("PUT", "segments/cedar/lan", json, good, 409, "rule"),
        (
            "PUT",
            "attachments/alder/a",
            json,
            r#"{"spec":{"segment":"no","port":"edge1/p1","encap":"port"}}"#,
            409,
            "rule",
        ),
        ("PUT", "segments/alder/lan?colour=red", json, good, 400, "request"),
        ("POST", "transactions", json, r#"{"changes":[{"do":"dance"}]}"#, 422, "body"),
        (
            "POST",
            "transactions",
            json,
            r#"{"changes":[{"do":"accept","lease":"segment/alder/x"}]}"#,
            422,
            "body",
        ),
        (
            "POST",
            "transactions",
            json,
            r#"{"changes":[{"do":"put","key":"tombstone/edge1/vni/7","spec":{}}]}"#,
            403,
            "forbidden",
        ),
        ("POST", "leases/alder/none/accept", json, "", 404, "not-found"),
        ("POST", "leases/alder/l1/drain", json, r#"{"until":"soon"}"#, 422, "body"),
        ("POST", "servers/s9/transfer", json, r#"{"to":"lease/alder/l9"}"#, 404, "not-found"),
        ("POST", "servers/s1/transfer", json, r#"{"to":"alder"}"#, 422, "body"),
        ("GET", "watch?after=x", json, "", 410, "gone"),
        ("GET", "watch?after=99999", json, "", 410, "gone"),
    ] {
        let answer = sent(&site, method, path, kind, body).await;
        assert_eq!(
            answer.problem(),
            (status, word.to_owned()),
            "{method} {path} {body}: {answer:?}"
        );
    }
    site.stop().await;
}

#[tokio::test]
async fn a_problem_says_where_and_what_would_be_right() {
    let site = Site::new().await;
    let alder = site.operator("alder");
    let answer = alder
        .put("segments/alder/lan", json!({"spec":{"service":"lan","moves":{"limit":"x"}}}))
        .await;
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("spec.moves.limit"), "{detail}");
    let quota = alder
        .put("segments/alder/lan", json!({"spec":{"service":"lan","mac_limit":100_001}}))
        .await;
    let told = quota.json();
    assert_eq!((quota.problem().0, &told["rule"]), (409, &json!("quota")));
    assert_eq!(told["objects"], json!(["operator/alder"]));
    assert!(told["help"].as_str().unwrap().contains("owner"));
    let at = alder.batch(json!([
        {"do":"put","key":"segment/alder/lan","spec":{"service":"lan"}},
        {"do":"put","key":"segment/birch/lan","spec":{"service":"lan"}},
    ]));
    assert_eq!(at.await.json()["change"], 1);
    let wrong = site.owner().send(Method::POST, "segments", &[], None).await;
    assert_eq!(wrong.problem().0, 405);
    site.stop().await;
}

#[tokio::test]
async fn who_says_nothing_of_itself_may_do_nothing() {
    let site = Site::new().await;
    for uri in [None, Some("sillon:nobody"), Some("https://example/owner")] {
        let asker = site.asker(uri);
        for path in ["whoami", "segments", "openapi.json", "nothing", "watch", "../healthz"] {
            assert_eq!(
                asker.get(path).await.problem(),
                (403, "forbidden".to_owned()),
                "{uri:?} {path}"
            );
        }
    }
    site.stop().await;
}

#[tokio::test]
async fn each_role_is_refused_what_the_table_refuses_it() {
    let site = Site::new().await;
    let forbidden = (403, "forbidden".to_owned());
    let auditor = site.asker(Some("sillon:auditor"));
    auditor.get("segments").await.is(200);
    auditor.get("nodes/edge1").await.is(200);
    assert_eq!(
        auditor.put("segments/alder/lan", json!({"spec":{"service":"lan"}})).await.problem(),
        forbidden
    );
    assert_eq!(
        auditor.batch(json!([{"do":"delete","key":"segment/alder/lan"}])).await.problem(),
        forbidden
    );
    let node = site.asker(Some("sillon:node/edge1"));
    node.get("nodes/edge1").await.is(200);
    for path in ["nodes/edge2", "nodes", "segments", "ports/edge1/p1", "watch"] {
        assert_eq!(node.get(path).await.problem(), forbidden, "{path}");
    }
    let alder = site.operator("alder");
    for path in ["nodes", "nodes/edge1", "tombstones"] {
        assert_eq!(alder.get(path).await.problem(), forbidden, "{path}");
    }
    for path in [
        "leases/alder/l1/drain",
        "leases/alder/l1/confirm",
        "leases/birch/l2/accept",
        "servers/s1/transfer",
    ] {
        assert_eq!(alder.post(path, None).await.problem(), forbidden, "{path}");
    }
    for path in ["leases/alder/l1", "servers/s1", "ports/edge1/p1", "operators/alder"] {
        assert_eq!(alder.delete(path).await.problem(), forbidden, "{path}");
    }
    site.stop().await;
}

#[tokio::test]
async fn what_somebody_had_no_right_to_is_in_the_audit_log() {
    let site = Site::new().await;
    let entries = async || {
        let all = site.controller.store().snapshot().await.unwrap().entries.into_iter();
        all.filter(|(key, _)| key.starts_with("audit/"))
            .map(|(_, text)| text)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let (alder, probe) = (site.operator("alder"), json!({"spec":{"service":"lan"}}));
    alder.put("segments/birch/lan", probe).await.is(403);
    let refused = "operator/alder may not put segment/birch/lan";
    assert!(entries().await.contains(refused));
    site.asker(Some("sillon:auditor")).delete("servers/s1").await.is(403);
    assert!(entries().await.contains("auditor may not delete server/s1"));
    // To read is no change.
    alder.get("nodes/edge1").await.is(403);
    assert!(!entries().await.contains("nodes/edge1"));
    site.stop().await;
}

fn any_json() -> impl Strategy<Value = Value> {
    let word = select(vec![
        "spec",
        "kind",
        "name",
        "do",
        "put",
        "key",
        "segment/alder/lan",
        "changes",
        "service",
        "lan",
        "port",
        "edge1/p1",
        "encap",
        "dot1q",
        "qinq 10.5",
        "vnis",
        "quota",
        "bandwidth",
        "10 Mbit/s",
        "grants",
        "whole",
        "bindings",
        "",
        "\u{0}",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..5).prop_map(|all| Value::Object(
                all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            )),
        ]
    })
}

/// Bodies that are right, of which a part is replaced: they get further than random ones.
fn nearly_right() -> impl Strategy<Value = Value> {
    let good = vec![
        json!({"vnis":[[100,199]],"quota":{"segments":3,"attachments":4,"macs":5,"bandwidth":"10 Mbit/s"}}),
        json!({"vtep":["10.99.0.1"],"limits":{"attachments":2}}),
        json!({"role":"handover","grants":{"alder":{"vids":[[10,12]]}}}),
        json!({"ports":["edge1/p1"]}),
        json!({"server":"s1","from":"2026-01-01T00:00:00Z","until":"2027-01-01T00:00:00Z","quarantine":5}),
        json!({"cir":"10 Mbit/s","cbs":"64 KiB","eir":5,"ebs":"9 MB"}),
        json!({"service":"lan","vni":100,"mtu":1500,"moves":{"limit":1,"window":2,"freeze":3}}),
        json!({"segment":"lan","port":"edge1/p1","encap":"dot1q","guards":{"macs":["02:00:00:00:00:01"]},"bindings":["10.0.0.1 02:00:00:00:00:01"]}),
    ];
    (select(good), any::<prop::sample::Index>(), any_json()).prop_map(|(mut spec, index, other)| {
        let map = spec.as_object_mut().unwrap();
        let keys: Vec<String> = map.keys().cloned().collect();
        map.insert(keys[index.index(keys.len())].clone(), other);
        spec
    })
}

fn requests() -> (
    impl Strategy<Value = Method>,
    impl Strategy<Value = &'static str>,
    impl Strategy<Value = Vec<u8>>,
) {
    let paths = vec![
        "operators/alder",
        "nodes/edge1",
        "ports/edge1/h0",
        "servers/s1",
        "leases/alder/l1",
        "profiles/alder/p",
        "segments/alder/lan",
        "attachments/alder/a",
        "transactions",
        "leases/alder/l1/drain",
        "servers/s1/transfer",
    ];
    let keys = vec![
        "operator/alder",
        "node/edge1",
        "port/edge1/h0",
        "server/s1",
        "lease/alder/l1",
        "profile/alder/p",
        "segment/alder/lan",
        "attachment/alder/a",
        "tombstone/edge1/vni/7",
    ];
    let body = prop_oneof![
        2 => any_json(),
        3 => nearly_right().prop_map(|spec| json!({ "spec": spec })),
        2 => (select(keys), nearly_right()).prop_map(|(key, spec)| json!({"changes":[{"do":"put","key":key,"spec":spec}]})),
        1 => any_json().prop_map(|any| json!({ "changes": [any] })),
    ];
    let bytes = prop_oneof![
        9 => body.prop_map(|body| body.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ];
    let methods = select(vec![Method::PUT, Method::PATCH, Method::POST]);
    (methods, select(paths), bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_makes_it_fail() {
    let site = Site::new().await;
    let (owner, alder) = (site.owner(), site.operator("alder"));
    let runtime = tokio::runtime::Handle::current();
    let tested = tokio::task::spawn_blocking(move || {
        let (methods, paths, bytes) = requests();
        let mut runner =
            TestRunner::new(Config { cases: 600, failure_persistence: None, ..Config::default() });
        runner.run(&(any::<bool>(), methods, paths, bytes), |(is_owner, method, path, body)| {
            let asker = if is_owner { &owner } else { &alder };
            let kind = [("content-type", "application/json")];
            let answer = runtime.block_on(asker.send(method, path, &kind, Some(body)));
            prop_assert!(answer.status < 500, "{:?}", answer);
            if answer.status >= 400 {
                answer.problem();
            }
            Ok(())
        })
    });
    tested.await.unwrap().unwrap();
    site.owner().get("../readyz").await.is(200);
    site.stop().await;
}
