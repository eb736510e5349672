//! What is done again and again to see what it costs.

use std::hint::black_box;

use graft_election_core::{HeartbeatResponse, Instant, Message, Outgoing};
use graft_election_proto::{Kind, decode, encode};

use crate::cluster::{Cluster, Safety, Traffic, Wire, outgoing};

/// How many voters a node has room for on a board, in all examples.
pub const BOARD: usize = 7;

/// How many voters a node has room for on a server.
pub const SERVER: usize = 64;

/// How often a scene that is short is repeated at a time.
const REPEATED: u64 = 1_000;

/// How much time passes between two heartbeats, in microseconds.
const INTERVAL: u64 = 100_000;

/// The size of a buffer for any message.
const BUFFER: usize = 256;

/// All scenes.
pub const SCENES: [Scene; 10] = [
    Scene {
        name: "heartbeat",
        title: "a heartbeat is followed and acknowledged",
        prepare: |_| heartbeat::<BOARD>(3),
    },
    Scene {
        name: "heartbeat-wire",
        title: "the same, from bytes to bytes",
        prepare: |_| heartbeat_bytes::<BOARD>(3),
    },
    Scene {
        name: "acknowledgement-3",
        title: "an acknowledgement among 3 voters",
        prepare: |_| acknowledgement::<BOARD>(3),
    },
    Scene {
        name: "acknowledgement-64",
        title: "an acknowledgement among 64 voters",
        prepare: |_| acknowledgement::<SERVER>(64),
    },
    Scene {
        name: "election-3",
        title: "an election of 3 voters",
        prepare: |seed| election::<BOARD>(3, Safety::Lease, Wire::Values, seed),
    },
    Scene {
        name: "election-3-plain",
        title: "the same in Graft mode",
        prepare: |seed| election::<BOARD>(3, Safety::Plain, Wire::Values, seed),
    },
    Scene {
        name: "election-64",
        title: "an election of 64 voters",
        prepare: |seed| election::<SERVER>(64, Safety::Lease, Wire::Values, seed),
    },
    Scene {
        name: "round-3-plain",
        title: "a round of heartbeats of 3 voters in Graft mode, by bytes",
        prepare: |seed| round::<BOARD>(3, Safety::Plain, Wire::Bytes, seed),
    },
    Scene {
        name: "round-3-list",
        title: "a round of heartbeats of 3 declared voters, by bytes",
        prepare: |seed| round::<BOARD>(3, Safety::List, Wire::Bytes, seed),
    },
    Scene {
        name: "round-3-key",
        title: "the same with a key",
        prepare: |seed| round::<BOARD>(3, Safety::Key, Wire::Bytes, seed),
    },
];

/// Something that is done again and again.
#[derive(Clone, Copy)]
pub struct Scene {
    /// Its name, as commands know it.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    /// Makes what it needs. What is returned does it, and says how often it did: at most once, if
    /// that changes what it needs.
    pub prepare: fn(seed: u64) -> Box<dyn FnMut() -> u64>,
}

/// An election from the timer of the first node until nobody has anything to say any more.
pub fn election<const VOTERS: usize>(
    size: usize,
    safety: Safety,
    wire: Wire,
    seed: u64,
) -> Box<dyn FnMut() -> u64> {
    let mut cluster = Cluster::<VOTERS>::new(size, safety, wire, seed);
    Box::new(move || {
        let leader = cluster.run_round();
        assert!(cluster.is_led_by(leader), "nobody disturbs the election");
        1
    })
}

/// A round of heartbeats: the leader's, and all answers.
pub fn round<const VOTERS: usize>(
    size: usize,
    safety: Safety,
    wire: Wire,
    seed: u64,
) -> Box<dyn FnMut() -> u64> {
    let mut cluster = Cluster::<VOTERS>::new(size, safety, wire, seed);
    let leader = cluster.run_round();
    Box::new(move || {
        for _ in 0..REPEATED {
            assert_eq!(cluster.run_round(), leader, "the leader stays");
        }
        REPEATED
    })
}

/// What an election, and then a round of heartbeats, says in a cluster of this size.
pub fn traffic<const VOTERS: usize>(size: usize, safety: Safety) -> [Traffic; 2] {
    let mut cluster = Cluster::<VOTERS>::new(size, safety, Wire::Bytes, 1);
    let leader = cluster.run_round();
    assert!(cluster.is_led_by(leader), "nobody disturbs the election");
    let elected = cluster.traffic();
    assert_eq!(cluster.run_round(), leader, "the leader stays");
    let all = cluster.traffic();
    let round = Traffic {
        said: all.said - elected.said,
        heard: all.heard - elected.heard,
        bytes: all.bytes - elected.bytes,
    };
    [elected, round]
}

/// A follower hears its leader.
pub fn heartbeat<const VOTERS: usize>(size: usize) -> Box<dyn FnMut() -> u64> {
    let (mut cluster, leader) = led::<VOTERS>(size);
    let heartbeat = next_heartbeat(&mut cluster, leader);
    let (_, mut now) = cluster.node(leader);
    let follower = (leader + 1) % size;
    Box::new(move || {
        let (node, _) = cluster.node(follower);
        for _ in 0..REPEATED {
            now = after(now, INTERVAL);
            let message = black_box(&heartbeat).clone();
            black_box(outgoing(node.handle_message(now, message), now));
        }
        REPEATED
    })
}

/// The same, where heartbeat and acknowledgement are bytes.
pub fn heartbeat_bytes<const VOTERS: usize>(size: usize) -> Box<dyn FnMut() -> u64> {
    let (mut cluster, leader) = led::<VOTERS>(size);
    let heartbeat = next_heartbeat(&mut cluster, leader);
    let mut buffer = [0; BUFFER];
    let payload = encode(&heartbeat, &mut buffer).expect("the buffer has room").to_vec();
    let (_, mut now) = cluster.node(leader);
    let follower = (leader + 1) % size;
    Box::new(move || {
        let (node, _) = cluster.node(follower);
        for _ in 0..REPEATED {
            now = after(now, INTERVAL);
            let message = decode(Kind::Heartbeat, black_box(&payload)).expect("it was encoded");
            let answer = outgoing(node.handle_message(now, message), now).expect("it answers");
            black_box(encode(&answer.message, &mut buffer).expect("the buffer has room"));
        }
        REPEATED
    })
}

/// A leader hears its followers' acknowledgements of each heartbeat, one after the other. What the
/// heartbeat itself takes is part of it.
pub fn acknowledgement<const VOTERS: usize>(size: usize) -> Box<dyn FnMut() -> u64> {
    let (mut cluster, leader) = led::<VOTERS>(size);
    let heartbeat = next_heartbeat(&mut cluster, leader);
    let (_, now) = cluster.node(leader);
    let followers = (0..size).filter(|index| *index != leader);
    let mut acknowledge = |follower| {
        let answer = cluster.node(follower).0.handle_message(now, heartbeat.clone());
        match outgoing(answer, now) {
            Some(Outgoing { message: Message::HeartbeatResponse(answer), .. }) => answer,
            other => unreachable!("{other:?} is no acknowledgement"),
        }
    };
    let acknowledgements: Vec<HeartbeatResponse> = followers.map(&mut acknowledge).collect();
    Box::new(move || {
        let (node, _) = cluster.node(leader);
        let mut heard = 0;
        while heard < REPEATED {
            let now = node.deadline();
            let said = outgoing(node.handle_timeout(now), now);
            let Some(Outgoing { message: Message::Heartbeat(heartbeat), .. }) = said else {
                unreachable!("{said:?} is no heartbeat");
            };
            for acknowledgement in &acknowledgements {
                let sent_at = heartbeat.sent_at;
                let message = HeartbeatResponse { sent_at, ..acknowledgement.clone() };
                let message = black_box(Message::HeartbeatResponse(message));
                black_box(outgoing(node.handle_message(now, message), now));
                heard += 1;
            }
        }
        heard
    })
}

/// A cluster, and its leader.
fn led<const VOTERS: usize>(size: usize) -> (Cluster<VOTERS>, usize) {
    let mut cluster = Cluster::new(size, Safety::Lease, Wire::Values, 1);
    let leader = cluster.run_round();
    (cluster, leader)
}

fn next_heartbeat<const VOTERS: usize>(cluster: &mut Cluster<VOTERS>, leader: usize) -> Message {
    let (node, _) = cluster.node(leader);
    let now = node.deadline();
    let said = outgoing(node.handle_timeout(now), now).expect("a leader says that it leads");
    said.message
}

fn after(now: Instant, micros: u64) -> Instant {
    Instant::from_micros(now.as_micros() + micros)
}
