use core::future::Future;
use core::pin::pin;
use core::time::Duration;

use embassy_futures::select::{Either, Either3, select, select3};
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_time::{TimeoutError, Timer, with_deadline};
use graft_election_core::{
    Application, Config, ConfigError, Instant, LeaderValue, Message, Node, NodeId, Outgoing,
    Output, Reason, State,
};
use rand_core::Rng;

use crate::announcer::Announcer;
use crate::lease::Request;
use crate::spokesman::Spokesman;
use crate::{Lease, Observer, SendError, Transport, VoteStore, clock};

/// What a board brings to the election.
#[derive(Clone, Copy, Debug, Default)]
pub struct Board<T, V, R, O> {
    /// The way to the other nodes.
    pub transport: T,
    /// Where the node keeps its vote.
    pub votes: V,
    /// The source of random election timeouts, and of the number by which this run of this board is
    /// told from all others (rule N4). So it must differ between the boards of a cluster *and*
    /// between any two starts of one board; it need not be cryptographic. A board without noise
    /// seeds it with the chip's number and a count of its starts.
    pub rng: R,
    /// What hears of the election; `()` if nothing does.
    pub observer: O,
}

/// One node of a cluster of at most `VOTERS`, with everything it needs: the loop around
/// [`graft_election_core::Node`].
///
/// The loop waits for a message or for the node's deadline, hands it to the node, saves the vote if
/// the node asks for it, and only then sends the node's message. Its clock is that of
/// [`embassy_time`], at any tick rate; the tick counts as the configuration's
/// [`clock_tick`](Config::clock_tick) if that is shorter. On a chip that sleeps, the clock must
/// count the time asleep (protocol, section 1).
#[derive(Debug)]
pub struct Driver<T, V, R, A, O, const VOTERS: usize> {
    node: Node<R, Spokesman<A>, VOTERS>,
    transport: T,
    votes: V,
    observer: O,
    announcer: Announcer,
    heartbeat_interval: Duration,
    election_timeout_max: Duration,
    /// Set when the transport failed to receive: it is left alone until then.
    receive_again_at: Option<Instant>,
}

impl<T, V, R, A, O, const VOTERS: usize> Driver<T, V, R, A, O, VOTERS>
where
    T: Transport,
    V: VoteStore<VOTERS>,
    R: Rng,
    A: Application,
    O: Observer<T::Error, V::Error>,
{
    /// Loads the vote record and takes the node's place in the cluster, as a follower without a
    /// leader.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the record can't be loaded, or is missing though the voters are declared,
    /// or the configuration makes no sense. The board is dropped with it. Try again with a new one,
    /// after a reset for instance, but never with an empty vote store in place of one that fails
    /// (rule V9), or with a first record in place of one that is missing (rule N6):
    /// [`VoteStore::provision`] is for a board that has never been in use.
    #[expect(clippy::manual_async_fn, reason = "an async fn would keep each argument twice")]
    pub fn start(
        id: NodeId,
        config: &Config<'_>,
        application: A,
        mut board: Board<T, V, R, O>,
    ) -> impl Future<Output = Result<Self, StartError<V::Error>>> {
        async move {
            let record = board.votes.load().await.map_err(StartError::Load)?;
            let Board { transport, votes, rng, mut observer } = board;
            let clock_tick = config.clock_tick.max(clock::TICK);
            let config = &Config { clock_tick, ..*config };
            let application = Spokesman::new(application);
            let node = Node::new(id, config, record, application, rng, clock::now())?;
            observer.started(node.id(), node.record());
            Ok(Self {
                node,
                transport,
                votes,
                observer,
                announcer: Announcer::default(),
                heartbeat_interval: config.heartbeat_interval,
                election_timeout_max: config.election_timeout_max,
                receive_again_at: None,
            })
        }
    }

    /// Takes part in the election until `stop` resolves, then closes the node: a leader first hands
    /// over, and stays for up to two heartbeat intervals to answer its successor (rule H3). An
    /// application that never stops passes [`core::future::pending`].
    ///
    /// While the node has a lease, the tasks that share `lease` may act as the leader.
    ///
    /// A failing transport or vote store does not end the loop; the observer hears of it. Don't
    /// drop this future before its end, since that could cancel a save: use `stop`. After its end
    /// the node is closed for good.
    ///
    /// # Errors
    ///
    /// [`DuplicateId`] if, when this node started, another board with its id was there and stayed
    /// (rule N5). The node has given up. One that comes later is reported instead, and this node
    /// goes on or stands aside (rule N3).
    pub async fn run(
        &mut self,
        lease: &Lease<impl RawMutex>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), DuplicateId> {
        lease.begin(self.heartbeat_interval, self.election_timeout_max);
        let mut stop = pin!(stop);
        loop {
            let next = select3(stop.as_mut(), lease.next_request(), self.next_input());
            let input = match next.await {
                Either3::First(()) => break,
                Either3::Second(Request::HandOver) => Input::HandOver,
                Either3::Second(Request::HoldBack(is_held_back)) => Input::HoldBack(is_held_back),
                Either3::Second(Request::SetValue(value)) => {
                    self.node.application_mut().set_value(value);
                    // The tasks hear it as after any other input; nothing else comes of it.
                    Input::Timeout
                }
                Either3::Third(input) => input,
            };
            self.handle(input, lease).await;
            if self.node.state() == State::Closed {
                break;
            }
        }
        self.step(Input::Close, lease).await;
        while self.node.state() != State::Closed {
            let input = self.next_input().await;
            self.handle(input, lease).await;
        }
        match self.node.reason() {
            Reason::DuplicateId => Err(DuplicateId(self.node.id().clone())),
            _ => Ok(()),
        }
    }

    /// Waits for a message or for the node's deadline, whichever comes first. Cancel-safe, as it
    /// only waits.
    async fn next_input(&mut self) -> Input {
        let deadline = clock::at_or_after(self.node.deadline());
        match select(self.receive(), Timer::at(deadline)).await {
            Either::First(Ok(message)) => Input::Message(message),
            Either::First(Err(error)) => {
                self.pause_receiving(error);
                Input::Timeout
            }
            Either::Second(()) => Input::Timeout,
        }
    }

    async fn receive(&mut self) -> Result<Message, T::Error> {
        if let Some(at) = self.receive_again_at {
            Timer::at(clock::at_or_after(at)).await;
            self.receive_again_at = None;
        }
        self.transport.receive().await
    }

    /// A transport that fails at once every time would never let the loop wait, and the clock of
    /// the election and every other task of the executor would stop with it. The pause is shorter
    /// than the time between two heartbeats, so it costs one of them at most.
    fn pause_receiving(&mut self, error: T::Error) {
        let pause = self.heartbeat_interval / 2;
        self.receive_again_at = Some(clock::now().saturating_add(pause));
        self.observer.receive_failed(error);
    }

    #[expect(clippy::manual_async_fn, reason = "an async fn would keep the input twice")]
    fn handle(&mut self, input: Input, lease: &Lease<impl RawMutex>) -> impl Future<Output = ()> {
        async move {
            self.step(input, lease).await;
            // After every input, because a transport that always has a message ready wins every
            // race. If nothing is due yet, this does nothing.
            self.step(Input::Timeout, lease).await;
        }
    }

    /// Gives the node one input and does what it asks for.
    #[expect(clippy::manual_async_fn, reason = "an async fn would keep the input twice")]
    fn step(&mut self, input: Input, lease: &Lease<impl RawMutex>) -> impl Future<Output = ()> {
        async move {
            // The clock is read here, after the message was received (protocol, section 1).
            let output = input.give(&mut self.node, clock::now());
            let Self { votes, announcer, observer, .. } = self;
            let outgoing = save(output, votes, announcer, observer, lease).await;
            lease.update(self.node.leadership(clock::now()));
            lease.hear(self.leader_value());
            self.announcer.announce(&self.node, &mut self.observer);
            lease.released().await;
            if let Some(outgoing) = &outgoing {
                self.send(outgoing).await;
            }
        }
    }

    /// What the leader says, as far as this node knows; it may lead itself.
    fn leader_value(&mut self) -> LeaderValue {
        match self.node.state() {
            State::Leader => self.node.application_mut().leader_value(),
            _ => self.node.leader_value().clone(),
        }
    }

    /// Sends a message, for a heartbeat interval at most: by then the next one is due.
    async fn send(&mut self, outgoing: &Outgoing) {
        let give_up_at = clock::at_or_after(clock::now().saturating_add(self.heartbeat_interval));
        match with_deadline(give_up_at, self.transport.send(outgoing)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.observer.send_failed(SendError::Transport(error)),
            Err(TimeoutError) => self.observer.send_failed(SendError::TimedOut),
        }
    }
}

/// Saves the vote if the node asks for it, and returns what may now be sent.
///
/// The save takes part in no race, since a write that is cancelled halfway can bring back an old
/// vote.
#[expect(clippy::manual_async_fn, reason = "an async fn would keep the output twice")]
fn save<T, V: VoteStore<VOTERS>, R: Rng, A: Application, const VOTERS: usize>(
    output: Output<'_, R, A, VOTERS>,
    votes: &mut V,
    announcer: &mut Announcer,
    observer: &mut impl Observer<T, V::Error>,
    lease: &Lease<impl RawMutex>,
) -> impl Future<Output = Option<Outgoing>> {
    async move {
        let saved = match &output {
            Output::Idle | Output::Send(_) => Ok(()),
            Output::Save(unsaved) => {
                // Announced before the save as well, since a candidacy may be over after it.
                lease.update(unsaved.node().leadership(clock::now()));
                announcer.announce_changes(unsaved.node(), observer);
                votes.save(unsaved.record()).await
            }
        };
        match (saved, output) {
            (Ok(()), Output::Idle) => None,
            (Ok(()), Output::Send(outgoing)) => Some(outgoing),
            (Ok(()), Output::Save(unsaved)) => unsaved.saved(clock::now()),
            (Err(error), _) => {
                observer.save_failed(error);
                None
            }
        }
    }
}

/// What the driver gives to the node.
enum Input {
    Message(Message),
    /// The node's deadline may have come.
    Timeout,
    HandOver,
    HoldBack(bool),
    Close,
}

impl Input {
    /// It is a separate function so that its stack frame is gone when the vote is saved and the
    /// message sent.
    #[inline(never)]
    fn give<R: Rng, A: Application, const VOTERS: usize>(
        self,
        node: &mut Node<R, A, VOTERS>,
        now: Instant,
    ) -> Output<'_, R, A, VOTERS> {
        match self {
            Self::Message(message) => node.handle_message(now, message),
            Self::Timeout => node.handle_timeout(now),
            Self::HandOver => node.hand_over(now, None),
            Self::HoldBack(is_held_back) => node.hold_back(now, is_held_back),
            Self::Close => node.close(now),
        }
    }
}

/// Another board uses the id of this node, which has closed for that reason (rule N5).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[error("another board uses the id {0}; each needs an id of its own")]
pub struct DuplicateId(pub NodeId);

/// Why a [`Driver`] can't start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StartError<E> {
    /// The vote record can't be loaded.
    #[error("could not load the vote record")]
    Load(#[source] E),
    /// The configuration makes no sense, or contradicts the id or the record.
    #[error(transparent)]
    Config(#[from] ConfigError),
}
