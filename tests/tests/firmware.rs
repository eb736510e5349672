//! The firmware, on emulated boards that share a serial bus.

use std::collections::BTreeMap;
use std::time::Duration;

use graft_election_core::{Message, NodeId};
use graft_election_proto::frame::FrameReader;
use graft_election_tests::board::Board;
use graft_election_tests::bus::{Bus, Member, Sent};
use tempfile::TempDir;
use tokio::sync::broadcast::Receiver;

/// An election takes a second at most, and rarely two; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

const ROUNDS: usize = 20;

/// V1, I1, I2, I3: whoever leads loses its power, 20 times.
#[tokio::test(flavor = "multi_thread")]
async fn boards_that_lose_power_are_replaced_and_come_back_with_their_votes() {
    let mut boards = Boards::start(3);
    let (mut term, mut leader) = boards.leader_after(0).await;
    for round in 1..=ROUNDS {
        boards.cut_power(&leader);
        let (next_term, next) = boards.leader_after(term).await;
        assert_ne!(next, leader, "round {round}: who has no power does not lead");

        boards.switch_on(&leader);
        let vote = format!("{leader} starts in term {term}, its vote is {leader}'s");
        boards.logged(&leader, &vote).await;
        boards.logged(&leader, &format!("{next} leads in term {next_term}")).await;
        (term, leader) = (next_term, next);
    }
    boards.check_that_all_run();
}

/// T3: a leader whose wire is cut goes on to lead, in its old term, until it hears of the new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_board_whose_wire_is_cut_follows_once_it_is_mended() {
    let mut boards = Boards::start(3);
    let (term, leader) = boards.leader_after(0).await;
    boards.member(&leader).cut();
    let (next_term, next) = boards.leader_after(term).await;
    assert_ne!(next, leader);

    boards.member(&leader).mend();
    boards.logged(&leader, &format!("{next} leads in term {next_term}")).await;
    boards.check_that_all_run();
}

/// Emulated boards on one bus, and an ear for what they say.
struct Boards {
    boards: Vec<(Member, Board)>,
    traffic: Receiver<Sent>,
    readers: BTreeMap<String, FrameReader>,
    /// Who leads, by term.
    leaders: BTreeMap<u64, NodeId>,
    _bus: Bus,
    _folder: TempDir,
}

impl Boards {
    fn start(size: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bus = Bus::new();
        let traffic = bus.listen();
        let boards = (1..=size).map(|number| {
            let member = bus.join(&format!("board-{number}"));
            let mut board = Board::new(number, size, folder.path(), member.socket());
            board.switch_on();
            (member, board)
        });
        Self {
            boards: boards.collect(),
            traffic,
            readers: BTreeMap::new(),
            leaders: BTreeMap::new(),
            _bus: bus,
            _folder: folder,
        }
    }

    fn place(&self, id: &NodeId) -> usize {
        self.boards.iter().position(|(_, board)| board.id() == id.as_str()).unwrap()
    }

    fn board(&mut self, id: &NodeId) -> &mut Board {
        let place = self.place(id);
        &mut self.boards[place].1
    }

    fn member(&self, id: &NodeId) -> &Member {
        &self.boards[self.place(id)].0
    }

    fn cut_power(&mut self, id: &NodeId) {
        self.board(id).cut_power();
        // What it had not finished saying, it never will.
        self.readers.remove(id.as_str());
    }

    fn switch_on(&mut self, id: &NodeId) {
        self.board(id).switch_on();
    }

    /// Waits for the heartbeat of a leader in a later term than `term`.
    #[track_caller]
    fn leader_after(&mut self, term: u64) -> impl Future<Output = (u64, NodeId)> {
        let caller = std::panic::Location::caller();
        async move {
            let heartbeat = tokio::time::timeout(PATIENCE, async {
                loop {
                    let later = self.leaders.range(term + 1..).next();
                    if let Some((term, leader)) = later {
                        return (*term, leader.clone());
                    }
                    self.hear().await;
                }
            });
            let heartbeat = heartbeat.await;
            heartbeat.unwrap_or_else(|_| {
                panic!("{caller}: nobody leads after term {term}:\n{}", self.logs())
            })
        }
    }

    /// Waits until a board logs a line, and listens to the bus meanwhile.
    async fn logged(&mut self, id: &NodeId, line: &str) {
        let place = self.place(id);
        let logged = self.boards[place].1.logged(|logged| logged.contains(line));
        let logged = tokio::time::timeout(PATIENCE, logged).await.map(drop);
        assert!(logged.is_ok(), "{id} does not log \"{line}\":\n{}", self.logs());
    }

    /// Takes in what is on the bus next, and checks that each term has one leader (I1).
    async fn hear(&mut self) {
        let sent = self.traffic.recv().await.unwrap();
        let reader = self.readers.entry(sent.from.to_string()).or_default();
        let mut bytes = &sent.bytes[..];
        while let Some(frame) = reader.read(&mut bytes) {
            assert_eq!(frame.sender.as_str(), &*sent.from);
            if let Message::Heartbeat(heartbeat) = frame.message {
                let leader = self.leaders.entry(heartbeat.term).or_insert(frame.sender);
                assert_eq!(*leader, heartbeat.leader, "I1: two leaders in term {}", heartbeat.term);
            }
        }
    }

    fn check_that_all_run(&mut self) {
        for (_, board) in &mut self.boards {
            assert_eq!(board.ended(), None, "{} ended: {:?}", board.id(), board.log());
        }
    }

    fn logs(&self) -> String {
        let logs =
            self.boards.iter().map(|(_, board)| format!("{}: {:#?}", board.id(), board.log()));
        logs.collect::<Vec<_>>().join("\n")
    }
}
