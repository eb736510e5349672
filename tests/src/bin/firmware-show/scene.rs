//! The boards that are shown, and what their logs say of them.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use graft_election_core::{State, quorum};
use graft_election_tests::board::Board;
use graft_election_tests::bus::{Bus, Member};
use serde::Serialize;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::log_line::LogLine;
use crate::report::{About, Line, Reporter, alarming, painted};
use crate::story::{Led, Story};

/// Boards on one bus, whose logs are printed as they come.
#[derive(Debug)]
pub(crate) struct Scene {
    reporter: Reporter,
    story: Story,
    boards: Vec<ShownBoard>,
    logged: mpsc::UnboundedReceiver<Logged>,
    log: mpsc::UnboundedSender<Logged>,
    _bus: Bus,
    _folder: TempDir,
}

/// A board, and what its log says of it.
#[derive(Debug)]
struct ShownBoard {
    board: Board,
    id: String,
    is_on: bool,
    /// How often it has been switched on.
    incarnation: usize,
    state: State,
    term: u64,
    leader: String,
    _member: Member,
}

/// A line that a board has logged; none when its log has ended.
#[derive(Debug)]
struct Logged {
    index: usize,
    incarnation: usize,
    line: Option<String>,
}

/// The summary for programs, with the keys that `graft demo` has.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    #[serde(flatten)]
    line: Line<'a>,
    nodes: usize,
    first_leader: &'a str,
    first_term: u64,
    first_after_ms: u128,
    next_leader: Option<&'a str>,
    next_term: Option<u64>,
    next_after_ms: Option<u128>,
    last_leader: &'a str,
    last_term: u64,
}

impl Scene {
    /// Switches on `size` new boards.
    pub(crate) fn start(size: u32, reporter: Reporter) -> Result<Self> {
        let folder =
            tempfile::tempdir().context("could not create a folder for the boards' memory")?;
        let bus = Bus::new();
        let boards = (1..=size).map(|number| {
            let member = bus.join(&format!("board-{number}"));
            let board = Board::new(number, size, folder.path(), member.socket());
            ShownBoard {
                id: board.id(),
                board,
                is_on: false,
                incarnation: 0,
                state: State::Follower,
                term: 0,
                leader: String::new(),
                _member: member,
            }
        });
        let boards = boards.collect();
        let (log, logged) = mpsc::unbounded_channel();
        let story = Story::begin();
        let mut scene = Self { reporter, story, boards, logged, log, _bus: bus, _folder: folder };
        scene.reporter.heading(&format!("{size} boards are switched on"))?;
        for index in 0..scene.boards.len() {
            scene.give_power(index)?;
        }
        Ok(scene)
    }

    /// Gives a board its power back.
    pub(crate) fn switch_on(&mut self, index: usize) -> Result<()> {
        let id = &self.boards[index].id;
        self.reporter.heading(&format!("{id} has its power back"))?;
        self.give_power(index)
    }

    /// Cuts a board's power.
    pub(crate) fn cut_power(&mut self, index: usize) -> Result<()> {
        let Self { boards, reporter, story, .. } = self;
        let shown = &mut boards[index];
        reporter.heading(&format!("{} loses its power", shown.id))?;
        shown.board.cut_power();
        shown.is_on = false;
        story.loses(&shown.id);
        self.report_power(index, ["on", "off"])
    }

    /// Cuts a board's power, or gives it back. If there is no such board, does nothing.
    pub(crate) fn toggle(&mut self, index: usize) -> Result<()> {
        match self.boards.get(index) {
            None => Ok(()),
            Some(shown) if shown.is_on => self.cut_power(index),
            Some(_) => self.switch_on(index),
        }
    }

    /// Prints what is logged for this long.
    pub(crate) async fn watch_for(&mut self, duration: Duration) -> Result<()> {
        let watched = timeout(duration, async {
            loop {
                self.watch().await?;
            }
        });
        watched.await.unwrap_or(Ok(()))
    }

    /// Waits until all boards that have power follow one of them, and returns its index.
    pub(crate) async fn wait_for_leader(&mut self, limit: Duration) -> Result<usize> {
        let agreed = timeout(limit, async {
            loop {
                match self.agreed_leader() {
                    Some(leader) => return Ok(leader),
                    None => self.watch().await?,
                }
            }
        });
        let seconds = limit.as_secs();
        agreed.await.with_context(|| format!("no leader within {seconds} seconds"))?
    }

    /// Waits for the next thing that is logged, and prints it. Cancel-safe.
    pub(crate) async fn watch(&mut self) -> Result<()> {
        let Some(Logged { index, incarnation, line }) = self.logged.recv().await else {
            bail!("no board logs anything any more");
        };
        let shown = &self.boards[index];
        // The last lines of a board without power may arrive late.
        if !shown.is_on || incarnation != shown.incarnation {
            return Ok(());
        }
        let Some(line) = line else { return self.end(index) };
        self.take_in(index, &line)?;
        if let Some(leader) = self.agreed_leader() {
            let leader = &self.boards[leader];
            self.story.leads(&leader.id, leader.term);
        }
        Ok(())
    }

    /// The board that leads; the one in the higher term, if two do.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leads = |index: &usize| {
            let shown = &self.boards[*index];
            shown.is_on && shown.state == State::Leader
        };
        let leaders = (0..self.boards.len()).filter(leads);
        leaders.max_by_key(|index| self.boards[*index].term)
    }

    /// Prints a line that isn't about one board.
    pub(crate) fn note(&self, words: &str) -> Result<()> {
        Ok(self.reporter.note(words)?)
    }

    /// Prints the summary.
    ///
    /// # Errors
    ///
    /// No leader was elected.
    pub(crate) fn summarize(&self) -> Result<()> {
        let Story { first, lost, next, .. } = &self.story;
        let elapsed = self.story.elapsed().as_secs();
        let first = first.as_ref();
        let first = first.with_context(|| format!("no leader was elected in {elapsed} seconds"))?;
        let next = next.as_ref();
        let last = self.agreed_leader().map(|leader| &self.boards[leader]);
        let (last_leader, last_term) = last.map_or(("", 0), |last| (&last.id, last.term));
        let summary = Summary {
            line: Line::new("summary", last_leader, last_term, last_leader),
            nodes: self.boards.len(),
            first_leader: &first.leader,
            first_term: first.term,
            first_after_ms: first.after.as_millis(),
            next_leader: next.map(|next| next.leader.as_str()),
            next_term: next.map(|next| next.term),
            next_after_ms: next.map(|next| next.after.as_millis()),
            last_leader,
            last_term,
        };
        let in_words = |led: &Led| {
            format!("{} in term {}, {} ms after", led.leader, led.term, led.after.as_millis())
        };
        let size = self.boards.len();
        let on = self.boards.iter().filter(|shown| shown.is_on).count();
        let lines = [
            format!("first leader  {} the start", in_words(first)),
            match (next, lost) {
                (Some(next), Some(lost)) => {
                    format!("next leader   {} {} lost its power", in_words(next), lost.leader)
                }
                (None, Some(lost)) => {
                    format!("next leader   none since {} lost its power", lost.leader)
                }
                (_, None) => "next leader   none was needed".to_owned(),
            },
            match last {
                Some(last) => format!(
                    "at the end    {} leads term {}, and all {on} boards with power agree",
                    last.id, last.term
                ),
                None => {
                    format!("at the end    {on} of {size} boards have power, and no agreed leader")
                }
            },
        ];
        Ok(self.reporter.summary(&summary, &lines)?)
    }

    /// The board that all boards with power follow in its term, if these are enough to elect one.
    fn agreed_leader(&self) -> Option<usize> {
        let leader = self.leader()?;
        let ShownBoard { id, term, .. } = &self.boards[leader];
        let mut on = self.boards.iter().filter(|shown| shown.is_on);
        let are_enough = on.clone().count() >= quorum(self.boards.len());
        let agree = on.all(|shown| shown.term == *term && shown.leader == *id);
        (are_enough && agree).then_some(leader)
    }

    /// Switches a board on, and forwards its log.
    fn give_power(&mut self, index: usize) -> Result<()> {
        let shown = &mut self.boards[index];
        shown.board.switch_on();
        shown.is_on = true;
        shown.incarnation += 1;
        shown.state = State::Follower;
        shown.leader.clear();
        let (incarnation, log) = (shown.incarnation, self.log.clone());
        let mut lines = shown.board.listen();
        tokio::spawn(async move {
            let mut forwarded = 0;
            loop {
                let is_open = lines.changed().await.is_ok();
                let all = std::sync::Arc::clone(&lines.borrow_and_update());
                for line in &all[forwarded..] {
                    let _ = log.send(Logged { index, incarnation, line: Some(line.clone()) });
                }
                forwarded = all.len();
                if !is_open {
                    break;
                }
            }
            // Nobody receives it once the show is over.
            let _ = log.send(Logged { index, incarnation, line: None });
        });
        self.report_power(index, ["off", "on"])
    }

    /// The firmware exited, which is a defect that the show must not hide.
    fn end(&mut self, index: usize) -> Result<()> {
        let shown = &mut self.boards[index];
        shown.board.cut_power();
        shown.is_on = false;
        self.report_fault(index, "the firmware ended by itself")?;
        self.report_power(index, ["on", "off"])?;
        let is_any_on = self.boards.iter().any(|shown| shown.is_on);
        ensure!(is_any_on, "no firmware runs any more");
        Ok(())
    }

    /// Takes in what a board has logged, and prints it.
    fn take_in(&mut self, index: usize, line: &str) -> Result<()> {
        let shown = &mut self.boards[index];
        let id = shown.id.clone();
        match LogLine::read(line) {
            LogLine::Started { term, vote } => {
                (shown.state, shown.term) = (State::Follower, term);
                shown.leader.clear();
                let words = match vote {
                    Some(vote) => format!("starts with its vote for {vote}"),
                    None => "starts without a vote".to_owned(),
                };
                let line = Line { to: State::Follower.to_string(), ..self.line(index, "start") };
                self.report(index, &line, Some(&words))
            }
            LogLine::StateChanged { from, to, term, reason } => {
                (shown.state, shown.term) = (to, term);
                shown.leader = if to == State::Leader { id } else { String::new() };
                let words = format!("{from} -> {} ({reason})", painted(to));
                let (from, to) = (from.to_string(), to.to_string());
                let (text, reason) = (Some(reason.to_string()), Some(reason.name()));
                let line = Line { from, to, reason, text, ..self.line(index, "state") };
                self.report(index, &line, Some(&words))
            }
            LogLine::LeaderChanged { leader, term } => {
                shown.term = term;
                shown.leader = leader.unwrap_or_default().to_owned();
                // Its own leadership has just been printed.
                let words = match leader {
                    Some(leader) if leader == id => None,
                    Some(leader) => Some(format!("follows {leader}")),
                    None => Some("has no leader".to_owned()),
                };
                self.report(index, &self.line(index, "leader"), words.as_deref())
            }
            LogLine::Light { token } => {
                let line = self.line(index, "lease");
                let (line, words) = match token {
                    Some(token) => {
                        let words = format!("holds the lease (token {token}): its light is on");
                        (Line { to: "held".to_owned(), ..line }, words)
                    }
                    None => {
                        let words = "holds no lease any more: its light is off".to_owned();
                        (Line { from: "held".to_owned(), ..line }, words)
                    }
                };
                self.report(index, &line, Some(&words))
            }
            LogLine::Fault(error) => self.report_fault(index, error),
        }
    }

    fn report_power(&self, index: usize, [from, to]: [&str; 2]) -> Result<()> {
        let line = self.line(index, "power");
        self.report(index, &Line { from: from.into(), to: to.into(), ..line }, None)
    }

    fn report_fault(&self, index: usize, error: &str) -> Result<()> {
        let line = Line { error: Some(error), ..self.line(index, "error") };
        self.report(index, &line, Some(&alarming(error)))
    }

    fn report(&self, index: usize, line: &Line<'_>, words: Option<&str>) -> Result<()> {
        let ShownBoard { id, term, .. } = &self.boards[index];
        let about = About { at: self.story.elapsed(), index, id, term: *term };
        Ok(self.reporter.event(line, about, words)?)
    }

    fn line<'a>(&'a self, index: usize, event: &'a str) -> Line<'a> {
        let ShownBoard { id, term, leader, .. } = &self.boards[index];
        Line::new(event, id, *term, leader)
    }
}
