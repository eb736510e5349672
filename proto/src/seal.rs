//! The seal that a cluster's key puts on a message, and that only who has the key can make (rules
//! K1 to K4 of `docs/protocol.md`).
//!
//! A seal shows that a message comes from somebody who has the key, is unchanged, is of this
//! cluster and kind, from that sender and for that receiver, and was not heard before. It hides
//! nothing: the message is as readable as without.
//!
//! ```
//! use graft_election_core::{Life, Identity, Message, NodeId, Outgoing, Recipient, Round};
//! use graft_election_proto::seal::{Key, Keys, SealFault, SEALED_MAX, Seals};
//! use graft_election_proto::{Kind, decode};
//!
//! let keys = Keys { current: Key::new([7; Key::LEN]), other: None };
//! let (a, round, life) = (NodeId::new("a")?, Round::new(1), Life::new(2));
//! let (round, life) = (round.ok_or("0")?, life.ok_or("0")?);
//! let message = Message::Who(Identity { node: a.clone(), round, life });
//! let outgoing = Outgoing { to: Recipient::Everyone, message: message.clone() };
//!
//! // Node a, which has started for the first time.
//! let mut seals = Seals::<8>::of_node("lamps", &keys, a, 1);
//! let mut buffer = [0; SEALED_MAX];
//! let payload = seals.encode(&outgoing, &mut buffer)?;
//!
//! // Who has no key reads it all the same.
//! assert_eq!(decode(Kind::Who, payload)?, message);
//!
//! // Who has it takes it once, and only as what it is.
//! let mut others = Seals::<8>::of_listener("lamps", &keys);
//! assert_eq!(others.open(&message, &Recipient::Everyone, payload), Ok(()));
//! let again = others.open(&message, &Recipient::Everyone, payload);
//! assert_eq!(again, Err(SealFault::Replayed));
//! let mut doors = Seals::<8>::of_listener("doors", &keys);
//! let elsewhere = doors.open(&message, &Recipient::Everyone, payload);
//! assert_eq!(elsewhere, Err(SealFault::WrongSeal));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod key_text;
mod numbers;

use core::fmt;

use graft_election_core::{ControlRequest, Message, NodeId, Outgoing, Recipient};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

use crate::kind::Kind;
use crate::message::{ENCODED_MAX, SEAL_LEN, encode};
use crate::wire_type::WireType;
use crate::writer::EncodeError;
use numbers::{Numbers, Said};

pub use key_text::KeyTextError;

/// The most bytes that a sealed message takes.
pub const SEALED_MAX: usize = ENCODED_MAX + SEAL_LEN;

/// The most starts that a node's vote record can count (rule K2).
pub const STARTS_MAX: u32 = (1 << 28) - 1;

/// What is authenticated first, so that a key that is used for something else too does no harm.
const DOMAIN: &[u8] = b"graft-election seal 1\0";

/// The number of the field `Seal`.
const FIELD: u32 = 15;

const NUMBER_LEN: usize = 8;

/// HMAC-SHA-256, cut to 128 bits.
const MAC_LEN: usize = 16;

/// The key of the field and the length of its value, which are the same in every message.
const HEAD: [u8; 2] =
    [(FIELD << 3 | WireType::LengthDelimited as u32) as u8, (NUMBER_LEN + MAC_LEN) as u8];

const _: () = assert!(HEAD.len() + NUMBER_LEN + MAC_LEN == SEAL_LEN && FIELD << 3 < 0x80);

/// A cluster's key: 32 bytes from a good random source, the same for all of its nodes. It is wiped
/// from memory when it is dropped, and never printed.
#[derive(Clone)]
pub struct Key([u8; Self::LEN]);

impl Key {
    /// How many bytes a key has.
    pub const LEN: usize = 32;

    /// The key of these bytes.
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The keys that a node has: one, or two while the key is being replaced (rule K4).
#[derive(Clone, Debug)]
pub struct Keys {
    /// Seals what the node says, and opens what others say.
    pub current: Key,
    /// Opens what others say, too.
    pub other: Option<Key>,
}

/// Seals what a node says, and opens what others say to it.
///
/// It remembers the numbers of up to `SENDERS` nodes; a cluster has that many voters at most. Those
/// of another one replace the numbers of the node that was silent longest (rule K2).
pub struct Seals<const SENDERS: usize> {
    current: Hmac<Sha256>,
    other: Option<Hmac<Sha256>>,
    said: Said,
    heard: Numbers<SENDERS>,
}

impl<const SENDERS: usize> Seals<SENDERS> {
    /// Those of a node of the cluster of this name. `starts` is how often it has started with a
    /// key, this time included: more than ever before, at most [`STARTS_MAX`], and stored before
    /// anything is sealed (rule K2).
    pub fn of_node(cluster: &str, keys: &Keys, id: NodeId, starts: u32) -> Self {
        Self::new(cluster, keys, Said::by_node(id, starts))
    }

    /// Those of somebody who only listens, or who asks as an operator.
    pub fn of_listener(cluster: &str, keys: &Keys) -> Self {
        Self::new(cluster, keys, Said::by_listener())
    }

    fn new(cluster: &str, keys: &Keys, said: Said) -> Self {
        let Keys { current, other } = keys;
        Self {
            current: keyed(cluster, current),
            other: other.as_ref().map(|other| keyed(cluster, other)),
            said,
            heard: Numbers::new(),
        }
    }

    /// Writes a message and its seal at the front of `buffer`, and returns what was written. A
    /// buffer of [`SEALED_MAX`] bytes has room for any.
    ///
    /// # Errors
    ///
    /// [`SealError`] if the message doesn't fit, or the node has no number left.
    pub fn encode<'b>(
        &mut self,
        outgoing: &Outgoing,
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], SealError> {
        let Outgoing { to, message } = outgoing;
        let room = buffer.len();
        let len = encode(message, buffer)?.len();
        let sealed_len = len.saturating_add(SEAL_LEN);
        let too_small = EncodeError { required: sealed_len };
        if sealed_len > room {
            return Err(too_small.into());
        }
        // An operator has no number: it repeats its requests, and who obeys them tells an old one
        // by other means (rule O4).
        let number = match message {
            Message::ControlRequest(_) => 0,
            _ => self.said.next().ok_or(SealError::Exhausted)?,
        }
        .to_le_bytes();
        let (payload, rest) = buffer.split_at_mut_checked(len).ok_or(too_small)?;
        let mac = authenticate(&self.current, message, to, number, payload).finalize().into_bytes();
        let seal = HEAD.iter().chain(&number).chain(mac.iter().take(MAC_LEN));
        for (place, byte) in rest.iter_mut().zip(seal) {
            *place = *byte;
        }
        Ok(buffer.get(..sealed_len).ok_or(too_small)?)
    }

    /// Checks the seal on `payload`, of which `message` was decoded, and takes its number. `to` is
    /// for whom the medium says that it is. The medium's word on the sender, if it has one, must
    /// have been compared with the message's own.
    ///
    /// # Errors
    ///
    /// [`SealFault`] says why the message must be dropped; nothing has changed then.
    pub fn open(
        &mut self,
        message: &Message,
        to: &Recipient,
        payload: &[u8],
    ) -> Result<(), SealFault> {
        let (content, number, mac) = split(payload).ok_or(SealFault::Unsealed)?;
        let is_by = |key: &Hmac<Sha256>| {
            authenticate(key, message, to, number, content).verify_truncated_left(mac).is_ok()
        };
        if !is_by(&self.current) && !self.other.as_ref().is_some_and(is_by) {
            return Err(SealFault::WrongSeal);
        }
        match message {
            Message::ControlRequest(ControlRequest { .. }) => Ok(()),
            message => {
                // A Go node's answer names nobody, and has no seal.
                let sender = message.sender().ok_or(SealFault::WrongSeal)?;
                let number = u64::from_le_bytes(number);
                if self.said.is_own(sender) {
                    return self.said.check_echo(number);
                }
                self.heard.take(sender, number)
            }
        }
    }
}

impl<const SENDERS: usize> fmt::Debug for Seals<SENDERS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seals").finish_non_exhaustive()
    }
}

/// The MAC of this key, to which the cluster's name was given already.
fn keyed(cluster: &str, key: &Key) -> Hmac<Sha256> {
    // A key of 32 bytes is filled up with zeros to the length of a block, as HMAC has it.
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    for (place, byte) in block.iter_mut().zip(key.0) {
        *place = byte;
    }
    let mut mac = Hmac::new(&block);
    block.zeroize();
    mac.update(DOMAIN);
    mac.update(&(cluster.len() as u64).to_le_bytes());
    mac.update(cluster.as_bytes());
    mac
}

/// Continues a key's MAC over everything that a seal is bound to (rule K1).
fn authenticate(
    key: &Hmac<Sha256>,
    message: &Message,
    to: &Recipient,
    number: [u8; NUMBER_LEN],
    payload: &[u8],
) -> Hmac<Sha256> {
    let receiver = match to {
        Recipient::Everyone => None,
        Recipient::Node(node) => Some(node),
    };
    let mut mac = key.clone();
    mac.update(&[Kind::of(message).number()]);
    for id in [message.sender(), receiver] {
        let id = id.map_or("", NodeId::as_str);
        // An id has at most 64 bytes.
        mac.update(&[id.len() as u8]);
        mac.update(id.as_bytes());
    }
    mac.update(&number);
    mac.update(payload);
    mac
}

/// How many starts there are with the one after `starts`; none if there were too many for another
/// (rule K2).
pub const fn next_start(starts: u32) -> Option<u32> {
    if starts < STARTS_MAX { Some(starts + 1) } else { None }
}

/// Whether a payload ends with a seal, of whatever key: who has none can't tell if it is right.
pub fn is_sealed(payload: &[u8]) -> bool {
    split(payload).is_some()
}

/// A payload's message, the number and the MAC, if it ends with a seal.
fn split(payload: &[u8]) -> Option<(&[u8], [u8; NUMBER_LEN], &[u8; MAC_LEN])> {
    let (rest, mac) = payload.split_last_chunk()?;
    let (rest, number) = rest.split_last_chunk()?;
    let content = rest.strip_suffix(&HEAD)?;
    Some((content, *number, mac))
}

/// Why a message can't be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SealError {
    /// The buffer is too small.
    Encode(EncodeError),
    /// All numbers of this life are used up, after 2^36 messages: the node has to start anew.
    Exhausted,
}

impl From<EncodeError> for SealError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => error.fmt(f),
            Self::Exhausted => f.write_str("no number is left for another seal: start the node"),
        }
    }
}

// Its text has that of the error behind it, so there is no source to print a second time.
impl core::error::Error for SealError {}

/// Why a message must be dropped although it could be read (rule K3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SealFault {
    /// It has no seal: its sender has no key, or somebody forged it.
    Unsealed,
    /// Its seal is not that of the cluster's key, or not of this message from there to here.
    WrongSeal,
    /// It was heard before, or is older than what is remembered.
    Replayed,
    /// Its sender has started again since it said this: the network held it back, somebody replays
    /// it, or the sender's vote record went back (rule V9).
    EarlierLife,
}

impl SealFault {
    /// Its name for programs. It stays the same from version to version.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unsealed => "unsealed",
            Self::WrongSeal => "wrong_seal",
            Self::Replayed => "replayed",
            Self::EarlierLife => "earlier_life",
        }
    }
}

impl fmt::Display for SealFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsealed => "it is not sealed with the cluster's key",
            Self::WrongSeal => "its seal is not that of the cluster's key",
            Self::Replayed => "it was heard before, and is replayed",
            Self::EarlierLife => {
                "it is of an earlier life of its sender: it came late, is replayed, or the \
                 sender's vote record went back"
            }
        })
    }
}

impl core::error::Error for SealFault {}
