//! What comes of a step that gives a node's program something to do.

use std::ops::RangeInclusive;

use graft_election_core::{
    Change, Instant, Message, Mode, Outgoing, Reason, Recipient, Round, State,
};

use super::{CannotHappen, DELIVERIES_MAX, World, Written};
use crate::checker::Start;
use crate::disk::Disk;
use crate::go_voter::GoVoter;
use crate::machine::{Condition, CoreNode, CoreOutput};
use crate::{DiskMode, Event, FlightKey, Identity, Moment, NodeIndex, Observer, Pick, Remains};

/// What a node shows of itself, to tell what changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Snapshot {
    state: State,
    reason: Reason,
    term: u64,
    leader: Option<Option<Identity>>,
    has_lease: bool,
}

impl Snapshot {
    fn of(program: &CoreNode, now: Instant) -> Self {
        Self {
            state: program.state(),
            reason: program.reason(),
            term: program.term(),
            leader: program.leader().map(Identity::of),
            has_lease: program.leadership(now).is_some(),
        }
    }
}

/// Makes the message one of this round, unless it can't have any.
fn set_round(message: &mut Message, round: Option<Round>) {
    match message {
        Message::VoteRequest(request) | Message::PreVoteRequest(request) => request.round = round,
        Message::VoteResponse(response) => response.round = round,
        Message::Heartbeat(heartbeat) => heartbeat.round = round,
        Message::HeartbeatResponse(response) => response.round = round,
        Message::PreVoteResponse(response) => response.round = round,
        Message::Handover(handover) => handover.round = round,
        Message::Who(identity) | Message::Here(identity) => {
            identity.round = round.unwrap_or(identity.round);
        }
        Message::ControlRequest(request) => request.round = round.unwrap_or(request.round),
        Message::ControlResponse(response) => response.round = round.unwrap_or(response.round),
        Message::ListRequest(_) | Message::ListPart(_) => {}
    }
}

impl World {
    /// What the node's clock shows.
    pub(crate) fn local(&self, node: NodeIndex) -> Instant {
        self.machines[node.get()].clock.read(self.now)
    }

    pub(super) fn start(&mut self, node: NodeIndex, observer: &mut impl Observer) {
        let now = self.local(node);
        let machine = &mut self.machines[node.get()];
        let Some(record) = machine.disk.read() else {
            observer.observe(Event::DiskTorn(node));
            return;
        };
        if machine.setup.is_go {
            machine.start_go(&self.setup, record.clone(), now);
            observer.observe(Event::Started(machine.identity, &record));
            return;
        }
        match machine.start(&self.setup, record.clone(), now) {
            Ok(()) => {
                observer.observe(Event::Started(machine.identity, &record));
                let start = Start::of(machine, &self.setup, &record, now);
                self.checkers[machine.cluster].started(machine.identity, start);
            }
            Err(error) => observer.observe(Event::ConfigRefused(node, error)),
        }
    }

    pub(super) fn restart(
        &mut self,
        node: NodeIndex,
        observer: &mut impl Observer,
    ) -> Result<(), CannotHappen> {
        self.expect(node, Condition::Down)?;
        self.start(node, observer);
        Ok(())
    }

    pub(super) fn replace(
        &mut self,
        node: NodeIndex,
        observer: &mut impl Observer,
    ) -> Result<(), CannotHappen> {
        self.expect(node, Condition::Down)?;
        self.machine(node)?.lose_disk();
        self.start(node, observer);
        Ok(())
    }

    pub(super) fn time_out(
        &mut self,
        node: NodeIndex,
        observer: &mut impl Observer,
    ) -> Result<(), CannotHappen> {
        self.expect(node, Condition::Waiting)?;
        let due_at = self.due_at(node);
        if due_at == Moment::NEVER {
            return Err(CannotHappen::NoDeadline(node));
        }
        self.now = self.now.max(due_at);
        let now = self.local(node);
        observer.observe(Event::Woke(node));
        if self.feed_go(node, |voter| voter.handle_timeout(now), observer) {
            return Ok(());
        }
        let machine = &self.machines[node.get()];
        self.checkers[machine.cluster].wakes(machine.identity, now);
        self.feed(node, |program| program.handle_timeout(now), observer);
        Ok(())
    }

    pub(super) fn hand_over(
        &mut self,
        node: NodeIndex,
        to: Option<NodeIndex>,
        observer: &mut impl Observer,
    ) -> Result<(), CannotHappen> {
        self.expect_input(node)?;
        let to = match to {
            Some(to) => Some(self.machine(to)?.id.clone()),
            None => None,
        };
        let now = self.local(node);
        let machine = &self.machines[node.get()];
        self.checkers[machine.cluster].is_told_to_hand_over(machine.identity, to.as_ref(), now);
        self.feed(node, |program| program.hand_over(now, to), observer);
        Ok(())
    }

    pub(super) fn has_no_double(
        &mut self,
        node: NodeIndex,
        observer: &mut impl Observer,
    ) -> Result<(), CannotHappen> {
        self.expect_input(node)?;
        let now = self.local(node);
        let machine = &self.machines[node.get()];
        self.checkers[machine.cluster].has_no_double(machine.identity);
        self.feed(
            node,
            |program| {
                program.handle_no_double(now);
                CoreOutput::Idle
            },
            observer,
        );
        Ok(())
    }

    pub(super) fn change_voters(
        &mut self,
        node: NodeIndex,
        adds: bool,
        voter: NodeIndex,
        observer: &mut impl Observer,
    ) -> Result<(), CannotHappen> {
        self.expect_input(node)?;
        let voter = self.machine(voter)?.id.clone();
        let now = self.local(node);
        let machine = &self.machines[node.get()];
        let checker = &mut self.checkers[machine.cluster];
        checker.acts(machine.identity, now);
        checker.is_asked_for(machine.identity, &voter);
        let change = Change { adds, voter, list: None };
        let mut outcome = None;
        self.feed(
            node,
            |program| {
                let (came, output) = program.change_voters(now, &change);
                outcome = Some(came);
                output
            },
            observer,
        );
        self.machine(node)?.outcome = outcome;
        Ok(())
    }

    pub(super) fn close(
        &mut self,
        node: NodeIndex,
        observer: &mut impl Observer,
    ) -> Result<(), CannotHappen> {
        self.expect_input(node)?;
        let now = self.local(node);
        let machine = &self.machines[node.get()];
        self.checkers[machine.cluster].is_told_to_close(machine.identity, now);
        self.feed(node, |program| program.close(now), observer);
        Ok(())
    }

    pub(super) fn hold_back(
        &mut self,
        node: NodeIndex,
        is_held_back: bool,
        observer: &mut impl Observer,
    ) -> Result<(), CannotHappen> {
        self.expect_input(node)?;
        let now = self.local(node);
        let machine = &mut self.machines[node.get()];
        machine.is_held_back = is_held_back;
        self.checkers[machine.cluster].is_held_back(machine.identity, is_held_back, now);
        self.feed(node, |program| program.hold_back(now, is_held_back), observer);
        Ok(())
    }

    pub(super) fn forge(
        &mut self,
        message: &Message,
        round_of: Option<NodeIndex>,
        to: NodeIndex,
        observer: &mut impl Observer,
    ) -> Result<(), CannotHappen> {
        self.expect(to, Condition::Waiting)?;
        let mut message = message.clone();
        if let Some(node) = round_of {
            self.machine(node)?;
            set_round(&mut message, self.rounds[node.get()]);
        }
        self.hear(to, message, observer);
        Ok(())
    }

    pub(super) fn deliver(
        &mut self,
        pick: Pick,
        observer: &mut impl Observer,
    ) -> Result<(), CannotHappen> {
        if let (Some(_), Some(to)) = (pick.from, pick.to) {
            let key = self.picked_one(pick)?;
            let condition = self.machine(to)?.condition();
            if matches!(condition, Condition::Saving | Condition::Paused) {
                return Err(CannotHappen::Unfit(to, condition));
            }
            self.arrive(key, observer);
            return Ok(());
        }
        for key in self.picked(pick)? {
            self.arrive(key, observer);
        }
        Ok(())
    }

    pub(super) fn settle(&mut self, observer: &mut impl Observer) -> Result<(), CannotHappen> {
        for _ in 0..DELIVERIES_MAX {
            let deliverable = self.all_in_flight().into_iter().find(|key| {
                let to = self.network.flight(*key).map(|flight| flight.to);
                to.is_some_and(|to| self.can_hear(to))
            });
            match deliverable {
                Some(key) => self.arrive(key, observer),
                None => return Ok(()),
            }
        }
        Err(CannotHappen::NeverSettles)
    }

    /// The messages in flight that `pick` means, in the order of sending.
    pub(super) fn picked(&mut self, pick: Pick) -> Result<Vec<FlightKey>, CannotHappen> {
        for node in [pick.from, pick.to].into_iter().flatten() {
            self.machine(node)?;
        }
        if pick.from.is_some() && pick.to.is_some() {
            return Ok(vec![self.picked_one(pick)?]);
        }
        let mut keys = self.all_in_flight();
        keys.retain(|key| {
            self.network.flight(*key).is_some_and(|flight| {
                pick.from.is_none_or(|from| flight.from == from)
                    && pick.to.is_none_or(|to| flight.to == to)
            })
        });
        if keys.is_empty() { Err(CannotHappen::NotInFlight(pick)) } else { Ok(keys) }
    }

    fn picked_one(&self, pick: Pick) -> Result<FlightKey, CannotHappen> {
        let link = match (pick.from, pick.to) {
            (Some(from), Some(to)) => self.network.link(from, to),
            _ => &[],
        };
        link.get(pick.older).copied().ok_or(CannotHappen::NotInFlight(pick))
    }

    fn all_in_flight(&self) -> Vec<FlightKey> {
        let links = self.nodes().flat_map(|from| self.nodes().map(move |to| (from, to)));
        let mut keys: Vec<_> =
            links.flat_map(|(from, to)| self.network.link(from, to).iter().copied()).collect();
        keys.sort_by_key(|key| self.network.flight(*key).map(|flight| flight.number));
        keys
    }

    /// A Go node is told nothing: its `Close` deletes its log (G1).
    fn expect_input(&mut self, node: NodeIndex) -> Result<(), CannotHappen> {
        self.expect(node, Condition::Waiting)?;
        if self.is_go(node) { Err(CannotHappen::IsGo(node)) } else { Ok(()) }
    }

    fn can_hear(&self, node: NodeIndex) -> bool {
        !matches!(self.condition(node), Condition::Saving | Condition::Paused)
    }

    /// A message arrives: the node hears it, or it is lost if the node is down, or waits if the
    /// node can't hear it yet.
    fn arrive(&mut self, key: FlightKey, observer: &mut impl Observer) {
        let to = self.network.flight(key).map(|flight| flight.to);
        if !to.is_some_and(|to| self.can_hear(to)) {
            return;
        }
        let Some(flight) = self.network.take(key) else { return };
        if self.condition(flight.to) == Condition::Down {
            observer.observe(Event::Lost(&flight));
        } else {
            self.hear(flight.to, flight.message, observer);
        }
    }

    fn hear(&mut self, node: NodeIndex, message: Message, observer: &mut impl Observer) {
        let now = self.local(node);
        let machine = &self.machines[node.get()];
        let (identity, cluster) = (machine.identity, machine.cluster);
        let application = machine.application;
        observer.observe(Event::Heard(node, &message));
        if self.feed_go(node, |voter| voter.handle_message(now, &message), observer) {
            return;
        }
        let terms = self.checkers[cluster].hears(identity, now, &message, application);
        self.feed_and(node, |program| program.handle_message(now, message), &terms, observer);
    }

    /// Gives a node an input that is not a message.
    fn feed(
        &mut self,
        node: NodeIndex,
        input: impl FnOnce(&mut CoreNode) -> CoreOutput<'_>,
        observer: &mut impl Observer,
    ) {
        self.feed_and(node, input, &(0..=u64::MAX), observer);
    }

    /// Gives a node an input if it is Go's. Returns whether it is.
    fn feed_go(
        &mut self,
        node: NodeIndex,
        input: impl FnOnce(&mut GoVoter) -> Option<Outgoing>,
        observer: &mut impl Observer,
    ) -> bool {
        let machine = &mut self.machines[node.get()];
        let Some(before) = machine.go_voter().map(GoVoter::view) else { return false };
        let Some(sent) = machine.feed_go(input) else { return false };
        let Some(voter) = machine.go_voter() else { return false };
        let (state, reason, term) = voter.view();
        self.checkers[machine.cluster].is_go(machine.identity, state, term, sent.as_ref());
        if state == State::Leader && before.0 != state {
            self.checkers[machine.cluster].elected(machine.identity, term, self.now);
        }
        if before != (state, reason, term) {
            observer.observe(Event::Changed { node, before: before.0, state, reason, term });
        }
        if let Some(outgoing) = sent {
            self.spread(node, &outgoing, observer);
        }
        true
    }

    /// Gives a node an input, after which it must have one of the `terms`.
    fn feed_and(
        &mut self,
        node: NodeIndex,
        input: impl FnOnce(&mut CoreNode) -> CoreOutput<'_>,
        terms: &RangeInclusive<u64>,
        observer: &mut impl Observer,
    ) {
        let now = self.local(node);
        let machine = &mut self.machines[node.get()];
        let before = machine.node().map(|program| Snapshot::of(program, now));
        let sent = machine.feed(input);
        if let Some(program) = machine.node() {
            self.checkers[machine.cluster].heard(machine.identity, program, terms);
        }
        self.look(node, before, observer);
        // Here alone: a save that follows is not an input, and leaves the report as it is.
        if let Some(report) = self.machines[node.get()].node().and_then(CoreNode::report) {
            observer.observe(Event::Reported(node, report));
        }
        if let Some(outgoing) = sent {
            self.send(node, &outgoing, observer);
        }
        if self.condition(node) == Condition::Saving {
            self.begin_save(node, observer);
        }
        self.end_if_closed(node, observer);
    }

    fn begin_save(&mut self, node: NodeIndex, observer: &mut impl Observer) {
        let machine = &mut self.machines[node.get()];
        let Some(record) = machine.node().map(|program| program.record().clone()) else { return };
        observer.observe(Event::Saving(node, &record));
        machine.disk.begin_save(record);
        match machine.disk.mode {
            DiskMode::Works => self.end_save(node, Ok(()), observer),
            DiskMode::Fails => self.end_save(node, Err(Written(false)), observer),
            DiskMode::Holds => {}
        }
    }

    pub(super) fn end_save_under_way(
        &mut self,
        node: NodeIndex,
        result: Result<(), Written>,
        observer: &mut impl Observer,
    ) -> Result<(), CannotHappen> {
        self.expect(node, Condition::Saving)?;
        self.end_save(node, result, observer);
        Ok(())
    }

    fn end_save(
        &mut self,
        node: NodeIndex,
        result: Result<(), Written>,
        observer: &mut impl Observer,
    ) {
        let now = self.local(node);
        let before = self.machines[node.get()].node().map(|program| Snapshot::of(program, now));
        match result {
            Ok(()) => {
                self.change_disk(node, Disk::complete_save);
                observer.observe(Event::Saved(node));
            }
            Err(Written(written)) => {
                self.change_disk(node, |disk| disk.fail_save(written));
                observer.observe(Event::SaveFailed(node));
            }
        }
        let outgoing = self.machines[node.get()].end_save(now, result.is_ok());
        let machine = &self.machines[node.get()];
        self.checkers[machine.cluster].save_ended(machine.identity, result.is_err());
        self.look(node, before, observer);
        if let Some(outgoing) = outgoing {
            self.send(node, &outgoing, observer);
        }
        self.end_if_closed(node, observer);
    }

    pub(super) fn crash(
        &mut self,
        node: NodeIndex,
        remains: Remains,
        observer: &mut impl Observer,
    ) -> Result<(), CannotHappen> {
        if self.machine(node)?.condition() == Condition::Down {
            return Err(CannotHappen::Unfit(node, Condition::Down));
        }
        let was_saving = self.change_disk(node, |disk| disk.crash(remains));
        let machine = &mut self.machines[node.get()];
        machine.stop();
        self.checkers[machine.cluster].crashed(machine.identity, self.now);
        observer.observe(Event::Crashed(node, was_saving));
        Ok(())
    }

    /// Shows the checker what is on a disk after a change, unless a Go node's record is.
    fn change_disk<T>(&mut self, node: NodeIndex, change: impl FnOnce(&mut Disk) -> T) -> T {
        let machine = &mut self.machines[node.get()];
        let done = change(&mut machine.disk);
        if let Some(record) = machine.disk.record().filter(|_| !machine.is_go()) {
            self.checkers[machine.cluster].stored(machine.identity, record);
        }
        done
    }

    fn look(&mut self, node: NodeIndex, before: Option<Snapshot>, observer: &mut impl Observer) {
        let now = self.local(node);
        let machine = &self.machines[node.get()];
        let (Some(before), Some(program)) = (before, machine.node()) else { return };
        let checker = &mut self.checkers[machine.cluster];
        checker.looked_at(machine.identity, program, now);
        if program.state() == State::Leader && before.state != State::Leader {
            checker.elected(machine.identity, program.term(), self.now);
        }
        self.look_at_lease(node);
        let Some(program) = self.machines[node.get()].node() else { return };
        let Snapshot { state, reason, term, leader, has_lease } = Snapshot::of(program, now);
        if (before.state, before.reason, before.term) != (state, reason, term) {
            observer.observe(Event::Changed { node, before: before.state, state, reason, term });
        }
        if state != State::Leader && before.state != State::Leader && before.leader != leader {
            observer.observe(Event::Follows(node, program.leader()));
        }
        if has_lease && !before.has_lease {
            observer.observe(Event::Leased(node));
        }
    }

    /// Shows the checker a node's lease, and when it ends in real time.
    pub(super) fn look_at_lease(&mut self, node: NodeIndex) {
        let machine = &self.machines[node.get()];
        let Some(program) = machine.node() else { return };
        let checker = &mut self.checkers[machine.cluster];
        match program.leadership(machine.clock.read(self.now)) {
            None => checker.has_no_lease(machine.identity, self.now),
            Some(leadership) if checker.is_news(machine.identity, leadership) => {
                let ends_at = machine.clock.shows_at(leadership.valid_until);
                checker.has_lease(machine.identity, leadership, ends_at, self.now);
            }
            Some(_) => {}
        }
    }

    fn send(&mut self, from: NodeIndex, outgoing: &Outgoing, observer: &mut impl Observer) {
        let machine = &self.machines[from.get()];
        let checker = &mut self.checkers[machine.cluster];
        checker.said(machine.identity, machine.disk.confirmed(), outgoing, self.now);
        // The round of an answer to an operator is the operator's.
        let is_operators =
            matches!(outgoing.message, Message::ControlResponse(_) | Message::ListPart(_));
        if outgoing.to == Recipient::Everyone && !is_operators {
            self.rounds[from.get()] = outgoing.message.round();
        }
        self.spread(from, outgoing, observer);
    }

    /// Sends a message on its ways, whatever it says.
    fn spread(&mut self, from: NodeIndex, outgoing: &Outgoing, observer: &mut impl Observer) {
        let sender = &self.machines[from.get()];
        let cluster = sender.cluster;
        // What is said in Extended mode isn't said on Go's subjects.
        let reaches_go = sender.is_go() || sender.setup.mode == Mode::Graft;
        let (mut reached, mut cut) = (0, 0);
        for to in self.nodes() {
            let receiver = &self.machines[to.get()];
            let is_addressed = match &outgoing.to {
                Recipient::Everyone => receiver.cluster == cluster,
                // Whatever its cluster: who answers names none.
                Recipient::Node(id) => *id == receiver.id,
            };
            let is_addressed = is_addressed && (to != from || self.setup.echo);
            let is_addressed = is_addressed && (reaches_go || !receiver.is_go());
            if !is_addressed {
                continue;
            }
            if self.network.is_cut(from, to) {
                cut |= 1 << to.get();
            } else {
                reached |= 1 << to.get();
                self.network.send(from, to, outgoing.message.clone());
            }
        }
        observer.observe(Event::Sent { from, outgoing, reached, cut });
    }

    /// A program whose node is closed ends, unless it has something to store first.
    fn end_if_closed(&mut self, node: NodeIndex, observer: &mut impl Observer) {
        let machine = &mut self.machines[node.get()];
        let is_closed = machine.node().is_some_and(|program| program.state() == State::Closed);
        if is_closed && machine.condition() == Condition::Waiting {
            machine.stop();
            observer.observe(Event::Ended(node));
        }
    }
}
