//! Asking the nodes of a cluster for something, from outside (rules O1 to O5).

mod voters;

use std::time::Duration;

use graft_election_core::{
    ControlAction, ControlOutcome, ControlRequest, ControlResponse, Life, ListId, Message, NodeId,
    Round,
};
use graft_election_proto::seal::{Keys, SealFault};
use rand::TryRng;
use rand::rngs::SysRng;
use tokio::time::{Instant, timeout_at};

pub use self::voters::KnownVoters;
use crate::codec::Codec;
use crate::observer::{ClusterView, Hearsay};
use crate::transport::{Arrival, Ask, Connection};

/// How often a request is repeated that is not answered.
const REPEAT_INTERVAL: Duration = Duration::from_millis(200);

/// How often a request is made anew because another came first.
const ATTEMPTS_MAX: usize = 5;

/// Somebody who asks the nodes of a cluster for something without being one of them: to hand over,
/// to pause, to resume. Who may do that is for the medium to say: on NATS by the permission to
/// publish on `graft.<cluster>.control_request.<node>`.
///
/// It listens from the beginning, but hears only while it asks. Where the medium has no room for
/// what is left unheard, the answer to a first question after a long pause may be lost, and the
/// question is repeated.
///
/// ```
/// use graft_election::{ClusterInfo, MemoryNetwork, MemoryVotes, Node, Operator};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let network = MemoryNetwork::new();
/// let node = Node::builder(ClusterInfo::new("lamps", 1))
///     .start(network.transport(), MemoryVotes::new())
///     .await?;
///
/// let mut operator = Operator::connect(network.transport(), "lamps").await?;
/// operator.pause(&node.id()).await?;
/// assert!(node.status().is_paused);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Operator<M> {
    medium: M,
    hearsay: Hearsay,
    patience: Duration,
    /// What keeps it from hearing or asking, as far as the medium has said.
    fault: Option<Connection>,
    /// Of whom something was dropped last, and why.
    dropped: Option<(NodeId, SealFault)>,
}

/// A node, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeAnswer {
    /// The node's id.
    pub id: NodeId,
    /// Its term.
    pub term: u64,
    /// The leader of that term, as far as it knows.
    pub leader: Option<NodeId>,
    /// Whether an operator has paused it.
    pub is_paused: bool,
}

/// A leadership that has been handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandedOver {
    /// Who led.
    pub from: NodeId,
    /// Who leads now, if anyone did in time. It may be another than the one that was to lead, the
    /// former leader included, if that one failed just then.
    pub to: Option<NodeId>,
    /// The term of who leads now, or of who led.
    pub term: u64,
}

/// Why a request has come to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError<E: std::error::Error + 'static> {
    /// The medium failed.
    #[error(transparent)]
    Medium(E),
    /// The system's random source failed.
    #[error("the system's random source failed")]
    Random,
    /// Nobody answers or is heard to lead, and the medium has said why: the connection is lost, for
    /// example, or the server lets the operator not listen or not ask.
    #[error("{0}")]
    Connection(Connection),
    /// Nobody answers: the cluster has a key, and its nodes take no requests without it (rule K3).
    #[error("the cluster has a key, without which its nodes take no requests")]
    KeyMissing,
    /// Whatever was heard was dropped, since it is not sealed with the operator's key (rule K3).
    #[error("nothing that is said in the cluster is sealed with this key")]
    WrongKey,
    /// The node has not answered.
    #[error(
        "node {node} does not answer within {within:?}{}",
        dropped.map(|error| format!(": what it says is dropped: {error}")).unwrap_or_default()
    )]
    NoAnswer {
        /// Which node.
        node: NodeId,
        /// For how long it was asked.
        within: Duration,
        /// Why something was dropped that was said in its name, if anything was (rule K3).
        dropped: Option<SealFault>,
    },
    /// Nobody was heard to lead, so there is nothing to hand over.
    #[error("no leader was heard within {within:?}")]
    NoLeader {
        /// For how long.
        within: Duration,
    },
    /// The node is set to refuse what operators ask.
    #[error("node {node} refuses what operators ask")]
    Refused {
        /// Which node.
        node: NodeId,
    },
    /// The node can't take over.
    #[error(
        "node {target} can't take over: it does not answer the leader, is paused or a witness, or \
         is behind"
    )]
    UnfitTarget {
        /// Which node.
        target: NodeId,
    },
    /// The leader goes on, since nobody could take over.
    #[error(
        "{leader} goes on leading, since no follower is fit: each one that answers it is paused, a \
         witness or behind"
    )]
    NoFitFollower {
        /// Who leads.
        leader: NodeId,
    },
    /// The voters were not changed in time, or can't be (rule R7).
    #[error("the voters are not changed: {reason}")]
    VotersUnchanged {
        /// What the leader said last.
        reason: ControlOutcome,
    },
    /// The node was not heard to tell its list of voters, or has none.
    #[error("node {node} has told no list of voters")]
    NoVoters {
        /// Which node.
        node: NodeId,
    },
    /// Others asked the same node at the same time, again and again.
    #[error("others ask node {node} for something at the same time")]
    Contested {
        /// Which node.
        node: NodeId,
    },
}

type Outcome<T, M> = Result<T, OperatorError<<M as crate::transport::Listen>::Error>>;

impl<M: Ask> Operator<M> {
    /// Begins to listen to a cluster.
    ///
    /// # Errors
    ///
    /// Those of the medium.
    pub async fn connect(medium: M, cluster: &str) -> Result<Self, M::Error> {
        Self::connect_with(medium, cluster, None).await
    }

    /// Like [`connect`](Self::connect), to a cluster that has a key: its nodes take no requests
    /// from anybody else.
    ///
    /// # Errors
    ///
    /// Those of the medium.
    pub async fn connect_with_keys(
        medium: M,
        cluster: &str,
        keys: &Keys,
    ) -> Result<Self, M::Error> {
        Self::connect_with(medium, cluster, Some(keys)).await
    }

    async fn connect_with(
        mut medium: M,
        cluster: &str,
        keys: Option<&Keys>,
    ) -> Result<Self, M::Error> {
        medium.listen(cluster, &Codec::of_listener(cluster, keys)).await?;
        let (hearsay, patience) = (Hearsay::new(cluster, Instant::now()), Duration::from_secs(5));
        Ok(Self { medium, hearsay, patience, fault: None, dropped: None })
    }

    /// How long a node is asked, and waited for, at most: five seconds by default.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The cluster as it is known now.
    pub fn view(&self) -> ClusterView {
        self.hearsay.view(Instant::now())
    }

    /// Asks a node how it is.
    ///
    /// # Errors
    ///
    /// [`OperatorError::NoAnswer`] or, where it is known why, [`OperatorError::Connection`],
    /// [`OperatorError::KeyMissing`] or [`OperatorError::WrongKey`]; or that of the medium.
    pub async fn ask(&mut self, node: &NodeId) -> Outcome<NodeAnswer, M> {
        let end = Instant::now() + self.patience;
        self.question(node, end).await.map(|response| NodeAnswer {
            id: response.node,
            term: response.term,
            leader: response.leader,
            is_paused: response.is_paused,
        })
    }

    /// Keeps a node from leading until it is [resumed](Self::resume), restarts included; it goes on
    /// voting. One that leads hands over first.
    ///
    /// # Errors
    ///
    /// Any but [`OperatorError::NoLeader`], [`OperatorError::UnfitTarget`] and
    /// [`OperatorError::NoFitFollower`].
    pub async fn pause(&mut self, node: &NodeId) -> Outcome<(), M> {
        self.have(node, ControlAction::Pause).await
    }

    /// Lets a node lead again.
    ///
    /// # Errors
    ///
    /// As with [`pause`](Self::pause).
    pub async fn resume(&mut self, node: &NodeId) -> Outcome<(), M> {
        self.have(node, ControlAction::Resume).await
    }

    /// Has the leader hand over: to `to`, unless that leads already, or to whoever is fit. Waits
    /// until a later term has a leader, which is usually that node: see [`HandedOver::to`].
    ///
    /// # Errors
    ///
    /// Any of [`OperatorError`].
    pub async fn hand_over(&mut self, to: Option<&NodeId>) -> Outcome<HandedOver, M> {
        let end = Instant::now() + self.patience;
        let within = self.patience;
        for _ in 0..ATTEMPTS_MAX {
            let Some((leader, term)) = self.wait_for_leader(0, end).await? else {
                return Err(self.cause().unwrap_or(OperatorError::NoLeader { within }));
            };
            if to == Some(&leader) {
                return Ok(HandedOver { from: leader.clone(), to: Some(leader), term });
            }
            let (action, target) = (ControlAction::HandOver, to.cloned());
            let order = Order { action, term, target, list: None };
            match self.demand(&leader, &order, end).await? {
                ControlOutcome::Done => {
                    let next = self.wait_for_leader(term.saturating_add(1), end).await?;
                    let (to, term) = match next {
                        Some((to, term)) => (Some(to), term),
                        None => (None, term),
                    };
                    return Ok(HandedOver { from: leader, to, term });
                }
                ControlOutcome::UnfitTarget => {
                    return Err(match to.cloned() {
                        Some(target) => OperatorError::UnfitTarget { target },
                        None => OperatorError::NoFitFollower { leader },
                    });
                }
                ControlOutcome::Refused => return Err(OperatorError::Refused { node: leader }),
                // It has lost its leadership meanwhile. The others are about voters.
                _ => {}
            }
        }
        Err(OperatorError::NoLeader { within })
    }

    async fn have(&mut self, node: &NodeId, action: ControlAction) -> Outcome<(), M> {
        let end = Instant::now() + self.patience;
        let order = Order { action, term: 0, target: None, list: None };
        match self.demand(node, &order, end).await? {
            ControlOutcome::Done => Ok(()),
            ControlOutcome::Refused => Err(OperatorError::Refused { node: node.clone() }),
            _ => Err(OperatorError::Contested { node: node.clone() }),
        }
    }

    /// Learns where the node stands, then has it do what is asked; again if another came first
    /// (rule O4).
    async fn demand(
        &mut self,
        node: &NodeId,
        order: &Order,
        end: Instant,
    ) -> Outcome<ControlOutcome, M> {
        for _ in 0..ATTEMPTS_MAX {
            let known = self.question(node, end).await?;
            let request = order.for_node(node, round()?, known.last, Some(known.life));
            let outcome = match self.send_until_answered(&request, end).await? {
                Answer::Response(response) => response.outcome,
                Answer::Handover => ControlOutcome::Done,
            };
            if outcome != ControlOutcome::Outdated {
                return Ok(outcome);
            }
        }
        Err(OperatorError::Contested { node: node.clone() })
    }

    async fn question(&mut self, node: &NodeId, end: Instant) -> Outcome<ControlResponse, M> {
        let order = Order { action: ControlAction::Ask, term: 0, target: None, list: None };
        let request = order.for_node(node, round()?, None, None);
        loop {
            if let Answer::Response(response) = self.send_until_answered(&request, end).await? {
                return Ok(response);
            }
        }
    }

    /// Repeats a request, which changes nothing (rule O4), until it is answered.
    async fn send_until_answered(
        &mut self,
        request: &ControlRequest,
        end: Instant,
    ) -> Outcome<Answer, M> {
        while Instant::now() < end {
            self.medium.ask(request).await.map_err(OperatorError::Medium)?;
            let until = end.min(Instant::now() + REPEAT_INTERVAL);
            while let Some(message) = self.hear(until).await {
                match message {
                    Message::ControlResponse(response)
                        if response.round == request.round && response.node == request.node =>
                    {
                        return Ok(Answer::Response(response));
                    }
                    // O4: that is what a leader says first.
                    Message::Handover(handover)
                        if handover.leader == request.node && handover.term == request.term =>
                    {
                        return Ok(Answer::Handover);
                    }
                    _ => {}
                }
            }
        }
        Err(self.cause().unwrap_or_else(|| {
            let (node, within) = (request.node.clone(), self.patience);
            let dropped = self.dropped.take().filter(|(sender, _)| *sender == node);
            OperatorError::NoAnswer { node, within, dropped: dropped.map(|(_, error)| error) }
        }))
    }

    /// Why nothing is heard that was to be, if that is known.
    fn cause(&mut self) -> Option<OperatorError<M::Error>> {
        if let Some(fault) = self.fault.take() {
            return Some(OperatorError::Connection(fault));
        }
        let view = self.view();
        if view.is_unverified {
            return Some(OperatorError::KeyMissing);
        }
        let hears_others_alone = view.nodes.is_empty() && !view.unauthentic.is_empty();
        hears_others_alone.then_some(OperatorError::WrongKey)
    }

    /// Waits until somebody is heard to lead, in this term or a later one; none if nobody is.
    async fn wait_for_leader(
        &mut self,
        term_min: u64,
        end: Instant,
    ) -> Outcome<Option<(NodeId, u64)>, M> {
        loop {
            let leader = self.view().leader.filter(|leader| leader.term >= term_min);
            if let Some(leader) = leader {
                return Ok(Some((leader.id, leader.term)));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            self.hear(end).await;
        }
    }

    /// The next message, if one comes in time.
    async fn hear(&mut self, until: Instant) -> Option<Message> {
        loop {
            match timeout_at(until, self.medium.hear()).await.ok()? {
                Arrival::Message(opened) => {
                    self.hearsay.hear_opened(&opened, Instant::now());
                    return Some(opened.into_message());
                }
                Arrival::Unauthentic { sender, error } => {
                    self.hearsay.note_unauthentic(error);
                    self.dropped = sender.map(|sender| (sender, error)).or(self.dropped.take());
                }
                Arrival::Connection(Connection::Restored) => self.fault = None,
                // It works all the same.
                Arrival::Connection(Connection::Impaired(_)) | Arrival::Malformed { .. } => {}
                Arrival::Connection(fault) => self.fault = Some(fault),
            }
        }
    }
}

/// How a node answers a request.
enum Answer {
    Response(ControlResponse),
    /// It led in the named term, and no longer does.
    Handover,
}

/// What a node is to do.
struct Order {
    action: ControlAction,
    term: u64,
    target: Option<NodeId>,
    list: Option<ListId>,
}

impl Order {
    fn for_node(
        &self,
        node: &NodeId,
        round: Round,
        last: Option<Round>,
        life: Option<Life>,
    ) -> ControlRequest {
        ControlRequest {
            term: self.term,
            node: node.clone(),
            target: self.target.clone(),
            action: self.action,
            round,
            last,
            life,
            list: self.list,
            wanted: None,
        }
    }
}

/// A number that no other operator draws.
fn round<E: std::error::Error + 'static>() -> Result<Round, OperatorError<E>> {
    loop {
        let number = SysRng.try_next_u32().map_err(|_| OperatorError::Random)?;
        if let Some(round) = Round::new(number) {
            return Ok(round);
        }
    }
}
