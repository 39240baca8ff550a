//! What can be done with objects.

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::site::Site;

fn lan() -> Value {
    json!({ "spec": { "service": "lan" } })
}

#[tokio::test]
async fn an_object_is_made_read_changed_listed_and_deleted() {
    let site = Site::new().await;
    let alder = site.operator("alder");
    let made = alder.put("segments/alder/lan", lan()).await.is(201);
    let object = made.json();
    assert_eq!((&object["kind"], &object["name"]), (&json!("segment"), &json!("alder/lan")));
    assert_eq!(object["spec"]["mtu"], 1500);
    let vni = object["status"]["vni"].as_u64().unwrap();
    assert!((100..200).contains(&vni));
    assert_eq!(object["status"]["conditions"]["Accepted"]["is"], true);
    assert_eq!(made.tag.clone().unwrap(), format!("\"{}\"", object["etag"].as_str().unwrap()));

    let read = alder.get("segments/alder/lan").await.is(200);
    assert_eq!((read.json(), &read.tag), (object.clone(), &made.tag));
    // What is asked again changes nothing; and what was answered can be asked.
    let again = alder.put("segments/alder/lan", object).await.is(200);
    assert_eq!(again.tag, made.tag);
    let changed =
        alder.put("segments/alder/lan", json!({"spec":{"service":"lan","mtu":9000}})).await.is(200);
    assert_eq!(
        (&changed.json()["spec"]["mtu"], &changed.json()["status"]["vni"]),
        (&json!(9000), &json!(vni))
    );
    assert_ne!(changed.tag, made.tag);

    let list = alder.get("segments").await.is(200).json();
    assert_eq!(list["items"], json!([changed.json()]));
    alder.delete("segments/alder/lan").await.is(204);
    assert_eq!(alder.get("segments/alder/lan").await.problem(), (404, "not-found".to_owned()));
    assert_eq!(alder.delete("segments/alder/lan").await.problem(), (404, "not-found".to_owned()));
    site.stop().await;
}

#[tokio::test]
async fn who_changes_what_has_changed_is_told_so() {
    let site = Site::new().await;
    let alder = site.operator("alder");
    let path = "segments/alder/lan";
    let none = [("if-none-match", "*")];
    let first = alder.json(Method::PUT, path, &none, lan()).await.is(201).tag.unwrap();
    let changed = (412, "changed".to_owned());
    assert_eq!(alder.json(Method::PUT, path, &none, lan()).await.problem(), changed);
    let with = |tag: &str| vec![("if-match".to_owned(), tag.to_owned())];
    let put = async |tag: &str, mtu: u32| {
        let headers = with(tag);
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        alder.json(Method::PUT, path, &headers, json!({"spec":{"service":"lan","mtu":mtu}})).await
    };
    let second = put(&first, 2000).await.is(200).tag.unwrap();
    assert_eq!(put(&first, 3000).await.problem(), changed);
    assert_eq!(put(&format!("W/{second}"), 3000).await.problem(), changed);
    assert_eq!(put("\"\"", 3000).await.problem(), changed);
    assert_eq!(put("x", 3000).await.problem().0, 400);
    put("*", 3000).await.is(200);
    let third = put(&format!("\"x\", {}", alder.get(path).await.tag.unwrap()), 4000)
        .await
        .is(200)
        .tag
        .unwrap();
    let patch = alder.patch(path, &[("if-match", &second)], json!({"spec":{"mtu":5000}})).await;
    assert_eq!(patch.problem(), changed);
    alder.patch(path, &[("if-match", &third)], json!({"spec":{"mtu":5000}})).await.is(200);
    assert_eq!(
        alder.send(Method::DELETE, path, &[("if-match", &third)], None).await.problem(),
        changed
    );
    let last = alder.get(path).await.tag.unwrap();
    alder.send(Method::DELETE, path, &[("if-match", &last)], None).await.is(204);
    assert_eq!(put("*", 3000).await.problem(), changed);
    site.stop().await;
}

#[tokio::test]
async fn what_an_agent_reports_does_not_get_in_the_way_of_who_edits() {
    use sillon::{
        controller::Request,
        fabric::{Actor, Change, Report},
    };
    let site = Site::new().await;
    let alder = site.operator("alder");
    alder.put("segments/alder/lan", lan()).await.is(201);
    let attachment = json!({"spec":{"segment":"lan","port":"edge1/p1","encap":"dot1q"}});
    let made = alder.put("attachments/alder/a", attachment).await.is(201);
    let applied = site.controller.state().revision();
    let report = Report {
        node: "edge1".parse().unwrap(),
        applied,
        drift: None,
        down: Default::default(),
        silent: false,
        seen: None,
    };
    let who = Actor::Node("edge1".parse().unwrap());
    let request = Request { who, changes: vec![Change::Report(report)], dry_run: false };
    site.controller.submit(request).await.unwrap();
    let read = alder.get("attachments/alder/a").await;
    assert_eq!(read.json()["status"]["conditions"]["Programmed"]["is"], true);
    assert_eq!(read.tag, made.tag);
    site.stop().await;
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    let site = Site::new().await;
    let alder = site.operator("alder");
    let path = "segments/alder/lan";
    alder
        .put(path, json!({"spec":{"service":"lan","mtu":2000,"vni":150,"moves":{"limit":9}}}))
        .await
        .is(201);
    let patched = alder
        .patch(path, &[], json!({"spec":{"mtu":null,"moves":{"freeze":7}}}))
        .await
        .is(200)
        .json();
    let spec = &patched["spec"];
    assert_eq!((&spec["mtu"], &spec["vni"]), (&json!(1500), &json!(150)));
    assert_eq!(spec["moves"], json!({"limit":9,"window":180,"freeze":7}));
    assert_eq!(
        alder.patch(path, &[], json!({"spec":{"mtuu":1}})).await.problem(),
        (422, "body".to_owned())
    );
    assert_eq!(alder.patch(path, &[], json!({"spec":null})).await.problem().0, 422);
    assert_eq!(alder.patch(path, &[], json!({"name":"alder/other"})).await.problem().0, 422);
    assert_eq!(alder.patch(path, &[], json!(7)).await.problem().0, 422);
    assert_eq!(alder.patch("segments/alder/none", &[], json!({"spec":{}})).await.problem().0, 404);
    assert_eq!(alder.get(path).await.json()["spec"], *spec);
    site.stop().await;
}

#[tokio::test]
async fn patches_at_once_are_all_made() {
    let site = Site::new().await;
    let alder = site.operator("alder");
    alder.put("segments/alder/lan", lan()).await.is(201);
    let fields = ["mtu", "ageing", "mac_limit", "dscp"];
    let all = fields.iter().map(|field| {
        let patch = json!({ "spec": { *field: 60 + 1300 * u32::from(*field == "mtu") - 20 } });
        let alder = alder.clone();
        async move { alder.patch("segments/alder/lan", &[], patch).await.is(200) }
    });
    futures::future::join_all(all).await;
    let spec = alder.get("segments/alder/lan").await.json()["spec"].clone();
    assert_eq!(fields.map(|field| spec[field].as_u64().unwrap()), [1340, 40, 40, 40]);
    site.stop().await;
}

#[tokio::test]
async fn a_transaction_is_made_wholly_or_not_at_all() {
    let site = Site::new().await;
    let alder = site.operator("alder");
    let put = |key: &str, spec: Value| json!({"do":"put","key":key,"spec":spec});
    let a = |port: &str| json!({"segment":"lan","port":port,"encap":"dot1q 10"});
    let changes = json!([
        put("attachment/alder/a", a("edge1/p1")),
        put("segment/alder/lan", json!({"service":"lan"}))
    ]);
    let before = site.controller.state().revision();

    let tried = alder
        .post("transactions?dry_run=true", Some(json!({"changes":changes})))
        .await
        .is(200)
        .json();
    assert_eq!(tried["dry_run"], true);
    assert_eq!(tried["events"].as_array().unwrap().len(), 2);
    assert_eq!(site.controller.state().revision(), before);

    let wrong = json!([changes[0], changes[1], put("attachment/alder/b", a("edge1/p2"))]);
    assert_eq!(alder.batch(wrong).await.problem(), (403, "right".to_owned()));
    assert_eq!(alder.get("segments/alder/lan").await.problem().0, 404);
    // The refusal is in the audit log, which counts, too.
    let before = site.controller.state().revision();

    let made = alder.batch(changes.clone()).await.is(200).json();
    assert_eq!(site.controller.state().revision().0, before.0 + 1);
    let keys: Vec<&str> = made["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["segment/alder/lan", "attachment/alder/a"]);
    assert_eq!(alder.batch(changes).await.is(200).json()["events"], json!([]));

    let tag = alder.get("segments/alder/lan").await.json()["etag"].clone();
    let at = |expect: &Value| json!([{"do":"put","key":"segment/alder/lan","spec":{"service":"lan","mtu":1600},"expect":expect}]);
    alder.batch(at(&tag)).await.is(200);
    let stale = alder.batch(at(&tag)).await;
    assert_eq!(
        (stale.problem(), &stale.json()["change"]),
        ((412, "changed".to_owned()), &json!(0))
    );
    let absent =
        json!([{"do":"put","key":"segment/alder/lan","spec":{"service":"lan"},"expect":"absent"}]);
    assert_eq!(alder.batch(absent).await.problem().0, 412);
    let gone = json!([{"do":"delete","key":"segment/alder/lan"},{"do":"delete","key":"attachment/alder/a"}]);
    assert_eq!(alder.batch(gone).await.is(200).json()["events"][0]["type"], "delete");
    site.stop().await;
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let site = Site::new().await;
    let alder = site.operator("alder");
    alder.put("segments/alder/old", lan()).await.is(201);
    let before = site.controller.state().revision();
    let tried = alder.put("segments/alder/lan?dry_run=true", lan()).await.is(201);
    assert!(tried.tag.is_none() && tried.json()["status"]["vni"].is_number());
    alder.patch("segments/alder/old?dry_run=true", &[], json!({"spec":{"mtu":9000}})).await.is(200);
    alder.delete("segments/alder/old?dry_run=true").await.is(204);
    let owner = site.owner();
    owner.post("leases/alder/l1/drain?dry_run=true", None).await.is(200);
    owner
        .post("servers/s1/transfer?dry_run=true", Some(json!({"to":"lease/birch/l9"})))
        .await
        .is(200);
    assert_eq!(alder.put("segments/alder/lan?dry_run=yes", lan()).await.problem().0, 400);
    assert_eq!(site.controller.state().revision(), before);
    site.stop().await;
}

#[tokio::test]
async fn pages_stay_right_while_objects_come_and_go() {
    let site = Site::new().await;
    let (owner, alder) = (site.owner(), site.operator("alder"));
    for index in 10..20 {
        alder.put(&format!("segments/alder/s{index}"), lan()).await.is(201);
    }
    for asker in [&alder, &owner] {
        let (mut names, mut page) = (Vec::new(), String::new());
        loop {
            let list =
                asker.get(&format!("segments?operator=alder&limit=3{page}")).await.is(200).json();
            let items = list["items"].as_array().unwrap();
            names.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
            let Some(next) = list["next"].as_str() else { break };
            assert_eq!(items.len(), 3);
            page = format!("&page={next}");
            if names.len() == 3 {
                // The last one that was seen goes, one before it comes, and one behind it comes.
                alder.delete("segments/alder/s12").await.is(204);
                alder.put("segments/alder/s05", lan()).await.is(201);
                alder.put("segments/alder/s175", lan()).await.is(201);
            }
        }
        let expected =
            ["s10", "s11", "s12", "s13", "s14", "s15", "s16", "s17", "s175", "s18", "s19"];
        assert_eq!(names, expected.map(|name| format!("alder/{name}")));
        alder.put("segments/alder/s12", lan()).await.is(201);
        alder.delete("segments/alder/s05").await.is(204);
        alder.delete("segments/alder/s175").await.is(204);
    }
    site.stop().await;
}

#[tokio::test]
async fn lists_are_asked_by_what_objects_have_to_do_with() {
    let site = Site::new().await;
    let (owner, alder) = (site.owner(), site.operator("alder"));
    alder.put("segments/alder/lan", lan()).await.is(201);
    let attach =
        |port: &str, encap: &str| json!({"spec":{"segment":"lan","port":port,"encap":encap}});
    alder.put("attachments/alder/a", attach("edge1/p1", "untagged")).await.is(201);
    alder.put("attachments/alder/b", attach("edge1/h0", "dot1q 10")).await.is(201);
    let names = async |path: &str| {
        let list = owner.get(path).await.is(200).json();
        let items = list["items"].as_array().unwrap().iter();
        items.map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("attachments?server=s1").await, ["alder/a"]);
    assert_eq!(names("attachments?segment=alder/lan&node=edge1").await, ["alder/a", "alder/b"]);
    assert_eq!(names("attachments?node=edge2").await, [""; 0]);
    assert_eq!(names("leases?server=s2").await, ["birch/l2"]);
    assert_eq!(names("leases?operator=alder").await, ["alder/l1"]);
    assert_eq!(names("ports?server=s3").await, ["edge2/p3"]);
    assert_eq!(names("servers?node=edge1").await, ["s1", "s2"]);
    assert_eq!(names("ports?node=edge2").await, ["edge2/p3", "edge2/up0"]);
    for wrong in [
        "nodes?server=s1",
        "segments?operator=a/b",
        "segments?colour=red",
        "segments?limit=0",
        "segments?limit=1001",
        "segments?page=x",
    ] {
        assert_eq!(owner.get(wrong).await.problem(), (400, "request".to_owned()), "{wrong}");
    }
    site.stop().await;
}

#[tokio::test]
async fn a_lease_goes_its_way_and_a_server_changes_hands() {
    let site = Site::new().await;
    let (owner, alder, birch) = (site.owner(), site.operator("alder"), site.operator("birch"));
    assert_eq!(alder.get("leases/alder/l1").await.json()["status"]["state"], "active");
    let moved = owner
        .post("servers/s1/transfer", Some(json!({"to":"lease/birch/l9"})))
        .await
        .is(200)
        .json();
    assert_eq!(moved["events"].as_array().unwrap().len(), 2);
    birch.post("leases/birch/l9/accept", None).await.is(200);
    let confirmed = owner.post("leases/alder/l1/confirm", None).await.is(200).json();
    assert_eq!(confirmed["status"]["state"], "released");
    assert_eq!(birch.get("leases/birch/l9").await.json()["status"]["state"], "active");
    assert_eq!(birch.get("servers/s1").await.is(200).json()["name"], "s1");
    assert_eq!(alder.get("servers/s1").await.problem().0, 404);
    let until = json!({"until":"2100-01-01T00:00:00Z"});
    let drained = owner.post("leases/birch/l9/drain", Some(until)).await.is(200).json();
    assert_eq!(drained["status"]["state"], "quarantined");
    assert_eq!(
        owner.post("leases/birch/l9/accept", None).await.problem(),
        (409, "rule".to_owned())
    );
    site.stop().await;
}

#[tokio::test]
async fn tombstones_and_ports_are_read_by_their_whole_names() {
    let site = Site::new().await;
    let (owner, alder) = (site.owner(), site.operator("alder"));
    alder.put("segments/alder/lan", lan()).await.is(201);
    alder
        .put(
            "attachments/alder/a",
            json!({"spec":{"segment":"lan","port":"edge1/p1","encap":"dot1q 10"}}),
        )
        .await
        .is(201);
    alder.delete("attachments/alder/a").await.is(204);
    let tombstone = owner.get("tombstones/edge1/encap/p1/dot1q%2010").await.is(200).json();
    assert_eq!(tombstone["status"]["operator"], "alder");
    assert_eq!(
        owner.get("tombstones?node=edge1").await.json()["items"].as_array().unwrap().len(),
        2
    );
    assert_eq!(owner.delete("tombstones/edge1/encap/p1/dot1q%2010").await.problem().0, 405);
    assert_eq!(owner.get("ports/edge1/p1").await.is(200).json()["name"], "edge1/p1");
    assert_eq!(owner.get("ports/edge1%2Fp1").await.problem().0, 404);
    assert_eq!(owner.get("segments/alder%2Fx/lan").await.problem().0, 400);
    site.stop().await;
}

#[tokio::test]
async fn everybody_is_told_who_it_is() {
    let site = Site::empty().await;
    for (identity, role) in [
        ("owner", "owner"),
        ("operator/alder", "operator"),
        ("auditor", "auditor"),
        ("node/edge1", "node"),
    ] {
        let asker = site.asker(Some(&format!("sillon:{identity}")));
        assert_eq!(
            asker.get("whoami").await.is(200).json(),
            json!({"identity":identity,"role":role})
        );
        asker.get("../healthz").await.is(200);
        asker.get("../readyz").await.is(200);
    }
    site.stop().await;
}
