//! Asks the application without ever waiting long for it.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use graft_election_core::{Instant, Position};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::application::Application;
use crate::core_node::VOTERS_MAX;
use crate::events::Fault;

/// How long an answer counts as current: the application's own position moves on.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// As many positions as a leader can have followers.
const CACHED_MAX: usize = VOTERS_MAX;

/// Room for one query that the driver waits for and one that it doesn't. While the application is
/// stuck, no more are made.
const QUERIES_MAX: usize = 2;

/// The thread on which the application is asked, and what it answered.
#[derive(Debug)]
pub(crate) struct ApplicationQueries {
    /// `None` if the node has no application to ask.
    queries: Option<SyncSender<Query>>,
    /// How long to wait for an answer.
    timeout: Duration,
    /// Answers about positions, the oldest first.
    cached: VecDeque<Answer>,
    /// The query about a position for whose answer nobody waits.
    pending: Option<(Position, oneshot::Receiver<bool>)>,
}

#[derive(Debug)]
enum Query {
    Position(oneshot::Sender<Vec<u8>>),
    GrantsVote(Position, oneshot::Sender<bool>),
}

#[derive(Debug)]
struct Answer {
    position: Position,
    grants_vote: bool,
    answered_at: Instant,
}

/// What the application said about a position, as far as is known without asking it now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CachedAnswer {
    /// Whether it would accept a leader at that position.
    pub(crate) grants_vote: bool,
    /// Whether it said so within [`FRESH_FOR`].
    pub(crate) is_fresh: bool,
}

impl ApplicationQueries {
    /// Starts the thread that asks `application`, if there is one. It ends when the value that this
    /// returns is dropped.
    pub(crate) fn start(
        application: Option<Arc<dyn Application>>,
        timeout: Duration,
    ) -> io::Result<Self> {
        let queries = match application {
            None => None,
            Some(application) => {
                let (sender, receiver) = sync_channel(QUERIES_MAX);
                std::thread::Builder::new()
                    .name("graft-application".to_owned())
                    .spawn(move || answer_all(&*application, &receiver))?;
                Some(sender)
            }
        };
        Ok(Self { queries, timeout, cached: VecDeque::new(), pending: None })
    }

    /// The application's position; `None` without an application.
    pub(crate) async fn position(&self) -> Result<Option<Vec<u8>>, Fault> {
        let Some(queries) = &self.queries else {
            return Ok(None);
        };
        self.ask(queries, Query::Position).await.map(Some)
    }

    /// Whether the application would accept a leader at `position`.
    pub(crate) async fn grants_vote(&self, position: Position) -> Result<bool, Fault> {
        let Some(queries) = &self.queries else {
            return Ok(true);
        };
        self.ask(queries, |answer| Query::GrantsVote(position, answer)).await
    }

    /// What is known about `position` without waiting. If nothing is known, or nothing recent, the
    /// application is asked for the next time.
    pub(crate) fn cached_answer(
        &mut self,
        now: Instant,
        position: &Position,
    ) -> Option<CachedAnswer> {
        if self.queries.is_none() {
            return Some(CachedAnswer { grants_vote: true, is_fresh: true });
        }
        self.collect_pending(now);
        let known = self.cached.iter().find(|answer| answer.position == *position);
        let known = known.map(|answer| CachedAnswer {
            grants_vote: answer.grants_vote,
            is_fresh: now.saturating_since(answer.answered_at) < FRESH_FOR,
        });
        if !known.is_some_and(|answer| answer.is_fresh) {
            self.ask_in_background(position);
        }
        known
    }

    /// Caches the answer that nobody waits for, if it has come.
    fn collect_pending(&mut self, now: Instant) {
        let Some((position, mut answer)) = self.pending.take() else {
            return;
        };
        match answer.try_recv() {
            Ok(grants_vote) => {
                self.cached.retain(|answer| answer.position != position);
                if self.cached.len() == CACHED_MAX {
                    self.cached.pop_front();
                }
                self.cached.push_back(Answer { position, grants_vote, answered_at: now });
            }
            Err(TryRecvError::Empty) => self.pending = Some((position, answer)),
            // The application panicked, and is asked again when the position comes up again.
            Err(TryRecvError::Closed) => {}
        }
    }

    fn ask_in_background(&mut self, position: &Position) {
        if let (Some(queries), None) = (&self.queries, &self.pending) {
            let (sender, answer) = oneshot::channel();
            if queries.try_send(Query::GrantsVote(position.clone(), sender)).is_ok() {
                self.pending = Some((position.clone(), answer));
            }
        }
    }

    async fn ask<A>(
        &self,
        queries: &SyncSender<Query>,
        query: impl FnOnce(oneshot::Sender<A>) -> Query,
    ) -> Result<A, Fault> {
        let (sender, receiver) = oneshot::channel();
        if queries.try_send(query(sender)).is_err() {
            return Err(Fault::ApplicationStuck(self.timeout));
        }
        match tokio::time::timeout(self.timeout, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Fault::ApplicationPanicked),
            Err(_) => Err(Fault::ApplicationStuck(self.timeout)),
        }
    }
}

fn answer_all(application: &dyn Application, queries: &Receiver<Query>) {
    while let Ok(query) = queries.recv() {
        match query {
            Query::Position(sender) => answer(sender, || application.position()),
            Query::GrantsVote(position, sender) => {
                answer(sender, || application.grants_vote(position.as_bytes()));
            }
        }
    }
}

/// An application that panics leaves the query unanswered, and is asked again the next time.
fn answer<A>(sender: oneshot::Sender<A>, ask: impl FnOnce() -> A) {
    // The driver may have stopped waiting.
    if !sender.is_closed()
        && let Ok(answer) = catch_unwind(AssertUnwindSafe(ask))
    {
        let _ = sender.send(answer);
    }
}
