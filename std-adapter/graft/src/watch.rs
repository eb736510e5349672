//! `graft watch`: a cluster, live.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use anyhow::{Context, Result};
use clap::Args;
use graft_election::{NodeId, Observation, ObservedRole, Observer};
use rustix::termios::tcgetwinsize;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::election_timeout::parse_duration;
use crate::medium::{Medium, MediumArgs};
use crate::output::Output;
use crate::report::time_of_day;
use crate::runtime;
use crate::seen::{Seen, UNVERIFIED, as_text, said};
use crate::status::{listen, nobody_is_heard};
use crate::stop::{self, Stop};

/// How often the table is drawn.
const DRAW_INTERVAL: Duration = Duration::from_millis(250);

/// How many rows a terminal has that doesn't know.
const ROWS: u16 = 24;

/// How many of the last news are kept below the table.
const NEWS_MAX: usize = 100;

/// The terminal's other screen, where nothing shows the cursor or wraps long lines, and back.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l";
const LEAVE: &str = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";

/// To the upper left, and nothing below.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

/// Watch a cluster without being one of its nodes: on a terminal a table that is always up to date,
/// elsewhere a line for each change.
///
/// As graft status, it only listens.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The cluster's name.
    #[arg(value_name = "CLUSTER")]
    cluster: String,
    /// How long nobody may be heard at first.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    wait: Duration,
    /// Print a JSON object for each change, with all that is known then.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    medium: MediumArgs,
}

/// A change, for programs.
#[derive(Debug, Serialize)]
struct Line<'a> {
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    /// The role of that node; `silent` if nothing is heard of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    /// In words.
    text: String,
    seen: Seen<'a>,
}

impl WatchArgs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let draws = !self.json && io::stdout().is_terminal();
        if draws {
            stop::hold()?;
        }
        let runtime = runtime::on_this_thread()?;
        runtime.block_on(async { if draws { self.draw().await } else { self.print().await } })
    }

    async fn observe(&self) -> Result<Observer<Medium>> {
        match listen(self.medium.open().await?, &self.cluster).await? {
            Some(observer) => Ok(observer),
            None => Err(nobody_is_heard(&self.medium, &self.cluster, self.wait).await),
        }
    }

    /// Prints a line for each change until nobody reads them. A signal ends it as it ends any
    /// program.
    async fn print(&self) -> Result<ExitCode> {
        let mut observer = self.observe().await?;
        let end = Instant::now() + self.wait;
        let mut first = timeout_at(end, observer.next()).await.ok();
        if first.is_none() {
            return Err(nobody_is_heard(&self.medium, &self.cluster, self.wait).await);
        }
        loop {
            let news = match first.take() {
                Some(news) => news,
                None => observer.next().await,
            };
            let line = if self.json {
                as_json(&news, &observer)?
            } else {
                format!("{}  {}", time_of_day(SystemTime::now()), in_words(&news))
            };
            let written = writeln!(anstream::stdout(), "{line}");
            if written.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }

    /// Draws the table again and again until a signal comes.
    async fn draw(&self) -> Result<ExitCode> {
        let mut stop = Stop::new()?;
        let mut observer = self.observe().await?;
        let output = Output::stdout(|_| String::new()).context("could not start to print")?;
        let mut ticks = interval(DRAW_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut news = VecDeque::new();
        let mut before = ENTER;
        loop {
            tokio::select! {
                observation = observer.next() => {
                    let time = time_of_day(SystemTime::now());
                    news.push_front(format!("{time}  {}", in_words(&observation)));
                    news.truncate(NEWS_MAX);
                }
                _ = ticks.tick() => {
                    output.print(format!("{before}{}", frame(&observer, &news)));
                    before = "";
                }
                () = stop.wait() => break,
            }
        }
        let last = as_text(&observer.view()).join("\n");
        output.print(format!("{LEAVE}{}", styled(last)));
        Ok(ExitCode::SUCCESS)
    }
}

/// What the screen shows: as much as fits.
fn frame(observer: &Observer<Medium>, news: &VecDeque<String>) -> String {
    // Some terminals don't know their size.
    let rows = tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_row);
    let rows = if rows == 0 { ROWS } else { rows };
    let mut lines = as_text(&observer.view());
    lines.push(String::new());
    lines.extend(news.iter().cloned());
    // The last row is for the cursor.
    lines.truncate(usize::from(rows).saturating_sub(1));
    format!("{CLEAR}{}", styled(lines.join("\r\n")))
}

/// With colours only if they are wanted.
fn styled(text: String) -> String {
    match AutoStream::choice(&io::stdout()) {
        ColorChoice::Never => strip_str(&text).to_string(),
        _ => text,
    }
}

fn in_words(news: &Observation) -> String {
    match news {
        Observation::LeaderChanged { leader: Some(leader), term, value } => {
            format!("{leader} leads in term {term}{}", said(value))
        }
        Observation::LeaderChanged { leader: None, term, .. } => {
            format!("nobody leads (term {term})")
        }
        Observation::NodeChanged { id, role: Some(ObservedRole::Unknown) } => {
            format!("{id} is there")
        }
        Observation::NodeChanged { id, role: Some(role) } => format!("{id} is a {role}"),
        Observation::NodeChanged { id, role: None } => format!("{id} has fallen silent"),
        Observation::Disagreement(found) => found.to_string(),
        Observation::Unverified => UNVERIFIED.to_owned(),
        Observation::Unauthentic { sender, error } => {
            let who = sender.as_ref().map_or("somebody", NodeId::as_str);
            format!("dropped a message in the name of {who}: {error}")
        }
        Observation::Connection(change) => change.to_string(),
        _ => "something has changed".to_owned(),
    }
}

fn as_json(news: &Observation, observer: &Observer<Medium>) -> Result<String> {
    let view = observer.view();
    let (event, id, role) = match news {
        Observation::LeaderChanged { .. } => ("leader_changed", None, None),
        Observation::NodeChanged { id, role } => {
            ("node_changed", Some(id.as_str()), Some(role.map_or("silent", ObservedRole::name)))
        }
        Observation::Disagreement(_) => ("disagreement", None, None),
        Observation::Unverified => ("unverified", None, None),
        Observation::Unauthentic { sender, .. } => {
            ("unauthentic", sender.as_ref().map(NodeId::as_str), None)
        }
        Observation::Connection(_) => ("connection_changed", None, None),
        _ => ("changed", None, None),
    };
    let line = Line { event, id, role, text: in_words(news), seen: Seen::new(&view) };
    Ok(serde_json::to_string(&line)?)
}
