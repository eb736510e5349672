//! The messages as they travel: borrowed from the payload, and not yet judged.
//!
//! Nothing here is checked beyond what protobuf asks for: an id may be empty or malformed, a
//! position over-long. [`decode`](crate::decode) and [`encode`](crate::encode) stand between these
//! and the election's own [`Message`](graft_election_core::Message).

use crate::decode::WireError;
use crate::encode::EncodeError;
use crate::field::{Field, FieldType, Values, read_fields, write_fields};

/// Declares a message from a table of its fields, in the order of their numbers.
macro_rules! message {
    (
        $(#[$docs:meta])*
        $message:ident<$payload:lifetime> {
            $( $(#[$field_docs:meta])* $name:ident = $number:literal => $field:ident: $type:ty, )*
        }
    ) => {
        $(#[$docs])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub struct $message<$payload> {
            $( $(#[$field_docs])* pub $field: $type, )*
        }

        impl<$payload> $message<$payload> {
            /// Reads a payload. Unknown fields are skipped, absent ones are zero or empty, and of a
            /// repeated one the last counts.
            ///
            /// # Errors
            ///
            /// [`WireError`] says what is wrong with the payload, and where.
            pub fn decode(payload: &$payload [u8]) -> Result<Self, WireError> {
                let mut values = Values::default();
read_fields(Self::FIELDS, payload, &mut values)?;
                Ok(Self::from_values(&values))
            }

            /// Writes the message at the front of `buffer` and returns what was written; zero and
            /// empty fields are left out, as the Go original does.
            ///
            /// # Errors
            ///
            /// [`EncodeError`] if the message doesn't fit.
            pub fn encode<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], EncodeError> {
                let mut values = Values::default();
                self.fill(&mut values);
                write_fields(Self::FIELDS, &values, buffer)
            }

            pub(crate) const FIELDS: &'static [Field] = &[$( Field {
                number: $number,
                name: stringify!($name),
                content: <$type as FieldType<$payload>>::CONTENT,
            } ),*];

            pub(crate) fn from_values(values: &Values<$payload>) -> Self {
                let [$( $field, )* ..] = values;
                Self { $( $field: FieldType::from_value($field) ),* }
            }

            pub(crate) fn fill(&self, values: &mut Values<$payload>) {
                let [$( $field, )* ..] = values;
                $( self.$field.write_value($field); )*
            }
        }
    };
}

message! {
    /// A candidate asks for votes.
    VoteRequest<'a> {
        /// The term it campaigns in.
        Term = 1 => term: u64,
        /// The candidate's id.
        Candidate = 2 => candidate: &'a str,
        /// How far its application has come.
        CurrentState = 3 => current_state: &'a [u8],
        /// The term of the leader that told it to take over; 0: none did (rule H2).
        HandoverFrom = 8 => handover_from: u64,
        /// How many voters it believes there are; 0: it doesn't say (rule L6).
        Size = 9 => size: u32,
    }
}

message! {
    /// A node asks for pre-votes (rule C1).
    PreVoteRequest<'a> {
        /// The term that it would campaign in.
        Term = 1 => term: u64,
        /// The id of the node that asks.
        Candidate = 2 => candidate: &'a str,
        /// How far its application has come.
        CurrentState = 3 => current_state: &'a [u8],
        /// The term of the leader that told it to take over; 0: none did (rules H2, H5).
        HandoverFrom = 8 => handover_from: u64,
        /// How many voters it believes there are; 0: it doesn't say (rule L6).
        Size = 9 => size: u32,
        /// Which round of pre-votes it asks in, to be echoed unchanged.
        Round = 10 => round: u32,
    }
}

message! {
    /// A voter answers a candidate.
    VoteResponse<'a> {
        /// The voter's term.
        Term = 1 => term: u64,
        /// Whether the candidate has the voter's vote in that term.
        Granted = 2 => granted: bool,
        /// The voter's id; empty: a Go node's answer (rule V6).
        Voter = 8 => voter: &'a str,
    }
}

message! {
    /// A leader says that it leads.
    Heartbeat<'a> {
        /// The term it leads in.
        Term = 1 => term: u64,
        /// The leader's id.
        Leader = 2 => leader: &'a str,
        /// Microseconds on the leader's own clock; 0: it asks for no acknowledgement (rule L2).
        SentAt = 8 => sent_at: u64,
        /// How many voters it believes there are; 0: it doesn't say (rule L6).
        Size = 9 => size: u32,
    }
}

message! {
    /// A follower answers a heartbeat.
    HeartbeatResponse<'a> {
        /// The follower's term.
        Term = 1 => term: u64,
        /// The follower's id.
        Follower = 2 => follower: &'a str,
        /// How far its application has come.
        CurrentState = 3 => current_state: &'a [u8],
        /// The heartbeat's own `SentAt`; 0: a refusal.
        SentAt = 8 => sent_at: u64,
        /// How gladly it would lead; 0: never (rule H4).
        Priority = 9 => priority: u32,
        /// For how many microseconds it helps to elect no one; 0: no promise (rule V2).
        BoundFor = 10 => bound_for: u64,
    }
}

message! {
    /// A voter answers a request for a pre-vote.
    PreVoteResponse<'a> {
        /// The voter's term.
        Term = 1 => term: u64,
        /// Whether it would vote for the one who asked.
        Granted = 2 => granted: bool,
        /// The voter's id.
        Voter = 8 => voter: &'a str,
        /// The term of the request that this answers.
        ProposedTerm = 9 => proposed_term: u64,
        /// The request's own `Round`.
        Round = 10 => round: u32,
    }
}

message! {
    /// A leader says that it no longer leads.
    Handover<'a> {
        /// The term it led in.
        Term = 1 => term: u64,
        /// The id of the node that led.
        Leader = 2 => leader: &'a str,
        /// The id of the node that is to campaign at once; empty: anyone.
        Target = 3 => target: &'a str,
    }
}
