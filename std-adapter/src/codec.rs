//! How messages become bytes and are taken from them: the one place where they are sealed and
//! opened, whatever the transport.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use graft_election_core::{Message, NodeId, Outgoing, Recipient};
use graft_election_proto::seal::{Keys, SealError, Seals, is_sealed};
use graft_election_proto::{EncodeError, encode};

use crate::core_node::VOTERS_MAX;
use crate::transport::Arrival;

/// Of how many senders the numbers are remembered: the largest cluster's, and as many that have
/// been replaced.
const SENDERS_MAX: usize = 2 * VOTERS_MAX;

/// Writes messages for a transport and judges those that it has received. With a cluster's key it
/// seals the ones and opens the others (rules K1 to K3); without one it does neither.
///
/// Clones share the numbers that were taken, so that nothing is taken twice.
#[derive(Clone, Debug, Default)]
pub struct Codec {
    seals: Option<Arc<Mutex<Seals<SENDERS_MAX>>>>,
}

impl Codec {
    /// That of a cluster without a key.
    pub const fn new() -> Self {
        Self { seals: None }
    }

    /// That of a node of this cluster, which has started as often with a key, this time included.
    pub(crate) fn of_node(cluster: &str, keys: Option<&Keys>, id: &NodeId, starts: u32) -> Self {
        Self::with(keys.map(|keys| Seals::of_node(cluster, keys, id.clone(), starts)))
    }

    /// That of somebody who only listens, or asks as an operator.
    pub(crate) fn of_listener(cluster: &str, keys: Option<&Keys>) -> Self {
        Self::with(keys.map(|keys| Seals::of_listener(cluster, keys)))
    }

    fn with(seals: Option<Seals<SENDERS_MAX>>) -> Self {
        Self { seals: seals.map(|seals| Arc::new(Mutex::new(seals))) }
    }

    /// Writes a message at the front of `buffer`, and returns what was written: the payload for
    /// those that it is for. A buffer of [`SEALED_MAX`](crate::proto::seal::SEALED_MAX) bytes has
    /// room for any.
    ///
    /// # Errors
    ///
    /// [`SealError`] if the message doesn't fit, or its node has no number left.
    pub fn encode<'b>(
        &self,
        outgoing: &Outgoing,
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], SealError> {
        match self.lock() {
            Some(mut seals) => seals.encode(outgoing, buffer),
            None => encode(&outgoing.message, buffer).map_err(EncodeError::into),
        }
    }

    /// Judges what was received: `message` was decoded from `payload`, comes from the sender that
    /// the medium names, if it names one, and is for whom the medium says that it is.
    pub fn open(&self, message: Message, to: &Recipient, payload: &[u8]) -> Arrival {
        let Some(mut seals) = self.lock() else {
            let is_unverified = is_sealed(payload);
            return Arrival::Message(Opened { message, is_unverified });
        };
        match seals.open(&message, to, payload) {
            Ok(()) => Arrival::Message(Opened { message, is_unverified: false }),
            Err(error) => Arrival::Unauthentic { sender: message.sender().cloned(), error },
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, Seals<SENDERS_MAX>>> {
        self.seals.as_ref().map(|seals| seals.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A message that a [`Codec`] has judged and found to be what it says. Only that makes one, so that
/// no transport can forget to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    message: Message,
    is_unverified: bool,
}

impl Opened {
    /// The message.
    pub fn into_message(self) -> Message {
        self.message
    }

    /// Whether it is sealed, and the codec has no key to see whether rightly.
    pub fn is_unverified(&self) -> bool {
        self.is_unverified
    }
}

impl std::ops::Deref for Opened {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}
