//! An operator cannot tell whether what is another's exists.

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::site::{Answer, Asker, Site};

/// Birch has one of everything; alder has a segment. What has `none` in its name is not there.
async fn site() -> Site {
    let site = Site::new().await;
    let (alder, birch) = (site.operator("alder"), site.operator("birch"));
    alder.put("segments/alder/lan", json!({"spec":{"service":"lan"}})).await.is(201);
    birch.put("segments/birch/lan", json!({"spec":{"service":"lan","vni":222}})).await.is(201);
    birch.put("profiles/birch/gold", json!({"spec":{"cir":"5 Mbit/s"}})).await.is(201);
    let attachment = json!({"spec":{"segment":"lan","port":"edge1/p2","encap":"port"}});
    birch.put("attachments/birch/a", attachment).await.is(201);
    site
}

/// What birch has, or the owner for others, and what nobody has.
const PAIRS: &[(&str, &str)] = &[
    ("operators/birch", "operators/none"),
    ("segments/birch/lan", "segments/birch/none"),
    ("segments/birch/lan", "segments/none/lan"),
    ("profiles/birch/gold", "profiles/birch/none"),
    ("attachments/birch/a", "attachments/birch/none"),
    ("leases/birch/l2", "leases/birch/none"),
    ("servers/s2", "servers/none"),
    ("servers/s3", "servers/none"),
    ("ports/edge1/p2", "ports/edge1/none"),
    ("ports/edge2/p3", "ports/none/p3"),
    ("ports/edge1/up0", "ports/edge1/none"),
    ("nodes/edge1", "nodes/none"),
    ("tombstones/edge1/vni/222", "tombstones/none/vni/222"),
];

fn without(answer: Answer, path: &str) -> Answer {
    let (kinds, name) = path.split_once('/').unwrap();
    let key = format!("{}/{name}", kinds.trim_end_matches('s'));
    let text = answer.text.replace(&key, "KEY").replace(name, "NAME");
    Answer { text, ..answer }
}

fn spec_of(path: &str) -> Value {
    match path.split('/').next().unwrap() {
        "operators" => json!({"vnis":[[200,299]]}),
        "segments" => json!({"service":"lan"}),
        "profiles" => json!({"cir":"5 Mbit/s"}),
        "attachments" => json!({"segment":"lan","port":"edge1/p2","encap":"port"}),
        "leases" => json!({"server":"s2"}),
        "servers" => json!({"ports":["edge1/p2"]}),
        "ports" => json!({"role":"access"}),
        _ => json!({}),
    }
}

async fn probes(alder: &Asker, path: &str) -> Vec<Answer> {
    let (kinds, name) = path.split_once('/').unwrap();
    let key = format!("{}/{name}", kinds.trim_end_matches('s'));
    let body = json!({ "spec": spec_of(path) });
    let mut all = vec![alder.get(path).await, alder.delete(path).await];
    all.push(alder.send(Method::HEAD, path, &[], None).await);
    for dry in ["", "?dry_run=true"] {
        let path = format!("{path}{dry}");
        all.push(alder.put(&path, body.clone()).await);
        all.push(alder.put(&path, json!({"spec":7})).await);
        all.push(alder.patch(&path, &[], json!({"spec":{}})).await);
        for header in [("if-match", "*"), ("if-match", "\"x\""), ("if-none-match", "*")] {
            all.push(alder.json(Method::PUT, &path, &[header], body.clone()).await);
            all.push(alder.patch(&path, &[header], body.clone()).await);
            all.push(alder.send(Method::DELETE, &path, &[header], None).await);
        }
    }
    for word in ["accept", "drain", "confirm"] {
        all.push(alder.post(&format!("{path}/{word}"), None).await);
    }
    all.push(alder.post(&format!("{path}/transfer"), Some(json!({"to":"lease/alder/l9"}))).await);
    for expect in [json!(null), json!("absent"), json!("x")] {
        let own = json!({"do":"put","key":"segment/alder/lan","spec":{"service":"lan"}});
        let put = json!({"do":"put","key":key,"spec":spec_of(path),"expect":expect});
        all.push(alder.batch(json!([own, put])).await);
        all.push(alder.batch(json!([own, {"do":"delete","key":key,"expect":expect}])).await);
    }
    all.push(alder.batch(json!([{"do":"accept","lease":key}])).await);
    all
}

#[tokio::test]
async fn what_is_anothers_is_answered_as_what_is_not_there() {
    let site = site().await;
    let alder = site.operator("alder");
    for (there, none) in PAIRS {
        let (one, two) = (probes(&alder, there).await, probes(&alder, none).await);
        for (index, (one, two)) in one.into_iter().zip(two).enumerate() {
            assert!((400..500).contains(&one.status), "{there} {index}: {one:?}");
            assert_eq!(without(one, there), without(two, none), "{there} {none} {index}");
        }
    }
    // It is as birch left it.
    assert_eq!(site.owner().get("segments/birch/lan").await.json()["status"]["vni"], 222);
    site.stop().await;
}

#[tokio::test]
async fn what_is_anothers_can_not_be_found_by_referring_to_it() {
    let site = site().await;
    let alder = site.operator("alder");
    for encap in ["port", "untagged", "dot1q", "qinq", "dot1q 20", "qinq 20.5"] {
        let at = async |port: &str| {
            let spec = json!({"spec":{"segment":"lan","port":port,"encap":encap}});
            let answer = alder.put("attachments/alder/probe", spec).await;
            assert_eq!(answer.problem().0, 403, "{answer:?}");
            answer.text.replace(port, "PORT")
        };
        let none = at("edge1/none").await;
        for port in ["edge1/p2", "edge2/p3", "edge1/up0", "none/p2"] {
            assert_eq!(at(port).await, none, "{port} {encap}");
        }
    }
    // Names are each operator's own.
    alder.put("profiles/alder/gold", json!({"spec":{"cir":"1 Mbit/s"}})).await.is(201);
    let of_birch = json!({"spec":{"service":"lan","vni":222}});
    let of_none = json!({"spec":{"service":"lan","vni":223}});
    let one = alder.put("segments/alder/x", of_birch).await;
    let two = alder.put("segments/alder/x", of_none).await;
    assert_eq!(one.problem().0, 409);
    assert_eq!(one.text.replace("222", "VNI"), two.text.replace("223", "VNI"));
    site.stop().await;
}

#[tokio::test]
async fn what_others_do_changes_nothing_that_an_operator_is_shown() {
    let site = site().await;
    let (alder, birch, owner) = (site.operator("alder"), site.operator("birch"), site.owner());
    let look = async || {
        let mut all = Vec::new();
        for kind in
            ["operators", "ports", "servers", "leases", "profiles", "segments", "attachments"]
        {
            let list = alder.get(kind).await.is(200);
            for item in list.json()["items"].as_array().unwrap() {
                let path = format!("{kind}/{}", item["name"].as_str().unwrap());
                all.push(alder.get(&path).await.is(200));
            }
            all.push(list);
        }
        all
    };
    let before = look().await;
    assert!(before.len() > 12, "{}", before.len());
    assert!(
        before
            .iter()
            .all(|answer| !answer.text.contains("birch") && !answer.text.contains("revision"))
    );
    birch.put("segments/birch/more", json!({"spec":{"service":"line"}})).await.is(201);
    let vids = json!({"spec":{"segment":"more","port":"edge1/h0","encap":"dot1q"}});
    birch.put("attachments/birch/h", vids).await.is(201);
    // Also what the owner changes for birch on the port that both have.
    let grants = json!({"spec":{"grants":{"birch":{"vids":[[20,29]]}}}});
    owner.patch("ports/edge1/h0", &[], grants).await.is(200);
    assert_eq!(look().await, before);
    let page = alder.get("ports?limit=1").await.json()["next"].as_str().unwrap().to_owned();
    let rest = alder.get(&format!("ports?page={page}")).await.json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    site.stop().await;
}

#[tokio::test]
async fn a_page_of_anothers_key_is_only_a_place() {
    use base64::Engine;
    let site = site().await;
    let alder = site.operator("alder");
    let page = |key: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key);
    let at =
        async |key: &str| alder.get(&format!("segments?page={}", page(key))).await.is(200).text;
    assert_eq!(at("segment/birch/lan").await, at("segment/birch/none").await);
    site.stop().await;
}
