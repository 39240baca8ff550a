//! What a controller writes into the audit log.

use std::{path::Path, sync::Arc, time::Duration};

use sillon::{
    audit::{Decision, Entry, Export, Finding, Leaf, Signer, of_store, verify},
    controller::{Controller, Request, Settings, SubmitError},
    fabric::{Actor, Change, Expect, LeaseStep, Owned},
    store::{Embedded, Store},
};

const NAME: &str = "north.example/audit";

struct Site {
    dir: tempfile::TempDir,
    signer: Arc<Signer>,
}

fn put(key: &str, spec: &str) -> Change {
    let kind = key.split('/').next().unwrap();
    let spec = format!(r#"{{"kind":"{kind}","spec":{spec}}}"#);
    Change::Put(key.parse().unwrap(), serde_json::from_str(&spec).unwrap(), Expect::Any)
}

fn owned(operator: &str, name: &str) -> Owned {
    Owned { operator: operator.parse().unwrap(), name: name.parse().unwrap() }
}

fn by(who: &str, changes: Vec<Change>) -> Request {
    let who = if who == "owner" { Actor::Owner } else { Actor::Operator(who.parse().unwrap()) };
    Request { who, changes, dry_run: false }
}

impl Site {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            signer: Arc::new(Signer::generate(NAME).unwrap()),
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn settings(&self) -> Settings {
        // Time does not pass by itself, but for who asks for it.
        Settings {
            audit: Some(Arc::clone(&self.signer)),
            tick: Duration::from_secs(3600),
            ..Settings::default()
        }
    }

    async fn controller(&self) -> Controller<Embedded> {
        let store = Embedded::open(&self.path().join("fabric.db")).unwrap();
        Controller::open(store, self.settings()).await.unwrap()
    }

    async fn export(&self, store: &impl Store) -> Export {
        of_store(&store.snapshot().await.unwrap()).unwrap()
    }

    /// All entries of a log with which nothing is wrong.
    async fn entries(&self, store: &impl Store) -> Vec<Entry> {
        let export = self.export(store).await;
        assert_eq!(verify(&export, &self.signer.verifier(), &[]), []);
        export
            .items
            .iter()
            .map(|(_, item)| item.leaf().unwrap().map(|leaf: Leaf| leaf.entry).unwrap())
            .collect()
    }
}

/// Two operators, and a server that alder rents.
fn fabric() -> Vec<Change> {
    vec![
        put("operator/alder", r#"{"vnis":[[100,139]]}"#),
        put("operator/birch", r#"{"vnis":[[200,239]]}"#),
        put("node/edge1", "{}"),
        put("port/edge1/p1", r#"{"role":"access"}"#),
        put("server/s1", r#"{"ports":["edge1/p1"]}"#),
        put("lease/alder/l1", r#"{"server":"s1","quarantine":0}"#),
        Change::Lease(owned("alder", "l1"), LeaseStep::Accept),
        put("segment/alder/lan", r#"{"service":"lan"}"#),
    ]
}

fn whose(entry: &Entry) -> &str {
    entry.operator.as_ref().map_or("owner", |operator| operator.as_str())
}

fn keys(entry: &Entry) -> Vec<&str> {
    entry.objects.iter().map(|touched| touched.key.as_str()).collect()
}

#[tokio::test]
async fn a_change_and_its_entries_are_one_commit_and_the_log_goes_on_after_a_restart() {
    let site = Site::new();
    let controller = site.controller().await;
    controller.submit(by("owner", fabric())).await.unwrap();
    let store = Arc::clone(controller.store());
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.version.0, 1);
    let entries = site.entries(&*store).await;
    assert_eq!(entries.iter().map(whose).collect::<Vec<_>>(), ["owner", "alder", "birch"]);
    assert_eq!(keys(&entries[1]), ["operator/alder", "lease/alder/l1", "segment/alder/lan"]);
    assert!(
        entries.iter().all(
            |entry| matches!(entry.decision, Decision::Accepted { revision } if revision.0 == 1)
        )
    );
    let kept = site.signer.verifier().open(&site.export(&*store).await.checkpoint).unwrap();
    controller.close().await;
    drop((controller, store));

    let controller = site.controller().await;
    let store = Arc::clone(controller.store());
    controller
        .submit(by("alder", vec![put("segment/alder/wan", r#"{"service":"lan"}"#)]))
        .await
        .unwrap();
    let entries = site.entries(&*store).await;
    assert_eq!((entries.len(), entries[3].who.to_string().as_str()), (4, "operator/alder"));
    assert_eq!((entries[3].objects[0].before.is_null(), entries[3].asked.len()), (true, 1));
    assert_eq!(verify(&site.export(&*store).await, &site.signer.verifier(), &[kept]), []);
}

#[tokio::test]
async fn what_agents_report_is_no_entry_but_what_comes_of_it_is() {
    let site = Site::new();
    let controller = site.controller().await;
    controller.submit(by("owner", fabric())).await.unwrap();
    let before = site.entries(&**controller.store()).await.len();
    let report = |applied| {
        let text = format!(
            r#"{{"report":{{"node":"edge1","applied":{applied},"drift":"a map has more than it should"}}}}"#
        );
        let changes = vec![serde_json::from_str(&text).unwrap()];
        Request { who: Actor::Node("edge1".parse().unwrap()), changes, dry_run: false }
    };
    let reported = controller.submit(report(1)).await.unwrap();
    assert!(!reported.events.is_empty());
    assert_eq!(site.entries(&**controller.store()).await.len(), before);

    // The server goes to birch once the node has confirmed.
    let attachment =
        put("attachment/alder/a", r#"{"segment":"lan","port":"edge1/p1","encap":"untagged"}"#);
    controller.submit(by("alder", vec![attachment])).await.unwrap();
    let transfer = Change::Transfer { server: "s1".parse().unwrap(), to: owned("birch", "l2") };
    let transferred = controller.submit(by("owner", vec![transfer])).await.unwrap();
    let before = site.entries(&**controller.store()).await.len();
    controller.submit(report(transferred.revision.0)).await.unwrap();
    let entries = site.entries(&**controller.store()).await;
    let new: Vec<_> = entries[before..]
        .iter()
        .map(|entry| (entry.who.to_string(), keys(entry).join(" ")))
        .collect();
    assert_eq!(new, [("node/edge1".to_owned(), "lease/alder/l1".to_owned())]);
}

#[tokio::test]
async fn nobody_reads_in_its_entries_who_else_was_concerned() {
    let site = Site::new();
    let controller = site.controller().await;
    controller.submit(by("owner", fabric())).await.unwrap();
    let transfer = Change::Transfer { server: "s1".parse().unwrap(), to: owned("birch", "l2") };
    controller.submit(by("owner", vec![transfer])).await.unwrap();
    let entries = site.entries(&**controller.store()).await;
    assert!(entries.len() >= 5);
    for (one, other) in [("alder", "birch"), ("birch", "alder")] {
        let own: Vec<_> = entries.iter().filter(|entry| whose(entry) == one).collect();
        assert!(own.len() >= 2, "{one}");
        for entry in own {
            assert!(!serde_json::to_string(entry).unwrap().contains(other), "{entry:?}");
        }
    }
}

#[tokio::test]
async fn what_is_refused_is_written_down_until_there_is_too_much_of_it() {
    let site = Site::new();
    let controller = site.controller().await;
    controller.submit(by("owner", fabric())).await.unwrap();
    let store = Arc::clone(controller.store());
    let wrong = || by("alder", vec![put("segment/alder/big", r#"{"service":"lan","vni":4711}"#)]);
    let mut state = controller.state();
    for _ in 0..100 {
        let refused = controller.submit(wrong()).await.unwrap_err();
        assert!(matches!(refused, SubmitError::Refused(_)), "{refused}");
    }
    let entries = site.entries(&*store).await;
    let refusals = |entries: &[Entry]| -> Vec<(String, u64)> {
        let all = entries.iter().filter_map(|entry| match &entry.decision {
            Decision::Refused { besides, .. } => Some((whose(entry).to_owned(), *besides)),
            Decision::Accepted { .. } => None,
        });
        all.collect()
    };
    let written = refusals(&entries).len();
    assert!((30..40).contains(&written), "{written}");
    assert!(refusals(&entries).iter().all(|(who, _)| who == "alder"));

    // Another one is heard all the same, and a try is not written down.
    controller
        .submit(by("birch", vec![put("segment/birch/big", r#"{"service":"lan","vni":4711}"#)]))
        .await
        .unwrap_err();
    controller.submit(Request { dry_run: true, ..wrong() }).await.unwrap_err();
    let entries = site.entries(&*store).await;
    assert_eq!(refusals(&entries).last(), Some(&("birch".to_owned(), 0)));
    assert_eq!(refusals(&entries).len(), written + 1);

    // A refusal is a revision, and changes no object.
    let after = controller.state();
    assert!(after.objects().eq(state.objects()));
    assert_eq!(after.revision().0, 1 + written as u64 + 1);
    controller
        .submit(by("alder", vec![put("segment/alder/wan", r#"{"service":"lan"}"#)]))
        .await
        .unwrap();
    state = controller.state();
    controller.close().await;
    drop((controller, store));
    assert!(site.controller().await.state().objects().eq(state.objects()));
}

#[tokio::test]
async fn a_request_of_a_megabyte_that_is_refused_leaves_a_short_entry() {
    let site = Site::new();
    let controller = site.controller().await;
    let changes: Vec<_> =
        (0..5000).map(|n| put(&format!("segment/alder/s{n}"), r#"{"service":"lan"}"#)).collect();
    controller.submit(by("alder", changes)).await.unwrap_err();
    let entries = site.entries(&**controller.store()).await;
    assert!(serde_json::to_string(&entries).unwrap().len() < 2000);
    assert_eq!(entries[0].asked[0]["left_out"]["changes"], 5000);
}

#[tokio::test]
async fn what_is_denied_for_lack_of_rights_is_written_down_as_the_askers() {
    let site = Site::new();
    let controller = site.controller().await;
    let changes = vec![put("segment/birch/lan", r#"{"service":"lan"}"#)];
    for who in ["operator/alder", "auditor", "node/edge1"] {
        let message = "it may not".to_owned();
        controller.deny(who.parse().unwrap(), changes.clone(), message).await.unwrap();
    }
    let entries = site.entries(&**controller.store()).await;
    let said: Vec<_> =
        entries.iter().map(|entry| (entry.who.to_string(), whose(entry).to_owned())).collect();
    let expected = [("operator/alder", "alder"), ("auditor", "owner"), ("node/edge1", "owner")];
    assert_eq!(said, expected.map(|(who, whose)| (who.to_owned(), whose.to_owned())));
    assert!(matches!(&entries[0].decision, Decision::Refused { rule, .. } if rule == "rights"));
}

#[tokio::test]
async fn two_controllers_on_one_store_write_one_log() {
    let site = Site::new();
    let store = Arc::new(Embedded::open(&site.path().join("fabric.db")).unwrap());
    let one = Controller::open(Arc::clone(&store), site.settings()).await.unwrap();
    let two = Controller::open(Arc::clone(&store), site.settings()).await.unwrap();
    one.submit(by("owner", fabric())).await.unwrap();
    let kept = site.signer.verifier().open(&site.export(&*store).await.checkpoint).unwrap();
    let tasks: Vec<_> = (0..60)
        .map(|number| {
            let controller = if number % 2 == 0 { one.clone() } else { two.clone() };
            let spec = if number % 3 == 0 {
                r#"{"service":"lan","vni":4711}"#
            } else {
                r#"{"service":"lan"}"#
            };
            let change = put(&format!("segment/birch/s{number}"), spec);
            tokio::spawn(async move { controller.submit(by("birch", vec![change])).await.is_ok() })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += usize::from(task.await.unwrap());
    }
    assert_eq!(made, 40);
    let entries = site.entries(&*store).await;
    let accepted =
        entries.iter().filter(|entry| matches!(entry.decision, Decision::Accepted { .. })).count();
    assert_eq!((accepted, entries.len()), (3 + 40, 3 + 60));
    let export = site.export(&*store).await;
    assert_eq!(verify(&export, &site.signer.verifier(), &[kept]), []);
    // It is not that nothing could be found.
    let mut cut = export.clone();
    cut.items.pop();
    let cut = verify(&cut, &site.signer.verifier(), &[]);
    assert_eq!(cut, [Finding::Truncated { entries: 62, signed: 63 }]);
}
