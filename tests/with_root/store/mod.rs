//! The store: one suite for all implementations, what is the embedded one's own, what is etcd's
//! own, and what becomes of them when a process is killed, paused or cut off.

mod crash;
mod etcd;
mod faults;
mod suite;
mod tls;

use sillon::store::{
    Embedded, Existing, Snapshot, Store, StoreError, Version, export, read_export,
};

use self::suite::{commit, write};

#[tokio::test]
async fn the_embedded_store_does_what_every_store_does() {
    let dir = tempfile::tempdir().unwrap();
    let mut count = 0;
    suite::everything(async || {
        count += 1;
        Embedded::open(&dir.path().join(format!("{count}.db"))).unwrap()
    })
    .await;
    assert_eq!(count, 13);
}

#[tokio::test]
async fn what_was_written_is_there_when_it_is_opened_again_and_terms_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = Embedded::open(&path).unwrap();
    let version = store.commit(commit(Version(0), vec![write("a", "1")])).await.unwrap();
    let held = store.lead("l", "one", std::time::Duration::from_secs(60)).await.unwrap().unwrap();
    drop(store);
    let store = Embedded::open(&path).unwrap();
    assert_eq!(store.snapshot().await.unwrap().version, version);
    assert_eq!(store.after(Version(0)).await.unwrap()[0].writes, [write("a", "1")]);
    let again = store.lead("l", "two", std::time::Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(again.term > held.term);
}

#[test]
fn a_file_is_open_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = Embedded::open(&path).unwrap();
    assert!(
        matches!(Embedded::open(&path), Err(StoreError::Failed(what)) if what.contains("locked"))
    );
    drop(store);
    Embedded::open(&path).unwrap();
}

#[test]
fn what_is_no_store_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("text.db");
    std::fs::write(&path, "some text that somebody needs".repeat(100)).unwrap();
    assert!(Embedded::open(&path).is_err());
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("some text"));
    let path = dir.path().join("other.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE mine (a)").unwrap();
    assert!(
        matches!(Embedded::open(&path), Err(StoreError::Failed(what)) if what.contains("not Sillon's"))
    );
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch("INSERT INTO mine VALUES (1)")
        .unwrap();
    let path = dir.path().join("newer.db");
    drop(Embedded::open(&path).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(
        matches!(Embedded::open(&path), Err(StoreError::Failed(what)) if what.contains("schema is \
            99"))
    );
}

/// As the file of a Sillon was whose log had a row for each key.
const SCHEMA_1: &str = "
    PRAGMA application_id = 0x53696c6c;
    PRAGMA user_version = 1;
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO counters VALUES ('version', 5), ('compacted', 1), ('term', 7);
    CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO entries VALUES ('a', '2'), ('c', '4');
    CREATE TABLE log (version INTEGER, key TEXT, value TEXT, PRIMARY KEY (version, key)) STRICT, WITHOUT ROWID;
    INSERT INTO log VALUES (2, 'a', '2'), (2, 'b', '2'), (4, 'b', NULL), (4, 'c', '4');
";

#[tokio::test]
async fn a_file_of_the_schema_before_goes_on_with_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(SCHEMA_1).unwrap();
    for _ in 0..2 {
        let store = Embedded::open(&path).unwrap();
        let batches = store.after(Version(1)).await.unwrap();
        assert!(batches.iter().map(|batch| batch.version.0).eq(2..=5));
        let writes: Vec<_> = batches.into_iter().map(|batch| batch.writes).collect();
        let removed = ("b".to_owned(), None);
        assert_eq!(
            writes,
            [
                vec![write("a", "2"), write("b", "2")],
                vec![],
                vec![removed, write("c", "4")],
                vec![]
            ]
        );
        let entries = store.snapshot().await.unwrap().entries;
        assert!(
            entries.iter().map(|(key, value)| (&key[..], &value[..])).eq([("a", "2"), ("c", "4")])
        );
    }
    let store = Embedded::open(&path).unwrap();
    assert_eq!(store.commit(commit(Version(5), vec![write("d", "6")])).await, Ok(Version(6)));
}

#[tokio::test]
async fn an_export_is_imported_into_a_new_file_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(&dir.path().join("one.db")).unwrap();
    let one = store.commit(commit(Version(0), vec![write("a", "é\n\"")])).await.unwrap();
    let two = store.commit(commit(one, vec![write("b", "2"), write("c", "3")])).await.unwrap();
    let (snapshot, mut text) = (store.snapshot().await.unwrap(), Vec::new());
    export(&snapshot, &mut text).unwrap();
    assert_eq!(read_export(&text[..]).unwrap(), snapshot);

    let path = dir.path().join("two.db");
    let imported = Embedded::import(&path, &snapshot, Existing::Refuse).unwrap();
    assert_eq!(imported.snapshot().await.unwrap(), snapshot);
    assert_eq!(imported.after(one).await, Err(StoreError::Compacted(two)));
    assert!(imported.commit(commit(two, vec![write("d", "4")])).await.unwrap() > two);
    drop(imported);
    assert!(Embedded::import(&path, &snapshot, Existing::Refuse).is_err(), "it is not empty");

    // Cut anywhere, it is no export any more. The last sign is a line's end, which says nothing.
    for end in 0..text.len() - 1 {
        assert!(read_export(&text[..end]).is_err(), "{end}");
    }
    let twice = [&text[..], b"[\"c\",\"4\"]\n"].concat();
    assert!(read_export(&twice[..]).is_err());
    let disorder =
        Snapshot { version: two, entries: vec![("b".into(), "".into()), ("a".into(), "".into())] };
    let mut text = Vec::new();
    export(&disorder, &mut text).unwrap();
    assert!(read_export(&text[..]).unwrap_err().to_string().contains("line 3"));
}
