//! The example of fencing, on a real nats-server: what it prints, and what the store holds then.

/// The example's own code: only its `main` is not run here.
#[allow(dead_code, unreachable_pub, reason = "it is a program")]
#[path = "../../std-adapter/examples/fencing.rs"]
mod example;

use async_nats::jetstream;
use example::{BUCKET, KEY, Value, play};
use graft_election_tests::nats_server::NatsServer;

/// What the store of `server` holds.
#[tokio::main(flavor = "current_thread")]
async fn stored(server: &NatsServer) -> Value {
    let client = async_nats::connect(server.url()).await.unwrap();
    let store = jetstream::new(client).get_key_value(BUCKET).await.unwrap();
    serde_json::from_slice(&store.get(KEY).await.unwrap().unwrap()).unwrap()
}

/// I5.
#[test]
fn the_late_write_of_a_paused_leader_is_refused_and_its_successors_stands() {
    let server = NatsServer::start_with_jetstream();
    // The second time it finds what the first has left behind.
    for _ in 0..2 {
        let mut told = Vec::new();
        play(&server.url(), &mut told).unwrap();
        let told = String::from_utf8(told).unwrap();
        let lines: Vec<_> = told.lines().collect();

        let paused = lines.iter().position(|line| line.ends_with("is paused before it writes"));
        let (before, after) = lines.split_at(paused.expect("one is paused") + 1);
        let id = before.last().unwrap().split(' ').next().unwrap();
        let [.., successor, late, holds] = after else { panic!("{told}") };
        assert!(!successor.starts_with(id) && successor.contains(" leads, "), "{told}");
        assert!(late.starts_with(id) && late.ends_with(" was refused"), "{told}");

        let Value { token, payload } = stored(&server);
        assert_eq!(*holds, format!("the store holds token {token}: {payload}"));
        assert!(successor.contains(&format!("with token {token}, ")), "{told}");
        let successor = successor.split(' ').next().unwrap();
        assert_eq!(payload, format!("written by {successor}"), "{told}");
    }
}

#[test]
fn a_server_without_jetstream_is_an_error() {
    let server = NatsServer::start();
    let mut told = Vec::new();
    let error = play(&server.url(), &mut told).unwrap_err().to_string();
    assert!(error.contains("for which JetStream is needed"), "{error}");
    assert!(told.is_empty());
}
