//! Changes by all roles at whichever controller, at random, and what each of them was answered.
//!
//! Each key has one who changes it, and each change a number of its own, so that what is in the
//! store afterwards tells which change made it. A change goes by what was read before: one whose
//! outcome is not known can be made later only as long as nothing else was.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::chaos::{
    ask::{Answer, Asker, If},
    world::World,
};

/// Between two changes of one.
const PAUSES: std::ops::Range<u64> = 20..200;
/// The owner lets the server go on to the other operator about so often.
const TRANSFER: Duration = Duration::from_secs(4);
/// Of all numbers; larger than what an object has that nobody has given one.
pub const FIRST: u64 = 200_000;

/// A change that was asked for, with its number; without one, that the object goes.
#[derive(Debug, Clone)]
pub struct Asked {
    pub key: String,
    pub number: Option<u64>,
    pub is_known: bool,
}

/// What was asked for, and how to end it.
#[derive(Default)]
pub struct Load {
    pub ends: AtomicBool,
    /// Each was done, or may have been.
    pub asked: Mutex<Vec<Asked>>,
    /// Transfers of the one server that were or may have been.
    pub transfers: AtomicU64,
    /// Changes that were refused, for whatever reason.
    pub refused: AtomicU64,
    /// Questions that nobody was there to answer.
    pub unheard: AtomicU64,
    /// What should never have been answered.
    pub wrong: Mutex<Vec<String>>,
    numbers: AtomicU64,
}

/// Builds what there is: see [`World`]. All runs and is well.
pub async fn build(world: &World) {
    let owner = Asker::new(world, "owner");
    let mut all = vec![
        (
            "operators/alder",
            json!({"vnis": [[100, 199]], "ceiling": {"storm": {"broadcast": null}}}),
        ),
        (
            "operators/birch",
            json!({"vnis": [[200, 299]], "ceiling": {"storm": {"broadcast": null}}}),
        ),
        ("nodes/edge1", json!({"vtep": ["10.99.0.1", "fd99::1"]})),
        ("nodes/edge2", json!({"vtep": ["10.99.0.2", "fd99::2"]})),
    ];
    for (port, role) in [("up0", "uplink"), ("p0", "access"), ("p1", "access"), ("p2", "access")] {
        for edge in ["edge1", "edge2"] {
            all.push((
                Box::leak(format!("ports/{edge}/{port}").into_boxed_str()),
                json!({"role": role}),
            ));
        }
    }
    let servers = [
        ("a1", "edge1/p0"),
        ("a2", "edge2/p0"),
        ("b1", "edge1/p1"),
        ("b2", "edge2/p1"),
        ("roam", "edge1/p2"),
    ];
    for (server, port) in servers {
        all.push((
            Box::leak(format!("servers/{server}").into_boxed_str()),
            json!({"ports": [port]}),
        ));
    }
    for (lease, server) in [
        ("alder/a1", "a1"),
        ("alder/a2", "a2"),
        ("birch/b1", "b1"),
        ("birch/b2", "b2"),
        ("alder/r0", "roam"),
    ] {
        all.push((
            Box::leak(format!("leases/{lease}").into_boxed_str()),
            json!({"server": server}),
        ));
    }
    for (path, spec) in all {
        done(&owner, Method::PUT, path, Some(json!({ "spec": spec }))).await;
    }
    for (operator, servers) in [("alder", ["a1", "a2", "r0"].as_slice()), ("birch", &["b1", "b2"])]
    {
        let asker = Asker::new(world, &format!("operator-{operator}"));
        for server in servers {
            done(&asker, Method::POST, &format!("leases/{operator}/{server}/accept"), None).await;
        }
        for segment in ["s0", "s1"] {
            let path = format!("segments/{operator}/{segment}");
            done(&asker, Method::PUT, &path, Some(json!({ "spec": {"service": "lan"} }))).await;
        }
    }
}

async fn done(asker: &Asker, method: Method, path: &str, body: Option<Value>) {
    // They may be electing one another yet.
    for _ in 0..100 {
        let answer = asker.ask(0, (method.clone(), path), &If::Any, body.clone()).await;
        match answer {
            Answer::Done { .. } => return,
            Answer::Refused { .. } => panic!("{path}: {answer:?}"),
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
    panic!("{path} is not done in time");
}

/// Asks until it is told to end.
pub async fn run(load: &Load, world: &[Asker; 4], seed: u64) {
    let [owner, alder, birch, auditor] = world;
    let rng = |index: u64| Rng::with_seed(seed.wrapping_mul(31).wrapping_add(index));
    let segments =
        |operator: &str| vec![format!("segment/{operator}/s0"), format!("segment/{operator}/s1")];
    let attachments = |operator: &str| {
        ["e1", "e2", "x1", "x2"].map(|name| format!("attachment/{operator}/{name}")).to_vec()
    };
    let quotas = vec!["operator/alder".to_owned(), "operator/birch".to_owned()];
    let changing = [
        (alder, segments("alder")),
        (alder, attachments("alder")),
        (birch, segments("birch")),
        (birch, attachments("birch")),
        (owner, quotas),
    ];
    let changing = changing.into_iter().zip(0..).map(|((asker, keys), index)| {
        let changer = Changer { load, asker, keys, rng: rng(index) };
        changer.run()
    });
    let roaming = [(alder, "alder"), (birch, "birch")].into_iter().zip(10..);
    let roaming =
        roaming.map(|((asker, operator), index)| take_offers(load, asker, operator, rng(index)));
    tokio::join!(
        join_all(changing),
        join_all(roaming),
        hand_over(load, owner, rng(20)),
        forbidden(load, (alder, auditor), rng(30))
    );
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.ends.load(Ordering::Relaxed)
    }

    fn number(&self) -> u64 {
        FIRST + self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes down what was answered.
    fn note(&self, key: &str, number: Option<u64>, answer: &Answer) {
        let counted = match answer {
            Answer::Refused { .. } => &self.refused,
            Answer::Nobody => &self.unheard,
            Answer::Done { .. } | Answer::Unknown(_) => {
                let is_known = matches!(answer, Answer::Done { .. });
                return self.asked.lock().unwrap().push(Asked {
                    key: key.to_owned(),
                    number,
                    is_known,
                });
            }
        };
        counted.fetch_add(1, Ordering::Relaxed);
    }
}

async fn pause(rng: &mut Rng) {
    tokio::time::sleep(Duration::from_millis(rng.u64(PAUSES))).await;
}

/// Where the API has a key.
fn path(key: &str) -> String {
    let (kind, name) = key.split_once('/').unwrap();
    format!("{kind}s/{name}")
}

/// Somebody who changes some objects.
struct Changer<'l> {
    load: &'l Load,
    asker: &'l Asker,
    keys: Vec<String>,
    rng: Rng,
}

impl Changer<'_> {
    async fn run(mut self) {
        while self.load.goes_on() {
            pause(&mut self.rng).await;
            let key = self.keys[self.rng.usize(..self.keys.len())].clone();
            let condition = match self.asker.get(self.rng.usize(..3), &path(&key)).await {
                Answer::Done { tag: Some(tag), .. } => If::Tag(tag),
                Answer::Refused { status: 404, .. } => If::Absent,
                _ => continue,
            };
            let goes = key.starts_with("attachment/")
                && matches!(condition, If::Tag(_))
                && self.rng.u32(..4) == 0;
            let number = (!goes).then(|| self.load.number());
            let (method, body) = match number {
                None => (Method::DELETE, None),
                Some(number) => (Method::PUT, Some(json!({ "spec": self.spec(&key, number) }))),
            };
            let answer =
                self.asker.ask(self.rng.usize(..3), (method, &path(&key)), &condition, body).await;
            self.load.note(&key, number, &answer);
        }
    }

    fn spec(&mut self, key: &str, number: u64) -> Value {
        match key.split('/').collect::<Vec<_>>()[..] {
            ["segment", ..] => json!({ "service": "lan", "ageing": number }),
            ["operator", name] => {
                let first = if name == "alder" { 100 } else { 200 };
                let ceiling = json!({ "storm": { "broadcast": null } });
                json!({ "vnis": [[first, first + 99]], "quota": { "macs": number }, "ceiling": ceiling })
            }
            ["attachment", operator, name] => {
                let port = if operator == "alder" { "p0" } else { "p1" };
                let edge = &name[1..];
                // Mostly where the other one is, too.
                let segment = if self.rng.u32(..5) == 0 { "s1" } else { "s0" };
                let encap = match name.starts_with('e') {
                    true => "untagged".to_owned(),
                    false => format!("dot1q {}", self.rng.u32(10..4000)),
                };
                json!({
                    "segment": segment, "port": format!("edge{edge}/{port}"), "encap": encap, "storm": storm(number)
                })
            }
            _ => panic!("{key}"),
        }
    }
}

fn storm(number: u64) -> Value {
    json!({ "broadcast": number })
}

/// An operator takes each server that it is offered, and attaches it.
async fn take_offers(load: &Load, asker: &Asker, operator: &str, mut rng: Rng) {
    let key = format!("attachment/{operator}/roam");
    while load.goes_on() {
        pause(&mut rng).await;
        let Answer::Done { json, .. } = asker.get(rng.usize(..3), "leases?limit=1000").await else {
            continue;
        };
        for lease in json["items"].as_array().into_iter().flatten() {
            if lease["status"]["state"] == "offered" && lease["status"]["accepted"] != true {
                let path = format!("leases/{}/accept", lease["name"].as_str().unwrap());
                let _ = asker.ask(rng.usize(..3), (Method::POST, &path), &If::Any, None).await;
            }
        }
        if !matches!(
            asker.get(rng.usize(..3), &path(&key)).await,
            Answer::Refused { status: 404, .. }
        ) {
            continue;
        }
        let number = load.number();
        let spec = json!({"segment": "s0", "port": "edge1/p2", "encap": "untagged", "storm": storm(number)});
        let body = Some(json!({ "spec": spec }));
        let answer = asker.ask(rng.usize(..3), (Method::PUT, &path(&key)), &If::Absent, body).await;
        load.note(&key, Some(number), &answer);
    }
}

/// The owner lets a server go from one operator to the other and back, and ends each quarantine.
async fn hand_over(load: &Load, owner: &Asker, mut rng: Rng) {
    let mut last = tokio::time::Instant::now();
    while load.goes_on() {
        pause(&mut rng).await;
        let Answer::Done { json, .. } =
            owner.get(rng.usize(..3), "leases?server=roam&limit=1000").await
        else {
            continue;
        };
        let leases: Vec<&Value> = json["items"].as_array().unwrap().iter().collect();
        let name = |lease: &Value| lease["name"].as_str().unwrap().to_owned();
        for lease in leases.iter().filter(|lease| lease["status"]["state"] == "quarantined") {
            let path = format!("leases/{}/confirm", name(lease));
            let _ = owner.ask(rng.usize(..3), (Method::POST, &path), &If::Any, None).await;
        }
        for lease in leases.iter().filter(|lease| lease["status"]["state"] == "released") {
            let path = format!("leases/{}", name(lease));
            let _ = owner.ask(rng.usize(..3), (Method::DELETE, &path), &If::Any, None).await;
        }
        let holder = leases
            .iter()
            .find(|lease| lease["status"]["state"] == "active")
            .map(|lease| name(lease));
        let Some(holder) = holder.filter(|_| last.elapsed() > TRANSFER) else { continue };
        last = tokio::time::Instant::now();
        let to = if holder.starts_with("alder") { "birch" } else { "alder" };
        let body = Some(json!({ "to": format!("lease/{to}/r{}", load.number()) }));
        let answer = owner
            .ask(rng.usize(..3), (Method::POST, "servers/roam/transfer"), &If::Any, body)
            .await;
        if matches!(answer, Answer::Done { .. } | Answer::Unknown(_)) {
            load.transfers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What must never be done, whatever else happens.
async fn forbidden(load: &Load, (alder, auditor): (&Asker, &Asker), mut rng: Rng) {
    while load.goes_on() {
        tokio::time::sleep(Duration::from_millis(rng.u64(300..1500))).await;
        let number = load.number();
        let stolen = json!({"segment": "s0", "port": "edge1/p1", "encap": "dot1q 9", "storm": storm(number)});
        let lan = json!({"service": "lan"});
        let all = [
            (alder, Method::PUT, "attachments/alder/stolen", Some(stolen)),
            (alder, Method::PUT, "segments/birch/s0", Some(lan.clone())),
            (alder, Method::GET, "segments/birch/s0", None),
            (auditor, Method::PUT, "segments/birch/s9", Some(lan)),
            (auditor, Method::DELETE, "attachments/birch/e1", None),
        ];
        for (asker, method, path, spec) in all {
            let body = spec.map(|spec| json!({ "spec": spec }));
            if let Answer::Done { json, .. } =
                asker.ask(rng.usize(..3), (method.clone(), path), &If::Any, body).await
            {
                load.wrong.lock().unwrap().push(format!("{method} {path}: {json}"));
            }
        }
        let Answer::Done { json, .. } = auditor.get(rng.usize(..3), "operators").await else {
            continue;
        };
        if json["items"].as_array().is_none_or(|all| all.len() != 2) {
            load.wrong.lock().unwrap().push(format!("an auditor sees {json}"));
        }
    }
}
