//! What was measured, for eyes, for documents and for programs.

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::{
    machine::Machine,
    outcome::{Case, Column, Goal, Limit, Outcome, Unit},
    plot,
    stats::Spread,
};

/// How a table looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// On a terminal.
    Plain,
    /// In a document.
    Markdown,
}

fn figure(value: f64, unit: Unit) -> String {
    format!("{:.*}", unit.digits, value / unit.scale)
}

fn spread(spread: Spread, unit: Unit) -> String {
    let [median, least, most] =
        [spread.median, spread.least, spread.most].map(|value| figure(value, unit));
    format!("{median} {} ({least}–{most})", unit.name).replace("  ", " ")
}

fn ratio(spread: Option<Spread>) -> String {
    spread.map_or_else(String::new, |spread| {
        format!("{} ({}–{})", short(spread.median), short(spread.least), short(spread.most))
    })
}

/// With as many digits as say something.
fn short(value: f64) -> String {
    if value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn limit(limit: Limit) -> String {
    match limit {
        Limit::AtLeast(least) => format!("≥ {}", short(least)),
        Limit::AtMost(most) => format!("≤ {}", short(most)),
    }
}

fn empty(look: Look) -> Table {
    let mut table = Table::new();
    table.load_style(match look {
        Look::Plain => presets::NOTHING,
        Look::Markdown => presets::ASCII_MARKDOWN,
    });
    table
}

fn row(case: &Case, column: &Column, references: &[&str]) -> Vec<String> {
    let mut row = vec![case.name.clone(), column.who.clone()];
    if let Err(why) = &column.samples {
        row.push(format!("absent: {why}"));
    } else {
        row.push(
            case.spread(&column.who).map_or_else(String::new, |found| spread(found, case.unit)),
        );
        row.push(case.losses(&column.who).map_or_else(String::new, |(offered, lost)| {
            format!("{:.2} %", 100.0 * lost as f64 / offered as f64)
        }));
        let over = |reference: &&str| {
            (**reference != column.who).then(|| case.ratio(&column.who, reference))
        };
        row.extend(references.iter().map(|reference| ratio(over(reference).flatten())));
    }
    row.resize(4 + references.len(), String::new());
    row
}

fn figures(outcome: &Outcome, look: Look) -> String {
    let mut table = empty(look);
    let mut header = ["what", "who", "median (least–most)", "lost"].map(str::to_owned).to_vec();
    header.extend(outcome.references.iter().map(|reference| format!("over {reference}")));
    table.set_header(header);
    for case in &outcome.cases {
        for column in &case.columns {
            let cells = row(case, column, &outcome.references).into_iter().enumerate().map(
                |(place, text)| {
                    let side = if place < 2 { CellAlignment::Left } else { CellAlignment::Right };
                    Cell::new(text).set_alignment(side)
                },
            );
            table.add_row(cells.collect::<Vec<_>>());
        }
    }
    table.trim_fmt()
}

/// The goals of all suites.
pub fn goals<'a>(goals: impl Iterator<Item = &'a Goal>, look: Look) -> String {
    let mut table = empty(look);
    table.set_header(["goal", "measured", "limit", ""]);
    for goal in goals {
        table.add_row([
            goal.what.clone(),
            ratio(goal.measured),
            limit(goal.limit),
            goal.verdict().to_owned(),
        ]);
    }
    table.trim_fmt()
}

fn pictures(outcome: &Outcome) -> String {
    let picture = |(name, _)| format!("![{}](plots/{name}.svg)\n\n", outcome.title);
    plot::pictures(outcome).into_iter().map(picture).collect()
}

/// All of it.
pub fn text(machine: &Machine, outcomes: &[Outcome], look: Look) -> String {
    let mut text = format!("{machine}\n");
    for outcome in outcomes {
        text += &match look {
            Look::Plain => format!("\n{}: {}\n", outcome.suite.to_uppercase(), outcome.title),
            Look::Markdown => {
                format!("\n### {}\n\n{}.\n\n{}", outcome.suite, outcome.title, pictures(outcome))
            }
        };
        text += &figures(outcome, look);
        text += "\n";
        for note in &outcome.notes {
            text += &format!("{}{note}\n", if look == Look::Markdown { "\n" } else { "  " });
        }
    }
    text += if look == Look::Markdown { "\n### Goals\n\n" } else { "\nGOALS\n" };
    text += &goals(outcomes.iter().flat_map(|outcome| &outcome.goals), look);
    text + "\n"
}

fn spread_json(spread: Option<Spread>) -> Value {
    spread.map_or(
        Value::Null,
        |Spread { median, least, most }| json!({ "median": median, "least": least, "most": most }),
    )
}

fn column_json(case: &Case, column: &Column, references: &[&str]) -> Value {
    let over = references.iter().filter(|reference| **reference != column.who);
    let over: serde_json::Map<String, Value> = over
        .map(|reference| ((*reference).to_owned(), spread_json(case.ratio(&column.who, reference))))
        .collect();
    let losses = case.losses(&column.who);
    json!({
        "who": column.who,
        "absent": column.samples.as_ref().err(),
        "value": spread_json(case.spread(&column.who)),
        "samples": case.samples(&column.who).unwrap_or_default().iter().map(|one| one.value).collect::<Vec<_>>(),
        "offered": losses.map(|(offered, _)| offered),
        "lost": losses.map(|(_, lost)| lost),
        "over": over,
    })
}

/// For programs. Values are in frames/s, seconds, bit/s, bytes or nanoseconds, whatever the tables
/// scale them to.
pub fn json(machine: &Machine, outcomes: &[Outcome]) -> Value {
    let goal = |goal: &Goal| {
        json!({
            "what": goal.what, "limit": limit(goal.limit), "measured": spread_json(goal.measured),
            "verdict": goal.verdict(),
        })
    };
    let outcome = |outcome: &Outcome| {
        let case = |case: &Case| {
            let columns =
                case.columns.iter().map(|column| column_json(case, column, &outcome.references));
            json!({ "case": case.name, "unit": case.unit.name, "columns": columns.collect::<Vec<_>>() })
        };
        json!({
            "suite": outcome.suite,
            "title": outcome.title,
            "cases": outcome.cases.iter().map(case).collect::<Vec<_>>(),
            "goals": outcome.goals.iter().map(goal).collect::<Vec<_>>(),
            "notes": outcome.notes,
        })
    };
    json!({ "machine": machine.json(), "suites": outcomes.iter().map(outcome).collect::<Vec<_>>() })
}

const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";

/// A document with `generated` between its two marks; none where it has no marks.
pub fn between_marks(document: &str, generated: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{generated}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{FRAMES, Sample};

    fn outcome() -> Outcome {
        let column = |who: &str, samples| Column { who: who.to_owned(), samples };
        let sample = |value| Sample { value, offered: 1000, lost: 5 };
        let columns = vec![
            column("sillon", Ok(vec![sample(1.5e6), sample(1.4e6), sample(1.6e6)])),
            column("bare", Ok(vec![sample(2e6), sample(2e6), sample(2e6)])),
            column("ovs", Err("not installed".to_owned())),
        ];
        let case = Case { name: "a case".to_owned(), unit: FRAMES, columns };
        let goals =
            ["bare", "ovs"].map(|over| Goal::ratio(&case, "sillon", over, Limit::AtLeast(0.8)));
        Outcome {
            suite: "forward",
            title: "how it goes",
            references: vec!["bare"],
            goals: goals.into(),
            notes: Vec::new(),
            cases: vec![case],
        }
    }

    #[test]
    fn a_table_has_figures_ratios_losses_and_who_is_absent() {
        let text = text(&Machine::default(), &[outcome()], Look::Plain);
        for part in [
            "1.500 M/s (1.400–1.600)",
            "0.75 (0.70–0.80)",
            "0.50 %",
            "absent: not installed",
            "MISSED",
            "not measured",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }

    #[test]
    fn json_has_every_sample_and_the_verdicts() {
        let json = json(&Machine::default(), &[outcome()]);
        let case = &json["suites"][0]["cases"][0];
        assert_eq!(case["columns"][0]["samples"], json!([1.5e6, 1.4e6, 1.6e6]));
        assert_eq!(case["columns"][0]["over"]["bare"]["median"], 0.75);
        assert_eq!(case["columns"][2]["absent"], "not installed");
        assert_eq!(json["suites"][0]["goals"][0]["verdict"], "MISSED");
    }

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let document = format!("before\n{BEGIN}\nold\n{END}\nafter");
        let changed = between_marks(&document, "new\n").unwrap();
        assert_eq!(changed, format!("before\n{BEGIN}\nnew\n{END}\nafter"));
        assert_eq!(between_marks(&changed, "new\n").unwrap(), changed);
        assert_eq!(between_marks("no marks", "new\n"), None);
    }
}
