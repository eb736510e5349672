//! What a search must have come across. A search that never gets there proves nothing.

use std::fmt;

use graft_election_core::{Message, State};

use crate::clock::Moment;
use crate::cluster::{Cluster, Others};
use crate::reaction::{Given, Outcome, Reaction, owes_a_save};

/// Something that must happen somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Milestone {
    /// A leader is elected in this term.
    Elected(u8),
    /// A leader has a lease in this term.
    Leased(u8),
    CandidateLoses,
    LeaderDeposed,
    SaveSucceedsLater,
    CrashBeforeSend,
    HandsOver,
    TakesOver,
    SuccessorHasVote,
    StandsAside,
    TakesPartAgain,
}

/// A set of milestones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Coverage(pub(crate) u32);

impl Milestone {
    /// All milestones that a search of `cluster` must reach.
    pub(crate) fn expected(cluster: Cluster) -> Vec<Self> {
        let mut milestones: Vec<Self> = (1..=cluster.term_max).map(Self::Elected).collect();
        if cluster.is_timed() {
            milestones.extend((1..=cluster.term_max).map(Self::Leased));
        }
        if cluster.disturbances_max != Some(0) {
            milestones.extend([Self::SaveSucceedsLater, Self::CrashBeforeSend]);
        }
        // Only a node that doesn't follow it can depose a leader that may have a lease.
        let has_others = !cluster.is_timed() || cluster.nodes > 2;
        if cluster.term_max > 1 && has_others {
            milestones.extend([Self::CandidateLoses, Self::LeaderDeposed]);
        }
        if cluster.leaving {
            milestones.extend([Self::HandsOver, Self::TakesOver]);
            if cluster.term_max > 1 {
                milestones.push(Self::SuccessorHasVote);
            }
        }
        if cluster.others == Others::Double {
            milestones.extend([Self::StandsAside, Self::TakesPartAgain]);
        }
        milestones
    }

    fn bit(self) -> u32 {
        let bit = match self {
            Self::CandidateLoses => 0,
            Self::LeaderDeposed => 1,
            Self::SaveSucceedsLater => 2,
            Self::CrashBeforeSend => 3,
            Self::HandsOver => 4,
            Self::TakesOver => 5,
            Self::SuccessorHasVote => 6,
            Self::Elected(term) => 6 + u32::from(term),
            Self::StandsAside => 30,
            Self::TakesPartAgain => 31,
            Self::Leased(term) => 16 + u32::from(term),
        };
        1 << bit
    }
}

impl fmt::Display for Milestone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elected(term) => write!(f, "a leader is elected in term {term}"),
            Self::Leased(term) => write!(f, "a leader has a lease in term {term}"),
            Self::CandidateLoses => f.write_str("a candidate loses"),
            Self::LeaderDeposed => f.write_str("a leader is deposed"),
            Self::SaveSucceedsLater => f.write_str("a save fails, and succeeds later"),
            Self::CrashBeforeSend => f.write_str("a node crashes between its save and its message"),
            Self::HandsOver => f.write_str("a leader hands over"),
            Self::TakesOver => f.write_str("a node takes over"),
            Self::StandsAside => f.write_str("a leader hears another in its own name"),
            Self::TakesPartAgain => f.write_str("a node that stood aside takes part again"),
            Self::SuccessorHasVote => f.write_str("a closing leader votes for its successor"),
        }
    }
}

impl Coverage {
    /// The milestones that one reaction of a node reaches.
    pub(crate) fn of(before: &Moment, reaction: &Reaction, given: Given<'_>) -> Self {
        use State::{Candidate, Closed, Follower, Leader};
        let starts_doubting = before.doubt.is_none() && reaction.after.doubt.is_some();
        let is_sure_again = before.doubt.is_some() && reaction.after.doubt.is_none();
        let (before, after) = (&before.voter, &reaction.after.voter);
        let change = (before.state(), after.state());
        let ran_on = reaction.outcome != Outcome::CrashedAfterSave;
        let saved = matches!(reaction.outcome, Outcome::Unsaved | Outcome::Saved);
        let rose = after.term() > before.term();
        let heard_heartbeat = matches!(given, Given::Message(Message::Heartbeat(_)));
        let heard_handover = matches!(given, Given::Message(Message::Handover(_)));
        let says = |is_meant: fn(&Message) -> bool| {
            reaction.says.as_ref().is_some_and(|outgoing| is_meant(&outgoing.message))
        };
        let hands_over = says(|message| matches!(message, Message::Handover(_)));
        let votes =
            says(|message| matches!(message, Message::VoteResponse(response) if response.granted));
        let loses = change == (Candidate, Follower) && saved && (rose || heard_heartbeat);
        let is_deposed = change == (Leader, Follower) && rose && ran_on;
        let saves_later = reaction.outcome == Outcome::Saved && owes_a_save(before);
        let takes_over = heard_handover && change.1 == Candidate && saved;
        let mut coverage = Self::default();
        for (milestone, is_reached) in [
            (Milestone::CandidateLoses, loses),
            (Milestone::LeaderDeposed, is_deposed),
            (Milestone::SaveSucceedsLater, saves_later),
            (Milestone::CrashBeforeSend, reaction.is_silenced),
            (Milestone::HandsOver, hands_over),
            (Milestone::TakesOver, takes_over),
            (Milestone::StandsAside, starts_doubting && before.state() == Leader),
            (Milestone::TakesPartAgain, is_sure_again && ran_on),
            (Milestone::SuccessorHasVote, change == (Follower, Closed) && votes),
        ] {
            if is_reached {
                coverage.insert(milestone);
            }
        }
        if let (true, Leader, Ok(term)) = (change.0 != Leader, change.1, u8::try_from(after.term()))
        {
            coverage.insert(Milestone::Elected(term));
        }
        coverage
    }

    pub(crate) fn insert(&mut self, milestone: Milestone) {
        self.0 |= milestone.bit();
    }

    pub(crate) fn has(self, milestone: Milestone) -> bool {
        self.0 & milestone.bit() != 0
    }
}
