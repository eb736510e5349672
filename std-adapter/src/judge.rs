//! Asks the application's state machine without ever waiting long for it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use graft_election_core::Position;
use tokio::sync::oneshot;

use crate::events::Trouble;
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

    /// The application's position; `None` without a handler.
    pub(crate) async fn position(&self) -> Result<Option<Vec<u8>>, Trouble> {
        let Some(questions) = &self.questions else {
            return Ok(None);
        };
        self.ask(questions, Question::Position).await.map(Some)
    }

    /// Whether the application would have a candidate at `position` lead.
    pub(crate) async fn grants_vote(&self, position: Position) -> Result<bool, Trouble> {
        let Some(questions) = &self.questions else {
            return Ok(true);
        };
        self.ask(questions, |answer| Question::GrantsVote(position, answer)).await
    }

    async fn ask<A>(
        &self,
        questions: &SyncSender<Question>,
        question: impl FnOnce(oneshot::Sender<A>) -> Question,
    ) -> Result<A, Trouble> {
        let (sender, receiver) = oneshot::channel();
        if questions.try_send(question(sender)).is_err() {
            return Err(Trouble::HandlerStuck(self.patience));
        }
        match tokio::time::timeout(self.patience, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Trouble::HandlerPanicked),
            Err(_) => Err(Trouble::HandlerStuck(self.patience)),
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
