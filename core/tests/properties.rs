//! What holds whatever a node hears, and whatever its disk does (invariants I2, I3, I6, I7).

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use graft_election_core::{
    AlwaysGrant, Config, ControlAction, ControlRequest, Handover, Heartbeat, HeartbeatResponse,
    Instant, LeaderValue, Life, ListId, ListPart, ListRequest, Message, Node, Output, Position,
    PreVoteResponse, Recipient, Round, State, VoteRequest, VoteResponse,
};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::common::{
    START, VoteRecord, assert_covered, assert_may_follow, graft_config, identity, list, node_id,
};

const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[derive(Clone, Debug)]
enum Step {
    Hears(Telegram),
    TimesOut,
    Wakes,
    Waits(u32),
    /// A driver's clock that misbehaves.
    ClockReads(u64),
    IsToldToHandOver(Option<usize>),
}

/// A message whose term is relative to its hearer's, so that it matters.
#[derive(Clone, Debug)]
struct Telegram {
    kind: u8,
    sender: usize,
    term: i64,
    other: Option<usize>,
    number: u64,
    granted: bool,
    /// How far its round is from the one that the node asked last in.
    round: Option<u32>,
}

fn telegrams() -> impl Strategy<Value = Telegram> {
    let terms = prop_oneof![
        8 => -2_i64..=3,
        1 => Just(1_i64 << 32),
        1 => any::<i64>(),
    ];
    let others = prop::option::of(0..IDS.len());
    let numbers = prop_oneof![0_u64..8, any::<u64>()];
    let rounds = prop_oneof![6 => Just(Some(0)), 1 => Just(None), 2 => any::<u32>().prop_map(Some)];
    let parts = (0_u8..12, 0..IDS.len(), terms, others, numbers, any::<bool>(), rounds);
    parts.prop_map(|(kind, sender, term, other, number, granted, round)| Telegram {
        kind,
        sender,
        term,
        other,
        number,
        granted,
        round,
    })
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => telegrams().prop_map(Step::Hears),
        4 => Just(Step::TimesOut),
        1 => Just(Step::Wakes),
        2 => (0_u32..2_000_000).prop_map(Step::Waits),
        1 => (0_u64..20_000_000).prop_map(Step::ClockReads),
        1 => prop::option::of(0..IDS.len()).prop_map(Step::IsToldToHandOver),
    ]
}

impl Telegram {
    fn message(&self, own_term: u64, asked: u32) -> Message {
        let term = own_term.wrapping_add_signed(self.term);
        let sender = node_id(IDS[self.sender]);
        let other = self.other.map(|index| node_id(IDS[index]));
        let small = u32::try_from(self.number % 8).unwrap_or(0);
        let (size, life) = (NonZeroU32::new(small), Life::new(small));
        // It may be of the round that is in progress, or be in the node's own.
        let round = self.round.and_then(|round| Round::new(asked.wrapping_add(round)));
        let request = VoteRequest {
            term,
            candidate: sender.clone(),
            position: Position::EMPTY,
            handover_from: NonZeroU64::new(term.saturating_sub(self.number)),
            size,
            round,
            list: None,
        };
        match self.kind {
            0 => Message::VoteRequest(request),
            1 => Message::PreVoteRequest(request),
            2 => Message::VoteResponse(VoteResponse {
                term,
                granted: self.granted,
                voter: other,
                round,
                list: None,
                life,
                wanted: None,
            }),
            3 => Message::Heartbeat(Heartbeat {
                term,
                leader: sender,
                sent_at: NonZeroU64::new(self.number),
                size,
                round,
                list: None,
                value: LeaderValue::EMPTY,
            }),
            4 => Message::HeartbeatResponse(HeartbeatResponse {
                term,
                follower: sender,
                position: Position::EMPTY,
                sent_at: NonZeroU64::new(self.number),
                priority: 1,
                bound_for: NonZeroU64::new(self.number),
                round,
                list: None,
                life,
                is_paused: self.granted,
                is_full: false,
                wanted: None,
            }),
            5 => Message::PreVoteResponse(PreVoteResponse {
                term,
                granted: self.granted,
                voter: sender,
                proposed_term: self.number,
                round,
                list: None,
                life,
                wanted: None,
            }),
            6 => Message::Handover(Handover { term, leader: sender, target: other, round }),
            7 => Message::Who(identity(IDS[self.sender], small.max(1), small.max(1))),
            8 => Message::Here(identity(IDS[self.sender], small.max(1), small.max(1))),
            _ => self.of_voters(term, asked),
        }
    }

    /// A part of a list, a request for one, or what an operator asks.
    fn of_voters(&self, term: u64, asked: u32) -> Message {
        let sender = node_id(IDS[self.sender]);
        let other = self.other.map(|index| node_id(IDS[index]));
        let small = u32::try_from(self.number % 8).unwrap_or(0);
        let round = self.round.and_then(|round| Round::new(asked.wrapping_add(round)));
        let life = Life::new(asked.wrapping_sub(small));
        let list = Some(ListId { term, version: small + 1 });
        let place = NonZeroU32::new(small).unwrap_or(NonZeroU32::MIN);
        match self.kind {
            9 => Message::ListRequest(ListRequest {
                node: sender,
                life: Life::new(small + 1).unwrap(),
                wanted: place,
            }),
            10 => Message::ListPart(ListPart {
                voter: other.unwrap_or_else(|| sender.clone()),
                sender,
                place,
                count: NonZeroU32::new(small / 2).unwrap_or(NonZeroU32::MIN),
                list,
                life,
                root: list.filter(|_| self.granted),
            }),
            _ => Message::ControlRequest(ControlRequest {
                term,
                node: sender,
                target: other,
                action: ControlAction::from_number(small % 6 + 1).unwrap(),
                round: round.unwrap_or(Round::new(1).unwrap()),
                last: None,
                life,
                list: list.filter(|_| self.granted),
                wanted: NonZeroU32::new(small),
            }),
        }
    }
}

/// A node, its disk and its clock.
struct Machine {
    node: AnyNode,
    durable: VoteRecord,
    now: Instant,
    /// The round of what it said last to everyone.
    asked: u32,
}

impl Machine {
    fn start(size: usize, declared: bool, record: VoteRecord, seed: u64) -> Self {
        let voters = IDS.map(node_id);
        let config =
            Config { voters: if declared { &voters[..size] } else { &[] }, ..graft_config(size) };
        let (durable, rng) = (record.clone(), SmallRng::seed_from_u64(seed));
        let node = Node::new(voters[0].clone(), &config, record, AlwaysGrant, rng, START);
        Self { node: node.expect("the configuration is valid"), durable, now: START, asked: 0 }
    }

    /// Takes one step, its save (if there is one) with the given end, and checks what came of it.
    fn take(&mut self, step: &Step, save_succeeds: bool) {
        match step {
            Step::TimesOut => self.now = self.now.max(self.node.deadline()),
            Step::Waits(micros) => {
                let span = Duration::from_micros((*micros).into());
                self.now = self.now.saturating_add(span);
            }
            _ => {}
        }
        let before = self.node.record().clone();

        let sent = match give(&mut self.node, self.now, self.asked, step) {
            Output::Idle => None,
            Output::Send(outgoing) => Some(outgoing),
            Output::Save(unsaved) if save_succeeds => {
                assert_may_follow(&self.durable, unsaved.record());
                self.durable = unsaved.record().clone();
                unsaved.saved(self.now)
            }
            Output::Save(_) => None,
        };
        if let Some(outgoing) = sent {
            assert_covered(&self.durable, self.node.id(), &outgoing);
            if outgoing.to == Recipient::Everyone {
                self.asked = outgoing.message.round().map_or(0, Round::number);
            }
        }
        assert_may_follow(&before, self.node.record());
        if self.node.state() == State::Leader {
            assert_eq!(*self.node.record(), self.durable, "L1");
            assert_eq!(self.node.vote(), Some(self.node.id()));
        }
        if let Step::TimesOut = step {
            // A question takes the place of what else is due, which is due next.
            let _ = give(&mut self.node, self.now, self.asked, step);
            assert!(self.node.deadline() > self.now, "it must not be due again at once");
        }
    }
}

type AnyNode = Node<SmallRng, AlwaysGrant, 7>;

fn give<'n>(
    node: &'n mut AnyNode,
    now: Instant,
    asked: u32,
    step: &Step,
) -> Output<'n, SmallRng, AlwaysGrant, 7> {
    match step {
        Step::Hears(telegram) => {
            let message = telegram.message(node.term(), asked);
            node.handle_message(now, message)
        }
        Step::TimesOut | Step::Wakes => node.handle_timeout(now),
        Step::Waits(_) => Output::Idle,
        Step::ClockReads(micros) => node.handle_timeout(Instant::from_micros(*micros)),
        Step::IsToldToHandOver(target) => {
            let target = target.map(|index| node_id(IDS[index]));
            node.hand_over(now, target)
        }
    }
}

#[test]
fn i7_a_node_of_seven_voters_takes_little_memory() {
    let bytes = size_of::<Node<SmallRng, AlwaysGrant, 7>>();
    assert!(bytes <= 2_128, "{bytes} bytes");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn i7_no_input_makes_a_node_forget_or_lie(
        size in 1_usize..=5,
        declared: bool,
        term in prop_oneof![Just(0_u64), Just(1), Just((1 << 63) - 3), 0_u64..1 << 63],
        seed: u64,
        history in prop::collection::vec((steps(), prop::bool::weighted(0.8)), 1..120),
    ) {
        let first = VoteRecord::first(list(&IDS.map(node_id)[..size]));
        let record = VoteRecord { term, ..if declared { first } else { VoteRecord::default() } };
        let mut machine = Machine::start(size, declared, record, seed);
        for (step, save_succeeds) in &history {
            machine.take(step, *save_succeeds);
        }
        let _ = machine.node.close(machine.now);
        if machine.node.state() != State::Closed {
            let _ = machine.node.handle_timeout(machine.node.deadline());
        }
        prop_assert_eq!(machine.node.state(), State::Closed);
    }
}
