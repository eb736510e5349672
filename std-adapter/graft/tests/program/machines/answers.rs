//! What the machines' nodes say when they are asked, again and again, whether they lead.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::site::{HTTP, Machine};
use crate::process::PATIENCE;

/// The time from one question to the next.
const PAUSE: Duration = Duration::from_millis(5);

/// An answer, and between which instants it was given.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) machine: usize,
    pub(super) asked_at: Instant,
    pub(super) heard_at: Instant,
    /// The token of the lease that the node has, if it has one.
    pub(super) token: Option<u64>,
    /// Whom a node without a lease follows.
    pub(super) follows: Option<String>,
}

/// All answers, and who asks.
pub(super) struct Answers {
    heard: Vec<Answer>,
    receiver: Receiver<Answer>,
    sender: Sender<Answer>,
    askers: Vec<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Answers {
    pub(super) fn new() -> Self {
        let (sender, receiver) = channel();
        Self { heard: Vec::new(), receiver, sender, askers: Vec::new() }
    }

    /// Asks a machine's node, from within, until the machine is off.
    pub(super) fn ask(&mut self, index: usize, machine: &Machine) {
        let (init, sender) = (machine.init(), self.sender.clone());
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let asker = std::thread::spawn(move || {
            Machine::enter_network(init);
            while !ends.load(Ordering::Relaxed) {
                for path in ["/leader", "/metrics"] {
                    let asked_at = Instant::now();
                    // It may not listen yet, or no longer.
                    let Ok((token, follows)) = get(path).map(|body| read(path, &body)) else {
                        continue;
                    };
                    let heard_at = Instant::now();
                    let machine = index;
                    let _ = sender.send(Answer { machine, asked_at, heard_at, token, follows });
                }
                std::thread::sleep(PAUSE);
            }
        });
        self.askers.push((is_over, asker));
    }

    /// Waits for an answer from now on that `is_meant`.
    #[track_caller]
    pub(super) fn wait_for(&mut self, is_meant: impl Fn(&Answer) -> bool) -> Answer {
        let began = Instant::now();
        while let Some(left) = PATIENCE.checked_sub(began.elapsed()) {
            let Ok(answer) = self.receiver.recv_timeout(left) else { break };
            self.heard.push(answer.clone());
            if answer.asked_at >= began && is_meant(&answer) {
                return answer;
            }
        }
        panic!("nobody answered so; at last {:#?}", self.heard.iter().rev().take(6).rev());
    }

    /// The highest token that was heard of.
    pub(super) fn token(&self) -> u64 {
        self.heard.iter().filter_map(|answer| answer.token).max().unwrap_or_default()
    }

    /// Stops asking, and says how many answers told of a lease: no two of them at one instant.
    pub(super) fn judge(mut self) -> usize {
        self.askers.iter().for_each(|(is_over, _)| is_over.store(true, Ordering::Relaxed));
        for (_, asker) in self.askers.drain(..) {
            asker.join().unwrap();
        }
        self.heard.extend(self.receiver.try_iter());
        judge(&self.heard)
    }
}

/// A lease that was told of twice was held all the while in between, since a node that has lost it
/// gets another token. So an answer that tells of another lease, and was given in that time, is the
/// proof that two were held at once.
#[track_caller]
fn judge(heard: &[Answer]) -> usize {
    let mut leases: BTreeMap<u64, (usize, Instant, Instant)> = BTreeMap::new();
    let told = || heard.iter().filter_map(|answer| Some((answer, answer.token?)));
    for (answer, token) in told() {
        let first = (answer.machine, answer.heard_at, answer.asked_at);
        let (machine, from, until) = leases.entry(token).or_insert(first);
        assert_eq!(*machine, answer.machine, "I1: two lead in term {token}");
        *from = answer.heard_at.min(*from);
        *until = answer.asked_at.max(*until);
    }
    for (answer, token) in told() {
        let together = leases.iter().find(|(other, (_, from, until))| {
            **other != token && answer.asked_at >= *from && answer.heard_at <= *until
        });
        assert!(together.is_none(), "I4: {answer:?}, and at once {together:?}");
    }
    told().count()
}

/// What `/leader` or `/metrics` says of the node's lease, and of whom it follows.
fn read(path: &str, body: &str) -> (Option<u64>, Option<String>) {
    if path == "/leader" {
        let said: Value = serde_json::from_str(body).unwrap();
        let token = said["token"].as_u64();
        return (token, said["leader"].as_str().map(str::to_owned));
    }
    let value = |name: &str| {
        let line = body.lines().find(|line| line.starts_with(&format!("{name}{{"))).unwrap();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let leads = value("graft_is_leader") == 1.0 && value("graft_lease_remaining_seconds") > 0.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "terms are small")]
    let term = value("graft_term") as u64;
    (leads.then_some(term), None)
}

fn get(path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(HTTP)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(body.to_owned())
}

#[test]
#[should_panic(expected = "I4: ")]
fn a_lease_that_is_told_of_while_another_is_held_is_a_proof() {
    judge(&[answer(0, 1, 0, 1), answer(1, 2, 3, 4), answer(0, 1, 5, 6)]);
}

#[test]
#[should_panic(expected = "I1: ")]
fn a_token_of_two_nodes_is_a_proof() {
    judge(&[answer(0, 1, 0, 1), answer(1, 1, 2, 3)]);
}

#[test]
fn answers_that_may_have_been_given_one_after_the_other_prove_nothing() {
    assert_eq!(judge(&[answer(0, 1, 0, 1), answer(0, 1, 5, 9), answer(1, 2, 4, 8)]), 3);
}

/// An answer that tells of a lease, and was given between two milliseconds.
#[cfg(test)]
fn answer(machine: usize, token: u64, asked: u64, heard: u64) -> Answer {
    static BEGAN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let at = |millis| *BEGAN + Duration::from_millis(millis);
    let (asked_at, heard_at) = (at(asked), at(heard));
    Answer { machine, asked_at, heard_at, token: Some(token), follows: None }
}
