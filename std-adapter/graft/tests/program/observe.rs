//! `graft status` and `graft watch`: a cluster, seen from outside.

use std::fs;
use std::process::{Command, Output};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::nats_server::NatsServer;
use crate::process::{Line, Program, graft, text};
use crate::pty::{CTRL_C, CTRL_Z, Terminal};

const LOCAL: [&str; 2] = ["--local", "d"];

/// A server that lets somebody listen to nothing.
const SILENCED: &str = r#"
    authorization {
        users: [{ user: "none", password: "none", permissions: { subscribe: { deny: ">" } } }]
    }"#;

/// To the terminal's other screen, and back.
const ENTERED: &str = "\u{1b}[?1049h";
const LEFT: &str = "\u{1b}[?1049l";

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

/// As in `graft watch jobs | head -1`, also if nothing changes any more.
#[test]
fn watch_ends_when_nobody_reads_it_any_more() {
    let cluster = Cluster::start("jobs", &LOCAL);
    let mut watch = Program::start(cluster.path(), &[&["watch", "jobs"], &LOCAL[..]].concat());
    for told in [" leads in term", " is a leader", " is a follower"] {
        watch.wait_until_told(|line| line.words().contains(told));
    }
    let follows = |line: &Line| line.words().contains(" is a follower");
    while watch.lines.iter().filter(|line| follows(line)).count() < 2 {
        watch.next_line().unwrap();
    }
    watch.stop_listening();
    assert!(watch.wait_unheard().success());
}

#[test]
fn an_output_that_can_not_be_written_is_an_error_and_one_that_nobody_reads_is_none() {
    let cluster = Cluster::start("jobs", &LOCAL);
    for task in ["status", "watch"] {
        let run = |to: &str| {
            let words = format!("\"$0\" {task} jobs --local d {to}");
            let mut shell = Command::new("bash");
            shell.args(["-o", "pipefail", "-c", &words, env!("CARGO_BIN_EXE_graft")]);
            shell.current_dir(cluster.path()).output().unwrap()
        };
        let full = run("> /dev/full");
        assert_eq!(full.status.code(), Some(1), "{full:?}");
        let told = "graft: could not write to the standard output: No space left on device";
        assert!(text(&full.stderr).starts_with(told), "{full:?}");
        let unread = run("| true");
        assert_eq!((unread.status.code(), text(&unread.stderr)), (Some(0), ""));
    }
}

/// Status 69, as `graft run` ends with then.
#[test]
fn a_server_that_refuses_to_let_it_listen_is_told_from_a_silent_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("nats.conf");
    fs::write(&config, SILENCED).unwrap();
    let server = NatsServer::start_with(&config);
    let url = server.url();
    let login = ["--nats", &url, "--user", "none", "--password", "none"];
    let refused = r#"Permissions Violation for Subscription to "graft."#;
    for task in [&["status"][..], &["status", "jobs"], &["watch", "jobs"]] {
        let output = graft(directory.path(), &[task, &login].concat());
        assert_eq!(output.status.code(), Some(69), "{task:?}: {output:?}");
        assert!(text(&output.stderr).contains(refused), "{task:?}: {output:?}");
        assert_eq!(text(&output.stdout), "", "{task:?}");
    }
    let line = graft(directory.path(), &["status", "jobs", "--serial", "unix:nonesuch"]);
    assert_eq!(line.status.code(), Some(69), "{line:?}");

    let watch = format!(
        "cd {} && $GRAFT watch jobs {}; echo status $?",
        directory.path().display(),
        login.join(" ")
    );
    let mut terminal = Terminal::start_with(&["sh", "-c", &watch]);
    let shown = terminal.wait_for("status 69");
    assert!(shown.contains(refused) && !shown.contains("nobody leads"), "{shown}");
}

/// Neither did anybody lead nor did nobody: it was not heard.
#[test]
fn nobody_is_said_to_lead_before_a_leader_would_have_been_heard() {
    let server = NatsServer::start();
    let directory = tempfile::tempdir().unwrap();
    let watch = format!(
        "cd {} && $GRAFT watch jobs --wait 1s --nats {}; echo status $?",
        directory.path().display(),
        server.url()
    );
    let mut terminal = Terminal::start_with(&["sh", "-c", &watch]);
    terminal.wait_for("nothing heard yet");
    let shown = terminal.wait_for("nobody was heard of in cluster jobs within 1s");
    assert!(!shown.contains("nobody leads"), "{shown}");
    terminal.wait_for("status 1");

    let cluster = Cluster::start("jobs", &LOCAL);
    let watch = format!("cd {} && exec $GRAFT watch jobs --local d", cluster.path().display());
    let mut terminal = Terminal::start_with(&["sh", "-c", &watch]);
    let shown = terminal.wait_for(" leads");
    assert!(!shown.contains("nobody"), "{shown}");
}

/// A client reports each of its attempts to connect again.
#[test]
fn watch_says_once_that_it_hears_nothing_while_the_server_is_gone() {
    let server = NatsServer::start();
    let nats = ["--nats", &server.url()];
    let cluster = Cluster::start("jobs", &nats);
    let mut watch = Program::start(cluster.path(), &[&["watch", "jobs"], &nats[..]].concat());
    watch.wait_for(|line| line.words().contains(" leads"));
    for _ in 0..2 {
        watch.wait_for(|line| line.words().contains("is a follower"));
    }
    let (server, began) = (server.stop(), Instant::now());
    watch.wait_for(|line| line.words().contains("connection lost"));
    watch.wait_for(|line| line.words().contains("no leader is heard any more"));
    for _ in 0..3 {
        watch.wait_for(|line| line.words().contains("has fallen silent"));
    }
    let impaired = |line: &&Line| line.words().contains("connection impaired");
    let told = watch.lines.iter().filter(impaired).count();
    assert!(told as u64 <= 1 + began.elapsed().as_secs() / 10, "{:#?}", watch.lines);
    let _server = server.restart();
    watch.wait_for(|line| line.words().contains("connection restored"));
    watch.wait_for(|line| line.words().contains(" leads"));
}

#[test]
fn watch_draws_a_table_on_a_terminal_and_leaves_it_as_it_was() {
    let cluster = Cluster::start("jobs", &LOCAL);
    let watch = format!("cd {} && exec $GRAFT watch jobs --local d", cluster.path().display());
    let mut terminal = Terminal::start_with(&["sh", "-c", &watch]);
    terminal.wait_for(ENTERED);
    terminal.wait_for(" leads");
    terminal.wait_for("ROLE");
    terminal.press(CTRL_C);
    terminal.wait_for(LEFT);
    terminal.wait_for(" leads");
}

/// However it ends, and while it is suspended, the shell has its terminal as it was.
#[test]
fn watch_leaves_the_terminal_to_the_shell_when_it_is_suspended_or_ended() {
    let cluster = Cluster::start("jobs", &LOCAL);
    let mut terminal = Terminal::start();
    terminal.type_line(&format!("cd {}", cluster.path().display()));
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        terminal.type_line("sh -c 'echo pid $$; exec $GRAFT watch jobs --local d'");
        terminal.wait_for("pid ");
        let process = terminal.wait_for("\r").parse().unwrap();
        terminal.wait_for(ENTERED);
        terminal.wait_for(" leads");
        terminal.press(CTRL_Z);
        terminal.wait_for(LEFT);
        terminal.wait_for("Stopped");
        terminal.type_line("bg; echo in back''ground");
        let shown = terminal.wait_for("in background");
        assert!(!shown.contains(ENTERED), "{shown}");
        terminal.type_line("fg");
        terminal.wait_for(ENTERED);
        kill_process(Pid::from_raw(process).unwrap(), signal).unwrap();
        terminal.wait_for(LEFT);
        terminal.wait_for(" leads");
        terminal.type_line("echo status $?");
        terminal.wait_for("status 0");
    }
}

#[test]
fn watch_prints_lines_on_a_terminal_that_can_not_draw() {
    let cluster = Cluster::start("jobs", &LOCAL);
    let watch =
        format!("cd {} && TERM=dumb exec $GRAFT watch jobs --local d", cluster.path().display());
    let mut terminal = Terminal::start_with(&["sh", "-c", &watch]);
    for _ in 0..2 {
        let shown = terminal.wait_for(" is a follower");
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }
}
