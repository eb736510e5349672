//! Messages as text: the kind, then each field that is present as `key=value`.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;

use graft_election_core::{
    Handover, Heartbeat, HeartbeatResponse, Message, NodeId, Position, PreVoteResponse,
    VoteRequest, VoteResponse,
};

const KINDS: [&str; 7] = [
    "vote-request",
    "vote-response",
    "heartbeat",
    "heartbeat-response",
    "pre-vote-request",
    "pre-vote-response",
    "handover",
];

/// A message to display: `vote-request term=1 candidate=a size=3`. Answers to requests say
/// `granted` or `refused`; positions are in hexadecimal digits.
pub(crate) struct MessageText<'a>(pub(crate) &'a Message);

impl fmt::Display for MessageText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} term={}", kind(self.0), self.0.term())?;
        match self.0 {
            Message::VoteRequest(request) | Message::PreVoteRequest(request) => {
                write!(f, " candidate={}", request.candidate)?;
                write_position(f, &request.position)?;
                write_present(f, "handover-from", request.handover_from)?;
                write_present(f, "size", request.size)?;
                write_present(f, "round", request.round)
            }
            Message::VoteResponse(response) => {
                write_verdict(f, response.granted)?;
                write_present(f, "voter", response.voter.as_ref())
            }
            Message::Heartbeat(heartbeat) => {
                write!(f, " leader={}", heartbeat.leader)?;
                write_present(f, "sent-at", heartbeat.sent_at)?;
                write_present(f, "size", heartbeat.size)
            }
            Message::HeartbeatResponse(response) => {
                write!(f, " follower={}", response.follower)?;
                write_position(f, &response.position)?;
                write_present(f, "sent-at", response.sent_at)?;
                write!(f, " priority={}", response.priority)?;
                write_present(f, "bound-for", response.bound_for)
            }
            Message::PreVoteResponse(response) => {
                write_verdict(f, response.granted)?;
                write!(f, " voter={} proposed={}", response.voter, response.proposed_term)?;
                write_present(f, "round", response.round)
            }
            Message::Handover(handover) => {
                write!(f, " leader={}", handover.leader)?;
                write_present(f, "target", handover.target.as_ref())
            }
        }
    }
}

fn kind(message: &Message) -> &'static str {
    KINDS[match message {
        Message::VoteRequest(_) => 0,
        Message::VoteResponse(_) => 1,
        Message::Heartbeat(_) => 2,
        Message::HeartbeatResponse(_) => 3,
        Message::PreVoteRequest(_) => 4,
        Message::PreVoteResponse(_) => 5,
        Message::Handover(_) => 6,
    }]
}

fn write_present(
    f: &mut fmt::Formatter<'_>,
    key: &str,
    value: Option<impl fmt::Display>,
) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, " {key}={value}"))
}

fn write_position(f: &mut fmt::Formatter<'_>, position: &Position) -> fmt::Result {
    if position.as_bytes().is_empty() {
        return Ok(());
    }
    f.write_str(" position=")?;
    position.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn write_verdict(f: &mut fmt::Formatter<'_>, granted: bool) -> fmt::Result {
    f.write_str(if granted { " granted" } else { " refused" })
}

/// Reads what [`MessageText`] writes.
pub(crate) fn parse_message(words: &[&str]) -> Result<Message, String> {
    let (kind, fields) = words.split_first().ok_or("expected a kind of message")?;
    let mut fields = Fields(fields.to_vec());
    let term = fields.required("term")?;
    let message = match *kind {
        "vote-request" => Message::VoteRequest(parse_request(term, &mut fields)?),
        "pre-vote-request" => Message::PreVoteRequest(parse_request(term, &mut fields)?),
        "vote-response" => {
            let granted = fields.verdict()?;
            Message::VoteResponse(VoteResponse { term, granted, voter: fields.optional("voter")? })
        }
        "heartbeat" => Message::Heartbeat(Heartbeat {
            term,
            leader: fields.required("leader")?,
            sent_at: fields.optional("sent-at")?,
            size: fields.optional("size")?,
        }),
        "heartbeat-response" => Message::HeartbeatResponse(HeartbeatResponse {
            term,
            follower: fields.required("follower")?,
            position: fields.position()?,
            sent_at: fields.optional::<NonZeroU64>("sent-at")?,
            priority: fields.optional("priority")?.unwrap_or(0),
            bound_for: fields.optional("bound-for")?,
        }),
        "pre-vote-response" => Message::PreVoteResponse(PreVoteResponse {
            term,
            granted: fields.verdict()?,
            voter: fields.required("voter")?,
            proposed_term: fields.required("proposed")?,
            round: fields.optional("round")?,
        }),
        "handover" => Message::Handover(Handover {
            term,
            leader: fields.required("leader")?,
            target: fields.optional::<NodeId>("target")?,
        }),
        other => return Err(format!("expected one of {}, not \"{other}\"", KINDS.join(", "))),
    };
    match fields.0.first() {
        None => Ok(message),
        Some(word) => Err(format!("a {kind} has no \"{word}\"")),
    }
}

fn parse_request(term: u64, fields: &mut Fields<'_>) -> Result<VoteRequest, String> {
    Ok(VoteRequest {
        term,
        candidate: fields.required("candidate")?,
        position: fields.position()?,
        handover_from: fields.optional("handover-from")?,
        size: fields.optional::<NonZeroU32>("size")?,
        round: fields.optional("round")?,
    })
}

/// The fields of a message that have not been read yet.
struct Fields<'a>(Vec<&'a str>);

impl<'a> Fields<'a> {
    fn required<T: FromStr<Err: fmt::Display>>(&mut self, key: &str) -> Result<T, String> {
        self.optional(key)?.ok_or_else(|| format!("expected {key}=…"))
    }

    fn optional<T: FromStr<Err: fmt::Display>>(&mut self, key: &str) -> Result<Option<T>, String> {
        let Some(value) = self.take(|word| word.strip_prefix(key)?.strip_prefix('=')) else {
            return Ok(None);
        };
        value.parse().map(Some).map_err(|error| format!("{key}={value}: {error}"))
    }

    fn position(&mut self) -> Result<Position, String> {
        let digits = self.take(|word| word.strip_prefix("position=")).unwrap_or_default();
        let bytes: Option<Vec<u8>> = digits
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let bytes = bytes.filter(|_| digits.len().is_multiple_of(2));
        let bytes = bytes.ok_or_else(|| format!("position={digits} is not hexadecimal"))?;
        Position::new(&bytes).map_err(|error| error.to_string())
    }

    fn verdict(&mut self) -> Result<bool, String> {
        let verdict = self.take(|word| match word {
            "granted" => Some(true),
            "refused" => Some(false),
            _ => None,
        });
        verdict.ok_or_else(|| "expected \"granted\" or \"refused\"".to_owned())
    }

    fn take<T>(&mut self, read: impl Fn(&'a str) -> Option<T>) -> Option<T> {
        let index = self.0.iter().position(|word| read(word).is_some())?;
        read(self.0.remove(index))
    }
}
