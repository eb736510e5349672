//! Asks the application's state machine without ever waiting long for it.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use graft_election_core::{Instant, Position};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::driver::VOTERS_MAX;
use crate::events::Fault;
use crate::handler::Handler;

/// The handler's thread for questions, and how long an answer may take.
#[derive(Debug)]
pub(crate) struct Judge {
    /// `None` if there is no handler, hence nobody to ask.
    questions: Option<SyncSender<Question>>,
    patience: Duration,
    /// What it thought of followers' positions when it was last asked, the oldest first.
    opinions: VecDeque<Opinion>,
    /// The question about a position that it was asked without waiting for the answer.
    open: Option<(Position, oneshot::Receiver<bool>)>,
}

/// The answer to a question about a position.
#[derive(Debug)]
struct Opinion {
    position: Position,
    grants_vote: bool,
    answered_at: Instant,
}

/// For how long an answer about a follower's position is good enough: the application goes on.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// As many positions as a leader can have followers.
const OPINIONS_MAX: usize = VOTERS_MAX;

/// Room for a question that somebody waits for and one that nobody does. While the handler is stuck,
/// nobody waits for it long.
const QUESTIONS_MAX: usize = 2;

#[derive(Debug)]
enum Question {
    Position(oneshot::Sender<Vec<u8>>),
    GrantsVote(Position, oneshot::Sender<bool>),
}

impl Judge {
    /// Starts the thread that asks `handler`, if there is one; it ends when the judge is dropped.
    pub(crate) fn start(handler: Option<Arc<dyn Handler>>, patience: Duration) -> io::Result<Self> {
        let questions = match handler {
            None => None,
            Some(handler) => {
                let (sender, receiver) = sync_channel(QUESTIONS_MAX);
                std::thread::Builder::new()
                    .name("graft-judge".to_owned())
                    .spawn(move || answer(&*handler, &receiver))?;
                Some(sender)
            }
        };
        Ok(Self { questions, patience, opinions: VecDeque::new(), open: None })
    }

    /// The application's position; `None` without a handler.
    pub(crate) async fn position(&self) -> Result<Option<Vec<u8>>, Fault> {
        let Some(questions) = &self.questions else {
            return Ok(None);
        };
        self.ask(questions, Question::Position).await.map(Some)
    }

    /// Whether the application would have a candidate at `position` lead.
    pub(crate) async fn grants_vote(&self, position: Position) -> Result<bool, Fault> {
        let Some(questions) = &self.questions else {
            return Ok(true);
        };
        self.ask(questions, |answer| Question::GrantsVote(position, answer)).await
    }

    /// What the application thinks of a follower at `position`, as far as is known without waiting:
    /// a leader waits for nothing (rule L1). What is not known is asked for the next time; until then
    /// it would not have that follower lead (rule H1).
    pub(crate) fn opinion_of(&mut self, now: Instant, position: &Position) -> bool {
        let Some(questions) = &self.questions else {
            return true;
        };
        if let Some((asked, mut answer)) = self.open.take() {
            match answer.try_recv() {
                Ok(grants_vote) => {
                    self.opinions.retain(|opinion| opinion.position != asked);
                    if self.opinions.len() == OPINIONS_MAX {
                        self.opinions.pop_front();
                    }
                    let opinion = Opinion { position: asked, grants_vote, answered_at: now };
                    self.opinions.push_back(opinion);
                }
                Err(TryRecvError::Empty) => self.open = Some((asked, answer)),
                // It panicked: it is asked again.
                Err(TryRecvError::Closed) => {}
            }
        }
        let known = self.opinions.iter().find(|opinion| opinion.position == *position);
        let is_fresh = known
            .is_some_and(|opinion| now.saturating_since(opinion.answered_at) < ASK_AGAIN_AFTER);
        if !is_fresh && self.open.is_none() {
            let (sender, answer) = oneshot::channel();
            if questions.try_send(Question::GrantsVote(position.clone(), sender)).is_ok() {
                self.open = Some((position.clone(), answer));
            }
        }
        known.is_some_and(|opinion| opinion.grants_vote)
    }

    async fn ask<A>(
        &self,
        questions: &SyncSender<Question>,
        question: impl FnOnce(oneshot::Sender<A>) -> Question,
    ) -> Result<A, Fault> {
        let (sender, receiver) = oneshot::channel();
        if questions.try_send(question(sender)).is_err() {
            return Err(Fault::HandlerStuck(self.patience));
        }
        match tokio::time::timeout(self.patience, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Fault::HandlerPanicked),
            Err(_) => Err(Fault::HandlerStuck(self.patience)),
        }
    }
}

fn answer(handler: &dyn Handler, questions: &Receiver<Question>) {
    while let Ok(question) = questions.recv() {
        match question {
            Question::Position(answer) => answer_with(answer, || handler.position()),
            Question::GrantsVote(position, answer) => {
                answer_with(answer, || handler.grants_vote(position.as_bytes()));
            }
        }
    }
}

/// A handler that panics leaves the question without an answer, and is asked again the next time.
fn answer_with<A>(sender: oneshot::Sender<A>, ask: impl FnOnce() -> A) {
    // Whoever asked may have stopped waiting.
    if !sender.is_closed()
        && let Ok(answer) = catch_unwind(AssertUnwindSafe(ask))
    {
        let _ = sender.send(answer);
    }
}
