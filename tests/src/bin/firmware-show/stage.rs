//! The boards, and what is known of them.

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
pub(crate) struct Stage {
    reporter: Reporter,
    story: Story,
    boards: Vec<OnStage>,
    logged: mpsc::UnboundedReceiver<Logged>,
    log: mpsc::UnboundedSender<Logged>,
    _bus: Bus,
    _folder: TempDir,
}

/// A board, and what its log has told of it.
#[derive(Debug)]
struct OnStage {
    board: Board,
    id: String,
    is_on: bool,
    /// How often it was switched on.
    lives: usize,
    state: State,
    term: u64,
    leader: String,
    _member: Member,
}

/// What a board has logged, or that it logs nothing any more.
#[derive(Debug)]
struct Logged {
    place: usize,
    life: usize,
    line: Option<String>,
}

/// How it went, for programs: the line of `graft demo`.
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

impl Stage {
    /// Switches on `size` new boards.
    pub(crate) fn start(size: u32, reporter: Reporter) -> Result<Self> {
        let folder = tempfile::tempdir().context("there is no folder for the boards' memory")?;
        let bus = Bus::new();
        let boards = (1..=size).map(|number| {
            let member = bus.join(&format!("board-{number}"));
            let board = Board::new(number, size, folder.path(), member.socket());
            OnStage {
                id: board.id(),
                board,
                is_on: false,
                lives: 0,
                state: State::Follower,
                term: 0,
                leader: String::new(),
                _member: member,
            }
        });
        let boards = boards.collect();
        let (log, logged) = mpsc::unbounded_channel();
        let story = Story::begin();
        let mut stage = Self { reporter, story, boards, logged, log, _bus: bus, _folder: folder };
        stage.reporter.heading(&format!("{size} boards are switched on"))?;
        for place in 0..stage.boards.len() {
            stage.give_power(place)?;
        }
        Ok(stage)
    }

    /// Gives a board its power back.
    pub(crate) fn switch_on(&mut self, place: usize) -> Result<()> {
        let id = &self.boards[place].id;
        self.reporter.heading(&format!("{id} has its power back"))?;
        self.give_power(place)
    }

    /// Takes a board's power away.
    pub(crate) fn cut_power(&mut self, place: usize) -> Result<()> {
        let Self { boards, reporter, story, .. } = self;
        let on_stage = &mut boards[place];
        reporter.heading(&format!("{} loses its power", on_stage.id))?;
        on_stage.board.cut_power();
        on_stage.is_on = false;
        story.loses(&on_stage.id);
        self.report_power(place, ["on", "off"])
    }

    /// Takes a board's power away, or gives it back. There may be no such board.
    pub(crate) fn toggle(&mut self, place: usize) -> Result<()> {
        match self.boards.get(place) {
            None => Ok(()),
            Some(on_stage) if on_stage.is_on => self.cut_power(place),
            Some(_) => self.switch_on(place),
        }
    }

    /// Prints what is logged for so long.
    pub(crate) async fn watch_for(&mut self, duration: Duration) -> Result<()> {
        let watched = timeout(duration, async {
            loop {
                self.watch().await?;
            }
        });
        watched.await.unwrap_or(Ok(()))
    }

    /// Waits until all boards that have power follow one of them, which is returned.
    pub(crate) async fn wait_for_leader(&mut self, patience: Duration) -> Result<usize> {
        let agreed = timeout(patience, async {
            loop {
                match self.agreed_leader() {
                    Some(leader) => return Ok(leader),
                    None => self.watch().await?,
                }
            }
        });
        let seconds = patience.as_secs();
        agreed.await.with_context(|| format!("no leader within {seconds} seconds"))?
    }

    /// Waits for the next thing that is logged, and prints it. Cancel-safe.
    pub(crate) async fn watch(&mut self) -> Result<()> {
        let Some(Logged { place, life, line }) = self.logged.recv().await else {
            bail!("nothing is logged any more");
        };
        let on_stage = &self.boards[place];
        // What a board without power said last may still be on its way.
        if !on_stage.is_on || life != on_stage.lives {
            return Ok(());
        }
        let Some(line) = line else { return self.end(place) };
        self.note_down(place, &line)?;
        if let Some(leader) = self.agreed_leader() {
            let leader = &self.boards[leader];
            self.story.leads(&leader.id, leader.term);
        }
        Ok(())
    }

    /// Who leads; in the highest term, if there are two.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leads = |place: &usize| {
            let on_stage = &self.boards[*place];
            on_stage.is_on && on_stage.state == State::Leader
        };
        let leaders = (0..self.boards.len()).filter(leads);
        leaders.max_by_key(|place| self.boards[*place].term)
    }

    /// A line that is about no board.
    pub(crate) fn note(&self, words: &str) -> Result<()> {
        Ok(self.reporter.note(words)?)
    }

    /// Tells how it went.
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
        let on = self.boards.iter().filter(|on_stage| on_stage.is_on).count();
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

    /// The one whom all that have power follow in its term, if they are enough to elect one.
    fn agreed_leader(&self) -> Option<usize> {
        let leader = self.leader()?;
        let OnStage { id, term, .. } = &self.boards[leader];
        let mut on = self.boards.iter().filter(|on_stage| on_stage.is_on);
        let are_enough = on.clone().count() >= quorum(self.boards.len());
        let agree = on.all(|on_stage| on_stage.term == *term && on_stage.leader == *id);
        (are_enough && agree).then_some(leader)
    }

    /// Switches a board on, and has its log come in.
    fn give_power(&mut self, place: usize) -> Result<()> {
        let on_stage = &mut self.boards[place];
        on_stage.board.switch_on();
        on_stage.is_on = true;
        on_stage.lives += 1;
        on_stage.state = State::Follower;
        on_stage.leader.clear();
        let (life, log) = (on_stage.lives, self.log.clone());
        let mut lines = on_stage.board.listen();
        tokio::spawn(async move {
            let mut told = 0;
            loop {
                let is_open = lines.changed().await.is_ok();
                let all = std::sync::Arc::clone(&lines.borrow_and_update());
                for line in &all[told..] {
                    let _ = log.send(Logged { place, life, line: Some(line.clone()) });
                }
                told = all.len();
                if !is_open {
                    break;
                }
            }
            // The program may be over.
            let _ = log.send(Logged { place, life, line: None });
        });
        self.report_power(place, ["off", "on"])
    }

    /// The firmware ended by itself. That is a defect of it, which is shown and not hidden.
    fn end(&mut self, place: usize) -> Result<()> {
        let on_stage = &mut self.boards[place];
        on_stage.board.cut_power();
        on_stage.is_on = false;
        self.report_fault(place, "the firmware ended by itself")?;
        self.report_power(place, ["on", "off"])?;
        let is_any_on = self.boards.iter().any(|on_stage| on_stage.is_on);
        ensure!(is_any_on, "no firmware runs any more");
        Ok(())
    }

    /// Takes in what a board has logged, and prints it.
    fn note_down(&mut self, place: usize, line: &str) -> Result<()> {
        let on_stage = &mut self.boards[place];
        let id = on_stage.id.clone();
        match LogLine::read(line) {
            LogLine::Started { term, vote } => {
                (on_stage.state, on_stage.term) = (State::Follower, term);
                on_stage.leader.clear();
                let words = match vote {
                    Some(vote) => format!("starts with its vote for {vote}"),
                    None => "starts without a vote".to_owned(),
                };
                let line = Line { to: State::Follower.to_string(), ..self.line(place, "start") };
                self.report(place, &line, Some(&words))
            }
            LogLine::StateChanged { from, to, term, reason } => {
                (on_stage.state, on_stage.term) = (to, term);
                on_stage.leader = if to == State::Leader { id } else { String::new() };
                let words = format!("{from} -> {} ({reason})", painted(to));
                let (from, to) = (from.to_string(), to.to_string());
                let reason = Some(reason.to_string());
                let line = Line { from, to, reason, ..self.line(place, "state") };
                self.report(place, &line, Some(&words))
            }
            LogLine::LeaderChanged { leader, term } => {
                on_stage.term = term;
                on_stage.leader = leader.unwrap_or_default().to_owned();
                // Its own leadership was just told.
                let words = match leader {
                    Some(leader) if leader == id => None,
                    Some(leader) => Some(format!("follows {leader}")),
                    None => Some("has no leader".to_owned()),
                };
                self.report(place, &self.line(place, "leader"), words.as_deref())
            }
            LogLine::Light { token } => {
                let line = self.line(place, "lease");
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
                self.report(place, &line, Some(&words))
            }
            LogLine::Fault(error) => self.report_fault(place, error),
        }
    }

    fn report_power(&self, place: usize, [from, to]: [&str; 2]) -> Result<()> {
        let line = self.line(place, "power");
        self.report(place, &Line { from: from.into(), to: to.into(), ..line }, None)
    }

    fn report_fault(&self, place: usize, error: &str) -> Result<()> {
        let line = Line { error: Some(error), ..self.line(place, "error") };
        self.report(place, &line, Some(&alarming(error)))
    }

    fn report(&self, place: usize, line: &Line<'_>, words: Option<&str>) -> Result<()> {
        let OnStage { id, term, .. } = &self.boards[place];
        let about = About { at: self.story.elapsed(), place, id, term: *term };
        Ok(self.reporter.event(line, about, words)?)
    }

    fn line<'a>(&'a self, place: usize, event: &'a str) -> Line<'a> {
        let OnStage { id, term, leader, .. } = &self.boards[place];
        Line::new(event, id, *term, leader)
    }
}
