//! What a controller does with many agents and attachments. `sillon-crowd` (`tests/crowd`) plays
//! the agents, over the real protocol and TLS; here is what is measured, and what is to be reached.

use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::{
    outcome::{
        Case, Column, Goal, Limit, MEBIBYTES, MILLISECONDS, Outcome, SECONDS, Sample, TIMES, Unit,
    },
    stats::Spread,
    turns::Bench,
};

/// A change is at its agent within so many seconds, of a hundred and at worst (issue 4).
const REACHES: [(&str, f64); 2] = [("99 of 100", 0.1), ("the worst", 1.0)];
/// All agents are in sync again within so many seconds.
const IN_SYNC: f64 = 10.0;
/// The controller's memory, bytes.
const MEMORY: f64 = (1_u64 << 30) as f64;
/// What 99 of 100 small changes of one operator take beside another's flood, over what they take
/// alone.
const FAIR: f64 = 2.0;
/// Durable transactions in a second.
const RATE: f64 = 2000.0;
/// The slowest size may be so many times as slow as the fastest.
const FLAT: f64 = 1.5;

/// How much of everything there is.
struct Size {
    nodes: u32,
    attachments: &'static [u32],
    visits: u32,
    rate: u32,
    rounds: u32,
    milliseconds: u32,
    restarts: u32,
}

const TINY: Size = Size {
    nodes: 20,
    attachments: &[100],
    visits: 10,
    rate: 20,
    rounds: 1,
    milliseconds: 50,
    restarts: 1,
};
const QUICK: Size = Size {
    nodes: 100,
    attachments: &[1_000, 10_000],
    visits: 200,
    rate: 50,
    rounds: 3,
    milliseconds: 500,
    restarts: 1,
};
const FULL: Size = Size {
    nodes: 1_000,
    attachments: &[1_000, 10_000, 100_000],
    visits: 1_000,
    rate: 50,
    rounds: 5,
    milliseconds: 1_500,
    restarts: 3,
};

/// Measures.
///
/// # Errors
/// A controller can't be started, or does not do what it is asked.
pub fn run(bench: &Bench) -> anyhow::Result<Outcome> {
    let size = bench.pick(&TINY, &QUICK, &FULL);
    let (mut cases, mut goals) = (Vec::new(), Vec::new());
    for (name, more) in
        [("transactions, only the rules", &["--pure"][..]), ("transactions, durable", &[])]
    {
        bench.say(name);
        let case = transactions(bench, size, name, more)?;
        goals.push(flat(&case));
        if more.is_empty() {
            goals.push(slowest(&case));
        }
        cases.push(case);
    }
    bench.say("one operator beside another's flood");
    let fair = fair(bench, size)?;
    goals.push(beside(&fair));
    cases.push(fair);
    let largest = size.attachments.last().copied().unwrap_or_default();
    bench.say(&format!("{} agents, {largest} attachments", size.nodes));
    let told = crowd(
        bench,
        &[
            "follow".to_owned(),
            format!("--nodes={}", size.nodes),
            format!("--attachments={largest}"),
            format!("--visits={}", size.visits),
            format!("--rate={}", size.rate),
            format!("--restarts={}", size.restarts),
        ],
    )?;
    let (reaches, in_sync, memory) = followed(&told)?;
    for (who, most) in REACHES {
        goals.push(at_most(&reaches, who, most));
    }
    goals.push(at_most(&in_sync, "all agents, controller killed", IN_SYNC));
    goals.push(at_most(&memory, "controller", MEMORY));
    cases.extend([reaches, in_sync, memory]);
    let load = told["changes_a_second"].as_f64().unwrap_or_default();
    let cpu = told["cpu_share"].as_f64().unwrap_or_default();
    Ok(Outcome {
        suite: "controller",
        title: "One controller with many agents and attachments",
        cases,
        references: Vec::new(),
        goals,
        notes: vec![format!(
            "Transactions: of 256 who ask at once, each attaching and detaching; durable is with the embedded store, audit entries and their signatures. Agents: {} over TLS, with {largest} attachments; \
             {load:.0} changes a second by twenty operators through the API, for which the controller took {cpu:.2} of a CPU; from the request to the agent concerned. In sync: from SIGKILL of the controller until each agent has heard what it should have.",
            size.nodes
        )],
    })
}

/// What the crowd prints.
fn crowd(bench: &Bench, arguments: &[String]) -> anyhow::Result<Value> {
    let output = Command::new(&bench.crowd)
        .args(arguments)
        .env("SILLON_BIN", &bench.sillon)
        .output()
        .with_context(|| bench.crowd.display().to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "sillon-crowd {arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).context("what sillon-crowd prints")
}

fn transactions(bench: &Bench, size: &Size, name: &str, more: &[&str]) -> anyhow::Result<Case> {
    let sizes: Vec<String> = size.attachments.iter().map(ToString::to_string).collect();
    let mut arguments = vec![
        "transactions".to_owned(),
        format!("--nodes={}", size.nodes),
        format!("--attachments={}", sizes.join(",")),
        format!("--rounds={}", size.rounds),
        format!("--milliseconds={}", size.milliseconds),
    ];
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    let told = crowd(bench, &arguments)?;
    let all = told.as_array().context("no sizes")?;
    let columns =
        all.iter().map(|one| Ok(column(&one["attachments"].to_string(), floats(&one["rates"])?)));
    Ok(Case {
        name: name.to_owned(),
        unit: TIMES,
        columns: columns.collect::<anyhow::Result<_>>()?,
    })
}

const ALONE: &str = "99 of 100, alone";
const BESIDE: &str = "99 of 100, beside another's flood";

/// How long a small change takes.
fn fair(bench: &Bench, size: &Size) -> anyhow::Result<Case> {
    let told = crowd(
        bench,
        &[
            "fair".to_owned(),
            format!("--rounds={}", size.rounds),
            format!("--changes={}", size.visits.clamp(20, 500)),
        ],
    )?;
    let columns =
        vec![column(ALONE, floats(&told["alone"])?), column(BESIDE, floats(&told["beside"])?)];
    Ok(Case { name: "a small change of one operator".to_owned(), unit: MILLISECONDS, columns })
}

/// What a flood makes of it, round by round.
fn beside(case: &Case) -> Goal {
    let of = |who| case.samples(who).unwrap_or_default();
    let ratios = of(BESIDE).iter().zip(of(ALONE)).map(|(beside, alone)| beside.value / alone.value);
    let what = format!("{}: beside another's flood over alone", case.name);
    Goal { what, limit: Limit::AtMost(FAIR), measured: Spread::of(ratios) }
}

/// How soon changes are there, how soon all are in sync, and what that takes.
fn followed(told: &Value) -> anyhow::Result<(Case, Case, Case)> {
    let case = |name: &str, unit: Unit, columns: Vec<Column>| Case {
        name: name.to_owned(),
        unit,
        columns,
    };
    let mut changes = floats(&told["changes"])?;
    changes.sort_by(f64::total_cmp);
    let rank = |share: f64| changes[((changes.len() - 1) as f64 * share).ceil() as usize];
    let reaches = [("half of all", 0.5), (REACHES[0].0, 0.99), (REACHES[1].0, 1.0)];
    let reaches = reaches.map(|(who, share)| column(who, vec![rank(share)]));
    let first = told["first"].as_f64().context("first")?;
    let in_sync = vec![
        column("the controller is ready", floats(&told["ready"])?),
        column("all agents, with nothing before", vec![first]),
        column("all agents, controller killed", floats(&told["again"])?),
    ];
    let memory = vec![column("controller", floats(&told["memory"])?)];
    Ok((
        case("a change reaches its agent", MILLISECONDS, reaches.into()),
        case("in sync", SECONDS, in_sync),
        case("most memory", MEBIBYTES, memory),
    ))
}

fn floats(value: &Value) -> anyhow::Result<Vec<f64>> {
    let all: Vec<f64> =
        value.as_array().context("no list")?.iter().filter_map(Value::as_f64).collect();
    anyhow::ensure!(!all.is_empty(), "nothing was measured");
    Ok(all)
}

fn column(who: &str, values: Vec<f64>) -> Column {
    Column { who: who.to_owned(), samples: Ok(values.into_iter().map(Sample::from).collect()) }
}

/// The fastest size over the slowest, round by round.
fn flat(case: &Case) -> Goal {
    let all: Vec<&[Sample]> =
        case.columns.iter().filter_map(|column| case.samples(&column.who)).collect();
    let rounds = all.iter().map(|samples| samples.len()).min().unwrap_or(0);
    let ratios = (0..rounds).map(|round| {
        let of_round = all.iter().map(|samples| samples[round].value);
        of_round.clone().fold(0.0, f64::max) / of_round.fold(f64::MAX, f64::min)
    });
    let what = format!("{}: the fastest size over the slowest", case.name);
    Goal { what, limit: Limit::AtMost(FLAT), measured: Spread::of(ratios) }
}

/// The size that has the fewest.
fn slowest(case: &Case) -> Goal {
    let all = case.columns.iter().filter_map(|column| case.spread(&column.who));
    let measured = all.min_by(|one, two| one.median.total_cmp(&two.median));
    Goal { what: format!("{}, a second", case.name), limit: Limit::AtLeast(RATE), measured }
}

fn at_most(case: &Case, who: &str, most: f64) -> Goal {
    let scale = case.unit.scale;
    let spread = case.spread(who).map(|spread| Spread {
        median: spread.median / scale,
        least: spread.least / scale,
        most: spread.most / scale,
    });
    let what = format!("{}, {who}, {}", case.name, case.unit.name);
    Goal { what, limit: Limit::AtMost(most / scale), measured: spread }
}
