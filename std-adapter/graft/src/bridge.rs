//! `graft bridge`: one cluster on a serial line and on NATS.

use std::io;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, Result};
use clap::Args;
use graft_election::{Bridge, BridgeCounts, BridgeEvent, BridgeRates, Connection, SerialLine};
use serde::Serialize;

use crate::report::{Reporter, nanoseconds, print_json};
use crate::stop::Stop;

/// Carries a cluster's messages between a serial line and NATS until SIGINT or SIGTERM.
///
/// What it can't carry it drops, counts, and reports every ten seconds and at the end.
#[derive(Debug, Args)]
pub(crate) struct Carry {
    /// The cluster's name.
    #[arg(long, value_name = "NAME")]
    cluster: String,
    /// The serial line: DEVICE@BAUD, unix:PATH or tcp:HOST:PORT.
    #[arg(long, value_name = "LINE")]
    link: SerialLine,
    /// The NATS server, or several separated by commas.
    #[arg(long, value_name = "URL", default_value = "nats://127.0.0.1:4222")]
    nats: String,
    /// The most messages a second to NATS.
    #[arg(long, value_name = "MESSAGES", default_value_t = BridgeRates::TO_NATS,
        value_parser = clap::value_parser!(u32).range(1..))]
    nats_rate: u32,
    /// The most bytes a second to the line; otherwise half of what it carries, or of 115200 baud.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    link_rate: Option<u32>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// A line for programs.
#[derive(Debug, Serialize)]
struct Line<'a> {
    /// Nanoseconds since 1970.
    ts: u64,
    event: &'a str,
    /// The id of this bridge among others.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    /// The side that a change is about: `line` or `nats`.
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The bridge that this one stands by for; empty if it carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    carrier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<BridgeCounts>,
}

impl Carry {
    pub(crate) fn run(self) -> Result<ExitCode> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("could not start the runtime")?
            .block_on(self.carry())
    }

    async fn carry(self) -> Result<ExitCode> {
        let mut stop = Stop::new()?;
        let usual = BridgeRates::for_line(&self.link);
        let rates = BridgeRates {
            to_nats: self.nats_rate,
            to_line: self.link_rate.unwrap_or(usual.to_line),
        };
        let servers: Vec<&str> = self.nats.split(',').collect();
        let bridge = Bridge::connect(&self.cluster, self.link.clone(), servers, rates)
            .await
            .context("could not start the bridge")?;
        let told = Told { reporter: Reporter::new(self.json) };
        let (cluster, link, nats) = (&self.cluster, &self.link, &self.nats);
        told.line(
            Line { id: Some(bridge.id().as_str()), ..Line::new("start") },
            &format!("carries {cluster} between {link} and {nats}, as {}", bridge.id()),
        )?;
        let mut all_told = Ok(());
        let counts = bridge
            .run(stop.wait(), |event| {
                let now_told = told.event(&event);
                all_told = std::mem::replace(&mut all_told, Ok(())).and(now_told);
            })
            .await;
        told.line(Line { counts: Some(counts), ..Line::new("closed") }, &counts.to_string())?;
        all_told?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints what the bridge tells.
#[derive(Debug)]
struct Told {
    reporter: Reporter,
}

impl Told {
    fn event(&self, event: &BridgeEvent) -> io::Result<()> {
        let change = |side, change: &Connection| {
            let line =
                Line { side: Some(side), error: Some(change.to_string()), ..Line::new("conn") };
            self.line(line, &format!("{side}: {change}"))
        };
        match event {
            BridgeEvent::Line(connection) => change("line", connection),
            BridgeEvent::Nats(connection) => change("nats", connection),
            BridgeEvent::StandsBy(carrier) => {
                let words = match carrier {
                    Some(carrier) => format!("stands by for {carrier}, which carries everything"),
                    None => "carries everything again".to_owned(),
                };
                let carrier = carrier.as_ref().map(ToString::to_string).unwrap_or_default();
                self.line(Line { carrier: Some(carrier), ..Line::new("standby") }, &words)
            }
            BridgeEvent::Counts(counts) => {
                let line = Line { counts: Some(*counts), ..Line::new("counts") };
                self.line(line, &counts.to_string())
            }
            // Kinds this program doesn't know have nothing to print.
            _ => Ok(()),
        }
    }

    fn line(&self, line: Line<'_>, words: &str) -> io::Result<()> {
        if self.reporter.is_json() { print_json(&line) } else { self.reporter.note_now(words) }
    }
}

impl<'a> Line<'a> {
    fn new(event: &'a str) -> Self {
        let ts = nanoseconds(SystemTime::now());
        Self { ts, event, id: None, side: None, error: None, carrier: None, counts: None }
    }
}
