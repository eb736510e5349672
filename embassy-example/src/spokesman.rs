//! What a node says while it leads, whoever decides it.

use graft_election_core::{Application, LeaderValue, Position};

/// The board's application, except that a value which a task has set is said in place of its own
/// (rule L7).
#[derive(Debug)]
pub(crate) struct Spokesman<A> {
    application: A,
    value: Option<LeaderValue>,
}

impl<A> Spokesman<A> {
    pub(crate) fn new(application: A) -> Self {
        Self { application, value: None }
    }

    pub(crate) fn set_value(&mut self, value: LeaderValue) {
        self.value = Some(value);
    }
}

impl<A: Application> Application for Spokesman<A> {
    fn position(&mut self) -> Position {
        self.application.position()
    }

    fn grants_vote(&mut self, position: &[u8]) -> bool {
        self.application.grants_vote(position)
    }

    fn leader_value(&mut self) -> LeaderValue {
        self.value.clone().unwrap_or_else(|| self.application.leader_value())
    }
}
