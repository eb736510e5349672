//! `graft voters show`, `add`, `remove` and `replace`: the voters of a cluster that runs (rules O5,
//! R7).

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use graft_election::core::ListId;
use graft_election::{Change, ControlOutcome, NodeId, OperatorError};

use crate::cluster_name::cluster_name;
use crate::election_timeout::parse_duration;
use crate::operate::{HowArgs, run};
use crate::report::print_error;

/// What is asked of a cluster that runs.
#[derive(Debug, Subcommand)]
pub(crate) enum LiveTask {
    /// Show who votes: the list, its id, and whether it is committed.
    Show(ShowArgs),
    /// Add a voter, which must run with `graft run --join`.
    Add(ChangeArgs),
    /// Remove a voter. A leader hands over first.
    Remove(ChangeArgs),
    /// Add a voter, then remove another one.
    Replace(ReplaceArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The cluster's name.
    #[arg(value_name = "CLUSTER", value_parser = cluster_name)]
    cluster: String,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// The cluster's name.
    #[arg(value_name = "CLUSTER", value_parser = cluster_name)]
    cluster: String,
    /// The voter's id.
    #[arg(value_name = "ID")]
    id: NodeId,
    #[command(flatten)]
    terms: TermsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReplaceArgs {
    /// The cluster's name.
    #[arg(value_name = "CLUSTER", value_parser = cluster_name)]
    cluster: String,
    /// The id of the voter that leaves.
    #[arg(value_name = "OLD")]
    old: NodeId,
    /// The id of the voter that comes.
    #[arg(value_name = "NEW")]
    new: NodeId,
    #[command(flatten)]
    terms: TermsArgs,
}

/// Under which conditions the voters are changed.
#[derive(Debug, Args)]
struct TermsArgs {
    /// Only if the present list is this one, as `graft voters show` has it: nobody else has changed
    /// it meanwhile.
    #[arg(long = "if", value_name = "TERM.VERSION", value_parser = list_id)]
    only_if: Option<ListId>,
    /// How long to go on asking until it is done.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    how: HowArgs,
}

fn list_id(text: &str) -> Result<ListId> {
    let parts = text.split_once('.').and_then(|(term, version)| {
        Some(ListId { term: term.parse().ok()?, version: version.parse().ok()? })
    });
    parts.ok_or_else(|| anyhow!("it must be TERM.VERSION, 7.2 for example"))
}

impl LiveTask {
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Show(show) => run(show.show()),
            Self::Add(add) => run(async move {
                let ChangeArgs { cluster, id, terms } = add;
                terms.change(&cluster, true, &id, terms.only_if).await?;
                Ok(format!("{id} is a voter of {cluster}"))
            }),
            Self::Remove(remove) => run(async move {
                let ChangeArgs { cluster, id, terms } = remove;
                terms.change(&cluster, false, &id, terms.only_if).await?;
                Ok(format!("{id} is no voter of {cluster}"))
            }),
            Self::Replace(replace) => run(async move {
                let ReplaceArgs { cluster, old, new, terms } = replace;
                terms.change(&cluster, true, &new, terms.only_if).await?;
                terms.change(&cluster, false, &old, None).await?;
                Ok(format!("{new} is a voter of {cluster}, and {old} is none"))
            }),
        }
    }
}

impl ShowArgs {
    async fn show(self) -> Result<String> {
        let mut operator = self.how.operator(&self.cluster).await?;
        let known = operator.voters().await;
        let known = self.how.explain(known, &mut operator).await?;
        let committed = if known.is_committed { ", committed" } else { "" };
        let mut text = format!("list    {}{committed}\n", known.list);
        writeln!(text, "leader  {} in term {}", known.leader, known.term)?;
        let mut voters: Vec<_> = known.voters.iter().map(NodeId::as_str).collect();
        voters.sort_unstable();
        write!(text, "voters  {}", voters.join(" "))?;
        Ok(text)
    }
}

impl TermsArgs {
    /// Has the leader change one voter, and prints why that takes its time.
    async fn change(
        &self,
        cluster: &str,
        adds: bool,
        voter: &NodeId,
        list: Option<ListId>,
    ) -> Result<()> {
        let mut operator = self.how.operator(cluster).await?.patience(self.timeout);
        let change = Change { adds, voter: voter.clone(), list };
        let mut is_first = true;
        let tell = |reason| {
            // The first steps take their time, and are none of a user's cares.
            if !std::mem::take(&mut is_first) || reason != ControlOutcome::NotCommitted {
                print_error(format!("waiting: {reason}{}", advice(reason, voter)));
            }
        };
        let done = operator.change_voters(&change, tell).await;
        match done {
            Err(OperatorError::VotersUnchanged { reason }) => {
                Err(anyhow!("the voters are not changed: {reason}{}", advice(reason, voter)))
            }
            done => self.how.explain(done, &mut operator).await,
        }
    }
}

/// What to do about it.
fn advice(reason: ControlOutcome, voter: &NodeId) -> String {
    match reason {
        ControlOutcome::NotHeard => {
            format!(": is {voter} running with --join, and the cluster's name?")
        }
        ControlOutcome::NoRoom => ": a voter that is to allow more runs with --join or \
             --allow-changes"
            .to_owned(),
        ControlOutcome::OtherList => ": see graft voters show".to_owned(),
        ControlOutcome::WouldLose => ": see who answers the leader with graft status".to_owned(),
        _ => String::new(),
    }
}
