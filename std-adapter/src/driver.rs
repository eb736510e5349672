//! The loop around the core: one input at a time, saved outside the race, then sent.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use graft_election_core::{
    Change, ControlOutcome, LeaderValue, Leadership, Message, NodeId, Outgoing, Output, Position,
    State, VoteRecord,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use crate::application_queries::ApplicationQueries;
use crate::clock::Clock;
use crate::core_node::CoreNode;
use crate::counts::DropCause;
use crate::error_chain::ErrorChain;
use crate::events::Fault;
use crate::publisher::Publisher;
use crate::start_question::StartQuestion;
use crate::transport::{Arrival, Connection, Transport};
use crate::vote_store::{SaveVote, SharedError};

/// How many messages a node that waits for a leader still receives once its timer has run out.
const OVERDUE_MESSAGES_MAX: usize = 64;

/// How many messages a leader receives before an overdue heartbeat. One, so that it goes on
/// receiving even if each heartbeat keeps its transport busy until the next one is due.
const OVERDUE_MESSAGES_MAX_LEADING: usize = 1;

/// How long leaving the transport may take.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(1);

/// A save that takes longer is reported while it lasts. A node that is closing waits for no save
/// any longer than that.
const SAVE_TIME_MAX: Duration = Duration::from_secs(1);

/// Everything a running node owns.
pub(crate) struct Driver<T, const VOTERS: usize> {
    pub(crate) node: CoreNode<VOTERS>,
    pub(crate) transport: T,
    pub(crate) votes: Arc<Mutex<dyn SaveVote>>,
    pub(crate) queries: ApplicationQueries,
    pub(crate) publisher: Publisher,
    pub(crate) clock: Clock,
    /// How long the transport may take to send a message: the heartbeat interval.
    pub(crate) send_time_max: Duration,
    /// Turns true, or loses its sender, when the node is to close; `None` once it is closing.
    pub(crate) closing: Option<watch::Receiver<bool>>,
    pub(crate) requests: mpsc::Receiver<Request>,
    /// Has a receiver for everyone who acts on the lease.
    pub(crate) holds: Arc<watch::Sender<()>>,
    /// A lease that the node gave up before its end, and which someone may still act on.
    pub(crate) lost: Option<Leadership>,
    pub(crate) overdue_messages: usize,
    /// Whether the connection works only in part: the node does not campaign then.
    pub(crate) is_partial: bool,
    /// Whether the vote store did not end a save before the node had to.
    pub(crate) is_abandoned: bool,
    pub(crate) start_question: StartQuestion,
    /// What came of the last change of the voters that it was asked for.
    pub(crate) change_outcome: ControlOutcome,
    /// Whether a Go node is worth a report: this node has declared voters, among which none can be.
    pub(crate) looks_for_go_nodes: bool,
}

/// What a node is asked from within its program.
pub(crate) enum Request {
    HandOver(HandoverRequest),
    /// That it doesn't lead, or may again (rule O3).
    HoldBack(bool),
    /// One voter more or less (rule R7). It is told how far that is.
    ChangeVoters(Change, oneshot::Sender<ControlOutcome>),
    /// What it is to say while it leads (rule L7).
    SetValue(LeaderValue),
    /// That it say it is there.
    Answer(oneshot::Sender<()>),
}

/// A request that the node hand its leadership over.
pub(crate) struct HandoverRequest {
    /// To whom; otherwise the node chooses (rule H1).
    pub(crate) to: Option<NodeId>,
    /// The leadership to hand over; otherwise any.
    pub(crate) token: Option<u64>,
    /// Receives, at the end, whether there was such a leadership.
    pub(crate) done: oneshot::Sender<bool>,
}

/// What the driver wakes up for.
enum Wakeup {
    Input(Input),
    Request(Request),
}

enum Input {
    Message(Message),
    Timeout,
    HandOver(Option<NodeId>),
    HoldBack(bool),
    ChangeVoters(Change),
    Close,
}

impl<T: Transport, const VOTERS: usize> Driver<T, VOTERS> {
    /// Drives the node until it is closed, then lets go of the transport and the vote store.
    pub(crate) async fn run(mut self) {
        while self.node.state() != State::Closed && !self.is_abandoned {
            self.publisher.tell_withheld();
            match self.next_wakeup().await {
                Some(Wakeup::Input(input)) => self.take(input).await,
                Some(Wakeup::Request(request)) => self.serve(request).await,
                None => {}
            }
        }
        let _ = tokio::time::timeout(LEAVE_TIME_MAX, self.transport.leave()).await;
    }

    async fn take(&mut self, input: Input) {
        self.ask_about(&input).await;
        let sender = match &input {
            Input::Message(message) => {
                self.publisher.hear(message);
                if self.looks_for_go_nodes && is_from_go(message) {
                    self.looks_for_go_nodes = false;
                    self.publisher.fault(Fault::GoNodeUndeclared);
                }
                message.sender().cloned()
            }
            Input::Timeout
            | Input::HandOver(_)
            | Input::HoldBack(_)
            | Input::ChangeVoters(_)
            | Input::Close => None,
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

    async fn serve(&mut self, request: Request) {
        match request {
            Request::HandOver(request) => self.hand_over(request).await,
            Request::HoldBack(is_held_back) => self.take(Input::HoldBack(is_held_back)).await,
            Request::ChangeVoters(change, done) => {
                self.take(Input::ChangeVoters(change)).await;
                // Whoever asked may have stopped waiting.
                let _ = done.send(self.change_outcome);
            }
            Request::SetValue(value) => {
                self.node.application_mut().set_value(value);
                self.publish();
            }
            Request::Answer(answer) => {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(());
            }
        }
    }

    async fn hand_over(&mut self, request: HandoverRequest) {
        let leads = self.node.state() == State::Leader;
        let is_meant = leads && request.token.is_none_or(|token| token == self.node.term());
        if is_meant {
            self.take(Input::HandOver(request.to)).await;
        }
        // The caller may have stopped waiting.
        let _ = request.done.send(is_meant);
    }

    fn publish(&mut self) {
        let lost = self.publisher.publish(&self.node, self.clock.now());
        self.lost = self.lost.take().or(lost);
    }

    /// A node that has given up its lease early says nothing, so that no other can lead, until
    /// everyone who acts on the lease has let go of it, or the lease would have ended.
    async fn wait_for_release(&mut self) {
        if let Some(lost) = self.lost.take() {
            tokio::select! {
                () = self.holds.closed() => {}
                () = self.clock.sleep_until(lost.valid_until) => {}
            }
        }
    }

    /// Waits for the next input or request; `None` if what arrived is neither.
    ///
    /// A leader's heartbeat waits for one message at most. A node that waits for a leader first
    /// receives what has already arrived: after a pause of the node itself, the leader's heartbeats
    /// are among that.
    async fn next_wakeup(&mut self) -> Option<Wakeup> {
        let may_time_out = !self.must_not_campaign();
        let deadline = self.node.deadline();
        let overdue_messages_max = match self.node.state() {
            State::Leader => OVERDUE_MESSAGES_MAX_LEADING,
            _ => OVERDUE_MESSAGES_MAX,
        };
        if !may_time_out || self.clock.now() < deadline {
            self.overdue_messages = 0;
        } else if self.overdue_messages >= overdue_messages_max {
            self.overdue_messages = 0;
            return Some(Wakeup::Input(Input::Timeout));
        }
        tokio::select! {
            biased;
            () = wait_for_close(&mut self.closing) => {
                self.closing = None;
                Some(Wakeup::Input(Input::Close))
            }
            Some(request) = self.requests.recv() => Some(Wakeup::Request(request)),
            arrival = self.transport.receive() => {
                self.overdue_messages += 1;
                self.admit(arrival).map(Wakeup::Input)
            }
            () = self.clock.sleep_until(deadline), if may_time_out => {
                Some(Wakeup::Input(Input::Timeout))
            }
        }
    }

    /// Whether a timeout would have the node campaign although it could not hear the answers, or
    /// not be heard. One that leads goes on, and loses its quorum if it can't hear it.
    fn must_not_campaign(&self) -> bool {
        let is_closing = self.closing.is_none();
        let waits =
            matches!(self.node.state(), State::Follower | State::PreCandidate | State::Candidate);
        self.is_partial && waits && !is_closing
    }

    fn admit(&mut self, arrival: Arrival) -> Option<Input> {
        match arrival {
            // The leader gives way to this node, which must not take its place.
            Arrival::Message(opened)
                if self.is_partial && matches!(*opened, Message::Handover(_)) => {}
            Arrival::Message(opened) => {
                self.publisher.note_unverified(&opened);
                return Some(Input::Message(opened.into_message()));
            }
            Arrival::Unauthentic { sender, error } => {
                self.publisher.unauthentic(self.clock.now(), sender, error);
            }
            Arrival::Malformed { from, error } => {
                let (id, text) = (self.node.id(), ErrorChain(&*error));
                tracing::debug!(%id, error = %text, "dropped a malformed message");
                self.publisher.malformed(self.clock.now(), from, error);
            }
            Arrival::Connection(change) => self.publish_connection(change),
        }
        None
    }

    fn publish_connection(&mut self, change: Connection) {
        if let Some(state) = change.state() {
            self.publisher.connection(state);
        }
        match change {
            Connection::Restored => {
                self.is_partial = false;
                self.publisher.connection_restored();
                if self.start_question.link_is_up() {
                    self.node.handle_link_up(self.clock.now());
                }
            }
            Connection::Lost(why) => {
                self.start_question.link_lost(self.clock.now());
                self.publisher.connection_fault(Fault::ConnectionLost(why));
            }
            Connection::Partial(why) => {
                self.is_partial = true;
                self.start_question.link_lost(self.clock.now());
                self.publisher.connection_fault(Fault::ConnectionPartial(why));
            }
            Connection::Closed(why) => {
                self.publisher.connection_fault(Fault::ConnectionClosed(why));
            }
            // A transport may report this for each message or each attempt to reconnect.
            Connection::Impaired(why) => {
                self.publisher.recurring(self.clock.now(), Fault::ConnectionImpaired(why));
            }
        }
    }

    /// Asks the application what the core may need to know for this input. A leader waits for no
    /// answer, whatever arrives (rule L1).
    async fn ask_about(&mut self, input: &Input) {
        let may_wait = self.node.state() != State::Leader;
        let granted = match input {
            Input::Message(Message::VoteRequest(request) | Message::PreVoteRequest(request)) => {
                self.ask_for_vote(&request.position, may_wait).await
            }
            // Whether this follower could take over (rule H1).
            Input::Message(Message::HeartbeatResponse(response)) if !may_wait => {
                let answer = self.queries.cached_answer(self.clock.now(), &response.position);
                answer.is_some_and(|answer| answer.grants_vote).then(|| response.position.clone())
            }
            // Each of these may make the node send its position.
            Input::Message(Message::Handover(_) | Message::Heartbeat(_)) | Input::Timeout
                if may_wait =>
            {
                self.ask_position().await;
                None
            }
            Input::Message(_)
            | Input::Timeout
            | Input::HandOver(_)
            | Input::HoldBack(_)
            | Input::ChangeVoters(_)
            | Input::Close => None,
        };
        self.node.application_mut().set_granted(granted);
    }

    /// `position`, if the application would accept a candidate there as the leader. Without
    /// waiting, only a recent answer counts.
    async fn ask_for_vote(&mut self, position: &Position, may_wait: bool) -> Option<Position> {
        let is_granted = if may_wait {
            self.queries.grants_vote(position.clone()).await.unwrap_or_else(|fault| {
                self.publisher.fault(fault);
                false
            })
        } else {
            let answer = self.queries.cached_answer(self.clock.now(), position);
            answer.is_some_and(|answer| answer.grants_vote && answer.is_fresh)
        };
        is_granted.then(|| position.clone())
    }

    /// If the application does not answer, the last known position is kept: it claims no more than
    /// is true.
    async fn ask_position(&mut self) {
        let fault = match self.queries.position().await {
            Ok(None) => return,
            Ok(Some(bytes)) => match Position::new(&bytes) {
                Ok(position) => {
                    self.node.application_mut().set_position(position);
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
            Input::HoldBack(is_held_back) => self.node.hold_back(now, is_held_back),
            Input::ChangeVoters(change) => {
                let (outcome, output) = self.node.change_voters(now, &change);
                self.change_outcome = outcome;
                output
            }
            Input::Close => self.node.close(now),
        };
        let unsaved = match output {
            Output::Idle => return None,
            Output::Send(outgoing) => return Some(outgoing),
            Output::Save(unsaved) => unsaved,
        };
        // Published before the save: a candidacy must be seen even if the save itself decides it.
        let lost = self.publisher.publish(unsaved.node(), now);
        self.lost = self.lost.take().or(lost);
        let (id, record) = (unsaved.node().id().clone(), unsaved.record().clone());
        let began = tokio::time::Instant::now();
        let mut saving = pin!(save(&self.votes, id, record));
        let mut must_end = pin!(closing_for(self.closing.clone(), SAVE_TIME_MAX));
        let mut is_reported = false;
        let saved = loop {
            tokio::select! {
                biased;
                saved = &mut saving => break saved,
                () = &mut must_end => {
                    self.is_abandoned = true;
                    break Err(Fault::SaveUnfinished(SAVE_TIME_MAX));
                }
                () = sleep(SAVE_TIME_MAX), if !is_reported => {
                    is_reported = true;
                    let fault = Fault::SaveUnfinished(SAVE_TIME_MAX);
                    self.publisher.recurring(self.clock.now(), fault);
                }
            }
        };
        self.publisher.saved(saved.is_ok().then(|| began.elapsed()));
        match saved {
            Ok(()) => unsaved.saved(self.clock.now()),
            Err(fault) => {
                drop(unsaved);
                self.publisher.recurring(self.clock.now(), fault);
                None
            }
        }
    }

    async fn send(&mut self, outgoing: Option<Outgoing>) {
        let Some(outgoing) = outgoing else {
            return;
        };
        self.publisher.hear(&outgoing.message);
        let now = self.clock.now();
        let sent = tokio::time::timeout(self.send_time_max, self.transport.send(&outgoing)).await;
        if let Message::Who(_) = outgoing.message {
            self.start_question.sent(now, matches!(sent, Ok(Ok(()))));
        }
        let (cause, fault) = match sent {
            Ok(Ok(())) => return,
            Ok(Err(error)) => (DropCause::SendError, Fault::Send(Arc::new(error) as SharedError)),
            Err(_) => (DropCause::SendTimedOut, Fault::SendTimedOut(self.send_time_max)),
        };
        self.publisher.unsent(self.clock.now(), cause, fault);
    }
}

/// Stores the record on a thread that may block. A save that has begun is always finished.
async fn save<const VOTERS: usize>(
    votes: &Arc<Mutex<dyn SaveVote>>,
    id: NodeId,
    record: VoteRecord<VOTERS>,
) -> Result<(), Fault> {
    let votes = Arc::clone(votes);
    let save = move || {
        // A node has room for no more voters than a store.
        let record = record.with_room_for().map_err(|error| Arc::new(error) as SharedError)?;
        votes.lock().unwrap_or_else(PoisonError::into_inner).save_vote(&id, &record)
    };
    match tokio::task::spawn_blocking(save).await {
        Ok(saved) => saved.map_err(Fault::Save),
        Err(_) => Err(Fault::SaveInterrupted),
    }
}

/// Whether a Go node sent this request or heartbeat. Ours always name a round (rule N1).
fn is_from_go(message: &Message) -> bool {
    matches!(message, Message::VoteRequest(_) | Message::Heartbeat(_)) && message.round().is_none()
}

/// Waits until the node has been closing for this time. One without the wish is closing already.
async fn closing_for(closing: Option<watch::Receiver<bool>>, span: Duration) {
    if closing.is_some() {
        wait_for_close(&mut { closing }).await;
    }
    sleep(span).await;
}

async fn wait_for_close(closing: &mut Option<watch::Receiver<bool>>) {
    match closing {
        // An error means that the node's handle is gone, which closes the node, too.
        Some(closing) => drop(closing.wait_for(|closing| *closing).await),
        None => std::future::pending().await,
    }
}
