//! A voter played by the test, which speaks as a Go node does: it says neither who answers nor how
//! many voters there are, and asks for no promise.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use graft_election::NodeId;
use graft_election::core::{Heartbeat, LeaderValue, Message, Position, VoteRequest, VoteResponse};
use graft_election::proto::{ENCODED_MAX, Kind, decode, encode};

const PATIENCE: Duration = Duration::from_secs(30);

/// A voter of cluster `c` over the local transport.
pub(crate) struct Peer {
    id: NodeId,
    directory: PathBuf,
    socket: UnixDatagram,
}

impl Peer {
    /// Joins the cluster under `base`, before any node has.
    pub(crate) fn join(base: &Path, id: &str) -> Self {
        let directory = base.join("c");
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).unwrap();
        let socket = UnixDatagram::bind(directory.join(id)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { id: NodeId::new(id).unwrap(), directory, socket }
    }

    /// The next message from anyone that `takes` anything from.
    #[track_caller]
    pub(crate) fn hear<T>(&self, takes: impl Fn(Message) -> Option<T>) -> T {
        loop {
            let mut datagram = [0; 2 * ENCODED_MAX];
            let length = self.socket.recv(&mut datagram).unwrap();
            let kind = Kind::from_number(datagram[0]).unwrap();
            if let Some(taken) = takes(decode(kind, &datagram[1..length]).unwrap()) {
                return taken;
            }
        }
    }

    /// Forgets what waits to be heard: a full queue would lose the answer.
    fn make_room(&self) {
        self.socket.set_nonblocking(true).unwrap();
        while self.socket.recv(&mut []).is_ok() {}
        self.socket.set_nonblocking(false).unwrap();
    }

    fn say(&self, to: &str, message: &Message) {
        let mut buffer = [0; ENCODED_MAX];
        let payload = encode(message, &mut buffer).unwrap();
        let datagram = [&[Kind::of(message).number()], payload].concat();
        self.socket.send_to(&datagram, self.directory.join(to)).unwrap();
    }

    /// Waits for a node to campaign, and votes for it. The term it then leads in.
    #[track_caller]
    pub(crate) fn elect(&self, candidate: &str) -> u64 {
        let term = self.hear(|message| match message {
            Message::VoteRequest(request) => Some(request.term),
            _ => None,
        });
        let response = VoteResponse {
            term,
            granted: true,
            voter: None,
            round: None,
            list: None,
            life: None,
            wanted: None,
        };
        self.say(candidate, &Message::VoteResponse(response));
        term
    }

    /// Asks a node for its vote. What it answers.
    #[track_caller]
    pub(crate) fn ask_for_vote(&self, voter: &str, term: u64) -> VoteResponse {
        let request = VoteRequest {
            term,
            candidate: self.id.clone(),
            position: Position::EMPTY,
            handover_from: None,
            size: None,
            round: None,
            list: None,
        };
        self.make_room();
        self.say(voter, &Message::VoteRequest(request));
        self.hear(|message| match message {
            Message::VoteResponse(response) => Some(response),
            _ => None,
        })
    }

    /// Tells a node that this one leads.
    pub(crate) fn lead(&self, follower: &str, term: u64) {
        let heartbeat = Heartbeat {
            term,
            leader: self.id.clone(),
            sent_at: None,
            size: None,
            round: None,
            list: None,
            value: LeaderValue::EMPTY,
        };
        self.say(follower, &Message::Heartbeat(heartbeat));
    }
}
