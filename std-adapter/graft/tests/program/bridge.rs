//! `graft bridge` between a serial line, on a socket, and a real nats-server.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use graft_election::NodeId;
use graft_election::core::{Message, Outgoing, Recipient, VoteResponse};
use graft_election::proto::frame::{FRAME_MAX, FrameReader, encode_frame};

use crate::nats_server::NatsServer;
use crate::process::{Line, Program, graft, text};

/// Longer than anything takes, on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A voter that the test plays, alone on a line with the bridge.
struct Voter {
    stream: UnixStream,
    frames: FrameReader,
}

impl Voter {
    /// Waits for the bridge to open the line.
    fn accept(line: &UnixListener) -> Self {
        let (stream, _) = line.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, frames: FrameReader::new() }
    }

    /// The next message that `takes` anything from, with who sent it.
    #[track_caller]
    fn hear<T>(&mut self, takes: impl Fn(&NodeId, &Message) -> Option<T>) -> T {
        loop {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            if let Some(frame) = self.frames.read_any(&mut &byte[..])
                && let Some(taken) = takes(&frame.sender, &frame.message)
            {
                return taken;
            }
        }
    }

    fn vote_for(&mut self, candidate: NodeId, term: u64) {
        let voter = NodeId::new("voter").unwrap();
        let response = VoteResponse { term, granted: true, voter: Some(voter.clone()) };
        let to = Recipient::Node(candidate);
        let outgoing = Outgoing { to, message: Message::VoteResponse(response) };
        let mut buffer = [0; FRAME_MAX];
        self.stream.write_all(encode_frame(&voter, &outgoing, &mut buffer).unwrap()).unwrap();
    }
}

fn start(directory: &Path, server: &NatsServer) -> Program {
    let (url, link) = (server.url(), "unix:line");
    let bridge = ["bridge", "--json", "--cluster", "c", "--link", link, "--nats", &url];
    Program::start(directory, &bridge)
}

fn count(line: &Line, direction: &str, fate: &str) -> u64 {
    match line {
        Line::Event(object) => object["counts"][direction][fate].as_u64().unwrap(),
        Line::Command(_) => panic!("not an event: {line:?}"),
    }
}

#[test]
fn a_node_on_nats_is_elected_with_a_vote_from_the_line_and_the_bridge_ends_when_told() {
    let (server, directory) = (NatsServer::start(), tempfile::tempdir().unwrap());
    let line = UnixListener::bind(directory.path().join("line")).unwrap();
    let mut bridge = start(directory.path(), &server);
    bridge.wait_for_start();
    let mut voter = Voter::accept(&line);

    let url = server.url();
    let cluster = ["run", "--json", "--cluster", "c", "--size", "2", "--mode", "graft"];
    let node = ["--id", "n", "--log", "n.vote", "--nats", &url];
    let mut node = Program::start(directory.path(), &[&cluster[..], &node].concat());
    let (candidate, term) = voter.hear(|sender, message| match message {
        Message::VoteRequest(request) => Some((sender.clone(), request.term)),
        _ => None,
    });
    assert_eq!(candidate.as_str(), "n");
    voter.vote_for(candidate, term);
    assert_eq!(node.wait_for_leader().term(), term);
    let led = |_: &NodeId, message: &Message| match message {
        Message::Heartbeat(heartbeat) => Some((heartbeat.leader.to_string(), heartbeat.term)),
        _ => None,
    };
    assert_eq!(voter.hear(led), ("n".to_owned(), term));

    // Neither of these can be carried, and that is told at the end.
    voter.stream.write_all(b"\0noise\0half a frame\0").unwrap();
    node.terminate();
    assert!(node.wait().success());
    bridge.terminate();
    let closed = bridge.wait_for(|line| line.is("closed", &[]));
    assert!(bridge.wait().success());
    assert_eq!(count(&closed, "to_nats", "carried"), 1, "{closed:?}");
    assert_eq!(count(&closed, "to_nats", "malformed"), 2, "{closed:?}");
    assert!(count(&closed, "to_line", "carried") >= 2, "{closed:?}");
}

#[test]
fn a_bridge_tells_of_a_side_that_is_lost_and_comes_back() {
    let (server, directory) = (NatsServer::start(), tempfile::tempdir().unwrap());
    let line = UnixListener::bind(directory.path().join("line")).unwrap();
    let mut bridge = start(directory.path(), &server);
    bridge.wait_for_start();
    drop(Voter::accept(&line));
    bridge.wait_for(|line| line.is("conn", &[("side", "line")]));
    let _voter = Voter::accept(&line);
    bridge.wait_for(|line| line.is("conn", &[("side", "line")]));

    let stopped = server.stop();
    bridge.wait_for(|line| line.is("conn", &[("side", "nats")]));
    let _server = stopped.restart();
    bridge.wait_for(|line| line.is("conn", &[("side", "nats")]));
    bridge.terminate();
    assert!(bridge.wait().success());
}

#[test]
fn one_of_two_bridges_says_that_it_stands_by() {
    let (server, directory) = (NatsServer::start(), tempfile::tempdir().unwrap());
    let line = UnixListener::bind(directory.path().join("line")).unwrap();
    let mut bridges = [(); 2].map(|()| start(directory.path(), &server));
    let (one, other) = (Voter::accept(&line), Voter::accept(&line));
    for (from, to) in [(&one, &other), (&other, &one)] {
        let (mut from, mut to) = (from.stream.try_clone().unwrap(), to.stream.try_clone().unwrap());
        // What the one says the other hears, until both are gone.
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    }
    // Ids are random: the lower of them carries.
    let ids = bridges.each_mut().map(|bridge| bridge.wait_for_start().str("id").to_owned());
    let (carrier, idle) = if ids[0] < ids[1] { (0, 1) } else { (1, 0) };
    bridges[idle].wait_for(|line| line.is("standby", &[("carrier", &ids[carrier])]));
    bridges[carrier].terminate();
    assert!(bridges[carrier].wait().success());
    bridges[idle].wait_for(|line| line.is("standby", &[("carrier", "")]));
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    let (server, directory) = (NatsServer::start(), tempfile::tempdir().unwrap());
    let _line = UnixListener::bind(directory.path().join("line")).unwrap();
    let url = server.url();
    let usual = ["bridge", "--cluster", "c", "--link", "unix:line", "--nats", &url];
    for (place, value, code, reason) in [
        (2, "a b", 1, "graft: could not start the bridge: the cluster name must be"),
        (4, "/dev/ttyUSB0", 2, "a line is DEVICE@BAUD, unix:PATH or tcp:HOST:PORT"),
        (4, "/dev/ttyUSB0@fast", 2, "\"fast\" is not a baud rate"),
        (4, "tcp:4000", 2, "tcp: is followed by HOST:PORT"),
        (
            4,
            "unix:nonesuch",
            1,
            "graft: could not start the bridge: could not open unix:nonesuch: ",
        ),
        (
            6,
            "nats://127.0.0.1:1",
            1,
            "graft: could not start the bridge: could not connect to NATS",
        ),
    ] {
        let mut arguments = usual;
        arguments[place] = value;
        let output = graft(directory.path(), &arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(text(&output.stderr).contains(reason), "{output:?}");
        assert_eq!(text(&output.stdout), "");
    }
    for (option, value) in [("--nats-rate", "0"), ("--link-rate", "0"), ("--nats-rate", "many")] {
        let output = graft(directory.path(), &[&usual[..], &[option, value]].concat());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains(option), "{output:?}");
    }
}
