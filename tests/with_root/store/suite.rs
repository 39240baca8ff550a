//! What every store has to do, whichever it is.

use std::time::Duration;

use sillon::store::{Commit, Leadership, Store, StoreError, Version, Write};

const LONG: Duration = Duration::from_secs(60);

pub fn write(key: &str, value: &str) -> Write {
    (key.to_owned(), Some(value.to_owned()))
}

pub fn commit(expected: Version, writes: Vec<Write>) -> Commit {
    Commit { expected, held: None, writes }
}

/// All of it, each part on a store of its own.
pub async fn everything<S: Store>(mut new: impl AsyncFnMut() -> S) {
    a_commit_is_read_back_whole(&new().await).await;
    a_part_is_left_out(&new().await).await;
    a_range_is_read_up_to_a_size(&new().await).await;
    who_does_not_know_the_version_writes_nothing(&new().await).await;
    of_many_writers_that_know_one_version_one_writes(&new().await).await;
    a_chain_is_made_until_one_of_it_can_not_be(&new().await).await;
    of_a_chain_whose_first_came_too_late_none_is_made(&new().await).await;
    changes_come_in_order_and_without_a_gap(&new().await).await;
    a_watch_waits_for_what_comes(&new().await).await;
    what_was_compacted_is_said_to_be(&new().await).await;
    what_was_compacted_again_and_again_is_there(&new().await).await;
    one_leads_at_a_time_and_terms_grow(&new().await).await;
    a_deposed_leader_writes_nothing(&new().await).await;
}

async fn a_commit_is_read_back_whole<S: Store>(store: &S) {
    let empty = store.snapshot().await.unwrap();
    assert!(empty.version == Version(0) && empty.entries.is_empty());
    let one =
        store.commit(commit(Version(0), vec![write("b", "é\n\0"), write("a", "1")])).await.unwrap();
    let two =
        store.commit(commit(one, vec![("b".to_owned(), None), write("c", "")])).await.unwrap();
    assert!(two > one);
    let all = store.snapshot().await.unwrap();
    assert_eq!(all.version, two);
    assert_eq!(all.entries, [("a".to_owned(), "1".to_owned()), ("c".to_owned(), String::new())]);
}

async fn a_part_is_left_out<S: Store>(store: &S) {
    let keys = ["audit", "audit/0", "audit/01", "audit/0é", "audit/1", "audit/tree", "b"];
    let writes = |keys: &[&str]| keys.iter().map(|key| write(key, "1")).collect();
    let first = store.commit(commit(Version(0), writes(&keys[..4]))).await.unwrap();
    store.compact(first).await.unwrap();
    let last = store.commit(commit(first, writes(&keys[4..]))).await.unwrap();
    let all = store.snapshot_without("audit/0").await.unwrap();
    assert_eq!(all.version, last);
    let there: Vec<&str> = all.entries.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(there, ["audit", "audit/1", "audit/tree", "b"]);
    assert_eq!(store.snapshot().await.unwrap().entries.len(), keys.len());
}

async fn a_range_is_read_up_to_a_size<S: Store>(store: &S) {
    let writes = ["a", "b/1", "b/2", "b/3", "c"].map(|key| write(key, "12345"));
    store.commit(commit(Version(0), writes.into())).await.unwrap();
    let keys = async |from, before, bytes| {
        let all = store.range(from, before, bytes).await.unwrap();
        all.into_iter().map(|(key, value)| (key, value.len())).collect::<Vec<_>>()
    };
    let entries = |keys: &[&str]| keys.iter().map(|key| ((*key).to_owned(), 5)).collect::<Vec<_>>();
    assert_eq!(keys("b/", "b0", 1000).await, entries(&["b/1", "b/2", "b/3"]));
    assert_eq!(keys("b/2", "c", 1000).await, entries(&["b/2", "b/3"]));
    assert_eq!(keys("a", "z", 9).await, entries(&["a"]));
    assert_eq!(keys("b/", "c", 16).await, entries(&["b/1", "b/2"]));
    assert_eq!(keys("d", "z", 16).await, entries(&[]));
}

async fn who_does_not_know_the_version_writes_nothing<S: Store>(store: &S) {
    let one = store.commit(commit(Version(0), vec![write("a", "1")])).await.unwrap();
    for expected in [Version(0), Version(one.0 + 1)] {
        let refused = store.commit(commit(expected, vec![write("a", "2"), write("b", "2")])).await;
        assert_eq!(refused, Err(StoreError::Conflict(one)));
    }
    assert_eq!(store.snapshot().await.unwrap().entries, [("a".to_owned(), "1".to_owned())]);
}

async fn of_many_writers_that_know_one_version_one_writes<S: Store>(store: &S) {
    let writers = (0..20)
        .map(|writer| store.commit(commit(Version(0), vec![write("a", &writer.to_string())])));
    let results = futures::future::join_all(writers).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let won = results.iter().position(Result::is_ok).unwrap();
    assert_eq!(store.snapshot().await.unwrap().entries, [("a".to_owned(), won.to_string())]);
}

/// Commits of one key, each of which expects the version that the one before it makes.
fn chain(expected: std::ops::Range<u64>, value: &str) -> Vec<Commit> {
    expected
        .map(|version| commit(Version(version), vec![write("n", &format!("{value}{version}"))]))
        .collect()
}

async fn a_chain_is_made_until_one_of_it_can_not_be<S: Store>(store: &S) {
    assert_eq!(store.commit_all(chain(0..500, "a")).await, (500, None));
    assert_eq!(store.snapshot().await.unwrap().entries, [("n".to_owned(), "a499".to_owned())]);
    // One in its midst that knows less stops those behind it.
    let broken = [chain(500..501, "b"), chain(7..8, "b"), chain(501..503, "b")].concat();
    assert_eq!(store.commit_all(broken).await, (1, Some(StoreError::Conflict(Version(501)))));
    assert_eq!(store.snapshot().await.unwrap().entries, [("n".to_owned(), "b500".to_owned())]);
    assert_eq!(store.commit_all(vec![]).await, (0, None));
}

/// What another writer made has the numbers that the chain's own commits would have had: that a
/// later one of it expects the number that the store has does not mean that it knows what is there.
async fn of_a_chain_whose_first_came_too_late_none_is_made<S: Store>(store: &S) {
    for made in 1..=120 {
        store.commit(commit(Version(made - 1), vec![write("n", "another's")])).await.unwrap();
        assert_eq!(
            store.commit_all(chain(0..130, "late")).await,
            (0, Some(StoreError::Conflict(Version(made))))
        );
    }
    let is = store.snapshot().await.unwrap();
    assert_eq!(
        (is.version, is.entries),
        (Version(120), vec![("n".to_owned(), "another's".to_owned())])
    );
}

async fn changes_come_in_order_and_without_a_gap<S: Store>(store: &S) {
    let mut version = Version(0);
    let mut made = Vec::new();
    for number in 0..1500 {
        let writes = vec![write("a", &number.to_string()), write(&format!("k{}", number % 7), "x")];
        version = store.commit(commit(version, writes)).await.unwrap();
        made.push((version, number.to_string()));
    }
    for from in [0, 700, 1499] {
        let (mut seen, mut at) =
            (Vec::new(), if from == 0 { Version(0) } else { made[from - 1].0 });
        while at < version {
            for batch in store.after(at).await.unwrap() {
                assert!(batch.version > at && batch.writes.len() == 2);
                at = batch.version;
                seen.push((at, batch.writes[0].1.clone().unwrap()));
            }
        }
        assert_eq!(seen, made[from..]);
    }
}

async fn a_watch_waits_for_what_comes<S: Store>(store: &S) {
    let soon = tokio::time::timeout(Duration::from_millis(50), store.after(Version(0))).await;
    assert!(soon.is_err(), "there was nothing to tell");
    let later = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        store.commit(commit(Version(0), vec![("gone".to_owned(), None)])).await.unwrap()
    };
    let (seen, version) = tokio::join!(store.after(Version(0)), later);
    let seen = seen.unwrap();
    assert_eq!((seen.len(), seen[0].version), (1, version));
    assert_eq!(seen[0].writes, [("gone".to_owned(), None)]);
}

async fn what_was_compacted_is_said_to_be<S: Store>(store: &S) {
    let one = store.commit(commit(Version(0), vec![write("a", "1")])).await.unwrap();
    let two = store.commit(commit(one, vec![write("b", "2")])).await.unwrap();
    let three = store.commit(commit(two, vec![write("c", "3")])).await.unwrap();
    store.compact(two).await.unwrap();
    assert_eq!(store.after(one).await, Err(StoreError::Compacted(two)));
    assert_eq!(store.after(two).await.unwrap()[0].version, three);
    assert_eq!(store.snapshot().await.unwrap().entries.len(), 3);
    store.commit(commit(three, vec![write("d", "4")])).await.unwrap();
}

async fn what_was_compacted_again_and_again_is_there<S: Store>(store: &S) {
    let (mut version, mut expected) = (Version(0), std::collections::BTreeMap::new());
    for number in 0..60_u32 {
        let (key, gone) = (format!("k{}", number % 11), format!("k{}", (number * 7 + 3) % 11));
        let writes = vec![write(&key, &number.to_string()), (gone.clone(), None)];
        expected.insert(key, number.to_string());
        expected.remove(&gone);
        version = store.commit(commit(version, writes)).await.unwrap();
        if number % 7 == 0 {
            store.compact(Version(version.0 - u64::from(number % 3))).await.unwrap();
        }
        let all = store.snapshot().await.unwrap();
        assert_eq!(all.version, version);
        assert_eq!(all.entries, expected.clone().into_iter().collect::<Vec<_>>());
    }
    // To forget less than is forgotten is nothing.
    store.compact(Version(1)).await.unwrap();
    store.compact(Version(version.0 + 1000)).await.unwrap();
    assert_eq!(store.after(Version(1)).await, Err(StoreError::Compacted(version)));
}

async fn one_leads_at_a_time_and_terms_grow<S: Store>(store: &S) {
    let one = store.lead("l", "one", LONG).await.unwrap().unwrap();
    assert_eq!(store.lead("l", "two", LONG).await, Ok(None));
    assert_eq!(store.lead("l", "one", LONG).await.unwrap().unwrap(), one);
    assert!(store.lead("other", "two", LONG).await.unwrap().is_some());
    store.resign(one.clone()).await.unwrap();
    let two = store.lead("l", "two", LONG).await.unwrap().unwrap();
    assert!(two.term > one.term);
    store.resign(one).await.unwrap();
    assert_eq!(
        store.lead("l", "one", LONG).await,
        Ok(None),
        "who no longer leads can't resign for another"
    );
}

async fn a_deposed_leader_writes_nothing<S: Store>(store: &S) {
    let by = |held: &Leadership, expected| Commit {
        expected,
        held: Some(held.clone()),
        writes: vec![write("by", &held.holder)],
    };
    let one = store.lead("l", "one", Duration::from_secs(1)).await.unwrap().unwrap();
    let mut version = store.commit(by(&one, Version(0))).await.unwrap();
    let began = std::time::Instant::now();
    // It may last somewhat longer than was asked.
    let deposed = loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        match store.commit(by(&one, version)).await {
            Ok(next) => version = next,
            Err(error) => break error,
        }
        assert!(began.elapsed() < Duration::from_secs(10), "its time is over, and it still writes");
    };
    assert_eq!(deposed, StoreError::Deposed);
    assert!(began.elapsed() > Duration::from_millis(900));
    let two = store.lead("l", "two", LONG).await.unwrap().unwrap();
    assert!(two.term > one.term);
    assert_eq!(store.commit(by(&one, version)).await, Err(StoreError::Deposed));
    store.commit(by(&two, version)).await.unwrap();
    assert_eq!(store.snapshot().await.unwrap().entries, [("by".to_owned(), "two".to_owned())]);
}
