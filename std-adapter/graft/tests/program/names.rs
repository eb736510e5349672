//! Names and texts of others: which can't be, and what a terminal must not get of them.

use std::fs;
use std::io::Write;
use std::net::TcpListener;

use serde_json::Value;

use crate::http::get;
use crate::process::{Program, graft, text};

/// What a terminal would obey: it turns red, for example.
const CONTROLS: &str = "a\u{1b}[31mb\u{9b}31mc\u{7f}";

/// The same in print.
const PRINTED: &str = r"a\u001b[31mb\u009b31mc\u007f";

/// A server that refuses whoever comes, in words like these.
const REFUSAL: &str = "INFO {\"server_id\":\"s\",\"version\":\"2.10.0\",\"proto\":1,\
    \"max_payload\":1048576}\r\n-ERR 'no \u{1b}[31mway\u{9b}'\r\n";

#[track_caller]
fn assert_printable(printed: &[u8]) {
    let is_forbidden = |it: char| it.is_control() && it != '\n';
    assert!(!text(printed).contains(is_forbidden), "{:?}", text(printed));
}

#[test]
fn a_name_that_no_cluster_can_have_is_refused_by_all_alike() {
    let directory = tempfile::tempdir().unwrap();
    let local = ["--local", "d"];
    let long = "x".repeat(200);
    for name in ["", "*", "a b", "a..b", "../../etc", ">", CONTROLS, &long] {
        let mut told = Vec::new();
        for task in ["status", "watch", "hand-over", "doctor"] {
            told.push(graft(directory.path(), &[&[task, name], &local[..]].concat()));
        }
        for task in ["pause", "resume"] {
            told.push(graft(directory.path(), &[&[task, name, "a"], &local[..]].concat()));
        }
        let run = ["run", "--size", "1", "--id", "a", "--local", "d", "--cluster", name];
        told.push(graft(directory.path(), &run));
        told.push(graft(directory.path(), &["bridge", "--serial", "unix:l", "--cluster", name]));
        for output in told {
            assert_eq!(output.status.code(), Some(64), "{name:?}: {output:?}");
            assert!(text(&output.stderr).contains("the cluster name "), "{output:?}");
            assert_printable(&output.stderr);
        }
    }
    fs::write(directory.path().join("c.toml"), "cluster = 'a b'\n").unwrap();
    let run = ["run", "--size", "1", "--id", "a", "--local", "d", "--config", "c.toml"];
    let output = graft(directory.path(), &run);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(text(&output.stderr).starts_with("graft: c.toml:1: cluster: the cluster name must"));
    assert!(!directory.path().join("d").exists());
}

#[test]
fn what_others_say_is_printed_without_what_a_terminal_would_obey() {
    let directory = tempfile::tempdir().unwrap();
    let node = ["--cluster", "jobs", "--size", "1", "--id", "a", "--vote-file", "v"];
    let said = ["--value", CONTROLS, "--http", "127.0.0.1:0", "--local", "d", "--json"];
    let arguments = [&["run"], &node[..], &said].concat();
    let mut program = Program::start(directory.path(), &arguments);
    let address = program.wait_for(|line| line.is("http", &[])).str("to").to_owned();
    program.wait_for(|line| line.is("lease", &[("to", "held")]));
    // Nobody's cluster.
    fs::create_dir(directory.path().join("d").join(CONTROLS)).unwrap();

    let status = |arguments: &[&str]| {
        let output = graft(directory.path(), &[arguments, &["--local", "d"]].concat());
        assert_printable(&output.stdout);
        assert_printable(&output.stderr);
        (text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
    };
    let (shown, _) = status(&["status"]);
    assert!(shown.starts_with("jobs: a leads"), "{shown}");
    let (object, _) = status(&["status", "jobs", "--json"]);
    let object: Value = serde_json::from_str(&object).unwrap();
    assert_eq!(object["leader"]["value"], CONTROLS);
    let (_, others) = status(&["status", "jobz", "--wait", "100ms"]);
    assert!(others.ends_with("; clusters that are there: jobs\n"), "{others}");
    for path in ["/leader", "/status", "/metrics"] {
        let (_, body) = get(&address, path);
        assert_printable(body.as_bytes());
    }
    let (_, body) = get(&address, "/leader");
    assert!(body.contains(PRINTED), "{body}");
}

#[test]
fn what_a_server_complains_of_is_printed_on_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", server.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let _ = stream.unwrap().write_all(REFUSAL.as_bytes());
        }
    });
    let output = graft(directory.path(), &["status", "jobs", "--nats", &url]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert_printable(&output.stderr);
    assert!(text(&output.stderr).contains(r"\u001b[31mway"), "{output:?}");
}
