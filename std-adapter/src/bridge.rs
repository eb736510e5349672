//! Carries a cluster's messages between a serial line and NATS.

mod counts;
mod known;
mod peers;
mod rate;
mod server;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use async_nats::{ConnectError, ToServerAddrs};
use graft_election_core::{
    Config, ConfigError, Message, NodeId, Outgoing, Recipient, VoteResponse,
};
use graft_election_proto::frame::{FRAME_MAX, Frame, FrameReader, encode_frame, encode_payload};
use graft_election_proto::{Kind, decode};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

pub use counts::{BridgeCounts, DirectionCounts};

use self::counts::Fate;
use self::known::Known;
use self::peers::Peers;
use self::rate::Rate;
use self::server::{Happening, Listening, Received, Server};
use crate::core_node::VOTERS_MAX;
use crate::error::StartError;
use crate::nats::{CLUSTER_KINDS, NatsError};
use crate::node::random_id;
use crate::serial_line::SerialLine;
use crate::serial_wire::{Heard, Unwritten, Wire};
use crate::transport::Connection;

/// How often the bridge tells what it has counted.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// How many random digits the bridge's id has.
const ID_LEN: usize = 8;

/// Carries a cluster's messages between a serial line and NATS, so that nodes on both sides are
/// voters of one cluster.
///
/// It decodes a message only to learn who is on which side, and carries its bytes as they are, once:
///
/// * A node that is heard on the line alone is on the line. Before its first message is published,
///   the bridge listens on NATS in its place.
/// * A frame from a node that is on NATS has come back over a line that echoes, and a message on
///   NATS from a node that is on the line has come back over another bridge. Neither is carried.
/// * Bridges that share a line know of each other through a frame that each sends to itself, and
///   don't carry what another has carried from there.
/// * Of several bridges between one line and one NATS, the one with the lowest id carries, and the
///   others stand by. They take over within two seconds of the moment when they don't hear of it on
///   either side, or it doesn't hear them on the line. While they find out, both may carry; a
///   message that comes twice does no harm.
///
/// Nothing is kept for later. What comes while the other side is disconnected, or faster than
/// [`BridgeRates`] allow, is dropped and counted: the election is made for lost messages, and a late
/// one only costs time.
pub struct Bridge {
    id: NodeId,
    wire: Wire,
    is_wire_up: bool,
    server: Server,
    on_line: Known<Listening>,
    on_nats: Known<()>,
    peers: Peers,
    carrier: Option<NodeId>,
    beacon_at: Instant,
    to_nats: Rate,
    to_line: Rate,
    counts: BridgeCounts,
}

/// How much a [`Bridge`] carries at most, so that neither side can drown the other. All nodes that
/// were heard in the last second have equal shares of it, so that none can drown the others either.
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

/// What a [`Bridge`] tells while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BridgeEvent {
    /// The way to the line has changed.
    Line(Connection),
    /// The way to NATS has changed.
    Nats(Connection),
    /// Another bridge, of this id, carries everything in its place; none if it carries itself.
    StandsBy(Option<NodeId>),
    /// What it has counted so far, told every ten seconds.
    Counts(BridgeCounts),
}

impl Bridge {
    /// Opens `line`, connects to the NATS server at `addrs` and joins the two for `cluster`.
    ///
    /// # Errors
    ///
    /// [`BridgeError`] if one of the sides can't be had now. Later the bridge waits for it to return.
    pub async fn connect(
        cluster: &str,
        line: SerialLine,
        addrs: impl ToServerAddrs,
        rates: BridgeRates,
    ) -> Result<Self, BridgeError> {
        Config::new(cluster, 1).check(VOTERS_MAX)?;
        let id = short_id().map_err(|error| BridgeError::Random(Box::new(error)))?;
        let server = Server::connect(addrs, cluster, id.clone()).await?;
        let wire =
            Wire::open(line.clone()).await.map_err(|error| BridgeError::Open { line, error })?;
        let now = Instant::now();
        Ok(Self {
            peers: Peers::new(id.clone()),
            id,
            wire,
            is_wire_up: true,
            server,
            on_line: Known::new(),
            on_nats: Known::new(),
            carrier: None,
            beacon_at: now,
            to_nats: Rate::new(rates.to_nats, now),
            to_line: Rate::new(rates.to_line, now),
            counts: BridgeCounts::default(),
        })
    }

    /// The random id under which other bridges, and answers that name no sender, know it on the line.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// Carries messages until `stop` is ready, and tells `report` what happens; returns what it has
    /// counted in all.
    pub async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        mut report: impl FnMut(BridgeEvent),
    ) -> BridgeCounts {
        let mut stop = pin!(stop);
        let mut reports = interval(REPORT_INTERVAL);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first comes at once.
        reports.reset();
        loop {
            tokio::select! {
                () = &mut stop => break,
                heard = self.wire.receive(HeardFrame::read) => match heard {
                    Heard::Frame(frame) => self.handle_frame(*frame).await,
                    Heard::Noise(_) => self.counts.to_nats.count(Fate::Malformed),
                    Heard::Changed(change) => {
                        self.is_wire_up = change == Connection::Restored;
                        report(BridgeEvent::Line(change));
                        self.send_beacon().await;
                    }
                },
                happening = self.server.next() => match happening {
                    Happening::Received(received) => {
                        let fate = self.carry_to_line(&received).await;
                        self.counts.to_line.count(fate);
                    }
                    Happening::Beacon { bridge, heard } => {
                        self.peers.hear_on_nats(&bridge, &heard, Instant::now());
                    }
                    Happening::Changed(change) => {
                        report(BridgeEvent::Nats(change));
                        self.send_beacon().await;
                    }
                },
                () = sleep_until(self.beacon_at) => self.send_beacon().await,
                _ = reports.tick() => report(BridgeEvent::Counts(self.counts)),
            }
            let carrier = self.peers.carrier(Instant::now());
            if carrier != self.carrier.as_ref() {
                self.carrier = carrier.cloned();
                report(BridgeEvent::StandsBy(self.carrier.clone()));
            }
        }
        self.wire.flush().await;
        self.server.close().await;
        self.counts
    }

    async fn handle_frame(&mut self, frame: HeardFrame) {
        let is_beacon = matches!(&frame.to, Recipient::Node(node) if *node == frame.sender);
        if is_beacon {
            // One that is new there can't know of this one yet.
            if self.peers.hear_on_line(frame.sender, Instant::now()) {
                self.send_beacon().await;
            }
        } else {
            let fate = self.carry_to_nats(frame).await;
            self.counts.to_nats.count(fate);
        }
    }

    async fn carry_to_nats(&mut self, frame: HeardFrame) -> Fate {
        let HeardFrame { sender, to, message, payload } = frame;
        let now = Instant::now();
        let is_carried = sender == self.id
            || self.on_nats.contains(&sender, now)
            || self.peers.contains(&sender, now);
        if is_carried {
            return Fate::Echo;
        }
        if let Recipient::Node(node) = &to
            && self.on_line.contains(node, now)
        {
            self.on_line.hear(&sender, now);
            return Fate::Stayed;
        }
        let kind = Kind::of(&message);
        if CLUSTER_KINDS.contains(&kind) != (to == Recipient::Everyone) {
            return Fate::Malformed;
        }
        if !self.server.is_connected() {
            return Fate::Disconnected;
        }
        if !self.to_nats.admits(&sender, 1, now) {
            return Fate::OverRate;
        }
        if !self.on_line.hear(&sender, now) {
            match self.server.listen_for(&sender).await {
                Ok(listening) => self.on_line.add(sender.clone(), now, listening),
                Err(fate) => return fate,
            }
        }
        if self.carrier.is_some() {
            return Fate::LeftToAnother;
        }
        self.server.publish(&sender, &to, kind, payload).await
    }

    async fn carry_to_line(&mut self, received: &Received) -> Fate {
        let Ok(message) = decode(received.kind, received.payload()) else {
            return Fate::Malformed;
        };
        let now = Instant::now();
        let bridge = received.bridge();
        if bridge.as_ref().is_some_and(|bridge| self.peers.contains(bridge, now)) {
            return Fate::Echo;
        }
        // An answer of the Go original names no sender; whoever carries it to the line puts its own.
        let sender = message.sender().unwrap_or(&self.id);
        if *sender != self.id {
            if bridge.is_none() {
                // Whatever was heard on the line was carried there.
                self.on_line.forget(sender);
            } else if self.on_line.contains(sender, now) {
                return Fate::Echo;
            }
            if !self.on_nats.hear(sender, now) {
                self.on_nats.add(sender.clone(), now, ());
            }
        }
        if !self.is_wire_up {
            return Fate::Disconnected;
        }
        if self.carrier.is_some() {
            return Fate::LeftToAnother;
        }
        let mut buffer = [0; FRAME_MAX];
        let frame =
            encode_payload(received.kind, sender, &received.to, received.payload(), &mut buffer);
        match frame {
            Ok(frame) if self.to_line.admits(sender, frame.len(), now) => {
                write(&mut self.wire, frame).await
            }
            Ok(_) => Fate::OverRate,
            Err(_) => Fate::Refused,
        }
    }

    /// Tells other bridges of this one: on the line by a frame to itself, which every node passes
    /// over, and on NATS by whom it hears on the line. No rate holds it up, since others would take
    /// over that have the same rate.
    async fn send_beacon(&mut self) {
        let now = Instant::now();
        self.beacon_at = now + self.peers.beacon_interval(now);
        let voter = Some(self.id.clone());
        let message = Message::VoteResponse(VoteResponse { term: 0, granted: false, voter });
        let outgoing = Outgoing { to: Recipient::Node(self.id.clone()), message };
        let mut buffer = [0; FRAME_MAX];
        if let Ok(frame) = encode_frame(&self.id, &outgoing, &mut buffer) {
            self.to_line.charge(frame.len(), now);
            // One that is lost is followed by the next.
            let _ = self.wire.write(frame).await;
        }
        self.server.publish_beacon(self.peers.beacon(now)).await;
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

/// A frame that came over the line, whoever it is for.
struct HeardFrame {
    sender: NodeId,
    to: Recipient,
    message: Message,
    /// The message's bytes as they came.
    payload: Vec<u8>,
}

impl HeardFrame {
    fn read(reader: &mut FrameReader, bytes: &mut &[u8]) -> Option<Box<Self>> {
        let Frame { sender, to, message, payload } = reader.read_any(bytes)?;
        Some(Box::new(Self { sender, to, message, payload: payload.to_vec() }))
    }
}

/// An id for bridges: they are few, and slow lines carry it twice a second.
fn short_id() -> Result<NodeId, StartError> {
    let id = random_id()?;
    let digits = id.as_str().get(..ID_LEN).unwrap_or(id.as_str());
    NodeId::new(digits).map_err(|error| StartError::Random(Box::new(error)))
}

async fn write(wire: &mut Wire, frame: &[u8]) -> Fate {
    match wire.write(frame).await {
        Ok(()) => Fate::Carried,
        Err(Unwritten::Disconnected) => Fate::Disconnected,
        Err(Unwritten::Full) => Fate::Refused,
    }
}

/// Why a bridge can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BridgeError {
    /// The cluster's name can't be one.
    #[error(transparent)]
    Cluster(#[from] ConfigError),
    /// The line can't be opened.
    #[error("could not open {line}: {error}")]
    Open {
        /// Which line.
        line: SerialLine,
        /// Why.
        error: io::Error,
    },
    /// The NATS server can't be reached.
    #[error("could not connect to NATS: {0}")]
    Connect(#[from] ConnectError),
    /// The cluster's subjects can't be listened to.
    #[error(transparent)]
    Subscribe(#[from] NatsError),
    /// The system has no random numbers for the bridge's id.
    #[error(transparent)]
    Random(Box<StartError>),
}
