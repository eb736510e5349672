//! The nodes that are heard: who uses which id, what they differ in, and how soon they answer.

use std::time::Instant;

use graft_election::{
    ClusterView, Connection, Disagreement, NodeId, Observation, Operator, OperatorError, SealFault,
};
use tokio::time::timeout_at;

use super::DoctorArgs;
use super::finding::Finding;
use crate::medium::Medium;
use crate::seen::UNVERIFIED;
use crate::status::listen;

/// Listens to the cluster, then asks each node that was heard.
pub(super) async fn examine(mut operator: Operator<Medium>, doctor: &DoctorArgs) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(examine_id(&mut operator, doctor).await);
    let (view, unauthentic) = hear(doctor).await.unzip();
    findings.extend(unauthentic.unwrap_or_default());
    let Some(view) = view.filter(|view| !view.nodes.is_empty()) else {
        let advice = "that is right before the first node starts; else check the cluster's name";
        findings.push(Finding::warning("nodes", "nobody is heard", advice));
        return findings;
    };
    findings.extend(examine_key(&view));
    findings.extend(examine_leader(&view));
    findings.extend(view.disagreements.iter().map(disagreement));
    findings.extend(examine_settings(&view, doctor));
    findings.extend(examine_round_trips(&mut operator, &view, doctor).await);
    findings
}

/// Listens for all of the time: whoever disagrees may speak last.
async fn hear(doctor: &DoctorArgs) -> Option<(ClusterView, Vec<Finding>)> {
    let end = tokio::time::Instant::now() + doctor.wait;
    let mut observer = listen(doctor.medium.open().await.ok()?, &doctor.cluster).await.ok()??;
    let mut unauthentic = Vec::new();
    while let Ok(news) = timeout_at(end, observer.next()).await {
        if let Observation::Unauthentic { sender, error } = news {
            unauthentic.push(without_key(sender.as_ref(), error));
        }
    }
    Some((observer.view(), unauthentic))
}

/// Whether what is heard can be believed.
fn examine_key(view: &ClusterView) -> Option<Finding> {
    let advice = "give the cluster's key with --key-file";
    view.is_unverified.then(|| Finding::warning("key", UNVERIFIED, advice))
}

/// Who says something that the cluster's key doesn't vouch for.
fn without_key(sender: Option<&NodeId>, error: SealFault) -> Finding {
    let who = sender.map_or("somebody", NodeId::as_str);
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
async fn examine_id(operator: &mut Operator<Medium>, doctor: &DoctorArgs) -> Option<Finding> {
    let id = doctor.id.as_ref()?;
    Some(match operator.ask(id).await {
        Err(error) if may_not_ask(&error) => Finding::warning(
            "id",
            format!("whether a process has the id {id} is not known: this login may not ask it"),
            format!("use the login of {id}"),
        ),
        Ok(_) => Finding::failure(
            "id",
            format!("a process with the id {id} runs already"),
            "each node needs an id and a vote file of its own; stop that one, if it is meant",
        ),
        Err(_) => Finding::fine("id", format!("nobody else answers to the id {id}")),
    })
}

fn examine_leader(view: &ClusterView) -> Vec<Finding> {
    let paused: Vec<_> = view.nodes.iter().filter(|node| node.is_paused).collect();
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
    findings.extend(paused.into_iter().map(|node| {
        let text = format!("{} is kept from leading", node.id);
        Finding::warning("paused", text, "graft resume, unless its own check fails")
    }));
    findings
}

fn disagreement(found: &Disagreement) -> Finding {
    let (check, advice) = match found {
        Disagreement::Sizes(_) => ("sizes", "give all nodes the same --size"),
        Disagreement::Lists => ("voters", "give all nodes the same list: graft voters --help"),
        Disagreement::ElectionTimeouts(_) => {
            ("times", "give all nodes the same --election-timeout")
        }
        Disagreement::Leaders(_) => {
            ("leaders", "two clusters have one name, or more nodes vote than there are voters")
        }
        _ => ("ids", "give each node an id and a vote file of its own"),
    };
    Finding::failure(check, found, advice)
}

/// Whether the node that is to run here would fit in.
fn examine_settings(view: &ClusterView, doctor: &DoctorArgs) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(size) = doctor.size
        && let Some(other) = view.nodes.iter().find(|it| it.size.is_some_and(|it| it != size))
    {
        let others = other.size.unwrap_or_default();
        let text = format!("{} believes in {others} voters, and not in {size}", other.id);
        findings.push(Finding::failure("size", text, "give all nodes the same --size"));
    }
    let min = doctor.election_timeout.min;
    let differs = |node: &&graft_election::NodeView| {
        node.election_timeout_min.is_some_and(|theirs| theirs != min)
    };
    if let Some(other) = view.nodes.iter().find(differs) {
        let theirs = other.election_timeout_min.unwrap_or_default();
        let text = format!("the least election timeout of {} is {theirs:?}, not {min:?}", other.id);
        let advice = "give all nodes the same --election-timeout, and doctor too";
        findings.push(Finding::failure("times", text, advice));
    }
    let go: Vec<_> = view.nodes.iter().filter(|node| node.is_go).collect();
    if let Some(node) = go.first() {
        let text = format!("{} of {} nodes speak as Go nodes do", go.len(), view.nodes.len());
        let advice = format!(
            "run all nodes with --mode graft and without --voters until {} is replaced, too",
            node.id
        );
        findings.push(Finding::warning("mode", text, advice));
    }
    findings
}

/// How long each node takes to answer an operator.
async fn examine_round_trips(
    operator: &mut Operator<Medium>,
    view: &ClusterView,
    doctor: &DoctorArgs,
) -> Vec<Finding> {
    let max = doctor.round_trip_max();
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
            Err(error) => Finding::warning(
                "round_trip",
                error,
                "it may be busy with its disk, or this user may not ask it",
            ),
        });
    }
    findings
}

/// Whether the server has kept the question back, as it does from those who are no operators.
fn may_not_ask<E: std::error::Error>(error: &OperatorError<E>) -> bool {
    let OperatorError::Connection(Connection::Partial(words)) = error else { return false };
    words.contains("Permissions Violation for Publish")
}
