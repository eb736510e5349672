//! A cluster of emulated boards on one serial bus.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use graft_election_core::{Config, NodeId};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::board::Board;
use crate::bus::{Bus, Member};
use crate::cluster::id;
use crate::witness::{Heard, Witness};

/// An election takes a second at most, and rarely two; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// Emulated boards on one bus, and a witness of what they say.
#[derive(Debug)]
pub struct Boards {
    boards: Vec<(Member, Board)>,
    witness: Witness,
    _bus: Arc<Bus>,
    _folder: TempDir,
}

impl Boards {
    /// A cluster of `size` new boards, switched on, on a bus that takes no time.
    pub fn start(size: u32) -> Self {
        Self::start_on(&Arc::new(Bus::new()), size, size)
    }

    /// The first `count` of a cluster of `size` new boards, on `bus`, switched on.
    pub fn start_on(bus: &Arc<Bus>, count: u32, size: u32) -> Self {
        Self::start_with(bus, count, size, Config::HEARTBEAT_INTERVAL)
    }

    /// A cluster of `size` new boards, on a slow `bus`, switched on.
    pub fn start_slow(bus: &Arc<Bus>, size: u32, heartbeat_interval: Duration) -> Self {
        Self::start_with(bus, size, size, heartbeat_interval)
    }

    fn start_with(bus: &Arc<Bus>, count: u32, size: u32, heartbeat_interval: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the memories");
        let witness = Witness::new(bus);
        let boards = (1..=count).map(|number| {
            let member = bus.join(&format!("board-{number}"));
            let mut board = Board::new(number, size, folder.path(), member.socket())
                .with_heartbeat_interval(heartbeat_interval);
            board.switch_on();
            (member, board)
        });
        Self { boards: boards.collect(), witness, _bus: Arc::clone(bus), _folder: folder }
    }

    /// The boards' ids.
    pub fn ids(&self) -> Vec<NodeId> {
        self.boards.iter().map(|(_, board)| id(&board.id())).collect()
    }

    /// What was heard on the bus so far.
    pub fn heard(&self) -> &Heard {
        self.witness.heard()
    }

    /// Who hears what is said on the bus.
    pub fn witness(&mut self) -> &mut Witness {
        &mut self.witness
    }

    fn place(&self, id: &NodeId) -> usize {
        self.boards
            .iter()
            .position(|(_, board)| board.id() == id.as_str())
            .expect("a board of the cluster")
    }

    fn board(&mut self, id: &NodeId) -> &mut Board {
        let place = self.place(id);
        &mut self.boards[place].1
    }

    /// A board's place on the bus, to cut its wire.
    pub fn member(&self, id: &NodeId) -> &Member {
        &self.boards[self.place(id)].0
    }

    /// What a board has logged since it was switched on.
    pub fn log(&self, id: &NodeId) -> crate::board::Log {
        self.boards[self.place(id)].1.log()
    }

    /// Takes a board's power away.
    pub fn cut_power(&mut self, id: &NodeId) {
        self.board(id).cut_power();
    }

    /// Gives a board its power back.
    pub fn switch_on(&mut self, id: &NodeId) {
        // What it had not finished saying, it never will.
        self.witness.forget_half(id.as_str());
        self.board(id).switch_on();
    }

    /// Hears all that a board said before it lost its power. The last of it may be on its way.
    pub async fn hear_out(&mut self, id: &NodeId) {
        self.member(id).left().await;
        self.witness.catch_up();
    }

    /// Gives a board its power back, and waits until it tells what record it found: it must know of
    /// all that it said before (I2, I3, I6). Returns the record's term.
    pub async fn come_back(&mut self, id: &NodeId) -> u64 {
        self.hear_out(id).await;
        let said = self.witness.said_by(id);
        self.switch_on(id);
        let record = record_of(&self.logged(id, "starts in term").await);
        let (term, _) = record;
        self.witness.hear_of_start(id, said, record);
        term
    }

    /// Waits for the heartbeat of a leader in a later term than `term`.
    #[track_caller]
    pub fn leader_after(&mut self, term: u64) -> impl Future<Output = (u64, NodeId)> {
        self.heard_of("nobody leads", term, |heard, term| {
            let (term, leader) = heard.leaders.range(term + 1..).next()?;
            Some((*term, leader.clone()))
        })
    }

    /// Waits for someone to lead in the highest term that anyone has reached.
    #[track_caller]
    pub fn latest_leader(&mut self) -> impl Future<Output = (u64, NodeId)> {
        self.heard_of("nobody leads", self.heard().term().saturating_sub(1), |heard, _| {
            let term = heard.term();
            heard.leaders.get(&term).map(|leader| (term, leader.clone()))
        })
    }

    /// Waits for someone to ask for votes in a later term than `term`.
    #[track_caller]
    pub fn candidate_after(&mut self, term: u64) -> impl Future<Output = (u64, NodeId)> {
        self.heard_of("nobody campaigns", term, Heard::candidate_after)
    }

    #[track_caller]
    fn heard_of<T>(
        &mut self,
        what_if_not: &str,
        term: u64,
        tell: impl Fn(&Heard, u64) -> Option<T>,
    ) -> impl Future<Output = T> {
        let caller = Location::caller();
        async move {
            let told = self.witness.hear_of(|heard| tell(heard, term));
            timeout(PATIENCE, told).await.unwrap_or_else(|_| {
                panic!("{caller}: {what_if_not} after term {term}:\n{}", self.logs())
            })
        }
    }

    /// Waits until a board logs what contains `line`, and returns all of that line.
    pub async fn logged(&mut self, id: &NodeId, line: &str) -> String {
        let place = self.place(id);
        let logged = self.boards[place].1.logged(|logged| logged.contains(line));
        let logged = timeout(PATIENCE, self.witness.hear_until(logged)).await;
        logged.unwrap_or_else(|_| panic!("{id} does not log \"{line}\":\n{}", self.logs()))
    }

    /// Hears what is said for so long.
    pub async fn hear_for(&mut self, time: Duration) {
        self.witness.hear_until(sleep(time)).await;
    }

    /// Checks that no firmware has ended by itself.
    pub fn check_that_all_run(&mut self) {
        for (_, board) in &mut self.boards {
            assert_eq!(board.ended(), None, "{} ended: {:?}", board.id(), board.log());
        }
    }

    /// What the boards have logged since they were switched on.
    pub fn logs(&self) -> String {
        let logs =
            self.boards.iter().map(|(_, board)| format!("{}: {:#?}", board.id(), board.log()));
        logs.collect::<Vec<_>>().join("\n")
    }
}

/// The term and the vote that a board says it starts with.
fn record_of(start: &str) -> (u64, Option<NodeId>) {
    let (_, record) = start.split_once("starts in term ").expect("a start");
    let (term, vote) = record.split_once(", ").expect("a vote or none");
    let vote = vote.strip_prefix("its vote is ").and_then(|vote| vote.strip_suffix("'s"));
    (term.parse().expect("a term"), vote.map(id))
}
