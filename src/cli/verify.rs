//! `sillon verify`: prove that a node's maps keep its operators apart.

use std::process::ExitCode;

use super::{Output, args::VerifyArgs, exit, node};
use crate::dataplane::{
    maps::Maps,
    verify::{Live, Report, verify as prove},
};

/// Checks one node. The exit code is [`exit::DONE`] or [`exit::FAILED`].
pub fn verify(args: &VerifyArgs, output: Output) -> anyhow::Result<ExitCode> {
    let pins = node::existing(&args.which)?;
    let maps = Maps::open(&pins.maps())?;
    let report = prove(&Live::read(&maps, &pins)?);
    if args.json {
        output.say_json(&report)?;
    } else {
        output.say(&text(&pins.name(), &report))?;
    }
    Ok(if report.violations.is_empty() { exit::DONE } else { exit::FAILED })
}

fn text(node: &str, report: &Report) -> String {
    let checked: Vec<String> = report.checked.iter().map(|(what, count)| format!("{count} {what}")).collect();
    let mut text = format!("node {node}: checked {}\n", checked.join(", "));
    for violation in &report.violations {
        let operators: Vec<&str> = violation.operators.iter().map(String::as_str).collect();
        let whom = if operators.is_empty() { String::new() } else { format!(" [{}]", operators.join(", ")) };
        text += &format!("VIOLATION in {}: {}{whom}\n", violation.of, violation.what);
    }
    text + &match report.violations.len() {
        0 => "everything is where it belongs\n".to_owned(),
        1 => "1 violation\n".to_owned(),
        many => format!("{many} violations\n"),
    }
}
