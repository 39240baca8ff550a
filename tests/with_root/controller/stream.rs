//! The stream, with agents that the test plays itself: over real TLS on 127.0.0.1.

use std::{net::SocketAddr, time::Duration};

use hyper_util::rt::TokioIo;
use sillon::{
    fabric::{Actor, Body, Change, ConditionKind, Key, Revision},
    pki::Tls,
    protocol::{
        Parts,
        pb::{self, agents_client::AgentsClient, from_agent::What},
    },
};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Endpoint};

use crate::controller::site::{PATIENCE, Running, Site, attach, delete, lan, leased, put};

/// What must not come would come long before this.
const SILENCE: Duration = Duration::from_millis(300);

/// An agent that does what the test says.
pub struct Agent {
    say: mpsc::Sender<pb::FromAgent>,
    pub updates: Streaming<pb::Update>,
    pub parts: Parts,
}

fn listener() -> std::net::TcpListener {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap()
}

pub async fn start() -> (Site, Running, SocketAddr) {
    let site = Site::new(&["127.0.0.1"]);
    let listener = listener();
    let at = listener.local_addr().unwrap();
    let running = Running::start(&site, listener).await;
    (site, running, at)
}

/// Says hello with a certificate, and as the node that has these parts.
pub async fn hello(at: SocketAddr, tls: &Tls, node: &str, parts: Parts) -> Result<Agent, Status> {
    let config = tls.client(&[b"h2"]).unwrap();
    let io = move |_| {
        let config = config.clone();
        async move {
            let stream = TcpStream::connect(at).await?;
            let stream = TlsConnector::from(config).connect(at.ip().into(), stream).await?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    };
    let endpoint = Endpoint::from_shared(format!("http://{at}")).unwrap();
    let channel = endpoint.connect_with_connector(tower::service_fn(io)).await;
    let channel = channel.map_err(|error| Status::unauthenticated(error.to_string()))?;
    let (say, said) = mpsc::channel(4);
    let digest = if parts.is_empty() { Vec::new() } else { parts.digest().to_vec() };
    let hello = pb::Hello { node: node.to_owned(), digest, ..pb::Hello::default() };
    say.send(pb::FromAgent { what: Some(What::Hello(hello)) }).await.unwrap();
    let updates = AgentsClient::new(channel).follow(ReceiverStream::new(said)).await?.into_inner();
    Ok(Agent { say, updates, parts })
}

impl Agent {
    /// The next update, which must make of what there is what it says.
    pub async fn next(&mut self) -> pb::Update {
        let update = timeout(PATIENCE, self.updates.message()).await.unwrap().unwrap().unwrap();
        let base = if update.base.is_empty() { Parts::default() } else { self.parts.clone() };
        assert!(update.base.is_empty() || update.base == base.digest());
        self.parts = base.with(update.parts.clone());
        assert_eq!(update.digest, self.parts.digest());
        update
    }

    async fn is_left_alone(&mut self) {
        assert!(timeout(SILENCE, self.updates.message()).await.is_err());
    }

    async fn report(&self, report: pb::Report) {
        self.say.send(pb::FromAgent { what: Some(What::Report(report)) }).await.unwrap();
    }

    async fn applied(&self, update: &pb::Update) {
        let revision = update.revision;
        self.report(pb::Report { applied: revision, received: revision, ..pb::Report::default() })
            .await;
    }

    /// Takes the next update, and says so.
    pub async fn follow(&mut self) -> pb::Update {
        let update = self.next().await;
        self.applied(&update).await;
        update
    }
}

/// What a segment's VNI is.
fn vni(running: &Running, segment: &str) -> String {
    let object =
        running.controller.state().get(&format!("segment/{segment}").parse().unwrap()).cloned();
    match &object.unwrap().body {
        Body::Segment(segment) => segment.vni.to_string(),
        _ => unreachable!(),
    }
}

fn keys(update: &pb::Update) -> Vec<&str> {
    update.parts.iter().map(|part| part.key.as_str()).collect()
}

#[tokio::test]
async fn only_a_node_is_served_and_only_what_is_its_own() {
    let (site, running, at) = start().await;
    running.does(leased()).await;
    running.does(vec![lan("alder/lan"), attach("alder/a1", "edge1/p0")]).await;
    running.does(vec![lan("birch/lan"), attach("birch/b3", "edge2/p1")]).await;
    for stem in ["owner", "operator-alder", "auditor"] {
        let refused = hello(at, &site.tls(stem), "edge1", Parts::default()).await.err().unwrap();
        assert_eq!(refused.code(), Code::PermissionDenied, "{stem}: {refused}");
    }
    let refused =
        hello(at, &site.tls("node-edge1"), "edge2", Parts::default()).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let other = Site::new(&["127.0.0.1"]);
    let stranger = other.tls("node-edge1");
    assert!(hello(at, &stranger, "edge1", Parts::default()).await.is_err());

    let mut agent = hello(at, &site.tls("node-edge1"), "edge1", Parts::default()).await.unwrap();
    let update = agent.next().await;
    assert!(update.base.is_empty() && update.term > 0);
    let text = agent.parts.text();
    let (config, _) = sillon::model::parse("edge1", &text).unwrap();
    assert_eq!(config.node.name.as_str(), "edge1");
    assert!(
        text.contains("alder.lan") && !text.contains("birch") && !text.contains("edge2"),
        "{text}"
    );
}

#[tokio::test]
async fn changes_come_as_such_and_only_to_whom_they_concern() {
    let (site, running, at) = start().await;
    running.does(leased()).await;
    running.does(vec![lan("alder/lan"), attach("alder/a1", "edge1/p0")]).await;
    let tls = site.tls("node-edge1");
    let mut one = hello(at, &tls, "edge1", Parts::default()).await.unwrap();
    let mut two = hello(at, &site.tls("node-edge2"), "edge2", Parts::default()).await.unwrap();
    one.follow().await;
    two.follow().await;
    running.condition("attachment/alder/a1", ConditionKind::Programmed, true).await;

    running.does(vec![lan("birch/lan"), attach("birch/b4", "edge1/p1")]).await;
    let update = one.follow().await;
    assert_eq!(keys(&update), ["attachment/p1/untagged", "segment/birch.lan"]);
    two.is_left_alone().await;

    // The other node of the segment has a new remote, and this one a new segment.
    running.does(vec![attach("alder/a2", "edge2/p0")]).await;
    let update = one.next().await;
    assert_eq!(keys(&update), ["segment/alder.lan"]);
    assert_eq!(keys(&two.follow().await), ["attachment/p0/untagged", "segment/alder.lan"]);
    one.applied(&update).await;
    running.condition("segment/alder/lan", ConditionKind::Programmed, true).await;

    // A cut: who has what the controller knows gets the difference, who has what it should gets
    // nothing but a word.
    let parts = one.parts.clone();
    drop(one);
    let mut again = hello(at, &tls, "edge1", parts.clone()).await.unwrap();
    let update = again.next().await;
    assert_eq!((update.base, update.parts), (parts.digest().to_vec(), Vec::new()));
    drop(again);
    running.does(vec![delete("attachment/birch/b4")]).await;
    let mut again = hello(at, &tls, "edge1", parts.clone()).await.unwrap();
    let update = again.follow().await;
    assert_eq!(keys(&update), ["attachment/p1/untagged", "segment/birch.lan"]);
    assert!(update.parts.iter().all(|part| part.text.is_none()));
    let tombstone: Key =
        "tombstone/edge1/vni/birch".replace("birch", &vni(&running, "birch/lan")).parse().unwrap();
    running.until("edge1 has confirmed it", |state| state.get(&tombstone).is_none()).await;
    // And who has something else, all of it.
    drop(again);
    let mut again = hello(at, &tls, "edge1", parts).await.unwrap();
    let update = again.next().await;
    assert!(update.base.is_empty() && update.parts.len() > 3, "{update:?}");
}

#[tokio::test]
async fn a_slow_agent_gets_the_newest_state_and_no_queue() {
    let (site, running, at) = start().await;
    running.does(leased()).await;
    running.does(vec![lan("alder/lan"), attach("alder/a1", "edge1/p0")]).await;
    let mut agent = hello(at, &site.tls("node-edge1"), "edge1", Parts::default()).await.unwrap();
    let first = agent.next().await;
    let mut last = Revision(0);
    for ageing in 1..=50 {
        let spec = format!(r#"{{"service":"lan","ageing":{}}}"#, ageing + 1000);
        last = running.does(vec![put("segment/alder/lan", &spec)]).await;
    }
    agent.is_left_alone().await;
    agent.applied(&first).await;
    let update = agent.follow().await;
    // The report is a commit, too.
    assert!(update.revision >= last.0, "{} {last}", update.revision);
    assert!(agent.parts.text().contains("ageing = 1050"));
    agent.is_left_alone().await;
    running.condition("segment/alder/lan", ConditionKind::Programmed, true).await;
}

#[tokio::test]
async fn an_agent_that_never_answers_is_told_of() {
    let (site, running, at) = start().await;
    running.does(leased()).await;
    let mut agent = hello(at, &site.tls("node-edge1"), "edge1", Parts::default()).await.unwrap();
    let update = agent.next().await;
    running.condition("node/edge1", ConditionKind::Degraded, true).await;
    agent.applied(&update).await;
    running.condition("node/edge1", ConditionKind::Degraded, false).await;
}

#[tokio::test]
async fn what_an_agent_refuses_and_finds_is_known_and_it_goes_on() {
    let (site, running, at) = start().await;
    running.does(leased()).await;
    let mut agent = hello(at, &site.tls("node-edge1"), "edge1", Parts::default()).await.unwrap();
    agent.follow().await;
    running.condition("node/edge1", ConditionKind::Verified, true).await;
    let has = agent.parts.clone();
    running.does(vec![lan("alder/lan"), attach("alder/a1", "edge1/p0")]).await;
    let update = agent.next().await;
    let refused = pb::Report {
        received: update.revision,
        refused: Some("there is no p0".to_owned()),
        down: vec!["p0".to_owned()],
        ..pb::Report::default()
    };
    agent.report(refused).await;
    running.condition("node/edge1", ConditionKind::Verified, false).await;
    running.condition("port/edge1/p0", ConditionKind::Degraded, true).await;
    let programmed = |state: &sillon::fabric::State| {
        let key: Key = "attachment/alder/a1".parse().unwrap();
        state.get(&key).unwrap().conditions[&ConditionKind::Programmed].is
    };
    assert!(!programmed(&running.controller.state()));
    // The next is a change of what it has, and what it can do later counts then.
    agent.parts = has;
    running.does(vec![lan("birch/lan"), attach("birch/b4", "edge1/p1")]).await;
    let update = agent.follow().await;
    assert_eq!(keys(&update).len(), 4);
    running.condition("attachment/alder/a1", ConditionKind::Programmed, true).await;
    running.condition("node/edge1", ConditionKind::Verified, true).await;
}

#[tokio::test]
async fn five_hundred_attachments_that_are_left_out_are_not_programmed_and_the_one_that_is_there_is()
 {
    let (site, running, at) = start().await;
    running.does(leased()).await;
    let mut changes = vec![lan("alder/lan"), lan("birch/lan"), attach("birch/b4", "edge1/p1")];
    let names: Vec<String> = (1..=501).map(|vid| format!("alder/v{vid}")).collect();
    changes.extend(names.iter().zip(1..).map(|(name, vid)| {
        let spec = format!(r#"{{"segment":"lan","port":"edge1/p0","encap":"dot1q {vid}"}}"#);
        put(&format!("attachment/{name}"), &spec)
    }));
    running.does(changes).await;
    let mut agent = hello(at, &site.tls("node-edge1"), "edge1", Parts::default()).await.unwrap();
    let update = agent.next().await;
    let why = "there is no such interface in this network namespace".to_owned();
    let left_out = vec![pb::LeftOut { port: "p0".to_owned(), why, ..pb::LeftOut::default() }];
    let (applied, received) = (update.revision, update.revision);
    let report =
        pb::Report { applied, received, left_out, has_looked: true, ..pb::Report::default() };
    agent.report(report.clone()).await;
    running.condition("attachment/birch/b4", ConditionKind::Programmed, true).await;
    running.condition("port/edge1/p0", ConditionKind::Degraded, true).await;
    let are = |is: bool| {
        let names = names.clone();
        move |state: &sillon::fabric::State| {
            names.iter().all(|name| {
                let object = state.get(&format!("attachment/{name}").parse().unwrap()).unwrap();
                let condition = &object.conditions[&ConditionKind::Programmed];
                condition.is == is && (is || condition.why.contains("no such interface"))
            })
        }
    };
    running.until("all are told of", are(false)).await;
    running.condition("segment/alder/lan", ConditionKind::Programmed, false).await;
    agent.report(pb::Report { left_out: Vec::new(), ..report }).await;
    running.until("all are there", are(true)).await;
    running.condition("segment/alder/lan", ConditionKind::Programmed, true).await;
}

#[tokio::test]
async fn a_server_is_forgotten_elsewhere_only_after_its_own_node_lets_it_in_no_more() {
    let (site, running, at) = start().await;
    running.does(leased()).await;
    // s4 becomes alder's as well, so that edge1 stays in the segment.
    running
        .does(vec![
            lan("alder/lan"),
            attach("alder/a1", "edge1/p0"),
            attach("alder/a2", "edge2/p0"),
        ])
        .await;
    running
        .does(vec![
            put("server/s5", r#"{"ports":["edge1/p9"]}"#),
            put("port/edge1/p9", r#"{"role":"access"}"#),
        ])
        .await;
    running
        .does(vec![
            put("lease/alder/s5", r#"{"server":"s5"}"#),
            crate::controller::site::accept("alder", "s5"),
            attach("alder/a5", "edge1/p9"),
        ])
        .await;
    let mut one = hello(at, &site.tls("node-edge1"), "edge1", Parts::default()).await.unwrap();
    let mut two = hello(at, &site.tls("node-edge2"), "edge2", Parts::default()).await.unwrap();
    one.follow().await;
    two.follow().await;
    running.condition("segment/alder/lan", ConditionKind::Programmed, true).await;

    let to = crate::controller::site::owned("birch", "s1");
    let freed = running.does(vec![Change::Transfer { server: "s1".parse().unwrap(), to }]).await;
    let update = one.next().await;
    assert_eq!(keys(&update), ["attachment/p0/untagged"]);
    let at_port = pb::purge::At::Port("p0".to_owned());
    assert_eq!(update.purges, [pb::Purge { segment: "alder.lan".to_owned(), at: Some(at_port) }]);
    two.is_left_alone().await;
    let tombstone: Key = "tombstone/edge2/learned/alder/lan/edge1/p0".parse().unwrap();
    assert!(running.controller.state().get(&tombstone).is_some());
    one.applied(&update).await;
    let update = two.next().await;
    let there = pb::purge::At::Remote("10.99.0.1".to_owned());
    assert_eq!(update.purges, [pb::Purge { segment: "alder.lan".to_owned(), at: Some(there) }]);
    assert!(update.parts.is_empty() && update.revision >= freed.0);
    assert!(running.controller.state().get(&tombstone).is_some());
    two.applied(&update).await;
    running.until("edge2 has forgotten", |state| state.get(&tombstone).is_none()).await;
}

#[tokio::test]
async fn a_revoked_node_is_cut_off_and_a_newer_stream_of_a_node_is_the_one() {
    let (site, running, at) = start().await;
    running.does(leased()).await;
    let tls = site.tls("node-edge1");
    let mut old = hello(at, &tls, "edge1", Parts::default()).await.unwrap();
    old.follow().await;
    let mut new = hello(at, &tls, "edge1", Parts::default()).await.unwrap();
    new.follow().await;
    let ended = timeout(PATIENCE, old.updates.message()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    site.revoke("node/edge1");
    running.tls.reload().unwrap();
    let ended = timeout(PATIENCE, new.updates.message()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended}");
    assert!(hello(at, &tls, "edge1", Parts::default()).await.is_err());
}

#[tokio::test]
async fn an_agent_waits_for_its_node_to_be_added_and_an_ended_controller_says_so() {
    let (site, running, at) = start().await;
    let mut agent = hello(at, &site.tls("node-edge1"), "edge1", Parts::default()).await.unwrap();
    agent.is_left_alone().await;
    running.tries(Actor::Owner, vec![put("node/edge1", "{}")]).await.unwrap();
    assert_eq!(keys(&agent.follow().await), ["node"]);
    running.stop().await;
    let ended = timeout(PATIENCE, agent.updates.message()).await.unwrap();
    assert!(ended.is_err_and(|status| status.code() == Code::Unavailable));
}
