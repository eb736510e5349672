//! Messages as text: the kind, then each field that is present as `key=value`.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;

use graft_election_core::{
    ControlAction, ControlOutcome, ControlRequest, ControlResponse, Handover, Heartbeat,
    HeartbeatResponse, Identity, LeaderValue, Life, ListId, ListPart, ListRequest, Message, NodeId,
    Position, PreVoteResponse, Round, VoteRequest, VoteResponse,
};

const KINDS: [&str; 13] = [
    "vote-request",
    "vote-response",
    "heartbeat",
    "heartbeat-response",
    "pre-vote-request",
    "pre-vote-response",
    "handover",
    "who",
    "here",
    "control-request",
    "control-response",
    "list-request",
    "list-part",
];

/// A message to display: `vote-request term=1 candidate=a size=3`. Answers to requests say
/// `granted` or `refused`; positions are in hexadecimal digits.
pub(crate) struct MessageText<'a> {
    pub(crate) message: &'a Message,
    /// What rounds and lives are called; by their numbers if absent.
    pub(crate) names: Option<&'a RoundNames>,
}

/// Short names of rounds and lives, for readers: each is called by the order in which it was said
/// first. Lives are left out of answers, and lists that a cluster started with of everything.
#[derive(Debug, Default)]
pub(crate) struct RoundNames {
    numbers: Vec<u32>,
}

impl RoundNames {
    /// Names what the message has.
    pub(crate) fn learn(&mut self, message: &Message) {
        let life = match message {
            Message::Who(identity) | Message::Here(identity) => Some(identity.life.number()),
            _ => None,
        };
        for number in message.round().map(Round::number).into_iter().chain(life) {
            if !self.numbers.contains(&number) {
                self.numbers.push(number);
            }
        }
    }

    fn name(&self, number: u32) -> Option<usize> {
        self.numbers.iter().position(|known| *known == number).map(|index| index + 1)
    }
}

impl<'a> MessageText<'a> {
    /// With everything, as it is parsed.
    pub(crate) fn full(message: &'a Message) -> Self {
        Self { message, names: None }
    }

    fn write_number(&self, f: &mut fmt::Formatter<'_>, key: &str, number: u32) -> fmt::Result {
        match self.names.and_then(|names| names.name(number)) {
            Some(name) => write!(f, " {key}={name}"),
            None => write!(f, " {key}={number}"),
        }
    }

    fn write_last(&self, f: &mut fmt::Formatter<'_>, last: Option<Round>) -> fmt::Result {
        last.map_or(Ok(()), |last| self.write_number(f, "last", last.number()))
    }

    /// What only this implementation says: the round, the life, the list.
    fn write_identity(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(round) = self.message.round() {
            self.write_number(f, "round", round.number())?;
        }
        let is_short = self.names.is_some();
        let life = match self.message {
            Message::Who(identity) | Message::Here(identity) => Some(identity.life),
            Message::ControlRequest(request) => request.life,
            Message::ListRequest(request) => Some(request.life),
            Message::ListPart(part) => part.life,
            message => life_in_answer(message).filter(|_| !is_short),
        };
        if let Some(life) = life {
            self.write_number(f, "life", life.number())?;
        }
        let list = self.message.list().filter(|list| !is_short || list.term > 0);
        write_present(f, "list", list)
    }
}

/// Whether a message has a term of its own.
fn has_term(message: &Message) -> bool {
    !matches!(
        message,
        Message::Who(_) | Message::Here(_) | Message::ListRequest(_) | Message::ListPart(_)
    )
}

/// Which process answers, if the message is an answer.
fn life_in_answer(message: &Message) -> Option<Life> {
    match message {
        Message::VoteResponse(response) => response.life,
        Message::PreVoteResponse(response) => response.life,
        Message::HeartbeatResponse(response) => response.life,
        Message::ControlResponse(response) => Some(response.life),
        _ => None,
    }
}

impl fmt::Display for MessageText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(kind(self.message))?;
        if has_term(self.message) {
            write!(f, " term={}", self.message.term())?;
        }
        match self.message {
            Message::VoteRequest(request) | Message::PreVoteRequest(request) => {
                write!(f, " candidate={}", request.candidate)?;
                write_position(f, &request.position)?;
                write_present(f, "handover-from", request.handover_from)?;
                write_present(f, "size", request.size)?;
            }
            Message::VoteResponse(response) => {
                write_verdict(f, response.granted)?;
                write_present(f, "voter", response.voter.as_ref())?;
                write_present(f, "wanted", response.wanted)?;
            }
            Message::Heartbeat(heartbeat) => {
                write!(f, " leader={}", heartbeat.leader)?;
                write_present(f, "sent-at", heartbeat.sent_at)?;
                write_present(f, "size", heartbeat.size)?;
                write_bytes(f, "value", heartbeat.value.as_bytes())?;
            }
            Message::HeartbeatResponse(response) => {
                write!(f, " follower={}", response.follower)?;
                write_position(f, &response.position)?;
                write_present(f, "sent-at", response.sent_at)?;
                write!(f, " priority={}", response.priority)?;
                write_present(f, "bound-for", response.bound_for)?;
                write_flag(f, "paused", response.is_paused)?;
                write_present(f, "wanted", response.wanted)?;
                write_flag(f, "full", response.is_full)?;
            }
            Message::PreVoteResponse(response) => {
                write_verdict(f, response.granted)?;
                write!(f, " voter={} proposed={}", response.voter, response.proposed_term)?;
                write_present(f, "wanted", response.wanted)?;
            }
            Message::Handover(handover) => {
                write!(f, " leader={}", handover.leader)?;
                write_present(f, "target", handover.target.as_ref())?;
            }
            Message::Who(identity) | Message::Here(identity) => {
                write!(f, " node={}", identity.node)?;
            }
            Message::ControlRequest(request) => {
                write!(f, " node={} action={}", request.node, request.action.number())?;
                write_present(f, "target", request.target.as_ref())?;
                self.write_last(f, request.last)?;
                write_present(f, "list", request.list)?;
                write_present(f, "wanted", request.wanted)?;
            }
            Message::ControlResponse(response) => {
                write!(f, " node={} outcome={}", response.node, response.outcome.number())?;
                write_present(f, "leader", response.leader.as_ref())?;
                self.write_last(f, response.last)?;
                write_flag(f, "paused", response.is_paused)?;
                write_present(f, "list", response.list)?;
                write_flag(f, "committed", response.is_committed)?;
            }
            Message::ListRequest(request) => {
                write!(f, " node={} wanted={}", request.node, request.wanted)?;
            }
            Message::ListPart(part) => {
                write!(f, " sender={} voter={}", part.sender, part.voter)?;
                write!(f, " place={} count={}", part.place, part.count)?;
                write_present(f, "of", part.list)?;
                write_present(f, "root", part.root)?;
            }
        }
        self.write_identity(f)
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
        Message::Who(_) => 7,
        Message::Here(_) => 8,
        Message::ControlRequest(_) => 9,
        Message::ControlResponse(_) => 10,
        Message::ListRequest(_) => 11,
        Message::ListPart(_) => 12,
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
    write_bytes(f, "position", position.as_bytes())
}

fn write_bytes(f: &mut fmt::Formatter<'_>, key: &str, bytes: &[u8]) -> fmt::Result {
    if bytes.is_empty() {
        return Ok(());
    }
    write!(f, " {key}=")?;
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn write_flag(f: &mut fmt::Formatter<'_>, key: &str, is_set: bool) -> fmt::Result {
    if is_set { write!(f, " {key}") } else { Ok(()) }
}

fn write_verdict(f: &mut fmt::Formatter<'_>, granted: bool) -> fmt::Result {
    f.write_str(if granted { " granted" } else { " refused" })
}

/// Reads what [`MessageText`] writes.
pub(crate) fn parse_message(words: &[&str]) -> Result<Message, String> {
    let (kind, fields) = words.split_first().ok_or("expected a kind of message")?;
    let mut fields = Fields(fields.to_vec());
    let message = match *kind {
        "who" => Message::Who(parse_identity(&mut fields)?),
        "here" => Message::Here(parse_identity(&mut fields)?),
        "list-request" => Message::ListRequest(ListRequest {
            node: fields.required("node")?,
            wanted: fields.required("wanted")?,
            life: fields.life()?.ok_or("expected life=…")?,
        }),
        "list-part" => Message::ListPart(parse_part(&mut fields)?),
        kind => parse_with_term(kind, &mut fields)?,
    };
    match fields.0.first() {
        None => Ok(message),
        Some(word) => Err(format!("a {kind} has no \"{word}\"")),
    }
}

fn parse_control_request(
    term: u64,
    round: Option<Round>,
    life: Option<Life>,
    list: Option<ListId>,
    fields: &mut Fields<'_>,
) -> Result<Message, String> {
    Ok(Message::ControlRequest(ControlRequest {
        term,
        node: fields.required("node")?,
        target: fields.optional("target")?,
        action: fields.choice("action", ControlAction::from_number)?,
        round: round.ok_or("expected round=…")?,
        last: fields.numbered("last")?,
        life,
        list,
        wanted: fields.optional("wanted")?,
    }))
}

fn parse_control_response(
    term: u64,
    round: Option<Round>,
    life: Option<Life>,
    list: Option<ListId>,
    fields: &mut Fields<'_>,
) -> Result<Message, String> {
    Ok(Message::ControlResponse(ControlResponse {
        term,
        node: fields.required("node")?,
        leader: fields.optional("leader")?,
        outcome: fields.choice("outcome", ControlOutcome::from_number)?,
        round: round.ok_or("expected round=…")?,
        last: fields.numbered("last")?,
        is_paused: fields.flag("paused"),
        life: life.ok_or("expected life=…")?,
        is_committed: fields.flag("committed"),
        list,
    }))
}

fn parse_part(fields: &mut Fields<'_>) -> Result<ListPart, String> {
    Ok(ListPart {
        sender: fields.required("sender")?,
        voter: fields.required("voter")?,
        place: fields.required("place")?,
        count: fields.required("count")?,
        list: fields.named_list("of")?,
        life: fields.life()?,
        root: fields.named_list("root")?,
    })
}

fn parse_with_term(kind: &str, fields: &mut Fields<'_>) -> Result<Message, String> {
    if !KINDS.contains(&kind) {
        return Err(format!("expected one of {}, not \"{kind}\"", KINDS.join(", ")));
    }
    let term = fields.required("term")?;
    let (round, life, list) = (fields.round()?, fields.life()?, fields.list()?);
    Ok(match kind {
        "vote-request" => Message::VoteRequest(parse_request(term, round, list, fields)?),
        "pre-vote-request" => Message::PreVoteRequest(parse_request(term, round, list, fields)?),
        "vote-response" => {
            let granted = fields.verdict()?;
            let voter = fields.optional("voter")?;
            Message::VoteResponse(VoteResponse {
                term,
                granted,
                voter,
                round,
                list,
                life,
                wanted: fields.optional("wanted")?,
            })
        }
        "heartbeat" => Message::Heartbeat(Heartbeat {
            term,
            leader: fields.required("leader")?,
            sent_at: fields.optional("sent-at")?,
            size: fields.optional("size")?,
            round,
            list,
            value: LeaderValue::new(&fields.bytes("value")?).map_err(|it| it.to_string())?,
        }),
        "heartbeat-response" => Message::HeartbeatResponse(HeartbeatResponse {
            term,
            follower: fields.required("follower")?,
            position: fields.position()?,
            sent_at: fields.optional::<NonZeroU64>("sent-at")?,
            priority: fields.optional("priority")?.unwrap_or(0),
            bound_for: fields.optional("bound-for")?,
            round,
            list,
            life,
            is_paused: fields.flag("paused"),
            is_full: fields.flag("full"),
            wanted: fields.optional("wanted")?,
        }),
        "pre-vote-response" => Message::PreVoteResponse(PreVoteResponse {
            term,
            granted: fields.verdict()?,
            voter: fields.required("voter")?,
            proposed_term: fields.required("proposed")?,
            round,
            list,
            life,
            wanted: fields.optional("wanted")?,
        }),
        "control-request" => parse_control_request(term, round, life, list, fields)?,
        "control-response" => parse_control_response(term, round, life, list, fields)?,
        _ => Message::Handover(Handover {
            term,
            leader: fields.required("leader")?,
            target: fields.optional::<NodeId>("target")?,
            round,
        }),
    })
}

fn parse_identity(fields: &mut Fields<'_>) -> Result<Identity, String> {
    Ok(Identity {
        node: fields.required("node")?,
        round: fields.round()?.ok_or("expected round=…")?,
        life: fields.life()?.ok_or("expected life=…")?,
    })
}

fn parse_request(
    term: u64,
    round: Option<Round>,
    list: Option<ListId>,
    fields: &mut Fields<'_>,
) -> Result<VoteRequest, String> {
    Ok(VoteRequest {
        term,
        candidate: fields.required("candidate")?,
        position: fields.position()?,
        handover_from: fields.optional("handover-from")?,
        size: fields.optional::<NonZeroU32>("size")?,
        round,
        list,
    })
}

/// Reads a list's id, as it is displayed: `TERM.VERSION`.
pub(crate) fn parse_list(text: &str) -> Result<ListId, String> {
    let parts = text.split_once('.').and_then(|(term, version)| {
        Some(ListId { term: term.parse().ok()?, version: version.parse().ok()? })
    });
    parts.ok_or_else(|| format!("expected a list, \"0.1234\" for instance, not \"{text}\""))
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

    fn round(&mut self) -> Result<Option<Round>, String> {
        self.numbered("round")
    }

    fn numbered(&mut self, key: &str) -> Result<Option<Round>, String> {
        Ok(self.optional::<NonZeroU32>(key)?.and_then(|number| Round::new(number.get())))
    }

    fn life(&mut self) -> Result<Option<Life>, String> {
        Ok(self.optional::<NonZeroU32>("life")?.and_then(|number| Life::new(number.get())))
    }

    fn list(&mut self) -> Result<Option<ListId>, String> {
        self.named_list("list")
    }

    fn named_list(&mut self, key: &str) -> Result<Option<ListId>, String> {
        let text = self.take(|word| word.strip_prefix(key)?.strip_prefix('='));
        text.map(parse_list).transpose()
    }

    fn flag(&mut self, name: &str) -> bool {
        self.take(|word| (word == name).then_some(())).is_some()
    }

    /// One of few values, by its number.
    fn choice<T>(&mut self, key: &str, read: fn(u32) -> Option<T>) -> Result<T, String> {
        let number = self.required(key)?;
        read(number).ok_or_else(|| format!("{key}={number} stands for nothing"))
    }

    fn position(&mut self) -> Result<Position, String> {
        Position::new(&self.bytes("position")?).map_err(|error| error.to_string())
    }

    fn bytes(&mut self, key: &str) -> Result<Vec<u8>, String> {
        let digits = self.take(|word| word.strip_prefix(key)?.strip_prefix('='));
        let digits = digits.unwrap_or_default();
        let bytes: Option<Vec<u8>> = digits
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let bytes = bytes.filter(|_| digits.len().is_multiple_of(2));
        bytes.ok_or_else(|| format!("{key}={digits} is not hexadecimal"))
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
