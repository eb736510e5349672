//! The election's own messages to bytes and back.

use core::fmt;
use core::num::{NonZeroU32, NonZeroU64};

use graft_election_core::{
    ControlAction, ControlOutcome, ControlRequest, ControlResponse, Handover, Heartbeat,
    HeartbeatResponse, Identity, LeaderValue, Life, ListId, ListPart, ListRequest, Message, NodeId,
    NodeIdError, Position, PositionTooLong, PreVoteResponse, Round, ValueTooLong, VoteRequest,
    VoteResponse,
};

use crate::field::{Field, Value, Values, read_fields};
use crate::kind::Kind;
use crate::reader::{Key, WireError};
use crate::wire_type::WireType;
use crate::writer::{EncodeError, Writer};

/// The most bytes that any message takes: those of a heartbeat response with everything in it.
pub const ENCODED_MAX: usize = 211;

/// How many bytes a seal adds to a message (rule K1): the key of the field `Seal`, its length, the
/// number and the MAC. Who has no key reads past it, as past any unknown field.
pub const SEAL_LEN: usize = 2 + 8 + 16;

/// The second fields of the ids of lists. In every table they are next to the first.
const VERSIONS: [Key; 2] = [Key::new(13, WireType::Varint), Key::new(21, WireType::Varint)];

/// Reads `payload` as a message of `kind`.
///
/// # Errors
///
/// [`DecodeError`] says what is wrong with the payload; nothing is ever cut to fit (rule V7). Terms
/// are left to the node that receives the message (rule T4).
pub fn decode(kind: Kind, payload: &[u8]) -> Result<Message, DecodeError> {
    let mut values = Values::default();
    read_fields(fields(kind), payload, &mut values)?;
    check_list(fields(kind), &values)?;
    message(kind, &values)
}

/// Writes `message` at the front of `buffer` and returns what was written; zero and empty fields
/// are left out, as the Go original does. A buffer of [`ENCODED_MAX`] bytes has room for any.
///
/// # Errors
///
/// [`EncodeError`] if the message doesn't fit.
pub fn encode<'b>(message: &Message, buffer: &'b mut [u8]) -> Result<&'b [u8], EncodeError> {
    let mut writer = Writer::new(buffer);
    write(message, &mut writer);
    writer.finish()
}

/// Declares for each [`Kind`] which of the core's structs it carries, and which field of
/// `graft.proto` holds which member of that struct. The id of a list takes two fields, in brackets;
/// fields with higher numbers come after a semicolon, and those of a list's root after an
/// at sign.
macro_rules! messages {
    ($(
        $kind:ident: $message:ident {
            $( $name:ident = $number:literal => $member:ident, )*
            $( [
                $term_name:ident = $term_number:literal => $term:ident,
                $version_name:ident = $version_number:literal => $version:ident
            ] => $list:ident, )?
            $( ; $( $late_name:ident = $late_number:literal => $late:ident, )* )?
            $( @[
                $root_term_name:ident = $root_term_number:literal => $root_term:ident,
                $root_version_name:ident = $root_version_number:literal => $root_version:ident
            ] => $root:ident, )?
        }
    )*) => {
        /// The fields of the messages of a kind, in the order of their numbers.
        const fn fields(kind: Kind) -> &'static [Field] {
            match kind {
                $( Kind::$kind => const { &[ $( Field {
                    key: key_of($number, |message: &$message| &message.$member),
                    name: stringify!($name),
                }, )* $(
                    Field {
                        key: Key::new($term_number, WireType::Varint),
                        name: stringify!($term_name),
                    },
                    Field {
                        key: Key::new($version_number, WireType::Varint),
                        name: stringify!($version_name),
                    },
                )? $( $( Field {
                    key: key_of($late_number, |message: &$message| &message.$late),
                    name: stringify!($late_name),
                }, )* )? $(
                    Field {
                        key: Key::new($root_term_number, WireType::Varint),
                        name: stringify!($root_term_name),
                    },
                    Field {
                        key: Key::new($root_version_number, WireType::Varint),
                        name: stringify!($root_version_name),
                    },
                )? ] }, )*
            }
        }

        /// The message that has these values.
        ///
        /// It is a function of its own, and each of its arms the whole result, so that the message
        /// is put together where it is to be: as a part of another function, or by one function for
        /// each kind, it is copied from place to place, which takes a kibibyte more flash.
        #[inline(never)]
        fn message(kind: Kind, values: &Values<'_>) -> Result<Message, DecodeError> {
            match kind {
                $( Kind::$kind => {
                    let [
                        $( $member, )*
                        $( $term, $version, )?
                        $( $( $late, )* )?
                        $( $root_term, $root_version, )?
                        ..
                    ] = values;
                    Ok(Message::$kind($message {
                        $( $member: Member::read(stringify!($name), $member)?, )*
                        $( $list: list_id($term, $version), )?
                        $( $( $late: Member::read(stringify!($late_name), $late)?, )* )?
                        $( $root: list_id($root_term, $root_version), )?
                    }))
                } )*
            }
        }

        /// Writes the fields of `message` that are not the default.
        fn write(message: &Message, writer: &mut Writer<'_>) {
            match message {
                $( Message::$kind(message) => {
                    $( message.$member.write($number, writer); )*
                    $( if let Some(list) = &message.$list {
                        list.term.write($term_number, writer);
                        list.version.write($version_number, writer);
                    } )?
                    $( $( message.$late.write($late_number, writer); )* )?
                    $( if let Some(root) = &message.$root {
                        root.term.write($root_term_number, writer);
                        root.version.write($root_version_number, writer);
                    } )?
                } )*
            }
        }
    };
}

messages! {
    VoteRequest: VoteRequest {
        Term = 1 => term,
        Candidate = 2 => candidate,
        CurrentState = 3 => position,
        HandoverFrom = 8 => handover_from,
        Size = 9 => size,
        Round = 10 => round,
        [ListTerm = 12 => list_term, ListVersion = 13 => list_version] => list,
    }

    VoteResponse: VoteResponse {
        Term = 1 => term,
        Granted = 2 => granted,
        Voter = 8 => voter,
        Round = 10 => round,
        [ListTerm = 12 => list_term, ListVersion = 13 => list_version] => list,
        ; Life = 14 => life, Wanted = 18 => wanted,
    }

    Heartbeat: Heartbeat {
        Term = 1 => term,
        Leader = 2 => leader,
        SentAt = 8 => sent_at,
        Size = 9 => size,
        Round = 10 => round,
        [ListTerm = 12 => list_term, ListVersion = 13 => list_version] => list,
        ; Value = 17 => value,
    }

    HeartbeatResponse: HeartbeatResponse {
        Term = 1 => term,
        Follower = 2 => follower,
        CurrentState = 3 => position,
        SentAt = 8 => sent_at,
        Priority = 9 => priority,
        Round = 10 => round,
        BoundFor = 11 => bound_for,
        [ListTerm = 12 => list_term, ListVersion = 13 => list_version] => list,
        ; Life = 14 => life, Paused = 16 => is_paused, Wanted = 18 => wanted, Full = 19 => is_full,
    }

    PreVoteRequest: VoteRequest {
        Term = 1 => term,
        Candidate = 2 => candidate,
        CurrentState = 3 => position,
        HandoverFrom = 8 => handover_from,
        Size = 9 => size,
        Round = 10 => round,
        [ListTerm = 12 => list_term, ListVersion = 13 => list_version] => list,
    }

    PreVoteResponse: PreVoteResponse {
        Term = 1 => term,
        Granted = 2 => granted,
        Voter = 8 => voter,
        ProposedTerm = 9 => proposed_term,
        Round = 10 => round,
        [ListTerm = 12 => list_term, ListVersion = 13 => list_version] => list,
        ; Life = 14 => life, Wanted = 18 => wanted,
    }

    Handover: Handover {
        Term = 1 => term,
        Leader = 2 => leader,
        Target = 3 => target,
        Round = 10 => round,
    }

    ListPart: ListPart {
        Sender = 2 => sender,
        Voter = 3 => voter,
        Place = 8 => place,
        Count = 9 => count,
        [ListTerm = 12 => list_term, ListVersion = 13 => list_version] => list,
        ; Life = 14 => life,
        @[RootTerm = 20 => root_term, RootVersion = 21 => root_version] => root,
    }

    ListRequest: ListRequest {
        Node = 2 => node,
        Life = 14 => life,
        Wanted = 18 => wanted,
    }

    Who: Identity {
        Node = 2 => node,
        Round = 10 => round,
        Life = 14 => life,
    }

    Here: Identity {
        Node = 2 => node,
        Round = 10 => round,
        Life = 14 => life,
    }

    ControlRequest: ControlRequest {
        Term = 1 => term,
        Node = 2 => node,
        Target = 3 => target,
        Action = 8 => action,
        Last = 9 => last,
        Round = 10 => round,
        [ListTerm = 12 => list_term, ListVersion = 13 => list_version] => list,
        ; Life = 14 => life, Wanted = 18 => wanted,
    }

    ControlResponse: ControlResponse {
        Term = 1 => term,
        Node = 2 => node,
        Leader = 3 => leader,
        Outcome = 8 => outcome,
        Last = 9 => last,
        Round = 10 => round,
        Paused = 11 => is_paused,
        [ListTerm = 12 => list_term, ListVersion = 13 => list_version] => list,
        ; Life = 14 => life, Committed = 22 => is_committed,
    }
}

/// The key of a member's field. The table needn't repeat the member's type.
const fn key_of<S, M: Member>(number: u32, _: fn(&S) -> &M) -> Key {
    Key::new(number, M::WIRE_TYPE)
}

/// A member of one of the core's messages.
trait Member: Sized {
    /// That of its field.
    const WIRE_TYPE: WireType;

    /// Takes the value of the field `name`, unless no node may see it (rule V7).
    fn read(name: &'static str, value: &Value<'_>) -> Result<Self, DecodeError>;

    /// Writes its field, which has this number, unless it is the default.
    fn write(&self, field: u32, writer: &mut Writer<'_>);
}

/// Declares the members that are numbers on the wire: how they are read, and how they are written.
macro_rules! numbers {
    ($( $member:ty: $read:expr, $write:expr; )*) => { $(
        impl Member for $member {
            const WIRE_TYPE: WireType = WireType::Varint;

            fn read(_: &'static str, value: &Value<'_>) -> Result<Self, DecodeError> {
                let read: fn(u64) -> Self = $read;
                Ok(read(value.number))
            }

            fn write(&self, field: u32, writer: &mut Writer<'_>) {
                let number: fn(Self) -> u64 = $write;
                writer.number(field, number(*self));
            }
        }
    )* };
}

/// A number that is never 0, which is what protobuf takes for one that was left out.
impl Member for NonZeroU32 {
    const WIRE_TYPE: WireType = WireType::Varint;

    fn read(field: &'static str, value: &Value<'_>) -> Result<Self, DecodeError> {
        Self::new(value.number as u32).ok_or(DecodeError::Missing { field })
    }

    fn write(&self, field: u32, writer: &mut Writer<'_>) {
        writer.number(field, self.get().into());
    }
}

/// Declares the members whose number takes four bytes, whatever it is.
macro_rules! fixed_numbers {
    ($( $member:ident )*) => { $(
        impl Member for $member {
            const WIRE_TYPE: WireType = WireType::Fixed32;

            fn read(field: &'static str, value: &Value<'_>) -> Result<Self, DecodeError> {
                // The value of such a field has 32 bits.
                Self::new(value.number as u32).ok_or(DecodeError::Missing { field })
            }

            fn write(&self, field: u32, writer: &mut Writer<'_>) {
                writer.fixed(field, self.number());
            }
        }

        impl Member for Option<$member> {
            const WIRE_TYPE: WireType = WireType::Fixed32;

            fn read(_: &'static str, value: &Value<'_>) -> Result<Self, DecodeError> {
                Ok($member::new(value.number as u32))
            }

            fn write(&self, field: u32, writer: &mut Writer<'_>) {
                writer.fixed(field, self.map_or(0, $member::number));
            }
        }
    )* };
}

fixed_numbers! { Life Round }

/// Declares the members that have few values, each with a number of its own.
macro_rules! choices {
    ($( $member:ident )*) => { $(
        impl Member for $member {
            const WIRE_TYPE: WireType = WireType::Varint;

            fn read(field: &'static str, value: &Value<'_>) -> Result<Self, DecodeError> {
                Self::from_number(value.number as u32).ok_or(DecodeError::Unknown { field })
            }

            fn write(&self, field: u32, writer: &mut Writer<'_>) {
                writer.number(field, self.number().into());
            }
        }
    )* };
}

choices! { ControlAction ControlOutcome }

/// The id of a list, unless none is declared: then both of its fields are left out.
fn list_id(term: &Value<'_>, version: &Value<'_>) -> Option<ListId> {
    let version = version.number as u32;
    (version != 0).then_some(ListId { term: term.number, version })
}

/// Of half the id of a list nobody could say whether it is one's own. It is looked for once and not
/// in each kind of message, which saves 200 bytes of flash.
fn check_list(fields: &[Field], values: &Values<'_>) -> Result<(), DecodeError> {
    let pairs = fields.iter().zip(values).zip(values.iter().skip(1)).zip(fields.iter().skip(1));
    for (((_, term), version), field) in pairs {
        let is_half = term.number != 0 && version.number as u32 == 0;
        if VERSIONS.contains(&field.key) && is_half {
            return Err(DecodeError::Missing { field: field.name });
        }
    }
    Ok(())
}

// Of a number that is too long, the low half is kept, as protobuf demands.
numbers! {
    u64: |number| number, |member| member;
    u32: |number| number as u32, u64::from;
    bool: |number| number != 0, u64::from;
    Option<NonZeroU64>: NonZeroU64::new, |member| member.map_or(0, NonZeroU64::get);
    Option<NonZeroU32>: |number| NonZeroU32::new(number as u32),
        |member| member.map_or(0, NonZeroU32::get).into();
}

impl Member for NodeId {
    const WIRE_TYPE: WireType = WireType::LengthDelimited;

    fn read(field: &'static str, value: &Value<'_>) -> Result<Self, DecodeError> {
        Self::from_bytes(value.bytes).map_err(|error| DecodeError::InvalidId { field, error })
    }

    fn write(&self, field: u32, writer: &mut Writer<'_>) {
        writer.bytes(field, self.as_bytes());
    }
}

/// An id that may be left out, which protobuf can't tell from an empty one.
impl Member for Option<NodeId> {
    const WIRE_TYPE: WireType = WireType::LengthDelimited;

    fn read(field: &'static str, value: &Value<'_>) -> Result<Self, DecodeError> {
        if value.bytes.is_empty() { Ok(None) } else { NodeId::read(field, value).map(Some) }
    }

    fn write(&self, field: u32, writer: &mut Writer<'_>) {
        writer.bytes(field, self.as_ref().map_or(&[], NodeId::as_bytes));
    }
}

impl Member for Position {
    const WIRE_TYPE: WireType = WireType::LengthDelimited;

    fn read(_: &'static str, value: &Value<'_>) -> Result<Self, DecodeError> {
        Ok(Self::new(value.bytes)?)
    }

    fn write(&self, field: u32, writer: &mut Writer<'_>) {
        writer.bytes(field, self.as_bytes());
    }
}

impl Member for LeaderValue {
    const WIRE_TYPE: WireType = WireType::LengthDelimited;

    fn read(_: &'static str, value: &Value<'_>) -> Result<Self, DecodeError> {
        Ok(Self::new(value.bytes)?)
    }

    fn write(&self, field: u32, writer: &mut Writer<'_>) {
        writer.bytes(field, self.as_bytes());
    }
}

/// Why a payload is not a message that a node may see (rule V7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DecodeError {
    /// The payload is not the protobuf message it should be.
    Wire(WireError),
    /// A field that names a node doesn't hold a node id.
    InvalidId {
        /// The field, as `graft.proto` names it.
        field: &'static str,
        /// What is wrong with the id.
        error: NodeIdError,
    },
    /// A field that the message makes no sense without is left out.
    Missing {
        /// The field, as `graft.proto` names it.
        field: &'static str,
    },
    /// A field has a number that stands for nothing.
    Unknown {
        /// The field, as `graft.proto` names it.
        field: &'static str,
    },
    /// `CurrentState` is longer than a position may be.
    PositionTooLong(PositionTooLong),
    /// `Value` is longer than a leader's value may be.
    ValueTooLong(ValueTooLong),
}

impl From<WireError> for DecodeError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl From<PositionTooLong> for DecodeError {
    fn from(error: PositionTooLong) -> Self {
        Self::PositionTooLong(error)
    }
}

impl From<ValueTooLong> for DecodeError {
    fn from(error: ValueTooLong) -> Self {
        Self::ValueTooLong(error)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wire(error) => error.fmt(f),
            Self::InvalidId { field, error } => write!(f, "field {field}: {error}"),
            Self::Missing { field } => write!(f, "field {field} is missing"),
            Self::Unknown { field } => write!(f, "field {field} has an unknown value"),
            Self::PositionTooLong(error) => write!(f, "field CurrentState: {error}"),
            Self::ValueTooLong(error) => write!(f, "field Value: {error}"),
        }
    }
}

// Its text has that of the error behind it, so there is no source to print a second time.
impl core::error::Error for DecodeError {}
