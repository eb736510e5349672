//! `graft status`: who leads, and who else is there.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use futures_util::future::try_join_all;
use graft_election::{ClusterView, Connection, Observation, Observer};
use tokio::time::{Instant, timeout_at};

use crate::election_timeout::parse_duration;
use crate::exit_status::{ExitStatus, ExitsWith};
use crate::medium::{Access, Medium, MediumArgs};
use crate::runtime;
use crate::seen::{Seen, as_text};

/// Show who leads a cluster, and which nodes it has, without being one of them.
///
/// It only listens: no vote is cast, and nothing is said. On NATS it needs no permission but to
/// subscribe below graft.CLUSTER. The leader and its lease are what the nodes say: that may be late
/// by as much as a message takes.
///
/// Exits with 0 if all clusters that are shown have a leader, else with 1.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The cluster's name. By default all that are heard.
    #[arg(value_name = "CLUSTER")]
    cluster: Option<String>,
    /// How long to listen at most. It takes less if all voters are heard under a leader.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    wait: Duration,
    /// Print one JSON object for each cluster, on a line of its own.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    medium: MediumArgs,
}

impl StatusArgs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let runtime = runtime::on_this_thread()?;
        let views = runtime.block_on(self.look())?;
        let mut out = anstream::stdout().lock();
        for (number, view) in views.iter().enumerate() {
            if self.json {
                writeln!(out, "{}", serde_json::to_string(&Seen::new(view))?)?;
                continue;
            }
            if number > 0 {
                writeln!(out)?;
            }
            for line in as_text(view) {
                writeln!(out, "{line}")?;
            }
        }
        let all_have_leaders = views.iter().all(|view| view.leader.is_some());
        Ok(if all_have_leaders { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn look(&self) -> Result<Vec<ClusterView>> {
        if let Some(cluster) = &self.cluster {
            let view = look_at(self.medium.open().await?, cluster, self.wait).await?;
            return match view {
                Some(view) => Ok(vec![view]),
                None => Err(nobody_is_heard(&self.medium, cluster, self.wait).await),
            };
        }
        let access = self.medium.open().await?;
        if let Medium::Serial(_) = access.medium {
            return Err(anyhow!("a serial line doesn't name its clusters: say which one is meant"))
                .exits_with(ExitStatus::Usage);
        }
        let looks = access
            .medium
            .clusters(self.wait)
            .await?
            .into_iter()
            .map(async |cluster| look_at(self.medium.open().await?, &cluster, self.wait).await);
        let views: Vec<_> = try_join_all(looks).await?.into_iter().flatten().collect();
        if views.is_empty() {
            bail!("no cluster was heard within {:?}", self.wait);
        }
        Ok(views)
    }
}

/// Listens to a cluster until all of it is known, or for `wait`. None if nobody is heard.
pub(crate) async fn look_at(
    access: Access,
    cluster: &str,
    wait: Duration,
) -> Result<Option<ClusterView>> {
    let end = Instant::now() + wait;
    let Some(mut observer) = listen(access, cluster).await? else {
        return Ok(None);
    };
    while !is_complete(&observer.view()) {
        match timeout_at(end, observer.next()).await {
            Ok(Observation::Connection(
                Connection::Partial(why) | Connection::Lost(why) | Connection::Closed(why),
            )) => bail!("could not listen to cluster {cluster}: {why}"),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    let is_heard = |view: &ClusterView| !view.nodes.is_empty() || !view.unauthentic.is_empty();
    Ok(Some(observer.view()).filter(is_heard))
}

/// Begins to listen; none if the cluster has never been on this machine.
pub(crate) async fn listen(access: Access, cluster: &str) -> Result<Option<Observer<Medium>>> {
    match access.observe(cluster).await {
        Ok(observer) => Ok(Some(observer)),
        Err(error) if error.is_of_no_cluster() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether all voters were heard, and the others answer the leader.
fn is_complete(view: &ClusterView) -> bool {
    let Some(leader) = &view.leader else { return false };
    let size = view.nodes.iter().find(|node| node.id == leader.id).and_then(|node| node.size);
    let answers = |node: &&graft_election::NodeView| node.acknowledged_in.is_some();
    let answering = view.nodes.iter().filter(answers).count();
    size.is_some_and(|size| answering + 1 >= usize::try_from(size).unwrap_or(usize::MAX))
}

/// Says that the name may be wrong, and which ones would not be.
pub(crate) async fn nobody_is_heard(
    medium: &MediumArgs,
    cluster: &str,
    wait: Duration,
) -> anyhow::Error {
    let others =
        async { Ok::<_, anyhow::Error>(medium.open().await?.medium.clusters(wait).await?) };
    let others: BTreeSet<String> = others.await.unwrap_or_default();
    let others: Vec<_> = others.into_iter().filter(|other| other != cluster).collect();
    let heard = match others.as_slice() {
        [] => String::new(),
        others => format!("; clusters that are there: {}", others.join(", ")),
    };
    anyhow!("nobody was heard of in cluster {cluster} within {wait:?}{heard}")
}
