//! One cluster of emulated boards, of a host on their serial bus, and of hosts on a real
//! nats-server, with a bridge between the bus and the server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use graft_election::{
    ClusterInfo, MemoryVotes, NatsTransport, Node, NodeBuilder, NodeId, Operator, OperatorError,
    SerialLine, SerialTransport, State,
};
use graft_election_tests::boards::{BOARDS_CLUSTER, Boards};
use graft_election_tests::bridge::RunningBridge;
use graft_election_tests::bus::{Bus, Member};
use graft_election_tests::cluster::{PATIENCE, id};
use graft_election_tests::killable_node::KillableNode;
use graft_election_tests::nats_server::NatsServer;
use tokio::time::timeout;

/// I1: whatever is lost, there is one leader as soon as there is a quorum that hears each other.
#[tokio::test(flavor = "multi_thread")]
async fn boards_a_host_on_their_bus_and_hosts_on_nats_replace_whatever_is_lost() {
    let mut mixed = Mixed::start().await;

    for side in [Side::Board, Side::Host, Side::Nats] {
        let (term, lost) = mixed.leader_on(side).await;
        mixed.lose(&lost).await;
        let (next_term, next) = mixed.agreed_leader().await;
        assert!(next_term > term && next != lost, "{lost} led term {term}, {next} {next_term}");
        mixed.bring_back(&lost).await;
        assert_eq!(mixed.agreed_leader().await, (next_term, next.clone()), "{lost} follows");
        println!("{lost} led term {term} and was lost, {next} leads term {next_term}");
    }

    let (term, leader) = mixed.leader_on(Side::Board).await;
    mixed.bridge.take().unwrap().kill().await;
    mixed.only_the_bus_is_led().await;
    mixed.start_bridge().await;
    assert_eq!(mixed.agreed_leader().await, (term, leader.clone()), "A2: nobody deposes it");
    println!("the bridge was lost, {leader} leads term {term}");

    let stopped = mixed.server.take().unwrap().stop();
    mixed.only_the_bus_is_led().await;
    mixed.server = Some(stopped.restart());
    assert_eq!(mixed.agreed_leader().await, (term, leader.clone()), "A2: nobody deposes it");
    println!("the server was lost, {leader} leads term {term}");

    mixed.boards.check_that_all_run();
    assert!(mixed.boards.heard().carried > 0, "the witness hears the bridge");
}

/// Where a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// On an emulated board.
    Board,
    /// In a process on the boards' bus.
    Host,
    /// In a process on NATS.
    Nats,
}

/// A cluster of five: `board-1` and `board-2`, `host` beside them, `nats-1` and `nats-2`.
struct Mixed {
    boards: Boards,
    places: BTreeMap<&'static str, Member>,
    server: Option<NatsServer>,
    bridge: Option<RunningBridge>,
    hosts: BTreeMap<NodeId, KillableNode>,
    votes: BTreeMap<NodeId, MemoryVotes>,
    lost: Option<NodeId>,
}

impl Mixed {
    const BOARDS: u32 = 2;
    const SIZE: u32 = 5;
    const HOSTS: [&str; 3] = ["host", "nats-1", "nats-2"];

    async fn start() -> Self {
        let (bus, server) = (Arc::new(Bus::new()), NatsServer::start());
        let mut boards = Boards::start_on(&bus, Self::BOARDS, Self::SIZE);
        boards.witness().listen_to(&server).await;
        let mut mixed = Self {
            boards,
            places: ["host", "bridge"].map(|name| (name, bus.join(name))).into(),
            server: Some(server),
            bridge: None,
            hosts: BTreeMap::new(),
            votes: Self::HOSTS.map(|name| (id(name), MemoryVotes::new())).into(),
            lost: None,
        };
        mixed.start_bridge().await;
        for name in Self::HOSTS {
            mixed.start_host(&id(name)).await;
        }
        mixed
    }

    fn side_of(&self, node: &NodeId) -> Side {
        match node.as_str() {
            "host" => Side::Host,
            name if name.starts_with("nats-") => Side::Nats,
            _ => Side::Board,
        }
    }

    fn server(&self) -> &NatsServer {
        self.server.as_ref().unwrap()
    }

    async fn start_bridge(&mut self) {
        let (member, server) = (&self.places["bridge"], self.server());
        self.bridge = Some(RunningBridge::start_for_boards(member, server).await);
    }

    async fn start_host(&mut self, host: &NodeId) {
        let (votes, builder) = (self.votes[host].clone(), builder(host));
        let node = match self.side_of(host) {
            Side::Host => {
                let line = SerialLine::Unix(self.places["host"].socket().to_owned());
                let transport = SerialTransport::new(line);
                KillableNode::start(async { builder.start(transport, votes).await.unwrap() }).await
            }
            _ => {
                let url = self.server().url();
                KillableNode::start(async {
                    let transport = NatsTransport::connect(url).await.unwrap();
                    builder.start(transport, votes).await.unwrap()
                })
                .await
            }
        };
        self.hosts.insert(host.clone(), node);
    }

    /// Loses a node: its power, or its process.
    async fn lose(&mut self, node: &NodeId) {
        match self.hosts.remove(node) {
            Some(host) => self.boards.witness().hear_until(host.kill()).await,
            None => self.boards.cut_power(node),
        }
        self.lost = Some(node.clone());
    }

    async fn bring_back(&mut self, node: &NodeId) {
        match self.side_of(node) {
            Side::Board => drop(self.boards.come_back(node).await),
            Side::Host | Side::Nats => self.start_host(node).await,
        }
        self.lost = None;
    }

    /// Waits until one on `side` leads. Unless one does, an operator on NATS has the leadership
    /// handed over: asked again where the target is not fit, since it was late just then.
    async fn leader_on(&mut self, side: Side) -> (u64, NodeId) {
        loop {
            let (term, leader) = self.agreed_leader().await;
            if self.side_of(&leader) == side {
                return (term, leader);
            }
            let nodes = self.boards.ids().into_iter().chain(self.hosts.keys().cloned());
            let target = nodes.into_iter().find(|node| self.side_of(node) == side).unwrap();
            let transport = NatsTransport::connect(self.server().url()).await.unwrap();
            let operator = Operator::connect(transport, BOARDS_CLUSTER).await.unwrap();
            let mut operator = operator.patience(PATIENCE);
            let handed_over = operator.hand_over(Some(&target));
            match self.boards.witness().hear_until(handed_over).await {
                Ok(_) | Err(OperatorError::UnfitTarget { .. }) => {}
                Err(error) => panic!("{error}\n{}", self.boards.logs()),
            }
        }
    }

    /// Waits until all that are there follow one leader in one term.
    async fn agreed_leader(&mut self) -> (u64, NodeId) {
        let boards =
            self.boards.ids().into_iter().filter(|board| Some(board) != self.lost.as_ref());
        let nodes: Vec<_> = boards.chain(self.hosts.keys().cloned()).collect();
        self.agreed_leader_of(&nodes).await
    }

    async fn agreed_leader_of(&mut self, nodes: &[NodeId]) -> (u64, NodeId) {
        let agreement = timeout(PATIENCE, async {
            loop {
                let views: Vec<_> = nodes.iter().map(|node| self.view_of(node)).collect();
                if let Some((first, others)) = views.split_first()
                    && let Some((term, leader)) = first
                    && nodes.contains(leader)
                    && others.iter().all(|view| view == first)
                {
                    return (*term, leader.clone());
                }
                // Whoever leads says so all the time.
                self.boards.witness().hear().await;
            }
        })
        .await;
        agreement.unwrap_or_else(|_| {
            let views: Vec<_> = nodes.iter().map(|node| (node, self.view_of(node))).collect();
            panic!("no agreement: {views:?}\n{}", self.boards.logs())
        })
    }

    /// Whom a node takes for the leader, and in which term.
    fn view_of(&self, node: &NodeId) -> Option<(u64, NodeId)> {
        match self.hosts.get(node) {
            Some(host) => {
                let status = host.node().status();
                status.leader.clone().map(|leader| (status.term, leader))
            }
            None => {
                let log = self.boards.log(node);
                let last = log.iter().rev().find(|line| line.contains(" in term "))?;
                let (leader, term) = last.split_once(" leads in term ")?;
                Some((term.parse().ok()?, id(leader)))
            }
        }
    }

    /// Nothing passes between the bus and NATS: the three on the bus are a quorum and are led, the
    /// two on NATS are none, ask for pre-votes in vain, and never lead (rules C1, A2).
    async fn only_the_bus_is_led(&mut self) {
        let on_nats = ["nats-1", "nats-2"].map(id);
        for node in &on_nats {
            let mut status = self.hosts[node].node().watch();
            let term = status.borrow().term;
            let asks = status.wait_for(|status| status.state == State::PreCandidate);
            let asks = timeout(PATIENCE, self.boards.witness().hear_until(asks)).await;
            assert_eq!(asks.expect("it asks").expect("a node").term, term, "it raises no term");
        }
        let on_bus: Vec<_> = self.boards.ids().into_iter().chain([id("host")]).collect();
        let (_, leader) = self.agreed_leader_of(&on_bus).await;
        assert!(on_bus.contains(&leader));
        for node in &on_nats {
            assert_ne!(self.hosts[node].node().state(), State::Leader, "two of five lead");
        }
    }
}

/// A host whose election timeout is longer than a board's.
fn builder(host: &NodeId) -> NodeBuilder {
    let (min, max) = (Duration::from_millis(1_100), Duration::from_millis(1_600));
    let cluster = ClusterInfo::new(BOARDS_CLUSTER, Mixed::SIZE as usize);
    Node::builder(cluster).id(host.clone()).election_timeout(min, max)
}
