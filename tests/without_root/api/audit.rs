//! The audit log over HTTP, for all roles, and what an operator checks of it offline.

use std::sync::Arc;

use serde_json::{Value, json};
use sillon::{
    api::Limits,
    audit::{Growth, Leaf, Log, Proof, Signer, commitment},
    controller::Settings,
};

use crate::api::{
    cli::{Fabric, SITE as FILE},
    site::{Asker, Site},
};

async fn signed() -> (Site, Arc<Signer>) {
    let signer = Arc::new(Signer::generate("test/audit").unwrap());
    let site = Site::with(
        Limits::default(),
        Settings { audit: Some(Arc::clone(&signer)), ..Settings::default() },
    )
    .await;
    site.build().await;
    (site, signer)
}

/// All that somebody gets, a few places at a time.
async fn all(asker: &Asker, whole: bool) -> (Vec<Value>, u64) {
    let (mut items, mut next) = (Vec::new(), Some(0));
    let mut entries = 0;
    while let Some(from) = next {
        let page =
            asker.get(&format!("audit?from={from}&limit=4&whole={whole}")).await.is(200).json();
        items.extend(page["items"].as_array().unwrap().clone());
        entries = page["entries"].as_u64().unwrap();
        next = page["next"].as_u64();
    }
    (items, entries)
}

fn leaf(item: &Value) -> Leaf {
    serde_json::from_str(item["text"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn everybody_reads_what_is_his_and_can_check_the_whole() {
    let (site, signer) = signed().await;
    let (alder, birch) = (site.operator("alder"), site.operator("birch"));
    alder.put("segments/alder/lan", json!({"spec":{"service":"lan"}})).await.is(201);
    birch.put("segments/alder/two", json!({"spec":{"service":"lan"}})).await.is(403);
    let (everything, entries) = all(&site.owner(), false).await;
    assert_eq!(everything.len() as u64, entries);
    assert_eq!(all(&site.asker(Some("sillon:auditor")), false).await.0, everything);
    let (own, _) = all(&alder, false).await;
    let expected: Vec<&Value> = everything
        .iter()
        .filter(|item| leaf(item).entry.operator.is_some_and(|name| name.as_str() == "alder"))
        .collect();
    assert!(expected.len() >= 3 && own.iter().eq(expected), "{own:?}");
    // birch's refusal is birch's.
    let (theirs, _) = all(&birch, false).await;
    assert!(
        theirs
            .iter()
            .any(|item| item["text"].as_str().unwrap().contains("may not put segment/alder/two"))
    );
    assert!(!own.iter().any(|item| item.to_string().contains("birch")));
    // Nothing of others is in what makes the whole, and it is the tree that was signed.
    let (whole, _) = all(&alder, true).await;
    assert!(whole.len() as u64 == entries && !json!(whole).to_string().contains("birch"));
    let log = Log::new(whole.iter().map(|item| match item["text"].as_str() {
        Some(text) => commitment(text),
        None => serde_json::from_value(item["commitment"].clone()).unwrap(),
    }));
    let note = alder.get("audit/checkpoint").await.is(200);
    assert_eq!(note.kind, "text/plain; charset=utf-8");
    let checkpoint = signer.verifier().open(&note.text).unwrap();
    assert_eq!((checkpoint.size(), checkpoint.root()), (log.size(), log.root()));
    site.stop().await;
}

#[tokio::test]
async fn proofs_are_given_of_what_may_be_read_and_prove_it() {
    let (site, signer) = signed().await;
    let (alder, key) = (site.operator("alder"), signer.verifier());
    let kept = key.open(&alder.get("audit/checkpoint").await.is(200).text).unwrap();
    alder.put("segments/alder/lan", json!({"spec":{"service":"lan"}})).await.is(201);
    let own = leaf(all(&alder, false).await.0.last().unwrap()).at;
    let proof =
        alder.get(&format!("audit/entries/{own}/proof?since={}", kept.size())).await.is(200);
    let proof: Proof = serde_json::from_value(proof.json()).unwrap();
    let (leaf, newer) = proof.verify(&key, Some(&kept)).unwrap();
    assert!(leaf.at == own && newer.size() > kept.size());
    let growth = alder.get(&format!("audit/growth?since={}", kept.size())).await.is(200);
    let mut growth: Growth = serde_json::from_value(growth.json()).unwrap();
    assert_eq!(growth.verify(&key, &kept).unwrap(), newer);
    growth.consistency.reverse();
    assert!(growth.consistency.len() == 1 || growth.verify(&key, &kept).is_err());
    growth.consistency.pop();
    assert!(growth.verify(&key, &kept).is_err());
    // Another's entry, and one that is not there.
    let others = alder.get("audit/entries/1/proof").await;
    let missing = alder.get("audit/entries/99999/proof").await;
    assert_eq!(
        others.clone().is(404).text.replace("entry 1 ", "entry 99999 "),
        missing.is(404).text
    );
    site.owner().get("audit/entries/1/proof").await.is(200);
    for wrong in [
        "audit/entries/x/proof",
        "audit/growth?since=99999",
        "audit?limit=0",
        "audit?limit=1001",
        "audit?to=7",
    ] {
        assert_eq!(alder.get(wrong).await.problem().0, 400, "{wrong}");
    }
    assert_eq!(all(&alder, false).await.0, all(&alder, false).await.0);
    assert_eq!(alder.get("audit?from=99999").await.is(200).json()["items"], json!([]));
    let node = site.asker(Some("sillon:node/edge1"));
    for path in ["audit", "audit/checkpoint", "audit/growth", "audit/entries/0/proof"] {
        assert_eq!(node.get(path).await.problem().0, 403, "{path}");
        assert_eq!(site.owner().post(path, None).await.problem().0, 405, "{path}");
    }
    site.stop().await;
}

#[tokio::test]
async fn a_log_that_nobody_signs_is_read_and_proves_nothing() {
    let site = Site::new().await;
    assert!(!all(&site.owner(), false).await.0.is_empty());
    for path in ["audit/checkpoint", "audit/growth", "audit/entries/0/proof"] {
        assert_eq!(site.owner().get(path).await.problem(), (404, "unsigned".to_owned()), "{path}");
    }
    site.stop().await;
}

#[tokio::test]
async fn the_commands_ask_the_controller_and_check_offline() {
    let fabric = Fabric::new().await;
    let site = fabric.write("site.yaml", FILE);
    fabric.owner(&["apply", "-f", &site, "--yes"]).await.is(0);
    let monday = fabric.alder(&["audit", "checkpoint"]).await.is(0);
    let monday = fabric.write("monday.checkpoint", &monday);
    let lan = fabric.write("lan.yaml", "kind: segment\nname: alder/lan\nspec: { service: lan }\n");
    fabric.alder(&["apply", "-f", &lan, "--yes"]).await.is(0);
    let key = fabric.path("audit.key.pub").display().to_string();
    let shown = fabric.alder(&["audit", "show"]).await.is(0);
    assert!(shown.contains("+segment/alder/lan") && !shown.contains("node/edge1"), "{shown}");
    let json: Value =
        serde_json::from_str(&fabric.alder(&["audit", "show", "--json"]).await.is(0)).unwrap();
    let at = json.as_array().unwrap().last().unwrap()["at"].to_string();
    let verify = async |name: &str, text: String, code: i32, kept: &[&str]| {
        let file = fabric.write(name, &text);
        fabric.run(&[&["audit", "verify", &file, "--key", &key], kept].concat()).await.is(code)
    };
    let kept = ["--checkpoint", &monday];
    let proof =
        fabric.alder(&["audit", "proof", &at, "--key", &key, "--since", &monday]).await.is(0);
    verify("proof.json", proof.clone(), 0, &kept).await;
    verify("forged.json", proof.replace("alder/lan", "alder/LAN"), 1, &kept).await;
    let growth = fabric.alder(&["audit", "proof", "--key", &key, "--since", &monday]).await.is(0);
    verify("growth.json", growth.clone(), 0, &kept).await;
    verify("growth.json", growth, 2, &[]).await;
    let export = fabric.alder(&["audit", "export"]).await.is(0);
    assert!(!export.contains("edge1"), "{export}");
    verify("export.jsonl", export, 0, &kept).await;
    verify("all.jsonl", fabric.as_who("auditor", &["audit", "export"]).await.is(0), 0, &kept).await;
    fabric.alder(&["audit", "proof", "0", "--key", &key]).await.is(1);
    fabric.alder(&["audit", "show", "--as", "owner"]).await.is(2);
    fabric.stop().await;
}
