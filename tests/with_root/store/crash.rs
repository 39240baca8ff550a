//! A process that writes is killed with SIGKILL, again and again: what it had been told is written
//! is there, and nothing is there in part.
//!
//! This shows what a killed process leaves. What a machine without power leaves is SQLite's own
//! promise (`synchronous=FULL` syncs each commit), and can't be tested here.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use sillon::store::{Embedded, Store, Version};

use super::suite::{commit, write};

/// Files that are written at the same time, and how often the writer of each is killed: 1000 kills
/// in all.
const FILES: u64 = 4;
const KILLS: u64 = 250;
/// Commits that the writer has under way at once.
const UNDER_WAY: u64 = 8;
/// Keys that the commits write in turn, besides the one that all write.
const TURNS: u64 = 5;
const FILE: &str = "SILLON_CRASH_FILE";

#[test]
fn no_acknowledged_write_is_lost_and_none_is_torn_when_the_writer_is_killed_1000_times() {
    let dir = tempfile::tempdir().unwrap();
    let files = (0..FILES).map(|file| {
        let path = dir.path().join(format!("{file}.db"));
        std::thread::spawn(move || kill_again_and_again(&path, file))
    });
    let files: Vec<_> = files.collect();
    let caught: u64 = files.into_iter().map(|file| file.join().unwrap()).sum();
    assert!(
        caught > FILES * KILLS / 20,
        "only {caught} writers were killed before they could tell what was written"
    );
}

/// Gives how often a writer was killed with something written that it had not told.
fn kill_again_and_again(path: &Path, seed: u64) -> u64 {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut told, mut caught) = (0, 0);
    for _ in 0..KILLS {
        told = told.max(kill_one(path, &mut rng));
        let written = check(path);
        // What is told of all that are under way may still be in the pipe's writer.
        assert!((told..=told + 2 * UNDER_WAY).contains(&written), "told {told}, written {written}");
        caught += u64::from(written > told);
        told = written;
    }
    caught
}

/// Starts a writer, kills it at a random moment, and gives the last version that it had been told.
fn kill_one(path: &Path, rng: &mut fastrand::Rng) -> u64 {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["store::crash::writer", "--exact", "--ignored", "--nocapture"]).env(FILE, path);
    let mut writer = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap());
    let mut last = 0;
    let mut line = String::new();
    // Some die while they open the file; most once they have begun to write.
    if rng.u8(..) > 25 {
        while last == 0 {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "the writer ended by itself");
            last = version(&line).unwrap_or(0);
        }
    }
    std::thread::sleep(Duration::from_micros(rng.u64(..15_000)));
    writer.kill().unwrap();
    writer.wait().unwrap();
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    rest.split_inclusive('\n').filter_map(version).fold(last, u64::max)
}

/// A whole line that tells a version.
fn version(line: &str) -> Option<u64> {
    line.strip_prefix("written ")?.strip_suffix('\n')?.parse().ok()
}

/// Every commit is there with all that it wrote, or not at all; gives the last one.
#[tokio::main(flavor = "current_thread")]
async fn check(path: &Path) -> u64 {
    let store = Embedded::open(path).unwrap();
    let all = store.snapshot().await.unwrap();
    let last = all.version.0;
    let mut expected = Vec::new();
    if last > 0 {
        expected.push(("all".to_owned(), last.to_string()));
        for turn in (last.saturating_sub(TURNS) + 1..=last).rev() {
            expected
                .extend(writes(turn).into_iter().skip(1).map(|(key, value)| (key, value.unwrap())));
        }
        expected.sort();
        let from = Version(last.saturating_sub(3 * UNDER_WAY));
        for batch in store.after(from).await.unwrap() {
            let mut writes = writes(batch.version.0);
            writes.sort();
            assert_eq!(batch.writes, writes);
        }
    }
    assert_eq!(all.entries, expected);
    last
}

/// What the commit of this number writes.
fn writes(number: u64) -> Vec<sillon::store::Write> {
    let turn = number % TURNS;
    let number = number.to_string();
    vec![
        write("all", &number),
        write(&format!("left {turn}"), &number),
        write(&format!("right {turn}"), &number),
    ]
}

/// The process that is killed.
#[test]
#[ignore = "it is started by the test above, and writes until it is killed"]
fn writer() {
    let path = std::env::var_os(FILE).expect("the crash test names the file");
    let store = Embedded::open(Path::new(&path)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut at = store.snapshot().await.unwrap().version.0;
        loop {
            let chain =
                (at..at + UNDER_WAY).map(|at| commit(Version(at), writes(at + 1))).collect();
            assert_eq!(store.commit_all(chain).await, (UNDER_WAY as usize, None));
            let mut out = std::io::stdout().lock();
            for written in at + 1..=at + UNDER_WAY {
                out.write_all(format!("written {written}\n").as_bytes()).unwrap();
            }
            out.flush().unwrap();
            at += UNDER_WAY;
        }
    });
}
