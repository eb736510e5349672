//! `graft run --nats-service`: nodes as NATS finds its services.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use async_nats::Client;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::time::timeout;

use crate::nats_server::NatsServer;
use crate::process::{Line, PATIENCE, Program, graft};

/// One of two voters, which is a service as well.
fn start(directory: &Path, url: &str, id: &str) -> Program {
    let vote_file = format!("{id}.vote");
    let cluster = ["run", "--json", "--cluster", "c", "--size", "2", "--nats", url];
    let node = ["--id", id, "--vote-file", &vote_file, "--nats-service"];
    let mut program = Program::start(directory, &[&cluster[..], &node].concat());
    program.wait_for_start();
    program
}

/// What the two say to this question, by their names.
async fn ask_both(client: &Client, subject: &str) -> BTreeMap<String, Value> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    client.publish_with_reply(subject.to_owned(), inbox, "".into()).await.unwrap();
    let mut said = BTreeMap::new();
    while said.len() < 2 {
        let answer = timeout(PATIENCE, answers.next()).await.expect("both answer").unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        said.insert(answer["id"].as_str().unwrap().to_owned(), answer);
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_found_and_asked_as_services() {
    let server = NatsServer::start();
    let (directory, url) = (tempfile::tempdir().unwrap(), server.url());
    let mut programs = ["a", "b"].map(|id| start(directory.path(), &url, id));
    let leader = programs.each_mut().map(|it| it.wait_for_leader().str("leader").to_owned());
    let client = async_nats::connect(&url).await.unwrap();
    for question in ["PING", "PING.graft", "INFO", "INFO.graft"] {
        let said = ask_both(&client, &format!("$SRV.{question}")).await;
        let nodes = said.values().map(|it| it["metadata"]["node"].as_str().unwrap());
        assert_eq!(nodes.collect::<BTreeSet<_>>(), BTreeSet::from(["a", "b"]), "{question}");
        assert!(said.values().all(|it| it["name"] == "graft" && it["metadata"]["cluster"] == "c"));
    }
    let said = ask_both(&client, "$SRV.STATS.graft").await;
    let states = said.values().map(|it| it["endpoints"][0]["data"]["state"].as_str().unwrap());
    assert_eq!(states.collect::<BTreeSet<_>>(), BTreeSet::from(["follower", "leader"]));
    for id in ["a", "b"] {
        let asked = client.request(format!("graft_status.c.{id}"), "".into());
        let said = timeout(PATIENCE, asked).await.unwrap().unwrap();
        let said: Value = serde_json::from_slice(&said.payload).unwrap();
        assert_eq!((&said["id"], &said["leader"]), (&id.into(), &leader[0].as_str().into()));
    }
    for program in &mut programs {
        program.terminate();
        assert_eq!(program.wait().code(), Some(0));
    }
}

/// Nobody finds it then, but it elects.
#[test]
fn a_service_that_the_server_refuses_is_reported_and_the_node_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("server.conf");
    let denied = r#"permissions: { subscribe: { deny: "$SRV.>" } }"#;
    let user = format!("authorization {{ users: [{{ user: u, password: p, {denied} }}] }}");
    fs::write(&config, user).unwrap();
    let server = NatsServer::start_with(&config);
    let url = server.url().replace("nats://", "nats://u:p@");
    let (mut first, mut second) =
        (start(directory.path(), &url, "a"), start(directory.path(), &url, "b"));
    let is_refusal = |line: &Line| {
        let words = line.words();
        words.starts_with("graft: the NATS service: ") && words.contains("Permissions Violation")
    };
    assert!(first.lines.iter().any(is_refusal) || is_refusal(&first.wait_for(is_refusal)));
    second.wait_for_leader();
}

#[test]
fn there_is_no_service_without_nats() {
    let directory = tempfile::tempdir().unwrap();
    let node = ["run", "--cluster", "c", "--size", "1", "--nats-service"];
    for medium in [["--local", "d"], ["--serial", "unix:line"]] {
        let output = graft(directory.path(), &[&node[..], &medium].concat());
        assert_eq!(output.status.code(), Some(64), "{output:?}");
    }
}
