//! Messages as frames, for lines that carry bare bytes and that many nodes share: a serial bus.
//!
//! A frame says of which cluster it is, what its payload is, from whom and for whom, ends where the
//! next one can begin, and carries a checksum. `docs/serial-frames.md` lays the format down byte by
//! byte.
//!
//! A vote doesn't say for whom it is; only its frame does. Counted by another candidate, it could
//! make a second leader. So a node reads with [`FrameReader::read_for`], which yields what is for
//! that node or for everyone, and nothing else:
//!
//! ```
//! use graft_election_core::{Message, NodeId, Outgoing, Recipient, VoteResponse};
//! use graft_election_proto::frame::{ClusterTag, FRAME_MAX, FrameReader, encode_frame};
//!
//! let (voter, candidate, rival) = (NodeId::new("a")?, NodeId::new("b")?, NodeId::new("c")?);
//! let vote = VoteResponse {
//!     term: 7,
//!     granted: true,
//!     voter: Some(voter.clone()),
//!     round: None,
//!     list: None,
//!     life: None,
//!     wanted: None,
//! };
//! let message = Message::VoteResponse(vote);
//! let outgoing = Outgoing { to: Recipient::Node(candidate.clone()), message: message.clone() };
//! let cluster = ClusterTag::of("lamps");
//! let mut buffer = [0; FRAME_MAX];
//! let line = encode_frame(cluster, &voter, &outgoing, &mut buffer)?;
//!
//! assert_eq!(FrameReader::new(cluster).read_for(&candidate, &mut &*line), Some(message));
//! assert_eq!(FrameReader::new(cluster).read_for(&rival, &mut &*line), None);
//! let mut elsewhere = FrameReader::new(ClusterTag::of("doors"));
//! assert_eq!(elsewhere.read_for(&candidate, &mut &*line), None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use cobs::{CobsEncoder, DecodeResult, DecoderState};
use crc::{CRC_32_ISCSI, Crc, NoTable};
use graft_election_core::{Message, NodeId, Outgoing, Recipient};

use crate::kind::Kind;
use crate::message::{ENCODED_MAX, SEAL_LEN, decode, encode};
use crate::writer::EncodeError;

/// The most bytes that a frame takes, its two delimiters included.
pub const FRAME_MAX: usize = cobs::max_encoding_length(CONTENT_MAX) + 2;

/// The byte before and after each frame. No frame contains it.
pub const DELIMITER: u8 = 0;

/// What a frame holds before it is stuffed: the cluster's tag, the kind, two ids with their
/// lengths, the payload, perhaps sealed, and the checksum.
const CONTENT_MAX: usize =
    TAG_LEN + 1 + 2 * (1 + NodeId::CAPACITY) + ENCODED_MAX + SEAL_LEN + CHECKSUM_LEN;

const TAG_LEN: usize = 2;

const CHECKSUM_LEN: usize = 4;

/// The polynomial of Castagnoli finds any five wrong bits in frames of this length, one more than
/// that of Ethernet. A table would make it faster, and would take a kibibyte.
const CHECKSUM: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISCSI);

/// Keeps the frames of several clusters on one line apart.
///
/// It is a checksum of the cluster's name, too short to tell all names apart. Where two clusters
/// have one tag, rounds and lists of voters keep their elections apart (rules N1, V6), but each
/// hears the other's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ClusterTag([u8; TAG_LEN]);

impl ClusterTag {
    /// The tag of the cluster with this name: the low half of the name's CRC-32C.
    pub const fn of(cluster: &str) -> Self {
        let [low, high, ..] = CHECKSUM.checksum(cluster.as_bytes()).to_le_bytes();
        Self([low, high])
    }
}

/// Writes `outgoing` as a frame of `cluster` from `sender` at the front of `buffer`, and returns
/// what was written. A buffer of [`FRAME_MAX`] bytes has room for any.
///
/// # Errors
///
/// [`EncodeError`] if the buffer is too small.
pub fn encode_frame<'b>(
    cluster: ClusterTag,
    sender: &NodeId,
    outgoing: &Outgoing,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], EncodeError> {
    let Outgoing { to, message } = outgoing;
    let mut payload = [0; ENCODED_MAX];
    let payload = encode(message, &mut payload)?;
    encode_payload(cluster, Kind::of(message), sender, to, payload, buffer)
}

/// Writes a frame around a payload that is encoded already, and is carried on as it is.
///
/// # Errors
///
/// [`EncodeError`] if the frame could exceed the buffer, or [`FRAME_MAX`]: no reader takes a longer
/// one.
pub fn encode_payload<'b>(
    cluster: ClusterTag,
    kind: Kind,
    sender: &NodeId,
    to: &Recipient,
    payload: &[u8],
    buffer: &'b mut [u8],
) -> Result<&'b [u8], EncodeError> {
    let sender = sender.as_bytes();
    let receiver = match to {
        Recipient::Everyone => &[],
        Recipient::Node(node) => node.as_bytes(),
    };
    // An id has at most 64 bytes.
    let (kind, sender_len) = ([kind.number()], [sender.len() as u8]);
    let receiver_len = [receiver.len() as u8];
    let parts = [&cluster.0[..], &kind, &sender_len, sender, &receiver_len, receiver, payload];

    let mut checksum = CHECKSUM.digest();
    let mut content_len = CHECKSUM_LEN;
    for part in parts {
        checksum.update(part);
        content_len = content_len.saturating_add(part.len());
    }
    let checksum = checksum.finalize().to_le_bytes();

    let required = cobs::max_encoding_length(content_len).saturating_add(2);
    let too_small = EncodeError { required };
    if required > buffer.len().min(FRAME_MAX) {
        return Err(too_small);
    }
    let (first, rest) = buffer.split_first_mut().ok_or(too_small)?;
    let mut stuffed = CobsEncoder::new(rest);
    for part in parts.into_iter().chain([&checksum[..]]) {
        stuffed.push(part).map_err(|_| too_small)?;
    }
    let end = stuffed.finalize();
    *first = DELIMITER;
    *rest.get_mut(end).ok_or(too_small)? = DELIMITER;
    buffer.get(..end.saturating_add(2)).ok_or(too_small)
}

/// A message that came in a frame, and what the frame says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Frame<'r> {
    /// Who sent it. Where the message names its sender too, they agree.
    pub sender: NodeId,
    /// For whom it is; on a bus others hear it as well.
    pub to: Recipient,
    /// The message.
    pub message: Message,
    /// The bytes that the message was decoded from, fields unknown to this version included.
    pub payload: &'r [u8],
}

/// Finds the frames in a stream of bytes that comes in any portions.
///
/// All of its state is in this struct, so that a wait for more bytes may be given up at any time.
/// What is not a frame is dropped and counted; after the next delimiter it starts afresh.
#[derive(Debug)]
pub struct FrameReader {
    cluster: ClusterTag,
    stuffing: DecoderState,
    /// The content so far; more than [`CONTENT_MAX`] bytes of it are not kept, only counted.
    content: [u8; CONTENT_MAX],
    content_len: usize,
    /// What comes before the next delimiter is to be dropped.
    skips: bool,
    errors: FrameErrors,
}

impl FrameReader {
    /// A reader at the start of a frame, for those of one cluster.
    pub const fn new(cluster: ClusterTag) -> Self {
        Self {
            cluster,
            stuffing: DecoderState::Idle,
            content: [0; CONTENT_MAX],
            content_len: 0,
            skips: false,
            errors: FrameErrors::NONE,
        }
    }

    /// Takes bytes from the front of `bytes` until a frame for `node` or for everyone is complete,
    /// and returns its message; frames for other nodes are passed over. Once it returns `None`, all
    /// bytes have been taken.
    ///
    /// What `node` itself has sent comes back where the line echoes. The election ignores such a
    /// message, and one in its name that it didn't send makes it ask whether another process uses
    /// its id (rules V5, N3).
    pub fn read_for(&mut self, node: &NodeId, bytes: &mut &[u8]) -> Option<Message> {
        self.read(bytes, |Parsed { to, message, .. }| match to {
            Recipient::Node(receiver) if receiver != *node => None,
            Recipient::Node(_) | Recipient::Everyone => Some(message),
        })
    }

    /// Like [`read_for`](Self::read_for), with all that a seal is bound to (rule K1).
    pub fn read_frame_for(&mut self, node: &NodeId, bytes: &mut &[u8]) -> Option<Frame<'_>> {
        self.read_frame(bytes, |parsed| match &parsed.to {
            Recipient::Node(receiver) if receiver != node => None,
            Recipient::Node(_) | Recipient::Everyone => Some(parsed),
        })
    }

    /// Takes bytes from the front of `bytes` until a frame is complete, whoever it is for, and
    /// returns it. Once it returns `None`, all bytes have been taken.
    ///
    /// This is for bridges, and for those who only watch a line. A node that counted votes for
    /// another candidate could lead without a majority: it reads with [`read_for`](Self::read_for).
    pub fn read_any(&mut self, bytes: &mut &[u8]) -> Option<Frame<'_>> {
        self.read_frame(bytes, Some)
    }

    fn read_frame(
        &mut self,
        bytes: &mut &[u8],
        select: impl Fn(Parsed) -> Option<Parsed>,
    ) -> Option<Frame<'_>> {
        let Parsed { sender, to, message, payload_at } = self.read(bytes, select)?;
        let end = self.content_len.saturating_sub(CHECKSUM_LEN);
        let payload = self.content.get(payload_at..end).unwrap_or_default();
        Some(Frame { sender, to, message, payload })
    }

    /// Takes bytes until a frame is complete of which `select` makes something.
    fn read<T>(&mut self, bytes: &mut &[u8], select: impl Fn(Parsed) -> Option<T>) -> Option<T> {
        while let Some((byte, rest)) = bytes.split_first() {
            *bytes = rest;
            if !self.take(*byte) {
                continue;
            }
            let content = self.content.get(..self.content_len).unwrap_or_default();
            match parse(self.cluster, content, &select) {
                Ok(Some(selected)) => return Some(selected),
                Ok(None) => {}
                Err(fault) => self.errors.count(fault),
            }
        }
        None
    }

    /// What was dropped so far.
    pub const fn errors(&self) -> FrameErrors {
        self.errors
    }

    /// Takes one byte; true if it completes a frame's content.
    fn take(&mut self, byte: u8) -> bool {
        if self.skips {
            self.skips = byte != DELIMITER;
            return false;
        }
        match self.stuffing.feed(byte) {
            Ok(DecodeResult::NoData) => false,
            Ok(DecodeResult::DataStart) => {
                self.content_len = 0;
                false
            }
            Ok(DecodeResult::DataContinue(byte)) => {
                match self.content.get_mut(self.content_len) {
                    Some(place) => {
                        *place = byte;
                        self.content_len = self.content_len.saturating_add(1);
                    }
                    None => self.give_up(),
                }
                false
            }
            Ok(DecodeResult::DataComplete) => true,
            // The delimiter came within a block, and is the start of the next frame all the same.
            Err(_) => {
                self.errors.count(Fault::CutOff);
                false
            }
        }
    }

    /// The frame is longer than any frame can be.
    fn give_up(&mut self) {
        self.errors.count(Fault::TooLong);
        self.stuffing = DecoderState::Idle;
        self.skips = true;
    }
}

/// How many frames were dropped, by cause; noise between two delimiters counts as one. The numbers
/// stop at their greatest value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FrameErrors {
    /// It ended too early.
    pub cut_off: u32,
    /// It was longer than any frame.
    pub too_long: u32,
    /// Its checksum was wrong.
    pub checksum: u32,
    /// It is of another cluster, which shares the line. That is no error.
    pub other_cluster: u32,
    /// Its kind of message is unknown.
    pub kind: u32,
    /// The sender or the receiver is not a node id, or the message names another sender.
    pub id: u32,
    /// Its payload is not a message of its kind (rule V7).
    pub payload: u32,
    /// Its seal is missing or wrong (rule K3). A reader doesn't look at seals: whoever opens them
    /// counts this.
    pub unauthentic: u32,
}

impl FrameErrors {
    /// No frame was dropped.
    pub const NONE: Self = Self {
        cut_off: 0,
        too_long: 0,
        checksum: 0,
        other_cluster: 0,
        kind: 0,
        id: 0,
        payload: 0,
        unauthentic: 0,
    };

    /// How many frames were dropped, whatever was wrong with them.
    pub fn total(&self) -> u32 {
        let Self { cut_off, too_long, checksum, kind, id, payload, unauthentic, .. } = *self;
        [cut_off, too_long, checksum, kind, id, payload, unauthentic]
            .into_iter()
            .fold(0, u32::saturating_add)
    }

    fn count(&mut self, fault: Fault) {
        let counter = match fault {
            Fault::CutOff => &mut self.cut_off,
            Fault::TooLong => &mut self.too_long,
            Fault::Checksum => &mut self.checksum,
            Fault::OtherCluster => &mut self.other_cluster,
            Fault::Kind => &mut self.kind,
            Fault::Id => &mut self.id,
            Fault::Payload => &mut self.payload,
        };
        *counter = counter.saturating_add(1);
    }
}

/// Why a frame is dropped.
enum Fault {
    CutOff,
    TooLong,
    Checksum,
    OtherCluster,
    Kind,
    Id,
    Payload,
}

struct Parsed {
    sender: NodeId,
    to: Recipient,
    message: Message,
    /// Where the payload begins in the content.
    payload_at: usize,
}

/// Reads a frame's content, its checksum included, and returns what `select` makes of it.
///
/// It is a function of its own, and selects by itself, so that ids that nobody asks for are not
/// copied: that takes half a kibibyte more flash.
#[inline(never)]
fn parse<T>(cluster: ClusterTag, content: &[u8], select: impl Fn(Parsed) -> T) -> Result<T, Fault> {
    let (checked, checksum) = content.split_last_chunk().ok_or(Fault::CutOff)?;
    if CHECKSUM.checksum(checked) != u32::from_le_bytes(*checksum) {
        return Err(Fault::Checksum);
    }
    let (tag, rest) = checked.split_first_chunk().ok_or(Fault::CutOff)?;
    if *tag != cluster.0 {
        return Err(Fault::OtherCluster);
    }
    let (kind, rest) = rest.split_first().ok_or(Fault::Kind)?;
    let kind = Kind::from_number(*kind).ok_or(Fault::Kind)?;
    let (sender, rest) = split_id(rest)?;
    let (receiver, payload) = split_id(rest)?;
    let sender = sender.ok_or(Fault::Id)?;
    let message = decode(kind, payload).map_err(|_| Fault::Payload)?;
    if message.sender().is_some_and(|named| *named != sender) {
        return Err(Fault::Id);
    }
    let to = receiver.map_or(Recipient::Everyone, Recipient::Node);
    let payload_at = checked.len().saturating_sub(payload.len());
    Ok(select(Parsed { sender, to, message, payload_at }))
}

/// Takes an id and the length before it off the front of `bytes`. A zero length means that there
/// is no id.
fn split_id(bytes: &[u8]) -> Result<(Option<NodeId>, &[u8]), Fault> {
    let (len, rest) = bytes.split_first().ok_or(Fault::Id)?;
    let (id, rest) = rest.split_at_checked(usize::from(*len)).ok_or(Fault::Id)?;
    if id.is_empty() {
        return Ok((None, rest));
    }
    let id = NodeId::from_bytes(id).map_err(|_| Fault::Id)?;
    Ok((Some(id), rest))
}
