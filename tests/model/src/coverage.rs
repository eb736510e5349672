//! What a search must have come across: a search that sees none of it proves nothing.

use std::fmt;

use graft_election_core::{Message, Outgoing, State};

use crate::Cluster;
use crate::voter::{Fate, Given, Reaction, Voter, owes_a_save};

/// Something that must happen somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
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
}

/// A set of sights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sights(pub(crate) u32);

impl Sight {
    /// All that a search of `cluster` must come across.
    pub(crate) fn expected(cluster: Cluster) -> Vec<Self> {
        let mut sights: Vec<Self> = (1..=cluster.term_max).map(Self::Elected).collect();
        if cluster.is_timed() {
            sights.extend((1..=cluster.term_max).map(Self::Leased));
        }
        if cluster.disturbances_max != Some(0) {
            sights.extend([Self::SaveSucceedsLater, Self::CrashBeforeSend]);
        }
        // A leader that can have a lease is deposed by those who don't follow it.
        let has_others = !cluster.is_timed() || cluster.nodes > 2;
        if cluster.term_max > 1 && has_others {
            sights.extend([Self::CandidateLoses, Self::LeaderDeposed]);
        }
        if cluster.leaving {
            sights.extend([Self::HandsOver, Self::TakesOver]);
            if cluster.term_max > 1 {
                sights.push(Self::SuccessorHasVote);
            }
        }
        sights
    }

    fn bit(self) -> u32 {
        let place = match self {
            Self::CandidateLoses => 0,
            Self::LeaderDeposed => 1,
            Self::SaveSucceedsLater => 2,
            Self::CrashBeforeSend => 3,
            Self::HandsOver => 4,
            Self::TakesOver => 5,
            Self::SuccessorHasVote => 6,
            Self::Elected(term) => 6 + u32::from(term),
            Self::Leased(term) => 16 + u32::from(term),
        };
        1 << place
    }
}

impl fmt::Display for Sight {
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
            Self::SuccessorHasVote => f.write_str("a closing leader votes for its successor"),
        }
    }
}

impl Sights {
    pub(crate) fn insert(&mut self, sight: Sight) {
        self.0 |= sight.bit();
    }

    pub(crate) fn has(self, sight: Sight) -> bool {
        self.0 & sight.bit() != 0
    }
}

/// What is to be seen in one reaction of a node.
pub(crate) fn sights(before: &Voter, reaction: &Reaction, given: Given<'_>) -> Sights {
    use State::{Candidate, Closed, Follower, Leader};
    let after = &reaction.after.voter;
    let change = (before.state(), after.state());
    let ran_on = reaction.fate != Fate::CrashedAfterSave;
    let saved = matches!(reaction.fate, Fate::Unsaved | Fate::Saved);
    let rose = after.term() > before.term();
    let heard_heartbeat = matches!(given, Given::Message(Message::Heartbeat(_)));
    let heard_handover = matches!(given, Given::Message(Message::Handover(_)));
    let says_handover = |outgoing: &Outgoing| matches!(outgoing.message, Message::Handover(_));
    let mut sights = Sights::default();
    let mut see = |sight, is_seen: bool| {
        if is_seen {
            sights.insert(sight);
        }
    };
    if let (true, Leader, Ok(term)) = (change.0 != Leader, change.1, u8::try_from(after.term())) {
        see(Sight::Elected(term), true);
    }
    see(
        Sight::CandidateLoses,
        change == (Candidate, Follower) && saved && (rose || heard_heartbeat),
    );
    see(Sight::LeaderDeposed, change == (Leader, Follower) && rose && ran_on);
    see(Sight::SaveSucceedsLater, reaction.fate == Fate::Saved && owes_a_save(before));
    see(Sight::CrashBeforeSend, reaction.is_silenced);
    see(Sight::HandsOver, reaction.says.as_ref().is_some_and(says_handover));
    see(Sight::TakesOver, heard_handover && change.1 == Candidate && saved);
    let votes = reaction.says.as_ref().is_some_and(
        |outgoing| matches!(&outgoing.message, Message::VoteResponse(response) if response.granted),
    );
    see(Sight::SuccessorHasVote, change == (Follower, Closed) && votes);
    sights
}
