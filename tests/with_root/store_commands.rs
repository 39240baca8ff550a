//! `sillon store` as a person runs it: the real binary, on files and on etcd.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use sillon::store::{Commit, Embedded, Store, StoreError, Version};
use sillon_rig::EtcdCluster;

const SILLON: &str = env!("CARGO_BIN_EXE_sillon");

fn run_in(mut command: Command, arguments: &[&str]) -> Output {
    command.arg("store").args(arguments).env_remove("RUST_LOG").output().unwrap()
}

fn run(arguments: &[&str]) -> Output {
    run_in(Command::new(SILLON), arguments)
}

/// Asserts an exit code and what is said besides.
#[track_caller]
fn says(output: &Output, code: i32, words: &str) {
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(words), "{said}");
}

/// A store with as many commits as entries; every second entry was written twice.
fn filled(path: &Path, entries: u64) {
    let store = Embedded::open(path).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let commits = (0..entries).map(|number| {
            let writes = [number, number / 2].map(|key| {
                (format!("operator/é{key:05}"), Some(format!("{{\"number\":{number}}}")))
            });
            store.commit(Commit { expected: Version(number), held: None, writes: writes.into() })
        });
        assert!(futures::future::join_all(commits).await.iter().all(Result::is_ok));
    });
}

fn entries(path: &Path) -> (Version, Vec<(String, String)>) {
    let store = Embedded::open(path).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let all = runtime.block_on(store.snapshot()).unwrap();
    (all.version, all.entries)
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

#[test]
fn a_backup_is_written_for_its_owner_alone_and_brought_back_into_an_empty_store() {
    let dir = Dir::new();
    let (store, backup, other) = (dir.text("store.db"), dir.text("backup"), dir.text("other.db"));
    filled(&dir.path("store.db"), 300);
    says(&run(&["export", &store, &backup]), 0, "version 300, 300 entries");
    assert_eq!(std::fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    says(&run(&["import", &other, &backup]), 0, "imported into");
    assert_eq!(entries(&dir.path("other.db")), entries(&dir.path("store.db")));
    let output = run(&["import", &dir.text("third.db"), &backup, "--json"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        said,
        json!({"done": "imported into", "store": dir.text("third.db"), "version": 300, "entries": 300})
    );
    let left: Vec<_> =
        std::fs::read_dir(dir.0.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".part")), "{left:?}");
}

#[test]
fn nothing_is_overwritten_unless_it_is_told_to() {
    let dir = Dir::new();
    let (store, backup, other) = (dir.text("store.db"), dir.text("backup"), dir.text("other.db"));
    filled(&dir.path("store.db"), 5);
    filled(&dir.path("other.db"), 9);
    std::fs::write(&backup, "mine").unwrap();
    says(&run(&["export", &store, &backup]), 2, "--force");
    assert_eq!(std::fs::read_to_string(&backup).unwrap(), "mine");
    says(&run(&["export", &store, &backup, "--force"]), 0, "5 entries");
    says(&run(&["import", &other, &backup]), 2, "--replace");
    assert_eq!(entries(&dir.path("other.db")).0, Version(9));
    says(&run(&["import", &other, &backup, "--replace"]), 0, "version 10, 5 entries");
    assert_eq!(entries(&dir.path("other.db")).1, entries(&dir.path("store.db")).1);
    // Who followed the old one is told to begin anew.
    let store = Embedded::open(&dir.path("other.db")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(store.after(Version(9))), Err(StoreError::Compacted(Version(10))));
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_made() {
    let dir = Dir::new();
    let (store, backup) = (dir.text("store.db"), dir.text("backup"));
    says(&run(&["export", &store, &backup]), 2, "there is no store");
    says(&run(&["compact", &store]), 2, "there is no store");
    says(&run(&["import", &store, &backup]), 2, "No such file");
    says(&run(&["export", "http://a", &backup]), 2, "etcd://HOST:PORT");
    says(&run(&["export", "etcds://127.0.0.1:9", &backup]), 2, "--etcd-ca");
    says(&run(&["migrate", &store, &store]), 2, "is both");
    std::fs::write(&backup, "{\"sillon_store\":1,\"version\":3,\"entries\":2}\n[\"a\",\"1\"]\n")
        .unwrap();
    says(&run(&["import", &store, &backup]), 2, "the file was cut");
    assert!(!dir.path("store.db").exists());
    filled(&dir.path("store.db"), 3);
    says(&run(&["export", &store, &dir.text("no/such/dir")]), 2, "No such file");
    let open = Embedded::open(&dir.path("store.db")).unwrap();
    std::fs::remove_file(&backup).unwrap();
    says(&run(&["export", &store, &backup]), 1, "locked");
    assert!(!dir.path("backup").exists(), "a name that was kept for it");
    drop(open);
    says(&run(&["export", &store, &backup]), 0, "3 entries");
}

#[test]
fn a_store_is_compacted_and_says_so_to_who_is_behind() {
    let dir = Dir::new();
    let store = dir.text("store.db");
    filled(&dir.path("store.db"), 50);
    says(&run(&["compact", &store]), 0, "version 0");
    says(&run(&["compact", &store, "--keep", "10"]), 0, "version 40");
    let store = Embedded::open(&dir.path("store.db")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(store.after(Version(39))), Err(StoreError::Compacted(Version(40))));
    assert_eq!(runtime.block_on(store.after(Version(40))).unwrap().len(), 10);
}

#[test]
fn an_export_goes_through_a_pipe_whole_or_not_at_all() {
    let dir = Dir::new();
    filled(&dir.path("store.db"), 2000);
    let output = run(&["export", &dir.text("store.db"), "-"]);
    says(&output, 0, "2000 entries");
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 2001);
    let import = |bytes: &[u8], to: &str| {
        let mut command = Command::new(SILLON);
        command.args(["store", "import", to, "-"]).env_remove("RUST_LOG");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A reader that has seen enough goes away.
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), bytes);
        child.wait_with_output().unwrap()
    };
    says(&import(&output.stdout, &dir.text("other.db")), 0, "2000 entries");
    assert_eq!(entries(&dir.path("other.db")), entries(&dir.path("store.db")));
    says(&import(&output.stdout[..20_000], &dir.text("third.db")), 2, "error");
    assert!(!dir.path("third.db").exists());
}

#[test]
fn a_store_goes_to_etcd_and_back_and_is_the_same() {
    let cluster = EtcdCluster::start().unwrap();
    let dir = Dir::new();
    filled(&dir.path("store.db"), 3000);
    let run = |arguments: &[&str]| run_in(cluster.hub().command(SILLON), arguments);
    let etcd = format!("etcd://{}/one", cluster.endpoints().join(","));
    says(&run(&["migrate", &dir.text("store.db"), &etcd]), 0, "version 3000, 3000 entries");
    says(&run(&["migrate", &dir.text("store.db"), &etcd]), 2, "is not empty");
    says(&run(&["migrate", &etcd, &dir.text("back.db")]), 0, "version 3000, 3000 entries");
    assert_eq!(entries(&dir.path("back.db")), entries(&dir.path("store.db")));
    filled(&dir.path("small.db"), 7);
    says(
        &run(&["migrate", &dir.text("small.db"), &etcd, "--replace"]),
        0,
        "version 3001, 7 entries",
    );
    says(&run(&["compact", &etcd, "--keep", "0"]), 0, "version 3001");
    says(&run(&["export", &etcd, &dir.text("backup")]), 0, "version 3001, 7 entries");
    says(&run(&["import", &dir.text("again.db"), &dir.text("backup")]), 0, "7 entries");
    assert_eq!(entries(&dir.path("again.db")).1, entries(&dir.path("small.db")).1);
    let nobody = format!("{etcd}x");
    says(&run(&["export", &nobody, &dir.text("empty")]), 0, "version 0, 0 entries");
    says(&run(&["export", "etcd://127.0.0.1:9", &dir.text("gone")]), 1, "127.0.0.1:9: ");
    assert!(!dir.path("gone").exists());
}
