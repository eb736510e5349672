//! A node to talk to, and what it may answer; what one can say to it is in [`messages`].

mod messages;

use std::cell::Cell;
use std::convert::Infallible;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::Duration;

use graft_election_core::{
    Config, ConfigError, Instant, Message, Node, NodeId, Outgoing, Output, Position, Recipient,
    StateMachine, Unsaved, VoteRecord,
};

pub(crate) use messages::*;

/// The times of every node here; they are the defaults.
pub(crate) const T_MIN: Duration = Config::ELECTION_TIMEOUT_MIN;
pub(crate) const T_MAX: Duration = Config::ELECTION_TIMEOUT_MAX;
pub(crate) const H: Duration = Config::HEARTBEAT_INTERVAL;
/// The least step of the clock.
pub(crate) const TICK: Duration = Duration::from_micros(1);

/// When the nodes of these tests start, on their own clocks.
pub(crate) const START: Instant = Instant::from_micros(1_000_000);

type TestNode = Node<Dice, Judge, 7>;

/// A node with a clock: `hears` and `times_out` are inputs, and what they return must be expected.
pub(crate) struct Voter {
    node: TestNode,
    pub(crate) now: Instant,
    dice: Dice,
}

/// A follower in term 0 of an undeclared cluster.
pub(crate) fn voter(id: &str, size: usize) -> Voter {
    Voter::start(id, &Config::new("test", size), VoteRecord::default())
}

/// A node that comes back with `record`, and whose quarantine (rule V3) is over.
pub(crate) fn voter_with(id: &str, size: usize, record: VoteRecord) -> Voter {
    let mut voter = Voter::start(id, &Config::new("test", size), record);
    voter.wait(T_MIN);
    voter
}

/// A candidate in `term`: its request has gone out, and only its own vote is in.
pub(crate) fn candidate(id: &str, size: usize, term: u64) -> Voter {
    let mut voter = voter_with(id, size, record(term - 1, None));
    voter
        .times_out()
        .expect_save(record(term, Some(id)))
        .then_sends(to_everyone(request(id, term, size)));
    voter
}

/// The leader of `term`; its first heartbeat has gone out.
pub(crate) fn leader(id: &str, size: usize, term: u64) -> Voter {
    let mut voter = candidate(id, size, term);
    for peer in ["p1", "p2", "p3", "p4", "p5", "p6"] {
        let Output::Send(outgoing) = voter.hears(grant(peer, term)).output else {
            continue;
        };
        assert_eq!(outgoing, to_everyone(announced_heartbeat(id, term, size)));
        return voter;
    }
    panic!("{id} did not win the election of term {term}")
}

/// A follower of `leader`, whose one heartbeat came from a Go node: it binds no one.
pub(crate) fn follower_of(leader: &str, id: &str, size: usize, term: u64) -> Voter {
    let mut voter = voter_with(id, size, record(term, None));
    voter.hears(heartbeat(leader, term)).expect_silence();
    voter
}

/// A follower that has just acknowledged a heartbeat of `leader` and is bound (rule V2).
pub(crate) fn bound_to(leader: &str, id: &str, size: usize, term: u64) -> Voter {
    let mut voter = voter_with(id, size, record(term, None));
    voter.hears(timed_heartbeat(leader, term)).expect_send(to(leader, acknowledgement(id, term)));
    voter
}

impl Voter {
    #[track_caller]
    pub(crate) fn start(id: &str, config: &Config<'_>, record: VoteRecord) -> Self {
        Self::try_start(id, config, record).expect("the configuration is valid")
    }

    pub(crate) fn try_start(
        id: &str,
        config: &Config<'_>,
        record: VoteRecord,
    ) -> Result<Self, ConfigError> {
        let dice = Dice(Rc::new(Cell::new(0)));
        let judge = Judge::default();
        let node = Node::new(node_id(id), config, record, judge, dice.clone(), START)?;
        Ok(Self { node, now: START, dice })
    }

    pub(crate) fn hears(&mut self, message: Message) -> Heard<'_> {
        Heard { output: self.node.handle_message(self.now, message), now: self.now }
    }

    /// Moves the clock to the node's deadline and wakes it.
    #[track_caller]
    pub(crate) fn times_out(&mut self) -> Heard<'_> {
        assert_ne!(self.node.deadline(), Instant::FAR_FUTURE);
        self.now = self.now.max(self.node.deadline());
        self.wakes()
    }

    /// Wakes the node now, due or not.
    pub(crate) fn wakes(&mut self) -> Heard<'_> {
        Heard { output: self.node.handle_timeout(self.now), now: self.now }
    }

    pub(crate) fn is_told_to_hand_over(&mut self, to: Option<&str>) -> Heard<'_> {
        Heard { output: self.node.hand_over(self.now, to.map(node_id)), now: self.now }
    }

    pub(crate) fn is_told_to_close(&mut self) -> Heard<'_> {
        Heard { output: self.node.close(self.now), now: self.now }
    }

    pub(crate) fn wait(&mut self, span: Duration) {
        self.now = self.now.saturating_add(span);
    }

    /// How long until the node's deadline.
    pub(crate) fn patience(&self) -> Duration {
        self.node.deadline().saturating_since(self.now)
    }

    /// From now on every timer is as short as it may be (0), or as long (`u32::MAX`).
    pub(crate) fn rolls(&mut self, number: u32) {
        self.dice.0.set(number);
    }

    pub(crate) fn is_at(&mut self, position: &str) {
        self.node.state_machine_mut().position = position_of(position);
    }
}

impl Deref for Voter {
    type Target = TestNode;

    fn deref(&self) -> &TestNode {
        &self.node
    }
}

impl DerefMut for Voter {
    fn deref_mut(&mut self) -> &mut TestNode {
        &mut self.node
    }
}

/// What a node answered to one input.
#[must_use = "a test says what it expects"]
pub(crate) struct Heard<'n> {
    pub(crate) output: Output<'n, Dice, Judge, 7>,
    now: Instant,
}

impl<'n> Heard<'n> {
    #[track_caller]
    pub(crate) fn expect_silence(self) {
        assert!(matches!(self.output, Output::Idle), "{:?}", self.output);
    }

    #[track_caller]
    pub(crate) fn expect_send(self, expected: Outgoing) {
        match self.output {
            Output::Send(outgoing) => assert_eq!(outgoing, expected),
            other => panic!("expected {expected:?}, got {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn expect_nothing_to_save(self) {
        assert!(!matches!(self.output, Output::Save(_)), "{:?}", self.output);
    }

    #[track_caller]
    pub(crate) fn expect_save(self, expected: VoteRecord) -> Saving<'n> {
        match self.output {
            Output::Save(unsaved) => {
                assert_eq!(*unsaved.record(), expected);
                Saving { unsaved, now: self.now }
            }
            other => panic!("expected to save {expected:?}, got {other:?}"),
        }
    }
}

/// A save under way.
#[must_use = "a save succeeds or fails"]
pub(crate) struct Saving<'n> {
    unsaved: Unsaved<'n, Dice, Judge, 7>,
    now: Instant,
}

impl Saving<'_> {
    /// The node as it stands while the save is under way.
    pub(crate) fn node(&self) -> &TestNode {
        self.unsaved.node()
    }

    /// The save succeeds, and the node sends what waited for it.
    #[track_caller]
    pub(crate) fn then_sends(self, expected: Outgoing) {
        assert_eq!(self.unsaved.saved(self.now), Some(expected));
    }

    /// The save succeeds, and nothing waited for it.
    #[track_caller]
    pub(crate) fn then_is_silent(self) {
        assert_eq!(self.unsaved.saved(self.now), None);
    }

    /// The save takes so long.
    pub(crate) fn lasts(mut self, span: Duration) -> Self {
        self.now = self.now.saturating_add(span);
        self
    }

    pub(crate) fn fails(self) {
        drop(self.unsaved);
    }
}

/// A random source that returns the same number until the test sets another.
#[derive(Clone, Debug)]
pub(crate) struct Dice(Rc<Cell<u32>>);

impl rand_core::TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.get())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.get().into())
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        dst.fill(0);
        Ok(())
    }
}

/// An application that accepts any candidate whose position is not behind its own.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    position: Position,
}

impl StateMachine for Judge {
    fn position(&mut self) -> Position {
        self.position.clone()
    }

    fn grants_vote(&mut self, position: &[u8]) -> bool {
        position >= self.position.as_bytes()
    }
}

pub(crate) fn node_id(name: &str) -> NodeId {
    NodeId::new(name).expect("tests use valid ids")
}

pub(crate) fn position_of(text: &str) -> Position {
    Position::new(text.as_bytes()).expect("tests use short positions")
}

pub(crate) fn record(term: u64, voted_for: Option<&str>) -> VoteRecord {
    VoteRecord { term, voted_for: voted_for.map(node_id) }
}

/// Invariant I6: fails unless `durable`, the record that `sender` has stored, covers all that
/// `outgoing` says.
#[track_caller]
pub(crate) fn assert_covered(durable: &VoteRecord, sender: &NodeId, outgoing: &Outgoing) {
    let vote_needed = match (&outgoing.message, &outgoing.to) {
        (Message::VoteRequest(_) | Message::Heartbeat(_) | Message::Handover(_), _) => Some(sender),
        (Message::VoteResponse(response), Recipient::Node(candidate)) if response.granted => {
            Some(candidate)
        }
        _ => None,
    };
    let term = outgoing.message.term();
    let covered = match vote_needed {
        Some(vote) => durable.term == term && durable.voted_for.as_ref() == Some(vote),
        None => term <= durable.term,
    };
    assert!(covered, "I6: {sender} sent {outgoing:?} with only {durable:?} stored");
}

/// Invariants I2 and I3: fails unless `next` may follow `previous` as a node's record.
#[track_caller]
pub(crate) fn assert_may_follow(previous: &VoteRecord, next: &VoteRecord) {
    assert!(next.term >= previous.term, "I3: {next:?} after {previous:?}");
    let keeps_vote = next.term > previous.term
        || previous.voted_for.is_none()
        || next.voted_for == previous.voted_for;
    assert!(keeps_vote, "I2: {next:?} after {previous:?}");
}
