//! A cluster's fate, drawn from one seed: first faults, then recovery.

mod applications;
mod bounds;
mod cluster;
mod equal_draws;
mod lists;
mod migration;
mod operators;
mod random_faults;
mod recovery;
mod recovery_drills;
mod slow_disks;
mod slow_leader_rival;
mod steady_leader;
mod voter_changes;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::AddAssign;
use std::time::Duration;

use graft_election_core::{Handover, HeartbeatResponse, Message, Reason, Report, Round, State};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::faults::{Faults, Kind, MESSAGE_TIME_MAX, SAVE_TIME_MAX, draw_drift, draw_span};
use crate::judgement::Violation;
use crate::{
    Condition, DiskMode, Event, Flight, FlightKey, Moment, NodeIndex, Observer, Pick, Remains,
    Setup, Step, World,
};

use applications::Applications;
use operators::{Listeners, Operators};
use voter_changes::VoterChanges;

pub use cluster::{Cluster, Links};

/// For how many steps the faults last.
const FAULTY_STEPS: u64 = 1_000;

/// If so much happens at once, time will never pass again: nodes wake each other without end.
const AT_ONCE_MAX: u32 = 10_000;

/// A world, and what happens next in it.
pub struct Simulation {
    world: World,
    setup: Setup,
    faults: Faults,
    rng: SmallRng,
    /// When each message arrives. The number orders those that arrive together.
    arrivals: BinaryHeap<Reverse<(Moment, u64, FlightKey)>>,
    arrivals_planned: u64,
    /// How much longer messages take from one node to another, if a test wants it so.
    lags: BTreeMap<(NodeIndex, NodeIndex), Duration>,
    /// What each node does next.
    plans: Vec<Plan>,
    /// The last round of pre-votes of each node, if anyone heard of it (rule C1).
    rounds: Vec<Option<Round>>,
    /// The last acknowledgement that was sent to each, if it may be told with changes.
    acknowledgements: Vec<Option<HeartbeatResponse>>,
    /// The handovers that were said, to come once more.
    handovers: Vec<Handover>,
    operators: Operators,
    voter_changes: VoterChanges,
    applications: Applications,
    /// The steps so far, if they are recorded.
    recorded: Option<Vec<Step>>,
    figures: Figures,
    /// How many things have happened since time last passed.
    happened_at_once: u32,
    departures: Vec<FlightKey>,
}

/// What a node does next, unless a message comes first.
#[derive(Clone, Copy, Debug)]
struct Plan {
    at: Moment,
    action: Action,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Wake,
    Save,
    FailSave {
        written: bool,
    },
    Crash(Remains),
    Resume,
    Restart,
    /// The same, once it has been down for long enough.
    Start,
    /// It is down for good.
    Rest,
}

/// What a simulation went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Things that happened: messages sent on, dropped or doubled, timeouts, saves, crashes.
    pub steps: u64,
    /// How often a node became leader.
    pub elections: u64,
    /// How often a leader came to have a lease.
    pub leases: u64,
    /// How often a leader gave way to a node of higher priority.
    pub promotions: u64,
    /// How often a voter restarted so often that its leader did not count it (N4).
    pub suspicions: u64,
    /// How often a node crashed.
    pub crashes: u64,
    /// How often a record was stored.
    pub saves: u64,
    /// How often a save failed.
    pub failed_saves: u64,
    /// How often a node crashed amid a save.
    pub interrupted_saves: u64,
    /// The longest time from the end of the faults until all nodes followed one leader (A1).
    pub recovery: Duration,
    /// The greatest share of the time allowed for that, in percent.
    pub recovery_percent: u32,
    /// The longest time from the return of a node with a higher term until a node leads again (A2,
    /// H5).
    pub comeback: Duration,
    /// The longest time from a leader's closing until another leads (H3).
    pub succession: Duration,
    /// The longest time from a cut until a node leads that reaches a quorum (A4).
    pub reunion: Duration,
}

impl Simulation {
    /// The world of `seed` when its nodes have just started. Its steps are kept if `recorded`.
    pub fn new(seed: u64, recorded: bool) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let faults = Faults::draw(&mut rng);
        let mut setup = faults.draw_setup(&mut rng);
        let mut operators = Operators::new(seed, setup.nodes.len());
        let odds = operators.draw_odds();
        operators.draw_disobedient(&mut setup, odds);
        let world = World::new(setup.clone(), &mut ());
        let mut simulation = Self::with_world(world, setup, faults, rng);
        simulation.operators = operators;
        simulation.faults.operators = odds;
        simulation.voter_changes = VoterChanges::new(seed, simulation.faults.kind);
        simulation.applications = Applications::new(seed);
        simulation.faults.answers = simulation.applications.draw_odds();
        simulation.recorded = recorded.then(Vec::new);
        for node in simulation.world.nodes() {
            // Saves take time, and end as planned.
            simulation.apply(&Step::Disk { node, mode: DiskMode::Holds });
        }
        for node in simulation.world.nodes() {
            simulation.dispel_doubt(node);
            simulation.plan(node);
        }
        let drifts = simulation.rng.random_bool(0.5);
        for node in simulation.world.nodes().filter(|_| drifts) {
            let max = simulation.drift_max();
            let millionths = draw_drift(&mut simulation.rng, max);
            simulation.apply(&Step::Drift { node, millionths });
            simulation.plan(node);
        }
        simulation
    }

    fn with_world(world: World, setup: Setup, faults: Faults, rng: SmallRng) -> Self {
        let plan = Plan { at: Moment::NEVER, action: Action::Rest };
        let mut simulation = Self {
            plans: vec![plan; world.node_count()],
            rounds: vec![None; world.node_count()],
            acknowledgements: vec![None; world.node_count()],
            operators: Operators::new(setup.seed, world.node_count()),
            voter_changes: VoterChanges::new(setup.seed, faults.kind),
            applications: Applications::new(setup.seed),
            world,
            setup,
            faults,
            rng,
            arrivals: BinaryHeap::new(),
            arrivals_planned: 0,
            lags: BTreeMap::new(),
            handovers: Vec::new(),
            recorded: None,
            figures: Figures::default(),
            happened_at_once: 0,
            departures: Vec::new(),
        };
        for node in simulation.world.nodes() {
            simulation.plan(node);
        }
        simulation
    }

    /// How the world began.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// What kind of world it is.
    pub fn kind(&self) -> Kind {
        self.faults.kind
    }

    /// The recorded steps.
    pub fn recorded(&self) -> &[Step] {
        self.recorded.as_deref().unwrap_or_default()
    }

    /// What has happened so far.
    pub fn figures(&self) -> Figures {
        self.figures
    }

    /// Runs the simulation to its end: faults, recovery, drills.
    ///
    /// # Errors
    ///
    /// The first rule that was broken.
    pub fn run(&mut self) -> Result<(), Violation> {
        self.run_faults()?;
        self.recover()
    }

    /// Runs the part in which faults happen.
    ///
    /// # Errors
    ///
    /// The first rule that was broken.
    pub fn run_faults(&mut self) -> Result<(), Violation> {
        while self.figures.steps < FAULTY_STEPS {
            let node = self.run_next();
            self.inject_fault(node);
            self.operate();
            self.change_voters();
            self.change_answers();
            self.result()?;
        }
        Ok(())
    }

    /// Ends the faults. A cluster that can recover must do so, and then go through the drills.
    ///
    /// # Errors
    ///
    /// The first rule that was broken.
    pub fn recover(&mut self) -> Result<(), Violation> {
        if self.come_to_rest()? { self.run_drills() } else { Ok(()) }
    }

    fn result(&self) -> Result<(), Violation> {
        if self.happened_at_once > AT_ONCE_MAX {
            let what = format!("time stands still at {}", self.world.now());
            return Err(Violation { rule: "I7", what });
        }
        self.world.violation().map_or(Ok(()), |violation| Err(violation.clone()))
    }

    /// Lets the next thing happen. Returns the node to which it happened.
    fn run_next(&mut self) -> NodeIndex {
        let plans = self.plans.iter().enumerate();
        let (index, plan) = plans.min_by_key(|(_, plan)| plan.at).expect("there are nodes");
        let (node, Plan { at, action }) = (NodeIndex::new(index), *plan);
        self.happened_at_once += 1;
        match self.arrivals.peek() {
            Some(Reverse((arrives_at, _, _))) if *arrives_at < at => {
                let Some(Reverse((at, _, key))) = self.arrivals.pop() else { return node };
                self.wait_until(at);
                self.arrive(key)
            }
            _ => {
                self.wait_until(at);
                self.act(node, action);
                node
            }
        }
    }

    fn wait_until(&mut self, at: Moment) {
        let span = at.since(self.world.now());
        if span > Duration::ZERO && at != Moment::NEVER {
            self.happened_at_once = 0;
            self.apply(&Step::Advance(span));
        }
    }

    fn arrive(&mut self, key: FlightKey) -> NodeIndex {
        let Some((to, pick)) = self.pick(key) else { return NodeIndex::new(0) };
        match self.world.condition(to) {
            Condition::Waiting => {
                self.apply(&Step::Deliver(pick));
                self.plan(to);
            }
            Condition::Down => self.apply(&Step::Drop(pick)),
            // The node hears it when it listens again.
            Condition::Saving | Condition::Paused => {
                let at = self.plans[to.get()].at.plus(Duration::from_micros(1));
                self.expect_arrival(at, key);
            }
        }
        to
    }

    /// Where a message goes, and which one it is.
    fn pick(&self, key: FlightKey) -> Option<(NodeIndex, Pick)> {
        let flight = self.world.network().flight(key)?;
        let link = self.world.network().link(flight.from, flight.to);
        let older = link.iter().position(|other| *other == key)?;
        Some((flight.to, Pick { from: Some(flight.from), to: Some(flight.to), older }))
    }

    fn act(&mut self, node: NodeIndex, action: Action) {
        match action {
            Action::Wake => self.apply(&Step::TimeOut(node)),
            Action::Save => self.apply(&Step::Save(node)),
            Action::FailSave { written } => self.apply(&Step::FailSave { node, written }),
            Action::Crash(remains) => {
                // Other disks may have been lost since that was drawn.
                let is_spared = remains == Remains::Torn && !self.can_spare(node);
                let remains = if is_spared { Remains::New } else { remains };
                self.apply(&Step::Crash { node, remains });
            }
            Action::Resume => self.apply(&Step::Resume(node)),
            // It stays down for a while.
            Action::Restart if self.returns_to_go(node) => return,
            Action::Restart => self.restart(node),
            Action::Start => self.apply(&Step::Restart(node)),
            Action::Rest => {}
        }
        self.plan(node);
    }

    /// Lets a step happen, and plans the arrival of the messages that it sent.
    fn apply(&mut self, step: &Step) {
        if let Some(recorded) = &mut self.recorded {
            recorded.push(step.clone());
        }
        if !matches!(step, Step::Advance(_)) {
            self.figures.steps += 1;
        }
        let Self { figures, operators, .. } = self;
        let done = self.world.apply(step, &mut Listeners { figures, operators });
        debug_assert_eq!(done, Ok(()), "{step}");
        self.world.take_departures(&mut self.departures);
        while let Some(key) = self.departures.pop() {
            self.depart(key);
        }
    }

    /// A message has been sent. It is lost, or arrives after some time, perhaps twice.
    fn depart(&mut self, key: FlightKey) {
        if let Some(Flight { from, message: Message::PreVoteRequest(request), .. }) =
            self.world.network().flight(key)
        {
            self.rounds[from.get()] = request.round;
        }
        if let (Kind::Garbage, Some(Flight { to, message: Message::HeartbeatResponse(it), .. })) =
            (self.faults.kind, self.world.network().flight(key))
        {
            self.acknowledgements[to.get()] = Some(it.clone());
        }
        if let (Kind::Handovers, Some(Flight { message: Message::Handover(handover), .. })) =
            (self.faults.kind, self.world.network().flight(key))
            && self.handovers.last() != Some(handover)
        {
            self.handovers.push(handover.clone());
        }
        if self.faults.loss.happens(&mut self.rng) {
            if let Some((_, pick)) = self.pick(key) {
                self.apply(&Step::Drop(pick));
            }
            return;
        }
        let delay_max = if self.faults.slow_message.happens(&mut self.rng) {
            self.faults.message_delay_max
        } else {
            self.faults.message_time_max
        };
        let lag = self.lag(key);
        let delay = self.faults.message_time_min + draw_span(&mut self.rng, delay_max) + lag;
        self.expect_arrival(self.world.now().plus(delay), key);
        if self.faults.duplication.happens(&mut self.rng)
            && let Some((_, pick)) = self.pick(key)
        {
            self.apply(&Step::Duplicate(pick));
        }
    }

    fn lag(&self, key: FlightKey) -> Duration {
        let flight = self.world.network().flight(key);
        let lag = flight.and_then(|it| self.lags.get(&(it.from, it.to)));
        lag.copied().unwrap_or_default()
    }

    fn expect_arrival(&mut self, at: Moment, key: FlightKey) {
        self.arrivals_planned += 1;
        self.arrivals.push(Reverse((at, self.arrivals_planned, key)));
    }

    /// Decides what a node does next.
    fn plan(&mut self, node: NodeIndex) {
        let now = self.world.now();
        let rng = &mut self.rng;
        self.plans[node.get()] = match self.world.condition(node) {
            Condition::Waiting => {
                let due_at = self.world.due_at(node).max(now);
                let is_late = self.faults.late_timer.happens(rng);
                let late =
                    if is_late { draw_span(rng, self.faults.absence_max) } else { Duration::ZERO };
                Plan { at: due_at.plus(late), action: Action::Wake }
            }
            Condition::Saving => {
                let is_slow = self.faults.slow_save.happens(rng);
                let time_max = if is_slow { self.faults.absence_max } else { SAVE_TIME_MAX };
                let has_slow_disk = node.get() < self.faults.slow_disks;
                let least = if has_slow_disk { self.faults.save_time_min } else { Duration::ZERO };
                let at = now.plus(least + draw_span(rng, time_max));
                Plan { at, action: self.draw_end_of_save(node) }
            }
            Condition::Paused => {
                let at = now.plus(draw_span(rng, self.faults.absence_max));
                Plan { at, action: Action::Resume }
            }
            Condition::Down if !self.world.has_record(node) => {
                Plan { at: Moment::NEVER, action: Action::Rest }
            }
            Condition::Down => {
                // A node that is back soon may still be bound (rule V3).
                let is_soon = rng.random_bool(0.5);
                let away_max = if is_soon { Duration::ZERO } else { self.faults.absence_max };
                let at = now.plus(draw_span(rng, away_max.max(MESSAGE_TIME_MAX)));
                Plan { at, action: Action::Restart }
            }
        };
    }
}

impl Observer for Figures {
    fn observe(&mut self, event: Event<'_>) {
        match event {
            Event::Changed { state: State::Leader, .. } => self.elections += 1,
            Event::Changed { reason: Reason::PriorityHandover, .. } => self.promotions += 1,
            Event::Leased(_) => self.leases += 1,
            Event::Reported(_, Report::TwoLives(_)) => self.suspicions += 1,
            Event::Crashed(_, amid_save) => {
                self.crashes += 1;
                self.interrupted_saves += u64::from(amid_save);
            }
            Event::SaveFailed(_) => self.failed_saves += 1,
            Event::Saved(_) => self.saves += 1,
            _ => {}
        }
    }
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.elections += other.elections;
        self.leases += other.leases;
        self.promotions += other.promotions;
        self.suspicions += other.suspicions;
        self.crashes += other.crashes;
        self.saves += other.saves;
        self.failed_saves += other.failed_saves;
        self.interrupted_saves += other.interrupted_saves;
        self.recovery = self.recovery.max(other.recovery);
        self.recovery_percent = self.recovery_percent.max(other.recovery_percent);
        self.comeback = self.comeback.max(other.comeback);
        self.succession = self.succession.max(other.succession);
        self.reunion = self.reunion.max(other.reunion);
    }
}
