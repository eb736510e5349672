//! What the nodes of a cluster, and the one that is to run here, must have in common.

use graft_election::{ClusterView, Config, Disagreement, Mode, NodeView, VOTERS_MAX};

use super::DoctorArgs;
use super::finding::Finding;

/// Whether any node could run with these settings.
pub(super) fn examine_own(doctor: &DoctorArgs) -> Option<Finding> {
    let times = doctor.election_timeout();
    let config = Config {
        election_timeout_min: times.min,
        election_timeout_max: times.max,
        heartbeat_interval: doctor.heartbeat,
        ..Config::new(&doctor.cluster, doctor.size.unwrap_or(1))
    };
    let error = config.check(VOTERS_MAX).err()?;
    Some(Finding::failure("settings", error, "graft run refuses it: give the node other settings"))
}

/// What differs among the nodes.
pub(super) fn examine_differences(view: &ClusterView) -> Vec<Finding> {
    let mut findings: Vec<_> = view.disagreements.iter().map(disagreement).collect();
    let of = |mode| view.nodes.iter().find(|node| node.mode == Some(mode));
    if let (Some(graft), Some(extended)) = (of(Mode::Graft), of(Mode::Extended)) {
        let text = format!("{} runs in Graft mode, and {} in Extended mode", graft.id, extended.id);
        let advice = "that is right while a cluster moves; then give all nodes the same --mode";
        findings.push(Finding::warning("modes", text, advice));
    }
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
pub(super) fn examine_fit(view: &ClusterView, doctor: &DoctorArgs) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(size) = doctor.size
        && let Some((other, others)) =
            view.nodes.iter().find_map(|it| Some((it, voters_of(it)?)).filter(|it| it.1 != size))
    {
        let text = format!("{} believes in {others} voters, and not in {size}", other.id);
        findings.push(Finding::failure("size", text, "give all nodes the same --size"));
    }
    let min = doctor.election_timeout().min;
    let times = view.nodes.iter().filter_map(|node| Some((node, node.election_timeout_min?)));
    if doctor.describes_a_node()
        && let Some((other, theirs)) = times.into_iter().find(|(_, theirs)| *theirs != min)
    {
        let text = format!("the least election timeout of {} is {theirs:?}, not {min:?}", other.id);
        let advice = "give all nodes the same --election-timeout, and doctor too";
        findings.push(Finding::failure("times", text, advice));
    }
    if let Some(own) = doctor.list()
        && let Some((other, theirs)) =
            view.nodes.iter().find_map(|it| Some((it, it.list?)).filter(|it| it.1 != own.id))
    {
        let text = format!("{} goes by the list of voters {theirs}, and not {}", other.id, own.id);
        let advice = "give all nodes the same list: graft voters --help";
        findings.push(Finding::failure("voters", text, advice));
    }
    findings.extend(examine_mode(view, doctor));
    findings
}

fn examine_mode(view: &ClusterView, doctor: &DoctorArgs) -> Option<Finding> {
    let go: Vec<_> = view.nodes.iter().filter(|node| node.is_go).collect();
    if let Some(node) = go.first() {
        let text = format!("{} of {} nodes speak as Go nodes do", go.len(), view.nodes.len());
        let advice = format!(
            "run all nodes with --mode graft and without --voters until {} is replaced, too",
            node.id
        );
        return Some(Finding::warning("mode", text, advice));
    }
    let own = doctor.mode();
    let is_other = |node: &&NodeView| node.mode.is_some_and(|mode| mode != own);
    let other = view.nodes.iter().find(is_other).filter(|_| doctor.describes_a_node())?;
    let theirs = match own {
        Mode::Extended => "Graft",
        Mode::Graft => "Extended",
    };
    let text = format!("{} runs in {theirs} mode, and the node here would not", other.id);
    let advice = "that is right while a cluster moves; else give all nodes the same --mode";
    Some(Finding::warning("mode", text, advice))
}

/// Whether as many nodes are there as the leader believes in, and acknowledge it: only in Extended
/// mode does everybody say something all the time. `silent` are those that run and say nothing.
pub(super) fn examine_presence(
    view: &ClusterView,
    silent: &[&str],
    doctor: &DoctorArgs,
) -> Vec<Finding> {
    let leading = view.leader.as_ref().map(|leader| &leader.id);
    let leader = view.nodes.iter().find(|node| Some(&node.id) == leading);
    let leader = leader.filter(|leader| leader.mode == Some(Mode::Extended));
    let Some((leader, size)) = leader.and_then(|leader| Some((leader, voters_of(leader)?))) else {
        return Vec::new();
    };
    let there: Vec<_> = view.nodes.iter().filter(|node| !node.is_silent).collect();
    let follows = |node: &&&NodeView| node.id == leader.id || node.acknowledged_in.is_some();
    let following: Vec<_> = there.iter().filter(follows).map(|node| node.id.as_str()).collect();
    let others = there.iter().filter(|node| !follows(node)).map(|node| node.id.as_str());
    let mut findings: Vec<_> = others
        .chain(silent.iter().copied())
        .map(|id| {
            let text = format!("{id} runs, and does not acknowledge {} as the leader", leader.id);
            let advice = "see that it has the others' --size, voters and key, and hears them";
            Finding::warning("follower", text, advice)
        })
        .collect();
    let is_to_come = doctor.id.as_ref().is_some_and(|id| !following.contains(&id.as_str()));
    if following.len() > size {
        let text = format!(
            "{} nodes take part, and {} believes in {size} voters",
            following.len(),
            leader.id
        );
        let advice = "give all nodes the same --size, and start no more voters than that";
        findings.push(Finding::failure("voters", text, advice));
    } else if following.len() + usize::from(is_to_come) < size {
        let text =
            format!("{} of {size} voters take part: {}", following.len(), following.join(", "));
        let advice = "start the others; one that runs may be cut off, or configured differently";
        findings.push(Finding::warning("voters", text, advice));
    }
    findings
}

/// In how many voters it believes, if that was heard.
fn voters_of(node: &NodeView) -> Option<usize> {
    node.size.and_then(|size| size.try_into().ok())
}
