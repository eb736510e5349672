//! `graft watch`: a cluster, live.

mod screen;

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anstyle::AnsiColor;
use anyhow::{Error, Result};
use clap::Args;
use graft_election::{Connection, NodeId, Observation, ObservedRole, Observer};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::screen::Screen;

use crate::cluster_name::cluster_name;
use crate::election_timeout::parse_duration;
use crate::medium::{Medium, MediumArgs};
use crate::output::{json, print_now, until_unread};
use crate::report::time_of_day;
use crate::runtime;
use crate::seen::{Seen, UNVERIFIED, as_text, said};
use crate::status::{could_not_listen, is_heard, listen, nobody_is_heard};
use crate::stop::{self, Stop};

/// How often the table is drawn.
const DRAW_INTERVAL: Duration = Duration::from_millis(250);

/// How many of the last news are kept below the table.
const NEWS_MAX: usize = 100;

/// Watch a cluster without being one of its nodes: on a terminal a table that is always up to date,
/// elsewhere a line for each change.
///
/// As graft status, it only listens.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The cluster's name.
    #[arg(value_name = "CLUSTER", value_parser = cluster_name)]
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

/// Somebody who watches, for as long as there is something to be heard.
struct Watcher {
    observer: Observer<Medium>,
    /// Until when somebody must be heard, if nobody was.
    silent_until: Option<Instant>,
    /// Why nothing can be heard at present.
    lost: Option<String>,
}

/// Why there is nothing more to be heard.
enum End {
    /// Nobody was heard in time.
    Silence,
    /// It can't listen, or not to all that is said.
    Deaf(String),
}

impl WatchArgs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let draws = !self.json && io::stdout().is_terminal() && screen::can_draw();
        if draws {
            stop::hold()?;
        }
        let runtime = runtime::on_this_thread()?;
        runtime.block_on(async { if draws { self.draw().await } else { self.print().await } })
    }

    async fn begin(&self) -> Result<Watcher> {
        match listen(self.medium.open().await?, &self.cluster).await? {
            Some(observer) => {
                let silent_until = Some(Instant::now() + self.wait);
                Ok(Watcher { observer, silent_until, lost: None })
            }
            None => Err(self.explain(End::Silence).await),
        }
    }

    async fn explain(&self, end: End) -> Error {
        match end {
            End::Silence => nobody_is_heard(&self.medium, &self.cluster, self.wait).await,
            End::Deaf(why) => could_not_listen(&self.cluster, &why),
        }
    }

    /// Prints a line for each change until nobody reads them. A signal ends it as it ends any
    /// program.
    async fn print(&self) -> Result<ExitCode> {
        let mut watcher = self.begin().await?;
        let mut unread = until_unread()?;
        loop {
            let news = tokio::select! {
                news = watcher.next() => news,
                _ = &mut unread => return Ok(ExitCode::SUCCESS),
            };
            let news = match news {
                Ok(news) => news,
                Err(end) => return Err(self.explain(end).await),
            };
            let line = if self.json {
                watcher.as_json(&news)?
            } else {
                format!("{}  {}", time_of_day(SystemTime::now()), watcher.in_words(&news))
            };
            if !print_now(&line)? {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }

    /// Draws the table again and again until a signal comes.
    async fn draw(&self) -> Result<ExitCode> {
        let mut stop = Stop::new()?;
        let mut watcher = self.begin().await?;
        let mut screen = Screen::new()?;
        let mut ticks = interval(DRAW_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut news = VecDeque::new();
        let end = loop {
            tokio::select! {
                observation = watcher.next() => match observation {
                    Ok(observation) => {
                        let time = time_of_day(SystemTime::now());
                        news.push_front(format!("{time}  {}", watcher.in_words(&observation)));
                        news.truncate(NEWS_MAX);
                    }
                    Err(end) => break end,
                },
                _ = ticks.tick() => screen.draw(watcher.lines().into_iter().chain(news.clone())),
                () = screen.until_suspended() => screen.suspend().await,
                () = stop.wait() => {
                    screen.leave_with(&as_text(&watcher.observer.view()).join("\n"));
                    return Ok(ExitCode::SUCCESS);
                }
            }
        };
        drop(screen);
        tokio::select! {
            error = self.explain(end) => Err(error),
            () = stop.wait() => Ok(ExitCode::SUCCESS),
        }
    }
}

impl Watcher {
    /// What is noticed next. Cancel-safe.
    async fn next(&mut self) -> Result<Observation, End> {
        let silent_until = self.silent_until;
        let silence = async {
            match silent_until {
                Some(instant) => sleep_until(instant).await,
                None => std::future::pending().await,
            }
        };
        let news = tokio::select! {
            news = self.observer.next() => news,
            () = silence => return Err(self.lost.take().map_or(End::Silence, End::Deaf)),
        };
        match &news {
            Observation::Connection(Connection::Partial(why) | Connection::Closed(why)) => {
                return Err(End::Deaf(why.clone()));
            }
            Observation::Connection(change @ Connection::Lost(_)) => {
                self.lost = Some(change.to_string());
            }
            Observation::Connection(Connection::Restored) => self.lost = None,
            _ => {}
        }
        if is_heard(&self.observer.view()) {
            self.silent_until = None;
        }
        Ok(news)
    }

    /// All that is known, and an empty line.
    fn lines(&self) -> Vec<String> {
        let mut lines = as_text(&self.observer.view());
        let style = AnsiColor::Red.on_default();
        lines.extend(self.lost.iter().map(|why| format!("{style}{why}{style:#}")));
        lines.push(String::new());
        lines
    }

    fn in_words(&self, news: &Observation) -> String {
        match news {
            // Whoever can't hear doesn't know.
            Observation::LeaderChanged { leader: None, term, .. } if self.lost.is_some() => {
                format!("no leader is heard any more (term {term})")
            }
            news => in_words(news),
        }
    }

    fn as_json(&self, news: &Observation) -> Result<String> {
        let view = self.observer.view();
        let (event, id, role) = keys_of(news);
        let line = Line { event, id, role, text: self.in_words(news), seen: Seen::new(&view) };
        Ok(json(&line)?)
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

/// The event's name, and the node that it is about, with its role.
fn keys_of(news: &Observation) -> (&str, Option<&str>, Option<&str>) {
    match news {
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
    }
}
