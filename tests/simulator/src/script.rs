//! Scripts: steps, each with the transcript of what came of it.
//!
//! ```text
//! # Lines that begin with # are for the reader.
//! nodes 3
//!
//! timeout a
//!   869 ms later
//!   a: Follower -> Candidate in term 1 (heard from no leader for an election timeout)
//!   a saves term=1 vote=a
//!   a -> b c: vote-request term=1 candidate=a size=3
//! ```
//!
//! First come the lines of the [`Setup`], then [`Step`]s, one on each line. Three kinds of line are
//! not steps: `status` shows what each node is, `time` shows how much time has passed since the
//! last `time`, and `run 2s` lets that time pass, in which timers wake their nodes and messages
//! arrive at once, and shows only what changes. Lines that begin with a space are the transcript:
//! [`run`] writes it again, and a script holds if that changes nothing.

use std::time::Duration;

use crate::step_text::parse_span;
use crate::transcript::Transcript;
use crate::{Condition, Moment, NodeIndex, Pick, Setup, Step, World};

/// After this many timeouts in one `run`, time will never pass.
const TIMEOUTS_MAX: usize = 100_000;

/// What is wrong with a script, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ScriptError {
    /// The line's number, from 1 on.
    pub line: usize,
    /// What was expected, what can't happen, or which rule was broken.
    pub what: String,
}

/// Plays a script. Returns it with the transcript of what happened.
///
/// # Errors
///
/// [`ScriptError`], at the first line that is not a step, can't happen, or breaks a rule.
pub fn run(script: &str) -> Result<String, ScriptError> {
    let mut player = Player {
        setup: Setup::new(3),
        world: None,
        transcript: Transcript::default(),
        timed_at: Moment::default(),
    };
    let mut written = String::new();
    for (number, line) in (1..).zip(script.lines()) {
        if line.starts_with(' ') {
            continue;
        }
        written += line.trim_end();
        written.push('\n');
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.is_empty() || line.starts_with('#') {
            continue;
        }
        let lines = player.play(&words).map_err(|what| ScriptError { line: number, what })?;
        written += &lines;
    }
    Ok(written)
}

/// Compares a script with what came of it.
///
/// # Errors
///
/// [`ScriptError`] says where they differ first.
pub fn compare(script: &str, written: &str) -> Result<(), ScriptError> {
    let (mut expected, mut found) = (script.lines(), written.lines());
    for line in 1.. {
        let what = match (expected.next(), found.next()) {
            (None, None) => return Ok(()),
            (expected, found) if expected == found => continue,
            (Some(expected), Some(found)) => format!("expected {expected:?}, found {found:?}"),
            (Some(expected), None) => format!("expected {expected:?}, found the end"),
            (None, found) => format!("expected the end, found {:?}", found.unwrap_or_default()),
        };
        return Err(ScriptError { line, what });
    }
    Ok(())
}

/// Whether a line belongs to the setup.
pub(crate) fn is_setup(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    Setup::new(NodeIndex::COUNT_MAX).read_line(&words) == Ok(true)
}

struct Player {
    setup: Setup,
    /// Absent until the first step.
    world: Option<World>,
    transcript: Transcript,
    /// When the script last asked for the time.
    timed_at: Moment,
}

impl Player {
    /// Does what a line says. Returns the transcript of what came of it.
    fn play(&mut self, words: &[&str]) -> Result<String, String> {
        if self.world.is_none() && self.setup.read_line(words)? {
            return Ok(String::new());
        }
        let world = match &mut self.world {
            Some(world) => world,
            None => {
                let world = begin(&self.setup)?;
                self.timed_at = world.now();
                self.world.insert(world)
            }
        };
        match words {
            ["status"] => {
                self.transcript.write_status(world);
                return Ok(self.transcript.take_lines());
            }
            ["time"] => {
                let passed = world.now().since(self.timed_at).as_millis();
                self.timed_at = world.now();
                return Ok(format!("  {passed} ms have passed\n"));
            }
            ["run", span] => return self.run(parse_span(span)?),
            _ => {}
        }
        let line = words.join(" ");
        let step: Step = line.parse().map_err(|error| format!("{error}"))?;
        let before = world.now();
        self.apply(&step)?;
        let mut lines = String::new();
        if !matches!(step, Step::Advance(_)) {
            lines += &self.time_passed(before);
        }
        lines += &self.transcript.take_lines();
        if lines.is_empty() && is_input(&step) {
            lines += "  nothing comes of it\n";
        }
        Ok(lines)
    }

    /// Lets timers wake their nodes and messages arrive for a while. Returns a transcript of the
    /// changes.
    fn run(&mut self, span: Duration) -> Result<String, String> {
        let end = self.now().plus(span);
        let (mut lines, mut shown_at) = (String::new(), self.now());
        self.transcript.is_brief = true;
        let mut timeouts = 0;
        loop {
            self.apply(&Step::Settle)?;
            let news = self.transcript.take_lines();
            if !news.is_empty() {
                lines += &self.time_passed(shown_at);
                lines += &news;
                shown_at = self.now();
            }
            let next = self.next_timer().filter(|(due_at, _)| *due_at <= end);
            let Some((_, node)) = next else { break };
            timeouts += 1;
            if timeouts > TIMEOUTS_MAX {
                return Err(format!("time stands still: {node}'s timer is always due"));
            }
            self.apply(&Step::TimeOut(node))?;
        }
        self.transcript.is_brief = false;
        self.apply(&Step::Advance(end.since(self.now())))?;
        if lines.is_empty() {
            lines += "  nothing changes\n";
        }
        Ok(lines)
    }

    /// The timer that runs out next, and whose it is.
    fn next_timer(&self) -> Option<(Moment, NodeIndex)> {
        let world = self.world.as_ref()?;
        let waits = |node: &NodeIndex| world.condition(*node) == Condition::Waiting;
        let timers = world.nodes().filter(waits).map(|node| (world.due_at(node), node));
        timers.min()
    }

    fn now(&self) -> Moment {
        self.world.as_ref().map_or(Moment::default(), World::now)
    }

    fn time_passed(&self, since: Moment) -> String {
        if self.now() == since {
            return String::new();
        }
        format!("  {} ms later\n", self.now().since(since).as_millis())
    }

    /// Lets a step happen. It must be possible, and break no rule.
    fn apply(&mut self, step: &Step) -> Result<(), String> {
        let Some(world) = &mut self.world else { return Ok(()) };
        let applied = world.apply(step, &mut self.transcript);
        applied.map_err(|error| format!("\"{step}\" can't happen: {error}"))?;
        world.violation().map_or(Ok(()), |violation| Err(violation.to_string()))
    }
}

/// Whether a step gives a node something to answer.
fn is_input(step: &Step) -> bool {
    matches!(
        step,
        Step::TimeOut(_)
            | Step::Settle
            | Step::HandOver { .. }
            | Step::ChangeVoters { .. }
            | Step::Close(_)
            | Step::HoldBack { .. }
            | Step::Save(_)
    )
}

/// A world whose nodes have started. Unless the setup wants to see it, they have asked whether
/// another process uses their id, and nobody has answered in time (rule N5).
fn begin(setup: &Setup) -> Result<World, String> {
    let mut refused = None;
    let mut world = World::new(setup.clone(), &mut |event: crate::Event<'_>| {
        if let crate::Event::ConfigRefused(node, error) = event {
            refused = Some(format!("{node} doesn't start: {error}"));
        }
    });
    if let Some(refused) = refused {
        return Err(refused);
    }
    if !setup.just_started {
        let all = Pick { from: None, to: None, older: 0 };
        let ask = world.nodes().map(Step::TimeOut).collect::<Vec<_>>();
        let times = setup.nodes.iter().zip(world.nodes());
        let mut ends: Vec<_> = times.map(|(node, index)| (node.times[0], index)).collect();
        ends.sort();
        let wait = ends.iter().map(|(_, node)| Step::TimeOut(*node));
        for step in ask.into_iter().chain([Step::Drop(all)]).chain(wait) {
            // A single node has nobody to ask.
            let _ = world.apply(&step, &mut ());
        }
    }
    world.violation().map_or(Ok(()), |violation| Err(violation.to_string()))?;
    Ok(world)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_is_written_again() {
        let script = "# why\nnodes 1\n\ntimeout a\n  lies\n";
        let written = run(script).unwrap();
        assert!(written.starts_with("# why\nnodes 1\n\ntimeout a\n  "), "{written}");
        assert_eq!(compare(script, &written).unwrap_err().line, 5);
        assert_eq!(run(&written), Ok(written.clone()));
        assert_eq!(compare(&written, &written), Ok(()));
    }

    #[test]
    fn an_error_says_where() {
        let error = |script: &str| run(script).unwrap_err().to_string();
        assert_eq!(error("\nnodes 99"), "line 2: expected a number from 1 to 12, not \"99\"");
        assert_eq!(
            error("nodes 2\ndeliver a -> b"),
            "line 2: \"deliver a -> b\" can't happen: no such message is in flight: a -> b"
        );
        assert_eq!(error("timeout d"), "line 1: \"timeout d\" can't happen: there is no node d");
        assert_eq!(
            error("nodes 3\nsize 2\ndeclared\ntimes a 2s 1s 100ms\nstatus"),
            "line 5: a doesn't start: the least election timeout must be below the greatest"
        );
    }
}
