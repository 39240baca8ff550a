//! What the tests of `sillon check` share: the real binary on a file, its exit code and what it
//! says.

use std::{
    path::Path,
    process::{Command, Output},
};

/// Runs `sillon check` on a file of these bytes.
pub fn check(bytes: impl AsRef<[u8]>, options: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.toml");
    std::fs::write(&file, bytes).unwrap();
    run(&file, options)
}

/// Runs it on whatever is there.
pub fn run(file: impl AsRef<Path>, options: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sillon"));
    command.arg("check").arg(file.as_ref()).args(options).env_remove("RUST_LOG").output().unwrap()
}

/// A good file with one piece replaced.
pub fn replaced(good: &str, from: &str, to: &str) -> String {
    assert!(good.contains(from), "{from:?} is not in the good file");
    good.replacen(from, to, 1)
}

/// Asserts that a file is right.
#[track_caller]
pub fn accepted(text: &str) {
    let output = check(text, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Asserts exit code 2, nothing on standard output, and on standard error the place and the words.
#[track_caller]
pub fn refused(text: impl AsRef<[u8]>, place: &str, words: &[&str]) {
    let output = check(text, &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty());
    assert!(said.contains(&format!("node.toml:{place}: error: ")), "not at {place}:\n{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in:\n{said}");
    }
    assert!(said.ends_with("has 1 error\n"), "more than the one error:\n{said}");
}
