//! Time as a node sees it, reduced to what matters.

use std::num::NonZeroU64;

use anyhow::{Context, Result};
use graft_election_core::{Instant, Leadership, Message, Outgoing, Recipient};

use crate::cluster::Cluster;
use crate::identity::Doubt;
use crate::voter::Voter;

/// In Graft mode, where time is only an order of events, the last instant but one. A node that
/// starts then with a stored term is bound (rule V3).
pub(crate) const EARLY: Instant = Instant::from_micros(u64::MAX - 1);

/// The last instant: every timer is due, and no node is still bound.
pub(crate) const LATE: Instant = Instant::FAR_FUTURE;

/// What precedes the instant at which a leader's next heartbeat is due.
const HEARTBEAT_AT: &str = "heartbeat_at: ";

const NO_SUCH_FIELD: &str = "the core's nodes no longer show themselves as they did";

/// How a node's clock runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// How many microseconds it advances at once.
    pub(crate) advance: u64,
    /// After how many steps of time it does so.
    pub(crate) steps: u8,
}

/// A node at a moment of its clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Moment {
    /// The node's number.
    pub(crate) node: usize,
    pub(crate) voter: Voter,
    /// What its clock shows.
    pub(crate) now: Instant,
    /// How many steps of time have passed since the clock last advanced.
    pub(crate) phase: u8,
    /// Whether it has reason to doubt that its id is its own alone.
    pub(crate) doubt: Option<Doubt>,
}

impl Moment {
    /// One step of time passes.
    pub(crate) fn pass(&mut self, clock: Clock) {
        self.phase += 1;
        if self.phase == clock.steps {
            self.phase = 0;
            self.now = Instant::from_micros(self.now.as_micros().saturating_add(clock.advance));
        }
    }

    /// Whether the clock advances with the next step of time.
    pub(crate) fn advances(&self, clock: Clock) -> bool {
        self.phase + 1 == clock.steps
    }

    /// How often the clock must advance until the node's lease is over; 0 without a lease.
    pub(crate) fn lease(&self, clock: Clock) -> Result<u8> {
        let lasts = |leadership: Leadership| {
            let left = leadership.valid_until.as_micros().saturating_sub(self.now.as_micros());
            u8::try_from(left.div_ceil(clock.advance))
        };
        Ok(self.voter.leadership(self.now).map_or(Ok(0), lasts)?)
    }

    /// What distinguishes the moment from others: the whole node, with each instant as the number
    /// of times that the clock must advance to reach it.
    ///
    /// All instants in the past are alike, except when a leader's next heartbeat was due: what
    /// echoes one that it has not sent yet is told by that (L2). From `age_max` on, these are alike
    /// too. What the node last reported or refused is left out, since it shows these but doesn't
    /// act on them; and so is how patient it is (C3), which says from how long a span it draws:
    /// here it draws the least of it. `exploration` checks these assumptions.
    pub(crate) fn key(&self, clock: Clock, age_max: u64) -> Result<String> {
        let text = format!("{} {:?} {:?}", self.phase, self.doubt, self.voter);
        let (before, rest) = text.split_once("report: ").context(NO_SUCH_FIELD)?;
        let (_, rest) = rest.split_once("bound_until: ").context(NO_SUCH_FIELD)?;
        let (between, rest) = rest.split_once("patience: ").context(NO_SUCH_FIELD)?;
        let (_, after) = rest.split_once("latest: ").context(NO_SUCH_FIELD)?;
        let mut key = String::with_capacity(text.len());
        for part in [before, between, after] {
            let mut parts = part.split("Instant(");
            key.push_str(parts.next().unwrap_or_default());
            for part in parts {
                let (micros, rest) = part.split_once(')').context(NO_SUCH_FIELD)?;
                let left = match micros.parse()? {
                    // The clock's origin means "never".
                    0_u64 => "never".to_owned(),
                    u64::MAX => "for ever".to_owned(),
                    micros if micros < self.now.as_micros() && key.ends_with(HEARTBEAT_AT) => {
                        let age = (self.now.as_micros() - micros).div_ceil(clock.advance);
                        format!("{} ago", age.min(age_max))
                    }
                    micros => micros
                        .saturating_sub(self.now.as_micros())
                        .div_ceil(clock.advance)
                        .to_string(),
                };
                key.push_str(&left);
                key.push_str(rest);
            }
        }
        Ok(key)
    }

    /// A message said now, with its age in place of `SentAt`.
    pub(crate) fn dated(&self, clock: Clock, mut outgoing: Outgoing) -> Outgoing {
        if let Message::Heartbeat(heartbeat) = &mut outgoing.message {
            heartbeat.sent_at = heartbeat.sent_at.and_then(|sent_at| {
                let age = self.now.as_micros().saturating_sub(sent_at.get());
                sent_at_of_age(age / clock.advance)
            });
        }
        outgoing
    }

    /// A message heard now, with `SentAt` in place of its age where the hearer is the node that
    /// sent it. To every other node `SentAt` is only a number to be returned.
    pub(crate) fn undated(&self, clock: Clock, mut message: Message) -> Message {
        if let Message::HeartbeatResponse(response) = &mut message {
            response.sent_at = response.sent_at.and_then(|sent_at| {
                let age = (sent_at.get() - 1) * clock.advance;
                NonZeroU64::new(self.now.as_micros().saturating_sub(age))
            });
        }
        message
    }
}

/// The node by whose clock a message tells the time, and how old the message is by that clock.
pub(crate) fn age(cluster: Cluster, outgoing: &Outgoing) -> Result<Option<(usize, u64)>> {
    let round = outgoing.message.round();
    let (leader, sent_at) = match (&outgoing.message, &outgoing.to) {
        (Message::Heartbeat(heartbeat), _) => (&heartbeat.leader, heartbeat.sent_at),
        (Message::HeartbeatResponse(response), Recipient::Node(to)) => (to, response.sent_at),
        _ => return Ok(None),
    };
    sent_at.map(|sent_at| Ok((cluster.process(leader, round)?, sent_at.get() - 1))).transpose()
}

/// The message at this age.
pub(crate) fn aged(outgoing: &Outgoing, age: u64) -> Outgoing {
    let mut outgoing = outgoing.clone();
    match &mut outgoing.message {
        Message::Heartbeat(heartbeat) => heartbeat.sent_at = sent_at_of_age(age),
        Message::HeartbeatResponse(response) => response.sent_at = sent_at_of_age(age),
        _ => {}
    }
    outgoing
}

/// `SentAt` is never 0.
fn sent_at_of_age(age: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(age + 1)
}
