//! The subjects of a cluster on NATS: ours, which name the sender, and the Go original's (protocol,
//! section 3).

use graft_election_core::{Message, Mode, NodeId, Recipient};
use graft_election_proto::{DecodeError, Kind, decode};

use crate::codec::Codec;
use crate::transport::Arrival;

/// What the Go original says to everyone.
pub(crate) const GO_CLUSTER_KINDS: [Kind; 2] = [Kind::VoteRequest, Kind::Heartbeat];

/// What the Go original says to one node.
pub(crate) const GO_NODE_KINDS: [Kind; 2] = [Kind::VoteResponse, Kind::HeartbeatResponse];

/// How a trial begins: a message that a node sends to learn whether the server lets it speak and
/// hear. As a key of protobuf it is invalid, so that a Go node drops it. Everyone else ignores it.
pub(crate) const TRIAL_MARK: u8 = 7;

/// How much of a foreign subject is repeated in a report.
const REPORTED_MAX: usize = 160;

/// The subjects of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Subjects {
    cluster: String,
}

/// Where to publish a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) subject: String,
    /// Where Go sets a reply subject, that subject.
    pub(crate) reply: Option<String>,
}

/// By which subscription a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Our subjects for everyone.
    Everyone,
    /// Our subjects for one node.
    One,
    /// A subject of the Go original, which names the kind alone.
    Go(Kind),
}

/// A message of the cluster.
#[derive(Debug)]
pub(crate) struct Said {
    /// For whom it is, by its subject.
    pub(crate) to: Recipient,
    pub(crate) message: Message,
}

/// Why a message that came from NATS is dropped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("it does not come from the node that its subject names")]
    Sender,
    #[error("its kind is not for those to whom its subject goes")]
    Receiver,
}

impl Subjects {
    pub(crate) fn new(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned() }
    }

    /// A pattern of our subjects for everyone.
    pub(crate) fn for_everyone(&self) -> String {
        format!("graft.{}.*.*", self.cluster)
    }

    /// A pattern of our subjects for `node`.
    pub(crate) fn for_node(&self, node: &NodeId) -> String {
        format!("graft.{}.*.*.{node}", self.cluster)
    }

    /// A pattern of our subjects for one node, whichever.
    pub(crate) fn for_any_node(&self) -> String {
        format!("graft.{}.*.*.*", self.cluster)
    }

    /// The cluster that a subject names, if it is ours or Go's for everyone. A cluster's name may
    /// have several tokens.
    pub(crate) fn cluster_of(subject: &str) -> Option<String> {
        let is_for_one: fn(Kind) -> bool = |kind| !kind.is_for_everyone();
        let is_of_go: fn(Kind) -> bool = |kind| GO_CLUSTER_KINDS.contains(&kind);
        let tokens: Vec<&str> = subject.strip_prefix("graft.")?.split('.').collect();
        [(3, is_for_one), (2, Kind::is_for_everyone), (1, is_of_go)].into_iter().find_map(
            |(from_end, fits)| {
                let (name, rest) = tokens.split_at_checked(tokens.len().checked_sub(from_end)?)?;
                let kind = Kind::from_name(rest.first()?)?;
                (fits(kind) && !name.is_empty()).then(|| name.join("."))
            },
        )
    }

    /// The Go original's subject for everyone.
    pub(crate) fn of_go(&self, kind: Kind) -> String {
        format!("graft.{}.{kind}", self.cluster)
    }

    /// The subject for everyone that `sender` publishes something called `kind` on.
    pub(crate) fn to_everyone(&self, kind: &str, sender: &NodeId) -> String {
        format!("graft.{}.{kind}.{sender}", self.cluster)
    }

    /// The subject for `receiver` alone.
    pub(crate) fn to_node(&self, kind: &str, sender: &NodeId, receiver: &NodeId) -> String {
        format!("graft.{}.{kind}.{sender}.{receiver}", self.cluster)
    }

    /// Where `sender`, which is in this `mode`, publishes a message.
    pub(crate) fn route(&self, mode: Mode, sender: &NodeId, to: &Recipient, kind: Kind) -> Route {
        let speaks_as_go = mode == Mode::Graft
            && (GO_CLUSTER_KINDS.contains(&kind) || GO_NODE_KINDS.contains(&kind));
        if !speaks_as_go {
            let subject = match to {
                Recipient::Everyone => self.to_everyone(kind.name(), sender),
                Recipient::Node(node) => self.to_node(kind.name(), sender, node),
            };
            return Route { subject, reply: None };
        }
        let subject = match to {
            Recipient::Everyone => self.of_go(kind),
            Recipient::Node(node) => subject_of_go_node(node, kind),
        };
        let has_reply = kind == Kind::VoteRequest;
        let reply = has_reply.then(|| subject_of_go_node(sender, Kind::VoteResponse));
        Route { subject, reply }
    }

    /// Where `node`, which is in this `mode`, publishes each kind of message that nodes send; what
    /// it says to one node, to itself.
    pub(crate) fn routes_to_itself(&self, mode: Mode, node: &NodeId) -> Vec<String> {
        let to_itself = Recipient::Node(node.clone());
        let to =
            |kind: Kind| if kind.is_for_everyone() { &Recipient::Everyone } else { &to_itself };
        let said = Kind::ALL.into_iter().filter(|kind| *kind != Kind::ControlRequest);
        said.map(|kind| self.route(mode, node, to(kind), kind).subject).collect()
    }

    /// Reads what came; `None` if it is no message of this cluster, but a trial, or of a version or
    /// a cluster with a similar name.
    pub(crate) fn read(
        &self,
        source: Source,
        message: &async_nats::Message,
    ) -> Result<Option<Said>, Unreadable> {
        if message.payload.first() == Some(&TRIAL_MARK) {
            return Ok(None);
        }
        let (kind, sender, receiver) = match source {
            Source::Go(kind) if kind.is_for_everyone() => (kind, None, None),
            Source::Go(kind) => (kind, None, message.subject.split('.').nth(1)),
            Source::Everyone | Source::One => {
                let Some((kind, sender, receiver)) = self.parse(&message.subject) else {
                    return Ok(None);
                };
                if kind.is_for_everyone() != (source == Source::Everyone) {
                    return Err(Unreadable::Receiver);
                }
                (kind, Some(sender), receiver)
            }
        };
        let to = match receiver {
            Some(node) => Recipient::Node(NodeId::new(node).map_err(|_| Unreadable::Receiver)?),
            None => Recipient::Everyone,
        };
        let decoded = decode(kind, &message.payload)?;
        if sender.is_some() && named_in(&decoded).map(NodeId::as_str) != sender {
            return Err(Unreadable::Sender);
        }
        Ok(Some(Said { to, message: decoded }))
    }

    /// What a message comes to for whoever listens; nothing if it is none of the cluster.
    pub(super) fn arrival(
        &self,
        codec: &Codec,
        source: Source,
        message: &async_nats::Message,
    ) -> Option<Arrival> {
        match self.read(source, message) {
            Ok(said) => {
                said.map(|Said { to, message: said }| codec.open(said, &to, &message.payload))
            }
            Err(error) => Some(Arrival::malformed_from(origin_of(source, message), error)),
        }
    }

    /// The kind, the sender and, if there is one, the receiver that one of our subjects names.
    fn parse<'s>(&self, subject: &'s str) -> Option<(Kind, &'s str, Option<&'s str>)> {
        let rest = subject.strip_prefix("graft.")?.strip_prefix(self.cluster.as_str())?;
        let mut tokens = rest.strip_prefix('.')?.split('.');
        Some((Kind::from_name(tokens.next()?)?, tokens.next()?, tokens.next()))
    }
}

/// Whom a message's subject names: its sender, or the node that an operator's request is for.
pub(crate) fn named_in(message: &Message) -> Option<&NodeId> {
    match message {
        Message::ControlRequest(request) => Some(&request.node),
        message => message.sender(),
    }
}

/// The Go original's subject for one node, whatever its cluster.
pub(crate) fn subject_of_go_node(node: &NodeId, kind: Kind) -> String {
    format!("graft.{node}.{kind}")
}

/// Where a message that can't be read came from, as it is reported: the subject and, where that
/// names no sender, who sent it.
fn origin_of(source: Source, message: &async_nats::Message) -> String {
    let subject = reported(&message.subject);
    match source {
        Source::Go(_) => match sender_of_go(&message.payload) {
            Some(sender) => format!("{sender} on {subject}"),
            None => subject,
        },
        Source::Everyone | Source::One => subject,
    }
}

/// A foreign subject: short, and without what a terminal would obey.
fn reported(subject: &str) -> String {
    subject.escape_debug().take(REPORTED_MAX).collect()
}

/// Who sent a message of the Go original, whatever else is wrong with it: the second field of all
/// but its vote responses, which name nobody.
fn sender_of_go(mut payload: &[u8]) -> Option<NodeId> {
    const SENDER: u64 = 2;
    const VARINT: u64 = 0;
    const BYTES: u64 = 2;
    while !payload.is_empty() {
        let (key, rest) = varint(payload)?;
        let (value, rest) = match key & 7 {
            VARINT => (&[][..], varint(rest)?.1),
            BYTES => {
                let (length, rest) = varint(rest)?;
                rest.split_at_checked(usize::try_from(length).ok()?)?
            }
            _ => return None,
        };
        if key == SENDER << 3 | BYTES {
            return NodeId::from_bytes(value).ok();
        }
        payload = rest;
    }
    None
}

/// A number of protobuf at the front of `bytes`, and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0).filter(|end| *end < 9)?;
    let (digits, rest) = bytes.split_at_checked(end + 1)?;
    let value = digits.iter().rev().fold(0, |value, digit| value << 7 | u64::from(digit & 0x7F));
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    fn route(mode: Mode, to: &Recipient, kind: Kind) -> Route {
        Subjects::new("lamps.east").route(mode, &id("a"), to, kind)
    }

    /// Section 3: the sender stands in the subject, and nothing is said on Go's.
    #[test]
    fn n1_a_node_in_extended_mode_publishes_only_where_it_is_named() {
        let one = Recipient::Node(id("b"));
        for kind in Kind::ALL {
            let to = if kind.is_for_everyone() { &Recipient::Everyone } else { &one };
            let Route { subject, reply } = route(Mode::Extended, to, kind);
            let expected = match to {
                Recipient::Everyone => format!("graft.lamps.east.{kind}.a"),
                Recipient::Node(_) => format!("graft.lamps.east.{kind}.a.b"),
            };
            assert_eq!((subject, reply), (expected, None));
        }
    }

    #[test]
    fn a_node_in_graft_mode_says_what_go_says_where_go_says_it() {
        let one = Recipient::Node(id("b"));
        let routes = [
            (&Recipient::Everyone, Kind::VoteRequest, "graft.lamps.east.vote_request"),
            (&Recipient::Everyone, Kind::Heartbeat, "graft.lamps.east.heartbeat"),
            (&one, Kind::VoteResponse, "graft.b.vote_response"),
            (&one, Kind::HeartbeatResponse, "graft.b.heartbeat_response"),
            (&one, Kind::PreVoteResponse, "graft.lamps.east.pre_vote_response.a.b"),
            (&Recipient::Everyone, Kind::Handover, "graft.lamps.east.handover.a"),
            (&Recipient::Everyone, Kind::Who, "graft.lamps.east.who.a"),
            (&one, Kind::Here, "graft.lamps.east.here.a.b"),
        ];
        for (to, kind, subject) in routes {
            let route = route(Mode::Graft, to, kind);
            let reply = (kind == Kind::VoteRequest).then(|| "graft.a.vote_response".to_owned());
            assert_eq!((route.subject.as_str(), route.reply), (subject, reply));
        }
    }

    #[test]
    fn subjects_of_other_clusters_and_unknown_kinds_are_none_of_ours() {
        let subjects = Subjects::new("lamps");
        assert_eq!(subjects.parse("graft.lamps.who.a"), Some((Kind::Who, "a", None)));
        let for_b = Some((Kind::Here, "a", Some("b")));
        assert_eq!(subjects.parse("graft.lamps.here.a.b"), for_b);
        for other in [
            "graft.lamps.east.who",
            "graft.lamps.east.who.a",
            "graft.lamp.who.a",
            "graft.lampswho.a",
            "graft.lamps.join.a",
            "graft.lamps.who",
            "lamps.who.a",
            "",
        ] {
            assert_eq!(subjects.parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_subject_names_its_cluster() {
        for (subject, cluster) in [
            ("graft.lamps.heartbeat", Some("lamps")),
            ("graft.lamps.east.heartbeat.a", Some("lamps.east")),
            ("graft.lamps.east.heartbeat_response.a.b", Some("lamps.east")),
            ("graft.who.who.a", Some("who")),
            ("graft.b.heartbeat_response", None),
            ("graft.heartbeat", None),
            ("graft.lamps.join.a", None),
            ("lamps.who.a", None),
        ] {
            assert_eq!(Subjects::cluster_of(subject).as_deref(), cluster, "{subject}");
        }
    }

    #[test]
    fn the_sender_of_a_go_message_is_found_whatever_else_is_wrong() {
        let long_position = [&[0x08, 0x80, 0x01, 0x12, 2, b'g', b'o', 0x1A, 65][..], &[0; 65]];
        assert_eq!(sender_of_go(&long_position.concat()), Some(id("go")));
        for payload in [&b""[..], &[0x08], &[0x12, 9, b'g'], &[0x12, 1, b'*'], &[0xFF; 40]] {
            assert_eq!(sender_of_go(payload), None, "{payload:?}");
        }
        assert_eq!(sender_of_go(&[0x08, 1, 0x10, 1]), None, "a vote response");
    }

    #[test]
    fn a_reported_subject_is_short_and_printable() {
        assert_eq!(reported("graft.a\u{1b}[2J"), "graft.a\\u{1b}[2J");
        assert_eq!(reported(&"x".repeat(5_000)).len(), REPORTED_MAX);
    }
}
