//! What comes of a step, as far as a node's program has a say in it.

use std::ops::RangeInclusive;

use graft_election_core::{Instant, Message, Outgoing, Reason, Recipient, State};

use super::{CannotHappen, DELIVERIES_MAX, World, Written};
use crate::disk::Disk;
use crate::station::{Condition, CoreNode, CoreOutput, Station};
use crate::{DiskMode, Event, FlightKey, Identity, Moment, NodeIndex, Observer, Pick, Remains};

/// What can be seen of a node, to tell what changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Sight {
    state: State,
    reason: Reason,
    term: u64,
    leader: Option<Option<Identity>>,
    has_lease: bool,
}

impl Sight {
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

impl World {
    pub(super) fn local(&self, node: NodeIndex) -> Instant {
        self.stations[node.get()].clock.read(self.now)
    }

    pub(super) fn start(&mut self, node: NodeIndex, observer: &mut impl Observer) {
        let now = self.local(node);
        let station = &mut self.stations[node.get()];
        let Some(record) = station.disk.read() else {
            observer.observe(Event::DiskTorn(node));
            return;
        };
        match station.start(&self.setup, &self.voters, record.clone(), now) {
            Ok(()) => {
                observer.observe(Event::Started(station.identity, &record));
                let Station { identity, setup, quarantine, .. } = station;
                self.checker.started(*identity, &record, now, setup, *quarantine);
            }
            Err(error) => observer.observe(Event::ConfigRefused(node, error)),
        }
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
        self.feed(node, |program| program.handle_timeout(now), observer);
        Ok(())
    }

    pub(super) fn deliver(
        &mut self,
        pick: Pick,
        observer: &mut impl Observer,
    ) -> Result<(), CannotHappen> {
        if let (Some(_), Some(to)) = (pick.from, pick.to) {
            let key = self.picked_one(pick)?;
            let condition = self.station(to)?.condition();
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

    /// Those in flight that are meant, in the order of sending.
    pub(super) fn picked(&mut self, pick: Pick) -> Result<Vec<FlightKey>, CannotHappen> {
        for node in [pick.from, pick.to].into_iter().flatten() {
            self.station(node)?;
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

    fn can_hear(&self, node: NodeIndex) -> bool {
        !matches!(self.condition(node), Condition::Saving | Condition::Paused)
    }

    /// A message arrives: it is heard, lost if nobody is there, or waits on.
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

    pub(super) fn hear(&mut self, node: NodeIndex, message: Message, observer: &mut impl Observer) {
        let now = self.local(node);
        let identity = self.identity(node);
        observer.observe(Event::Heard(node, &message));
        let terms = self.checker.hears(identity, now, &message);
        self.feed_and(node, |program| program.handle_message(now, message), &terms, observer);
    }

    pub(super) fn feed(
        &mut self,
        node: NodeIndex,
        input: impl FnOnce(&mut CoreNode) -> CoreOutput<'_>,
        observer: &mut impl Observer,
    ) {
        let now = self.local(node);
        self.checker.acts(self.identity(node), now);
        self.feed_and(node, input, &(0..=u64::MAX), observer);
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
        let station = &mut self.stations[node.get()];
        let before = station.node().map(|program| Sight::of(program, now));
        let sent = station.feed(input);
        if let Some(program) = station.node() {
            self.checker.heard(station.identity, program, terms);
        }
        self.look(node, before, observer);
        // Once: a save that follows is no input, and leaves the report as it is.
        if let Some(report) = self.stations[node.get()].node().and_then(CoreNode::report) {
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
        let station = &mut self.stations[node.get()];
        let Some(record) = station.node().map(|program| program.record().clone()) else { return };
        observer.observe(Event::Saving(node, &record));
        station.disk.begin_save(record);
        match station.disk.mode {
            DiskMode::Works => self.end_save(node, Ok(()), observer),
            DiskMode::Fails => self.end_save(node, Err(Written(false)), observer),
            DiskMode::Holds => {}
        }
    }

    pub(super) fn end_save(
        &mut self,
        node: NodeIndex,
        result: Result<(), Written>,
        observer: &mut impl Observer,
    ) {
        let now = self.local(node);
        let before = self.stations[node.get()].node().map(|program| Sight::of(program, now));
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
        let outgoing = self.stations[node.get()].end_save(now, result.is_ok());
        self.checker.save_ended(self.identity(node), result.is_err());
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
        if self.station(node)?.condition() == Condition::Down {
            return Err(CannotHappen::Unfit(node, Condition::Down));
        }
        let was_saving = self.change_disk(node, |disk| disk.crash(remains));
        self.stations[node.get()].stop();
        observer.observe(Event::Crashed(node, was_saving));
        Ok(())
    }

    /// Shows the checker what is on a disk after a change.
    fn change_disk<T>(&mut self, node: NodeIndex, change: impl FnOnce(&mut Disk) -> T) -> T {
        let station = &mut self.stations[node.get()];
        let done = change(&mut station.disk);
        if let Some(record) = station.disk.record() {
            self.checker.stored(station.identity, record);
        }
        done
    }

    fn look(&mut self, node: NodeIndex, before: Option<Sight>, observer: &mut impl Observer) {
        let now = self.local(node);
        let station = &self.stations[node.get()];
        let (Some(before), Some(program)) = (before, station.node()) else { return };
        self.checker.looked_at(station.identity, program, now);
        self.look_at_lease(node);
        let Some(program) = self.stations[node.get()].node() else { return };
        let Sight { state, reason, term, leader, has_lease } = Sight::of(program, now);
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
        let station = &self.stations[node.get()];
        let Some(program) = station.node() else { return };
        match program.leadership(station.clock.read(self.now)) {
            None => self.checker.has_no_lease(station.identity),
            Some(leadership) if self.checker.is_news(station.identity, leadership) => {
                let ends_at = station.clock.shows_at(leadership.valid_until);
                self.checker.has_lease(station.identity, leadership, ends_at, self.now);
            }
            Some(_) => {}
        }
    }

    fn send(&mut self, from: NodeIndex, outgoing: &Outgoing, observer: &mut impl Observer) {
        let station = &self.stations[from.get()];
        self.checker.said(station.identity, station.disk.confirmed(), outgoing);
        let (mut reached, mut cut) = (0, 0);
        for to in self.nodes() {
            let is_addressed = match &outgoing.to {
                Recipient::Everyone => to != from || self.setup.echo,
                Recipient::Node(id) => *id == self.stations[to.get()].id,
            };
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
        let station = &mut self.stations[node.get()];
        let is_closed = station.node().is_some_and(|program| program.state() == State::Closed);
        if is_closed && station.condition() == Condition::Waiting {
            station.stop();
            observer.observe(Event::Ended(node));
        }
    }
}
