//! What happened, in words.

use std::fmt;

use super::rules::{Action, Broken, Omission};
use super::world::{Role, Set, World};

/// What a violation of any invariant is called in the search.
impl Broken {
    pub(super) const PROPERTY: &str = "the invariants hold";
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TwoLeaders => "I1: two leaders in one term",
            Self::TwoLeases => "I4: elected while an earlier leader has a lease",
            Self::OlderList => "I10: elected with a list older than one that is committed",
        })
    }
}

impl fmt::Display for Omission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Commit => "waiting for a list to be committed",
            Self::Seal => "sealing",
            Self::SealCommit => "waiting for a sealed list to be committed",
            Self::OneVoter => "changing one voter at a time",
            Self::Compare => "comparing lists before a vote",
            Self::LeaseList => "counting the lease in the present list",
            Self::CarryOver => "carrying the lease over",
            Self::Named => "waiting until the present list itself is named",
            Self::NewerList => "keeping the newer of two lists",
            Self::LostRecord => "keeping away who lost its record",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Campaign(one, term) => write!(f, "{} campaigns in {term}", Set::of(one)),
            Self::Vote(one, other) => write!(f, "{} votes for {}", Set::of(one), Set::of(other)),
            Self::Win(one) => write!(f, "{} is elected", Set::of(one)),
            Self::Acknowledge(one, other, span) => {
                let (one, other) = (Set::of(one), Set::of(other));
                write!(f, "{one} acknowledges {other}, and is bound for {span}")
            }
            Self::StepDown(one) => write!(f, "{} crashes, or steps down", Set::of(one)),
            Self::HandOver(one) => write!(f, "{} hands over", Set::of(one)),
            Self::Learn(one, list) => write!(f, "{} learns {list}", Set::of(one)),
            Self::Seal(one) => write!(f, "{} seals its list", Set::of(one)),
            Self::Change(one, voters) => write!(f, "{} makes a list of {voters}", Set::of(one)),
            Self::Forget(one) => write!(f, "{} loses its record", Set::of(one)),
            Self::Step => f.write_str("time passes"),
        }
    }
}

/// Each server with its term, its list and the voters on it, and what it is.
impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for server in self.all() {
            let it = self.servers[server];
            let (name, voters) = (Set::of(server), self.voters(it.list));
            write!(f, "[{name} term {} list {}:{voters} bound {}", it.term, it.list, it.bound)?;
            match it.role {
                Role::Follower => {}
                Role::Candidate { votes } => write!(f, " has votes of {votes}")?,
                Role::Leader(leading) => {
                    let lease = leading.lease(server);
                    write!(f, " leads, lease {lease}, named by {}", leading.named)?;
                }
            }
            f.write_str("] ")?;
        }
        Ok(())
    }
}
