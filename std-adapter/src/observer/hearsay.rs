//! What somebody who only listens makes of what is said.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use graft_election_core::{
    Config, HeartbeatResponse, LeaderValue, Life, ListId, Message, Mode, NodeId, TERM_END,
    VoteRequest,
};
use graft_election_proto::seal::SealFault;
use tokio::time::Instant;

use super::view::{ClusterView, Disagreement, LeaderView, NodeView, ObservedRole};
use crate::codec::Opened;
use crate::transport::ConnectionState;

/// How many nodes are remembered; the one that was heard longest ago makes room for another.
const NODES_MAX: usize = 128;

/// How long a silent node is remembered.
const MEMORY: Duration = Duration::from_secs(600);

/// For how long what a node said is compared with what others say, and its seals are remembered.
const RECENT: Duration = Duration::from_secs(10);

/// How many heartbeats are remembered for their acknowledgements.
const BEATS_MAX: usize = 64;

/// How many lives of one id are remembered.
const LIVES_MAX: usize = 4;

/// How often an earlier life must come back before it is another process, and not a late message.
const RETURNS_MIN: u32 = 2;

/// All that was heard in a cluster.
#[derive(Debug)]
pub(crate) struct Hearsay {
    cluster: String,
    /// Since when all that is said can be heard, if it can.
    listening_since: Option<Instant>,
    term: u64,
    leading: Option<Leading>,
    nodes: BTreeMap<NodeId, Heard>,
    /// How many messages were dropped for their seals.
    unauthentic: BTreeMap<SealFault, u64>,
}

/// A leader, as long as nobody of a higher term is heard to lead.
#[derive(Debug)]
struct Leading {
    id: NodeId,
    term: u64,
    began_at: Instant,
    began_here: bool,
    heard_at: Instant,
    size: Option<u32>,
    value: LeaderValue,
    /// When its heartbeats were heard, by what they are to be echoed with.
    beats: VecDeque<(u64, Instant)>,
    /// For each follower, until when its last promise holds.
    promises: BTreeMap<NodeId, Instant>,
    /// Who else says that it leads in this term.
    rivals: BTreeMap<NodeId, Instant>,
    /// It has said that it leads no longer.
    is_over: bool,
}

#[derive(Debug)]
struct Heard {
    role: ObservedRole,
    /// None until it has said something that tells its term.
    term: Option<u64>,
    /// The last term in which it was heard to ask for votes.
    campaigned_in: Option<u64>,
    heard_at: Instant,
    acknowledged_in: Option<Duration>,
    priority: Option<u32>,
    size: Option<u32>,
    /// None until it has said something that would name its list.
    list: Option<Option<ListId>>,
    election_timeout_min: Option<Duration>,
    mode: Option<Mode>,
    is_go: bool,
    is_paused: bool,
    /// When it last said something whose seal can't be checked here.
    unverified_at: Option<Instant>,
    lives: VecDeque<Life>,
    /// How often an earlier life came back, and when that was last.
    returns: u32,
    returned_at: Option<Instant>,
}

impl Hearsay {
    pub(crate) fn new(cluster: &str, now: Instant) -> Self {
        Self {
            cluster: cluster.to_owned(),
            listening_since: Some(now),
            term: 0,
            leading: None,
            nodes: BTreeMap::new(),
            unauthentic: BTreeMap::new(),
        }
    }

    /// Notes whether what is said can be heard from now on. What is said meanwhile is missed.
    pub(crate) fn note_connection(&mut self, state: ConnectionState, now: Instant) {
        if state == ConnectionState::Connected {
            self.listening_since.get_or_insert(now);
            return;
        }
        self.listening_since = None;
        for node in self.nodes.values_mut() {
            node.campaigned_in = None;
        }
    }

    /// Takes in what was said by others.
    pub(crate) fn hear_opened(&mut self, opened: &Opened, now: Instant) {
        self.hear(opened, now);
        self.note_unverified(opened, now);
    }

    /// Notes if what was said has a seal that can't be checked here.
    pub(crate) fn note_unverified(&mut self, opened: &Opened, now: Instant) {
        let known = opened.sender().and_then(|sender| self.nodes.get_mut(sender));
        if let Some(node) = known.filter(|_| opened.is_unverified()) {
            node.unverified_at = Some(now);
        }
    }

    /// Counts what was dropped for its seal.
    pub(crate) fn note_unauthentic(&mut self, error: SealFault) {
        *self.unauthentic.entry(error).or_default() += 1;
    }

    /// Takes in what was said. No node believes a term that is out of range (rule T4).
    ///
    /// Returns how long after a heartbeat it was heard, if it is an acknowledgement of one.
    pub(crate) fn hear(&mut self, message: &Message, now: Instant) -> Option<Duration> {
        if message.term() >= TERM_END {
            return None;
        }
        let term = term_of_sender(message);
        self.term = self.term.max(term.unwrap_or_default());
        if let Some(sender) = message.sender() {
            let node = self.node(sender, now);
            node.heard_at = now;
            node.term = node.term.max(term);
            node.note_list(message);
            node.note_life(life_of(message), now);
            node.mode = mode_of(message).or(node.mode);
        }
        match message {
            Message::Heartbeat(heartbeat) => {
                let size = heartbeat.size.map(u32::from);
                self.note_role(&heartbeat.leader, ObservedRole::Leader, size, now);
                self.note_leader(&heartbeat.leader, heartbeat.term, now);
                if let Some(leading) = self.leads(heartbeat.term) {
                    leading.size = size;
                    leading.value = heartbeat.value.clone();
                    leading.beats.extend(heartbeat.sent_at.map(|sent_at| (sent_at.get(), now)));
                    if leading.beats.len() > BEATS_MAX {
                        leading.beats.pop_front();
                    }
                }
            }
            Message::HeartbeatResponse(response) => return self.note_response(response, now),
            Message::VoteRequest(request) => {
                self.note_campaign(request, ObservedRole::Candidate, now);
                self.node(&request.candidate, now).campaigned_in = Some(request.term);
            }
            Message::PreVoteRequest(request) => {
                self.note_campaign(request, ObservedRole::PreCandidate, now);
            }
            Message::Handover(handover) => {
                self.node(&handover.leader, now).role = ObservedRole::Follower;
                if let Some(leading) = self.leads(handover.term) {
                    leading.is_over |= leading.id == handover.leader;
                }
            }
            Message::ControlResponse(response) => {
                self.node(&response.node, now).is_paused = response.is_paused;
            }
            Message::VoteResponse(_)
            | Message::PreVoteResponse(_)
            | Message::Who(_)
            | Message::Here(_)
            | Message::ControlRequest(_)
            | Message::ListRequest(_)
            | Message::ListPart(_) => {}
        }
        None
    }

    /// Forgets who was silent for long, and a leader that was.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.nodes.retain(|_, node| now - node.heard_at < MEMORY);
    }

    /// The cluster as it is known now.
    pub(crate) fn view(&self, now: Instant) -> ClusterView {
        let leader = self.leading.as_ref().filter(|it| self.is_leading(it, now));
        ClusterView {
            cluster: self.cluster.clone(),
            term: self.term,
            has_listened: self.has_listened_since(None, now),
            leader: leader.map(|leading| LeaderView {
                id: leading.id.clone(),
                term: leading.term,
                value: leading.value.clone(),
                led_for: now - leading.began_at,
                began_here: leading.began_here,
                lease_left: leading.lease_end().map(|end| end.saturating_duration_since(now)),
            }),
            nodes: self.nodes.iter().map(|(id, node)| self.view_of(id, node, now)).collect(),
            disagreements: self.disagreements(now),
            is_unverified: self.is_unverified(now),
            unauthentic: self.unauthentic.clone(),
        }
    }

    fn is_unverified(&self, now: Instant) -> bool {
        let mut sealed_at = self.nodes.values().filter_map(|node| node.unverified_at);
        sealed_at.any(|at| now - at < RECENT)
    }

    fn view_of(&self, id: &NodeId, node: &Heard, now: Instant) -> NodeView {
        let silent_for = now - node.heard_at;
        NodeView {
            id: id.clone(),
            role: node.role,
            term: node.term,
            silent_for,
            is_silent: silent_for >= self.silence_max(),
            acknowledged_in: node.acknowledged_in,
            priority: node.priority,
            size: node.size,
            list: node.list.flatten(),
            election_timeout_min: node.election_timeout_min,
            mode: node.mode,
            is_go: node.is_go,
            is_paused: node.is_paused,
        }
    }

    /// When the view changes next though nothing is said: somebody is silent for too long.
    pub(crate) fn next_silence(&self, now: Instant) -> Option<Instant> {
        let silence_max = self.silence_max();
        let leader = self.leading.as_ref().filter(|it| !it.is_over).map(|it| self.end_of(it));
        let nodes = self.nodes.values().map(|node| node.heard_at + silence_max);
        leader.into_iter().chain(nodes).filter(|at| *at > now).min()
    }

    fn node(&mut self, id: &NodeId, now: Instant) -> &mut Heard {
        if self.nodes.len() >= NODES_MAX && !self.nodes.contains_key(id) {
            let longest_ago = self.nodes.iter().min_by_key(|(_, node)| node.heard_at);
            if let Some(id) = longest_ago.map(|(id, _)| id.clone()) {
                self.nodes.remove(&id);
            }
        }
        self.nodes.entry(id.clone()).or_insert_with(|| Heard::new(now))
    }

    fn note_role(&mut self, id: &NodeId, role: ObservedRole, size: Option<u32>, now: Instant) {
        let node = self.node(id, now);
        node.role = role;
        // Whoever campaigns or leads isn't.
        node.is_paused = false;
        // Go nodes don't say how many voters there are.
        node.is_go = size.is_none();
        node.size = size.or(node.size);
    }

    fn note_campaign(&mut self, request: &VoteRequest, role: ObservedRole, now: Instant) {
        self.note_role(&request.candidate, role, request.size.map(u32::from), now);
    }

    /// The beginning was heard if the leader was heard to campaign, or if there was time to hear it
    /// under another leader, and only that one was heard. Anything else may come from somebody who
    /// has missed a term, or doesn't say which one it is in.
    fn note_leader(&mut self, id: &NodeId, term: u64, now: Instant) {
        let led_at = self.leading.as_ref().map(|before| before.began_at);
        let is_heard_long = led_at.is_some() && self.has_listened_since(led_at, now);
        match &mut self.leading {
            Some(leading) if leading.term > term => {}
            Some(leading) if leading.term == term && leading.id == *id => leading.heard_at = now,
            Some(leading) if leading.term == term => {
                note_instant(&mut leading.rivals, id, now);
            }
            before => {
                let has_campaigned =
                    self.nodes.get(id).is_some_and(|node| node.campaigned_in == Some(term));
                let began_here = has_campaigned || is_heard_long;
                *before = Some(Leading {
                    id: id.clone(),
                    term,
                    began_at: now,
                    began_here,
                    heard_at: now,
                    size: None,
                    value: LeaderValue::EMPTY,
                    beats: VecDeque::new(),
                    promises: BTreeMap::new(),
                    rivals: BTreeMap::new(),
                    is_over: false,
                });
            }
        }
    }

    fn note_response(&mut self, response: &HeartbeatResponse, now: Instant) -> Option<Duration> {
        let is_go = response.round.is_none() && response.life.is_none();
        let bound_for = response.bound_for.map(|bound| Duration::from_micros(bound.get()));
        let answered = self.leads(response.term).map(|leading| {
            let is_it =
                |(sent_at, _): &&(u64, Instant)| Some(*sent_at) == response.sent_at.map(u64::from);
            let beat_at = leading.beats.iter().find(is_it).map(|(_, at)| *at);
            if let (Some(beat_at), Some(bound_for)) = (beat_at, bound_for) {
                let lasts = bound_for * (100 - u32::from(Config::CLOCK_DRIFT_PERCENT)) / 100;
                note_instant(&mut leading.promises, &response.follower, beat_at + lasts);
            }
            beat_at
        });
        let node = self.node(&response.follower, now);
        node.is_go = is_go;
        node.is_paused = response.is_paused;
        node.priority = (!is_go).then_some(response.priority);
        node.election_timeout_min = bound_for.or(node.election_timeout_min);
        if let Some(beat_at) = answered {
            node.role = ObservedRole::Follower;
            node.acknowledged_in = beat_at.map(|at| now - at).or(node.acknowledged_in);
        }
        answered.flatten().map(|at| now - at)
    }

    /// The leader of this term.
    fn leads(&mut self, term: u64) -> Option<&mut Leading> {
        self.leading.as_mut().filter(|leading| leading.term == term)
    }

    fn is_leading(&self, leading: &Leading, now: Instant) -> bool {
        !leading.is_over && now < self.end_of(leading)
    }

    /// When a leader that is silent from now on leads no longer.
    fn end_of(&self, leading: &Leading) -> Instant {
        leading.lease_end().unwrap_or(leading.heard_at).max(leading.heard_at + self.patience())
    }

    /// How long a node that is there may be silent: what a few attempts at an election take.
    fn silence_max(&self) -> Duration {
        4 * self.patience()
    }

    /// Whether a leader would have been heard by now, also if only what was said since this instant
    /// counts.
    fn has_listened_since(&self, instant: Option<Instant>, now: Instant) -> bool {
        let since = self.listening_since.map(|since| instant.map_or(since, |it| it.max(since)));
        since.is_some_and(|since| now - since >= self.patience())
    }

    /// The longest of the least election timeouts that were heard, or Go's.
    fn patience(&self) -> Duration {
        let timeouts = self.nodes.values().filter_map(|node| node.election_timeout_min);
        timeouts.max().unwrap_or(Config::ELECTION_TIMEOUT_MIN)
    }

    fn disagreements(&self, now: Instant) -> BTreeSet<Disagreement> {
        let is_recent = |at: Instant| now - at < RECENT;
        let recent: Vec<_> =
            self.nodes.iter().filter(|(_, node)| is_recent(node.heard_at)).collect();
        let sizes: BTreeSet<u32> = recent.iter().filter_map(|(_, node)| node.size).collect();
        let lists: BTreeSet<_> =
            recent.iter().filter_map(|(_, node)| node.list).map(key_of_list).collect();
        let timeouts: BTreeSet<Duration> =
            recent.iter().filter_map(|(_, node)| node.election_timeout_min).collect();
        let mut found = BTreeSet::new();
        found.extend((sizes.len() > 1).then_some(Disagreement::Sizes(sizes)));
        found.extend((lists.len() > 1).then_some(Disagreement::Lists));
        found.extend((timeouts.len() > 1).then_some(Disagreement::ElectionTimeouts(timeouts)));
        if let Some(leading) = &self.leading {
            let rivals = leading.rivals.iter().filter(|(_, at)| is_recent(**at));
            let mut leaders: BTreeSet<NodeId> = rivals.map(|(id, _)| id.clone()).collect();
            if !leaders.is_empty() {
                leaders.insert(leading.id.clone());
                found.insert(Disagreement::Leaders(leaders));
            }
        }
        let is_double =
            |node: &Heard| node.returns >= RETURNS_MIN && node.returned_at.is_some_and(is_recent);
        let doubles = recent.iter().filter(|(_, node)| is_double(node));
        found.extend(doubles.map(|(id, _)| Disagreement::DuplicateId((*id).clone())));
        found
    }
}

impl Leading {
    /// When its lease ends, if no more acknowledgements come: when the last promise ends of which a
    /// quorum needs all later ones.
    fn lease_end(&self) -> Option<Instant> {
        // It needs no promise of its own.
        let needed = usize::try_from(self.size?).ok()? / 2;
        let mut ends: Vec<Instant> = self.promises.values().copied().collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        ends.get(needed.checked_sub(1)?).copied()
    }
}

impl Heard {
    fn new(now: Instant) -> Self {
        Self {
            role: ObservedRole::Unknown,
            term: None,
            campaigned_in: None,
            heard_at: now,
            acknowledged_in: None,
            priority: None,
            size: None,
            list: None,
            election_timeout_min: None,
            mode: None,
            is_go: false,
            is_paused: false,
            unverified_at: None,
            lives: VecDeque::new(),
            returns: 0,
            returned_at: None,
        }
    }

    fn note_list(&mut self, message: &Message) {
        let names_lists =
            !matches!(message, Message::Handover(_) | Message::Who(_) | Message::Here(_));
        if names_lists {
            self.list = Some(message.list());
        }
    }

    fn note_life(&mut self, life: Option<Life>, now: Instant) {
        let Some(life) = life.filter(|life| self.lives.back() != Some(life)) else { return };
        if self.lives.contains(&life) {
            self.returns = self.returns.saturating_add(1);
            self.returned_at = Some(now);
            self.lives.retain(|it| *it != life);
        }
        self.lives.push_back(life);
        if self.lives.len() > LIVES_MAX {
            self.lives.pop_front();
        }
    }
}

/// Remembers an instant for this node, unless too many nodes have been made up.
fn note_instant(instants: &mut BTreeMap<NodeId, Instant>, id: &NodeId, at: Instant) {
    if instants.len() < NODES_MAX || instants.contains_key(id) {
        instants.insert(id.clone(), at);
    }
}

/// The term that the sender is in, if the message tells: whoever asks for pre-votes is in the one
/// before that which it proposes (rule C1), and a question of identity names none.
fn term_of_sender(message: &Message) -> Option<u64> {
    match message {
        Message::PreVoteRequest(request) => request.term.checked_sub(1),
        Message::Who(_)
        | Message::Here(_)
        | Message::ControlRequest(_)
        | Message::ListRequest(_)
        | Message::ListPart(_) => None,
        Message::VoteRequest(_)
        | Message::VoteResponse(_)
        | Message::Heartbeat(_)
        | Message::HeartbeatResponse(_)
        | Message::PreVoteResponse(_)
        | Message::Handover(_)
        | Message::ControlResponse(_) => Some(message.term()),
    }
}

fn life_of(message: &Message) -> Option<Life> {
    match message {
        Message::VoteResponse(response) => response.life,
        Message::HeartbeatResponse(response) => response.life,
        Message::PreVoteResponse(response) => response.life,
        Message::Who(identity) | Message::Here(identity) => Some(identity.life),
        Message::ControlResponse(response) => Some(response.life),
        Message::ListRequest(request) => Some(request.life),
        Message::VoteRequest(_)
        | Message::PreVoteRequest(_)
        | Message::Heartbeat(_)
        | Message::Handover(_)
        | Message::ListPart(_)
        | Message::ControlRequest(_) => None,
    }
}

/// The mode in which its sender runs, if it shows: only leaders of Extended mode ask for promises.
fn mode_of(message: &Message) -> Option<Mode> {
    match message {
        Message::Heartbeat(heartbeat) if heartbeat.sent_at.is_some() => Some(Mode::Extended),
        Message::Heartbeat(_) => Some(Mode::Graft),
        Message::PreVoteRequest(_) => Some(Mode::Extended),
        _ => None,
    }
}

/// A list in an order of its own.
fn key_of_list(list: Option<ListId>) -> Option<(u64, u32)> {
    list.map(|list| (list.term, list.version))
}
