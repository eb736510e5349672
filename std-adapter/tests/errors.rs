//! Every error of this crate says each thing once: in its text or in that of its source.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use graft_election::core::{Handover, ListId, Message};
use graft_election::proto::{EncodeError, encode};
use graft_election::{
    ConfigError, Corruption, DeleteError, ErrorChain, Fault, LoadError, LoadWarning, LocalError,
    MemoryJoinError, NodeId, NodeIdError, OpenError, Report, RunError, SaveError, SaveStep,
    SealFault, StartError, Unusable, VoteFileError,
};

/// What the operating system says in these tests.
const REASON: &str = "no space left";

fn path() -> PathBuf {
    "/var/lib/vote".into()
}

fn io_error() -> io::Error {
    io::Error::other(REASON)
}

fn json_error() -> serde_json::Error {
    serde_json::from_str::<u64>("{").unwrap_err()
}

fn encode_error() -> EncodeError {
    let handover =
        Handover { term: 1, leader: NodeId::new("a").unwrap(), target: None, round: None };
    encode(&Message::Handover(handover), &mut []).unwrap_err()
}

fn save_error() -> SaveError {
    SaveError { path: path(), step: SaveStep::Sync, reason: io_error() }
}

fn load_error() -> LoadError {
    LoadError::Read { path: path(), reason: io_error() }
}

fn boxed<E: Error + 'static>(errors: Vec<E>) -> Vec<Box<dyn Error>> {
    errors.into_iter().map(|error| Box::new(error) as Box<dyn Error>).collect()
}

fn start_errors() -> Vec<StartError> {
    vec![
        StartError::Config(ConfigError::SizeZero),
        StartError::Load(Box::new(load_error())),
        StartError::Save(Box::new(save_error())),
        StartError::OtherId { given: "a".into(), kept: "b".into() },
        StartError::RecordExists { id: "a".into() },
        StartError::Config(ConfigError::RecordMissing),
        StartError::Random(Box::new(io_error())),
        StartError::Join(Box::new(LocalError::NotJoined)),
        StartError::Thread(io_error()),
    ]
}

fn faults() -> Vec<Fault> {
    vec![
        Fault::ConnectionLost("disconnected".into()),
        Fault::ConnectionClosed("all subscriptions ended".into()),
        Fault::ConnectionPartial("permissions violation".into()),
        Fault::SaveUnfinished(Duration::from_secs(1)),
        Fault::SlowStore { took: Duration::from_millis(300), max: Duration::from_millis(100) },
        Fault::ConnectionImpaired("slow consumer".into()),
        Fault::StoredVote(LoadWarning::NoState),
        Fault::StoredVote(LoadWarning::VoteSpent { term: 6, reason: NodeIdError::Empty }),
        Fault::Save(Arc::new(save_error())),
        Fault::SaveInterrupted,
        Fault::Send(Arc::new(LocalError::Send { path: path(), error: io_error() })),
        Fault::SendTimedOut(Duration::from_millis(100)),
        Fault::Report(Report::DuplicateId),
        Fault::ApplicationStuck(Duration::from_millis(50)),
        Fault::ApplicationPanicked,
        Fault::PositionTooLong(65),
        Fault::Malformed { from: "graft.c.heartbeat".into(), error: Arc::new(io_error()) },
        Fault::Unauthentic { sender: None, error: SealFault::Unsealed },
        Fault::GoNodeUndeclared,
        Fault::Withheld(312),
        Fault::Missed(3),
    ]
}

fn vote_file_errors() -> Vec<Box<dyn Error>> {
    let corruptions = [
        Corruption::Envelope(json_error()),
        Corruption::Data(json_error()),
        Corruption::Base64 { key: "SHA", reason: base64::DecodeError::InvalidPadding },
        Corruption::Digest,
    ];
    let unusable = [
        Unusable::TermOutOfRange { term: u64::MAX },
        Unusable::NoTermLeft { term: 7 },
        Unusable::List { list: ListId { term: 8, version: 1 } },
        Unusable::BoundFor { micros: 1 << 32 },
        Unusable::Id { id: "a b".into(), reason: NodeId::new("a b").unwrap_err() },
    ];
    let corrupt = corruptions.map(|reason| LoadError::Corrupt { path: path(), reason });
    let unusable = unusable.map(|reason| LoadError::Unusable { path: path(), reason });
    let mut load_errors = vec![
        LoadError::Missing { path: path() },
        LoadError::NotAFile { path: path() },
        LoadError::TooLarge { path: path() },
        load_error(),
    ];
    load_errors.extend(corrupt.into_iter().chain(unusable));
    let open_errors = vec![
        OpenError::NoFileName { path: path() },
        OpenError::NameOfBeside { path: path(), suffix: ".tmp" },
        OpenError::Unreachable { path: path(), reason: io_error() },
        OpenError::InUse { path: path() },
        OpenError::Lock { path: path(), reason: io_error() },
        OpenError::Unwritable(save_error()),
        OpenError::Load(load_error()),
    ];
    let used = vec![VoteFileError::Load(load_error()), VoteFileError::Save(save_error())];
    let mut errors = boxed(load_errors);
    errors.extend(boxed(open_errors).into_iter().chain(boxed(used)));
    errors.push(Box::new(DeleteError { path: path(), reason: io_error() }));
    errors
}

fn transport_errors() -> Vec<Box<dyn Error>> {
    let local = vec![
        LocalError::Directory { path: path(), error: io_error() },
        LocalError::NotPrivate { path: path(), mode: 0o755 },
        LocalError::NotOwned { path: path(), user: 1000, own_user: 1001 },
        LocalError::PathTooLong { path: path() },
        LocalError::Bind { path: path(), error: io_error() },
        LocalError::NotASocket { path: path() },
        LocalError::Busy { path: path() },
        LocalError::InUse { id: NodeId::new("a").unwrap(), path: path() },
        LocalError::NotJoined,
        LocalError::Send { path: path(), error: io_error() },
        LocalError::Encode(encode_error().into()),
    ];
    let taken = MemoryJoinError::IdTaken(NodeId::new("a").unwrap());
    let mut errors = boxed(local);
    errors.extend(boxed(vec![MemoryJoinError::ToldToFail, taken]));
    #[cfg(feature = "nats")]
    errors.extend(nats_errors());
    errors
}

#[cfg(feature = "nats")]
fn nats_errors() -> Vec<Box<dyn Error>> {
    use async_nats::client::{PublishErrorKind, SubscribeErrorKind};
    use graft_election::NatsError;
    boxed(vec![
        NatsError::Subscribe {
            subject: "graft.c.heartbeat".into(),
            error: SubscribeErrorKind::Other.into(),
        },
        NatsError::Refused { complaint: "Permissions Violation".into() },
        NatsError::NotSubscribed { subject: "graft.c.who.a".into(), complaint: None },
        NatsError::NotSubscribed {
            subject: "graft.c.who.a".into(),
            complaint: Some("Permissions Violation".into()),
        },
        NatsError::Random(Box::new(io_error())),
        NatsError::NotJoined,
        NatsError::Disconnected,
        NatsError::Publish(PublishErrorKind::Send.into()),
        NatsError::Encode(encode_error().into()),
    ])
}

#[test]
fn no_error_says_anything_twice() {
    let mut errors = vote_file_errors();
    errors.extend(transport_errors());
    errors.extend(boxed(start_errors()).into_iter().chain(boxed(faults())));
    errors.extend(boxed(vec![RunError::NoLease, RunError::Closed, RunError::DuplicateId]));
    assert!(errors.len() > 50);
    for error in errors {
        let causes = std::iter::successors(Some(&*error), |&error| error.source());
        let texts: Vec<_> = causes.map(ToString::to_string).collect();
        for (place, text) in texts.iter().enumerate() {
            assert!(!text.is_empty(), "{error:?}");
            for cause in &texts[place + 1..] {
                assert!(!text.contains(cause), "{error:?} says twice: {cause}");
            }
        }
        // Printed with its causes, it says all of them.
        assert_eq!(ErrorChain(&*error).to_string(), texts.join(": "));
    }
}

#[test]
fn what_another_librarys_error_repeats_is_printed_once() {
    #[derive(Debug, thiserror::Error)]
    #[error("can't connect: {0}")]
    struct Repeats(#[source] io::Error);

    let error = StartError::Join(Box::new(Repeats(io_error())));
    let expected = "could not join the cluster: can't connect: no space left";
    assert_eq!(ErrorChain(&error).to_string(), expected);
}
