//! The elections of the Raft paper's Figure 16, and what it left open.

use std::fs;

use anyhow::Result;
use serde::Deserialize;

use super::plot::{Plot, Scale, Series};
use super::table::{Table, share, short};
use crate::command::{cargo, text};
use crate::workspace::root;

/// The drawings: as the paper has them, its upper and its lower half.
const DRAWINGS: [(&str, &str, &str, Scale); 2] = [
    (
        "Randomness",
        "More and more randomness",
        "docs/pictures/figure16-randomness.svg",
        Scale::Logarithmic(100.0, 100_000.0),
    ),
    (
        "Scale",
        "Shorter and shorter timeouts",
        "docs/pictures/figure16-scale.svg",
        Scale::Linear(0.0, 600.0),
    ),
];

/// How many elections of each kind there are.
const TRIALS: &str = "1000";
const QUICK_TRIALS: &str = "20";

/// What the paper and the dissertation report of these, in milliseconds.
const REPORTED: [(&str, &str, &str); 6] = [
    ("Randomness", "150–150 ms", "most longer than 10,000"),
    ("Randomness", "150–155 ms", "median 287"),
    ("Randomness", "150–200 ms", "worst 513"),
    ("Scale", "12–24 ms", "mean 35, worst 152"),
    ("WideArea", "1 of 5 down", "mean 475"),
    ("WideArea", "2 of 5 down", "mean 650"),
];

/// Elections of one kind, as the program prints them: the time of each in milliseconds, unless
/// nobody was elected.
#[derive(Debug, Deserialize)]
struct Row {
    part: String,
    name: String,
    graft: Vec<Option<f64>>,
    extended: Vec<Option<f64>>,
}

/// Plays all, and draws them.
///
/// # Errors
///
/// The simulator can't be built, or a rule was broken.
pub(super) fn measure(quick: bool) -> Result<String> {
    let mut example = cargo(["run", "--quiet", "--release", "--locked"])?;
    example.args(["--package", "graft-election-simulator", "--example", "figure16", "--"]);
    example.args(["--trials", if quick { QUICK_TRIALS } else { TRIALS }]);
    let rows: Vec<Row> = serde_json::from_str(&text(example)?)?;
    let mut pictures = String::new();
    for (part, title, file, scale) in DRAWINGS {
        pictures += &format!("![{title}: the share of elections, by the time.]({file})\n\n");
        if !quick {
            fs::write(root()?.join(file), draw(&rows, part, title, scale))?;
        }
    }
    Ok(section(&rows, &pictures))
}

fn section(rows: &[Row], pictures: &str) -> String {
    let mut section = format!(
        "The Raft paper's Figure 16\n\
         The real core in the [simulator](tests/simulator/README.md), as in the paper: five nodes, \
         a request and its answer take 15 ms (a message 1 to 13, a save up to 2), a heartbeat \
         every half of the least election timeout, a leader that crashes at any moment, and two of \
         the survivors know too little to be elected.\n1,000 elections a line. Graft mode is the \
         plain election of Raft, which the paper measured; Extended\nmode has pre-votes, and its \
         time ends with the leader's lease. In the pictures Extended mode is dashed.\n\n{pictures}"
    );
    for (part, title) in [
        ("Randomness", "more randomness"),
        ("Scale", "shorter timeouts"),
        ("WideArea", "dissertation, wide area: 30 to 40 ms a message, 300–600 ms"),
        ("Open", "left open by both, 150–300 ms"),
    ] {
        let mut table = Table::new(&[
            &format!("{title}; times in ms"),
            "Graft: median",
            "mean",
            "95 %",
            "worst",
            "reported",
            "Extended: median",
            "mean",
            "95 %",
            "worst",
        ]);
        for row in rows.iter().filter(|row| row.part == part) {
            let reported = REPORTED.iter().find(|it| (it.0, it.1) == (part, row.name.as_str()));
            let mut cells = vec![row.name.clone()];
            cells.extend(figures(&row.graft));
            cells.push(reported.map_or("", |it| it.2).to_owned());
            cells.extend(figures(&row.extended));
            table.row(&cells);
        }
        section += &format!("{}\n", table.finish());
    }
    section
}

/// Median, mean, 95th percentile and worst. Who is never elected is the worst.
fn figures(times: &[Option<f64>]) -> [String; 4] {
    let sorted = sorted(times);
    let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
    let show = |time: f64| if time.is_finite() { short(time) } else { "never".to_owned() };
    [share(&sorted, 0.5), mean, share(&sorted, 0.95), share(&sorted, 1.0)].map(show)
}

fn sorted(times: &[Option<f64>]) -> Vec<f64> {
    let mut sorted: Vec<f64> = times.iter().map(|time| time.unwrap_or(f64::INFINITY)).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn draw(rows: &[Row], part: &str, title: &'static str, scale: Scale) -> String {
    let rows = || rows.iter().filter(|row| row.part == part).enumerate();
    let series = |name: String, colour, times: &[Option<f64>], is_dashed| {
        let sorted = sorted(times);
        let count = sorted.len() as f64;
        let share = |(rank, time): (usize, &f64)| (*time, (rank + 1) as f64 / count * 100.0);
        let points = sorted.iter().enumerate().filter(|it| it.1.is_finite()).map(share).collect();
        Series { name, colour, points, is_dashed }
    };
    let graft = rows().map(|(colour, row)| series(row.name.clone(), colour, &row.graft, false));
    let extended = rows().map(|(colour, row)| {
        series(format!("{}, Extended", row.name), colour, &row.extended, true)
    });
    let series = graft.chain(extended).collect();
    let x = ("time without a leader, ms", scale);
    Plot { title, x, y: ("% of elections", Scale::Linear(0.0, 100.0)), series }.draw()
}
