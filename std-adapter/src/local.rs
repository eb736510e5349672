use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram as BlockingDatagram;
use std::path::{Path, PathBuf};

use graft_election_core::{NodeId, Outgoing, Recipient};
use graft_election_proto::{DecodeError, ENCODED_MAX, EncodeError, Kind, decode, encode};
use tokio::net::UnixDatagram;

use crate::transport::{Arrival, Member, Transport};

/// The most bytes of a datagram that are read: more than any message has.
const DATAGRAM_MAX: usize = 2 * ENCODED_MAX;

/// The cluster as processes of one machine, without a server: each node is a Unix datagram socket,
/// all in one directory. A datagram is the number of its [`Kind`] and the message.
///
/// The directory is private to its owner (mode 0700): anyone who can write to it can vote.
#[derive(Debug)]
pub struct LocalTransport {
    base: PathBuf,
    joined: Option<Joined>,
}

#[derive(Debug)]
struct Joined {
    directory: PathBuf,
    own: PathBuf,
    socket: UnixDatagram,
}

impl LocalTransport {
    /// A transport for the clusters whose directories are in `base`.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self { base: base.into(), joined: None }
    }
}

impl Transport for LocalTransport {
    type Error = LocalError;

    async fn join(&mut self, member: &Member<'_>) -> Result<(), LocalError> {
        let directory = self.base.join(file_name(member.cluster));
        prepare_directory(&directory)?;
        let own = directory.join(file_name(member.id.as_str()));
        remove_stale(&own, member.id)?;
        let socket = UnixDatagram::bind(&own)
            .map_err(|error| LocalError::Bind { path: own.clone(), error })?;
        self.joined = Some(Joined { directory, own, socket });
        Ok(())
    }

    async fn receive(&mut self) -> Arrival {
        let Some(joined) = &self.joined else {
            return std::future::pending().await;
        };
        let mut buffer = [0; DATAGRAM_MAX];
        match joined.socket.recv(&mut buffer).await {
            Ok(length) => match read_datagram(buffer.get(..length).unwrap_or_default()) {
                Ok(message) => Arrival::Message(message),
                Err(error) => Arrival::malformed_from(joined.own.display(), error),
            },
            Err(error) => Arrival::malformed(error),
        }
    }

    async fn send(&mut self, outgoing: &Outgoing) -> Result<(), LocalError> {
        let joined = self.joined.as_ref().ok_or(LocalError::NotJoined)?;
        let mut buffer = [0; 1 + ENCODED_MAX];
        let [number, payload @ ..] = &mut buffer;
        *number = Kind::of(&outgoing.message).number();
        let length = 1 + encode(&outgoing.message, payload)?.len();
        let datagram = buffer.get(..length).unwrap_or_default();
        match &outgoing.to {
            Recipient::Everyone => joined.send_to_all(datagram),
            Recipient::Node(node) => {
                send_to(&joined.directory.join(file_name(node.as_str())), datagram)
            }
        }
    }

    async fn leave(&mut self) {
        self.joined = None;
    }
}

impl Joined {
    /// Sends to every other node, whatever goes wrong with one of them, and returns the first
    /// error.
    fn send_to_all(&self, datagram: &[u8]) -> Result<(), LocalError> {
        let read_error = |error| LocalError::Directory { path: self.directory.clone(), error };
        let mut outcome = Ok(());
        for entry in std::fs::read_dir(&self.directory).map_err(read_error)? {
            let path = entry.map_err(read_error)?.path();
            if path != self.own {
                outcome = outcome.and(send_to(&path, datagram));
            }
        }
        outcome
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        // If this fails, the next node that binds it removes it.
        let _ = std::fs::remove_file(&self.own);
    }
}

/// A node that is gone, or so slow that its queue is full, misses the message: as on a network.
fn send_to(path: &Path, datagram: &[u8]) -> Result<(), LocalError> {
    let Err(error) = send_from_new_socket(path, datagram) else {
        return Ok(());
    };
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused => {
            Ok(())
        }
        _ => Err(LocalError::Send { path: path.to_owned(), error }),
    }
}

/// What a stopped process leaves unread counts against the socket that sent it, and its full queue
/// makes tokio take that socket for unready. Each datagram has a socket of its own, so that this
/// costs the other nodes nothing.
fn send_from_new_socket(path: &Path, datagram: &[u8]) -> io::Result<usize> {
    let socket = BlockingDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to(datagram, path)
}

fn read_datagram(datagram: &[u8]) -> Result<graft_election_core::Message, DatagramError> {
    let (number, payload) = datagram.split_first().ok_or(DatagramError::Empty)?;
    let kind = Kind::from_number(*number).ok_or(DatagramError::UnknownKind(*number))?;
    Ok(decode(kind, payload)?)
}

#[derive(Debug, thiserror::Error)]
enum DatagramError {
    #[error("the datagram is empty")]
    Empty,
    #[error("{0} is not a kind of message")]
    UnknownKind(u8),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// A name as the name of a file: `/` is the only printable character that can't be in one, and `%`
/// escapes it.
fn file_name(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

fn prepare_directory(directory: &Path) -> Result<(), LocalError> {
    let error = |error| LocalError::Directory { path: directory.to_owned(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(error)?;
    let metadata = std::fs::metadata(directory).map_err(error)?;
    if is_private(&metadata) {
        Ok(())
    } else {
        Err(LocalError::NotPrivate {
            path: directory.to_owned(),
            mode: metadata.permissions().mode() & 0o7777,
        })
    }
}

fn is_private(metadata: &Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw()
        && metadata.permissions().mode() & 0o077 == 0
}

/// Removes the socket of a process that is gone; one that a process listens to is in use.
fn remove_stale(path: &Path, id: &NodeId) -> Result<(), LocalError> {
    if std::fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    let bind_error = |error| LocalError::Bind { path: path.to_owned(), error };
    let probe = BlockingDatagram::unbound().map_err(bind_error)?;
    match probe.connect(path) {
        Ok(()) => Err(LocalError::InUse { id: id.clone(), path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(bind_error)
        }
        Err(error) => Err(bind_error(error)),
    }
}

/// What can go wrong with the local transport.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The cluster's directory can't be created or read.
    #[error("the directory {path} can't be used")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        error: io::Error,
    },
    /// The cluster's directory belongs to another user, or other users may use it.
    #[error("{path} must belong to the node's user, with mode 0700, not {mode:04o}")]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The node's socket can't be created.
    #[error("the socket {path} can't be created")]
    Bind {
        /// The socket.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        error: io::Error,
    },
    /// A running node has the same id.
    #[error(
        "another running process has the id {id}, and uses {path}; stop it, or give this one an id \
         of its own"
    )]
    InUse {
        /// The id.
        id: NodeId,
        /// The other node's socket.
        path: PathBuf,
    },
    /// The transport has not joined a cluster, or has left it.
    #[error("the transport has not joined a cluster")]
    NotJoined,
    /// A message was not sent.
    #[error("could not send to {path}")]
    Send {
        /// The receiver's socket.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        error: io::Error,
    },
    /// The message could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}
