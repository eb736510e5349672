//! A cluster as an observer sees it, for people and for programs.

use std::time::{Duration, SystemTime};

use anstyle::{AnsiColor, Style};
use graft_election::core::LeaderValue;
use graft_election::{ClusterView, LeaderView, NodeView, ObservedRole};
use serde::Serialize;

use crate::report::timestamp;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Nobody has checked who says what is shown.
pub(crate) const UNVERIFIED: &str =
    "unverified: the nodes have a key, and without --key-file anybody may have said this";

/// From when on it says something that a leader has been heard for that long.
const LISTENED_MIN: Duration = Duration::from_secs(10);

const HEADINGS: [&str; 8] =
    ["NODE", "ROLE", "TERM", "HEARD", "ANSWERS IN", "PRIORITY", "SIZE", "LIST"];

/// What is known, in lines for people.
pub(crate) fn as_text(view: &ClusterView) -> Vec<String> {
    let mut lines = vec![headline(view)];
    lines.extend(table(&view.nodes));
    let style = AnsiColor::Red.on_default();
    lines.extend(view.disagreements.iter().map(|found| format!("{style}{found}{style:#}")));
    let style = AnsiColor::Yellow.on_default();
    lines.extend(doubts(view).iter().map(|doubt| format!("{style}{doubt}{style:#}")));
    lines
}

/// What the cluster's key has to say about it.
fn doubts(view: &ClusterView) -> Vec<String> {
    let unverified = view.is_unverified.then(|| UNVERIFIED.to_owned());
    let dropped: u64 = view.unauthentic.values().sum();
    let causes = view.unauthentic.iter().map(|(fault, count)| format!("{count} {}", fault.name()));
    let causes = causes.collect::<Vec<_>>().join(", ");
    let unauthentic =
        (dropped > 0).then(|| format!("dropped for their seals: {dropped} messages ({causes})"));
    unverified.into_iter().chain(unauthentic).collect()
}

fn headline(view: &ClusterView) -> String {
    let (cluster, term) = (&view.cluster, &view.term);
    let Some(leader) = &view.leader else {
        let style = AnsiColor::Yellow.on_default();
        let words = match (view.nodes.is_empty(), view.has_listened) {
            (true, _) if *term == 0 => {
                return format!("{BOLD}{cluster}{BOLD:#}: nothing heard yet");
            }
            (_, true) => "nobody leads",
            // There may be one.
            (_, false) => "no leader heard",
        };
        return format!("{BOLD}{cluster}{BOLD:#}: {style}{words}{style:#} (term {term})");
    };
    let LeaderView { id, term, value, led_for, began_here, lease_left, .. } = leader;
    let style = AnsiColor::Green.on_default().bold();
    let led_for = match began_here {
        true => format!(", for {}", short(*led_for)),
        // Whoever has listened for a moment doesn't know.
        false if *led_for < LISTENED_MIN => String::new(),
        false => format!(", for at least {}", short(*led_for)),
    };
    let lease = match lease_left {
        Some(left) => format!(", and its lease lasts for another {}", short(*left)),
        None => String::new(),
    };
    let said = said(value);
    format!(
        "{BOLD}{cluster}{BOLD:#}: {style}{id} leads{style:#} in term {term}{led_for}{lease}{said}"
    )
}

/// What a leader says beside that it leads, if it says something: quoted, since it may be anything.
pub(crate) fn said(value: &LeaderValue) -> String {
    if value.is_empty() { String::new() } else { format!(", and says {:?}", value.to_string()) }
}

/// The nodes, a line each, in columns as wide as what is in them.
fn table(nodes: &[NodeView]) -> Vec<String> {
    let rows: Vec<[String; 8]> = nodes.iter().map(cells).collect();
    let widths: Vec<usize> = HEADINGS
        .iter()
        .enumerate()
        .map(|(column, heading)| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default().max(heading.len())
        })
        .collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let headings = line(&HEADINGS.map(str::to_owned));
    let rows = nodes.iter().zip(&rows).map(|(node, row)| {
        let style = style_of(node);
        format!("{style}{}{style:#}", line(row))
    });
    std::iter::once(format!("{DIM}{headings}{DIM:#}")).chain(rows).collect()
}

fn cells(node: &NodeView) -> [String; 8] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let role = match (node.is_silent, node.is_go) {
        (true, _) => "silent".to_owned(),
        (false, true) => format!("{} (Go)", node.role),
        (false, false) if node.is_paused => format!("{} (paused)", node.role),
        (false, false) => node.role.to_string(),
    };
    let priority = node.priority.filter(|_| !node.is_paused).map(|priority| match priority {
        0 => "witness".to_owned(),
        priority => priority.to_string(),
    });
    [
        node.id.to_string(),
        role,
        or_dash(node.term.map(|term| term.to_string())),
        format!("{} ago", short(node.silent_for)),
        or_dash(node.acknowledged_in.map(short)),
        or_dash(priority),
        or_dash(node.size.map(|size| size.to_string())),
        or_dash(node.list.map(|list| list.to_string())),
    ]
}

fn style_of(node: &NodeView) -> Style {
    if node.is_silent {
        return DIM;
    }
    match node.role {
        ObservedRole::Leader => AnsiColor::Green.on_default().bold(),
        ObservedRole::Candidate => AnsiColor::Yellow.on_default(),
        ObservedRole::PreCandidate => AnsiColor::Cyan.on_default(),
        ObservedRole::Follower | ObservedRole::Unknown => Style::new(),
    }
}

/// A time to three digits, or so.
fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 if time.as_millis() < 10 => format!("{:.1}ms", time.as_secs_f64() * 1e3),
        0 => format!("{}ms", time.as_millis()),
        1..60 => format!("{:.1}s", time.as_secs_f64()),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// What is known, for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Seen<'v> {
    /// When it was seen, in UTC.
    ts: String,
    #[serde(flatten)]
    view: &'v ClusterView,
}

impl<'v> Seen<'v> {
    pub(crate) fn new(view: &'v ClusterView) -> Self {
        Self { ts: timestamp(SystemTime::now()), view }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (micros, text) in [
            (0, "0.0ms"),
            (1_250, "1.2ms"),
            (99_999, "99ms"),
            (1_250_000, "1.2s"),
            (61_000_000, "1m 1s"),
            (7_260_000_000, "2h 1m"),
            (90_000_000_000, "1d 1h"),
        ] {
            assert_eq!(short(Duration::from_micros(micros)), text);
        }
    }
}
