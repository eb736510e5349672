use crate::{LeaderValue, Position};

/// The application's part in an election: how up to date it is, which candidates it accepts, and
/// what it wants known while it leads.
///
/// Its methods are called whenever the election needs an answer, and must return at once.
pub trait Application {
    /// How far this node's application has come. Only the application knows how to read it.
    fn position(&mut self) -> Position;

    /// Whether a candidate at `position` is up to date enough to lead (rule V4).
    fn grants_vote(&mut self, position: &[u8]) -> bool;

    /// What a heartbeat says beside that this node leads (rule L7). By default nothing.
    fn leader_value(&mut self) -> LeaderValue {
        LeaderValue::EMPTY
    }
}

/// An application without a position: it accepts every candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AlwaysGrant;

impl Application for AlwaysGrant {
    fn position(&mut self) -> Position {
        Position::EMPTY
    }

    fn grants_vote(&mut self, _position: &[u8]) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v4_without_positions_every_candidate_is_as_good_as_any_other() {
        let mut application = AlwaysGrant;
        assert_eq!(application.position(), Position::EMPTY);
        assert!(application.grants_vote(&[]) && application.grants_vote(&[7; 64]));
    }
}
