//! `graft bridge`: one cluster on a serial line and on NATS.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Error, Result};
use clap::Args;
use graft_election::{
    Bridge, BridgeCounts, BridgeError, BridgeEvent, BridgeRates, Connection, NatsServers, NodeId,
    SerialLine,
};
use serde::Serialize;
use tokio::sync::Notify;

use crate::cluster_name::cluster_name;
use crate::exit_status::{self, ExitStatus, ExitsWith};
use crate::nats_args::NatsArgs;
use crate::report::{Reporter, Target, timestamp};
use crate::run::ModeName;
use crate::runtime;
use crate::stop::{self, Stop};
use crate::traces::Traces;

/// Carry a cluster's messages between a serial line and NATS until SIGTERM, SIGINT, SIGQUIT or
/// SIGHUP.
///
/// Messages that can't be carried are dropped and counted; the counts are reported every ten
/// seconds and at the end. Run one bridge per line at a time: `graft run … -- graft bridge …` on
/// several machines keeps spares ready.
#[derive(Debug, Args)]
#[command(after_help = exit_status::HELP)]
pub(crate) struct BridgeArgs {
    /// The cluster's name.
    #[arg(long, value_name = "NAME", value_parser = cluster_name)]
    cluster: String,
    /// The serial line: DEVICE@BAUD, unix:PATH or tcp:HOST:PORT.
    #[arg(long, value_name = "LINE")]
    serial: SerialLine,
    /// The most messages per second to NATS.
    #[arg(long, value_name = "MESSAGES", default_value_t = BridgeRates::TO_NATS,
        value_parser = clap::value_parser!(u32).range(1..))]
    nats_rate: u32,
    /// The most bytes per second to the line. By default half of what the line carries, or 5760 if
    /// its speed is unknown.
    #[arg(long, value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(1..))]
    serial_rate: Option<u32>,
    /// The line's name, if the cluster has several lines: they reach each other over NATS only if
    /// their names differ. All bridges of one line use the same name.
    #[arg(long, value_name = "NAME", default_value = Bridge::LINE_NAME)]
    line_name: NodeId,
    /// The mode of the nodes on the line: those in Graft mode speak to Go nodes on NATS.
    #[arg(long, value_enum, default_value_t = ModeName::Extended)]
    mode: ModeName,
    /// Exit with status 69 when the line is lost, instead of waiting for it to return. A spare
    /// bridge, if there is one, can then take over.
    #[arg(long)]
    exit_on_line_loss: bool,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    nats: NatsArgs,
}

/// A line for programs.
#[derive(Debug, Serialize)]
struct Line<'a> {
    /// When, in UTC.
    ts: String,
    event: &'a str,
    /// The side whose connection changed: `line` or `nats`.
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<&'a str>,
    /// `restored` if the connection works again; otherwise there is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    /// The machine name of what went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<BridgeCounts>,
}

impl BridgeArgs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        stop::hold()?;
        let _traces = Traces::start(self.json)?;
        let runtime = runtime::on_this_thread()?;
        let carried = runtime.block_on(self.carry());
        // What still hangs must not hold up the end.
        runtime.shutdown_background();
        carried
    }

    async fn carry(self) -> Result<ExitCode> {
        let mut stop = Stop::new()?;
        let arguments = Arc::new(self);
        let connecting = Arc::clone(&arguments);
        let connected = stop.unless_asked(async move { connecting.connect().await }).await;
        let Some(connected) = connected else { return Ok(ExitCode::SUCCESS) };
        let (bridge, servers) = connected?;
        arguments.carry_over(bridge, &servers, stop).await
    }

    async fn connect(&self) -> Result<(Bridge, NatsServers)> {
        let default_rates = BridgeRates::for_line(&self.serial);
        let rates = BridgeRates {
            to_nats: self.nats_rate,
            to_line: self.serial_rate.unwrap_or(default_rates.to_line),
        };
        let nats = self.nats.settings().exits_with(ExitStatus::Configuration)?;
        let (line, configure) = (self.serial.clone(), |options| nats.configure(options));
        let connected =
            Bridge::connect_to(&self.cluster, line, &nats.servers, rates, configure).await;
        let bridge = connected
            .or_else(|error| match error {
                BridgeError::Connect(error) => {
                    Err(nats.explain(error)).exits_with(ExitStatus::Connection)
                }
                BridgeError::Open { .. } | BridgeError::Subscribe(_) => {
                    Err(error).exits_with(ExitStatus::Connection)
                }
                BridgeError::Cluster(_) => Err(error).exits_with(ExitStatus::Configuration),
                error => Err(Error::new(error)),
            })
            .context("could not start the bridge")?
            .with_line_name(&self.line_name)
            .with_mode(self.mode.into());
        Ok((bridge, nats.servers.clone()))
    }

    async fn carry_over(
        &self,
        bridge: Bridge,
        servers: &NatsServers,
        mut stop: Stop,
    ) -> Result<ExitCode> {
        let bridge_reporter =
            BridgeReporter { reporter: Reporter::new(self.json, Target::Stdout)? };
        let (cluster, line) = (&self.cluster, &self.serial);
        bridge_reporter
            .line(Line::new("start"), &format!("carries {cluster} between {line} and {servers}"));
        let line_lost = Notify::new();
        let stopped = async {
            tokio::select! {
                () = stop.wait() => ExitCode::SUCCESS,
                () = line_lost.notified() => ExitStatus::Connection.into(),
            }
        };
        let mut exit_code = ExitCode::SUCCESS;
        let counts = bridge
            .run(async { exit_code = stopped.await }, |event| {
                if self.exit_on_line_loss && matches!(event, BridgeEvent::Line(Connection::Lost(_)))
                {
                    line_lost.notify_one();
                }
                bridge_reporter.event(&event);
            })
            .await;
        bridge_reporter
            .line(Line { counts: Some(counts), ..Line::new("closed") }, &counts.to_string());
        Ok(exit_code)
    }
}

/// Prints what happens to the bridge.
#[derive(Debug)]
struct BridgeReporter {
    reporter: Reporter,
}

impl BridgeReporter {
    fn event(&self, event: &BridgeEvent) {
        match event {
            BridgeEvent::Line(change) => self.connection("line", change),
            BridgeEvent::Nats(change) => self.connection("nats", change),
            BridgeEvent::Counts(counts) => {
                let line = Line { counts: Some(*counts), ..Line::new("counts") };
                self.line(line, &counts.to_string());
            }
            BridgeEvent::Withheld(count) => {
                let words = format!("{count} more changes of the connections are not reported");
                let (reason, error) = (Some("withheld"), Some(words.clone()));
                let line = Line { reason, error, ..Line::new("error") };
                self.line(line, &words);
            }
            // There is nothing to print for kinds that this program doesn't know.
            _ => {}
        }
    }

    fn connection(&self, side: &str, change: &Connection) {
        let side_line = Line { side: Some(side), ..Line::new("conn") };
        let line = match change {
            Connection::Restored => Line { to: Some("restored"), ..side_line },
            _ => {
                let (reason, error) = (Some(change.name()), Some(change.to_string()));
                Line { reason, error, ..side_line }
            }
        };
        self.line(line, &format!("{side}: {change}"));
    }

    fn line(&self, line: Line<'_>, words: &str) {
        if self.reporter.is_json() {
            self.reporter.print_json(&line);
        } else {
            self.reporter.note_now(words);
        }
    }
}

impl<'a> Line<'a> {
    fn new(event: &'a str) -> Self {
        let ts = timestamp(SystemTime::now());
        Self { ts, event, side: None, to: None, reason: None, error: None, counts: None }
    }
}
