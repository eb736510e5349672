//! `graft hand-over`, `graft pause` and `graft resume`: what an operator asks of a running cluster.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Error, Result, anyhow, bail};
use clap::Args;
use graft_election::{HandedOver, NodeId, Operator, OperatorError};

use crate::cluster_name::cluster_name;
use crate::election_timeout::parse_duration;
use crate::exit_status::{ExitStatus, ExitsWith};
use crate::medium::{Medium, MediumArgs, MediumError};
use crate::runtime;
use crate::status::nobody_is_heard;

/// Have the leader of a cluster hand over, before maintenance for example.
///
/// It goes to the follower that is fit to lead and answered last, or to ID, which must be fit; if
/// nobody is, the leader goes on. A node of higher priority takes it back after a while; `graft
/// pause` keeps a node from leading.
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
pub(crate) struct HowArgs {
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
            let handed = self.how.explain(done, &mut operator).await?;
            self.tell(&handed)
        })
    }

    /// What has come of it, or an error if another than the one that was meant leads now.
    fn tell(&self, handed: &HandedOver) -> Result<String> {
        let HandedOver { from, to, term, .. } = handed;
        let Some(to) = to else {
            let wait = self.how.wait;
            bail!("{from} has handed over, and nobody was heard to lead within {wait:?}");
        };
        match &self.to {
            Some(target) if target == from => Ok(format!("{from} leads already, in term {term}")),
            Some(target) if target != to => {
                bail!("{from} has handed over to {target}, but {to} leads, in term {term}")
            }
            None if to == from => {
                bail!("{from} has handed over, and was elected again, in term {term}")
            }
            _ => Ok(format!("{from} has handed over, and {to} leads in term {term}")),
        }
    }
}

impl PauseArgs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let OneNodeArgs { cluster, id, how } = self.node;
        run(async {
            let mut operator = how.operator(&cluster).await?;
            let done = operator.pause(&id).await;
            how.explain(done, &mut operator).await?;
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
            how.explain(done, &mut operator).await?;
            Ok(format!("{id} may lead again"))
        })
    }
}

/// Prints what was done.
pub(crate) fn run(task: impl Future<Output = Result<String>>) -> Result<ExitCode> {
    let runtime = runtime::on_this_thread()?;
    let done = runtime.block_on(task)?;
    writeln!(anstream::stdout(), "{done}")?;
    Ok(ExitCode::SUCCESS)
}

impl HowArgs {
    pub(crate) async fn operator(&self, cluster: &str) -> Result<Operator<Medium>> {
        match self.medium.open().await?.operate(cluster).await {
            Ok(operator) => Ok(operator.patience(self.wait)),
            Err(error) if error.is_of_no_cluster() => {
                Err(nobody_is_heard(&self.medium, cluster, self.wait).await)
            }
            Err(error) => {
                let status = error.exit_status();
                Err(error).exits_with(status)
            }
        }
    }

    /// Adds to an error what to do about it, and gives it its exit status.
    pub(crate) async fn explain<T>(
        &self,
        done: Result<T, OperatorError<MediumError>>,
        operator: &mut Operator<Medium>,
    ) -> Result<T> {
        let error = match done {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let view = operator.view();
        match &error {
            OperatorError::NoLeader { .. } if view.nodes.is_empty() => {
                Err(self.explain_silence(operator, &view.cluster).await)
            }
            OperatorError::NoAnswer { .. } if view.nodes.is_empty() => {
                Err(nobody_is_heard(&self.medium, &view.cluster, self.wait).await)
            }
            OperatorError::Medium(medium) => {
                let status = medium.exit_status();
                Err(error).exits_with(status)
            }
            OperatorError::Connection(_) => Err(error).exits_with(ExitStatus::Connection),
            OperatorError::KeyMissing | OperatorError::WrongKey => {
                let advice = anyhow!("{error}: give the cluster's key with --key-file");
                Err(advice).exits_with(ExitStatus::Configuration)
            }
            _ => Err(error.into()),
        }
    }

    /// Nobody is heard to lead, nor to do anything else: paused nodes say nothing by themselves.
    async fn explain_silence(&self, operator: &mut Operator<Medium>, cluster: &str) -> Error {
        let known = self.medium.open().await;
        let known = known.ok().and_then(|access| access.medium.nodes(cluster).ok());
        let mut paused = Vec::new();
        for id in known.into_iter().flatten() {
            if operator.ask(&id).await.is_ok_and(|answer| answer.is_paused) {
                paused.push(id.to_string());
            }
        }
        if paused.is_empty() {
            let error = nobody_is_heard(&self.medium, cluster, self.wait).await;
            return anyhow!("{error}; nodes that are all paused say nothing either");
        }
        let paused = paused.join(", ");
        anyhow!("nobody leads, and these nodes are paused: {paused}: graft resume lets one lead")
    }
}
