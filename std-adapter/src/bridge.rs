//! Carries a cluster's messages between a serial line and NATS.

mod counts;
mod echoes;
mod error;
mod nats_side;
mod rate;
mod recent_nodes;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use async_nats::{ConnectOptions, ToServerAddrs};
use graft_election_core::{Config, Message, Mode, NodeId, Recipient};
use graft_election_proto::Kind;
use graft_election_proto::frame::{FRAME_MAX, Frame, FrameReader, encode_payload};
use tokio::time::{Instant, MissedTickBehavior, interval};

pub use counts::{BridgeCounts, DirectionCounts};
pub use error::BridgeError;

use self::counts::Outcome;
use self::echoes::Echoes;
use self::nats_side::{Listening, NatsEvent, NatsSide, Received};
use self::rate::Rate;
use self::recent_nodes::RecentNodes;
use crate::core_node::VOTERS_MAX;
use crate::error::StartError;
use crate::framed_line::{FramedLine, LineEvent, Unwritten};
use crate::nats::{NatsConnectError, NatsServers, Said, named_in};
use crate::news::{News, Turns};
use crate::node::random_id;
use crate::serial_line::SerialLine;
use crate::transport::Connection;

/// How often the bridge reports its counts.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// How many frames of a node that was heard on NATS are taken for echoes although they were not
/// heard there: a spare bridge may be faster than this one.
const DOUBTED_MAX: u8 = 2;

/// For how long a node that was heard on the line is there, so that nobody else needs to hear what
/// is for it.
const STAYS_FOR: Duration = Duration::from_secs(2);

/// How many random digits the bridge's id has.
const ID_LEN: usize = 8;

/// Carries a cluster's messages between a serial line and NATS, so that nodes on both sides are
/// voters of one cluster.
///
/// It decodes a message only to learn which side its sender is on, and carries the bytes unchanged:
///
/// * A frame that was heard on NATS a moment ago is the echo of one that a bridge has written, and
///   is not carried. It is told by what is in it: so the bridge believes what it hears on the line,
///   and a message on NATS in the name of a node on the line keeps that node from nobody.
/// * Any other frame is from a node on the line. Before the bridge publishes the node's first
///   message, it subscribes to the subjects of that node, so that no answer is missed.
/// * A message on NATS that a bridge of the same line has published is not carried back to the
///   line.
///
/// Nothing is kept for later. What arrives while the other side is disconnected, or faster than
/// [`BridgeRates`] allow, is dropped and counted: the election tolerates lost messages, and late
/// ones only cost time.
///
/// Run one bridge per line at a time. For a spare, let an election choose which of several runs, as
/// `graft run … -- graft bridge …` does; `docs/bridge.md` shows how, and what two at once would do.
pub struct Bridge {
    id: NodeId,
    line: FramedLine,
    is_line_open: bool,
    nats: NatsSide,
    on_line: RecentNodes<Listening>,
    /// With how many of their frames were doubted.
    on_nats: RecentNodes<u8>,
    from_line: Echoes,
    from_nats: Echoes,
    to_nats: Rate,
    to_line: Rate,
    counts: BridgeCounts,
}

/// How much a [`Bridge`] carries at most, so that neither side can flood the other. All nodes that
/// were heard within the last second have equal shares of it, so that none can crowd out the
/// others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeRates {
    /// Messages per second to NATS.
    pub to_nats: u32,
    /// Bytes per second to the line, in whole frames.
    pub to_line: u32,
}

impl BridgeRates {
    /// Far more messages than a cluster sends on any line.
    pub const TO_NATS: u32 = 500;

    /// The bytes to a line of unknown speed: half of what 115,200 baud carry.
    pub const TO_LINE: u32 = 5_760;

    /// Rates that leave the nodes on `line` half of it.
    pub fn for_line(line: &SerialLine) -> Self {
        let to_line = line.bytes_per_second().map_or(Self::TO_LINE, |bytes| bytes / 2);
        Self { to_nats: Self::TO_NATS, to_line }
    }
}

/// What a [`Bridge`] reports while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BridgeEvent {
    /// The connection to the line has changed.
    Line(Connection),
    /// The connection to NATS has changed.
    Nats(Connection),
    /// The counts so far, reported every ten seconds.
    Counts(BridgeCounts),
    /// So many changes of the connections were not reported, since ten were in the same second.
    Withheld(u64),
}

impl Bridge {
    /// The name of a line that [`with_line_name`](Self::with_line_name) has not named.
    pub const LINE_NAME: &str = "line";

    /// Opens `line`, connects to the NATS server at `addrs` and joins the two for `cluster`.
    ///
    /// # Errors
    ///
    /// [`BridgeError`] if either side is unavailable now. Later the bridge waits for it to return.
    pub async fn connect(
        cluster: &str,
        line: SerialLine,
        addrs: impl ToServerAddrs,
        rates: BridgeRates,
    ) -> Result<Self, BridgeError> {
        Self::connect_with_options(cluster, line, addrs, rates, Ok).await
    }

    /// Connects like [`connect`](Self::connect), with the options that `configure` adds to those
    /// that a bridge needs, as for
    /// [`NatsTransport::connect_with_options`](crate::NatsTransport::connect_with_options).
    ///
    /// # Errors
    ///
    /// What `configure` returns, and those of [`connect`](Self::connect).
    pub async fn connect_with_options(
        cluster: &str,
        line: SerialLine,
        addrs: impl ToServerAddrs,
        rates: BridgeRates,
        configure: impl FnOnce(ConnectOptions) -> io::Result<ConnectOptions>,
    ) -> Result<Self, BridgeError> {
        let servers = NatsServers::new(addrs).map_err(NatsConnectError::Servers)?;
        Self::connect_to(cluster, line, &servers, rates, configure).await
    }

    /// Connects like [`connect_with_options`](Self::connect_with_options) to servers that were
    /// parsed already.
    ///
    /// # Errors
    ///
    /// What `configure` returns, and those of [`connect`](Self::connect).
    pub async fn connect_to(
        cluster: &str,
        line: SerialLine,
        servers: &NatsServers,
        rates: BridgeRates,
        configure: impl FnOnce(ConnectOptions) -> io::Result<ConnectOptions>,
    ) -> Result<Self, BridgeError> {
        Config::new(cluster, 1).check(VOTERS_MAX)?;
        let id = short_id().map_err(|error| BridgeError::Random(Box::new(error)))?;
        let nats = NatsSide::connect(servers, configure, (cluster, &id), Self::LINE_NAME).await?;
        let opened = FramedLine::open(line.clone(), cluster).await;
        let line = opened.map_err(|error| BridgeError::Open { line, error })?;
        let now = Instant::now();
        Ok(Self {
            id,
            line,
            is_line_open: true,
            nats,
            on_line: RecentNodes::new(),
            on_nats: RecentNodes::new(),
            from_line: Echoes::default(),
            from_nats: Echoes::default(),
            to_nats: Rate::new(rates.to_nats, now),
            to_line: Rate::new(rates.to_line, now),
            counts: BridgeCounts::default(),
        })
    }

    /// Names the line, where a cluster has several: lines reach each other over NATS only if their
    /// bridges give them different names. All bridges of one line give it the same name.
    pub fn with_line_name(mut self, name: &NodeId) -> Self {
        self.nats.set_line_name(name);
        self
    }

    /// Has the nodes on the line speak to NATS in this mode: in [`Mode::Graft`], what Go nodes can
    /// read goes to their subjects. It must be the nodes' own mode; Extended by default.
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.nats.set_mode(mode);
        self
    }

    /// The bridge's random id. On the line it is the sender of answers that name none, which are
    /// those of Go nodes.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// Carries messages until `stop` is ready, passes what happens to `report`, and returns its
    /// counts.
    pub async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        mut report: impl FnMut(BridgeEvent),
    ) -> BridgeCounts {
        let mut stop = pin!(stop);
        let mut reports = interval(REPORT_INTERVAL);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick would come at once.
        reports.reset();
        let (mut news, began) = (News::default(), Instant::now());
        let (mut line, mut nats) = (Turns::default(), Turns::default());
        loop {
            let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            let now = graft_election_core::Instant::from_micros(micros);
            tokio::select! {
                () = &mut stop => break,
                event = self.line.receive(ReceivedFrame::read) => match event {
                    LineEvent::Frame(frame) => {
                        let outcome = self.carry_to_nats(*frame).await;
                        self.counts.to_nats.count(outcome);
                    }
                    LineEvent::Fault(_) => self.counts.to_nats.count(Outcome::Malformed),
                    LineEvent::Connection(change) => {
                        self.is_line_open = change == Connection::Restored;
                        let told = admit(&mut news, &mut line, now, change);
                        told.map(BridgeEvent::Line).into_iter().for_each(&mut report);
                    }
                },
                event = self.nats.next() => match event {
                    NatsEvent::Received(received) => {
                        if let Some(outcome) = self.carry_to_line(&received).await {
                            self.counts.to_line.count(outcome);
                        }
                    }
                    NatsEvent::Connection(change) => {
                        let told = admit(&mut news, &mut nats, now, change);
                        told.map(BridgeEvent::Nats).into_iter().for_each(&mut report);
                    }
                    NatsEvent::Retry => self.nats.try_again(self.on_line.all_kept_mut()).await,
                },
                _ = reports.tick() => {
                    if let Some(withheld) = news.take_withheld(now) {
                        report(BridgeEvent::Withheld(withheld));
                        let line = line.take_held(now).map(BridgeEvent::Line);
                        let nats = nats.take_held(now).map(BridgeEvent::Nats);
                        line.into_iter().chain(nats).for_each(&mut report);
                    }
                    report(BridgeEvent::Counts(self.counts));
                }
            }
        }
        self.line.flush().await;
        self.nats.close().await;
        self.counts
    }

    async fn carry_to_nats(&mut self, frame: ReceivedFrame) -> Outcome {
        let ReceivedFrame { sender, to, message, payload } = frame;
        let (kind, now) = (Kind::of(&message), Instant::now());
        if sender == self.id || self.is_echo(&sender, kind, &payload, now) {
            return Outcome::Echo;
        }
        if let Recipient::Node(node) = &to
            && self.on_line.heard_within(STAYS_FOR, node, now)
        {
            self.on_line.hear(&sender, now);
            return Outcome::Stayed;
        }
        if kind.is_for_everyone() != (to == Recipient::Everyone) {
            return Outcome::Malformed;
        }
        if !self.nats.is_connected() {
            return Outcome::Disconnected;
        }
        if !self.to_nats.admits(&sender, 1, now) {
            return Outcome::OverRate;
        }
        if !self.on_line.hear(&sender, now) {
            match self.nats.listen_for(&sender).await {
                Ok(listening) => self.on_line.add(sender.clone(), now, listening),
                Err(outcome) => return outcome,
            }
        }
        self.nats.publish(&sender, &to, kind, payload).await
    }

    /// Whether a frame is the echo of one that a bridge has written.
    fn is_echo(&mut self, sender: &NodeId, kind: Kind, payload: &[u8], now: Instant) -> bool {
        if self.from_nats.is_back(kind, payload, now) {
            return true;
        }
        self.from_line.hear(kind, payload, now);
        // An operator's request is no word of the node that it names.
        if kind == Kind::ControlRequest || self.on_line.contains(sender, now) {
            return false;
        }
        match self.on_nats.kept_mut(sender, now) {
            Some(doubted) if *doubted < DOUBTED_MAX => {
                *doubted += 1;
                true
            }
            _ => {
                self.on_nats.forget(sender);
                false
            }
        }
    }

    /// Notes that a node was heard on NATS. If it has just been heard on the line with the same
    /// message, then another bridge had carried that there.
    fn hear_on_nats(&mut self, sender: &NodeId, kind: Kind, payload: &[u8], now: Instant) {
        self.from_nats.hear(kind, payload, now);
        // An operator's request is no word of the node that it names.
        if kind == Kind::ControlRequest {
            return;
        }
        if self.from_line.is_back(kind, payload, now) {
            self.on_line.forget(sender);
            self.on_nats.add(sender.clone(), now, 0);
        } else if !self.on_line.contains(sender, now) && !self.on_nats.hear(sender, now) {
            self.on_nats.add(sender.clone(), now, 0);
        }
    }

    /// What became of a message from NATS; `None` if it was none of the cluster.
    async fn carry_to_line(&mut self, received: &Received) -> Option<Outcome> {
        match self.nats.read(received) {
            Ok(Some(Said { message, .. })) => Some(self.write_to_line(received, &message).await),
            Ok(None) => None,
            Err(_) => Some(Outcome::Malformed),
        }
    }

    async fn write_to_line(&mut self, received: &Received, message: &Message) -> Outcome {
        if received.comes_from_line(self.nats.line_name()) {
            return Outcome::Echo;
        }
        let now = Instant::now();
        // An answer of the Go original names no sender; on the line it has the bridge's id.
        let sender = named_in(message).unwrap_or(&self.id).clone();
        let kind = Kind::of(message);
        self.hear_on_nats(&sender, kind, received.payload(), now);
        if !self.is_line_open {
            return Outcome::Disconnected;
        }
        let mut buffer = [0; FRAME_MAX];
        let (cluster, payload) = (self.line.cluster(), received.payload());
        let frame = encode_payload(cluster, kind, &sender, &received.to, payload, &mut buffer);
        match frame {
            Ok(frame) if self.to_line.admits(&sender, frame.len(), now) => {
                write(&mut self.line, frame).await
            }
            Ok(_) => Outcome::OverRate,
            Err(_) => Outcome::Refused,
        }
    }
}

impl std::fmt::Debug for Bridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bridge")
            .field("id", &self.id)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

/// A frame from the line, whoever it is for.
struct ReceivedFrame {
    sender: NodeId,
    to: Recipient,
    message: Message,
    /// The message's bytes as they came.
    payload: Vec<u8>,
}

impl ReceivedFrame {
    fn read(reader: &mut FrameReader, bytes: &mut &[u8]) -> Option<Box<Self>> {
        let Frame { sender, to, message, payload } = reader.read_any(bytes)?;
        Some(Box::new(Self { sender, to, message, payload: payload.to_vec() }))
    }
}

/// What is to be told of a connection now.
fn admit(
    news: &mut News,
    turns: &mut Turns<Connection>,
    now: graft_election_core::Instant,
    change: Connection,
) -> Option<Connection> {
    let text = change.to_string();
    if let Connection::Impaired(_) = change {
        return (news.remember(now, text) && news.admits(now)).then_some(change);
    }
    turns.admit(news, now, text, change)
}

/// A short id: there are few bridges, and slow lines carry it with every answer of a Go node.
fn short_id() -> Result<NodeId, StartError> {
    let id = random_id()?;
    let digits = id.as_str().get(..ID_LEN).unwrap_or(id.as_str());
    NodeId::new(digits).map_err(|error| StartError::Random(Box::new(error)))
}

async fn write(line: &mut FramedLine, frame: &[u8]) -> Outcome {
    match line.write(frame).await {
        Ok(()) => Outcome::Carried,
        Err(Unwritten::Disconnected) => Outcome::Disconnected,
        Err(Unwritten::Full) => Outcome::Refused,
    }
}
