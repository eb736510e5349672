//! `graft bridge` between a serial line, on a socket, and a real nats-server.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use graft_election::NodeId;
use graft_election::core::{Life, Message, Outgoing, Recipient, VoteRequest, VoteResponse};
use graft_election::proto::frame::{ClusterTag, FRAME_MAX, FrameReader, encode_frame};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::socket_peercred;

use crate::nats_server::NatsServer;
use crate::process::{Line, Program, graft, parent_of, text};

/// Longer than anything takes, on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A voter that the test plays, alone on a line with the bridge.
struct Voter<'l> {
    line: &'l UnixListener,
    stream: UnixStream,
    frames: FrameReader,
}

impl<'l> Voter<'l> {
    /// Waits for a bridge to open the line.
    #[track_caller]
    fn accept(line: &'l UnixListener) -> Self {
        let mut opened = [PollFd::new(line, PollFlags::IN)];
        let opened = poll(&mut opened, Some(&PATIENCE.try_into().unwrap()));
        assert_eq!(opened, Ok(1), "no bridge opens the line");
        let (stream, _) = line.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { line, stream, frames: FrameReader::new(ClusterTag::of("c")) }
    }

    /// The next message that `takes` anything from, with who sent it. The bridge may be replaced
    /// meanwhile.
    #[track_caller]
    fn hear<T>(&mut self, takes: impl Fn(&NodeId, &Message) -> Option<T>) -> T {
        loop {
            let mut byte = [0];
            if self.stream.read(&mut byte).unwrap() == 0 {
                *self = Self::accept(self.line);
            } else if let Some(frame) = self.frames.read_any(&mut &byte[..])
                && let Some(taken) = takes(&frame.sender, &frame.message)
            {
                return taken;
            }
        }
    }

    /// The program that runs the bridge which is on the line now: its watchdog started the bridge.
    fn bridge_owner(&self) -> u32 {
        let bridge = socket_peercred(&self.stream).unwrap().pid.as_raw_nonzero().get();
        let bridge = u32::try_from(bridge).unwrap();
        parent_of(parent_of(bridge))
    }

    fn vote_for(&mut self, request: VoteRequest) {
        let VoteRequest { term, candidate, round, .. } = request;
        let voter = NodeId::new("voter").unwrap();
        let response = VoteResponse {
            term,
            granted: true,
            voter: Some(voter.clone()),
            round,
            list: None,
            life: Life::new(1),
            wanted: None,
        };
        let to = Recipient::Node(candidate);
        let outgoing = Outgoing { to, message: Message::VoteResponse(response) };
        let mut buffer = [0; FRAME_MAX];
        self.stream
            .write_all(encode_frame(ClusterTag::of("c"), &voter, &outgoing, &mut buffer).unwrap())
            .unwrap();
    }
}

/// The arguments of a bridge between the line at `line` and the server at `url`.
fn arguments(url: &str) -> [&str; 8] {
    ["bridge", "--json", "--cluster", "c", "--serial", "unix:line", "--nats", url]
}

fn start(directory: &Path, server: &NatsServer) -> Program {
    Program::start(directory, &arguments(&server.url()))
}

/// Node `n` of cluster `c`, which needs one vote more than its own.
fn start_node(directory: &Path, server: &NatsServer) -> Program {
    let url = server.url();
    let cluster = ["run", "--json", "--cluster", "c", "--size", "2", "--mode", "graft"];
    let node = ["--id", "n", "--vote-file", "n.vote", "--nats", &url];
    Program::start(directory, &[&cluster[..], &node].concat())
}

/// Votes for node `n` until it leads in a term above `term`. Which that is, and how many votes it
/// took.
fn elect(voter: &mut Voter<'_>, term: u64) -> (u64, u64) {
    let mut votes = 0;
    loop {
        match voter.hear(|_, message| Some(message.clone())) {
            Message::VoteRequest(request) => {
                voter.vote_for(request);
                votes += 1;
            }
            Message::Heartbeat(heartbeat) if heartbeat.term > term => {
                assert_eq!(heartbeat.leader.as_str(), "n");
                return (heartbeat.term, votes);
            }
            _ => {}
        }
    }
}

/// Who leads, and in which term, if the message says so.
fn leader(_: &NodeId, message: &Message) -> Option<(String, u64)> {
    match message {
        Message::Heartbeat(heartbeat) => Some((heartbeat.leader.to_string(), heartbeat.term)),
        _ => None,
    }
}

fn count(line: &Line, direction: &str, fate: &str) -> u64 {
    match line {
        Line::Event(object) => object["counts"][direction][fate].as_u64().unwrap(),
        Line::Command(_) | Line::Words(_) => panic!("not an event: {line:?}"),
    }
}

#[test]
fn a_node_on_nats_is_elected_with_a_vote_from_the_line_and_the_bridge_ends_when_told() {
    let (server, directory) = (NatsServer::start(), tempfile::tempdir().unwrap());
    let line = UnixListener::bind(directory.path().join("line")).unwrap();
    let mut bridge = start(directory.path(), &server);
    bridge.wait_for_start();
    let mut voter = Voter::accept(&line);

    let mut node = start_node(directory.path(), &server);
    let (term, votes) = elect(&mut voter, 0);
    node.wait_for(|line| line.is("leader", &[("leader", "n")]) && line.term() == term);
    assert_eq!(voter.hear(leader), ("n".to_owned(), term));

    // Neither of these can be carried, and the counts at the end say so.
    voter.stream.write_all(b"\0noise\0half a frame\0").unwrap();
    node.terminate();
    assert!(node.wait().success());
    bridge.terminate();
    let closed = bridge.wait_for(|line| line.is("closed", &[]));
    assert!(bridge.wait().success());
    assert_eq!(count(&closed, "to_nats", "carried"), votes, "{closed:?}");
    assert_eq!(count(&closed, "to_nats", "malformed"), 2, "{closed:?}");
    assert!(count(&closed, "to_line", "carried") >= 2, "{closed:?}");
}

#[test]
fn a_bridge_reports_a_side_that_is_lost_and_comes_back() {
    let (server, directory) = (NatsServer::start(), tempfile::tempdir().unwrap());
    let line = UnixListener::bind(directory.path().join("line")).unwrap();
    let mut bridge = start(directory.path(), &server);
    bridge.wait_for_start();
    drop(Voter::accept(&line));
    let lost = bridge.wait_for(|line| line.is("conn", &[("side", "line")]));
    assert_eq!(lost.str("error"), "connection lost: the line was closed");
    let _voter = Voter::accept(&line);
    let restored = bridge.wait_for(|line| line.is("conn", &[("side", "line")]));
    assert_eq!(restored.str("to"), "restored");

    let stopped = server.stop();
    bridge.wait_for(|line| line.is("conn", &[("side", "nats")]));
    let _server = stopped.restart();
    bridge.wait_for(|line| line.is("conn", &[("side", "nats")]));
    bridge.terminate();
    assert!(bridge.wait().success());
}

/// A server whose file permits this; the file is written again by the next call.
fn permit(config: &Path, permissions: &str) {
    let anyone = "authorization { users: [{ user: u, password: p }] }, no_auth_user: u";
    let users =
        anyone.replace("password: p", &format!("password: p, permissions: {{ {permissions} }}"));
    fs::write(config, users).unwrap();
}

#[test]
fn what_the_server_refuses_a_bridge_later_is_reported_and_tried_again() {
    for denied in ["graft.c.*.*", "graft.c.*.*.voter"] {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("server.conf");
        permit(&config, "publish: \">\"");
        let server = NatsServer::start_with(&config);
        let line = UnixListener::bind(directory.path().join("line")).unwrap();
        let mut bridge = start(directory.path(), &server);
        bridge.wait_for_start();
        let mut voter = Voter::accept(&line);
        let mut node = start_node(directory.path(), &server);
        let (term, _) = elect(&mut voter, 0);
        node.terminate();
        assert!(node.wait().success());

        permit(&config, &format!("subscribe: {{ deny: \"{denied}\" }}"));
        server.reload();
        let told = bridge.wait_for(|line| line.is("conn", &[("side", "nats")]));
        let complaint = "connection works only in part: Permissions Violation for Subscription to";
        assert!(told.str("error").starts_with(complaint), "{told:?}");

        permit(&config, "publish: \">\"");
        server.reload();
        bridge.wait_for(|line| line.is("conn", &[("side", "nats"), ("to", "restored")]));
        let _node = start_node(directory.path(), &server);
        elect(&mut voter, term);
        bridge.terminate();
        assert!(bridge.wait().success());
    }
}

/// Two machines that have the line at `line` and may run a bridge, and a witness that makes a
/// majority of them when one is gone.
fn start_voters(directory: &Path, server: &NatsServer) -> [Program; 3] {
    let url = server.url();
    let bridge =
        [&["--", env!("CARGO_BIN_EXE_graft")], &arguments(&url)[..], &["--exit-on-line-loss"]];
    let (bridge, witness) = (bridge.concat(), ["--witness"]);
    [("a", &bridge[..]), ("b", &bridge), ("w", &witness)].map(|(id, rest)| {
        let vote_file = format!("{id}.vote");
        let cluster = ["run", "--json", "--cluster", "bridges", "--size", "3", "--nats", &url];
        let node = ["--id", id, "--vote-file", &vote_file];
        let mut program = Program::start(directory, &[&cluster[..], &node, rest].concat());
        program.wait_for_start();
        program
    })
}

/// Spare bridges are COMMANDs: the election that the program is for chooses which of them runs.
#[test]
fn a_spare_bridge_takes_over_from_one_that_dies_or_loses_its_line() {
    for dies in [true, false] {
        let (server, directory) = (NatsServer::start(), tempfile::tempdir().unwrap());
        let line = UnixListener::bind(directory.path().join("line")).unwrap();
        let [mut a, mut b, _witness] = start_voters(directory.path(), &server);
        let mut voter = Voter::accept(&line);
        // This node needs a vote from the line.
        let mut node = start_node(directory.path(), &server);
        let (first_term, _) = elect(&mut voter, 0);

        let is_a = voter.bridge_owner() == a.pid();
        let (first, second) = if is_a { (&mut a, &mut b) } else { (&mut b, &mut a) };
        assert_eq!(voter.bridge_owner(), first.pid());
        if dies {
            first.kill();
            // The first bridge leaves the line before the second one is there.
            voter.stream.read_to_end(&mut Vec::new()).unwrap();
        } else {
            drop(voter);
        }
        let mut voter = Voter::accept(&line);
        assert_eq!(voter.bridge_owner(), second.pid());
        assert!(!first.wait().success());
        assert_eq!(voter.hear(leader), ("n".to_owned(), first_term));
        node.kill();
        let _node = start_node(directory.path(), &server);
        elect(&mut voter, first_term);
        second.terminate();
        assert!(second.wait().success());
    }
}

#[test]
fn wrong_arguments_are_refused_with_a_reason() {
    let (server, directory) = (NatsServer::start(), tempfile::tempdir().unwrap());
    let _line = UnixListener::bind(directory.path().join("line")).unwrap();
    let url = server.url();
    let valid = ["bridge", "--cluster", "c", "--serial", "unix:line", "--nats", &url];
    for (index, value, code, reason) in [
        (2, "a b", 64, "the cluster name must be"),
        (4, "/dev/ttyUSB0", 64, "a line is DEVICE@BAUD, unix:PATH or tcp:HOST:PORT"),
        (4, "/dev/ttyUSB0@fast", 64, "\"fast\" is not a baud rate"),
        (4, "tcp:4000", 64, "tcp: must be followed by HOST:PORT"),
        (
            4,
            "unix:nonesuch",
            69,
            "graft: could not start the bridge: could not open unix:nonesuch: ",
        ),
        (
            6,
            "nats://127.0.0.1:1",
            69,
            "graft: could not start the bridge: could not connect to nats://127.0.0.1:1: ",
        ),
    ] {
        let mut arguments = valid;
        arguments[index] = value;
        let output = graft(directory.path(), &arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(text(&output.stderr).contains(reason), "{output:?}");
        assert_eq!(text(&output.stdout), "");
    }
    for (option, value) in [
        ("--nats-rate", "0"),
        ("--serial-rate", "0"),
        ("--nats-rate", "many"),
        ("--line-name", "a.b"),
    ] {
        let output = graft(directory.path(), &[&valid[..], &[option, value]].concat());
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        assert!(text(&output.stderr).contains(option), "{output:?}");
    }
}
