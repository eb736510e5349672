//! The vote file's format. It is the Go original's: `{"SHA":"…","Data":"…"}`, where `Data` is the
//! base64 of `{"CurrentTerm":N,"VotedFor":"…"}` and `SHA` that of its SHA-1 digest. What else a
//! node keeps is stored beside the vote, under keys that Go ignores: its own id, the list of voters
//! as `"Voters":{"Term":N,"Version":N,"Root":[TERM,VERSION],"Ids":["…",…]}`, its longest promise as
//! `"BoundFor":µs`, `"Paused":true` if an operator has paused it, and how often it has started with
//! a cluster's key as `"Starts":N`. A key without a value is left out. Earlier versions stored of a
//! list its term and its version alone.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine};
use graft_election_core::{ListId, NodeId, NodeIdError, TERM_END, VoterListError};
use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha1_smol::Sha1;
use thiserror::Error;

use crate::core_node::{RecordedList, VoteRecord, VoterList};
use crate::vote_store::{LoadWarning, StoredVote};

/// What a vote file says, whether a node could start from it or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteFileContents {
    /// The latest term the node has seen. Go nodes know no bound, so it may be above
    /// [`TERM_END`].
    pub term: u64,
    /// Whom the node voted for in that term; empty if nobody. Go nodes vote for any name.
    pub voted_for: String,
    /// The node's own id; `None` in a Go node's file.
    pub id: Option<String>,
    /// Its list of voters, if one was ever declared (rules V6, R1).
    pub list: Option<ListContents>,
    /// The longest promise that may still hold, in microseconds; 0 if there is none (rule V3).
    pub bound_for: u64,
    /// An operator has asked the node not to lead (rule O3).
    pub is_paused: bool,
    /// How often the node has started with a cluster's key; 0 if it never had one (rule K2).
    pub starts: u32,
    /// How the file is protected against damage.
    pub digest: Digest,
}

impl VoteFileContents {
    /// What a node would start from.
    ///
    /// A vote for a name that is not a node id is spent. Such a name can't be part of a record, so
    /// the record is that of the next term, without a vote. That is safe: the node never voted in
    /// that term, and a term may always rise (rules T1, V1).
    ///
    /// # Errors
    ///
    /// [`Unusable`] if no node may start from it.
    pub fn to_stored_vote(&self) -> Result<StoredVote, Unusable> {
        let term = self.term;
        if term >= TERM_END {
            return Err(Unusable::TermOutOfRange { term });
        }
        let mut warnings = Vec::new();
        let (term, voted_for) = match self.candidate() {
            Ok(voted_for) => (term, voted_for),
            Err(reason) => {
                warnings.push(LoadWarning::VoteSpent { term, reason });
                (next(term).ok_or(Unusable::NoTermLeft { term })?, None)
            }
        };
        let list = self.checked_list()?;
        let micros = self.bound_for;
        let bound_for = u32::try_from(micros).map_err(|_| Unusable::BoundFor { micros })?;
        let (is_paused, starts) = (self.is_paused, self.starts);
        let record = VoteRecord { term, voted_for, list, bound_for, is_paused, starts };
        let id = self.kept_id()?;
        Ok(StoredVote { record, id, warnings })
    }

    fn candidate(&self) -> Result<Option<NodeId>, NodeIdError> {
        if self.voted_for.is_empty() {
            return Ok(None);
        }
        NodeId::new(&self.voted_for).map(Some)
    }

    fn checked_list(&self) -> Result<Option<RecordedList>, Unusable> {
        let Some(ListContents { id: list, root, voters }) = self.list.clone() else {
            return Ok(None);
        };
        let is_malformed = |id: ListId| id.version == 0 || id.term > self.term;
        if is_malformed(list) || is_malformed(root) {
            return Err(Unusable::List { list });
        }
        if voters.is_empty() {
            return Ok(Some(RecordedList::Id(list)));
        }
        let voters = voters.into_iter().map(|id| match NodeId::new(&id) {
            Ok(voter) => Ok(voter),
            Err(reason) => Err(Unusable::VoterId { id, reason }),
        });
        let voters: Vec<_> = voters.collect::<Result<_, _>>()?;
        VoterList::restored(list, root, voters)
            .map(|whole| Some(RecordedList::Whole(whole)))
            .map_err(|reason| Unusable::Voters { list, reason })
    }

    fn kept_id(&self) -> Result<Option<NodeId>, Unusable> {
        let Some(id) = self.id.clone() else {
            return Ok(None);
        };
        NodeId::new(&id).map(Some).map_err(|reason| Unusable::Id { id, reason })
    }
}

/// What a vote file says of a list of voters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListContents {
    /// Which list it is.
    pub id: ListId,
    /// The list that was set by hand and of which it has come; itself, if it was set so.
    pub root: ListId,
    /// The ids of its voters; none in a file of an earlier version.
    pub voters: Vec<String>,
}

/// Rule T4.
fn next(term: u64) -> Option<u64> {
    term.checked_add(1).filter(|next| *next < TERM_END)
}

/// How a vote file is protected against damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// By the SHA-1 digest of the data.
    Sha1,
    /// By a second copy of the data, followed by the SHA-1 digest of nothing: what early Go
    /// versions wrote.
    Legacy,
}

impl Digest {
    /// The kind of digest that `sha` is of `data`, if it is one.
    fn find(sha: &[u8], data: &[u8]) -> Option<Self> {
        let copy = sha.strip_suffix(&sha1([]));
        if sha == sha1(data) {
            Some(Self::Sha1)
        } else if copy == Some(data) {
            Some(Self::Legacy)
        } else {
            None
        }
    }
}

/// Why a file that was read is not a vote record.
#[derive(Debug, Error)]
pub enum Corruption {
    /// The file is not a JSON object of the format. It may be cut off.
    #[error("it is not a vote file in JSON")]
    Envelope(#[source] serde_json::Error),
    /// The data is not a JSON object of the format, though its digest is right.
    #[error("its data is not a vote in JSON")]
    Data(#[source] serde_json::Error),
    /// The value of a key is not base64.
    #[error("the value of {key} is not base64")]
    Base64 {
        /// The key.
        key: &'static str,
        /// What was found there.
        #[source]
        reason: base64::DecodeError,
    },
    /// The digest doesn't match the data.
    #[error("its digest does not match its data")]
    Digest,
}

/// Why a node can't start from a vote record that was read without error.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unusable {
    /// Rule T4: terms from 2^63 are malformed.
    #[error("term {term} is out of range")]
    TermOutOfRange {
        /// The stored term.
        term: u64,
    },
    /// The vote is for a name that is not a node id, and there is no later term to start from.
    #[error("the vote of term {term} can't be repeated, and no term follows it")]
    NoTermLeft {
        /// The stored term.
        term: u64,
    },
    /// The stored list of voters has a version of 0, or a term that the node has never seen.
    #[error("the stored list of voters {list} is malformed")]
    List {
        /// The stored id of the list.
        list: ListId,
    },
    /// The stored ids are not those of a list of voters.
    #[error("the stored list of voters {list} is not usable")]
    Voters {
        /// The stored id of the list.
        list: ListId,
        /// What is wrong with them.
        #[source]
        reason: VoterListError,
    },
    /// The id of a stored voter is not a node id.
    #[error("the stored voter {id:?} is malformed")]
    VoterId {
        /// The stored id.
        id: String,
        /// What is wrong with it.
        #[source]
        reason: NodeIdError,
    },
    /// The stored promise is longer than any election timeout.
    #[error("the stored promise of {micros} µs is out of range")]
    BoundFor {
        /// The stored promise in microseconds.
        micros: u64,
    },
    /// The stored id is not a node id: the record may be another node's.
    #[error("the stored node id {id:?} is malformed")]
    Id {
        /// The stored id.
        id: String,
        /// What is wrong with it.
        #[source]
        reason: NodeIdError,
    },
}

/// The file. Keys are in lower case when they are read: see [`read`].
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Envelope {
    #[serde(rename(serialize = "SHA", deserialize = "sha"))]
    sha: String,
    #[serde(rename(serialize = "Data", deserialize = "data"))]
    data: String,
}

/// What [`Envelope::data`] is the base64 of.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Data {
    #[serde(rename(serialize = "CurrentTerm", deserialize = "currentterm"))]
    current_term: u64,
    #[serde(rename(serialize = "VotedFor", deserialize = "votedfor"))]
    voted_for: String,
    #[serde(rename(serialize = "NodeId", deserialize = "nodeid"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    node_id: Option<String>,
    #[serde(rename(serialize = "Voters", deserialize = "voters"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    voters: Option<Voters>,
    #[serde(rename(serialize = "BoundFor", deserialize = "boundfor"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    bound_for: Option<u64>,
    #[serde(rename(serialize = "Paused", deserialize = "paused"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<bool>,
    #[serde(rename(serialize = "Starts", deserialize = "starts"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    starts: Option<u32>,
}

/// A list of voters.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Voters {
    term: u64,
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root: Option<(u64, u32)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ids: Vec<String>,
}

impl From<Voters> for ListContents {
    fn from(Voters { term, version, root, ids }: Voters) -> Self {
        let id = ListId { term, version };
        let root = root.map_or(id, |(term, version)| ListId { term, version });
        Self { id, root, voters: ids }
    }
}

impl From<&RecordedList> for Voters {
    fn from(list: &RecordedList) -> Self {
        let ListId { term, version } = list.id();
        let (root, ids) = match list {
            RecordedList::Id(_) => (None, Vec::new()),
            RecordedList::Whole(list) => {
                let ids = list.voters().iter().map(NodeId::to_string).collect();
                (Some((list.root().term, list.root().version)), ids)
            }
        };
        Self { term, version, root, ids }
    }
}

/// Reads what Go nodes and nodes of this kind write. Keys without a meaning are ignored.
pub(super) fn decode(file: &[u8]) -> Result<VoteFileContents, Corruption> {
    let Envelope { sha, data } = read(file).map_err(Corruption::Envelope)?;
    let (sha, data) = (decode_base64("SHA", &sha)?, decode_base64("Data", &data)?);
    let digest = Digest::find(&sha, &data).ok_or(Corruption::Digest)?;
    let data = read(&data).map_err(Corruption::Data)?;
    let Data { current_term: term, voted_for, node_id: id, voters, bound_for, paused, starts } =
        data;
    let list = voters.map(ListContents::from);
    let bound_for = bound_for.unwrap_or_default();
    let is_paused = paused.unwrap_or_default();
    let starts = starts.unwrap_or_default();
    Ok(VoteFileContents { term, voted_for, id, list, bound_for, is_paused, starts, digest })
}

impl Data {
    fn new(record: &VoteRecord, id: &NodeId) -> Self {
        let VoteRecord { term, voted_for, list, bound_for, is_paused, starts } = record;
        Self {
            current_term: *term,
            voted_for: voted_for.as_ref().map(NodeId::to_string).unwrap_or_default(),
            node_id: Some(id.to_string()),
            voters: list.as_ref().map(Voters::from),
            bound_for: (*bound_for > 0).then(|| (*bound_for).into()),
            paused: is_paused.then_some(true),
            starts: (*starts > 0).then_some(*starts),
        }
    }
}

/// The file of a node.
pub(super) fn encode(record: &VoteRecord, id: &NodeId) -> Result<String, serde_json::Error> {
    encode_data(&Data::new(record, id))
}

/// Writes what Go writes, to the byte, if there is nothing else to keep.
fn encode_data(data: &Data) -> Result<String, serde_json::Error> {
    let data = write(data)?;
    let sha = BASE64_STANDARD.encode(sha1(&data));
    write(&Envelope { sha, data: BASE64_STANDARD.encode(data) })
}

/// Reads an object as Go does: case doesn't matter in keys, the last of equal keys counts, and text
/// that is not UTF-8 is replaced.
fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
    let members: BTreeMap<Key, Value> = serde_json::from_str(&String::from_utf8_lossy(json))?;
    T::deserialize(MapDeserializer::new(members.into_iter().map(|(Key(key), value)| (key, value))))
}

fn sha1(data: impl AsRef<[u8]>) -> [u8; 20] {
    Sha1::from(data).digest().bytes()
}

/// A key in lower case.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(from = "String")]
struct Key(String);

impl From<String> for Key {
    fn from(key: String) -> Self {
        Self(key.to_ascii_lowercase())
    }
}

/// Writes an object as Go does, which escapes what would end a script in a web page.
fn write(object: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut json = serde_json::to_string(object)?;
    for letter in ['<', '>', '&', '\u{2028}', '\u{2029}'] {
        json = json.replace(letter, &format!("\\u{:04x}", u32::from(letter)));
    }
    Ok(json)
}

/// Go skips line ends.
fn decode_base64(key: &'static str, text: &str) -> Result<Vec<u8>, Corruption> {
    let decoded = BASE64_STANDARD.decode(text.replace(['\r', '\n'], ""));
    decoded.map_err(|reason| Corruption::Base64 { key, reason })
}

#[cfg(test)]
mod tests;
