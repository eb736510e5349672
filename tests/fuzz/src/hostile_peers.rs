//! A node among peers that say anything, with a clock that jumps, a disk that fails, and crashes:
//! nothing panics, and I2, I3 and I6 hold of all that leaves the node.

#![no_main]

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use arbitrary::Arbitrary;
use graft_election_core::{
    AlwaysGrant, Config, ControlAction, ControlRequest, Handover, Heartbeat, HeartbeatResponse,
    Identity, Instant, LeaderValue, Life, ListId, ListPart, ListRequest, Message, Node, NodeId,
    Outgoing, Output, Position, PreVoteResponse, Recipient, RecordedList, Round, State, TERM_END,
    VoteRecord, VoteRequest, VoteResponse, VoterList,
};
use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand::rngs::StdRng;

const VOTERS: usize = 7;

#[derive(Arbitrary, Debug)]
struct Script<'a> {
    size: u8,
    voters_are_declared: bool,
    seed: u64,
    steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Debug)]
struct Step<'a> {
    input: Input<'a>,
    /// How many milliseconds pass before; backwards, if negative.
    elapsed: i16,
    save: Save,
}

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Hear(Said<'a>),
    /// At the deadline or, by the clock alone, early or late.
    Timeout {
        at_deadline: bool,
    },
    HandOver(Option<Peer>),
    Close,
    Crash,
}

/// What becomes of a save, if the input asks for one.
#[derive(Arbitrary, Debug)]
enum Save {
    Succeeds { takes: u8 },
    Fails,
    CrashBefore,
    CrashAfter,
}

/// A message; that of an honest peer, if the script is kind enough.
#[derive(Arbitrary, Debug)]
struct Said<'a> {
    kind: Kind,
    from: Peer,
    term: Term,
    other_term: Option<Term>,
    number: Option<NonZeroU64>,
    size: Option<NonZeroU32>,
    position: &'a [u8],
    round: Echo,
    list: Option<(u8, u8)>,
    life: Option<NonZeroU32>,
}

/// Which round a message names.
#[derive(Arbitrary, Debug)]
enum Echo {
    /// The latest in which the node asked: honest peers know it.
    Latest,
    None,
    Any(NonZeroU32),
}

#[derive(Arbitrary, Debug)]
enum Kind {
    VoteRequest,
    VoteResponse { granted: bool, is_named: bool },
    Heartbeat,
    HeartbeatResponse,
    PreVoteRequest,
    PreVoteResponse { granted: bool },
    Handover(Option<Peer>),
    Who,
    Here,
    ControlRequest { action: u8, target: Option<Peer> },
    ListPart { voter: Peer, place: u8, count: u8, is_root: bool },
    ListRequest,
}

/// One of the first is the node itself; some are strangers.
#[derive(Arbitrary, Debug)]
struct Peer(u8);

#[derive(Arbitrary, Debug)]
enum Term {
    /// So much above the node's, or below.
    Near(i8),
    Any(u64),
}

type TestedNode = Node<StdRng, AlwaysGrant, VOTERS>;

/// The node, what its disk has, and what it has said.
struct World {
    node: TestedNode,
    size: usize,
    voters: Vec<NodeId>,
    seed: u64,
    now: Instant,
    durable: VoteRecord<VOTERS>,
    /// For whom it voted in each term, as others know it.
    votes: BTreeMap<u64, NodeId>,
    /// The latest round in which it asked anything.
    round: Option<Round>,
    /// The highest term that others know it to have had.
    term_said: u64,
}

fuzz_target!(|script: Script<'_>| {
    let mut world = World::new(&script);
    for step in &script.steps {
        world.take(step);
    }
});

impl World {
    fn new(script: &Script<'_>) -> Self {
        let size = usize::from(script.size) % VOTERS + 1;
        let voters = if script.voters_are_declared { ids(size) } else { Vec::new() };
        let now = Instant::from_micros(0);
        let durable = VoterList::declared(&voters).map(VoteRecord::first).unwrap_or_default();
        let node = start(size, &voters, durable.clone(), script.seed, now);
        let votes = BTreeMap::new();
        Self {
            node,
            size,
            voters,
            seed: script.seed,
            now,
            durable,
            votes,
            round: None,
            term_said: 0,
        }
    }

    fn take(&mut self, step: &Step<'_>) {
        self.pass(step.elapsed);
        let term = self.node.term();
        if let Input::Timeout { at_deadline: true } = step.input {
            self.now = self.now.max(self.node.deadline());
        }
        let now = self.now;
        let output = match &step.input {
            Input::Hear(said) => self.node.handle_message(now, said.message(term, self.round)),
            Input::Timeout { .. } => self.node.handle_timeout(now),
            Input::HandOver(to) => self.node.hand_over(now, to.as_ref().map(Peer::id)),
            Input::Close => self.node.close(now),
            Input::Crash => return self.restart(),
        };
        let sent = match save(output, &step.save, &mut self.durable, &mut self.now) {
            Ok(sent) => sent,
            Err(Crash) => return self.restart(),
        };
        // I3: while it runs.
        assert!(self.node.term() >= term && self.durable.term < TERM_END);
        if self.node.state() == State::Leader {
            // I6: it leads by a vote of its own that is durable.
            let VoteRecord { term, voted_for, .. } = &self.durable;
            assert_eq!((*term, voted_for), (self.node.term(), &Some(me())));
        }
        if let Some(outgoing) = sent {
            self.check(&outgoing);
        }
    }

    /// A negative time is a clock that goes backwards.
    fn pass(&mut self, millis: i16) {
        let micros = i64::from(millis) * 1_000;
        self.now = Instant::from_micros(self.now.as_micros().saturating_add_signed(micros));
    }

    fn restart(&mut self) {
        self.seed = self.seed.wrapping_add(1);
        let durable = self.durable.clone();
        self.node = start(self.size, &self.voters, durable, self.seed, self.now);
        // I3: across restarts.
        assert!(self.node.term() >= self.term_said);
    }

    fn check(&mut self, outgoing: &Outgoing) {
        let message = &outgoing.message;
        if outgoing.to == Recipient::Everyone && !matches!(message, Message::ListPart(_)) {
            self.round = message.round();
        }
        let stored = self.durable.list.as_ref().map(RecordedList::id);
        assert!(message.list().is_none() || message.list() == stored, "I6: {message:?}");
        // The term of a request for pre-votes is only proposed (rule T3); questions of identity and
        // what is said of lists have none.
        let has_none = matches!(
            message,
            Message::PreVoteRequest(_)
                | Message::Who(_)
                | Message::Here(_)
                | Message::ListRequest(_)
                | Message::ListPart(_)
        );
        if !has_none {
            let term = message.term();
            assert!(term >= self.term_said, "I3: {message:?} after term {}", self.term_said);
            assert_eq!(term, self.durable.term, "I6: {message:?}");
            self.term_said = term;
        }
        let candidate = match (message, &outgoing.to) {
            (Message::VoteRequest(request), _) => &request.candidate,
            (
                Message::VoteResponse(VoteResponse { granted: true, .. }),
                Recipient::Node(candidate),
            ) => candidate,
            _ => return,
        };
        assert_eq!(self.durable.voted_for.as_ref(), Some(candidate), "I6: {message:?}");
        let vote = self.votes.entry(message.term()).or_insert_with(|| candidate.clone());
        assert_eq!(vote, candidate, "I2: two votes in a term");
    }
}

impl Said<'_> {
    /// Who answers knows the `latest` round in which the node asked.
    fn message(&self, own_term: u64, latest: Option<Round>) -> Message {
        let round = match self.round {
            Echo::Latest => latest,
            Echo::None => None,
            Echo::Any(number) => Round::new(number.get()),
        };
        let list = self.list.map(|(term, version)| match (term, version) {
            // That of the node, if it has declared all voters.
            (0, 0) => ListId::declared(&ids(VOTERS)),
            (term, version) => ListId { term: term.into(), version: version.max(1).into() },
        });
        let life = self.life.and_then(|number| Life::new(number.get()));
        let identity = || Identity {
            node: self.from.id(),
            round: round.or(Round::new(1)).expect("not 0"),
            life: life.or(Life::new(1)).expect("not 0"),
        };
        let from = self.from.id();
        let term = self.term.near(own_term);
        let other_term = self.other_term.as_ref().map(|other| other.near(own_term));
        let position = Position::new(self.position).unwrap_or_default();
        let request = || VoteRequest {
            term,
            candidate: from.clone(),
            position: position.clone(),
            handover_from: other_term.and_then(NonZeroU64::new),
            size: self.size,
            round,
            list,
        };
        match &self.kind {
            Kind::VoteRequest => Message::VoteRequest(request()),
            Kind::PreVoteRequest => Message::PreVoteRequest(request()),
            Kind::VoteResponse { granted, is_named } => Message::VoteResponse(VoteResponse {
                term,
                granted: *granted,
                voter: is_named.then_some(from),
                round,
                list,
                life,
                wanted: self.size,
            }),
            Kind::Heartbeat => Message::Heartbeat(Heartbeat {
                term,
                leader: from,
                sent_at: self.number,
                size: self.size,
                round,
                list,
                value: LeaderValue::new(self.position).unwrap_or_default(),
            }),
            Kind::HeartbeatResponse => Message::HeartbeatResponse(HeartbeatResponse {
                term,
                follower: from,
                position,
                sent_at: self.number,
                priority: self.size.map_or(0, NonZeroU32::get),
                bound_for: other_term.and_then(NonZeroU64::new),
                round,
                list,
                life,
                wanted: self.size,
                is_full: false,
                is_paused: false,
            }),
            Kind::PreVoteResponse { granted } => Message::PreVoteResponse(PreVoteResponse {
                term,
                granted: *granted,
                voter: from,
                proposed_term: other_term.unwrap_or(0),
                round,
                list,
                life,
                wanted: self.size,
            }),
            Kind::Handover(target) => Message::Handover(Handover {
                term,
                leader: from,
                target: target.as_ref().map(Peer::id),
                round,
            }),
            Kind::Who => Message::Who(identity()),
            Kind::Here => Message::Here(identity()),
            Kind::ControlRequest { action, target } => Message::ControlRequest(ControlRequest {
                term,
                node: from,
                target: target.as_ref().map(Peer::id),
                action: ControlAction::from_number(u32::from(action % 6 + 1)).expect("1 to 6"),
                round: identity().round,
                last: None,
                list,
                life,
                wanted: self.size,
            }),
            Kind::ListPart { voter, place, count, is_root } => Message::ListPart(ListPart {
                sender: from,
                voter: voter.id(),
                place: NonZeroU32::new((*place).into()).unwrap_or(NonZeroU32::MIN),
                count: NonZeroU32::new((*count).into()).unwrap_or(NonZeroU32::MIN),
                list,
                // The first round of a process is its life.
                life: latest.and_then(|round| Life::new(round.number())),
                root: (!is_root).then(|| ListId::declared(&ids(VOTERS))),
            }),
            Kind::ListRequest => Message::ListRequest(ListRequest {
                node: from,
                life: identity().life,
                wanted: self.size.unwrap_or(NonZeroU32::MIN),
            }),
        }
    }
}

impl Peer {
    fn id(&self) -> NodeId {
        ids(VOTERS + 2).swap_remove(usize::from(self.0) % (VOTERS + 2))
    }
}

impl Term {
    fn near(&self, own_term: u64) -> u64 {
        match self {
            Self::Near(distance) => own_term.saturating_add_signed(i64::from(*distance)),
            Self::Any(term) => *term,
        }
    }
}

/// The power was lost.
struct Crash;

/// Saves what `output` asks to have saved, with the given fortune.
fn save(
    output: Output<'_, StdRng, AlwaysGrant, VOTERS>,
    fortune: &Save,
    durable: &mut VoteRecord<VOTERS>,
    now: &mut Instant,
) -> Result<Option<Outgoing>, Crash> {
    let unsaved = match output {
        Output::Idle => return Ok(None),
        Output::Send(outgoing) => return Ok(Some(outgoing)),
        Output::Save(unsaved) => unsaved,
    };
    match fortune {
        Save::Succeeds { takes } => {
            *durable = unsaved.record().clone();
            *now = now.saturating_add(Duration::from_millis((*takes).into()));
            Ok(unsaved.saved(*now))
        }
        Save::Fails => Ok(None),
        Save::CrashBefore => Err(Crash),
        Save::CrashAfter => {
            *durable = unsaved.record().clone();
            Err(Crash)
        }
    }
}

fn start(
    size: usize,
    voters: &[NodeId],
    record: VoteRecord<VOTERS>,
    seed: u64,
    now: Instant,
) -> TestedNode {
    let config = Config { voters, allows_changes: true, ..Config::new("c", size) };
    let rng = StdRng::seed_from_u64(seed);
    Node::new(me(), &config, record, AlwaysGrant, rng, now).expect("a valid configuration")
}

fn me() -> NodeId {
    ids(1).swap_remove(0)
}

fn ids(count: usize) -> Vec<NodeId> {
    (1..=count).map(|number| NodeId::new(&format!("n{number}")).expect("an id")).collect()
}
