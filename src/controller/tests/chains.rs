//! What is planned while other commits are on their way.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Semaphore;

use super::*;
use crate::{
    audit::{CHECKPOINT_KEY, TREE_KEY, Tree, of_store, verify},
    store::{Batch, Snapshot, Write},
};

/// A real store that makes a chain of commits when it is let.
struct Gated {
    store: Arc<Embedded>,
    lets: Semaphore,
    chains: AtomicUsize,
    /// The objects that each chain writes.
    objects: Mutex<Vec<Vec<String>>>,
}

impl Gated {
    fn new(store: &Arc<Embedded>) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(store),
            lets: Semaphore::new(0),
            chains: AtomicUsize::new(0),
            objects: Mutex::default(),
        })
    }

    /// Returns when so many chains have come to it.
    async fn has(&self, chains: usize) {
        while self.chains.load(Ordering::SeqCst) < chains {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Store for Gated {
    async fn snapshot_without(&self, prefix: &str) -> Result<Snapshot, StoreError> {
        self.store.snapshot_without(prefix).await
    }

    async fn version(&self) -> Result<Version, StoreError> {
        self.store.version().await
    }

    async fn commit_all(&self, chain: Vec<Commit>) -> (usize, Option<StoreError>) {
        let keys = chain.iter().flat_map(|commit| &commit.writes).map(|(key, _)| key.clone());
        let objects = keys.filter(|key| key.parse::<Key>().is_ok()).collect();
        self.objects.lock().unwrap().push(objects);
        self.chains.fetch_add(1, Ordering::SeqCst);
        self.lets.acquire().await.unwrap().forget();
        self.store.commit_all(chain).await
    }

    fn is_one_process(&self) -> bool {
        self.store.is_one_process()
    }

    async fn after(&self, version: Version) -> Result<Vec<Batch>, StoreError> {
        self.store.after(version).await
    }

    async fn lead(
        &self,
        name: &str,
        holder: &str,
        time: Duration,
    ) -> Result<Option<Leadership>, StoreError> {
        self.store.lead(name, holder, time).await
    }

    async fn resign(&self, held: Leadership) -> Result<(), StoreError> {
        self.store.resign(held).await
    }

    async fn compact(&self, until: Version) -> Result<(), StoreError> {
        self.store.compact(until).await
    }
}

/// Nothing but what is submitted.
fn quiet(name: &str) -> Settings {
    Settings { tick: Duration::from_secs(3600), lead: Duration::from_secs(3600), ..settings(name) }
}

fn submit<S: Store + 'static>(
    controller: &Controller<S>,
    changes: Vec<Change>,
) -> tokio::task::JoinHandle<Result<Committed, SubmitError>> {
    let controller = controller.clone();
    tokio::spawn(async move { controller.submit(request(changes)).await })
}

#[tokio::test]
async fn what_was_planned_on_a_chain_that_is_not_made_is_planned_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let two = Controller::open(Arc::clone(&store), quiet("two")).await.unwrap();
    let gated = Gated::new(&store);
    let one = Controller::open(Arc::clone(&gated), quiet("one")).await.unwrap();
    let first = submit(&one, vec![operator("alder", 100)]);
    gated.has(1).await;
    // These rest on the first, and are planned before it is made.
    let rest: Vec<_> =
        ["a", "b"].map(|name| submit(&one, vec![segment(&format!("alder/{name}"))])).into();
    tokio::task::yield_now().await;
    two.submit(request(vec![operator("birch", 200)])).await.unwrap();
    gated.lets.add_permits(100);

    assert_eq!(first.await.unwrap().unwrap().revision, Revision(2));
    for one in rest {
        assert!(one.await.unwrap().unwrap().revision > Revision(2));
    }
    let last = Revision(4);
    two.inner.now.clone().wait_for(|now| now.state.revision() == last).await.unwrap();
    assert!(one.state().objects().eq(two.state().objects()));
    assert_eq!(commits(&one, Revision(0), last).await, commits(&two, Revision(0), last).await);
}

/// A transaction of so many profiles.
fn profiles(operator: &str, from: usize, count: usize) -> Request {
    let profile = |number| {
        let key = format!("profile/{operator}/p{number}");
        put(&key, r#"{"kind":"profile","spec":{"cir":"1 Mbit/s"}}"#, Expect::Any)
    };
    let changes = (from..from + count).map(profile).collect();
    Request { who: Actor::Operator(operator.parse().unwrap()), changes, dry_run: false }
}

#[tokio::test]
async fn who_floods_has_one_share_on_its_way_and_who_asks_for_little_waits_for_no_second_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let gated = Gated::new(&store);
    let one = Controller::open(Arc::clone(&gated), quiet("one")).await.unwrap();
    gated.lets.add_permits(1);
    one.submit(request(vec![operator("alder", 100), operator("birch", 200)])).await.unwrap();
    let ask = |request| {
        let one = one.clone();
        tokio::spawn(async move { one.submit(request).await })
    };
    let flood: Vec<_> = (0..3).map(|index| ask(profiles("alder", index * 60, 60))).collect();
    // Two are within the share, and nobody can know whether both have come when the first is
    // written.
    gated.has(2).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let small = ask(profiles("birch", 0, 1));
    tokio::time::sleep(Duration::from_millis(100)).await;
    gated.lets.add_permits(1);
    gated.has(3).await;
    let chain = |index: usize| gated.objects.lock().unwrap()[index].clone();
    let of = |chain: Vec<String>, operator: &str| {
        chain.iter().filter(|key| key.starts_with(&format!("profile/{operator}/"))).count()
    };
    assert_eq!(of(chain(2), "birch"), 1, "birch's is in the chain that comes next");
    assert!(of(chain(1), "alder") + of(chain(2), "alder") <= 128, "two chains have one share");
    gated.lets.add_permits(100);
    small.await.unwrap().unwrap();
    for one in flood {
        one.await.unwrap().unwrap();
    }
    // As long as nobody else asks, all is made: however much it is.
    assert_eq!(one.state().of_kind(Kind::Profile).count(), 181);
}

#[tokio::test]
async fn all_that_comes_while_a_chain_is_made_is_the_next_one_and_signed_once() {
    let dir = tempfile::tempdir().unwrap();
    let (store, signer) = (store(dir.path()), Arc::new(Signer::generate("north").unwrap()));
    let gated = Gated::new(&store);
    let signing = Settings { audit: Some(Arc::clone(&signer)), ..quiet("one") };
    let one = Controller::open(Arc::clone(&gated), signing).await.unwrap();
    let all = (1..=20).map(|n| submit(&one, vec![operator(&format!("o{n}"), n * 100)]));
    let all: Vec<_> = all.collect();
    gated.has(1).await;
    // All have asked when each has had its turn.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(one.state().revision(), Revision(0), "nobody sees what is not in the store");
    assert!(all.iter().all(|one| !one.is_finished()), "nobody is answered before it is");
    gated.lets.add_permits(2);
    for one in all {
        one.await.unwrap().unwrap();
    }
    assert_eq!((one.state().revision(), gated.chains.load(Ordering::SeqCst)), (Revision(20), 2));

    let batches = store.after(Version(0)).await.unwrap();
    let writes = |of: &str| {
        let is_it = |(key, _): &&Write| key == of;
        batches.iter().filter(|batch| batch.writes.iter().any(|write| is_it(&write))).count()
    };
    assert_eq!((writes(CHECKPOINT_KEY), writes(TREE_KEY)), (2, 2));
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(verify(&of_store(&snapshot).unwrap(), &signer.verifier(), &[]), []);

    // Who opens it then goes on behind the last entry.
    one.close().await;
    let again = Controller::open(
        Arc::clone(&store),
        Settings { audit: Some(signer.clone()), ..quiet("two") },
    );
    again.await.unwrap().submit(request(vec![operator("last", 9000)])).await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    let tree: Tree = crate::audit::restore(
        snapshot.entries.iter().find(|(key, _)| key == TREE_KEY).map(|(_, value)| &value[..]),
    )
    .unwrap();
    assert_eq!(tree.size(), 21);
    assert_eq!(verify(&of_store(&snapshot).unwrap(), &signer.verifier(), &[]), []);
}
