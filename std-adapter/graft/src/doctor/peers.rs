//! The nodes that are heard: who uses which id, what they differ in, and how soon they answer.

use std::collections::BTreeSet;
use std::time::Instant;

use graft_election::{
    ClusterView, Connection, NodeAnswer, NodeId, Observation, Operator, OperatorError, SealFault,
};
use tokio::time::timeout_at;

use super::finding::Finding;
use super::{DoctorArgs, settings};
use crate::medium::{Access, Medium, MediumError};
use crate::seen::UNVERIFIED;

const KEY_ADVICE: &str = "give the cluster's key with --key-file";

/// What was heard of a cluster.
#[derive(Debug)]
pub(super) struct Heard {
    view: ClusterView,
    /// Who said something that the cluster's key doesn't vouch for.
    unauthentic: Vec<(Option<NodeId>, SealFault)>,
    /// What has kept it from hearing more.
    pub(super) fault: Option<Connection>,
}

/// Listens for all of the time: whoever disagrees may speak last.
pub(super) async fn hear(access: Access, doctor: &DoctorArgs) -> Result<Heard, MediumError> {
    let end = tokio::time::Instant::now() + doctor.wait;
    let mut observer = access.observe(&doctor.cluster).await?;
    let (mut unauthentic, mut fault) = (Vec::new(), None);
    while let Ok(news) = timeout_at(end, observer.next()).await {
        match news {
            Observation::Unauthentic { sender, error } => unauthentic.push((sender, error)),
            Observation::Connection(Connection::Restored) => fault = None,
            Observation::Connection(Connection::Impaired(_)) => {}
            Observation::Connection(change) => fault = Some(change),
            _ => {}
        }
    }
    Ok(Heard { view: observer.view(), unauthentic, fault })
}

/// Judges what was heard, and asks each node that was heard, or is known otherwise. The operator
/// has just begun to listen: one that is left unheard for long misses its first answer.
pub(super) async fn examine(
    heard: &Heard,
    mut operator: Operator<Medium>,
    known: BTreeSet<NodeId>,
    doctor: &DoctorArgs,
) -> Vec<Finding> {
    let Heard { view, unauthentic, .. } = heard;
    let mut findings = Vec::new();
    let mut silent = ask_silent(&mut operator, known, view).await;
    if let Some(id) = &doctor.id {
        let answered = operator.ask(id).await;
        findings.push(examine_id(id, &answered));
        silent.extend(answered.ok().filter(|answer| !is_heard(view, &answer.id)));
    }
    if view.nodes.is_empty() && !unauthentic.is_empty() {
        let text = "nothing that is said in the cluster is sealed with this key";
        findings.push(Finding::failure("key", text, KEY_ADVICE));
        return findings;
    }
    findings.extend(unauthentic.iter().map(|(sender, error)| without_key(sender, *error)));
    if view.nodes.is_empty() && silent.is_empty() {
        let advice = "that is right before the first node starts; else check the cluster's name, \
                      and resume paused nodes, which say nothing while nobody leads";
        findings.push(Finding::warning("nodes", "nobody is heard", advice));
        return findings;
    }
    findings.extend(examine_key(view));
    findings.extend(examine_leader(view, &silent));
    findings.extend(settings::examine_differences(view));
    findings.extend(settings::examine_fit(view, doctor));
    let silent: Vec<_> = silent.iter().map(|answer| answer.id.as_str()).collect();
    findings.extend(settings::examine_presence(view, &silent, doctor));
    findings.extend(examine_round_trips(&mut operator, view, doctor).await);
    findings
}

fn is_heard(view: &ClusterView, id: &NodeId) -> bool {
    view.nodes.iter().any(|node| node.id == *id)
}

/// Asks those of whom nothing was heard: a paused node says nothing by itself where nobody leads.
async fn ask_silent(
    operator: &mut Operator<Medium>,
    known: BTreeSet<NodeId>,
    view: &ClusterView,
) -> Vec<NodeAnswer> {
    let mut answers = Vec::new();
    for id in known.into_iter().filter(|id| !is_heard(view, id)) {
        match operator.ask(&id).await {
            Ok(answer) => answers.push(answer),
            Err(OperatorError::NoAnswer { .. }) => {}
            // The others would not hear it either.
            Err(_) => break,
        }
    }
    answers
}

/// Whether what is heard can be believed.
fn examine_key(view: &ClusterView) -> Option<Finding> {
    view.is_unverified.then(|| Finding::warning("key", UNVERIFIED, KEY_ADVICE))
}

/// Who says something that the cluster's key doesn't vouch for.
fn without_key(sender: &Option<NodeId>, error: SealFault) -> Finding {
    let who = sender.as_ref().map_or("somebody", NodeId::as_str);
    let (text, advice) = match error {
        SealFault::Unsealed => (
            format!("{who} speaks without the cluster's key"),
            "give it the key with --key-file; if it has one, somebody else uses its name",
        ),
        SealFault::WrongSeal => (
            format!("what {who} says is not sealed with the cluster's key"),
            "give all nodes the same key; if they have it, somebody forges messages",
        ),
        SealFault::Replayed | SealFault::EarlierLife => (
            format!("what {who} said is heard again: {error}"),
            "find who replays it; if its vote file was restored, give it a new id",
        ),
    };
    Finding::failure("key", text, advice)
}

/// Whoever answers in the node's name is another process.
fn examine_id(id: &NodeId, answered: &Result<NodeAnswer, OperatorError<MediumError>>) -> Finding {
    match answered {
        Err(error) if may_not_ask(error) => Finding::warning(
            "id",
            format!("whether a process has the id {id} is not known: this login may not ask it"),
            format!("use the login of {id}"),
        ),
        Ok(answer) => Finding::failure(
            "id",
            match answer.is_paused {
                true => format!("a process with the id {id} runs already, and is paused"),
                false => format!("a process with the id {id} runs already"),
            },
            "each node needs an id and a vote file of its own; stop that one, if it is meant",
        ),
        Err(OperatorError::NoAnswer { dropped: None, .. }) => {
            Finding::fine("id", format!("nobody else answers to the id {id}"))
        }
        Err(error) => Finding::warning(
            "id",
            format!("whether a process has the id {id} is not known: {error}"),
            advice_on(error),
        ),
    }
}

fn examine_leader(view: &ClusterView, silent: &[NodeAnswer]) -> Vec<Finding> {
    let heard = view.nodes.iter().filter(|node| node.is_paused).map(|node| &node.id);
    let paused = heard.chain(silent.iter().filter(|it| it.is_paused).map(|it| &it.id));
    let mut findings = vec![match &view.leader {
        Some(leader) => {
            Finding::fine("leader", format!("{} leads in term {}", leader.id, leader.term))
        }
        None => Finding::failure(
            "leader",
            "nobody leads",
            "see that more than half of the voters run, hear each other, and aren't all paused",
        ),
    }];
    findings.extend(paused.map(|id| {
        let text = format!("{id} is kept from leading");
        Finding::warning("paused", text, "graft resume, unless its own check fails")
    }));
    findings
}

/// How long each node takes to answer an operator.
async fn examine_round_trips(
    operator: &mut Operator<Medium>,
    view: &ClusterView,
    doctor: &DoctorArgs,
) -> Vec<Finding> {
    let max = doctor.round_trip_max(view);
    let mut findings = Vec::new();
    for node in view.nodes.iter().filter(|node| !node.is_go && !node.is_silent) {
        let began = Instant::now();
        let answered = operator.ask(&node.id).await;
        let took = began.elapsed();
        findings.push(match answered {
            Err(error) if may_not_ask(&error) => {
                let text = "how soon nodes answer is not known: this login may not ask them, which \
                            a voter's need not";
                // The others would not hear it either.
                return vec![Finding::fine("round_trip", text)];
            }
            Ok(_) if took <= max => {
                Finding::fine("round_trip", format!("{} answers in {took:.1?}", node.id))
            }
            Ok(_) => Finding::warning(
                "round_trip",
                format!("{} answers in {took:.1?}, more than a tenth of T_min, {max:?}", node.id),
                "take longer election timeouts on all nodes, or a faster network",
            ),
            Err(error @ OperatorError::NoAnswer { .. }) => {
                Finding::warning("round_trip", &error, advice_on(&error))
            }
            Err(error) => {
                let text = format!("how soon nodes answer is not known: {error}");
                return vec![Finding::warning("round_trip", text, advice_on(&error))];
            }
        });
    }
    findings
}

/// What to do about a question that is not answered.
fn advice_on<E: std::error::Error>(error: &OperatorError<E>) -> &'static str {
    match error {
        OperatorError::KeyMissing | OperatorError::WrongKey => KEY_ADVICE,
        OperatorError::NoAnswer { dropped: Some(_), .. } => "give all nodes the cluster's key",
        OperatorError::NoAnswer { .. } => "it may be busy with its disk, or stopped",
        _ => "see that this machine stays connected, and may ask nodes",
    }
}

/// Whether the server has kept the question back, as it does from those who are no operators.
fn may_not_ask<E: std::error::Error>(error: &OperatorError<E>) -> bool {
    let OperatorError::Connection(Connection::Partial(words)) = error else { return false };
    words.contains("Permissions Violation for Publish")
}
