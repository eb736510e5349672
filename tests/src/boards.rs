//! A cluster of emulated boards on one serial bus.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use graft_election_core::{Config, NodeId};
use graft_election_proto::seal::Keys;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::board::Board;
use crate::bus::{Bus, Member};
use crate::cluster::id;
use crate::witness::{Heard, Witness};

/// The cluster that the firmware is of.
pub const BOARDS_CLUSTER: &str = "boards";

/// An election usually takes less than a second, and rarely two; the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Emulated boards on one bus, and a witness of what they send.
#[derive(Debug)]
pub struct Boards {
    boards: Vec<(Member, Board)>,
    witness: Witness,
    _bus: Arc<Bus>,
    _folder: TempDir,
}

impl Boards {
    /// Switches on a cluster of `size` new boards, on a bus that takes no time.
    pub fn start(size: u32) -> Self {
        Self::start_on(&Arc::new(Bus::new()), size, size)
    }

    /// Switches on the first `count` of a cluster of `size` new boards, on `bus`.
    pub fn start_on(bus: &Arc<Bus>, count: u32, size: u32) -> Self {
        Self::start_with(bus, count, size, Config::HEARTBEAT_INTERVAL)
    }

    /// Switches on a cluster of `size` new boards, on a slow `bus`.
    pub fn start_slow(bus: &Arc<Bus>, size: u32, heartbeat_interval: Duration) -> Self {
        Self::start_with(bus, size, size, heartbeat_interval)
    }

    /// Switches on new boards with these numbers, of which some may be alike.
    pub fn start_numbered(numbers: &[u32], size: u32) -> Self {
        let bus = Arc::new(Bus::new());
        let folder = tempfile::tempdir().expect("a folder for the memories");
        let witness = Witness::new(&bus);
        let boards = numbers.iter().enumerate().map(|(index, number)| {
            let member = bus.join(&format!("socket-{index}"));
            let mut board = Board::new(*number, size, folder.path(), member.socket());
            board.switch_on();
            (member, board)
        });
        Self { boards: boards.collect(), witness, _bus: bus, _folder: folder }
    }

    /// Waits until this many boards have ended by themselves, and returns their logs.
    pub async fn given_up(&mut self, count: usize) -> Vec<crate::board::Log> {
        let began = tokio::time::Instant::now();
        loop {
            let ended: Vec<_> = self
                .boards
                .iter_mut()
                .filter_map(|(_, board)| board.ended().map(|_| board.log()))
                .collect();
            if ended.len() >= count {
                return ended;
            }
            assert!(began.elapsed() < TIMEOUT, "{} ended:\n{}", ended.len(), self.logs());
            self.hear_for(Duration::from_millis(50)).await;
        }
    }

    fn start_with(bus: &Arc<Bus>, count: u32, size: u32, heartbeat_interval: Duration) -> Self {
        Self::start_each(bus, count, size, |board, _| {
            board.with_heartbeat_interval(heartbeat_interval)
        })
    }

    /// Switches on new boards of a cluster of `size`, on `bus`, each with the text of a cluster's
    /// key, or with firmware that knows of none. Only what `believed` opens is heard of them.
    pub fn start_with_keys(
        bus: &Arc<Bus>,
        size: u32,
        keys: &[Option<&str>],
        believed: &Keys,
        heartbeat_interval: Duration,
    ) -> Self {
        let mut boards = Self::start_each(bus, keys.len() as u32, size, |mut board, index| {
            if let Some(text) = keys[index] {
                board.set_key(text);
            }
            board.with_heartbeat_interval(heartbeat_interval)
        });
        boards.witness.believe(believed);
        boards
    }

    fn start_each(
        bus: &Arc<Bus>,
        count: u32,
        size: u32,
        prepare: impl Fn(Board, usize) -> Board,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the memories");
        let witness = Witness::new(bus);
        let boards = (1..=count).enumerate().map(|(index, number)| {
            let member = bus.join(&format!("board-{number}"));
            let board = Board::new(number, size, folder.path(), member.socket());
            let mut board = prepare(board, index);
            board.switch_on();
            (member, board)
        });
        Self { boards: boards.collect(), witness, _bus: Arc::clone(bus), _folder: folder }
    }

    /// The boards' ids.
    pub fn ids(&self) -> Vec<NodeId> {
        self.boards.iter().map(|(_, board)| id(&board.id())).collect()
    }

    /// What has been heard on the bus so far.
    pub fn heard(&self) -> &Heard {
        self.witness.heard()
    }

    /// The witness of what is sent on the bus.
    pub fn witness(&mut self) -> &mut Witness {
        &mut self.witness
    }

    fn index(&self, id: &NodeId) -> usize {
        self.boards
            .iter()
            .position(|(_, board)| board.id() == id.as_str())
            .expect("a board of the cluster")
    }

    fn board(&mut self, id: &NodeId) -> &mut Board {
        let index = self.index(id);
        &mut self.boards[index].1
    }

    /// A board's connection to the bus, to cut its wire.
    pub fn member(&self, id: &NodeId) -> &Member {
        &self.boards[self.index(id)].0
    }

    /// What a board has logged since it was switched on.
    pub fn log(&self, id: &NodeId) -> crate::board::Log {
        self.boards[self.index(id)].1.log()
    }

    /// Cuts a board's power.
    pub fn cut_power(&mut self, id: &NodeId) {
        self.board(id).cut_power();
    }

    /// Gives a board its power back.
    pub fn switch_on(&mut self, id: &NodeId) {
        // A frame that the power cut interrupted stays unfinished.
        self.witness.forget_half(id.as_str());
        self.board(id).switch_on();
    }

    /// Gives a board, whose power is cut, the text of another key.
    pub fn set_key(&mut self, id: &NodeId, text: &str) {
        self.board(id).set_key(text);
    }

    /// Hears everything a board sent before its power was cut, of which the last may still be on
    /// its way.
    pub async fn hear_out(&mut self, id: &NodeId) {
        self.member(id).left().await;
        self.witness.catch_up();
    }

    /// Gives a board its power back, and waits until it logs the record it found. The record must
    /// cover everything it sent before (I2, I3, I6). Returns the record's term.
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

    /// Waits for a leader in the highest term that any board has reached.
    #[track_caller]
    pub fn latest_leader(&mut self) -> impl Future<Output = (u64, NodeId)> {
        self.heard_of("nobody leads", self.heard().term().saturating_sub(1), |heard, _| {
            let term = heard.term();
            heard.leaders.get(&term).map(|leader| (term, leader.clone()))
        })
    }

    /// Waits for a board to ask for votes in a later term than `term`.
    #[track_caller]
    pub fn candidate_after(&mut self, term: u64) -> impl Future<Output = (u64, NodeId)> {
        self.heard_of("nobody campaigns", term, Heard::candidate_after)
    }

    #[track_caller]
    fn heard_of<T>(
        &mut self,
        otherwise: &str,
        term: u64,
        find: impl Fn(&Heard, u64) -> Option<T>,
    ) -> impl Future<Output = T> {
        let caller = Location::caller();
        async move {
            let found = self.witness.hear_of(|heard| find(heard, term));
            timeout(TIMEOUT, found).await.unwrap_or_else(|_| {
                panic!("{caller}: {otherwise} after term {term}:\n{}", self.logs())
            })
        }
    }

    /// Waits until a board logs a line that contains `text`, and returns the line.
    pub async fn logged(&mut self, id: &NodeId, text: &str) -> String {
        let index = self.index(id);
        let logged = self.boards[index].1.logged(|line| line.contains(text));
        let logged = timeout(TIMEOUT, self.witness.hear_until(logged)).await;
        logged.unwrap_or_else(|_| panic!("{id} does not log \"{text}\":\n{}", self.logs()))
    }

    /// Hears what is sent for this long.
    pub async fn hear_for(&mut self, time: Duration) {
        self.witness.hear_until(sleep(time)).await;
    }

    /// Checks that no firmware has exited.
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

/// The term and the vote that a board logs at its start.
fn record_of(start: &str) -> (u64, Option<NodeId>) {
    let (_, record) = start.split_once("starts in term ").expect("a start");
    let (term, vote) = record.split_once(", ").expect("a vote or none");
    let vote = vote.strip_prefix("with a vote for ");
    (term.parse().expect("a term"), vote.map(id))
}
