//! What servers do whose voters change: rules R1 to R12, and what of the others they lean on.

use super::world::{Leading, List, Role, Server, Set, World};

/// A rule that servers may be made to break, to see that it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Omission {
    /// A leader makes the next list before the last one is committed (R6, R7).
    Commit,
    /// A leader changes a list that another leader made (R5).
    Seal,
    /// A leader seals a list, and changes it at once (R5, R6).
    SealCommit,
    /// A list has two other voters (R7).
    OneVoter,
    /// Votes are given whatever the candidate's list (R4).
    Compare,
    /// A lease is counted in the list that the leader was elected with (R8).
    LeaseList,
    /// A list is changed though the lease counted in it ends before an earlier one (R6).
    CarryOver,
    /// An acknowledgement that named the last list counts for the next (R6).
    Named,
    /// A server goes back to an older list (R3).
    NewerList,
    /// Who was removed, and has lost its record, is added again (R12).
    LostRecord,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The server asks for votes in a term above its own.
    Campaign(usize, u8),
    /// The first votes for the second.
    Vote(usize, usize),
    /// The server begins to lead.
    Win(usize),
    /// The first acknowledges a heartbeat of the second, and is bound for so many steps.
    Acknowledge(usize, usize, u8),
    /// The leader crashes, or is a follower for another reason.
    StepDown(usize),
    /// The leader hands over.
    HandOver(usize),
    /// The server learns a list.
    Learn(usize, List),
    /// The leader seals its list.
    Seal(usize),
    /// The leader makes a list of these voters.
    Change(usize, Set),
    /// The server loses its record.
    Forget(usize),
    /// Time passes.
    Step,
}

/// What must always hold (protocol, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// I1.
    TwoLeaders,
    /// I4.
    TwoLeases,
    /// I10.
    OlderList,
}

/// The servers' rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) term_max: u8,
    pub(super) changes_max: u8,
    pub(super) promise_max: u8,
    pub(super) omission: Option<Omission>,
}

impl Rules {
    fn lacks(&self, omission: Omission) -> bool {
        self.omission == Some(omission)
    }

    /// All that may happen in `world`.
    pub(super) fn actions(&self, world: &World) -> Vec<Action> {
        let mut actions = vec![Action::Step];
        for one in world.all() {
            let terms = world.servers[one].term + 1..=self.term_max;
            actions.extend(terms.map(|term| Action::Campaign(one, term)));
            actions.extend([Action::Win(one), Action::StepDown(one)]);
            actions.push(Action::Seal(one));
            // Nothing else is handed over than the promises.
            actions.extend((self.promise_max > 0).then_some(Action::HandOver(one)));
            if self.lacks(Omission::LostRecord) {
                actions.push(Action::Forget(one));
            }
            for other in world.all().filter(|other| *other != one) {
                actions.push(Action::Vote(one, other));
                let spans = self.promise_max.min(1)..=self.promise_max;
                actions.extend(spans.map(|span| Action::Acknowledge(one, other, span)));
            }
            actions.extend(world.lists().map(|list| Action::Learn(one, list)));
            if let Role::Leader(_) = world.servers[one].role {
                let lists = (1..1 << world.size).map(Set);
                actions.extend(lists.map(|voters| Action::Change(one, voters)));
            }
        }
        actions
    }

    /// What becomes of `world`; `None` if this can't happen, or changes nothing.
    pub(super) fn take(&self, world: &World, action: Action) -> Option<World> {
        let mut next = *world;
        match action {
            Action::Campaign(server, term) => campaign(&mut next, server, term)?,
            Action::Vote(voter, candidate) => self.vote(&mut next, voter, candidate)?,
            Action::Win(candidate) => win(&mut next, candidate)?,
            Action::Acknowledge(server, leader, span) => {
                acknowledge(&mut next, server, leader, span)?;
            }
            Action::StepDown(leader) => step_down(&mut next, leader)?,
            Action::HandOver(leader) => {
                step_down(&mut next, leader)?;
                // V2: this frees those who are bound to it.
                next.given_up = next.given_up.with(next.servers[leader].term.into());
            }
            Action::Learn(server, list) => {
                let it = &mut next.servers[server];
                it.learn(list, list > it.list || self.lacks(Omission::NewerList))?;
            }
            Action::Seal(leader) => seal(&mut next, leader)?,
            Action::Change(leader, voters) => self.change(&mut next, leader, voters)?,
            Action::Forget(server) => forget(&mut next, server)?,
            Action::Step => step(&mut next),
        }
        self.note_committed(&mut next);
        next.tidy();
        (next != *world).then_some(next)
    }

    /// What is broken when this happens in `world`, and it becomes `next`.
    pub(super) fn broken_by(world: &World, action: Action, next: &World) -> Option<Broken> {
        let has_lease = |world: &World, server: usize| match world.servers[server].role {
            Role::Leader(leading) => leading.lease(server) > 0,
            _ => false,
        };
        if next.all().filter(|server| has_lease(next, *server)).count() > 1 {
            return Some(Broken::TwoLeases);
        }
        let Action::Win(candidate) = action else {
            return None;
        };
        let Server { term, list, .. } = world.servers[candidate];
        if world.led.has(term.into()) {
            return Some(Broken::TwoLeaders);
        }
        let is_early = |other: usize| world.servers[other].term < term && has_lease(world, other);
        if world.all().any(is_early) {
            return Some(Broken::TwoLeases);
        }
        let is_late = term > world.committed.term();
        (is_late && list < world.committed).then_some(Broken::OlderList)
    }

    /// V1, V2, R4.
    fn vote(&self, world: &mut World, voter: usize, candidate: usize) -> Option<()> {
        let asks = world.servers[candidate];
        let Role::Candidate { votes } = asks.role else {
            return None;
        };
        let voters = world.voters_of(voter);
        let it = &mut world.servers[voter];
        let has_voted = it.has_voted && it.term == asks.term;
        let leads = matches!(it.role, Role::Leader(_));
        let is_freed = (it.term..asks.term).any(|term| world.given_up.has(term.into()));
        let is_bound = leads || it.bound > 0 && !is_freed;
        let helps = voters.has(candidate) && voters.has(voter) && asks.list >= it.list;
        if it.term > asks.term || has_voted || is_bound || !helps && !self.lacks(Omission::Compare)
        {
            return None;
        }
        it.adopt(asks.term);
        it.has_voted = true;
        world.servers[candidate].role = Role::Candidate { votes: votes.with(voter) };
        Some(())
    }

    /// R7: one voter is added or removed. What it asks of those who were heard is left out: it only
    /// keeps a cluster from losing its leader.
    fn change(&self, world: &mut World, leader: usize, voters: Set) -> Option<()> {
        let before = world.voters_of(leader);
        let it = world.servers[leader];
        let Role::Leader(leading) = it.role else {
            return None;
        };
        let changed = Set(before.0 ^ voters.0).len();
        let is_small = changed == 1 || changed == 2 && self.lacks(Omission::OneVoter);
        let is_sealed = it.list.term() == it.term;
        let may = match self.omission {
            Some(Omission::Commit) => is_sealed,
            Some(Omission::Seal) => self.is_committed(world, leader, &leading),
            Some(Omission::SealCommit) => {
                is_sealed && it.list.next_version() == 2
                    || self.is_committed(world, leader, &leading)
            }
            _ => is_sealed && self.is_committed(world, leader, &leading),
        };
        let version = if is_sealed { it.list.next_version() } else { 1 };
        if !may || !is_small || !voters.has(leader) || world.changes >= self.changes_max {
            return None;
        }
        world.changes += 1;
        install(world, leader, List::new(it.term, version), voters);
        let named = if self.lacks(Omission::Named) { leading.named } else { Set::default() };
        let floor = leading.lease(leader);
        let counted = if self.lacks(Omission::LeaseList) { leading.counted } else { voters };
        let next = Leading { named, counted, floor, ..leading };
        world.servers[leader].role = Role::Leader(next);
        Some(())
    }

    /// R6, but for the seal: a quorum has named the list, and the lease counted in it ends no
    /// earlier than any before.
    fn is_committed(&self, world: &World, leader: usize, leading: &Leading) -> bool {
        let voters = world.voters_of(leader);
        let is_named = leading.named.with(leader).is_quorum_of(voters);
        let is_carried = leading.counts(leader) >= leading.floor;
        is_named && (is_carried || self.lacks(Omission::CarryOver))
    }

    fn note_committed(&self, world: &mut World) {
        for server in world.all() {
            let it = world.servers[server];
            if let Role::Leader(leading) = it.role
                && it.list.term() == it.term
                && self.is_committed(world, server, &leading)
            {
                world.committed = world.committed.max(it.list);
            }
        }
    }
}

impl Server {
    /// T1, T3.
    fn adopt(&mut self, term: u8) -> Option<()> {
        if term <= self.term {
            return None;
        }
        *self = Self { term, has_voted: false, role: Role::Follower, ..*self };
        Some(())
    }

    /// R3.
    fn learn(&mut self, list: List, is_newer: bool) -> Option<()> {
        if matches!(self.role, Role::Leader(_)) || !is_newer {
            return None;
        }
        self.adopt(list.term());
        self.role = Role::Follower;
        self.list = list;
        Some(())
    }
}

/// C1, C2, R11. Rounds of pre-votes, which only hold a server back, are left out. So is how the
/// server comes to know of the term, and that it may know of it before, which would only hold it
/// back, too.
fn campaign(world: &mut World, server: usize, term: u8) -> Option<()> {
    let voters = world.voters_of(server);
    let it = &mut world.servers[server];
    let leads = matches!(it.role, Role::Leader(_));
    let is_free = it.bound == 0 || world.given_up.has(it.term.into());
    if leads || !voters.has(server) || !is_free {
        return None;
    }
    it.term = term;
    it.has_voted = true;
    it.role = Role::Candidate { votes: Set::of(server) };
    Some(())
}

/// V6: a quorum of the candidate's own list has elected it.
fn win(world: &mut World, candidate: usize) -> Option<()> {
    let voters = world.voters_of(candidate);
    let it = &mut world.servers[candidate];
    let Role::Candidate { votes } = it.role else {
        return None;
    };
    if !votes.is_quorum_of(voters) {
        return None;
    }
    it.role = Role::Leader(Leading { counted: voters, ..Leading::default() });
    world.led = world.led.with(it.term.into());
    Some(())
}

/// L2, R6. A promise of one step is one that was made a while ago, or by a server with a shorter
/// T_min.
fn acknowledge(world: &mut World, server: usize, leader: usize, span: u8) -> Option<()> {
    let Server { term, list, role: Role::Leader(mut leading), .. } = world.servers[leader] else {
        return None;
    };
    let knows = world.voters_of(server).has(leader);
    let it = &mut world.servers[server];
    if it.term > term || !knows {
        return None;
    }
    it.adopt(term);
    it.role = Role::Follower;
    it.bound = it.bound.max(span);
    leading.promises[server] = leading.promises[server].max(span);
    if it.list == list {
        leading.named = leading.named.with(server);
    }
    world.servers[leader].role = Role::Leader(leading);
    Some(())
}

/// A leader leads no longer. (A candidate that no longer is one could do nothing more than before.)
fn step_down(world: &mut World, leader: usize) -> Option<()> {
    let it = &mut world.servers[leader];
    let leads = matches!(it.role, Role::Leader(_));
    it.role = Role::Follower;
    leads.then_some(())
}

/// R5.
fn seal(world: &mut World, leader: usize) -> Option<()> {
    let Server { term, list, role: Role::Leader(leading), .. } = world.servers[leader] else {
        return None;
    };
    let voters = world.voters(list);
    if list.term() == term {
        return None;
    }
    install(world, leader, List::new(term, 1), voters);
    world.servers[leader].role = Role::Leader(Leading { named: Set::default(), ..leading });
    Some(())
}

fn install(world: &mut World, leader: usize, list: List, voters: Set) {
    world.make(list, voters);
    world.servers[leader].list = list;
}

/// R12: who is no voter by the latest committed list, and was one once, loses its record.
fn forget(world: &mut World, server: usize) -> Option<()> {
    let is_voter = world.voters(world.committed).has(server);
    let is_new = world.servers[server] == Server::default();
    if is_voter || is_new {
        return None;
    }
    world.servers[server] = Server::default();
    Some(())
}

fn step(world: &mut World) {
    for server in &mut world.servers {
        server.bound = server.bound.saturating_sub(1);
        if let Role::Leader(leading) = &mut server.role {
            leading.floor = leading.floor.saturating_sub(1);
            leading.promises = leading.promises.map(|promise| promise.saturating_sub(1));
        }
    }
}
