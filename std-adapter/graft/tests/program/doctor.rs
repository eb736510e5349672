//! `graft doctor`: what may keep a cluster from electing a leader.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::nats_server::NatsServer;
use crate::process::{Line, Program, graft, text};

const LOCAL: [&str; 2] = ["--local", "d"];

/// What was found: what was looked at, how bad it is, and what is said of it.
fn findings(output: &Output) -> Vec<(String, String, String)> {
    let lines = text(&output.stdout).lines().map(|line| {
        let finding: Value = serde_json::from_str(line).unwrap();
        let of = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        assert_eq!(of("verdict") == "fine", of("advice").is_empty(), "{finding}");
        (of("check"), of("verdict"), of("text"))
    });
    lines.collect()
}

#[track_caller]
fn finds(output: &Output, check: &str, verdict: &str, words: &str) {
    let found = findings(output);
    let is_it = |it: &(String, String, String)| it.0 == check && it.1 == verdict;
    let is_there = found.iter().any(|it| is_it(it) && it.2.contains(words));
    assert!(is_there, "{check} {verdict} {words:?} is missing in {found:#?}");
    let fails = found.iter().any(|it| it.1 == "failure");
    assert_eq!(output.status.code(), Some(i32::from(fails)));
}

#[test]
fn a_sound_cluster_has_nothing_wrong() {
    let server = NatsServer::start();
    let nats = ["--nats", &server.url()];
    for medium in [&LOCAL[..], &nats] {
        let cluster = Cluster::start("jobs", medium);
        fs::create_dir(cluster.path().join("n9")).unwrap();
        let node = ["--id", "n9", "--vote-file", "n9/votes", "--size", "3"];
        let words = [&["doctor", "jobs", "--json"], &node[..], medium].concat();
        let output = cluster.graft(&words);
        assert!(output.status.success(), "{output:?}");
        for check in ["connection", "id", "directory"] {
            finds(&output, check, "fine", "");
        }
        finds(&output, "leader", "fine", " leads in term ");
        finds(&output, "vote_file", "warning", "there is no n9/votes yet");
        assert_eq!(findings(&output).iter().filter(|it| it.0 == "round_trip").count(), 3);
        // Nothing is left behind.
        assert_eq!(fs::read_dir(cluster.path().join("n9")).unwrap().count(), 0);
    }
}

#[test]
fn what_would_keep_the_node_out_is_found() {
    let cluster = Cluster::start("jobs", &LOCAL);
    let node = ["--id", "n1", "--vote-file", "n0.vote", "--size", "5"];
    let times = ["--election-timeout", "1s..2s"];
    let words = [&["doctor", "jobs", "--json"], &node[..], &times, &LOCAL].concat();
    let output = cluster.graft(&words);
    finds(&output, "vote_file", "failure", "that of node \"n0\"");
    finds(&output, "id", "failure", "a process with the id n1 runs already");
    finds(&output, "size", "failure", "believes in 3 voters, and not in 5");
    finds(&output, "times", "failure", "is 500ms, not 1s");
}

#[test]
fn a_paused_node_and_a_missing_leader_are_found() {
    let mut cluster = Cluster::start("jobs", &LOCAL);
    let paused = cluster.graft(&[&["pause", "jobs", "n0"], &LOCAL[..]].concat());
    assert!(paused.status.success(), "{paused:?}");
    let words = [&["doctor", "jobs", "--json"], &LOCAL[..]].concat();
    finds(&cluster.graft(&words), "paused", "warning", "n0 is kept from leading");
    // One that campaigns is alone.
    cluster.nodes.remove(0);
    cluster.nodes.truncate(1);
    cluster.nodes[0].wait_for(|line| line.is("state", &[("to", "PreCandidate")]));
    finds(&cluster.graft(&words), "leader", "failure", "nobody leads");
}

/// They say nothing by themselves once nobody leads, and are asked.
#[test]
fn nodes_that_are_all_paused_are_found() {
    let cluster = Cluster::start("jobs", &LOCAL);
    for id in ["n0", "n1", "n2"] {
        let paused = cluster.graft(&[&["pause", "jobs", id], &LOCAL[..]].concat());
        assert!(paused.status.success(), "{paused:?}");
    }
    let words = [&["doctor", "jobs", "--json", "--wait", "300ms"], &LOCAL[..]].concat();
    let output = cluster.graft(&words);
    finds(&output, "leader", "failure", "nobody leads");
    for id in ["n0", "n1", "n2"] {
        finds(&output, "paused", "warning", &format!("{id} is kept from leading"));
    }
    let output = cluster.graft(&[&words[..], &["--id", "n1"]].concat());
    finds(&output, "id", "failure", "the id n1 runs already, and is paused");
    assert_eq!(findings(&output).iter().filter(|it| it.0 == "paused").count(), 3, "{output:?}");
}

/// One of another size follows without a word, and one that is stopped is missed.
#[test]
fn voters_that_take_no_part_are_found() {
    let mut cluster = Cluster::start("jobs", &LOCAL);
    let other = ["run", "--json", "--cluster", "jobs", "--size", "5", "--id", "n3"];
    let mut other = Program::start(cluster.path(), &[&other, &LOCAL[..]].concat());
    other.wait_for_leader();
    let words = [&["doctor", "jobs", "--json", "--wait", "1s"], &LOCAL[..]].concat();
    let output = cluster.graft(&words);
    finds(&output, "follower", "warning", "n3 runs, and does not acknowledge n");
    assert!(findings(&output).iter().all(|it| it.0 != "voters"), "{output:?}");
    other.terminate();
    assert!(other.wait().success());
    drop(cluster.nodes.remove(0));
    // Whichever of the others leads then, it has heard of the end.
    let lost = |line: &Line| line.is("leader", &[]) && line.str("leader") != "n0";
    cluster.nodes[0].wait_until_told(lost);
    loop {
        let output = cluster.graft(&words);
        if findings(&output).iter().any(|it| it.0 == "leader" && it.1 == "fine") {
            finds(&output, "voters", "warning", "2 of 3 voters take part: n1, n2");
            break;
        }
    }
    // The one that is missed may be the one that is to run.
    let output = cluster.graft(&[&words[..], &["--id", "n0", "--size", "3"]].concat());
    assert!(findings(&output).iter().all(|it| it.0 != "voters"), "{output:?}");
}

#[test]
fn a_list_of_voters_that_is_not_the_clusters_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let init = |file, id, voters| {
        let made = ["voters", file, "--init", "--id", id, "--set", voters];
        let output = graft(directory.path(), &made);
        assert!(output.status.success(), "{output:?}");
    };
    init("a.vote", "a", "a");
    init("b.vote", "b", "b");
    let run = ["run", "--json", "--cluster", "jobs", "--size", "1", "--id", "a", "--voters", "a"];
    let words = [&run[..], &["--vote-file", "a.vote"], &LOCAL].concat();
    let mut node = Program::start(directory.path(), &words);
    node.wait_for_leader();
    let words = ["doctor", "jobs", "--json", "--wait", "300ms", "--vote-file"];
    let output = graft(directory.path(), &[&words[..], &["b.vote"], &LOCAL].concat());
    finds(&output, "voters", "failure", "a goes by the list of voters 0.");
    let output = graft(directory.path(), &[&words[..], &["a.vote"], &LOCAL].concat());
    assert!(findings(&output).iter().all(|it| it.0 != "voters"), "{output:?}");
}

#[test]
fn settings_that_no_node_can_have_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let doctor = |more: &[&str]| {
        let words = ["doctor", "jobs", "--json", "--wait", "10ms", "--local", "d"];
        graft(directory.path(), &[&words, more].concat())
    };
    finds(&doctor(&["--size", "0"]), "settings", "failure", "must not be 0");
    finds(&doctor(&["--size", "65"]), "settings", "failure", "there is room for 64 voters");
    let reversed = ["--election-timeout", "2s..1s"];
    finds(&doctor(&reversed), "settings", "failure", "must be below the greatest");
    let slow = ["--heartbeat", "400ms"];
    finds(&doctor(&slow), "settings", "failure", "at most half the least election timeout");
}

/// The times of a cluster are its own business, until a node is to join it.
#[test]
fn times_are_compared_with_those_of_a_node_that_is_to_run() {
    let cluster = Cluster::start_with("jobs", &LOCAL, &["--election-timeout", "600ms..1200ms"]);
    let words = [&["doctor", "jobs", "--json", "--wait", "500ms"], &LOCAL[..]].concat();
    let output = cluster.graft(&words);
    assert!(output.status.success(), "{output:?}");
    let output = cluster.graft(&[&words[..], &["--id", "n9"]].concat());
    finds(&output, "times", "failure", "is 600ms, not 500ms");
}

/// K3: then nothing is known of the nodes.
#[test]
fn a_key_that_is_not_the_clusters_is_found() {
    let cluster = Cluster::start("jobs", &LOCAL);
    let key = cluster.path().join("k");
    fs::write(&key, &graft(cluster.path(), &["key"]).stdout).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let words = ["doctor", "jobs", "--json", "--wait", "500ms", "--id", "n9", "--key-file", "k"];
    let output = cluster.graft(&[&words[..], &LOCAL].concat());
    finds(&output, "key", "failure", "nothing that is said in the cluster is sealed with this key");
    finds(&output, "id", "warning", "is not known: ");
    assert!(findings(&output).iter().all(|it| it.0 != "nodes"), "{output:?}");
}

/// Whoever may not listen learns nothing of the nodes.
#[test]
fn a_login_that_may_not_listen_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("server.conf");
    let denied = "permissions: { subscribe: { deny: [\"graft.jobs.*.*\"] } }";
    let users = format!("[{{ user: a, password: a, {denied} }}]");
    fs::write(&config, format!("no_auth_user: a, authorization {{ users: {users} }}")).unwrap();
    let server = NatsServer::start_with(&config);
    let words = ["doctor", "jobs", "--json", "--wait", "1s", "--nats", &server.url()];
    let output = graft(directory.path(), &words);
    finds(&output, "connection", "failure", "Permissions Violation for Subscription to");
    assert!(findings(&output).iter().all(|it| it.0 != "nodes"), "{output:?}");
}

#[test]
fn what_the_server_refuses_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("server.conf");
    let denied = "permissions: { publish: { deny: [\"graft.jobs.heartbeat.n1\"] } }";
    let users = format!("[{{ user: a, password: a, {denied} }}]");
    fs::write(&config, format!("no_auth_user: a, authorization {{ users: {users} }}")).unwrap();
    let server = NatsServer::start_with(&config);
    let words = ["doctor", "jobs", "--json", "--wait", "300ms", "--nats", &server.url()];
    let output = graft(directory.path(), &[&words[..], &["--id", "n1"]].concat());
    finds(&output, "permissions", "failure", "Permissions Violation for Publish to");
    finds(&output, "nodes", "warning", "nobody is heard");
    let output = graft(directory.path(), &[&words[..], &["--id", "n2"]].concat());
    finds(&output, "permissions", "fine", "lets n2 say and hear all");
}

/// A node of Graft mode says what a Go node says, and nothing of its size.
#[test]
fn a_cluster_on_its_way_from_go_is_told_how_to_run() {
    let directory = tempfile::tempdir().unwrap();
    let run = ["run", "--json", "--cluster", "jobs", "--size", "1", "--mode", "graft"];
    let mut node = Program::start(directory.path(), &[&run, &LOCAL[..]].concat());
    node.wait_for(|line| line.is("state", &[("to", "Leader")]));
    let output = graft(directory.path(), &[&["doctor", "jobs", "--json"], &LOCAL[..]].concat());
    finds(&output, "leader", "fine", " leads in term 1");
    assert!(findings(&output).iter().all(|it| it.0 != "mode"), "{output:?}");
    assert!(output.status.success(), "{output:?}");
    let node = ["doctor", "jobs", "--json", "--id", "n9"];
    let output = graft(directory.path(), &[&node[..], &LOCAL].concat());
    finds(&output, "mode", "warning", " runs in Graft mode, and the node here would not");
    let output = graft(directory.path(), &[&node[..], &["--mode", "graft"], &LOCAL].concat());
    assert!(findings(&output).iter().all(|it| it.0 != "mode"), "{output:?}");
}

/// With a voter's own login, and with one that may only listen.
#[test]
fn what_a_login_may_not_do_is_said_once_and_is_not_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/deploy/nats/extended.conf");
    fs::copy(deploy, directory.path().join("extended.conf")).unwrap();
    let users = ["A", "B", "C", "OBSERVER", "OPERATOR"];
    let passwords: String = users.map(|it| format!("PASSWORD_OF_{it}: \"pw\"\n")).concat();
    fs::write(directory.path().join("passwords.conf"), passwords).unwrap();
    let server = NatsServer::start_with(&directory.path().join("extended.conf"));
    let login =
        |user| ["--password", "pw", "--nats", &server.url(), "--user", user].map(str::to_owned);
    let start = |id: &'static str| {
        let login = login(id);
        let node = ["run", "--json", "--cluster", "billing", "--size", "3", "--id", id];
        let words = [&node[..], &login.each_ref().map(String::as_str)].concat();
        Program::start(directory.path(), &words)
    };
    let mut nodes = ["a", "b"].map(start);
    nodes.iter_mut().for_each(|node| drop(node.wait_for_leader()));
    for (user, verdict, words) in
        [("c", "fine", "nobody else"), ("observer", "warning", "may not ask it")]
    {
        let login = login(user);
        let doctor = ["doctor", "billing", "--json", "--wait", "500ms", "--id", "c"];
        let words_of = [&doctor[..], &login.each_ref().map(String::as_str)].concat();
        let output = graft(directory.path(), &words_of);
        finds(&output, "id", verdict, words);
        finds(&output, "round_trip", "fine", "this login may not ask them");
        finds(&output, "leader", "fine", " leads in term ");
        assert_eq!(findings(&output).iter().filter(|it| it.0 == "round_trip").count(), 1);
    }
}
