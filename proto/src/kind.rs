use core::fmt;

use graft_election_core::Message;

/// Which of the thirteen messages a payload holds: protobuf doesn't say, so a transport must.
///
/// A transport that has subjects or topics carries the [`name`](Self::name), one that has bytes the
/// [`number`](Self::number). Neither ever changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Kind {
    /// A candidate asks for votes.
    VoteRequest = 1,
    /// A voter answers a candidate.
    VoteResponse = 2,
    /// A leader says that it leads.
    Heartbeat = 3,
    /// A follower answers a heartbeat.
    HeartbeatResponse = 4,
    /// A node asks for pre-votes.
    PreVoteRequest = 5,
    /// A voter answers a request for a pre-vote.
    PreVoteResponse = 6,
    /// A leader says that it no longer leads.
    Handover = 7,
    /// A node tells a part of its list of voters.
    ListPart = 8,
    /// A node asks another for a part of its list of voters.
    ListRequest = 9,
    /// A node asks whether another process uses its id.
    Who = 12,
    /// A process answers that it does.
    Here = 13,
    /// An operator asks something of a node.
    ControlRequest = 14,
    /// The node answers the operator.
    ControlResponse = 15,
}

impl Kind {
    /// Every kind, by number.
    pub const ALL: [Self; 13] = [
        Self::VoteRequest,
        Self::VoteResponse,
        Self::Heartbeat,
        Self::HeartbeatResponse,
        Self::PreVoteRequest,
        Self::PreVoteResponse,
        Self::Handover,
        Self::ListPart,
        Self::ListRequest,
        Self::Who,
        Self::Here,
        Self::ControlRequest,
        Self::ControlResponse,
    ];

    /// The kind of `message`.
    pub const fn of(message: &Message) -> Self {
        match message {
            Message::VoteRequest(_) => Self::VoteRequest,
            Message::VoteResponse(_) => Self::VoteResponse,
            Message::Heartbeat(_) => Self::Heartbeat,
            Message::HeartbeatResponse(_) => Self::HeartbeatResponse,
            Message::PreVoteRequest(_) => Self::PreVoteRequest,
            Message::PreVoteResponse(_) => Self::PreVoteResponse,
            Message::Handover(_) => Self::Handover,
            Message::ListPart(_) => Self::ListPart,
            Message::ListRequest(_) => Self::ListRequest,
            Message::Who(_) => Self::Who,
            Message::Here(_) => Self::Here,
            Message::ControlRequest(_) => Self::ControlRequest,
            Message::ControlResponse(_) => Self::ControlResponse,
        }
    }

    /// Whether messages of this kind are for everyone, and not for one node (protocol, section 3).
    pub const fn is_for_everyone(self) -> bool {
        match self {
            Self::VoteRequest
            | Self::Heartbeat
            | Self::PreVoteRequest
            | Self::Handover
            | Self::ListPart
            | Self::Who
            | Self::ControlRequest
            | Self::ControlResponse => true,
            Self::VoteResponse
            | Self::HeartbeatResponse
            | Self::PreVoteResponse
            | Self::ListRequest
            | Self::Here => false,
        }
    }

    /// The last token of the NATS subjects that carry it (protocol, section 3).
    pub const fn name(self) -> &'static str {
        match self {
            Self::VoteRequest => "vote_request",
            Self::VoteResponse => "vote_response",
            Self::Heartbeat => "heartbeat",
            Self::HeartbeatResponse => "heartbeat_response",
            Self::PreVoteRequest => "pre_vote_request",
            Self::PreVoteResponse => "pre_vote_response",
            Self::Handover => "handover",
            Self::ListPart => "list_part",
            Self::ListRequest => "list_request",
            Self::Who => "who",
            Self::Here => "here",
            Self::ControlRequest => "control_request",
            Self::ControlResponse => "control_response",
        }
    }

    /// Its byte in a frame.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;

    use super::*;

    #[test]
    fn names_and_numbers_lead_to_their_kind_and_back() {
        let names_and_numbers = [
            ("vote_request", 1),
            ("vote_response", 2),
            ("heartbeat", 3),
            ("heartbeat_response", 4),
            ("pre_vote_request", 5),
            ("pre_vote_response", 6),
            ("handover", 7),
            ("list_part", 8),
            ("list_request", 9),
            ("who", 12),
            ("here", 13),
            ("control_request", 14),
            ("control_response", 15),
        ];
        for (kind, (name, number)) in Kind::ALL.into_iter().zip(names_and_numbers) {
            assert_eq!((kind.name(), kind.number()), (name, number));
            assert_eq!(Kind::from_name(name), Some(kind));
            assert_eq!(Kind::from_number(number), Some(kind));
            assert_eq!(format!("{kind:>20}|"), format!("{name:>20}|"));
        }
    }

    #[test]
    fn other_names_and_numbers_are_no_kind() {
        for name in ["", "vote", "vote_requests", "VOTE_REQUEST", "heartbeat "] {
            assert_eq!(Kind::from_name(name), None, "{name:?}");
        }
        for number in [0, 10, 11, 16, u8::MAX] {
            assert_eq!(Kind::from_number(number), None);
        }
    }
}
