//! raft-rs, with pre-votes and the quorum check, and its log in memory.

use std::collections::VecDeque;
use std::hint::black_box;

use raft::prelude::{Config, Message, MessageType};
use raft::storage::MemStorage;
use raft::{RawNode, StateRole};
use slog::{Discard, Logger, o};

use crate::meter::{Contestant, Play};
use crate::{ACKNOWLEDGEMENT, ELECTION, HEARTBEAT, REPEATED, ROUND};

const NAME: &str = "raft-rs";

pub fn contestants(voters: usize) -> Vec<Contestant> {
    let [of_election, of_round] = traffic(voters);
    let contestant = |scene, messages, prepare: fn(usize) -> Play| {
        Contestant::new(NAME, voters, scene, Some(messages), move |_| prepare(voters))
    };
    vec![
        contestant(ELECTION, of_election, election),
        contestant(ROUND, of_round, round),
        contestant(ACKNOWLEDGEMENT, 1, acknowledgement),
        contestant(HEARTBEAT, 2, heartbeat),
    ]
}

/// Nodes whose messages all arrive, at once and in order.
struct Cluster {
    nodes: Vec<RawNode<MemStorage>>,
    said: VecDeque<Message>,
    heard: usize,
}

impl Cluster {
    fn new(size: usize) -> Self {
        let ids: Vec<u64> = (1..).take(size).collect();
        let logger = Logger::root(Discard, o!());
        let node = |id: &u64| {
            let config = Config {
                id: *id,
                election_tick: 5,
                heartbeat_tick: 1,
                pre_vote: true,
                check_quorum: true,
                ..Config::default()
            };
            let storage = MemStorage::new_with_conf_state((ids.clone(), vec![]));
            RawNode::new(&config, storage, &logger).expect("the settings are sound")
        };
        let nodes = ids.iter().map(node).collect();
        Self { nodes, said: VecDeque::with_capacity(4 * size), heard: 0 }
    }

    fn led(size: usize) -> Self {
        let mut cluster = Self::new(size);
        cluster.elect();
        cluster
    }

    /// The first node campaigns, and leads when nobody has anything to say any more.
    fn elect(&mut self) {
        self.nodes[0].campaign().expect("it may");
        take_messages(&mut self.nodes[0], &mut self.said);
        self.deliver_all();
        assert_eq!(self.nodes[0].raft.state, StateRole::Leader);
    }

    fn run_round(&mut self) {
        self.nodes[0].ping();
        take_messages(&mut self.nodes[0], &mut self.said);
        self.deliver_all();
    }

    fn deliver_all(&mut self) {
        while let Some(message) = self.said.pop_front() {
            self.heard += 1;
            let to = message.to as usize - 1;
            self.nodes[to].step(message).expect("it is sane");
            take_messages(&mut self.nodes[to], &mut self.said);
        }
    }
}

/// What an application does with what is ready; its storage takes no time.
fn take_messages(node: &mut RawNode<MemStorage>, said: &mut VecDeque<Message>) {
    while node.has_ready() {
        let mut ready = node.ready();
        said.extend(ready.take_messages());
        let mut store = node.mut_store().wl();
        store.append(ready.entries()).expect("they follow");
        if let Some(state) = ready.hs() {
            store.set_hardstate(state.clone());
        }
        drop(store);
        said.extend(ready.take_persisted_messages());
        let mut light = node.advance(ready);
        said.extend(light.take_messages());
        node.advance_apply();
    }
}

fn traffic(voters: usize) -> [usize; 2] {
    let mut cluster = Cluster::led(voters);
    let elected = cluster.heard;
    cluster.run_round();
    [elected, cluster.heard - elected]
}

fn election(voters: usize) -> Play {
    let mut cluster = Cluster::new(voters);
    Box::new(move || {
        cluster.elect();
        1
    })
}

fn round(voters: usize) -> Play {
    let mut cluster = Cluster::led(voters);
    Box::new(move || {
        (0..REPEATED).for_each(|_| cluster.run_round());
        REPEATED
    })
}

fn heartbeat(voters: usize) -> Play {
    let mut cluster = Cluster::led(voters);
    cluster.nodes[0].ping();
    take_messages(&mut cluster.nodes[0], &mut cluster.said);
    let heartbeat = cluster.said.pop_front().expect("a leader says that it leads");
    let mut answers = VecDeque::with_capacity(4);
    Box::new(move || {
        let follower = &mut cluster.nodes[heartbeat.to as usize - 1];
        for _ in 0..REPEATED {
            follower.step(black_box(&heartbeat).clone()).expect("it is sane");
            take_messages(follower, &mut answers);
            black_box(answers.pop_front().expect("it answers"));
        }
        REPEATED
    })
}

fn acknowledgement(voters: usize) -> Play {
    let mut cluster = Cluster::led(voters);
    cluster.nodes[0].ping();
    take_messages(&mut cluster.nodes[0], &mut cluster.said);
    let mut acknowledgements = Vec::new();
    while let Some(heartbeat) = cluster.said.pop_front() {
        let follower = &mut cluster.nodes[heartbeat.to as usize - 1];
        let mut answers = VecDeque::new();
        follower.step(heartbeat).expect("it is sane");
        take_messages(follower, &mut answers);
        acknowledgements.extend(answers);
    }
    assert_eq!(acknowledgements[0].get_msg_type(), MessageType::MsgHeartbeatResponse);
    let mut said = VecDeque::with_capacity(voters);
    Box::new(move || {
        let leader = &mut cluster.nodes[0];
        let mut heard = 0;
        while heard < REPEATED {
            leader.ping();
            take_messages(leader, &mut said);
            said.clear();
            for acknowledgement in &acknowledgements {
                leader.step(black_box(acknowledgement).clone()).expect("it is sane");
                take_messages(leader, &mut said);
                heard += 1;
            }
        }
        heard
    })
}
