//! The loop around the core: one input at a time, saved outside the race, then sent.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use graft_election_core::{
    Application, Leadership, Message, Node, NodeId, Outgoing, Output, Position, State, VoteRecord,
};
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::events::Fault;
use crate::judge::Judge;
use crate::publisher::Publisher;
use crate::transport::{Arrival, Connection, Transport};
use crate::vote_store::VoteStore;

/// The most voters a cluster of this adapter's nodes can have.
pub const VOTERS_MAX: usize = 64;

/// How many messages a waiting node hears after its timer ran out before it believes the timer.
const OVERDUE_MESSAGES_MAX: usize = 64;

/// How many messages a leader hears before an overdue heartbeat. One, so that it goes on hearing
/// even if each heartbeat takes its transport until the next one is due.
const OVERDUE_MESSAGES_MAX_LEADING: usize = 1;

/// How long leaving the transport may take.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(1);

pub(crate) type CoreNode = Node<StdRng, Answers, VOTERS_MAX>;

/// The application's answers, asked for just before the core needs them, because the core can't
/// wait.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    position: Position,
    grants_vote: bool,
}

impl Answers {
    pub(crate) const UNASKED: Self = Self { position: Position::EMPTY, grants_vote: false };
}

impl Application for Answers {
    fn position(&mut self) -> Position {
        self.position.clone()
    }

    fn grants_vote(&mut self, _position: &[u8]) -> bool {
        self.grants_vote
    }
}

/// Everything a running node owns.
pub(crate) struct Driver<T> {
    pub(crate) node: CoreNode,
    pub(crate) transport: T,
    pub(crate) votes: Arc<Mutex<dyn VoteStore>>,
    pub(crate) judge: Judge,
    pub(crate) publisher: Publisher,
    pub(crate) clock: Clock,
    /// How long the transport may take to send a message: the heartbeat interval.
    pub(crate) send_time_max: Duration,
    /// Turns true, or loses its sender, when the node is to close; `None` once it has been told.
    pub(crate) closing: Option<watch::Receiver<bool>>,
    pub(crate) wishes: mpsc::Receiver<HandoverWish>,
    /// Has a receiver for everyone who acts on the lease.
    pub(crate) holds: Arc<watch::Sender<()>>,
    /// A lease that the node gave up before its end, and which someone may still act on.
    pub(crate) lost: Option<Leadership>,
    pub(crate) overdue_messages: usize,
}

/// That the node hand its leadership over.
pub(crate) struct HandoverWish {
    /// To whom; otherwise the node chooses (rule H1).
    pub(crate) to: Option<NodeId>,
    /// The leadership that is meant, if only one is.
    pub(crate) token: Option<u64>,
    /// What went wrong, if that is why.
    pub(crate) fault: Option<Fault>,
    /// Told, when it is done, whether there was a leadership to hand over.
    pub(crate) done: oneshot::Sender<bool>,
}

enum Next {
    Input(Input),
    Wish(HandoverWish),
}

enum Input {
    Message(Message),
    Timeout,
    HandOver(Option<NodeId>),
    Close,
}

impl<T: Transport> Driver<T> {
    /// Drives the node until it is closed, then lets go of the transport and the vote store.
    pub(crate) async fn run(mut self) {
        while self.node.state() != State::Closed {
            match self.next_input().await {
                Some(Next::Input(input)) => self.take(input).await,
                Some(Next::Wish(wish)) => self.fulfil(wish).await,
                None => {}
            }
        }
        let _ = tokio::time::timeout(LEAVE_TIME_MAX, self.transport.leave()).await;
    }

    async fn take(&mut self, input: Input) {
        self.ask_about(&input).await;
        let sender = match &input {
            Input::Message(message) => message.sender().cloned(),
            Input::Timeout | Input::HandOver(_) | Input::Close => None,
        };
        let outgoing = self.handle(input).await;
        self.publish();
        let now = self.clock.now();
        if let Some(report) = self.node.report() {
            self.publisher.report(now, report);
        }
        if let (Some(refusal), Some(sender)) = (self.node.refusal(), sender) {
            self.publisher.refusal(now, sender, refusal);
        }
        self.wait_for_release().await;
        self.send(outgoing).await;
    }

    async fn fulfil(&mut self, wish: HandoverWish) {
        if let Some(fault) = wish.fault {
            self.publisher.job_failed(fault);
        }
        let leads = self.node.state() == State::Leader;
        let is_meant = leads && wish.token.is_none_or(|token| token == self.node.term());
        if is_meant {
            self.take(Input::HandOver(wish.to)).await;
        }
        // Whoever asked may have stopped waiting.
        let _ = wish.done.send(is_meant);
    }

    fn publish(&mut self) {
        let lost = self.publisher.publish(&self.node, self.clock.now());
        self.lost = self.lost.take().or(lost);
    }

    /// A node that has given up its lease early says nothing, so that no other can lead, until those
    /// who act on the lease have let go of it, or it would have ended.
    async fn wait_for_release(&mut self) {
        if let Some(lost) = self.lost.take() {
            tokio::select! {
                () = self.holds.closed() => {}
                () = self.clock.sleep_until(lost.valid_until) => {}
            }
        }
    }

    /// Waits for the next input; `None` if what came was none.
    ///
    /// A leader's heartbeat hardly waits. A node that waits for a leader hears what has already
    /// arrived first: after a pause of its own, the leader's heartbeats are among it.
    async fn next_input(&mut self) -> Option<Next> {
        let deadline = self.node.deadline();
        let overdue_messages_max = match self.node.state() {
            State::Leader => OVERDUE_MESSAGES_MAX_LEADING,
            _ => OVERDUE_MESSAGES_MAX,
        };
        if self.clock.now() < deadline {
            self.overdue_messages = 0;
        } else if self.overdue_messages >= overdue_messages_max {
            self.overdue_messages = 0;
            return Some(Next::Input(Input::Timeout));
        }
        tokio::select! {
            biased;
            () = wait_for_close(&mut self.closing) => {
                self.closing = None;
                Some(Next::Input(Input::Close))
            }
            Some(wish) = self.wishes.recv() => Some(Next::Wish(wish)),
            arrival = self.transport.receive() => {
                self.overdue_messages += 1;
                self.admit(arrival).map(Next::Input)
            }
            () = self.clock.sleep_until(deadline) => Some(Next::Input(Input::Timeout)),
        }
    }

    fn admit(&mut self, arrival: Arrival) -> Option<Input> {
        match arrival {
            Arrival::Message(message) => return Some(Input::Message(message)),
            Arrival::Malformed(error) => {
                tracing::debug!(id = %self.node.id(), %error, "dropped a malformed message");
                self.publisher.count_dropped();
            }
            // A transport may say so for each message or each attempt to reconnect.
            Arrival::Connection(impaired @ Connection::Impaired(_)) => {
                self.publisher.recurring(self.clock.now(), Fault::Connection(impaired));
            }
            Arrival::Connection(change) => self.publisher.fault(Fault::Connection(change)),
        }
        None
    }

    /// Asks the application what the core may need to know for this input.
    async fn ask_about(&mut self, input: &Input) {
        match input {
            Input::Message(Message::VoteRequest(request) | Message::PreVoteRequest(request)) => {
                let answer = self.judge.grants_vote(request.position.clone()).await;
                self.node.application_mut().grants_vote = matches!(answer, Ok(true));
                if let Err(fault) = answer {
                    self.publisher.fault(fault);
                }
            }
            // A leader waits for nobody (rule L1).
            _ if self.node.state() == State::Leader => {
                if let Input::Message(Message::HeartbeatResponse(response)) = input {
                    let now = self.clock.now();
                    let opinion = self.judge.opinion_of(now, &response.position);
                    self.node.application_mut().grants_vote = opinion;
                }
            }
            // Each of these may make the node say its position.
            Input::Message(Message::Handover(_) | Message::Heartbeat(_)) | Input::Timeout => {
                self.ask_position().await;
            }
            Input::Message(_) | Input::HandOver(_) | Input::Close => {}
        }
    }

    /// A position that can't be had leaves the last one standing: it claims no more than is true.
    async fn ask_position(&mut self) {
        let fault = match self.judge.position().await {
            Ok(None) => return,
            Ok(Some(bytes)) => match Position::new(&bytes) {
                Ok(position) => {
                    self.node.application_mut().position = position;
                    return;
                }
                Err(too_long) => Fault::PositionTooLong(too_long.bytes),
            },
            Err(fault) => fault,
        };
        self.publisher.recurring(self.clock.now(), fault);
    }

    /// Gives the core one input and stores what it asks to have stored. The clock is read after
    /// the input came in (protocol, section 1).
    async fn handle(&mut self, input: Input) -> Option<Outgoing> {
        let now = self.clock.now();
        let output = match input {
            Input::Message(message) => self.node.handle_message(now, message),
            Input::Timeout => self.node.handle_timeout(now),
            Input::HandOver(to) => self.node.hand_over(now, to),
            Input::Close => self.node.close(now),
        };
        let unsaved = match output {
            Output::Idle => return None,
            Output::Send(outgoing) => return Some(outgoing),
            Output::Save(unsaved) => unsaved,
        };
        // Told before the save, so that a candidacy is seen even where the save itself decides it.
        let lost = self.publisher.publish(unsaved.node(), now);
        self.lost = self.lost.take().or(lost);
        let saved = save(&self.votes, unsaved.node().id().clone(), unsaved.record().clone()).await;
        match saved {
            Ok(()) => unsaved.saved(self.clock.now()),
            Err(fault) => {
                drop(unsaved);
                self.publisher.fault(fault);
                None
            }
        }
    }

    async fn send(&mut self, outgoing: Option<Outgoing>) {
        let Some(outgoing) = outgoing else {
            return;
        };
        let sent = tokio::time::timeout(self.send_time_max, self.transport.send(&outgoing)).await;
        let fault = match sent {
            Ok(Ok(())) => return,
            Ok(Err(error)) => Fault::Send(Arc::new(error)),
            Err(_) => Fault::SendTimedOut(self.send_time_max),
        };
        self.publisher.recurring(self.clock.now(), fault);
    }
}

/// Stores the record on a thread that may block, and never leaves that half-done.
async fn save(
    votes: &Arc<Mutex<dyn VoteStore>>,
    id: NodeId,
    record: VoteRecord,
) -> Result<(), Fault> {
    let votes = Arc::clone(votes);
    let save = move || votes.lock().unwrap_or_else(PoisonError::into_inner).save(&id, &record);
    match tokio::task::spawn_blocking(save).await {
        Ok(saved) => saved.map_err(|error| Fault::Save(Arc::new(error))),
        Err(_) => Err(Fault::SaveInterrupted),
    }
}

async fn wait_for_close(closing: &mut Option<watch::Receiver<bool>>) {
    match closing {
        // An error says that the node's handle is gone, which closes it too.
        Some(closing) => drop(closing.wait_for(|closing| *closing).await),
        None => std::future::pending().await,
    }
}
