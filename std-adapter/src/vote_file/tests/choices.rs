/// An oracle that gives, one run after the other, every sequence of answers that there is.
///
/// A run asks [`choose`](Self::choose) wherever things may go one way or another, and must depend
/// on nothing but the answers.
#[derive(Debug, Default)]
pub(super) struct Choices {
    /// The answers of this run, each with the number of answers that there were.
    taken: Vec<(usize, usize)>,
    /// How many of them the run has heard.
    heard: usize,
}

impl Choices {
    /// One of the numbers below `count`, which is not 0.
    pub(super) fn choose(&mut self, count: usize) -> usize {
        if self.heard == self.taken.len() {
            self.taken.push((0, count));
        }
        let (answer, of) = self.taken[self.heard];
        assert_eq!(of, count, "the run depends on something else than the answers");
        self.heard += 1;
        answer
    }

    /// Goes on to the next run; false if there is none.
    pub(super) fn next_run(&mut self) -> bool {
        self.heard = 0;
        while let Some((answer, count)) = self.taken.pop() {
            if answer + 1 < count {
                self.taken.push((answer + 1, count));
                return true;
            }
        }
        false
    }
}

#[test]
fn every_sequence_of_answers_is_given_once() {
    let mut choices = Choices::default();
    let mut runs = Vec::new();
    loop {
        let first = choices.choose(2);
        let rest = if first == 1 { vec![choices.choose(3)] } else { vec![] };
        runs.push((first, rest));
        if !choices.next_run() {
            break;
        }
    }
    assert_eq!(runs, [(0, vec![]), (1, vec![0]), (1, vec![1]), (1, vec![2])]);
}
