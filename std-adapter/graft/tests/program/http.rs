//! `graft run --http`: a node as browsers, probes and Prometheus see it.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;

use serde_json::Value;

use crate::nats_server::NatsServer;
use crate::process::{PATIENCE, Program, graft, text};

/// The one node of a cluster.
const NODE: [&str; 7] = ["run", "--json", "--cluster", "c", "--size", "1", "--vote-file"];

/// Starts such a node, and waits until it leads; tells at which address it is seen.
fn start(directory: &Path, medium: &[&str]) -> (Program, String) {
    let arguments = [&NODE[..], &["v", "--id", "a", "--http", "127.0.0.1:0"], medium].concat();
    let mut program = Program::start(directory, &arguments);
    let address = program.wait_for(|line| line.is("http", &[])).str("to").to_owned();
    program.wait_for(|line| line.is("lease", &[("to", "held")]));
    (program, address)
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The status and the body of what is answered.
pub(crate) fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = connect(address);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Waits until the server has closed this connection.
fn wait_for_end(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error} after {rest:?}"),
    }
}

/// The leader's token, if it has the lease.
fn token(address: &str) -> Option<u64> {
    let (status, body) = get(address, "/leader");
    let said: Value = serde_json::from_str(&body).unwrap();
    (status == 200).then(|| said["token"].as_u64().unwrap())
}

#[test]
fn a_node_is_seen_whatever_it_talks_over() {
    let server = NatsServer::start();
    let url = server.url();
    for medium in [["--local", "d"], ["--nats", &url], ["--serial", "unix:line"]] {
        let directory = tempfile::tempdir().unwrap();
        let line = UnixListener::bind(directory.path().join("line")).unwrap();
        let (mut program, address) = start(directory.path(), &medium);
        assert_eq!(token(&address), Some(program.lines.last().unwrap().term()), "{medium:?}");
        for path in ["/", "/livez", "/readyz", "/status", "/history", "/metrics"] {
            assert_eq!(get(&address, path).0, 200, "{path} of {medium:?}");
        }
        assert_eq!(get(&address, "/nonesuch").0, 404);
        assert!(get(&address, "/metrics").1.ends_with("# EOF\n"));
        program.terminate();
        assert_eq!(program.wait().code(), Some(0));
        drop(line);
    }
}

#[test]
fn an_address_that_is_taken_is_refused_before_anything_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = [&NODE[..], &["v", "--local", "d", "--http", &address]].concat();
    let output = graft(directory.path(), &arguments);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains(&format!("could not listen for HTTP on {address}")), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn an_address_that_is_none_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for address in ["", "8080", "127.0.0.1", "127.0.0.1:70000", "http://127.0.0.1:1"] {
        let arguments = [&NODE[..], &["v", "--local", "d", "--http", address]].concat();
        let output = graft(directory.path(), &arguments);
        assert_eq!(output.status.code(), Some(64), "{address:?}: {output:?}");
    }
}

#[test]
fn clients_that_hold_their_connections_keep_nobody_out() {
    let directory = tempfile::tempdir().unwrap();
    let (program, address) = start(directory.path(), &["--local", "d"]);
    let before = token(&address);
    // Some say nothing, some begin, and some never read what they have asked for.
    let begin = b"GET /status HTTP/1.1\r\n".as_slice();
    let many = b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
    let mut held = Vec::new();
    for said in [&[], begin, &many].repeat(70) {
        let mut stream = connect(&address);
        stream.set_nonblocking(true).unwrap();
        // It may not take all of it.
        let _ = stream.write(said);
        held.push(stream);
    }
    assert_eq!(get(&address, "/readyz").0, 200);
    assert_eq!((token(&address), before.is_some()), (before, true), "the lease was kept");
    for path in ["/livez", "/metrics"] {
        assert_eq!(get(&address, path).0, 200, "{path}");
    }
    drop((held, program));
}

#[test]
fn a_connection_without_a_request_ends() {
    let directory = tempfile::tempdir().unwrap();
    let (_program, address) = start(directory.path(), &["--local", "d"]);
    let (mut silent, mut slow, mut idle) =
        (connect(&address), connect(&address), connect(&address));
    write!(slow, "GET /leader HTTP/1.1\r\nHost: x\r\n").unwrap();
    write!(idle, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    for stream in [&mut silent, &mut slow, &mut idle] {
        wait_for_end(stream);
    }
}

/// RFC 9112, section 3.2.
#[test]
fn a_request_names_its_host_once() {
    let directory = tempfile::tempdir().unwrap();
    let (_program, address) = start(directory.path(), &["--local", "d"]);
    for (version, hosts, status) in [
        ("1.1", &[][..], 400),
        ("1.1", &["a", "b"], 400),
        ("1.1", &["a", "a"], 400),
        ("1.1", &["a b"], 400),
        ("1.1", &["u@a"], 400),
        ("1.1", &["a/b"], 400),
        ("1.1", &["a"], 200),
        ("1.1", &["[::1]:80"], 200),
        ("1.1", &[""], 200),
        ("1.0", &[], 200),
        ("1.0", &["a", "b"], 400),
    ] {
        let mut stream = connect(&address);
        let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        write!(stream, "GET /livez HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let said = answer.split(' ').nth(1).unwrap();
        assert_eq!(said, status.to_string(), "{version}, {hosts:?}: {answer}");
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (_program, address) = start(directory.path(), &["--local", "d"]);
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    for nonsense in ["nonsense\r\n\r\n", "GET /\r\n\r\n", "\0\0\0\0\r\n\r\n", &long] {
        let mut stream = connect(&address);
        // It may be refused before it has all been said.
        let _ = stream.write_all(nonsense.as_bytes());
        wait_for_end(&mut stream);
    }
    assert_eq!(get(&address, "/livez").0, 200);
}
