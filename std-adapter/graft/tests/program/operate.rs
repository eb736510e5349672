//! `graft hand-over`, `graft pause` and `graft resume`: what an operator asks of a cluster (rules
//! O1 to O4).

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::nats_server::NatsServer;
use crate::process::{Program, graft, text};

const LOCAL: [&str; 2] = ["--local", "d"];

/// What `graft status` says.
fn seen(cluster: &Cluster, medium: &[&str]) -> Value {
    let output = cluster.graft(&[&["status", "jobs", "--json"], medium].concat());
    serde_json::from_str(text(&output.stdout)).unwrap()
}

fn leader(cluster: &Cluster, medium: &[&str]) -> String {
    loop {
        if let Some(leader) = seen(cluster, medium)["leader"]["id"].as_str() {
            return leader.to_owned();
        }
    }
}

/// Somebody else than these.
fn another(not: &[&str]) -> &'static str {
    ["n0", "n1", "n2"].into_iter().find(|id| !not.contains(id)).unwrap()
}

#[track_caller]
fn succeeds(output: &Output) -> &str {
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stderr), "");
    text(&output.stdout)
}

#[track_caller]
fn fails(output: &Output) -> &str {
    fails_with(1, output)
}

#[track_caller]
fn fails_with(status: i32, output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    text(&output.stderr)
}

#[test]
fn o2_the_leader_hands_over_to_whom_the_operator_names() {
    let server = NatsServer::start();
    let nats = ["--nats", &server.url()];
    for medium in [&LOCAL[..], &nats] {
        let cluster = Cluster::start("jobs", medium);
        let before = leader(&cluster, medium);
        let target = another(&[&before]);
        let words = ["hand-over", "jobs", "--to", target];
        let output = cluster.graft(&[&words, medium].concat());
        let told = succeeds(&output);
        assert!(
            told.starts_with(&format!("{before} has handed over, and {target} leads in term "))
        );
        assert_eq!(leader(&cluster, medium), target);
        // Once more changes nothing.
        let output = cluster.graft(&[&words, medium].concat());
        assert!(succeeds(&output).starts_with(&format!("{target} leads already, in term ")));
        // Without a name, to anyone who is fit.
        let output = cluster.graft(&[&["hand-over", "jobs"], medium].concat());
        assert!(succeeds(&output).starts_with(&format!("{target} has handed over, and ")));
        let output = cluster.graft(&[&["hand-over", "jobs", "--to", "nobody"], medium].concat());
        assert!(fails(&output).contains("node nobody can't take over"), "{output:?}");
    }
}

/// Nothing is given up that nobody could take over.
#[test]
fn o2_a_leader_without_a_fit_follower_goes_on() {
    let cluster = Cluster::start("jobs", &LOCAL);
    let before = seen(&cluster, &LOCAL);
    let id = before["leader"]["id"].as_str().unwrap();
    for other in ["n0", "n1", "n2"].into_iter().filter(|other| *other != id) {
        succeeds(&cluster.graft(&[&["pause", "jobs", other], &LOCAL[..]].concat()));
    }
    // The leader learns of the pauses with the next acknowledgements.
    let paused = |view: &Value| {
        let nodes = view["nodes"].as_array().unwrap();
        nodes.iter().filter(|node| node["is_paused"] == true).count()
    };
    while paused(&seen(&cluster, &LOCAL)) < 2 {}
    let output = cluster.graft(&[&["hand-over", "jobs"], &LOCAL[..]].concat());
    let expected = format!("graft: {id} goes on leading, since no follower is fit: ");
    assert!(fails(&output).starts_with(&expected), "{output:?}");
    let after = seen(&cluster, &LOCAL);
    assert_eq!(
        (&after["leader"]["id"], &after["term"]),
        (&before["leader"]["id"], &before["term"])
    );

    // Once the leader is paused, too, nobody says anything by itself.
    succeeds(&cluster.graft(&[&["pause", "jobs", id], &LOCAL[..]].concat()));
    let output = cluster.graft(&[&["hand-over", "jobs", "--wait", "1s"], &LOCAL[..]].concat());
    let expected = "graft: nobody leads, and these nodes are paused: n0, n1, n2: ";
    assert!(fails(&output).starts_with(expected), "{output:?}");

    let mut alone = Program::start(
        cluster.path(),
        &[&["run", "--json", "--cluster", "one", "--size", "1", "--id", "x"], &LOCAL[..]].concat(),
    );
    alone.wait_for_leader();
    let output = cluster.graft(&[&["hand-over", "one"], &LOCAL[..]].concat());
    assert!(fails(&output).contains("x goes on leading"), "{output:?}");
}

#[test]
fn o3_a_paused_node_does_not_lead_even_after_a_restart() {
    let mut cluster = Cluster::start("jobs", &LOCAL);
    let paused = leader(&cluster, &LOCAL);
    let output = cluster.graft(&[&["pause", "jobs", &paused], &LOCAL[..]].concat());
    assert!(succeeds(&output).starts_with(&format!("{paused} is paused: ")));
    assert_ne!(leader(&cluster, &LOCAL), paused);
    let index: usize = paused[1..].parse().unwrap();
    cluster.nodes[index].wait_for(|line| line.is("pause", &[("to", "paused")]));

    cluster.nodes[index].terminate();
    assert!(cluster.nodes[index].wait().success());
    let vote_file = format!("{paused}.vote");
    let inspected = cluster.graft(&["inspect", &vote_file]);
    assert!(succeeds(&inspected).contains("paused     yes"), "{inspected:?}");
    let node = ["--cluster", "jobs", "--size", "3", "--id", &paused, "--vote-file", &vote_file];
    let words = [&["run", "--json"], &node[..], &LOCAL].concat();
    cluster.nodes[index] = Program::start(cluster.path(), &words);
    cluster.nodes[index].wait_for(|line| line.is("leader", &[]) && !line.str("leader").is_empty());
    let seen = seen(&cluster, &LOCAL);
    let is_paused = |node: &&Value| node["is_paused"] == true;
    let nodes: Vec<_> = seen["nodes"].as_array().unwrap().iter().filter(is_paused).collect();
    assert_eq!(nodes.len(), 1, "{seen}");
    assert_eq!(nodes[0]["id"], paused.as_str());
    let output = cluster.graft(&[&["hand-over", "jobs", "--to", &paused], &LOCAL[..]].concat());
    assert!(fails(&output).contains("can't take over"), "{output:?}");

    let output = cluster.graft(&[&["resume", "jobs", &paused], &LOCAL[..]].concat());
    assert_eq!(succeeds(&output), format!("{paused} may lead again\n"));
    // The leader learns that with the next acknowledgement.
    let output = loop {
        let words = ["hand-over", "jobs", "--to", &paused];
        let output = cluster.graft(&[&words, &LOCAL[..]].concat());
        if output.status.success() {
            break output;
        }
    };
    assert!(succeeds(&output).contains(&format!("and {paused} leads in term ")), "{output:?}");
}

#[test]
fn o1_a_node_may_refuse_and_says_so() {
    let cluster = Cluster::start_with("jobs", &LOCAL, &["--no-remote-control"]);
    let leader = leader(&cluster, &LOCAL);
    let refused = format!("graft: node {leader} refuses what operators ask\n");
    for words in [&["hand-over", "jobs"][..], &["pause", "jobs", &leader]] {
        let output = cluster.graft(&[words, &LOCAL].concat());
        assert_eq!(fails(&output), refused);
    }
}

#[test]
fn what_is_not_there_is_named() {
    let cluster = Cluster::start("jobs", &LOCAL);
    let short = ["--wait", "300ms"];
    let output = cluster.graft(&[&["pause", "jobs", "n7"], &short[..], &LOCAL].concat());
    assert_eq!(fails(&output), "graft: node n7 does not answer within 300ms\n");
    for words in [&["hand-over", "jobz"][..], &["resume", "jobz", "n0"]] {
        let output = cluster.graft(&[words, &short, &LOCAL].concat());
        assert!(fails(&output).contains("; clusters that are there: jobs"), "{output:?}");
    }
}

/// Whoever may not publish there may not operate the cluster, and learns why.
#[test]
fn o1_permissions_on_nats_say_who_may_operate() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("server.conf");
    let denied = "permissions: { publish: { deny: [\"graft.jobs.control_request.*\"] } }";
    let users = format!("[{{ user: a, password: a, {denied} }}]");
    fs::write(&config, format!("no_auth_user: a, authorization {{ users: {users} }}")).unwrap();
    let server = NatsServer::start_with(&config);
    let nats = ["--nats", &server.url()];
    let cluster = Cluster::start("jobs", &nats);
    let output = cluster.graft(&[&["pause", "jobs", "n0", "--wait", "1s"], &nats[..]].concat());
    let told = fails_with(69, &output);
    assert!(told.starts_with("graft: connection works only in part: "), "{told}");
    assert!(told.contains("Permissions Violation for Publish to"), "{told}");
}

/// Who may not listen hears neither a leader nor an answer, and learns why.
#[test]
fn o1_who_may_not_listen_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("server.conf");
    let denied = "permissions: { subscribe: { deny: [\"graft.>\"] } }";
    let users = format!("[{{ user: a, password: a, {denied} }}]");
    fs::write(&config, format!("no_auth_user: a, authorization {{ users: {users} }}")).unwrap();
    let server = NatsServer::start_with(&config);
    let medium = ["--wait", "1s", "--nats", &server.url()];
    for words in [&["pause", "jobs", "n0"][..], &["hand-over", "jobs"]] {
        let output = graft(directory.path(), &[words, &medium].concat());
        let told = fails_with(69, &output);
        assert!(told.contains("Permissions Violation for Subscription to"), "{told}");
    }
}

/// K3: it is the key that is wrong, and no node.
#[test]
fn k3_who_has_another_key_than_the_cluster_is_told_so() {
    let keys = tempfile::tempdir().unwrap();
    let [right, wrong] = ["right", "wrong"].map(|name| {
        let path = keys.path().join(name);
        fs::write(&path, &graft(keys.path(), &["key"]).stdout).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let sealed = Cluster::start_with("jobs", &LOCAL, &["--key-file", &right]);
    let open = Cluster::start("jobs", &LOCAL);
    let without = "graft: the cluster has a key, without which its nodes take no requests: ";
    let dropped = "graft: nothing that is said in the cluster is sealed with this key: ";
    for (cluster, key, expected) in [
        (&sealed, &[][..], without),
        (&sealed, &["--key-file", &wrong], dropped),
        (&open, &["--key-file", &right], dropped),
    ] {
        for words in [&["pause", "jobs", "n0"][..], &["hand-over", "jobs"]] {
            let output = cluster.graft(&[words, &["--wait", "1s"], &LOCAL, key].concat());
            let told = fails_with(78, &output);
            assert!(told.starts_with(expected) && told.contains("--key-file"), "{told}");
        }
    }
}

#[test]
fn l7_others_see_what_the_leader_says() {
    let mut cluster = Cluster::start_with("jobs", &LOCAL, &["--value", "10.0.0.7:80"]);
    let status = seen(&cluster, &LOCAL);
    assert_eq!(status["leader"]["value"], "10.0.0.7:80", "{status}");
    let output = cluster.graft(&[&["status", "jobs"], &LOCAL[..]].concat());
    assert!(succeeds(&output).contains(", and says \"10.0.0.7:80\"\n"), "{output:?}");
    for node in &mut cluster.nodes {
        node.wait_for(|line| line.is("value", &[("text", "10.0.0.7:80")]));
    }
    let too_long = "x".repeat(65);
    let words = ["run", "--cluster", "c", "--size", "1", "--value", &too_long];
    let output = cluster.graft(&[&words, &LOCAL[..]].concat());
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert!(text(&output.stderr).contains("at most 64 bytes, not 65"), "{output:?}");
}
