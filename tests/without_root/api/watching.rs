//! What happens, as it is told.

use std::time::Duration;

use futures::{StreamExt, stream::BoxStream};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sillon::{api::Limits, controller::Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::api::{
    limits::connect,
    site::{Asker, Site, read},
};

/// An event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    pub name: String,
    pub id: String,
    pub data: Value,
}

/// A stream of events that is being read.
pub struct Events {
    bytes: BoxStream<'static, reqwest::Result<axum::body::Bytes>>,
    text: String,
}

impl Events {
    pub async fn of(asker: &Asker, query: &str, last: Option<&str>) -> Self {
        let headers: Vec<_> = last.map(|last| ("last-event-id", last)).into_iter().collect();
        let response = asker.raw(Method::GET, &format!("watch{query}"), &headers, None).await;
        assert_eq!(response.status(), StatusCode::OK, "{}", response.text().await.unwrap());
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { bytes: response.bytes_stream().boxed(), text: String::new() }
    }

    /// The next event, also if it only tells a place; nothing at the end.
    pub async fn any(&mut self) -> Option<Told> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = parse(event);
                self.text = rest.to_owned();
                return Some(event);
            }
            let more =
                tokio::time::timeout(Duration::from_secs(20), self.bytes.next()).await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&more.unwrap()).unwrap());
        }
    }

    /// The next that happened.
    pub async fn next(&mut self) -> Told {
        loop {
            let told = self.any().await.unwrap();
            if told.name != "place" {
                return told;
            }
        }
    }
}

fn parse(text: &str) -> Told {
    let mut told = Told::default();
    for line in text.lines() {
        match line.split_once(": ").unwrap() {
            ("event", name) => told.name = name.to_owned(),
            ("id", id) => told.id = id.to_owned(),
            ("data", data) => told.data = serde_json::from_str(data).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    told
}

fn keys(told: &Told) -> Vec<(&str, &str)> {
    let all = told.data["events"].as_array().unwrap().iter();
    all.map(|event| (event["type"].as_str().unwrap(), event["key"].as_str().unwrap())).collect()
}

fn lan() -> Value {
    json!({ "spec": { "service": "lan" } })
}

#[tokio::test]
async fn who_watches_is_told_what_happens_and_goes_on_where_it_was() {
    let site = Site::new().await;
    let (owner, alder) = (site.owner(), site.operator("alder"));
    for asker in [&owner, &alder] {
        let mut events = Events::of(asker, "", None).await;
        let place = events.any().await.unwrap();
        assert_eq!(place.name, "place");
        alder.put("segments/alder/one", lan()).await.is(201);
        let one = events.next().await;
        assert_eq!(
            (one.name.as_str(), keys(&one)),
            ("happened", vec![("put", "segment/alder/one")])
        );
        assert_eq!(one.data["who"], "operator/alder");
        assert_eq!(one.data["events"][0]["object"], asker.get("segments/alder/one").await.json());
        drop(events);
        alder.put("segments/alder/two", lan()).await.is(201);
        alder.delete("segments/alder/one").await.is(204);
        for (query, last) in
            [(format!("?after={}", one.id), None), ("?after=0".to_owned(), Some(one.id.as_str()))]
        {
            let mut events = Events::of(asker, &query, last).await;
            let mut next = events.next().await;
            if next.data["who"] == "fabric" {
                // An operator is told of its servers and ports anew.
                assert!(
                    keys(&next)
                        .iter()
                        .all(|(_, key)| key.starts_with("port/") || key.starts_with("server/"))
                );
                next = events.next().await;
            }
            assert_eq!(keys(&next), [("put", "segment/alder/two")]);
            assert_eq!(keys(&events.next().await), [("delete", "segment/alder/one")]);
        }
        alder.delete("segments/alder/two").await.is(204);
    }
    site.stop().await;
}

#[tokio::test]
async fn an_operator_is_told_nothing_of_what_others_do() {
    let site = Site::new().await;
    let (owner, alder, birch) = (site.owner(), site.operator("alder"), site.operator("birch"));
    let mut events = Events::of(&alder, "", None).await;
    events.any().await.unwrap();
    birch.put("segments/birch/lan", lan()).await.is(201);
    let attachment = json!({"spec":{"segment":"lan","port":"edge1/h0","encap":"dot1q"}});
    birch.put("attachments/birch/a", attachment).await.is(201);
    owner
        .patch("ports/edge1/h0", &[], json!({"spec":{"grants":{"birch":{"vids":[[20,29]]}}}}))
        .await
        .is(200);
    owner.put("leases/birch/l3", json!({"spec":{"server":"s3"}})).await.is(201);
    birch.post("leases/birch/l3/accept", None).await.is(200);
    alder.put("segments/alder/lan", lan()).await.is(201);
    let first = events.next().await;
    assert_eq!(keys(&first), [("put", "segment/alder/lan")]);
    assert!(first.data.get("revision").is_none());
    // A place is for whom it was given.
    let stolen = birch.get(&format!("watch?after={}", first.id)).await;
    assert_eq!(stolen.problem(), (410, "gone".to_owned()));
    assert_eq!(alder.get("watch?after=3").await.problem(), (410, "gone".to_owned()));
    site.stop().await;
}

#[tokio::test]
async fn a_server_comes_into_sight_with_its_lease_and_goes_with_it() {
    let site = Site::new().await;
    let (owner, alder) = (site.owner(), site.operator("alder"));
    let mut events = Events::of(&alder, "", None).await;
    events.any().await.unwrap();
    owner.put("leases/alder/l3", json!({"spec":{"server":"s3"}})).await.is(201);
    let offered = events.next().await;
    let expected = [("put", "lease/alder/l3"), ("put", "port/edge2/p3"), ("put", "server/s3")];
    assert_eq!((keys(&offered), &offered.data["who"]), (expected.to_vec(), &json!("owner")));
    owner.post("leases/alder/l3/drain", None).await.is(200);
    let over = events.next().await;
    assert_eq!(
        keys(&over),
        [("put", "lease/alder/l3"), ("delete", "port/edge2/p3"), ("delete", "server/s3")]
    );
    site.stop().await;
}

#[tokio::test]
async fn streams_end_with_a_last_event_when_the_controller_stops() {
    let site = Site::new().await;
    let mut events = Events::of(&site.owner(), "", None).await;
    events.any().await.unwrap();
    let stopped = tokio::spawn(site.stop());
    let last = events.next().await;
    assert_eq!(last.name, "cut");
    assert!(last.data["why"].as_str().unwrap().contains("stopped"), "{last:?}");
    assert_eq!(events.any().await, None);
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_cut_and_told_so() {
    let limits = Limits {
        rate: 10_000.try_into().unwrap(),
        burst: 10_000.try_into().unwrap(),
        ..Limits::default()
    };
    let site = Site::with(limits, Settings { history: 4, ..Settings::default() }).await;
    site.build().await;
    let alder = site.operator("alder");
    let mut reader = connect(&site, "sillon:owner").await;
    reader.write_all(b"GET /v1/watch HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 1];
    reader.read_exact(&mut first).await.unwrap();
    // More than the kernel's buffers of both ends take.
    for round in 0..80 {
        let put = |index: u32| json!({"do":"put","key":format!("segment/alder/s{index}"),"spec":{"service":"lan","mac_limit":900,"mtu":2000+round}});
        let changes: Vec<Value> = (0..100).map(put).collect();
        alder.batch(json!(changes)).await.is(200);
    }
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(60), reader.read_to_end(&mut rest)).await.ok();
    let text = String::from_utf8_lossy(&rest);
    let last = text
        .rfind("event: cut")
        .map(|at| &text[at..])
        .unwrap_or_else(|| panic!("{} bytes", rest.len()));
    assert!(last.contains("too slow"), "{last}");
    let id = last.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
    let again =
        read(site.owner().raw(Method::GET, "watch", &[("last-event-id", id)], None).await).await;
    assert_eq!(again.problem(), (410, "gone".to_owned()));
    site.stop().await;
}
