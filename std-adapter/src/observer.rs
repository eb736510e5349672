//! Seeing a cluster from outside.

mod hearsay;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use graft_election_core::{LeaderValue, NodeId};
use graft_election_proto::seal::{Keys, SealFault};
use tokio::time::{Instant, sleep_until};

pub(crate) use self::hearsay::Hearsay;
pub use self::view::{ClusterView, Disagreement, LeaderView, NodeView, ObservedRole};
use crate::codec::Codec;
use crate::news::News;
use crate::transport::{Arrival, Connection, Listen};

/// How many names are remembered in which something was said that isn't sealed right: whoever
/// forges messages invents any.
const UNAUTHENTIC_MAX: usize = 128;

/// Somebody who listens to a cluster without being one of its nodes: it has no id and no vote, and
/// says nothing, so that any number of them may be anywhere.
///
/// It knows who leads from what the leader says. So it may be late, and it must not be taken for a
/// lease: whoever acts as the leader is a node.
///
/// ```
/// use graft_election::{ClusterInfo, MemoryNetwork, MemoryVotes, Node, Observation, Observer};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let network = MemoryNetwork::new();
/// let mut observer = Observer::connect(network.transport(), "lamps").await?;
/// let node = Node::builder(ClusterInfo::new("lamps", 1))
///     .start(network.transport(), MemoryVotes::new())
///     .await?;
///
/// let leader = loop {
///     if let Observation::LeaderChanged { leader: Some(leader), .. } = observer.next().await {
///         break leader;
///     }
/// };
/// assert_eq!(leader, node.id());
/// assert_eq!(observer.view().leader.map(|leader| leader.term), Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Observer<L> {
    medium: L,
    hearsay: Hearsay,
    known: Known,
    news: VecDeque<Observation>,
    began_at: Instant,
    /// The impairments that were told.
    impairments: News,
}

/// What an observer notices.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Observation {
    /// Another node leads than before, or the same in another term or with another value, or none.
    LeaderChanged {
        /// Who leads.
        leader: Option<NodeId>,
        /// The leader's term; without a leader, the highest that was heard.
        term: u64,
        /// What the leader says beside that it leads (rule L7); empty without a leader.
        value: LeaderValue,
    },
    /// A node is heard for the first time, or has another role, or has fallen silent.
    NodeChanged {
        /// Which one.
        id: NodeId,
        /// What it does now; `None` if nothing is heard of it.
        role: Option<ObservedRole>,
    },
    /// Something differs among the nodes that must not.
    Disagreement(Disagreement),
    /// Nodes seal what they say with a key that this observer doesn't have: from here on its view
    /// is [unverified](ClusterView::is_unverified).
    Unverified,
    /// A message was dropped since it isn't sealed as the cluster's key demands (rule K3); told
    /// once of each name. Only an observer that has the key notices.
    Unauthentic {
        /// In whose name it was said, if it names anybody.
        sender: Option<NodeId>,
        /// What is wrong with it.
        error: SealFault,
    },
    /// The observer's connection has changed. The same impairment is told once in ten seconds.
    Connection(Connection),
}

/// What was told already.
#[derive(Debug, Default)]
struct Known {
    leader: Option<(NodeId, u64, LeaderValue)>,
    roles: BTreeMap<NodeId, Option<ObservedRole>>,
    disagreements: BTreeSet<Disagreement>,
    is_unverified: bool,
    unauthentic: BTreeSet<(Option<NodeId>, SealFault)>,
}

impl<L: Listen> Observer<L> {
    /// Begins to listen to a cluster.
    ///
    /// # Errors
    ///
    /// Those of the medium: on one machine, that no node of the cluster has ever run there.
    pub async fn connect(medium: L, cluster: &str) -> Result<Self, L::Error> {
        Self::connect_with(medium, cluster, None).await
    }

    /// Like [`connect`](Self::connect), to a cluster that has a key: what isn't sealed with it is
    /// not believed. Without the key an observer hears such a cluster, too, and believes whatever
    /// is said in its name; its view says that it [is
    /// unverified](ClusterView::is_unverified).
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect).
    pub async fn connect_with_keys(
        medium: L,
        cluster: &str,
        keys: &Keys,
    ) -> Result<Self, L::Error> {
        Self::connect_with(medium, cluster, Some(keys)).await
    }

    async fn connect_with(
        mut medium: L,
        cluster: &str,
        keys: Option<&Keys>,
    ) -> Result<Self, L::Error> {
        medium.listen(cluster, &Codec::of_listener(cluster, keys)).await?;
        let began_at = Instant::now();
        let hearsay = Hearsay::new(cluster, began_at);
        let (known, news, impairments) = Default::default();
        Ok(Self { medium, hearsay, known, news, began_at, impairments })
    }

    /// The cluster as it is known now.
    pub fn view(&self) -> ClusterView {
        self.hearsay.view(Instant::now())
    }

    /// Waits for what changes next. While nobody does, nothing is heard, and what is said is lost
    /// once the medium has no more room for it. Cancel-safe.
    pub async fn next(&mut self) -> Observation {
        loop {
            if let Some(observation) = self.news.pop_front() {
                return observation;
            }
            let silence = self.hearsay.next_silence(Instant::now());
            tokio::select! {
                arrival = self.medium.hear() => match arrival {
                    Arrival::Message(opened) => {
                        self.hearsay.hear_opened(&opened, Instant::now());
                    }
                    Arrival::Unauthentic { sender, error } => {
                        self.note_unauthentic(sender, error);
                        continue;
                    }
                    Arrival::Connection(change) => {
                        if self.note_connection(&change) {
                            return Observation::Connection(change);
                        }
                        continue;
                    }
                    Arrival::Malformed { .. } => continue,
                },
                () = until(silence) => {}
            }
            self.compare();
        }
    }

    /// Whether a change of the connection is told: an impairment may last, and show at any time.
    fn note_connection(&mut self, change: &Connection) -> bool {
        let now = Instant::now();
        if let Some(state) = change.state() {
            self.hearsay.note_connection(state, now);
        }
        let Connection::Impaired(_) = change else { return true };
        let micros = u64::try_from((now - self.began_at).as_micros()).unwrap_or(u64::MAX);
        let now = graft_election_core::Instant::from_micros(micros);
        self.impairments.remember(now, change.to_string())
    }

    fn note_unauthentic(&mut self, sender: Option<NodeId>, error: SealFault) {
        self.hearsay.note_unauthentic(error);
        let known = &mut self.known.unauthentic;
        if known.len() < UNAUTHENTIC_MAX && known.insert((sender.clone(), error)) {
            self.news.push_back(Observation::Unauthentic { sender, error });
        }
    }

    /// Looks for what is new since the last time.
    fn compare(&mut self) {
        let now = Instant::now();
        self.hearsay.forget(now);
        let view = self.hearsay.view(now);
        let leader = view.leader.map(|leader| (leader.id, leader.term, leader.value));
        let nodes = view.nodes.into_iter();
        let roles = nodes.map(|node| (node.id, Some(node.role).filter(|_| !node.is_silent)));
        let now_known = Known {
            leader,
            roles: roles.collect(),
            disagreements: view.disagreements,
            is_unverified: view.is_unverified,
            unauthentic: std::mem::take(&mut self.known.unauthentic),
        };
        let before = std::mem::replace(&mut self.known, now_known);
        if before.leader != self.known.leader {
            let (leader, term, value) = match self.known.leader.clone() {
                Some((leader, term, value)) => (Some(leader), term, value),
                None => (None, view.term, LeaderValue::EMPTY),
            };
            self.news.push_back(Observation::LeaderChanged { leader, term, value });
        }
        for (id, role) in &self.known.roles {
            if before.roles.get(id) != Some(role) {
                self.news.push_back(Observation::NodeChanged { id: id.clone(), role: *role });
            }
        }
        let found = self.known.disagreements.difference(&before.disagreements);
        self.news.extend(found.cloned().map(Observation::Disagreement));
        if self.known.is_unverified && !before.is_unverified {
            self.news.push_back(Observation::Unverified);
        }
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
