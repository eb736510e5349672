//! The vote file's format. It is the Go original's: `{"SHA":"…","Data":"…"}`, where `Data` is the
//! base64 of `{"CurrentTerm":N,"VotedFor":"…"}` and `SHA` that of its SHA-1 digest. The node's own
//! id goes with the vote, as a third key that Go ignores.

use base64::Engine;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use graft_election_core::{NodeId, NodeIdError, TERM_END, VoteRecord};
use serde_json::value::RawValue;
use sha1_smol::Sha1;
use thiserror::Error;

use super::error::Unusable;
use super::go_json;
use crate::{LoadWarning, StoredVote};

/// What a vote file says, whether a node could start from it or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteFileContents {
    /// The latest term the node has seen. Go nodes know no bound, so it may be above
    /// [`TERM_END`].
    pub term: u64,
    /// Whom the node voted for in that term; empty if nobody. Go nodes vote for any name.
    pub voted_for: String,
    /// The node's own id; none in a Go node's file.
    pub id: Option<String>,
    /// How the file is protected against damage.
    pub digest: Digest,
    pub(super) unknown: UnknownKeys,
}

impl VoteFileContents {
    /// The keys that neither this implementation nor the Go original gives a meaning, those of the
    /// data first. They are kept when the file is written again.
    pub fn unknown_keys(&self) -> impl Iterator<Item = &str> {
        let UnknownKeys { data, envelope } = &self.unknown;
        data.iter().chain(envelope).map(|member| member.key.as_str())
    }

    /// What a node would start from.
    ///
    /// A vote for a name that is no node id is spent. Such a name can't be part of a record, so
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
        let record = match self.candidate() {
            Ok(voted_for) => VoteRecord { term, voted_for },
            Err(reason) => {
                warnings.push(LoadWarning::VoteSpent { term, reason });
                let term = next(term).ok_or(Unusable::NoTermLeft { term })?;
                VoteRecord { term, voted_for: None }
            }
        };
        let id = self.kept_id()?;
        Ok(StoredVote { record, id, warnings })
    }

    fn candidate(&self) -> Result<Option<NodeId>, NodeIdError> {
        if self.voted_for.is_empty() {
            return Ok(None);
        }
        NodeId::new(&self.voted_for).map(Some)
    }

    fn kept_id(&self) -> Result<Option<NodeId>, Unusable> {
        let Some(id) = self.id.clone() else {
            return Ok(None);
        };
        NodeId::new(&id).map(Some).map_err(|reason| Unusable::Id { id, reason })
    }
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

/// What is wrong with a file that holds no vote record.
#[derive(Debug, Error)]
pub enum Corruption {
    /// The file is no JSON object. It may be cut off.
    #[error("it is no JSON object: {0}")]
    Envelope(serde_json::Error),
    /// The data is no JSON object, though its digest is right.
    #[error("its data is no JSON object: {0}")]
    Data(serde_json::Error),
    /// A key has a value of the wrong type.
    #[error("the value of {key} is malformed: {reason}")]
    Value {
        /// The key.
        key: &'static str,
        /// What was expected there.
        reason: serde_json::Error,
    },
    /// A key has a value that is not base64.
    #[error("the value of {key} is not base64: {reason}")]
    Base64 {
        /// The key.
        key: &'static str,
        /// What was found there.
        reason: base64::DecodeError,
    },
    /// The digest doesn't match the data.
    #[error("its digest does not match its data")]
    Digest,
}

/// The members of both objects that have no meaning here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UnknownKeys {
    data: Vec<UnknownMember>,
    envelope: Vec<UnknownMember>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct UnknownMember {
    key: String,
    /// As it stood in the file, so that no number loses digits.
    json: String,
}

impl UnknownMember {
    fn new(key: String, value: &RawValue) -> Self {
        let json = value.get().to_owned();
        Self { key, json }
    }

    fn encode(&self) -> String {
        format!(",{}:{}", go_json::quote(&self.key), self.json)
    }
}

impl UnknownKeys {
    /// How many bytes they take in a file, before base64.
    pub(super) fn encoded_len(&self) -> usize {
        let members = self.data.iter().chain(&self.envelope);
        members.map(|member| member.encode().len()).sum()
    }
}

/// Reads what Go reads, and as Go does: the last of several equal keys counts, keys match without
/// regard to case, `null` is no value, and damaged UTF-8 is replaced.
pub(super) fn decode(file: &[u8]) -> Result<VoteFileContents, Corruption> {
    let mut unknown = UnknownKeys::default();
    let (mut sha, mut data) = (Vec::new(), Vec::new());
    let file = go_json::to_text(file);
    for (key, value) in go_json::members(&file).map_err(Corruption::Envelope)? {
        if go_json::names(&key, SHA) {
            sha = decode_bytes(SHA, value)?;
        } else if go_json::names(&key, DATA) {
            data = decode_bytes(DATA, value)?;
        } else {
            unknown.envelope.push(UnknownMember::new(key, value));
        }
    }
    let digest = Digest::find(&sha, &data).ok_or(Corruption::Digest)?;

    let (mut term, mut voted_for, mut id) = (0, String::new(), None);
    let data = go_json::to_text(&data);
    for (key, value) in go_json::members(&data).map_err(Corruption::Data)? {
        if go_json::names(&key, CURRENT_TERM) {
            term = go_json::integer(value).map_err(malformed(CURRENT_TERM))?.unwrap_or(term);
        } else if go_json::names(&key, VOTED_FOR) {
            let vote = go_json::string(value).map_err(malformed(VOTED_FOR))?;
            voted_for = vote.unwrap_or(voted_for);
        } else if go_json::names(&key, NODE_ID) {
            id = go_json::string(value).map_err(malformed(NODE_ID))?.or(id);
        } else {
            unknown.data.push(UnknownMember::new(key, value));
        }
    }
    Ok(VoteFileContents { term, voted_for, id, digest, unknown })
}

/// Writes what Go writes, to the byte, if there is no id and no unknown key.
///
/// The unknown keys come last, which gives them no precedence: decoding has taken every key that
/// could be mistaken for one of those before it.
pub(super) fn encode(
    term: u64,
    voted_for: &str,
    id: Option<&NodeId>,
    unknown: &UnknownKeys,
) -> String {
    let mut data = format!(r#"{{"{CURRENT_TERM}":{term},"{VOTED_FOR}":"#);
    data.push_str(&go_json::quote(voted_for));
    if let Some(id) = id {
        data.push_str(&format!(r#","{NODE_ID}":{}"#, go_json::quote(id.as_str())));
    }
    data.extend(unknown.data.iter().map(UnknownMember::encode));
    data.push('}');

    let sha = BASE64.encode(sha1(&data));
    let mut file = format!(r#"{{"{SHA}":"{sha}","{DATA}":"{}""#, BASE64.encode(&data));
    file.extend(unknown.envelope.iter().map(UnknownMember::encode));
    file.push('}');
    file
}

fn sha1(data: impl AsRef<[u8]>) -> [u8; 20] {
    Sha1::from(data).digest().bytes()
}

/// Go takes an array of numbers, too, for bytes.
fn decode_bytes(key: &'static str, value: &RawValue) -> Result<Vec<u8>, Corruption> {
    if value.get().starts_with('[') {
        return serde_json::from_str(value.get()).map_err(malformed(key));
    }
    let text = go_json::string(value).map_err(malformed(key))?;
    let text = text.unwrap_or_default().replace(['\r', '\n'], "");
    let bytes = BASE64.decode(text);
    bytes.map_err(|reason| Corruption::Base64 { key, reason })
}

fn malformed(key: &'static str) -> impl Fn(serde_json::Error) -> Corruption {
    move |reason| Corruption::Value { key, reason }
}

const SHA: &str = "SHA";
const DATA: &str = "Data";
const CURRENT_TERM: &str = "CurrentTerm";
const VOTED_FOR: &str = "VotedFor";
const NODE_ID: &str = "NodeId";

/// Go's standard encoding asks for padding, but not that the bits it leaves over are zero.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests;
