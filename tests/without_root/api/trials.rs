//! What is applied with a deadline: by HTTP, and by the commands, whatever dies meanwhile.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::{
    cli::{Fabric, SITE as FILE},
    site::Site,
};

fn segment(key: &str, mtu: u32) -> Value {
    json!({ "changes": [{ "do": "put", "key": format!("segment/{key}"), "spec": { "service": "lan", "mtu": mtu } }] })
}

async fn mtu(site: &Site) -> Value {
    site.operator("alder").get("segments/alder/lan").await.is(200).json()["spec"]["mtu"].take()
}

#[tokio::test]
async fn who_asked_or_the_owner_ends_a_trial_and_nobody_else_sees_it() {
    let site = Site::new().await;
    let (owner, alder, birch) = (site.owner(), site.operator("alder"), site.operator("birch"));
    alder.post("transactions", Some(segment("alder/lan", 1500))).await.is(200);
    let on_trial =
        async |mtu| alder.post("transactions?confirm=3600", Some(segment("alder/lan", mtu))).await;
    let told = on_trial(9000).await.is(200).json();
    let trial = told["events"]
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["key"] == "trial/operator/alder");
    assert_eq!(
        trial.unwrap()["object"]["status"]["rollback"],
        json!({ "segment/alder/lan": "change back" })
    );
    assert_eq!(on_trial(8000).await.problem(), (409, "rule".to_owned()));
    // Whether there is one is the asker's, the owner's and the auditor's to know.
    let auditor = site.asker(Some("sillon:auditor"));
    for (asker, sees) in [(&alder, 1), (&owner, 1), (&auditor, 1), (&birch, 0)] {
        assert_eq!(
            asker.get("trials").await.is(200).json()["items"].as_array().unwrap().len(),
            sees
        );
    }
    let (hidden, missing) =
        (birch.get("trials/operator/alder").await, birch.get("trials/operator/cedar").await);
    assert_eq!(hidden.text.replace("alder", "cedar"), missing.is(404).text);
    for word in ["confirm", "rollback"] {
        for (asker, of) in [(&birch, "alder"), (&auditor, "alder"), (&birch, "cedar")] {
            assert_eq!(
                asker.post(&format!("{word}?of=operator/{of}"), None).await.problem().0,
                403
            );
        }
        assert_eq!(birch.post(word, None).await.problem().0, 404);
        assert_eq!(owner.post(word, None).await.problem().0, 404);
    }
    assert_eq!(
        auditor.post("transactions?confirm=60", Some(json!({ "changes": [] }))).await.problem().0,
        403
    );
    alder.post("rollback?dry_run=true", None).await.is(200);
    assert_eq!(mtu(&site).await, 9000);
    alder.post("rollback", None).await.is(200);
    assert_eq!(mtu(&site).await, 1500);
    on_trial(9000).await.is(200);
    owner.post("confirm?of=operator/alder", None).await.is(200);
    assert_eq!(alder.post("rollback", None).await.problem().0, 404);
    assert_eq!(mtu(&site).await, 9000);
    for wrong in ["0", "86401", "-1", "soon"] {
        let refused = alder
            .post(&format!("transactions?confirm={wrong}"), Some(segment("alder/lan", 7000)))
            .await;
        assert!((400..=409).contains(&refused.problem().0), "{wrong}");
    }
    assert_eq!(
        alder.get("openapi.json").await.json()["paths"]["/v1/rollback"]["post"]["operationId"],
        "rollback"
    );
    site.stop().await;
}

const LAN: &str = "kind: segment\nname: alder/lan\nspec: { service: lan, mtu: 1500 }\n";
const WRONG: &str = "kind: segment\nname: alder/lan\nspec: { service: lan, mtu: 600 }\n---\nkind: \
    segment\nname: alder/two\nspec: { service: lan }\n";

/// alder's segment, and a change to it that is a mistake.
async fn with_mistake() -> (Fabric, String, String) {
    let fabric = Fabric::new().await;
    let site = fabric.write("site.yaml", FILE);
    fabric.owner(&["apply", "-f", &site, "--yes"]).await.is(0);
    let (right, wrong) = (fabric.write("right.yaml", LAN), fabric.write("wrong.yaml", WRONG));
    fabric.alder(&["apply", "-f", &right, "--yes"]).await.is(0);
    (fabric, right, wrong)
}

#[tokio::test]
async fn what_is_not_confirmed_is_taken_back_though_client_and_controller_died() {
    let (mut fabric, right, wrong) = with_mistake().await;
    // The client is gone as soon as it has said so, and the controller is killed.
    let told = fabric.alder(&["apply", "-f", &wrong, "--yes", "--confirm", "2s"]).await.is(0);
    assert!(told.contains("taken back at") && told.contains("sillon confirm"), "{told}");
    assert_eq!(fabric.alder(&["diff", "-f", &wrong]).await.is(0), "");
    fabric.kill().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    fabric.restart().await;
    let end = Instant::now() + Duration::from_secs(60);
    while fabric.alder(&["get", "trials", "-o", "json"]).await.is(0).trim() != "[]" {
        assert!(Instant::now() < end, "it is not taken back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(fabric.alder(&["diff", "-f", &right]).await.is(0), "");
    fabric.alder(&["get", "segment", "alder/two"]).await.is(1);
    fabric.alder(&["confirm"]).await.is(1);
    fabric.stop().await;
}

#[tokio::test]
async fn confirm_keeps_and_rollback_takes_back_at_once() {
    let (fabric, right, wrong) = with_mistake().await;
    let on_trial =
        async || fabric.alder(&["apply", "-f", &wrong, "--yes", "--confirm", "1h"]).await.is(0);
    on_trial().await;
    let table = fabric.alder(&["get", "trials"]).await.is(0);
    assert!(table.contains("operator/alder") && table.contains("segment/alder/two"), "{table}");
    let told = fabric.alder(&["rollback"]).await.is(0);
    assert_eq!(told, "segment/alder/lan is what it was\nsegment/alder/two is removed\n");
    assert_eq!(fabric.alder(&["diff", "-f", &right]).await.is(0), "");
    on_trial().await;
    let second =
        fabric.write("second.yaml", "kind: segment\nname: alder/three\nspec: { service: lan }\n");
    assert!(
        fabric
            .alder(&["apply", "-f", &second, "--yes", "--confirm", "1h"])
            .await
            .err
            .contains("not over yet")
    );
    fabric.as_who("operator-birch", &["confirm", "--of", "operator/alder"]).await.is(4);
    assert_eq!(
        fabric.owner(&["confirm", "--of", "operator/alder"]).await.is(0),
        "confirmed: it stays\n"
    );
    assert_eq!(fabric.alder(&["diff", "-f", &wrong]).await.is(0), "");
    fabric.alder(&["apply", "-f", &second, "--yes", "--confirm", "soon"]).await.is(2);
    fabric.stop().await;
}
