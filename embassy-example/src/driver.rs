use core::future::Future;
use core::pin::pin;
use core::time::Duration;

use embassy_futures::select::{Either, Either3, select, select3};
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_time::{TimeoutError, Timer, with_deadline};
use graft_election_core::{
    Application, Config, ConfigError, Instant, Message, Node, NodeId, Outgoing, Output, State,
};
use rand_core::Rng;

use crate::observer::Told;
use crate::{Lease, Link, Observer, SendError, VoteStorage, clock};

/// What a board brings to the election.
#[derive(Clone, Copy, Debug, Default)]
pub struct Board<L, V, R, O> {
    /// The way to the other nodes.
    pub link: L,
    /// Where the vote record is kept.
    pub storage: V,
    /// The source of random election timeouts; it must differ between the nodes of a cluster, and
    /// need not be cryptographic.
    pub rng: R,
    /// Who is told of the election: `()` if nobody is.
    pub observer: O,
}

/// One node of a cluster of at most `VOTERS`, with all it needs: the loop around
/// [`graft_election_core::Node`].
///
/// The loop waits for a message or for the node's deadline, hands it to the node, stores the vote
/// if the node asks for it, and only then sends what the node says. Its clock is that of
/// [`embassy_time`], of any tick rate, which it takes for the configuration's
/// [`clock_tick`](Config::clock_tick) if that is shorter; on a chip that sleeps the clock must count
/// the sleep (protocol, section 1).
#[derive(Debug)]
pub struct Driver<L, V, R, S, O, const VOTERS: usize> {
    node: Node<R, S, VOTERS>,
    link: L,
    storage: V,
    observer: O,
    told: Told,
    heartbeat_interval: Duration,
    election_timeout_max: Duration,
    /// The link failed to receive, and rests until then.
    receive_again_at: Option<Instant>,
}

impl<L, V, R, S, O, const VOTERS: usize> Driver<L, V, R, S, O, VOTERS>
where
    L: Link,
    V: VoteStorage,
    R: Rng,
    S: Application,
    O: Observer<L::Error, V::Error>,
{
    /// Loads the vote record and takes the node's place in the cluster, as a follower without a
    /// leader.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the record can't be loaded or the configuration makes no sense. The board
    /// is given up with it: try again with a new one, after a reset for instance, but never with
    /// an empty storage in place of one that fails (rule V9).
    #[expect(clippy::manual_async_fn, reason = "an async fn would keep each argument twice")]
    pub fn start(
        id: NodeId,
        config: &Config<'_>,
        application: S,
        mut board: Board<L, V, R, O>,
    ) -> impl Future<Output = Result<Self, StartError<V::Error>>> {
        async move {
            let record = board.storage.load().await.map_err(StartError::Load)?;
            let Board { link, storage, rng, mut observer } = board;
            let clock_tick = config.clock_tick.max(clock::TICK);
            let config = &Config { clock_tick, ..*config };
            let node = Node::new(id, config, record, application, rng, clock::now())?;
            observer.started(node.id(), node.record());
            Ok(Self {
                node,
                link,
                storage,
                observer,
                told: Told::default(),
                heartbeat_interval: config.heartbeat_interval,
                election_timeout_max: config.election_timeout_max,
                receive_again_at: None,
            })
        }
    }

    /// Takes part in the election until `stop` resolves, then closes the node: a leader hands over
    /// first and stays, for two heartbeat intervals at most, to answer its successor (rule H3). An
    /// application that never stops gives [`core::future::pending`].
    ///
    /// While the node has a lease, those who share `lease` may act as the leader.
    ///
    /// A failing link or storage does not end the loop; the observer is told. This future must not
    /// be dropped before its end, since that could cancel a save: use `stop`. After its end the node
    /// is closed for good.
    pub async fn run(&mut self, lease: &Lease<impl RawMutex>, stop: impl Future<Output = ()>) {
        lease.begin(self.heartbeat_interval, self.election_timeout_max);
        let mut stop = pin!(stop);
        loop {
            let next = select3(stop.as_mut(), lease.unwanted(), self.next_input());
            let input = match next.await {
                Either3::First(()) => break,
                Either3::Second(()) => Input::HandOver,
                Either3::Third(input) => input,
            };
            self.handle(input, lease).await;
        }
        self.step(Input::Close, lease).await;
        while self.node.state() != State::Closed {
            let input = self.next_input().await;
            self.handle(input, lease).await;
        }
    }

    /// Waits for a message or for the node's deadline, whichever comes first. It only waits, so
    /// that it may be cancelled.
    async fn next_input(&mut self) -> Input {
        let deadline = clock::at_or_after(self.node.deadline());
        match select(self.receive(), Timer::at(deadline)).await {
            Either::First(Ok(message)) => Input::Message(message),
            Either::First(Err(error)) => {
                self.rest_receiving(error);
                Input::Timeout
            }
            Either::Second(()) => Input::Timeout,
        }
    }

    async fn receive(&mut self) -> Result<Message, L::Error> {
        if let Some(at) = self.receive_again_at {
            Timer::at(clock::at_or_after(at)).await;
            self.receive_again_at = None;
        }
        self.link.receive().await
    }

    #[expect(clippy::manual_async_fn, reason = "an async fn would keep the input twice")]
    fn handle(&mut self, input: Input, lease: &Lease<impl RawMutex>) -> impl Future<Output = ()> {
        async move {
            self.step(input, lease).await;
            // After every input, because a link that always has a message ready wins every race.
            // Where nothing is due yet, this does nothing.
            self.step(Input::Timeout, lease).await;
        }
    }

    /// A link that fails at once every time would never let the loop wait, and with it the clock of
    /// the election and every other task of the executor would stand still. The rest is shorter
    /// than the time between two heartbeats, so that it costs one of them at most.
    fn rest_receiving(&mut self, error: L::Error) {
        let rest = self.heartbeat_interval / 2;
        self.receive_again_at = Some(clock::now().saturating_add(rest));
        self.observer.receive_failed(error);
    }

    /// Gives the node one input and does what it asks for.
    #[expect(clippy::manual_async_fn, reason = "an async fn would keep the input twice")]
    fn step(&mut self, input: Input, lease: &Lease<impl RawMutex>) -> impl Future<Output = ()> {
        async move {
            // The clock is read here, after the message was received (protocol, section 1).
            let output = input.give(&mut self.node, clock::now());
            let Self { storage, told, observer, .. } = self;
            let outgoing = store(output, storage, told, observer, lease).await;
            lease.tell(self.node.leadership(clock::now()));
            self.told.tell_all(&self.node, &mut self.observer);
            lease.released().await;
            if let Some(outgoing) = &outgoing {
                self.send(outgoing).await;
            }
        }
    }

    /// Sends a message, for a heartbeat interval at most: by then the next one is due.
    async fn send(&mut self, outgoing: &Outgoing) {
        let give_up_at = clock::at_or_after(clock::now().saturating_add(self.heartbeat_interval));
        match with_deadline(give_up_at, self.link.send(outgoing)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.observer.send_failed(SendError::Link(error)),
            Err(TimeoutError) => self.observer.send_failed(SendError::TimedOut),
        }
    }
}

/// Stores the vote if the node asks for it, and returns what may be sent now.
///
/// The save is outside any race, since a write that is cancelled halfway can bring an old vote back.
#[expect(clippy::manual_async_fn, reason = "an async fn would keep the output twice")]
fn store<L, V: VoteStorage, R: Rng, S: Application, const VOTERS: usize>(
    output: Output<'_, R, S, VOTERS>,
    storage: &mut V,
    told: &mut Told,
    observer: &mut impl Observer<L, V::Error>,
    lease: &Lease<impl RawMutex>,
) -> impl Future<Output = Option<Outgoing>> {
    async move {
        let saved = match &output {
            Output::Idle | Output::Send(_) => Ok(()),
            Output::Save(unsaved) => {
                // Told before the save too, which may decide a candidacy.
                lease.tell(unsaved.node().leadership(clock::now()));
                told.tell_changes(unsaved.node(), observer);
                storage.save(unsaved.record()).await
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
    Close,
}

impl Input {
    /// It is a function of its own, so that its room on the stack is free again when the vote is
    /// saved and the message sent.
    #[inline(never)]
    fn give<R: Rng, S: Application, const VOTERS: usize>(
        self,
        node: &mut Node<R, S, VOTERS>,
        now: Instant,
    ) -> Output<'_, R, S, VOTERS> {
        match self {
            Self::Message(message) => node.handle_message(now, message),
            Self::Timeout => node.handle_timeout(now),
            Self::HandOver => node.hand_over(now, None),
            Self::Close => node.close(now),
        }
    }
}

/// Why a [`Driver`] can't start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StartError<E> {
    /// The vote record can't be loaded.
    #[error("the vote record could not be loaded")]
    Load(#[source] E),
    /// The configuration makes no sense, or contradicts the id or the record.
    #[error(transparent)]
    Config(#[from] ConfigError),
}
