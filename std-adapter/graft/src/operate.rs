//! `graft hand-over`, `graft pause` and `graft resume`: what an operator asks of a running cluster.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Args;
use graft_election::{NodeId, Operator, OperatorError};

use crate::cluster_name::cluster_name;
use crate::election_timeout::parse_duration;
use crate::medium::{Medium, MediumArgs, MediumError};
use crate::runtime;
use crate::status::{look_at, nobody_is_heard};

/// Have the leader of a cluster hand over, before maintenance for example.
///
/// It goes to the follower that is fit to lead and answered last, or to ID, which must be fit. A
/// node of higher priority takes it back after a while; `graft pause` keeps a node from leading.
///
/// On NATS this needs the permission to publish on graft.CLUSTER.control_request.*. A node that
/// runs with --no-remote-control refuses.
#[derive(Debug, Args)]
pub(crate) struct HandOverArgs {
    /// The cluster's name.
    #[arg(value_name = "CLUSTER", value_parser = cluster_name)]
    cluster: String,
    /// Who is to lead.
    #[arg(long, value_name = "ID")]
    to: Option<NodeId>,
    #[command(flatten)]
    how: HowArgs,
}

/// Keep a node from leading until `graft resume`, restarts included. It goes on voting.
///
/// A leader hands over first. The node keeps this with its vote, so that it can be restarted, which
/// is what nodes are paused for. Needs the same permission as `graft hand-over`.
#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    node: OneNodeArgs,
}

/// Let a node lead again that `graft pause` keeps from it.
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    node: OneNodeArgs,
}

#[derive(Debug, Args)]
struct OneNodeArgs {
    /// The cluster's name.
    #[arg(value_name = "CLUSTER", value_parser = cluster_name)]
    cluster: String,
    /// The node's id.
    #[arg(value_name = "ID")]
    id: NodeId,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, Args)]
struct HowArgs {
    /// How long to wait for answers, and for the next leader.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    wait: Duration,
    #[command(flatten)]
    medium: MediumArgs,
}

impl HandOverArgs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        run(async {
            let mut operator = self.how.operator(&self.cluster).await?;
            let done = operator.hand_over(self.to.as_ref()).await;
            let handed = self.how.explain(done, &self.cluster).await?;
            let from = handed.from;
            if handed.to.as_ref() == Some(&from) {
                return Ok(format!("{from} leads already, in term {}", handed.term));
            }
            let to = handed.to.ok_or_else(|| {
                anyhow!(
                    "{from} has handed over, and nobody was heard to lead within {:?}",
                    self.how.wait
                )
            })?;
            Ok(format!("{from} has handed over, and {to} leads in term {}", handed.term))
        })
    }
}

impl PauseArgs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let OneNodeArgs { cluster, id, how } = self.node;
        run(async {
            let mut operator = how.operator(&cluster).await?;
            let done = operator.pause(&id).await;
            how.explain(done, &cluster).await?;
            Ok(format!("{id} is paused: it votes, and does not lead until graft resume"))
        })
    }
}

impl ResumeArgs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let OneNodeArgs { cluster, id, how } = self.node;
        run(async {
            let mut operator = how.operator(&cluster).await?;
            let done = operator.resume(&id).await;
            how.explain(done, &cluster).await?;
            Ok(format!("{id} may lead again"))
        })
    }
}

/// Prints what was done.
fn run(task: impl Future<Output = Result<String>>) -> Result<ExitCode> {
    let runtime = runtime::on_this_thread()?;
    let done = runtime.block_on(task)?;
    writeln!(anstream::stdout(), "{done}")?;
    Ok(ExitCode::SUCCESS)
}

impl HowArgs {
    async fn operator(&self, cluster: &str) -> Result<Operator<Medium>> {
        match self.medium.open().await?.operate(cluster).await {
            Ok(operator) => Ok(operator.patience(self.wait)),
            Err(error) if error.is_of_no_cluster() => {
                Err(nobody_is_heard(&self.medium, cluster, self.wait).await)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether anybody is in the cluster, as far as can be heard.
    async fn is_heard(&self, cluster: &str) -> bool {
        match self.medium.open().await {
            Ok(access) => look_at(access, cluster, self.wait).await.is_ok_and(|it| it.is_some()),
            Err(_) => false,
        }
    }

    /// A cluster of which nothing is heard may have another name.
    async fn explain<T>(
        &self,
        done: Result<T, OperatorError<MediumError>>,
        cluster: &str,
    ) -> Result<T> {
        match done {
            Err(OperatorError::NoLeader { .. } | OperatorError::NoAnswer { .. })
                if !self.is_heard(cluster).await =>
            {
                Err(nobody_is_heard(&self.medium, cluster, self.wait).await)
            }
            done => Ok(done?),
        }
    }
}
