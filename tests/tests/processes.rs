//! Nodes that are processes, on a real nats-server.

#![cfg(test)]

use futures_util::future::select_all;
use graft_election_tests::nats_server::NatsServer;
use graft_election_tests::program::Process;
use serde_json::Value;

/// Waits until one of the processes other than `gone` leads a term above `term`; returns its place
/// and its term.
async fn next_leader(processes: &mut [Process], gone: Option<usize>, term: u64) -> (usize, u64) {
    let leads = |event: &Value| {
        event["event"] == "state" && event["to"] == "Leader" && event["term"].as_u64() > Some(term)
    };
    let living = processes.iter_mut().enumerate().filter(|(place, _)| Some(*place) != gone);
    let waiting = living
        .map(|(place, process)| Box::pin(async move { (place, process.wait_for(leads).await) }));
    let ((place, event), ..) = select_all(waiting).await;
    (place, event["term"].as_u64().unwrap())
}

#[tokio::test]
async fn a_leader_that_is_killed_is_replaced_and_comes_back_as_a_follower() {
    for size in [3, 5] {
        let server = NatsServer::start();
        let votes = tempfile::tempdir().unwrap();
        let run = |place| Process::run(&format!("n{place}"), size, &server.url(), votes.path());
        let mut processes: Vec<_> = (0..size).map(run).collect();
        let (mut leader, mut term) = next_leader(&mut processes, None, 0).await;
        for _ in 0..3 {
            processes[leader].kill();
            let (next, next_term) = next_leader(&mut processes, Some(leader), term).await;
            processes[leader] = run(leader);
            let back = processes[leader].wait_for(|event| event["event"] == "leader").await;
            assert_eq!(back["leader"], format!("n{next}"));
            assert_eq!(back["term"].as_u64(), Some(next_term));
            (leader, term) = (next, next_term);
        }
    }
}
