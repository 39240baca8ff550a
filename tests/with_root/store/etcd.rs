//! The store in etcd: the suite, against three members, and what is its own.

use std::time::Duration;

use sillon::store::{
    Commit, Etcd, EtcdOptions, Existing, Leadership, Snapshot, Store, StoreError, Version,
};
use sillon_rig::EtcdCluster;

use super::suite::{self, commit, write};

/// Does something where the cluster's clients are.
pub fn in_hub<T: Send>(cluster: &EtcdCluster, work: impl AsyncFnOnce() -> T + Send) -> T {
    let done = cluster.hub().enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(work()))
    });
    done.unwrap()
}

pub fn options(cluster: &EtcdCluster, prefix: &str) -> EtcdOptions {
    EtcdOptions { prefix: prefix.to_owned(), ..EtcdOptions::new(cluster.endpoints()) }
}

#[test]
fn the_store_in_etcd_does_what_every_store_does_and_what_is_its_own() {
    let cluster = EtcdCluster::start().unwrap();
    in_hub(&cluster, async || {
        let mut count = 0;
        suite::everything(async || {
            count += 1;
            Etcd::open(options(&cluster, &format!("suite{count}"))).await.unwrap()
        })
        .await;
        assert_eq!(count, 13);
        what_one_controller_wrote_all_see(&cluster).await;
        a_commit_whose_answer_comes_too_late_is_found_and_not_made_twice(&cluster).await;
        a_commit_of_thousands_of_writes_is_made_and_one_that_is_too_large_is_not_sent(&cluster)
            .await;
        an_import_is_whole_and_replaces_only_what_it_is_told_to(&cluster).await;
        what_another_wrote_below_the_prefix_is_said_to_be_strange(&cluster).await;
        a_store_with_no_member_says_so(&cluster).await;
    });
}

async fn what_one_controller_wrote_all_see(cluster: &EtcdCluster) {
    let one = Etcd::open(options(cluster, "shared")).await.unwrap();
    let mut last = options(cluster, "/shared/");
    last.endpoints.rotate_left(2);
    let two = Etcd::open(last).await.unwrap();
    let (seen, written) = tokio::join!(two.after(Version(0)), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        one.commit(commit(Version(0), vec![write("a", "1")])).await.unwrap()
    });
    assert_eq!(seen.unwrap()[0].version, written);
    assert_eq!(two.snapshot().await.unwrap().entries, [("a".to_owned(), "1".to_owned())]);
    assert_eq!(two.commit(commit(Version(0), vec![])).await, Err(StoreError::Conflict(written)));
    // News come at once, and not when it is time to ask again.
    let began = std::time::Instant::now();
    let (seen, _) =
        tokio::join!(two.after(written), one.commit(commit(written, vec![write("a", "2")])));
    assert_eq!(seen.unwrap().len(), 1);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

async fn a_commit_whose_answer_comes_too_late_is_found_and_not_made_twice(cluster: &EtcdCluster) {
    let store = Etcd::open(options(cluster, "late")).await.unwrap();
    let mut times = Vec::new();
    for number in 0..40 {
        let began = std::time::Instant::now();
        store.commit(commit(Version(number), vec![])).await.unwrap();
        times.push(began.elapsed());
    }
    times.sort();
    // Somewhat more than half of the members answer in time, so that many commits are asked again.
    let deadline = Duration::from_secs(60);
    let impatient = EtcdOptions { attempt: times[24], deadline, ..options(cluster, "late") };
    let impatient = Etcd::open(impatient).await.unwrap();
    for number in 40..200 {
        let made =
            impatient.commit(commit(Version(number), vec![write("n", &number.to_string())])).await;
        assert_eq!(made, Ok(Version(number + 1)));
    }
}

async fn a_commit_of_thousands_of_writes_is_made_and_one_that_is_too_large_is_not_sent(
    cluster: &EtcdCluster,
) {
    let store = Etcd::open(options(cluster, "large")).await.unwrap();
    let writes: Vec<_> = (0..5000).map(|number| write(&format!("k{number:04}"), "value")).collect();
    let one = store.commit(commit(Version(0), writes)).await.unwrap();
    assert_eq!(store.snapshot().await.unwrap().entries.len(), 5000);
    store.compact(one).await.unwrap();
    assert_eq!(store.snapshot().await.unwrap().entries.len(), 5000);
    // More than etcd takes, and less than what it does not even read.
    let large = "x".repeat(1_800_000);
    let Err(StoreError::Failed(what)) = store.commit(commit(one, vec![write("k", &large)])).await
    else {
        panic!()
    };
    assert!(what.contains("nothing was written") && what.contains("max-request-bytes"), "{what}");
    // What etcd itself refuses was not written either, and is not tried for long.
    let unlimited = EtcdOptions { most_bytes: 8 << 20, ..options(cluster, "large") };
    let store = Etcd::open(unlimited).await.unwrap();
    let began = std::time::Instant::now();
    let Err(StoreError::Failed(what)) = store.commit(commit(one, vec![write("k", &large)])).await
    else {
        panic!()
    };
    assert!(what.contains("nothing was written") && what.contains("too large"), "{what}");
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(store.snapshot().await.unwrap().version, one);
}

async fn an_import_is_whole_and_replaces_only_what_it_is_told_to(cluster: &EtcdCluster) {
    let entries = (0..2500).map(|number| (format!("k{number:04}"), number.to_string())).collect();
    let snapshot = Snapshot { version: Version(70), entries };
    let mut told = Vec::new();
    let import = async |snapshot: &Snapshot, existing, told: &mut Vec<_>| {
        let mut tell = |done, all| told.push((done, all));
        Etcd::import(options(cluster, "import"), snapshot, existing, &mut tell).await
    };
    let store = import(&snapshot, Existing::Refuse, &mut told).await.unwrap();
    assert!(told.is_sorted() && told.last() == Some(&(2500, 2500)) && told.len() > 20, "{told:?}");
    assert_eq!(store.snapshot().await.unwrap(), snapshot);
    assert_eq!(store.after(Version(3)).await, Err(StoreError::Compacted(Version(70))));
    let next = store.commit(commit(Version(70), vec![write("k", "v")])).await.unwrap();
    assert_eq!(next, Version(71));
    let refused = import(&snapshot, Existing::Refuse, &mut told).await;
    assert!(matches!(refused, Err(StoreError::Failed(what)) if what.contains("not empty")));
    let one = Snapshot { version: Version(5), entries: vec![("one".to_owned(), "1".to_owned())] };
    let again = import(&one, Existing::Replace, &mut told).await.unwrap();
    // Who knows a version of before does not take it for one of now.
    let expected = Snapshot { version: Version(72), ..one };
    assert_eq!(again.snapshot().await.unwrap(), expected);
    assert_eq!(store.commit(commit(next, vec![])).await, Err(StoreError::Conflict(Version(72))));
    assert_eq!(store.after(next).await, Err(StoreError::Compacted(Version(72))));

    // One that is cut off leaves a store that says so, until it is done again.
    let many = (0..20_000).map(|number| (format!("k{number:05}"), number.to_string())).collect();
    let many = Snapshot { version: Version(9), entries: many };
    let begun = tokio::sync::Notify::new();
    let mut tell = |_, _| begun.notify_one();
    tokio::select! {
        biased;
        () = begun.notified() => {}
        _ = Etcd::import(options(cluster, "import"), &many, Existing::Replace, &mut tell) => panic!("it is done"),
    }
    for said in [
        store.snapshot().await.map(drop),
        store.commit(commit(Version(72), vec![])).await.map(drop),
        store.commit(commit(Version(0), vec![])).await.map(drop),
        store.compact(Version(72)).await,
        Etcd::open(options(cluster, "import")).await.map(drop),
    ] {
        assert!(
            matches!(&said, Err(StoreError::Failed(what)) if what.contains("has not ended")),
            "{said:?}"
        );
    }
    let again = import(&many, Existing::Replace, &mut told).await.unwrap();
    assert_eq!(again.snapshot().await.unwrap(), Snapshot { version: Version(73), ..many });
}

async fn what_another_wrote_below_the_prefix_is_said_to_be_strange(cluster: &EtcdCluster) {
    let endpoints: Vec<String> =
        cluster.endpoints().iter().map(|endpoint| format!("http://{endpoint}")).collect();
    let mut client = etcd_client::Client::connect(endpoints, None).await.unwrap();
    client.put("/strange/v1/version", "something else", None).await.unwrap();
    let said = Etcd::open(options(cluster, "strange")).await.map(drop);
    assert!(
        matches!(&said, Err(StoreError::Failed(what)) if what.contains("choose another prefix")),
        "{said:?}"
    );
}

async fn a_store_with_no_member_says_so(cluster: &EtcdCluster) {
    let store = Etcd::open(options(cluster, "gone")).await.unwrap();
    drop(store);
    let nobody =
        EtcdOptions { deadline: Duration::from_millis(500), ..EtcdOptions::new(["127.0.0.1:9"]) };
    let said = Etcd::open(nobody.clone()).await.map(drop);
    assert!(
        matches!(&said, Err(StoreError::Failed(what)) if what.contains("127.0.0.1:9: ")),
        "{said:?}"
    );
    let none = EtcdOptions { endpoints: Vec::new(), ..nobody };
    assert!(
        matches!(Etcd::open(none).await.map(drop), Err(StoreError::Failed(what)) if what.contains("HOST:PORT"))
    );
}

/// A commit of a leader.
pub fn by(held: &Leadership, expected: Version, text: &str) -> Commit {
    Commit { expected, held: Some(held.clone()), writes: vec![write(&held.holder, text)] }
}
