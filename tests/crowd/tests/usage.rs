//! The command by itself. Cargo makes a package's command for its tests, and the benchmark's smoke
//! test needs this one.

use std::process::Command;

#[test]
fn what_is_wrong_is_told_before_anything_is_measured() {
    let run = |arguments: &[&str]| {
        let done =
            Command::new(env!("CARGO_BIN_EXE_sillon-crowd")).args(arguments).output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    for (arguments, what) in [
        (&[][..], "Usage"),
        (&["measure"], "'measure'"),
        (&["transactions", "--attachments", "many"], "'many'"),
        (&["follow", "--nodes", "many"], "'many'"),
    ] {
        let (code, said) = run(arguments);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(what), "{said}");
    }
}
