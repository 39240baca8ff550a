//! `sillon verify`: prove that a node's maps keep its operators apart.

use std::{process::ExitCode, time::Duration};

use super::{Output, args::VerifyArgs, exit, node};
use crate::{
    agent::survey::{Tags, survey},
    dataplane::{
        maps::Maps,
        pins::Pins,
        verify::{Live, Report, both, judge},
    },
};

/// How long after a look that found something it is looked again: longer than an agent takes to
/// follow a change of the underlay.
const AGAIN: Duration = Duration::from_millis(200);

/// Checks one node. The exit code is [`exit::DONE`] or [`exit::FAILED`].
pub fn verify(args: &VerifyArgs, output: Output) -> anyhow::Result<ExitCode> {
    let pins = node::existing(&args.which)?;
    let maps = Maps::open(&pins.maps())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let (first, tags) = look(&maps, &pins, None).await?;
        if first.violations.is_empty() {
            return Ok(first);
        }
        // The agent may be at it just now.
        tokio::time::sleep(AGAIN).await;
        Ok::<_, anyhow::Error>(both(&first, look(&maps, &pins, Some(tags)).await?.0))
    })?;
    if args.json {
        output.say_json(&report)?;
    } else {
        output.say(&text(&pins.name(), &report))?;
    }
    Ok(if report.violations.is_empty() { exit::DONE } else { exit::FAILED })
}

async fn look(maps: &Maps, pins: &Pins, tags: Option<Tags>) -> anyhow::Result<(Report, Tags)> {
    let live = Live::read(maps, pins)?;
    let reference = survey(pins, &live, tags).await?;
    Ok((judge(&live, &reference), reference.tags))
}

fn text(node: &str, report: &Report) -> String {
    let checked: Vec<String> =
        report.checked.iter().map(|(what, count)| format!("{count} {what}")).collect();
    let mut text = format!("node {node}: checked {}\n", checked.join(", "));
    for violation in &report.violations {
        let operators: Vec<&str> = violation.operators.iter().map(String::as_str).collect();
        let whom = if operators.is_empty() {
            String::new()
        } else {
            format!(" [{}]", operators.join(", "))
        };
        text += &format!("VIOLATION in {}: {}{whom}\n", violation.of, violation.what);
    }
    text + &match report.violations.len() {
        0 => "everything is where it belongs\n".to_owned(),
        1 => "1 violation\n".to_owned(),
        many => format!("{many} violations\n"),
    }
}
