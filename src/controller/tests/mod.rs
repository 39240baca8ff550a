//! The controller on a real embedded store.

mod chains;

use std::path::Path;

use super::*;
use crate::{
    fabric::{Expect, Key, Kind, LeaseState, LeaseStep, Owned, Rule},
    store::{Commit, Embedded, Existing},
};

fn settings(name: &str) -> Settings {
    Settings { name: name.to_owned(), tick: Duration::from_millis(20), ..Settings::default() }
}

fn store(dir: &Path) -> Arc<Embedded> {
    Arc::new(Embedded::open(&dir.join("store.db")).unwrap())
}

async fn controller(store: &Arc<Embedded>, name: &str) -> Controller<Arc<Embedded>> {
    Controller::open(Arc::clone(store), settings(name)).await.unwrap()
}

fn put(key: &str, spec: &str, expect: Expect) -> Change {
    Change::Put(key.parse().unwrap(), serde_json::from_str(spec).unwrap(), expect)
}

fn request(changes: Vec<Change>) -> Request {
    Request { who: Actor::Owner, changes, dry_run: false }
}

fn operator(name: &str, first: u32) -> Change {
    let spec = format!(r#"{{"kind":"operator","spec":{{"vnis":[[{first},{}]]}}}}"#, first + 39);
    put(&format!("operator/{name}"), &spec, Expect::Any)
}

fn segment(key: &str) -> Change {
    put(&format!("segment/{key}"), r#"{"kind":"segment","spec":{"service":"lan"}}"#, Expect::Absent)
}

async fn commits<S>(
    controller: &Controller<S>,
    after: Revision,
    until: Revision,
) -> Vec<Arc<Committed>>
where
    S: Store + 'static,
{
    let mut all = Vec::new();
    let mut stream = controller.watch(after).unwrap();
    let mut at = after;
    while at < until {
        let commit = futures::StreamExt::next(&mut stream).await.unwrap();
        at = commit.revision;
        all.push(commit);
    }
    all
}

#[tokio::test]
async fn what_is_submitted_is_there_after_a_restart_and_so_is_who_did_it() {
    let dir = tempfile::tempdir().unwrap();
    let one = controller(&store(dir.path()), "one").await;
    one.submit(request(vec![operator("alder", 100)])).await.unwrap();
    let last = one.submit(request(vec![segment("alder/lan")])).await.unwrap();
    assert_eq!(last.revision, Revision(2));
    let (state, seen) = (one.state(), commits(&one, Revision(0), last.revision).await);
    one.close().await;
    drop(one);

    let two = controller(&store(dir.path()), "two").await;
    assert!(two.state().objects().eq(state.objects()));
    assert_eq!(two.state().revision(), last.revision);
    assert_eq!(commits(&two, Revision(0), last.revision).await, seen);
    assert_eq!(*seen[1], last);
}

#[tokio::test]
async fn two_controllers_on_one_store_lose_nothing_and_break_no_rule() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let (one, two) = (controller(&store, "one").await, controller(&store, "two").await);
    one.submit(request(vec![operator("alder", 100)])).await.unwrap();

    // 60 segments want 40 VNIs, through either controller at once.
    let tasks = (0..60).map(|number| {
        let controller = if number % 2 == 0 { one.clone() } else { two.clone() };
        tokio::spawn(async move {
            controller.submit(request(vec![segment(&format!("alder/s{number}"))])).await
        })
    });
    let mut made = 0;
    for task in tasks.collect::<Vec<_>>() {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            Err(SubmitError::Refused(refused)) => {
                assert!(matches!(refused.rule, Rule::Vni | Rule::Quota), "{refused}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(made, 40);
    let last = Revision(41);
    let (by_one, by_two) =
        (commits(&one, Revision(0), last).await, commits(&two, Revision(0), last).await);
    assert_eq!(by_one, by_two);
    assert!(one.state().objects().eq(two.state().objects()));
    assert!(by_one.iter().map(|commit| commit.revision.0).eq(1..=41));
    assert_eq!(one.state().of_kind(Kind::Segment).count(), 40);
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let controller = controller(&store(dir.path()), "one").await;
    let dry = |changes| Request { dry_run: true, ..request(changes) };
    let would =
        controller.submit(dry(vec![operator("alder", 100), segment("alder/lan")])).await.unwrap();
    assert_eq!((would.revision, would.events.len()), (Revision(1), 2));
    let refused = controller.submit(dry(vec![segment("birch/lan")])).await.unwrap_err();
    assert!(matches!(refused, SubmitError::Refused(refused) if refused.rule == Rule::Vni));
    assert_eq!(controller.state().revision(), Revision(0));
    assert_eq!(controller.store().snapshot().await.unwrap().entries, []);
}

#[tokio::test]
async fn what_is_asked_again_is_no_commit() {
    let dir = tempfile::tempdir().unwrap();
    let controller = controller(&store(dir.path()), "one").await;
    let first = controller.submit(request(vec![operator("alder", 100)])).await.unwrap();
    let again = controller.submit(request(vec![operator("alder", 100)])).await.unwrap();
    assert_eq!((again.revision, again.events.len()), (first.revision, 0));
    assert_eq!(controller.store().snapshot().await.unwrap().version, Version(1));
}

#[tokio::test]
async fn a_watch_goes_on_from_a_revision_and_says_when_it_cannot() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let few = Settings { history: 3, ..settings("few") };
    let controller = Controller::open(Arc::clone(&store), few).await.unwrap();
    let mut slow = controller.watch(Revision(0)).unwrap();
    for number in 1..=6 {
        controller
            .submit(request(vec![operator(&format!("o{number}"), number * 100)]))
            .await
            .unwrap();
    }
    let seen = commits(&controller, Revision(3), Revision(6)).await;
    assert!(seen.iter().map(|commit| commit.revision.0).eq(4..=6));
    let error = controller.watch(Revision(2)).map(drop).unwrap_err();
    assert_eq!(error, Compacted { asked: Revision(2), first: Revision(3), last: Revision(6) });
    assert!(controller.watch(Revision(7)).is_err());
    // Who was too slow is told by the end, and not by a gap.
    assert!(futures::StreamExt::next(&mut slow).await.is_none());
    let mut open = controller.watch(Revision(6)).unwrap();
    controller.close().await;
    assert!(futures::StreamExt::next(&mut open).await.is_none());
    assert!(matches!(controller.submit(request(vec![])).await, Err(SubmitError::Closed)));
}

async fn write(store: &Embedded, key: &str, value: &str) {
    let expected = store.snapshot().await.unwrap().version;
    let writes = vec![(key.to_owned(), Some(value.to_owned()))];
    store.commit(Commit { expected, held: None, writes }).await.unwrap();
}

#[tokio::test]
async fn what_another_hand_wrote_is_said_and_not_followed() {
    let lan = r#"{"revision":0,"conditions":{},"kind":"segment","spec":{"service":"lan"},"vni":7}"#;
    let cases = [
        ("segment/alder/lan", "{\"revision\":1,\"condi", "segment/alder/lan"),
        ("segment/alder/lan", "nonsense", "segment/alder/lan"),
        ("some key", "{}", "some key"),
        (RECORD, "{}", "meta/commit"),
        ("segment/alder/lan", lan, "meta/commit"),
    ];
    for (key, value, named) in cases {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let running = controller(&store, "running").await;
        write(&store, key, value).await;
        let error =
            Controller::open(Arc::clone(&store), settings("new")).await.unwrap_err().to_string();
        assert!(error.contains(named) && error.contains("at version 1"), "{error}");
        let mut now = running.inner.now.clone();
        now.wait_for(|now| now.broken.is_some()).await.unwrap();
        let refused = running.submit(request(vec![operator("alder", 100)])).await.unwrap_err();
        assert!(
            matches!(&refused, SubmitError::Broken(error) if error.to_string().contains(named)),
            "{refused}"
        );
        assert!(running.health().is_err());
        // Another one shall lead.
        running.lead().wait_for(Option::is_none).await.unwrap();
    }
}

#[tokio::test]
async fn a_store_whose_objects_break_a_rule_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let one = controller(&store, "one").await;
    one.submit(request(vec![operator("alder", 100), segment("alder/lan")])).await.unwrap();
    one.close().await;
    let snapshot = store.snapshot().await.unwrap();
    let breaks: [(&str, &str, &str, &str); 4] = [
        ("operator/alder", "[[100,139]]", "[[300,399]]", "is none of alder's"),
        ("segment/alder/lan", "\"revision\":1", "\"revision\":9", "of revision 9"),
        ("segment/alder/lan", "\"mtu\":1500", "\"mtu\":15", "mtu"),
        ("operator/alder", "", "", "refers to operator/alder"),
    ];
    for (index, (key, from, to, what)) in breaks.into_iter().enumerate() {
        let mut broken = snapshot.clone();
        for (at, value) in &mut broken.entries {
            if at == key {
                assert!(value.contains(from), "{value}");
                *value = value.replacen(from, to, 1);
            }
        }
        broken.entries.retain(|(at, _)| !(at == key && from.is_empty()));
        let store =
            Embedded::import(&dir.path().join(format!("{index}.db")), &broken, Existing::Refuse)
                .unwrap();
        let error = Controller::open(store, settings("new")).await.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[tokio::test]
async fn one_leads_and_lets_time_pass_and_the_next_has_a_larger_term() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let one = controller(&store, "one").await;
    let mut leads = one.lead();
    let term =
        leads.wait_for(Option::is_some).await.unwrap().as_ref().map(LeaderTerm::term).unwrap();
    let two = controller(&store, "two").await;
    assert!(two.lead().borrow().is_none());
    let site = [
        ("node/edge1", r#"{"kind":"node","spec":{}}"#),
        ("port/edge1/p1", r#"{"kind":"port","spec":{"role":"access"}}"#),
        ("server/s1", r#"{"kind":"server","spec":{"ports":["edge1/p1"]}}"#),
    ];
    let mut changes: Vec<_> = site.iter().map(|(key, spec)| put(key, spec, Expect::Any)).collect();
    let until = Timestamp::now().checked_add(jiff::SignedDuration::from_millis(300)).unwrap();
    let lease = Owned { operator: "alder".parse().unwrap(), name: "l1".parse().unwrap() };
    let spec =
        format!(r#"{{"kind":"lease","spec":{{"server":"s1","until":"{until}","quarantine":0}}}}"#);
    changes.extend([
        operator("alder", 100),
        put("lease/alder/l1", &spec, Expect::Any),
        Change::Lease(lease.clone(), LeaseStep::Accept),
    ]);
    let made = two.submit(request(changes)).await.unwrap();
    let mut now = two.inner.now.clone();
    let released = |now: &Now| {
        let object = now.state.get(&Key::Lease(lease.clone())).cloned();
        matches!(object.map(|object| object.body.clone()), Some(crate::fabric::Body::Lease(lease)) if lease.state == LeaseState::Released)
    };
    let last = now.wait_for(released).await.unwrap().state.revision();
    let by_time = commits(&two, made.revision, last).await;
    assert!(by_time.iter().all(|commit| commit.who == Actor::Controller && commit.when >= until));

    one.close().await;
    let mut leads = two.lead();
    let next =
        leads.wait_for(Option::is_some).await.unwrap().as_ref().map(LeaderTerm::term).unwrap();
    assert!(next > term);
}

#[tokio::test]
async fn what_a_deposed_leader_asks_is_not_done() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let one = controller(&store, "one").await;
    let held = Leadership { name: "controller".to_owned(), holder: "somebody".to_owned(), term: 0 };
    let pending = ask(&one.inner.requests, request(vec![operator("alder", 100)]), Some(held));
    let others =
        (0..20).map(|n| one.submit(request(vec![operator(&format!("o{n}"), 1000 + n * 100)])));
    let (deposed, others) = futures::join!(pending, futures::future::join_all(others));
    assert!(matches!(deposed, Err(SubmitError::Deposed)));
    assert!(others.into_iter().all(|other| other.is_ok()));
    assert!(one.state().get(&"operator/alder".parse().unwrap()).is_none());
    assert_eq!(one.state().revision(), Revision(20));
}

/// On trial by the owner.
fn on_trial(changes: Vec<Change>, seconds: u32) -> Request {
    request([changes, vec![Change::Trial { of: None, seconds }]].concat())
}

fn trial(state: &State) -> Option<&Arc<crate::fabric::Object>> {
    state.get(&Key::Trial(None))
}

#[tokio::test]
async fn what_is_on_trial_is_taken_back_though_who_led_when_it_was_asked_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let (one, two) = (controller(&store, "one").await, controller(&store, "two").await);
    one.submit(request(vec![operator("alder", 100)])).await.unwrap();
    let made =
        one.submit(on_trial(vec![operator("alder", 200), segment("alder/lan")], 1)).await.unwrap();
    assert!(made.events.iter().any(|event| event.key == Key::Trial(None)));
    one.close().await;
    let mut now = two.inner.now.clone();
    let last =
        now.wait_for(|now| now.state.revision() > made.revision).await.unwrap().state.clone();
    let back = commits(&two, made.revision, last.revision()).await.remove(0);
    assert_eq!(back.who, Actor::Controller);
    let deadline = made.when.checked_add(jiff::SignedDuration::from_secs(1)).unwrap();
    assert!(back.when >= deadline, "{back:?}");
    assert!(trial(&last).is_none() && last.of_kind(Kind::Segment).next().is_none());
    let alder = last.get(&"operator/alder".parse().unwrap()).unwrap();
    assert!(serde_json::to_string(&alder.body).unwrap().contains("[[100,139]]"));
}

#[tokio::test]
async fn what_can_not_be_taken_back_yet_says_why_and_is_taken_back_once_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let controller = controller(&store(dir.path()), "one").await;
    controller.submit(on_trial(vec![operator("alder", 100)], 1)).await.unwrap();
    let used = controller.submit(request(vec![segment("alder/lan")])).await.unwrap();
    let mut now = controller.inner.now.clone();
    let why = |now: &Now| {
        trial(&now.state).is_some_and(|trial| {
            !trial.conditions.is_empty()
                && trial
                    .conditions
                    .values()
                    .any(|condition| condition.why.contains("in use by segment/alder/lan"))
        })
    };
    now.wait_for(why).await.unwrap();
    // It is tried again all the time, and said once.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(controller.state().revision(), Revision(used.revision.0 + 1));
    let delete = Change::Delete("segment/alder/lan".parse().unwrap(), Expect::Any);
    controller.submit(request(vec![delete])).await.unwrap();
    now.wait_for(|now| trial(&now.state).is_none()).await.unwrap();
    assert_eq!(controller.state().objects().count(), 0);
}
