//! The commands of the tutorials, run as a reader types them: one after the other, in the shell
//! that the first of them starts. What a page shows of their output has to come in that order.
//!
//! In a page, a block ```` ```sh ```` is run and must succeed; of ```` ```sh fails ```` it is asked
//! that it fails; a block ```` ```text ```` behind it is what it prints, with `…` for what
//! differs from run to run.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

use super::ROOT;

/// What ends a block's output, with its number before it.
const MARK: &str = "@@ done";
/// Nobody waits longer for a page, in seconds.
const PATIENCE: &str = "180";

/// Commands, and what they print.
#[derive(Debug, Default)]
struct Step {
    commands: String,
    fails: bool,
    prints: String,
}

fn steps(page: &str) -> Vec<Step> {
    let text = std::fs::read_to_string(Path::new(ROOT).join(page)).unwrap();
    let mut steps: Vec<Step> = Vec::new();
    let mut language = None;
    for event in Parser::new(&text) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(name))) => {
                if name.starts_with("sh") {
                    steps.push(Step { fails: &*name == "sh fails", ..Step::default() });
                }
                language = Some(name.into_string());
            }
            Event::End(TagEnd::CodeBlock) => language = None,
            Event::Text(words) => match (language.as_deref(), steps.last_mut()) {
                (Some("sh" | "sh fails"), Some(step)) => step.commands.push_str(&words),
                (Some("text"), Some(step)) => step.prints.push_str(&words),
                (Some("mermaid") | None, _) | (_, None) => {}
                (Some(other), _) => panic!("{page}: what is a block {other:?}?"),
            },
            _ => {}
        }
    }
    steps
}

/// The steps as one script for a shell's standard input: a shell that one of them starts reads the
/// rest. Every shell stops at the first command that fails, so that nothing is run in the one that
/// was left.
fn script(steps: &[Step]) -> String {
    let step = |(number, step): (usize, &Step)| {
        let commands = step.commands.trim_end();
        let run = if step.fails {
            format!("if {{ {commands}\n}}; then echo 'it did not fail'; exit 1; fi")
        } else {
            commands.to_owned()
        };
        format!("{run}\nset -e\necho\necho '{number}{MARK}'\n")
    };
    "set -e\n".to_owned() + &steps.iter().enumerate().map(step).collect::<String>()
}

/// Runs a page in network, mount and process namespaces of its own, and returns its output.
fn run(script: &str) -> String {
    let bin = tempfile::tempdir().unwrap();
    // Who tests is root, and may have no sudo.
    let sudo = bin.path().join("sudo");
    std::fs::write(&sudo, "#!/bin/sh\nexec \"$@\"\n").unwrap();
    Command::new("chmod").arg("+x").arg(&sudo).status().unwrap();
    let sillon = Path::new(env!("CARGO_BIN_EXE_sillon")).parent().unwrap();
    let path = format!(
        "{}:{}:{}",
        bin.path().display(),
        sillon.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut shell = Command::new("timeout")
        .args(["--signal=KILL", PATIENCE])
        .args(["unshare", "--net", "--mount", "--propagation=private"])
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["bash", "-c", "exec 2>&1; exec bash"])
        .env("PATH", path)
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = shell.stdin.take().unwrap();
    // A shell that ended early does not read the rest; its output says why.
    let _ = stdin.write_all(script.as_bytes());
    drop(stdin);
    String::from_utf8_lossy(&shell.wait_with_output().unwrap().stdout).into_owned()
}

/// Whether a line that was printed is one that the page shows: `…` stands for anything, and how
/// wide columns are does not matter.
fn is_shown(printed: &str, shown: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (printed, shown) = (words(printed), words(shown));
    let parts: Vec<&str> = shown.split('…').map(str::trim).collect();
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return false };
    if parts.len() == 1 {
        return printed == shown;
    }
    let Some(mut rest) = printed.strip_prefix(first) else { return false };
    for part in parts.iter().take(parts.len() - 1).skip(1) {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

fn works(page: &str) {
    let steps = steps(page);
    assert!(steps.len() > 5, "{page}: {} steps", steps.len());
    let output = run(&script(&steps));
    let mut rest = output.as_str();
    for (number, step) in steps.iter().enumerate() {
        let Some((printed, after)) = rest.split_once(&format!("{number}{MARK}")) else {
            panic!("{page}: this did not work:\n{}\nIt printed:\n{rest}", step.commands);
        };
        let mut lines = printed.lines();
        for shown in
            step.prints.lines().filter(|line| !line.trim().is_empty() && line.trim() != "…")
        {
            assert!(
                lines.any(|printed| is_shown(printed, shown)),
                "{page}: {}\nprinted no {shown:?} (or not in this order), but\n{printed}",
                step.commands
            );
        }
        rest = after;
    }
}

#[test]
fn every_command_of_the_first_node_works() {
    works("docs/tutorial/first-node.md");
}

#[test]
fn every_command_of_the_first_fabric_works() {
    works("docs/tutorial/first-fabric.md");
}

#[test]
fn a_shown_line_stands_for_printed_ones() {
    assert!(is_shown("  a   b c", "a b c"));
    assert!(is_shown("64 bytes: time=0.08 ms", "64 bytes: time=… ms"));
    assert!(!is_shown("64 bytes: time=0.08 ms", "64 bytes: … s ms"));
    assert!(is_shown("p1 tc - 9a:59", "p1 … tc … …"));
    assert!(!is_shown("p2 tc", "p1 …"));
}
