//! What Prometheus collects, and what is made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use graft_election::HttpService;
use graft_election_tests::cluster::MemoryCluster;
use serde::Deserialize;
use serde_json::Value;

use super::{get, lone_leader};

const PAGE: &str = include_str!("../../../docs/http.md");
const DASHBOARD: &str = include_str!("../../../docs/grafana-dashboard.json");
const RULES: &str = include_str!("../../../docs/prometheus-rules.yml");
const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/open_metrics.py");

/// What stands in queries besides metrics, labels and functions.
const KEYWORDS: [&str; 9] =
    ["and", "or", "unless", "by", "without", "on", "ignoring", "offset", "bool"];

/// Rules for Prometheus.
#[derive(Debug, Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
struct Rule {
    alert: String,
    expr: String,
}

async fn metrics() -> String {
    let node = lone_leader().await;
    get(&HttpService::new(&node), "/metrics").await.body
}

/// The names that can be asked for: the families, and what each kind of them is made of.
fn names(metrics: &str) -> BTreeSet<String> {
    let families = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let named = |(name, kind): (&str, &str)| -> Vec<String> {
        let suffixes: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_count", "_sum"],
            "info" => &["_info"],
            _ => &[""],
        };
        suffixes.iter().map(|suffix| format!("{name}{suffix}")).collect()
    };
    families.flat_map(named).collect()
}

/// The metrics of a query: all names but those of labels, functions and keywords.
fn metrics_of(query: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // Texts, matchers, ranges and the labels after `by` have no metrics in them.
    let (mut rest, mut last) = (query, "");
    while let Some(first) = rest.chars().next() {
        let skip_to = |end: char| rest[1..].find(end).map_or(rest.len(), |at| at + 2);
        let is_list = first == '(' && ["by", "without", "on", "ignoring"].contains(&last);
        let taken = match first {
            '"' | '\'' => skip_to(first),
            '{' => skip_to('}'),
            '[' => skip_to(']'),
            '(' if is_list => skip_to(')'),
            _ if first.is_ascii_alphanumeric() || first == '_' || first == '$' => {
                let is_part = |it: char| it.is_ascii_alphanumeric() || "_$:".contains(it);
                let length = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
                let word = &rest[..length];
                let after = rest[length..].trim_start();
                let is_function = after.starts_with('(') || after.starts_with("by (");
                let is_number = first.is_ascii_digit();
                if !is_function && !is_number && !KEYWORDS.contains(&word) {
                    found.insert(word.to_owned());
                }
                last = word;
                rest = &rest[length..];
                continue;
            }
            _ => first.len_utf8(),
        };
        last = if first.is_whitespace() { last } else { "" };
        rest = &rest[taken..];
    }
    found
}

/// The queries of a dashboard, wherever they are in it.
fn queries(dashboard: &Value) -> Vec<String> {
    match dashboard {
        Value::Object(members) => {
            let own = members.get("expr").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(members.values().flat_map(queries)).collect()
        }
        Value::Array(items) => items.iter().flat_map(queries).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_metrics_of_a_query_are_found() {
    let query = r#"sum by (cluster) (rate(a_total{node="b_total"}[5m])) > 1 and on(node) c == 0"#;
    let found: Vec<_> = metrics_of(query).into_iter().collect();
    assert_eq!(found, ["a_total", "c"]);
}

#[tokio::test(start_paused = true)]
async fn every_metric_that_the_dashboard_and_the_alerts_ask_for_exists() {
    let names = names(&metrics().await);
    let rules: Rules = serde_saphyr::from_str(RULES).unwrap();
    let alerts = rules.groups.into_iter().flat_map(|group| group.rules);
    let alerts: Vec<_> = alerts.map(|rule| (rule.alert, rule.expr)).collect();
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = queries(&dashboard).into_iter().map(|query| ("the dashboard".to_owned(), query));
    assert!(alerts.len() > 3 && panels.clone().count() > 3, "they are found");
    for (asker, query) in alerts.into_iter().chain(panels) {
        let asked = metrics_of(&query);
        assert!(!asked.is_empty(), "{asker} asks for nothing: {query}");
        for name in asked {
            assert!(names.contains(&name), "{asker} asks for {name}, which does not exist");
        }
    }
}

/// The page has a row for each metric, with its kind and what it is.
#[tokio::test(start_paused = true)]
async fn the_table_of_metrics_is_current() {
    let metrics = metrics().await;
    let about = |what: &str| -> BTreeMap<String, String> {
        let lines = metrics.lines().filter_map(|line| line.strip_prefix(what)?.split_once(' '));
        lines.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
    };
    let (kinds, helps) = (about("# TYPE "), about("# HELP "));
    assert!(!kinds.is_empty() && kinds.len() == helps.len());
    for (name, kind) in kinds {
        let name_shown = match kind.as_str() {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.clone(),
        };
        let row = format!("| `{name_shown}` | {kind} | {} |", helps[&name]);
        assert!(PAGE.contains(&row), "docs/http.md has no row\n{row}");
    }
}

/// The reference implementation reads the metrics of a cluster that has gone through something.
#[tokio::test(start_paused = true)]
async fn the_metrics_are_open_metrics() {
    let cluster = MemoryCluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    cluster.nodes[leader].wait_for_leadership().await.unwrap();
    assert!(cluster.nodes[leader].hand_over(None).await);
    cluster.wait_for_leader().await;
    for node in &cluster.nodes {
        let metrics = get(&HttpService::new(node), "/metrics").await;
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(metrics.header("content-type"), kind);
        assert!(metrics.body.ends_with("\n# EOF\n"));
        let families = metrics.body.lines().filter(|line| line.starts_with("# TYPE ")).count();
        assert_eq!(read(&metrics.body), format!("{families} families\n"));
    }
}

/// What the reference implementation says of a text.
fn read(metrics: &str) -> String {
    let library = std::env::var_os("PROMETHEUS_CLIENT").expect(
        "PROMETHEUS_CLIENT names no folder: `cargo xtask test` installs the library in one",
    );
    let mut reader = Command::new("python3")
        .arg(READER)
        .env("PYTHONPATH", library)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    reader.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success(), "it is refused:\n{metrics}");
    String::from_utf8(output.stdout).unwrap()
}
