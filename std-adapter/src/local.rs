//! The cluster as processes of one machine.

mod ear;
mod outbox;
mod place;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use graft_election_core::{
    Config, ControlRequest, Message, NodeId, NodeIdError, Outgoing, Recipient,
};
use graft_election_proto::seal::{SEALED_MAX, SealError};
use graft_election_proto::{DecodeError, Kind, decode};
use tokio::net::UnixDatagram;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use self::ear::Ear;
use self::outbox::{Outbox, send_from_new_socket};
use self::place::Place;
use crate::codec::Codec;
use crate::transport::{Arrival, Ask, Connection, Listen, Member, Transport};

/// The most bytes of a datagram that are read: more than any message has.
const DATAGRAM_MAX: usize = 2 * SEALED_MAX;

/// The most bytes that are ever sent.
const DATAGRAM_SIZE: usize = 1 + SEALED_MAX;

/// How a datagram begins that is a listener's copy of what is for one node. No kind has this
/// number.
const COPY_MARK: u8 = 0;

/// How many arrivals wait for the node at most. More wait in the kernel, which has room for about
/// ten, or with their senders.
const INBOX_MAX: usize = 256;

/// How often the node looks whether its socket is still there: within a heartbeat.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// How often a node that starts looks whether another one that starts is done.
const START_INTERVAL: Duration = Duration::from_millis(5);

/// How many times it does.
const START_ATTEMPTS: usize = 400;

/// The cluster as processes of one machine, without a server: each node is a Unix datagram socket,
/// all in one directory. A datagram is the number of its [`Kind`] and the message. Copies for those
/// who only listen name the node that a message is for, if it is for one: a zero byte, the kind,
/// the length of the id, the id and the message.
///
/// The directory is private to its owner (mode 0700): anyone who can write to it can vote. A socket
/// that is removed under its node is noticed, and bound anew.
#[derive(Debug)]
pub struct LocalTransport {
    base: PathBuf,
    joined: Option<Joined>,
    ear: Option<Ear>,
}

#[derive(Debug)]
struct Joined {
    place: Place,
    socket: UnixDatagram,
    inbox: VecDeque<Arrival>,
    outbox: Outbox,
    codec: Codec,
    check: Interval,
    /// Whether the socket is gone and can't be bound anew, so that nobody can speak to the node.
    is_deaf: bool,
}

impl LocalTransport {
    /// The clusters that have been here, whether or not a node of them runs.
    ///
    /// # Errors
    ///
    /// [`LocalError::Directory`] if the directory can't be read.
    pub fn clusters(&self) -> Result<BTreeSet<String>, LocalError> {
        let error = |error| LocalError::Directory { path: self.base.clone(), error };
        let mut clusters = BTreeSet::new();
        for entry in std::fs::read_dir(&self.base).map_err(error)? {
            let entry = entry.map_err(error)?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let named = entry.file_name().to_str().map(name_of_file);
                clusters.extend(named.filter(|name| Config::check_cluster(name).is_ok()));
            }
        }
        Ok(clusters)
    }

    /// The nodes of a cluster that run, whether or not they say anything. One that is stopped does
    /// run.
    ///
    /// # Errors
    ///
    /// [`LocalError::Directory`] if the cluster's directory can't be read.
    pub fn nodes(&self, cluster: &str) -> Result<BTreeSet<NodeId>, LocalError> {
        let path = self.base.join(file_name(cluster));
        let error = |error| LocalError::Directory { path: path.clone(), error };
        let mut nodes = BTreeSet::new();
        for entry in std::fs::read_dir(&path).map_err(error)? {
            let entry = entry.map_err(error)?;
            let id = entry.file_name().to_str().map(name_of_file).and_then(|id| id.parse().ok());
            nodes.extend(id.filter(|_| is_listened_to(&entry.path())));
        }
        Ok(nodes)
    }

    /// A transport for the clusters whose directories are in `base`.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self { base: base.into(), joined: None, ear: None }
    }
}

impl Transport for LocalTransport {
    type Error = LocalError;

    async fn join(&mut self, member: &Member<'_>) -> Result<(), LocalError> {
        let directory = self.base.join(file_name(member.cluster));
        let own = directory.join(file_name(member.id.as_str()));
        let mut place = Place::new(directory, own, member.id.clone());
        let mut attempts = 0;
        let socket = loop {
            match place.bind() {
                Err(LocalError::Busy { .. }) if attempts < START_ATTEMPTS => attempts += 1,
                bound => break bound?,
            }
            sleep(START_INTERVAL).await;
        };
        let mut check = interval(CHECK_INTERVAL);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (inbox, outbox) = (VecDeque::new(), Outbox::default());
        let codec = member.codec.clone();
        self.joined = Some(Joined { place, socket, inbox, outbox, codec, check, is_deaf: false });
        Ok(())
    }

    /// The id is the name of the node's socket, and whoever starts keeps the directory locked.
    fn has_id_to_itself(&self) -> bool {
        self.joined.is_some()
    }

    async fn receive(&mut self) -> Arrival {
        match &mut self.joined {
            Some(joined) => joined.receive().await,
            None => std::future::pending().await,
        }
    }

    async fn send(&mut self, outgoing: &Outgoing) -> Result<(), LocalError> {
        let joined = self.joined.as_ref().ok_or(LocalError::NotJoined)?;
        let mut buffer = [0; DATAGRAM_SIZE];
        let datagram = datagram_of(&joined.codec, outgoing, &mut buffer)?;
        match &outgoing.to {
            Recipient::Everyone => joined.send_to_all(datagram),
            Recipient::Node(node) => joined.send_to_one(node, datagram),
        }
    }

    async fn leave(&mut self) {
        self.joined = None;
    }
}

impl Listen for LocalTransport {
    type Error = LocalError;

    async fn listen(&mut self, cluster: &str, codec: &Codec) -> Result<(), LocalError> {
        self.ear = Some(Ear::open(&self.base.join(file_name(cluster)), codec)?);
        Ok(())
    }

    async fn hear(&mut self) -> Arrival {
        match &self.ear {
            Some(ear) => ear.hear().await,
            None => std::future::pending().await,
        }
    }
}

impl Ask for LocalTransport {
    async fn ask(&mut self, request: &ControlRequest) -> Result<(), LocalError> {
        let ear = self.ear.as_ref().ok_or(LocalError::NotJoined)?;
        let mut buffer = [0; DATAGRAM_SIZE];
        let message = Message::ControlRequest(request.clone());
        let outgoing = Outgoing { to: Recipient::Everyone, message };
        let datagram = datagram_of(ear.codec(), &outgoing, &mut buffer)?;
        let path = ear.directory().join(file_name(request.node.as_str()));
        match send_from_new_socket(&path, datagram) {
            // Whoever asks repeats it.
            Err(error) if is_gone(&error) || error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(LocalError::Send { path, error }),
            Ok(_) => Ok(()),
        }
    }
}

/// A message, and before it the byte that says of which kind it is.
fn datagram_of<'b>(
    codec: &Codec,
    outgoing: &Outgoing,
    buffer: &'b mut [u8; DATAGRAM_SIZE],
) -> Result<&'b [u8], SealError> {
    let [number, payload @ ..] = buffer;
    *number = Kind::of(&outgoing.message).number();
    let length = 1 + codec.encode(outgoing, payload)?.len();
    Ok(buffer.get(..length).unwrap_or_default())
}

impl Joined {
    /// Waits for the next arrival. Cancel-safe.
    async fn receive(&mut self) -> Arrival {
        loop {
            self.empty_socket();
            if let Some(arrival) = self.inbox.pop_front() {
                return arrival;
            }
            tokio::select! {
                biased;
                readable = self.socket.readable() => {
                    if let Err(error) = readable {
                        return Arrival::malformed(error);
                    }
                }
                _ = self.check.tick() => {
                    if let Some(change) = self.check_socket().or_else(|| self.outbox.report()) {
                        return Arrival::Connection(change);
                    }
                }
            }
        }
    }

    /// Takes in all that has arrived, so that the kernel has room for more.
    fn empty_socket(&mut self) {
        let mut buffer = [0; DATAGRAM_MAX];
        while self.inbox.len() < INBOX_MAX {
            match self.socket.try_recv(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                received => {
                    let (reader, path) = (self.reader(), self.place.path());
                    self.inbox.push_back(arrival_of(&reader, received, &buffer, path));
                }
            }
        }
    }

    /// Binds the socket anew if it is gone.
    fn check_socket(&mut self) -> Option<Connection> {
        if self.place.is_own() {
            return None;
        }
        let bound = match self.place.bind() {
            // Another node starts: the next look is soon enough.
            Err(LocalError::Busy { .. }) => return None,
            bound => bound,
        };
        let was_deaf = std::mem::replace(&mut self.is_deaf, bound.is_err());
        match bound {
            Ok(socket) => {
                self.socket = socket;
                let path = self.place.path().display();
                Some(match was_deaf {
                    true => Connection::Restored,
                    false => Connection::Impaired(format!("{path} was gone, and is bound anew")),
                })
            }
            Err(_) if was_deaf => None,
            Err(error) => Some(Connection::Partial(crate::ErrorChain(&error).to_string())),
        }
    }

    /// Sends to every other node and to all who listen, whatever goes wrong with one of them, and
    /// returns the first error.
    fn send_to_all(&self, datagram: &[u8]) -> Result<(), LocalError> {
        self.send_where(|path| path != self.place.path(), datagram)
    }

    /// Sends to one node, and a copy that names it to all who listen.
    fn send_to_one(&self, node: &NodeId, datagram: &[u8]) -> Result<(), LocalError> {
        let name = file_name(node.as_str());
        let sent = self.send_to(&self.place.directory().join(name), datagram);
        let (kind, payload) = datagram.split_at_checked(1).unwrap_or_default();
        let id = node.as_bytes();
        // An id has at most 64 bytes.
        let copy = [&[COPY_MARK], kind, &[id.len() as u8], id, payload].concat();
        sent.and(self.send_where(Ear::is_at, &copy))
    }

    fn reader(&self) -> DatagramReader<'_> {
        DatagramReader { codec: &self.codec, reader: Some(self.place.id()) }
    }

    fn send_where(
        &self,
        is_meant: impl Fn(&Path) -> bool,
        datagram: &[u8],
    ) -> Result<(), LocalError> {
        let directory = self.place.directory();
        let read_error = |error| LocalError::Directory { path: directory.to_owned(), error };
        let mut outcome = Ok(());
        for entry in std::fs::read_dir(directory).map_err(read_error)? {
            let path = entry.map_err(read_error)?.path();
            if is_meant(&path) {
                outcome = outcome.and(self.send_to(&path, datagram));
            }
        }
        outcome
    }

    /// A node that is gone misses the message, as on a network, and so does a listener who doesn't
    /// read.
    fn send_to(&self, path: &Path, datagram: &[u8]) -> Result<(), LocalError> {
        if Ear::is_at(path) {
            let _ = send_from_new_socket(path, datagram);
            return Ok(());
        }
        match self.outbox.send(path, datagram) {
            Ok(()) => Ok(()),
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(LocalError::Send { path: path.to_owned(), error }),
        }
    }
}

/// Whether nobody listens to a socket, or there is none.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Whether a node's socket is at this path, and a process has it open.
fn is_listened_to(path: &Path) -> bool {
    let probe = std::os::unix::net::UnixDatagram::unbound();
    !Ear::is_at(path) && probe.and_then(|probe| probe.connect(path)).is_ok()
}

/// What was received into `buffer` from the socket at `path`.
fn arrival_of(
    reader: &DatagramReader<'_>,
    received: io::Result<usize>,
    buffer: &[u8],
    path: &Path,
) -> Arrival {
    match received {
        Ok(length) => reader
            .read(buffer.get(..length).unwrap_or_default())
            .unwrap_or_else(|error| Arrival::malformed_from(path.display(), error)),
        Err(error) => Arrival::malformed(error),
    }
}

/// Reads the datagrams that come to a socket.
struct DatagramReader<'r> {
    codec: &'r Codec,
    /// The node that reads; none if somebody only listens.
    reader: Option<&'r NodeId>,
}

impl DatagramReader<'_> {
    fn read(&self, datagram: &[u8]) -> Result<Arrival, DatagramError> {
        let (number, payload) = datagram.split_first().ok_or(DatagramError::Empty)?;
        if *number == COPY_MARK && self.reader.is_none() {
            return self.read_copy(payload);
        }
        let kind = Kind::from_number(*number).ok_or(DatagramError::UnknownKind(*number))?;
        let to = match self.reader {
            Some(node) if !kind.is_for_everyone() => Recipient::Node(node.clone()),
            _ => Recipient::Everyone,
        };
        Ok(self.codec.open(decode(kind, payload)?, &to, payload))
    }

    /// Reads a copy of what is for one node, after its first byte.
    fn read_copy(&self, copy: &[u8]) -> Result<Arrival, DatagramError> {
        let [number, length, rest @ ..] = copy else { return Err(DatagramError::Empty) };
        let kind = Kind::from_number(*number).ok_or(DatagramError::UnknownKind(*number))?;
        let (id, payload) =
            rest.split_at_checked(usize::from(*length)).ok_or(DatagramError::Empty)?;
        let to = Recipient::Node(NodeId::from_bytes(id)?);
        Ok(self.codec.open(decode(kind, payload)?, &to, payload))
    }
}

#[derive(Debug, thiserror::Error)]
enum DatagramError {
    #[error("the datagram is empty")]
    Empty,
    #[error("{0} is not a kind of message")]
    UnknownKind(u8),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("it is the copy of a message for no node id")]
    Receiver(#[from] NodeIdError),
}

/// A name as the name of a file: `/` is the only printable character that can't be in one, and `%`
/// escapes it.
fn file_name(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

/// The name of which this is the file's.
fn name_of_file(name: &str) -> String {
    name.replace("%2F", "/").replace("%25", "%")
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
    /// The cluster's directory belongs to another user.
    #[error("{path} belongs to user {user}, and not to user {own_user}, who runs this node")]
    NotOwned {
        /// The directory.
        path: PathBuf,
        /// The number of the user to whom it belongs.
        user: u32,
        /// The number of the node's user.
        own_user: u32,
    },
    /// Other users may use the cluster's directory.
    #[error("{path} must belong to the node's user, with mode 0700, not {mode:04o}")]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The path of the node's socket is longer than that of a socket may be.
    #[error(
        "the path of the socket {path} has {} bytes, more than that of a socket may have: take a \
         shorter directory or id",
        path.as_os_str().len()
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
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
    /// There is something else where the node's socket would be. It stays.
    #[error("{path} is no socket of a node: it is in the way, and is not removed")]
    NotASocket {
        /// What is in the way.
        path: PathBuf,
    },
    /// Other nodes that start keep the directory to themselves.
    #[error("other nodes that start keep {path} locked")]
    Busy {
        /// The directory.
        path: PathBuf,
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
    /// The message could not be encoded or sealed.
    #[error(transparent)]
    Encode(#[from] SealError),
}
