//! `graft doctor`: what may keep a node, or a cluster, from electing a leader, and what to do.

mod disk;
mod finding;
mod peers;
mod settings;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use graft_election::{
    ClusterView, Codec, ErrorChain, ListContents, Member, Mode, NodeId, Operator, Transport,
};

use self::finding::{Finding, Verdict};
use crate::cluster_name::cluster_name;
use crate::election_timeout::{ElectionTimeout, parse_duration};
use crate::medium::{Medium, MediumArgs};
use crate::output::json;
use crate::run::ModeName;
use crate::runtime;

/// Find out what may keep a node, or a whole cluster, from electing a leader.
///
/// Tries, as far as the arguments allow: whether graft run takes them; whether this machine can
/// connect and listen, and the server lets the node ID say and hear all that it needs; whether
/// another process uses that id; whether the nodes agree on size, voters, mode and times, as far as
/// they name them; whether all voters take part; whether FILE is sound, its directory can be
/// written, and the disk is fast enough; whether nodes answer soon enough. Each finding says what
/// to do. Nothing is changed, and no vote is cast.
///
/// Exits with 0 if nothing is wrong, else with 1.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The cluster's name.
    #[arg(value_name = "CLUSTER", value_parser = cluster_name)]
    cluster: String,
    /// The id of a node that is to run here, and doesn't run yet.
    #[arg(long, value_name = "ID")]
    id: Option<NodeId>,
    /// The number of voters that the node is to believe in.
    #[arg(long, value_name = "N")]
    size: Option<usize>,
    /// The node's vote file.
    #[arg(long, value_name = "FILE")]
    vote_file: Option<PathBuf>,
    /// The node's election timeouts, 500ms..1s by default, as with graft run.
    #[arg(long, value_name = "MIN..MAX")]
    election_timeout: Option<ElectionTimeout>,
    /// The node's heartbeat interval.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = parse_duration)]
    heartbeat: Duration,
    /// The node's mode.
    #[arg(long, value_enum, default_value_t = ModeName::Extended)]
    mode: ModeName,
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
        findings.extend(settings::examine_own(self));
        if let Some(file) = &self.vote_file {
            findings.extend(disk::examine(file, self.id.as_ref(), self.election_timeout().min));
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
        let heard = match peers::hear(access, self).await {
            Ok(heard) => heard,
            Err(error) => {
                let advice = "check the permissions; on one machine, whether a node ever ran here";
                return vec![Finding::failure("connection", ErrorChain(&error), advice)];
            }
        };
        findings.push(match &heard.fault {
            Some(fault) => {
                let advice = format!(
                    "see that the server runs, and lets this login subscribe to graft.{0}.*.* and \
                     graft.{0}.*.*.*",
                    self.cluster
                );
                Finding::failure("connection", fault, advice)
            }
            None => Finding::fine("connection", "this machine can listen to the cluster"),
        });
        findings.extend(self.examine_permissions().await);
        if heard.fault.is_some() {
            return findings;
        }
        match self.begin_asking().await {
            Ok((operator, known)) => {
                findings.extend(peers::examine(&heard, operator, known, self).await);
            }
            Err(error) => {
                let advice = "see that this machine stays connected";
                findings.push(Finding::failure("connection", ErrorChain(&*error), advice));
            }
        }
        findings
    }

    /// An operator, and the nodes that are known without being heard.
    async fn begin_asking(&self) -> Result<(Operator<Medium>, BTreeSet<NodeId>)> {
        let access = self.medium.open().await?;
        let mut known = access.medium.nodes(&self.cluster)?;
        let voters = self.list().map(|list| list.voters).unwrap_or_default();
        known.extend(voters.iter().filter_map(|id| id.parse::<NodeId>().ok()));
        known.retain(|id| Some(id) != self.id.as_ref());
        Ok((access.operate(&self.cluster).await?.patience(self.wait), known))
    }

    /// Joins as the node would, and leaves again: what it says meanwhile everyone else ignores.
    async fn examine_permissions(&self) -> Option<Finding> {
        let id = self.id.as_ref()?;
        let Medium::Nats(mut transport) = self.medium.open().await.ok()?.medium else {
            return None;
        };
        let (mode, codec) = (self.mode(), &Codec::new());
        let member = Member { cluster: &self.cluster, id, mode, codec };
        let joined = transport.join(&member).await;
        transport.leave().await;
        let of_go = match mode {
            Mode::Extended => "",
            Mode::Graft => ", and let it use Go's subjects, too",
        };
        Some(match joined {
            Ok(()) => {
                Finding::fine("permissions", format!("the server lets {id} say and hear all"))
            }
            Err(error) => Finding::failure(
                "permissions",
                ErrorChain(&error),
                format!(
                    "let {id} publish to graft.{0}.*.{id} and graft.{0}.*.{id}.*, and subscribe to \
                     graft.{0}.>{of_go}",
                    self.cluster
                ),
            ),
        })
    }

    fn print(&self, findings: &[Finding]) -> Result<()> {
        let mut out = anstream::stdout().lock();
        for finding in findings {
            if self.json {
                writeln!(out, "{}", json(finding)?)?;
            } else {
                writeln!(out, "{finding}")?;
            }
        }
        Ok(())
    }

    /// Whether it is about a node that is to run here, and not about the cluster alone.
    fn describes_a_node(&self) -> bool {
        self.id.is_some()
            || self.size.is_some()
            || self.vote_file.is_some()
            || self.election_timeout.is_some()
    }

    /// The list of voters in the node's record.
    fn list(&self) -> Option<ListContents> {
        self.vote_file.as_deref().and_then(disk::list)
    }

    fn election_timeout(&self) -> ElectionTimeout {
        self.election_timeout.unwrap_or_default()
    }

    fn mode(&self) -> Mode {
        self.mode.into()
    }

    /// How long a message may take to a node and back: a tenth of the least election timeout, which
    /// is the cluster's unless a node is to run here.
    fn round_trip_max(&self, view: &ClusterView) -> Duration {
        let heard = view.nodes.iter().filter_map(|node| node.election_timeout_min).min();
        let min = heard.filter(|_| !self.describes_a_node());
        min.unwrap_or(self.election_timeout().min) / 10
    }
}
