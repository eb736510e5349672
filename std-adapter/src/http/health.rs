//! Whether the node lives, and whether it is of use.

use std::time::Duration;

use graft_election_core::State;
use http::StatusCode;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::answer::Answer;
use crate::events::Status;
use crate::node::Reader;
use crate::transport::ConnectionState;

/// How long the node may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);

/// For how long an answer counts: a node that anyone may ask is asked no more often than this.
const ANSWER_LASTS: Duration = Duration::from_millis(100);

/// When the node last answered. Whoever holds the lock is the only one who asks it.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    answered_at: Mutex<Option<Instant>>,
}

impl Liveness {
    pub(super) async fn ask(&self, node: &Reader) -> Answer {
        if node.status().state == State::Closed {
            return unavailable("the node has closed");
        }
        match timeout(ANSWER_TIME_MAX, self.lives(node.answers())).await {
            Ok(true) => Answer::text(StatusCode::OK, "the node answers"),
            Ok(false) => unavailable("the node has closed"),
            Err(_) => unavailable(&format!("the node does not answer within {ANSWER_TIME_MAX:?}")),
        }
    }

    /// Whether the node lives, by its last answer or by this one.
    async fn lives(&self, answers: impl Future<Output = bool>) -> bool {
        let mut answered_at = self.answered_at.lock().await;
        if answered_at.is_some_and(|at| at.elapsed() < ANSWER_LASTS) {
            return true;
        }
        let lives = answers.await;
        *answered_at = lives.then(Instant::now);
        lives
    }
}

/// Whether the node does its part: a follower is as ready as a leader.
pub(super) fn readiness(status: &Status) -> Answer {
    match (status.state, status.connection, &status.leader) {
        (State::Closed, _, _) => unavailable("the node has closed"),
        (_, ConnectionState::Connected, Some(leader)) if *leader == status.id => {
            Answer::text(StatusCode::OK, "the node is ready, and leads")
        }
        (_, ConnectionState::Connected, Some(leader)) => {
            Answer::text(StatusCode::OK, &format!("the node is ready, and follows {leader}"))
        }
        (_, ConnectionState::Connected, None) => unavailable("the node knows no leader"),
        (_, connection, _) => {
            unavailable(&format!("the node's connection is {}", connection.name()))
        }
    }
}

fn unavailable(why: &str) -> Answer {
    Answer::text(StatusCode::SERVICE_UNAVAILABLE, why)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// The driver prefers questions to messages, so many would keep it from the election.
    #[tokio::test(start_paused = true)]
    async fn however_many_ask_the_node_is_asked_ten_times_a_second() {
        let (liveness, asked) = (Liveness::default(), Cell::new(0));
        for _ in 0..50 {
            for _ in 0..100 {
                let answers = async {
                    asked.set(asked.get() + 1);
                    true
                };
                assert!(liveness.lives(answers).await);
            }
            tokio::time::advance(ANSWER_LASTS / 10).await;
        }
        assert_eq!(asked.get(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_answered_before_must_answer_again() {
        let liveness = Liveness::default();
        assert!(liveness.lives(async { true }).await);
        tokio::time::advance(ANSWER_LASTS).await;
        assert!(!liveness.lives(async { false }).await);
        assert!(!liveness.lives(async { false }).await);
    }
}
