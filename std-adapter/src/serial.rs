use std::io;

use graft_election_core::{ControlRequest, Message, NodeId, Outgoing, Recipient};
use graft_election_proto::frame::{FRAME_MAX, Frame, FrameReader, encode_payload};
use graft_election_proto::seal::{SEALED_MAX, SealError};
use graft_election_proto::{EncodeError, Kind};

use crate::codec::Codec;
use crate::framed_line::{FrameFault, FramedLine, LineEvent, Unwritten};
use crate::serial_line::SerialLine;
use crate::transport::{Arrival, Ask, Listen, Member, Transport};

/// The cluster over a serial line that its nodes, which may be firmware, share. It speaks the
/// frames of `docs/serial-frames.md`, which carry a tag of the cluster's name, so that several
/// clusters may share a line.
///
/// A line that is lost is opened again. Until then nothing is sent, and nothing is kept to be sent
/// later. Sending never waits for a line that is full.
#[derive(Debug)]
pub struct SerialTransport {
    line: SerialLine,
    joined: Option<Joined>,
    heard: Option<Heard>,
}

#[derive(Debug)]
struct Joined {
    id: NodeId,
    line: FramedLine,
    codec: Codec,
}

#[derive(Debug)]
struct Heard {
    line: FramedLine,
    codec: Codec,
}

impl SerialTransport {
    /// The nodes on `line`, which is opened when the node joins.
    pub fn new(line: SerialLine) -> Self {
        Self { line, joined: None, heard: None }
    }

    async fn open(&self, cluster: &str) -> Result<FramedLine, SerialError> {
        let opened = FramedLine::open(self.line.clone(), cluster).await;
        opened.map_err(|error| SerialError::Open { line: self.line.clone(), error })
    }
}

impl Transport for SerialTransport {
    type Error = SerialError;

    async fn join(&mut self, member: &Member<'_>) -> Result<(), SerialError> {
        let line = self.open(member.cluster).await?;
        self.joined = Some(Joined { id: member.id.clone(), line, codec: member.codec.clone() });
        Ok(())
    }

    async fn receive(&mut self) -> Arrival {
        let Some(Joined { id, line, codec }) = &mut self.joined else {
            return std::future::pending().await;
        };
        let read = |reader: &mut FrameReader, bytes: &mut &[u8]| {
            reader.read_frame_for(id, bytes).map(|frame| open(codec, frame))
        };
        arrival_of(line.receive(read).await)
    }

    async fn send(&mut self, outgoing: &Outgoing) -> Result<(), SerialError> {
        let Joined { id, line, codec } = self.joined.as_mut().ok_or(SerialError::NotJoined)?;
        write(line, codec, id, outgoing).await
    }

    async fn leave(&mut self) {
        if let Some(mut joined) = self.joined.take() {
            joined.line.flush().await;
        }
    }
}

impl Listen for SerialTransport {
    type Error = SerialError;

    async fn listen(&mut self, cluster: &str, codec: &Codec) -> Result<(), SerialError> {
        self.heard = Some(Heard { line: self.open(cluster).await?, codec: codec.clone() });
        Ok(())
    }

    async fn hear(&mut self) -> Arrival {
        let Some(Heard { line, codec }) = &mut self.heard else {
            return std::future::pending().await;
        };
        let read = |reader: &mut FrameReader, bytes: &mut &[u8]| {
            reader.read_any(bytes).map(|frame| open(codec, frame))
        };
        arrival_of(line.receive(read).await)
    }
}

impl Ask for SerialTransport {
    async fn ask(&mut self, request: &ControlRequest) -> Result<(), SerialError> {
        let Heard { line, codec } = self.heard.as_mut().ok_or(SerialError::NotJoined)?;
        let message = Message::ControlRequest(request.clone());
        let outgoing = Outgoing { to: Recipient::Everyone, message };
        write(line, codec, &request.node, &outgoing).await
    }
}

fn open(codec: &Codec, frame: Frame<'_>) -> Arrival {
    let Frame { to, message, payload, .. } = frame;
    codec.open(message, &to, payload)
}

async fn write(
    line: &mut FramedLine,
    codec: &Codec,
    sender: &NodeId,
    outgoing: &Outgoing,
) -> Result<(), SerialError> {
    let (mut payload, mut buffer) = ([0; SEALED_MAX], [0; FRAME_MAX]);
    let payload = codec.encode(outgoing, &mut payload)?;
    let (cluster, kind) = (line.cluster(), Kind::of(&outgoing.message));
    let frame = encode_payload(cluster, kind, sender, &outgoing.to, payload, &mut buffer)?;
    line.write(frame).await.map_err(|unwritten| match unwritten {
        Unwritten::Disconnected => SerialError::Disconnected,
        Unwritten::Full => SerialError::Full,
    })
}

fn arrival_of(event: LineEvent<Arrival>) -> Arrival {
    match event {
        LineEvent::Frame(arrival) => arrival,
        // Noise on a line is nobody's fault; a frame with a right checksum is its sender's.
        LineEvent::Fault(fault @ (FrameFault::Payload | FrameFault::Kind)) => {
            Arrival::malformed_from("the line", fault)
        }
        LineEvent::Fault(fault) => Arrival::malformed(fault),
        LineEvent::Connection(change) => Arrival::Connection(change),
    }
}

/// What can go wrong with the serial transport.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SerialError {
    /// The line can't be opened.
    #[error("could not open {line}")]
    Open {
        /// Which line.
        line: SerialLine,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The transport has not joined a cluster, or has left it.
    #[error("the transport has not joined a cluster")]
    NotJoined,
    /// The line is lost. The message was dropped.
    #[error("the line is down")]
    Disconnected,
    /// The line is too slow for what it was given. The message was dropped.
    #[error("the line is full")]
    Full,
    /// The message could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The message could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}
