//! A node to talk to, and what it may answer; what one can say to it is in [`messages`].

mod messages;

use std::cell::Cell;
use std::convert::Infallible;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::Duration;

use graft_election_core::{
    Application, Config, ConfigError, Instant, LeaderValue, Message, Mode, Node, NodeId, Outgoing,
    Output, Position, Recipient, Round, Unsaved, VoterList, quorum,
};

pub(crate) use messages::*;

/// The times of every node here; they are the defaults.
pub(crate) const T_MIN: Duration = Config::ELECTION_TIMEOUT_MIN;
pub(crate) const T_MAX: Duration = Config::ELECTION_TIMEOUT_MAX;
pub(crate) const H: Duration = Config::HEARTBEAT_INTERVAL;
/// The least step of the clock.
pub(crate) const TICK: Duration = Config::CLOCK_TICK;
/// How long an acknowledgement binds, and a restart (rules V2, V3): what is read from the clock may
/// be older than the truth by one tick.
pub(crate) const BOUND: Duration = T_MIN.saturating_add(TICK);

/// When the nodes of these tests start, on their own clocks.
pub(crate) const START: Instant = Instant::from_micros(1_000_000);

/// Who elects the leaders of these tests, in this order.
pub(crate) const PEERS: [&str; 6] = ["p1", "p2", "p3", "p4", "p5", "p6"];

/// How long an acknowledgement keeps a lease alive, counted from when its heartbeat was sent (rule
/// L3): the least election timeout on the slowest clock, less a tick. What 2^-16 can't express of a
/// tenth is lost.
pub(crate) const LEASE: Duration = Duration::from_micros(500_000 * 58_982 / 65_536 - 1);

type TestNode = Node<Dice, TestApplication, 7>;

pub(crate) type VoteRecord = graft_election_core::VoteRecord<7>;

/// A node with a clock: `hears` and `times_out` are inputs, and what they return must be expected.
pub(crate) struct Voter {
    node: TestNode,
    pub(crate) now: Instant,
    dice: Dice,
    /// The round of what it said last to everyone: answers echo it.
    asked: Rc<Cell<Option<Round>>>,
}

/// An undeclared cluster of `size` that may have Go nodes.
pub(crate) const fn graft_config(size: usize) -> Config<'static> {
    Config { mode: Mode::Graft, ..Config::new("test", size) }
}

/// An undeclared cluster of `size` without Go nodes.
pub(crate) const fn extended_config(size: usize) -> Config<'static> {
    Config::new("test", size)
}

/// A follower in term 0 of an undeclared cluster.
pub(crate) fn voter(id: &str, size: usize) -> Voter {
    voter_with(id, size, VoteRecord::default())
}

/// A node that comes back with `record`, and whose quarantine (rule V3) is over.
pub(crate) fn voter_with(id: &str, size: usize, record: VoteRecord) -> Voter {
    let mut voter = Voter::start(id, &graft_config(size), record);
    voter.settles(BOUND);
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
        let heard = voter.hears(grant(peer, term));
        if let Output::Idle = heard.output {
            continue;
        }
        heard.expect_send(to_everyone(announced_heartbeat(id, term, size)));
        return voter;
    }
    panic!("{id} did not win the election of term {term}")
}

/// A node in Extended mode that comes back with `record`, and whose quarantine is over.
pub(crate) fn extended(id: &str, size: usize, record: VoteRecord) -> Voter {
    extended_with(id, &extended_config(size), record)
}

/// The same, with settings of its own.
pub(crate) fn extended_with(id: &str, config: &Config<'_>, record: VoteRecord) -> Voter {
    // V3: who never stored a term is bound by its question alone (N5).
    let tick = if record.term > 0 { config.clock_tick } else { Duration::ZERO };
    let mut voter = Voter::start(id, config, record);
    voter.settles(T_MIN + tick);
    voter
}

/// A node that asks for pre-votes for `term`; only its own is in.
pub(crate) fn pre_candidate(id: &str, size: usize, term: u64) -> Voter {
    let mut voter = extended(id, size, record(term - 1, None));
    voter.times_out().expect_send(to_everyone(pre_request(id, term, size)));
    voter
}

/// An Extended leader of `term`, elected by those of `p1`, `p2`, … that it takes; its first
/// heartbeat has just gone out, and nobody has answered.
pub(crate) fn extended_leader(id: &str, size: usize, term: u64) -> Voter {
    extended_leader_with(id, &extended_config(size), term)
}

/// The same, with settings of its own.
pub(crate) fn extended_leader_with(id: &str, config: &Config<'_>, term: u64) -> Voter {
    let size = config.size;
    let mut voter = extended_with(id, config, record(term - 1, None));
    voter.times_out().expect_send(to_everyone(pre_request(id, term, size)));
    let others = quorum(size) - 1;
    let mut peers = PEERS.iter().take(others).peekable();
    while let Some(peer) = peers.next() {
        let heard = voter.hears(pre_vote(peer, term - 1, term, true));
        if peers.peek().is_some() {
            heard.expect_silence();
        } else {
            heard
                .expect_save(record(term, Some(id)))
                .then_sends(to_everyone(request(id, term, size)));
        }
    }
    for peer in PEERS.iter().take(others - 1) {
        voter.hears(grant(peer, term)).expect_silence();
    }
    let expected = extended_heartbeat(id, term, size, voter.now);
    voter.hears(grant(PEERS[others - 1], term)).expect_send(to_everyone(expected));
    voter
}

/// A follower of `leader`, whose one heartbeat asked for no promise: it binds no one.
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
        Self::try_start_as(LIFE, id, config, record)
    }

    /// A node of another life.
    #[track_caller]
    pub(crate) fn of_life(life: u32, id: &str, config: &Config<'_>, record: VoteRecord) -> Self {
        Self::try_start_as(life, id, config, record).expect("the configuration is valid")
    }

    fn try_start_as(
        life: u32,
        id: &str,
        config: &Config<'_>,
        record: VoteRecord,
    ) -> Result<Self, ConfigError> {
        let (number, drawn) = (Rc::default(), Rc::default());
        let dice = Dice { life, number, drawn, salt: salt(id) };
        let application = TestApplication::default();
        let node = Node::new(node_id(id), config, record, application, dice.clone(), START)?;
        Ok(Self { node, now: START, dice, asked: Rc::default() })
    }

    /// It asks whether its id is its own (rule N5), and nobody answers until `span` is over.
    #[track_caller]
    pub(crate) fn settles(&mut self, span: Duration) {
        let id = self.node.id().as_str().to_owned();
        let who = Message::Who(identity(&id, LIFE, LIFE));
        match self.wakes().output {
            Output::Send(outgoing) => assert_eq!(outgoing, to_everyone(who)),
            // The record was not as it should be.
            Output::Save(unsaved) => assert_eq!(unsaved.saved(START), Some(to_everyone(who))),
            Output::Idle => panic!("it doesn't ask"),
        }
        self.wait(span);
        self.wakes().expect_silence();
    }

    pub(crate) fn hears(&mut self, message: Message) -> Heard<'_> {
        let message = self.answering(message);
        self.hears_verbatim(message)
    }

    /// The message, as an answer to what the node asked last.
    pub(crate) fn answering(&self, message: Message) -> Message {
        completed(message, self.asked.get())
    }

    /// The round of what it said last to everyone.
    pub(crate) fn asked_round(&self) -> Option<Round> {
        self.asked.get()
    }

    /// Hears a message to which nothing is added.
    pub(crate) fn hears_verbatim(&mut self, message: Message) -> Heard<'_> {
        let output = self.node.handle_message(self.now, message);
        Heard { output, now: self.now, asked: self.asked.clone() }
    }

    /// Moves the clock to the node's deadline and wakes it.
    #[track_caller]
    pub(crate) fn times_out(&mut self) -> Heard<'_> {
        assert_ne!(self.node.deadline(), Instant::FAR_FUTURE);
        self.now = self.now.max(self.node.deadline());
        self.wakes()
    }

    /// Nothing comes of its campaign for `span`, in which it repeats its request (rule C2a).
    #[track_caller]
    pub(crate) fn repeats_for(&mut self, span: Duration, request: &Message) {
        let end = self.now.saturating_add(span);
        while self.node.deadline() < end {
            self.times_out().expect_send(to_everyone(request.clone()));
        }
        assert_eq!(self.node.deadline(), end);
    }

    /// Wakes the node now, due or not.
    pub(crate) fn wakes(&mut self) -> Heard<'_> {
        let output = self.node.handle_timeout(self.now);
        Heard { output, now: self.now, asked: self.asked.clone() }
    }

    pub(crate) fn is_told_to_hand_over(&mut self, to: Option<&str>) -> Heard<'_> {
        let output = self.node.hand_over(self.now, to.map(node_id));
        Heard { output, now: self.now, asked: self.asked.clone() }
    }

    pub(crate) fn is_held_back(&mut self, is_held_back: bool) -> Heard<'_> {
        let output = self.node.hold_back(self.now, is_held_back);
        Heard { output, now: self.now, asked: self.asked.clone() }
    }

    pub(crate) fn is_told_to_close(&mut self) -> Heard<'_> {
        let output = self.node.close(self.now);
        Heard { output, now: self.now, asked: self.asked.clone() }
    }

    pub(crate) fn wait(&mut self, span: Duration) {
        self.now = self.now.saturating_add(span);
    }

    /// How long until the node's deadline.
    pub(crate) fn timeout(&self) -> Duration {
        self.node.deadline().saturating_since(self.now)
    }

    /// From now on every timer is as short as it may be (0), or as long (`u32::MAX`).
    pub(crate) fn rolls(&mut self, number: u32) {
        self.dice.number.set(number);
    }

    pub(crate) fn says(&mut self, value: &LeaderValue) {
        self.node.application_mut().value = value.clone();
    }

    pub(crate) fn is_at(&mut self, position: &str) {
        self.node.application_mut().position = position_of(position);
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
    pub(crate) output: Output<'n, Dice, TestApplication, 7>,
    now: Instant,
    asked: Rc<Cell<Option<Round>>>,
}

impl<'n> Heard<'n> {
    #[track_caller]
    pub(crate) fn expect_silence(self) {
        assert!(matches!(self.output, Output::Idle), "{:?}", self.output);
    }

    #[track_caller]
    pub(crate) fn expect_send(self, expected: Outgoing) {
        match self.output {
            Output::Send(outgoing) => assert_sent(&self.asked, outgoing, expected),
            other => panic!("expected {expected:?}, got {other:?}"),
        }
    }

    /// What the node says to everyone.
    #[track_caller]
    pub(crate) fn sends(self) -> Message {
        match self.output {
            Output::Send(Outgoing { to: Recipient::Everyone, message }) => {
                note_question(&self.asked, &message);
                message
            }
            other => panic!("expected a message to everyone, got {other:?}"),
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
                let VoteRecord { term, voted_for, .. } = unsaved.record();
                assert_eq!((*term, voted_for), (expected.term, &expected.voted_for));
                Saving { unsaved, now: self.now, asked: self.asked }
            }
            other => panic!("expected to save {expected:?}, got {other:?}"),
        }
    }
}

/// A save under way.
#[must_use = "a save succeeds or fails"]
pub(crate) struct Saving<'n> {
    unsaved: Unsaved<'n, Dice, TestApplication, 7>,
    now: Instant,
    asked: Rc<Cell<Option<Round>>>,
}

impl Saving<'_> {
    /// The node as it is while the save is under way.
    pub(crate) fn node(&self) -> &TestNode {
        self.unsaved.node()
    }

    /// The save succeeds, and the node sends what waited for it.
    #[track_caller]
    pub(crate) fn then_sends(self, expected: Outgoing) {
        let sent = self.unsaved.saved(self.now).expect("a message waits for the save");
        assert_sent(&self.asked, sent, expected);
    }

    /// The save succeeds, and nothing waited for it.
    #[track_caller]
    pub(crate) fn then_is_silent(self) {
        assert_eq!(self.unsaved.saved(self.now), None);
    }

    /// How long the save takes.
    pub(crate) fn lasts(mut self, span: Duration) -> Self {
        self.now = self.now.saturating_add(span);
        self
    }

    pub(crate) fn fails(self) {
        drop(self.unsaved);
    }
}

/// Takes note of what a node asks. An operator's question is not its own, and a part of a list is
/// no question.
fn note_question(asked: &Cell<Option<Round>>, message: &Message) {
    if !matches!(message, Message::ControlResponse(_) | Message::ListPart(_)) {
        asked.set(message.round());
    }
}

/// Fails unless a node has sent what was expected, as far as that goes; takes note of what it asks.
#[track_caller]
fn assert_sent(asked: &Cell<Option<Round>>, sent: Outgoing, expected: Outgoing) {
    let Outgoing { to, message } = sent;
    if to == Recipient::Everyone {
        note_question(asked, &message);
    }
    let message = as_far_as(&expected.message, message);
    assert_eq!(Outgoing { to, message }, expected);
}

/// The part of an id in each of its node's draws.
pub(crate) fn salt(id: &str) -> u32 {
    crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&[id.as_bytes(), &[0]].concat())
}

/// A random source whose numbers, as its node draws them, are the same until the test sets another.
/// But the first election timeout is the longest: a node that starts is not to be bothered by it.
#[derive(Clone, Debug)]
pub(crate) struct Dice {
    life: u32,
    number: Rc<Cell<u32>>,
    drawn: Rc<Cell<u32>>,
    salt: u32,
}

impl rand_core::TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let drawn = self.drawn.replace(self.drawn.get() + 1);
        let number = match drawn {
            0 => self.life,
            1 => u32::MAX,
            _ => self.number.get(),
        };
        Ok(number ^ self.salt)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.try_next_u32().map(u64::from)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        dst.fill(0);
        Ok(())
    }
}

/// An application that accepts any candidate whose position is not behind its own.
#[derive(Debug, Default)]
pub(crate) struct TestApplication {
    position: Position,
    value: LeaderValue,
}

impl Application for TestApplication {
    fn position(&mut self) -> Position {
        self.position.clone()
    }

    fn grants_vote(&mut self, position: &[u8]) -> bool {
        position >= self.position.as_bytes()
    }

    fn leader_value(&mut self) -> LeaderValue {
        self.value.clone()
    }
}

pub(crate) fn node_id(name: &str) -> NodeId {
    NodeId::new(name).expect("tests use valid ids")
}

pub(crate) fn position_of(text: &str) -> Position {
    Position::new(text.as_bytes()).expect("tests use short positions")
}

/// A node on a declared list, with its first record.
pub(crate) fn declared(id: &str, config: &Config<'_>) -> Voter {
    let mut voter = Voter::start(id, config, VoteRecord::first(list(config.voters)));
    voter.settles(BOUND);
    voter
}

/// The list that a cluster of these voters starts with.
pub(crate) fn list(voters: &[NodeId]) -> VoterList<7> {
    replaced_in(0, voters)
}

/// The list of these voters that was set by hand and holds from `term` on.
pub(crate) fn replaced_in(term: u64, voters: &[NodeId]) -> VoterList<7> {
    VoterList::replaced_in(term, voters).expect("tests list each voter once")
}

/// The record of a node without declared voters. [`Heard::expect_save`] looks at its term and vote.
pub(crate) fn record(term: u64, voted_for: Option<&str>) -> VoteRecord {
    // A node that has a term has made promises.
    let bound_for = if term == 0 { 0 } else { 500_000 };
    VoteRecord { term, voted_for: voted_for.map(node_id), bound_for, ..VoteRecord::default() }
}

/// The record of a node whose longest promise was this one (rule V3).
pub(crate) fn promised(bound_for: Duration, record: VoteRecord) -> VoteRecord {
    let bound_for = u32::try_from(bound_for.as_micros()).expect("tests promise short times");
    VoteRecord { bound_for, ..record }
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
    // A pre-vote request only proposes its term, which is the next (rule C1).
    let proposes = matches!(outgoing.message, Message::PreVoteRequest(_));
    let term = outgoing.message.term() - u64::from(proposes);
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
