//! The state of a cluster whose voters change, and what its names don't matter for.

use std::fmt;
use std::hash::{Hash, Hasher};

/// The most servers that a cluster can have.
pub(super) const SERVERS_MAX: usize = 5;

/// The highest term that a cluster can have.
pub(super) const TERMS_MAX: usize = 3;

/// The most lists that one leader can make: it seals one, and changes it twice.
pub(super) const VERSIONS_MAX: usize = 3;

/// For how many steps of time an acknowledgement holds at most.
pub(super) const PROMISE_MAX: u8 = 2;

/// How many lists there can be: the first, and those that leaders make.
const LISTS_MAX: usize = 1 + TERMS_MAX * VERSIONS_MAX;

/// A set of servers, or of terms: one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Set(pub(super) u8);

/// Names a list: 0 is the first, and the others follow in the order of their terms and versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct List(u8);

/// One server, as far as it is stored: its term, whether it has voted in it, and its list. The rest
/// is lost in a crash, but for the promise, which rule V3 extends over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Server {
    pub(super) term: u8,
    pub(super) has_voted: bool,
    pub(super) list: List,
    /// For how many more steps it helps to elect no one (V2).
    pub(super) bound: u8,
    pub(super) role: Role,
}

/// What a server is, and what it has heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Role {
    #[default]
    Follower,
    Candidate {
        /// Who votes for it.
        votes: Set,
    },
    Leader(Leading),
}

/// What a leader has heard of all others, and what it has promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Leading {
    /// Who has named its present list (R6).
    pub(super) named: Set,
    /// The voters among whom the lease is counted: those of its present list (R8).
    pub(super) counted: Set,
    /// For how many more steps each server is bound to it (L3).
    pub(super) promises: [u8; SERVERS_MAX],
    /// For how many more steps the lease lasts that was counted in earlier lists (R8).
    pub(super) floor: u8,
}

/// The state of a cluster.
///
/// Its hash is that of the least of its images under all renamings of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct World {
    pub(super) size: usize,
    pub(super) servers: [Server; SERVERS_MAX],
    /// The voters of each list that was made; nobody, if it was not.
    voters: [Set; LISTS_MAX],
    /// The terms whose leader has handed over: no lease of theirs or before is valid (V2).
    pub(super) given_up: Set,
    /// The terms that have had a leader.
    pub(super) led: Set,
    /// The latest list that was ever committed (R6).
    pub(super) committed: List,
    /// How often the voters have changed.
    pub(super) changes: u8,
}

impl Set {
    pub(super) fn of(member: usize) -> Self {
        Self(1 << member)
    }

    pub(super) fn has(self, member: usize) -> bool {
        self.0 >> member & 1 == 1
    }

    pub(super) fn with(self, member: usize) -> Self {
        Self(self.0 | 1 << member)
    }

    pub(super) fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether these are more than half of `all`.
    pub(super) fn is_quorum_of(self, all: Self) -> bool {
        2 * Self(self.0 & all.0).len() > all.len()
    }

    fn renamed(self, names: &[usize]) -> Self {
        let members = names.iter().enumerate().filter(|(member, _)| self.has(*member));
        members.fold(Self::default(), |set, (_, name)| set.with(*name))
    }
}

impl List {
    /// The list of this version, from 1 on, that the leader of `term` makes.
    pub(super) fn new(term: u8, version: u8) -> Self {
        Self((term - 1) * VERSIONS_MAX as u8 + version)
    }

    /// The term of the leader that made it; 0 for the first list.
    pub(super) fn term(self) -> u8 {
        self.0.div_ceil(VERSIONS_MAX as u8)
    }

    /// The version that follows.
    pub(super) fn next_version(self) -> u8 {
        (self.0 + VERSIONS_MAX as u8 - 1) % VERSIONS_MAX as u8 + 2
    }
}

impl World {
    /// The first `voters` of `size` servers are the first list, which all servers know.
    pub(super) fn new(size: usize, voters: usize) -> Self {
        let mut world = Self {
            size,
            servers: Default::default(),
            voters: Default::default(),
            given_up: Set::default(),
            led: Set::default(),
            committed: List::default(),
            changes: 0,
        };
        world.make(List::default(), Set((1 << voters) - 1));
        world
    }

    pub(super) fn all(&self) -> std::ops::Range<usize> {
        0..self.size
    }

    pub(super) fn voters(&self, list: List) -> Set {
        self.voters[usize::from(list.0)]
    }

    /// The voters of the server's list.
    pub(super) fn voters_of(&self, server: usize) -> Set {
        self.voters(self.servers[server].list)
    }

    pub(super) fn make(&mut self, list: List, voters: Set) {
        self.voters[usize::from(list.0)] = voters;
    }

    /// The lists that were made, and that somebody may yet learn.
    pub(super) fn lists(&self) -> impl Iterator<Item = List> {
        let made = (0..).zip(self.voters).filter(|(_, voters)| voters.len() > 0);
        made.map(|(number, _)| List(number))
    }

    /// Forgets what can make no more difference.
    pub(super) fn tidy(&mut self) {
        let servers = &self.servers[..self.size];
        let oldest = servers.iter().map(|server| server.list).min().unwrap_or_default();
        for number in 0..LISTS_MAX as u8 {
            let list = List(number);
            let is_held = servers.iter().any(|server| server.list == list);
            if list <= oldest && list != self.committed && !is_held {
                self.voters[usize::from(number)] = Set::default();
            }
        }
        let lowest = servers.iter().map(|server| server.term).min().unwrap_or(0);
        for term in 1..=TERMS_MAX as u8 {
            let is_sought = |server: &Server| {
                server.term == term && matches!(server.role, Role::Candidate { .. })
            };
            if lowest > term {
                self.given_up.0 &= !(1 << term);
            }
            if lowest >= term && !servers.iter().any(is_sought) {
                self.led.0 &= !(1 << term);
            }
        }
    }

    /// The same with other names: `names` has the new one of each server.
    fn renamed(&self, names: &[usize]) -> Self {
        let mut image = *self;
        for (server, name) in self.servers.iter().zip(names) {
            let role = match server.role {
                Role::Follower => Role::Follower,
                Role::Candidate { votes } => Role::Candidate { votes: votes.renamed(names) },
                Role::Leader(leading) => Role::Leader(leading.renamed(names)),
            };
            image.servers[*name] = Server { role, ..*server };
        }
        image.voters = self.voters.map(|voters| voters.renamed(names));
        image
    }

    /// What distinguishes a server from others, whatever they are called.
    fn key(&self, server: usize) -> (Server, u64) {
        let it = self.servers[server];
        let role = match it.role {
            Role::Follower => Role::Follower,
            Role::Candidate { votes } => Role::Candidate { votes: Set(votes.len() as u8) },
            Role::Leader(leading) => Role::Leader(Leading {
                named: Set(leading.named.len() as u8),
                counted: Set(leading.counted.len() as u8),
                promises: Default::default(),
                floor: leading.floor,
            }),
        };
        let lists = self.voters.iter().map(|voters| voters.has(server).into());
        // Of one term there is one leader at most, and a candidate of several is told from the
        // others by what follows: there is no need to tell all apart here.
        let others = self.servers[..self.size].iter().map(|other| match other.role {
            Role::Follower => 0,
            Role::Candidate { votes } => u64::from(votes.has(server)) << (other.term * 3),
            Role::Leader(leading) => {
                let is_named = u64::from(leading.named.has(server));
                let promise = u64::from(leading.promises[server]);
                (1 + promise + 3 * is_named) << (12 + other.term * 5)
            }
        });
        let relations = others.fold(0, |sum: u64, relation| sum.wrapping_add(relation));
        let lists: u64 = lists.fold(0, |bits: u64, bit: u64| bits << 1 | bit);
        (Server { role, ..it }, relations << 16 | lists)
    }

    /// The least of its images under all renamings that put the servers' keys in order.
    fn canonical(&self) -> ([Server; SERVERS_MAX], [Set; LISTS_MAX]) {
        let keys: Vec<_> = self.all().map(|server| self.key(server)).collect();
        let mut order: Vec<usize> = self.all().collect();
        order.sort_by_key(|server| keys[*server]);
        let mut least = None;
        self.visit(&keys, &mut order, 0, &mut least);
        least.unwrap_or((self.servers, self.voters))
    }

    /// Tries all orders of the servers from `from` on whose keys are equal.
    fn visit(
        &self,
        keys: &[(Server, u64)],
        order: &mut Vec<usize>,
        from: usize,
        least: &mut Option<([Server; SERVERS_MAX], [Set; LISTS_MAX])>,
    ) {
        if from >= order.len() {
            let mut names = [0; SERVERS_MAX];
            for (name, server) in order.iter().enumerate() {
                names[*server] = name;
            }
            let image = self.renamed(&names[..self.size]);
            let image = (image.servers, image.voters);
            if least.is_none_or(|least| image < least) {
                *least = Some(image);
            }
            return;
        }
        let alike = (from..order.len()).take_while(|at| keys[order[*at]] == keys[order[from]]);
        for at in alike.collect::<Vec<_>>() {
            order.swap(from, at);
            self.visit(keys, order, from + 1, least);
            order.swap(from, at);
        }
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.canonical(), self.given_up, self.led, self.committed, self.changes).hash(hasher);
    }
}

impl Leading {
    fn renamed(&self, names: &[usize]) -> Self {
        let mut promises = [0; SERVERS_MAX];
        for (promise, name) in self.promises.iter().zip(names) {
            promises[*name] = *promise;
        }
        let (named, counted) = (self.named.renamed(names), self.counted.renamed(names));
        Self { named, counted, promises, ..*self }
    }

    /// For how many more steps a quorum of its voters is bound to it (L3, R8).
    pub(super) fn counts(&self, leader: usize) -> u8 {
        let lasts = |steps: &u8| {
            let is_bound = |server: &usize| *server == leader || self.promises[*server] >= *steps;
            let bound = (0..SERVERS_MAX).filter(is_bound).fold(Set::default(), Set::with);
            bound.is_quorum_of(self.counted)
        };
        (0..=PROMISE_MAX).rev().find(lasts).unwrap_or(0)
    }

    /// For how many more steps it has a lease.
    pub(super) fn lease(&self, leader: usize) -> u8 {
        self.floor.max(self.counts(leader))
    }
}

/// As `abd`.
impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ('a'..='h').enumerate().filter(|(member, _)| self.has(*member));
        names.map(|(_, name)| name).try_for_each(|name| write!(f, "{name}"))
    }
}

/// As `TERM.VERSION`.
impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = if self.0 == 0 { 0 } else { self.next_version() - 1 };
        write!(f, "{}.{version}", self.term())
    }
}
