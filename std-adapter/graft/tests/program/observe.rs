//! `graft status` and `graft watch`: a cluster, seen from outside.

use std::process::Output;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::nats_server::NatsServer;
use crate::process::{Program, text};
use crate::pty::{CTRL_C, Terminal};

const LOCAL: [&str; 2] = ["--local", "d"];

/// Its place in the cluster.
fn place_of(id: &str) -> usize {
    id.strip_prefix('n').unwrap().parse().unwrap()
}

#[test]
fn status_names_the_leader_and_the_followers() {
    let cluster = Cluster::start("jobs", &LOCAL);
    let output = cluster.graft(&[&["status", "jobs", "--json"], &LOCAL[..]].concat());
    assert!(output.status.success(), "{output:?}");
    let seen: Value = serde_json::from_str(text(&output.stdout)).unwrap();
    assert_eq!(seen["cluster"], "jobs");
    assert!(seen["ts"].as_str().unwrap().ends_with('Z'), "{seen}");
    let leader = seen["leader"]["id"].as_str().unwrap();
    assert!(seen["leader"]["lease_left_seconds"].as_f64().unwrap() < 0.45);
    for node in seen["nodes"].as_array().unwrap() {
        let leads = node["id"] == leader;
        assert_eq!(node["role"], if leads { "leader" } else { "follower" }, "{seen}");
        assert_eq!(node["acknowledged_in_seconds"].is_null(), leads, "{seen}");
    }
    assert_eq!(seen["nodes"].as_array().unwrap().len(), 3);
    assert_eq!(seen["disagreements"], Value::Array(vec![]));

    // All that are there, for people.
    let output = cluster.graft(&[&["status"], &LOCAL[..]].concat());
    assert!(output.status.success(), "{output:?}");
    let told = text(&output.stdout);
    assert!(told.starts_with(&format!("jobs: {leader} leads in term ")), "{told}");
    assert_eq!(told.matches(" follower ").count(), 2, "{told}");
    assert!(!told.contains('\u{1b}'), "{told:?}");
}

#[test]
fn a_name_that_nobody_is_heard_under_is_an_error_that_names_others() {
    let server = NatsServer::start();
    let nats = ["--nats", &server.url()];
    let cluster = Cluster::start("jobs", &nats);
    let short = ["--wait", "500ms"];
    for task in ["status", "watch"] {
        let output = cluster.graft(&[&[task, "jobz"], &short[..], &nats].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = "graft: nobody was heard of in cluster jobz within 500ms; clusters that are \
            there: jobs\n";
        assert_eq!((text(&output.stdout), text(&output.stderr)), ("", told));
        let nowhere = cluster.graft(&[&[task, "jobz", "--local", "nowhere"], &short[..]].concat());
        let told = "graft: nobody was heard of in cluster jobz within 500ms\n";
        assert_eq!((nowhere.status.code(), text(&nowhere.stderr)), (Some(1), told));
        assert!(!cluster.path().join("nowhere").exists());
    }
    let found = cluster.graft(&[&["status"], &short[..], &nats].concat());
    assert!(found.status.success(), "{found:?}");
    assert!(text(&found.stdout).starts_with("jobs: n"), "{found:?}");
    // There are no names on a line.
    let line = cluster.graft(&["status", "--serial", "unix:line"]);
    assert_eq!(line.status.code(), Some(64), "{line:?}");
    assert!(text(&line.stderr).contains("say which one is meant"), "{line:?}");
}

#[test]
fn without_a_leader_the_status_is_a_failure() {
    let mut cluster = Cluster::start("jobs", &LOCAL);
    cluster.nodes.truncate(1);
    let leaderless = |output: &Output| text(&output.stdout).starts_with("jobs: nobody leads");
    // Until the lease of a leader that was killed is over, it is named.
    let output = loop {
        let output = cluster.graft(&[&["status", "jobs", "--wait", "3s"], &LOCAL[..]].concat());
        if leaderless(&output) {
            break output;
        }
    };
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn watch_prints_what_changes() {
    let mut cluster = Cluster::start("jobs", &LOCAL);
    let mut watch =
        Program::start(cluster.path(), &[&["watch", "jobs", "--json"], &LOCAL[..]].concat());
    let line = watch.wait_for(|line| line.is("leader_changed", &[]));
    let seen = line.object();
    let leader = place_of(seen["seen"]["leader"]["id"].as_str().unwrap());
    cluster.nodes[leader].kill();
    let nobody = watch.wait_for(|line| line.is("leader_changed", &[]));
    assert!(nobody.object()["seen"]["leader"].is_null(), "{nobody:?}");
    let next = watch.wait_for(|line| line.is("leader_changed", &[]));
    assert_ne!(next.object()["seen"]["leader"]["id"], format!("n{leader}"));
    let id = format!("n{leader}");
    watch.wait_for(|line| line.is("node_changed", &[("id", &id), ("role", "silent")]));
    watch.terminate();
    watch.wait();
}

/// As in `graft watch jobs | head -1`.
#[test]
fn watch_ends_when_nobody_reads_it_any_more() {
    let mut cluster = Cluster::start("jobs", &LOCAL);
    let mut watch = Program::start(cluster.path(), &[&["watch", "jobs"], &LOCAL[..]].concat());
    watch.next_line().unwrap();
    watch.stop_listening();
    for node in &mut cluster.nodes {
        node.kill();
    }
    assert!(watch.wait_unheard().success());
}

#[test]
fn watch_draws_a_table_on_a_terminal_and_leaves_it_as_it_was() {
    let cluster = Cluster::start("jobs", &LOCAL);
    let watch = format!("cd {} && exec $GRAFT watch jobs --local d", cluster.path().display());
    let mut terminal = Terminal::start_with(&["sh", "-c", &watch]);
    // The other screen.
    terminal.wait_for("\u{1b}[?1049h");
    terminal.wait_for(" leads");
    terminal.wait_for("ROLE");
    terminal.press(CTRL_C);
    terminal.wait_for("\u{1b}[?1049l");
    terminal.wait_for(" leads");
}
