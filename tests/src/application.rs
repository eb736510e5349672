//! An application that answers as the test tells it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use graft_election::Application;

/// An application whose position and judgement the test decides. Clones are the same application.
#[derive(Clone, Debug, Default)]
pub struct ScriptedApplication(Arc<(Mutex<Answers>, Condvar)>);

#[derive(Debug, Default)]
struct Answers {
    position: Vec<u8>,
    refuses: bool,
    is_stuck: bool,
    positions_asked: usize,
    judged: Vec<Vec<u8>>,
}

impl ScriptedApplication {
    /// An application at `position` that grants every vote.
    pub fn at(position: &[u8]) -> Self {
        let application = Self::default();
        application.move_to(position);
        application
    }

    /// Gives it another position.
    pub fn move_to(&self, position: &[u8]) {
        self.change(|answers| answers.position = position.to_vec());
    }

    /// Whether it refuses every vote from now on.
    pub fn refuse(&self, refuses: bool) {
        self.change(|answers| answers.refuses = refuses);
    }

    /// Whether it answers nothing from now on until it no longer is.
    pub fn stick(&self, is_stuck: bool) {
        self.change(|answers| answers.is_stuck = is_stuck);
    }

    /// How often it was asked for its position.
    pub fn positions_asked(&self) -> usize {
        self.change(|answers| answers.positions_asked)
    }

    /// The positions of the candidates that it was asked to judge, in order.
    pub fn judged(&self) -> Vec<Vec<u8>> {
        self.change(|answers| answers.judged.clone())
    }

    fn change<T>(&self, change: impl FnOnce(&mut Answers) -> T) -> T {
        let (answers, changed) = &*self.0;
        let changes = change(&mut answers.lock().unwrap_or_else(PoisonError::into_inner));
        changed.notify_all();
        changes
    }

    /// Answers once it isn't stuck; being asked counts at once.
    fn answer<T>(&self, note: impl FnOnce(&mut Answers), answer: impl FnOnce(&Answers) -> T) -> T {
        let (answers, changed) = &*self.0;
        let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        note(&mut answers);
        let answers = changed
            .wait_while(answers, |answers| answers.is_stuck)
            .unwrap_or_else(PoisonError::into_inner);
        answer(&answers)
    }
}

impl Application for ScriptedApplication {
    fn position(&self) -> Vec<u8> {
        self.answer(|answers| answers.positions_asked += 1, |answers| answers.position.clone())
    }

    fn grants_vote(&self, position: &[u8]) -> bool {
        self.answer(|answers| answers.judged.push(position.to_vec()), |answers| !answers.refuses)
    }
}
