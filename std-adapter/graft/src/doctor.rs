//! `graft doctor`: what may keep a node, or a cluster, from electing a leader, and what to do.

mod disk;
mod finding;
mod peers;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use graft_election::{Codec, ErrorChain, Member, Mode, NodeId, Transport};

use self::finding::{Finding, Verdict};
use crate::election_timeout::{ElectionTimeout, parse_duration};
use crate::medium::{Medium, MediumArgs};
use crate::runtime;

/// Find out what may keep a node, or a whole cluster, from electing a leader.
///
/// Tries, as far as the arguments allow: whether this machine can connect, and the server lets the
/// node ID say and hear all that it needs; whether another process uses that id; whether the nodes
/// that are heard agree on size, voters, mode and times; whether FILE is sound, its directory can
/// be written, and the disk is fast enough; whether nodes answer soon enough. Each finding says
/// what to do. Nothing is changed, and no vote is cast.
///
/// Exits with 0 if nothing is wrong, else with 1.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The cluster's name.
    #[arg(value_name = "CLUSTER")]
    cluster: String,
    /// The id of a node that is to run here, and doesn't run yet.
    #[arg(long, value_name = "ID")]
    id: Option<NodeId>,
    /// The number of voters that the node is to believe in.
    #[arg(long, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=graft_election::VOTERS_MAX as i64))]
    size: Option<u32>,
    /// The node's vote file.
    #[arg(long, value_name = "FILE")]
    vote_file: Option<PathBuf>,
    /// The node's election timeouts.
    #[arg(long, value_name = "MIN..MAX", default_value_t)]
    election_timeout: ElectionTimeout,
    /// How long to listen to the cluster.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    wait: Duration,
    /// Print one JSON object for each finding, on a line of its own.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    medium: MediumArgs,
}

impl DoctorArgs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let runtime = runtime::on_this_thread()?;
        let is_sound = runtime.block_on(self.examine())?;
        Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Examines one thing after the other. Returns whether nothing is wrong.
    async fn examine(&self) -> Result<bool> {
        let mut findings = Vec::new();
        if let Some(file) = &self.vote_file {
            findings.extend(disk::examine(file, self.id.as_ref(), self.election_timeout.min));
        }
        self.print(&findings)?;
        let on_network = self.examine_network().await;
        self.print(&on_network)?;
        findings.extend(on_network);
        Ok(findings.iter().all(|finding| finding.verdict != Verdict::Failure))
    }

    async fn examine_network(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let access = match self.medium.open().await {
            Ok(access) => access,
            Err(error) => {
                let advice = "check the address, the login and whether the server runs";
                return vec![Finding::failure("connection", ErrorChain(&*error), advice)];
            }
        };
        let operator = match access.operate(&self.cluster).await {
            Ok(operator) => operator,
            Err(error) => {
                let advice = "check the permissions; on one machine, whether a node ever ran here";
                return vec![Finding::failure("connection", ErrorChain(&error), advice)];
            }
        };
        findings.push(Finding::fine("connection", "this machine can listen to the cluster"));
        findings.extend(self.examine_permissions().await);
        findings.extend(peers::examine(operator.patience(self.wait), self).await);
        findings
    }

    /// Joins as the node would, and leaves again: what it says meanwhile everyone else ignores.
    async fn examine_permissions(&self) -> Option<Finding> {
        let id = self.id.as_ref()?;
        let Medium::Nats(mut transport) = self.medium.open().await.ok()?.medium else {
            return None;
        };
        let (mode, codec) = (Mode::Extended, &Codec::new());
        let member = Member { cluster: &self.cluster, id, mode, codec };
        let joined = transport.join(&member).await;
        transport.leave().await;
        Some(match joined {
            Ok(()) => {
                Finding::fine("permissions", format!("the server lets {id} say and hear all"))
            }
            Err(error) => Finding::failure(
                "permissions",
                ErrorChain(&error),
                format!(
                    "let {id} publish to graft.{0}.*.{id} and graft.{0}.*.{id}.*, and subscribe to \
                     graft.{0}.>",
                    self.cluster
                ),
            ),
        })
    }

    fn print(&self, findings: &[Finding]) -> Result<()> {
        let mut out = anstream::stdout().lock();
        for finding in findings {
            if self.json {
                writeln!(out, "{}", serde_json::to_string(finding)?)?;
            } else {
                writeln!(out, "{finding}")?;
            }
        }
        Ok(())
    }

    /// How long a message may take to a node and back: a tenth of the least election timeout.
    fn round_trip_max(&self) -> Duration {
        self.election_timeout.min / 10
    }
}
