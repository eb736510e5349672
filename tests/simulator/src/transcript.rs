//! What happens in a world, in words.

use std::fmt::Write;

use graft_election_core::{Message, Recipient, State};

use crate::message_text::{MessageText, RoundNames};
use crate::setup::RecordText;
use crate::{Event, NodeIndex, Observer, World};

/// Writes a line for each event that a reader needs to follow what happens.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    lines: String,
    /// A save that has begun. Most end at once, and are shown in one line.
    open_save: Option<(NodeIndex, String)>,
    /// Whether to leave out what nodes say, store and report, and show only what changes.
    pub(crate) is_brief: bool,
    names: RoundNames,
}

impl Transcript {
    /// The lines since the last call.
    pub(crate) fn take_lines(&mut self) -> String {
        if let Some((node, record)) = self.open_save.take() {
            self.line(format_args!("{node} begins to save {record}"));
        }
        std::mem::take(&mut self.lines)
    }

    /// Writes what each node is.
    pub(crate) fn write_status(&mut self, world: &World) {
        for node in (0..world.node_count()).map(NodeIndex::new) {
            let name = world.identity(node);
            match world.view(node) {
                None => self.line(format_args!("{name} is down")),
                Some((State::Follower, term, Some(leader))) => {
                    self.line(format_args!("{name} follows {leader} in term {term}"));
                }
                Some((state, term, _)) => match world.lease_left(node) {
                    None => self.line(format_args!("{name} is {state} in term {term}")),
                    Some(left) => self.line(format_args!(
                        "{name} is {state} in term {term}, and has a lease for {} ms",
                        left.as_millis()
                    )),
                },
            }
        }
    }

    fn line(&mut self, words: std::fmt::Arguments<'_>) {
        writeln!(self.lines, "  {words}").expect("a text can be written to");
    }

    fn words(&mut self, message: &Message) -> String {
        self.names.learn(message);
        MessageText { message, names: Some(&self.names) }.to_string()
    }

    fn write(&mut self, event: &Event<'_>) {
        match event {
            Event::Started(node, record) => {
                self.line(format_args!("{node} starts with {}", RecordText(record)));
            }
            Event::DiskTorn(node) => {
                self.line(format_args!("{node} doesn't start: what is on its disk is no record"));
            }
            Event::ConfigRefused(node, error) => {
                self.line(format_args!("{node} doesn't start: {error}"));
            }
            Event::Heard(node, message) => {
                let words = self.words(message);
                self.line(format_args!("{node} hears {words}"));
            }
            // What it does shows that it woke.
            Event::Woke(_) => {}
            Event::Changed { node, before, state, reason, term } => {
                if before != state {
                    self.line(format_args!(
                        "{node}: {before} -> {state} in term {term} ({reason})"
                    ));
                } else if *state == State::Candidate {
                    self.line(format_args!("{node}: {state} in term {term} ({reason})"));
                } else {
                    self.line(format_args!("{node} is in term {term} now"));
                }
            }
            Event::Follows(node, Some(leader)) => {
                self.line(format_args!("{node} follows {leader}"))
            }
            Event::Follows(node, None) => self.line(format_args!("{node} follows nobody")),
            Event::Reported(node, report) => self.line(format_args!("{node} reports: {report}")),
            Event::Leased(node) => self.line(format_args!("{node} has a lease")),
            Event::Saving(..) => {}
            Event::Saved(node) => self.line(format_args!("{node}'s save succeeds")),
            Event::SaveFailed(node) => self.line(format_args!("{node}'s save fails")),
            Event::Sent { from, outgoing, reached, cut } => {
                let message = self.words(&outgoing.message);
                match (&outgoing.to, reached, cut) {
                    (_, 0, 0) => {
                        let to = match &outgoing.to {
                            Recipient::Everyone => "everyone",
                            Recipient::Node(id) => id.as_str(),
                        };
                        self.line(format_args!("{from} -> {to}, who isn't there: {message}"));
                    }
                    (_, _, 0) => {
                        self.line(format_args!("{from} -> {}: {message}", names(*reached)))
                    }
                    (_, 0, _) => {
                        self.line(format_args!("{from} -> {}, cut off: {message}", names(*cut)));
                    }
                    _ => self.line(format_args!(
                        "{from} -> {}; {} cut off: {message}",
                        names(*reached),
                        names(*cut)
                    )),
                }
            }
            Event::Lost(flight) => {
                let message = self.words(&flight.message);
                self.line(format_args!("{} -> {} is lost: {message}", flight.from, flight.to));
            }
            Event::Crashed(node, false) => self.line(format_args!("{node} is gone")),
            Event::Crashed(node, true) => self.line(format_args!("{node} is gone amid its save")),
            Event::Ended(node) => self.line(format_args!("{node} has taken its leave")),
            Event::Violated(violation) => self.line(format_args!("{violation}")),
        }
    }
}

impl Observer for Transcript {
    fn observe(&mut self, event: Event<'_>) {
        if self.is_brief && is_talk(&event) {
            return;
        }
        if let Some((node, record)) = self.open_save.take() {
            match event {
                Event::Saved(_) => return self.line(format_args!("{node} saves {record}")),
                Event::SaveFailed(_) => {
                    return self.line(format_args!("{node} fails to save {record}"));
                }
                _ => self.line(format_args!("{node} begins to save {record}")),
            }
        }
        if let Event::Saving(node, record) = &event {
            self.open_save = Some((*node, RecordText(record).to_string()));
        }
        self.write(&event);
    }
}

/// Whether an event is something said, stored or reported, and not a change.
fn is_talk(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::Heard(..)
            | Event::Sent { .. }
            | Event::Lost(_)
            | Event::Reported(..)
            | Event::Saving(..)
            | Event::Saved(_)
            | Event::SaveFailed(_)
    )
}

fn names(nodes: u16) -> String {
    let is_in = |node: &NodeIndex| nodes & 1 << node.get() != 0;
    let names = (0..NodeIndex::COUNT_MAX).map(NodeIndex::new).filter(is_in);
    names.map(|node| node.to_string()).collect::<Vec<_>>().join(" ")
}
