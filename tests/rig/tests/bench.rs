//! The benchmark still works: each suite, as little of it as there is. It runs what `cargo xtask
//! bench` runs, on the binary of this build; no figure means anything, and no goal counts.

#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

const SUITES: [&str; 8] =
    ["forward", "latency", "tcp", "cost", "scale", "program", "fair", "controller"];
/// Who has figures in each: what is measured, and what it is compared with.
const MEASURED: [(&str, &str); 13] = [
    ("forward", "sillon"),
    ("forward", "bare"),
    ("forward", "kernel"),
    ("latency", "sillon"),
    ("tcp", "sillon"),
    ("tcp", "kernel"),
    ("cost", "VXLAN v4"),
    ("scale", "100"),
    ("program", "FDB entries"),
    ("program", "reload, one changed"),
    ("fair", "flooded, profiles"),
    ("controller", "100"),
    ("controller", "all agents, controller killed"),
];

/// A program of this build, which is beside the tests: cargo only tells where a package's own are.
fn beside(name: &str) -> PathBuf {
    let beside = std::env::current_exe().unwrap();
    let binary = beside.ancestors().nth(2).unwrap().join(name);
    assert!(binary.exists(), "{}: build it with `cargo build --package {name}`", binary.display());
    binary
}

fn object() -> PathBuf {
    let object = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/bpf/bpfel-unknown-none/release/sillon-rig");
    assert!(object.exists(), "{}: `cargo xtask test` builds it", object.display());
    object
}

#[test]
fn every_suite_measures_what_it_says() {
    let directory = std::env::temp_dir().join(format!("sillon-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let [json, document] = ["bench.json", "bench.md"].map(|name| directory.join(name));
    std::fs::write(&document, "before\n<!-- bench: begin -->\n<!-- bench: end -->\nafter\n")
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sillon-bench"))
        .args(["--smoke", "--json"])
        .arg(&json)
        .arg("--plot")
        .arg(&directory)
        .arg("--markdown")
        .arg(&document)
        .env("SILLON_BIN", beside("sillon"))
        .env("SILLON_CROWD", beside("sillon-crowd"))
        .env("SILLON_RIG_OBJECT", object())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let told: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let suites = told["suites"].as_array().unwrap();
    assert_eq!(
        suites.iter().map(|suite| suite["suite"].as_str().unwrap()).collect::<Vec<_>>(),
        SUITES
    );
    for (name, who) in MEASURED {
        let suite = suites.iter().find(|suite| suite["suite"] == name).unwrap();
        let cases = suite["cases"].as_array().unwrap();
        let columns = cases.iter().flat_map(|case| case["columns"].as_array().unwrap());
        let samples =
            columns.filter(|column| column["who"] == who).map(|column| &column["samples"]);
        let samples: Vec<f64> =
            samples.flat_map(|all| all.as_array().unwrap()).filter_map(Value::as_f64).collect();
        assert!(
            samples.iter().any(|value| *value > 0.0),
            "{name} has nothing of {who}: {samples:?}"
        );
    }
    // Who is not there says so, with the reason.
    for column in suites.iter().flat_map(|suite| suite["cases"].as_array().unwrap()) {
        for column in column["columns"].as_array().unwrap() {
            assert_ne!(
                column["absent"].is_string(),
                !column["samples"].as_array().unwrap().is_empty(),
                "{column}"
            );
        }
    }
    let document = std::fs::read_to_string(&document).unwrap();
    for picture in document.split("](plots/").skip(1).map(|rest| rest.split_once(')').unwrap().0) {
        assert!(
            directory.join(picture).exists(),
            "{picture} is in the document, but was not drawn"
        );
    }
    assert!(SUITES.iter().all(|suite| document.contains(&format!("](plots/{suite}.svg)"))));
    std::fs::remove_dir_all(&directory).unwrap();
}
