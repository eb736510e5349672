//! Asks the application's state machine without ever waiting long for it.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use graft_election_core::Position;
use tokio::sync::oneshot;

use crate::handler::Handler;

/// The handler's thread for questions, and how long an answer may take.
#[derive(Debug)]
pub(crate) struct Judge {
    /// `None` if there is no handler, hence nobody to ask.
    questions: Option<SyncSender<Question>>,
    patience: Duration,
}

#[derive(Debug)]
enum Question {
    Position(oneshot::Sender<Vec<u8>>),
    GrantsVote(Position, oneshot::Sender<bool>),
}

/// The handler did not answer in time.
#[derive(Debug)]
pub(crate) struct Stuck;

impl Judge {
    /// Starts the thread that asks `handler`, if there is one; it ends when the judge is dropped.
    pub(crate) fn start(handler: Option<Arc<dyn Handler>>, patience: Duration) -> io::Result<Self> {
        let questions = match handler {
            None => None,
            Some(handler) => {
                // Room for one: while the handler is stuck, nobody waits for it a second time.
                let (sender, receiver) = sync_channel(1);
                std::thread::Builder::new()
                    .name("graft-judge".to_owned())
                    .spawn(move || answer(&*handler, &receiver))?;
                Some(sender)
            }
        };
        Ok(Self { questions, patience })
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// The application's position; `None` without a handler.
    pub(crate) async fn position(&self) -> Result<Option<Vec<u8>>, Stuck> {
        let Some(questions) = &self.questions else {
            return Ok(None);
        };
        self.ask(questions, Question::Position).await.map(Some)
    }

    /// Whether the application would have a candidate at `position` lead.
    pub(crate) async fn grants_vote(&self, position: Position) -> Result<bool, Stuck> {
        let Some(questions) = &self.questions else {
            return Ok(true);
        };
        self.ask(questions, |answer| Question::GrantsVote(position, answer)).await
    }

    async fn ask<A>(
        &self,
        questions: &SyncSender<Question>,
        question: impl FnOnce(oneshot::Sender<A>) -> Question,
    ) -> Result<A, Stuck> {
        let (sender, receiver) = oneshot::channel();
        match questions.try_send(question(sender)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return Err(Stuck),
        }
        match tokio::time::timeout(self.patience, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            // The thread ends before its answer only if the handler panicked.
            Ok(Err(_)) | Err(_) => Err(Stuck),
        }
    }
}

fn answer(handler: &dyn Handler, questions: &Receiver<Question>) {
    while let Ok(question) = questions.recv() {
        // Whoever asked may have stopped waiting.
        match question {
            Question::Position(answer) => {
                if !answer.is_closed() {
                    let _ = answer.send(handler.position());
                }
            }
            Question::GrantsVote(position, answer) => {
                if !answer.is_closed() {
                    let _ = answer.send(handler.grants_vote(position.as_bytes()));
                }
            }
        }
    }
}
