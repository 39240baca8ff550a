//! Drawings of what was measured, as SVG.

use std::path::Path;

use plotters::{coord::Shift, prelude::*};

use crate::outcome::{Case, Outcome};

const SIZE: (u32, u32) = (960, 420);
const FONT: (&str, u32) = ("sans-serif", 13);
/// Of the contenders, in their order; told apart by those who do not see red and green, too (Okabe
/// and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(120, 120, 120),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("drawing: {error}")
}

/// The names of all contenders, in the order in which they come.
fn contenders(cases: &[&Case]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for column in cases.iter().flat_map(|case| &case.columns) {
        if !names.contains(&column.who) {
            names.push(column.who.clone());
        }
    }
    names
}

fn value(case: &Case, who: &str) -> Option<f64> {
    case.spread(who).map(|spread| spread.median / case.unit.scale)
}

fn most(cases: &[&Case]) -> f64 {
    let values = cases
        .iter()
        .flat_map(|case| case.columns.iter().filter_map(|column| value(case, &column.who)));
    values.fold(0.0, f64::max).max(f64::MIN_POSITIVE)
}

/// The names of a suite's pictures, and the unit of what is in each.
pub fn pictures(outcome: &Outcome) -> Vec<(String, &'static str)> {
    let mut pictures: Vec<(String, &'static str)> = Vec::new();
    for unit in outcome.cases.iter().map(|case| case.unit.name) {
        if pictures.iter().any(|(_, known)| *known == unit) {
            continue;
        }
        let word: String =
            unit.replace('µ', "u").chars().filter(char::is_ascii_alphanumeric).collect();
        let word = if word.is_empty() { "share" } else { &word };
        let suite = outcome.suite;
        pictures.push((
            if pictures.is_empty() { suite.to_owned() } else { format!("{suite}-{word}") },
            unit,
        ));
    }
    pictures
}

/// Writes `SUITE.svg`, and `SUITE-UNIT.svg` for what is in other units than most.
///
/// # Errors
/// A file can't be written.
pub fn draw(outcome: &Outcome, directory: &Path) -> anyhow::Result<()> {
    for (name, unit) in pictures(outcome) {
        let cases: Vec<&Case> =
            outcome.cases.iter().filter(|case| case.unit.name == unit).collect();
        let path = directory.join(format!("{name}.svg"));
        let root = SVGBackend::new(&path, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        bars(&root, outcome.title, &cases)?;
        root.present().map_err(failed)?;
    }
    Ok(())
}

fn bars(root: &Area<'_>, title: &str, cases: &[&Case]) -> anyhow::Result<()> {
    let names = contenders(cases);
    let groups = cases.len();
    let mut chart = ChartBuilder::on(root)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..groups as f64, 0.0..most(cases) * 1.15)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .y_desc(cases.first().map_or("", |case| case.unit.name))
        .label_style(FONT)
        .draw()
        .map_err(failed)?;
    let width = 0.8 / names.len().max(1) as f64;
    for (place, name) in names.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let bar = |(group, case): (usize, &&Case)| {
            let left = group as f64 + 0.1 + width * place as f64;
            value(case, name)
                .map(|top| Rectangle::new([(left, 0.0), (left + width, top)], colour.filled()))
        };
        let series = chart.draw_series(cases.iter().enumerate().filter_map(bar)).map_err(failed)?;
        series
            .label(name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled()));
    }
    legend(&mut chart)?;
    let column = f64::from(SIZE.0 - 80) / groups.max(1) as f64;
    for (group, case) in cases.iter().enumerate() {
        let middle = 70.0 + column * (group as f64 + 0.5);
        // Two rows in turn, and as small as they must be: names are longer than their bars are
        // wide.
        let size = (column / case.name.len().max(1) as f64 * 3.2).clamp(6.0, 12.0);
        let style = ("sans-serif", size).into_font().color(&BLACK);
        let at = (
            middle as i32 - (size * 0.25 * case.name.len() as f64) as i32,
            SIZE.1 as i32 - 40 + 14 * (group as i32 % 2),
        );
        root.draw(&Text::new(case.name.clone(), at, style)).map_err(failed)?;
    }
    Ok(())
}

fn legend<'a, X, Y>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
) -> anyhow::Result<()>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    let mut labels = chart.configure_series_labels();
    labels
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK);
    labels.label_font(FONT).draw().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Column, FRAMES};

    #[test]
    fn what_was_measured_is_drawn_and_what_is_absent_is_not() {
        let directory = std::env::temp_dir().join(format!("sillon-plot-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let columns = vec![
            Column { who: "sillon".to_owned(), samples: Ok(vec![1e6.into()]) },
            Column { who: "ovs".to_owned(), samples: Err("not installed".to_owned()) },
        ];
        let case = Case { name: "a case".to_owned(), unit: FRAMES, columns };
        let outcome = Outcome {
            suite: "forward",
            title: "how it goes",
            cases: vec![case],
            references: Vec::new(),
            goals: Vec::new(),
            notes: Vec::new(),
        };
        draw(&outcome, &directory).unwrap();
        let svg = std::fs::read_to_string(directory.join("forward.svg")).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("sillon") && svg.contains("how it goes"));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
