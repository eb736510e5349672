//! Tries for a long time to have two COMMANDs of `graft run` at work at once, or one left over.
//! `cargo xtask soak` builds what is needed and starts this program.
//!
//! Three nodes, each behind a proxy of its own, share a NATS server. Their COMMAND starts witnesses
//! that escape from it in every known way. Faults hit the nodes, their watchdogs, COMMAND, the
//! server and the network, and a judge reads what the witnesses write.

#![forbid(unsafe_code)]

mod fault;
mod judge;
mod node;
mod process;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use graft_election_tests::nats_server::NatsServer;
use graft_election_tests::proxy::Proxy;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep};

use crate::fault::Fault;
use crate::judge::Judge;
use crate::node::{Node, Place};

/// How long a fault lasts, and how long the cluster is left alone after it, at most.
const PAUSE_MAX: Duration = Duration::from_millis(1_500);

/// How often the judge reads.
const STEP: Duration = Duration::from_millis(50);

/// How long all may take to be gone at the end.
const END_TIME_MAX: Duration = Duration::from_secs(30);

/// How many terms with a COMMAND there must be in a minute, or the faults have shown nothing.
const TERMS_MIN: f64 = 3.0;

/// Try to have two COMMANDs at work at once.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// The seed of the faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The program `graft`.
    #[arg(long)]
    graft: PathBuf,
}

/// The cluster, and what happens to it.
struct Soak {
    random: StdRng,
    server: Option<NatsServer>,
    proxies: Vec<Proxy>,
    nodes: Vec<Node>,
    judge: Judge,
    counts: BTreeMap<Fault, u64>,
    restarts: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match soak(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn soak(arguments: &Arguments) -> Result<()> {
    let place = Place::new(arguments.graft.clone())?;
    let server = NatsServer::start();
    let (mut proxies, mut nodes) = (Vec::new(), Vec::new());
    for index in 0..3 {
        let proxy = Proxy::start(&server.url()).await;
        nodes.push(Node::start(&place, index, proxy.url())?);
        proxies.push(proxy);
    }
    let judge = Judge::new(place.directory().join(node::BEATS));
    let random = StdRng::seed_from_u64(arguments.seed);
    let (server, counts, restarts) = (Some(server), BTreeMap::new(), 0);
    let mut soak = Soak { random, server, proxies, nodes, judge, counts, restarts };
    let end_at = Instant::now() + Duration::from_secs_f64(60.0 * arguments.minutes);
    while Instant::now() < end_at {
        soak.rest().await?;
        let fault = Fault::draw(&mut soak.random);
        soak.strike(fault).await?;
    }
    soak.end().await?;
    let left = process::all_in(place.directory());
    ensure!(left.is_empty(), "there are processes left: {left:?}");
    let Soak { judge, counts, restarts, .. } = &soak;
    anstream::println!("{judge}; {restarts} restarts; faults: {counts:?}");
    let terms_min = TERMS_MIN * arguments.minutes;
    ensure!(judge.terms() as f64 >= terms_min, "less than {terms_min} terms have shown anything");
    Ok(())
}

impl Soak {
    /// Leaves the cluster alone for a random time. Nodes that have ended come back.
    async fn rest(&mut self) -> Result<()> {
        let end_at = Instant::now() + self.random.random_range(STEP..PAUSE_MAX);
        while Instant::now() < end_at {
            for node in &mut self.nodes {
                self.restarts += u64::from(node.restart_if_ended()?);
            }
            self.judge.read()?;
            sleep(STEP).await;
        }
        Ok(())
    }

    /// Ends all, and waits until all is gone.
    async fn end(&mut self) -> Result<()> {
        for node in &self.nodes {
            node.terminate()?;
        }
        let end_at = Instant::now() + END_TIME_MAX;
        for node in &mut self.nodes {
            while !node.has_ended()? {
                ensure!(Instant::now() < end_at, "{} doesn't end", node.id());
                sleep(STEP).await;
            }
        }
        self.judge.read().context("at the end")
    }
}
