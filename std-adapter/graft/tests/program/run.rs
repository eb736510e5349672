//! `graft run`: three nodes on one machine, and how each starts and ends.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use graft_election::VoteFile;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{
    COMMAND, DEAF_COMMAND, Program, Started, graft, handles, make_fifo, text, wait_until,
};

const IDS: [&str; 3] = ["a", "b", "c"];

/// Three nodes that each run the same COMMAND while they lead.
struct Cluster {
    // Before the directory: they go first.
    programs: Vec<Program>,
    directory: TempDir,
}

impl Cluster {
    fn start(command: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let programs = IDS.map(|id| start_node(directory.path(), &["--id", id], id, command));
        Self { programs: programs.into(), directory }
    }

    /// Waits until all that run agree on a leader: its index, and the term.
    #[track_caller]
    fn agree(&mut self) -> (usize, u64) {
        let mut told: Vec<_> = self.programs.iter_mut().map(Program::wait_for_leader).collect();
        loop {
            let (leader, term) = told
                .iter()
                .map(|line| (line.str("leader").to_owned(), line.term()))
                .max_by_key(|(_, term)| *term)
                .unwrap();
            let Some(behind) = told.iter().position(|line| line.term() < term) else {
                let is_it = |program: &Program| program.lines[0].str("id") == leader;
                return (self.programs.iter().position(is_it).unwrap(), term);
            };
            told[behind] = self.programs[behind].wait_for_leader();
        }
    }

    /// Waits until the one who leads runs its COMMAND, as the only one.
    #[track_caller]
    fn agree_and_run(&mut self) -> (usize, Started) {
        let (leader, term) = self.agree();
        let started = self.programs[leader].wait_for_command();
        let expected = Started {
            pid: started.pid,
            is_alone: true,
            term,
            id: self.programs[leader].lines[0].str("id").to_owned(),
            cluster: "c".to_owned(),
        };
        assert_eq!(started, expected);
        (leader, started)
    }
}

fn start_node(directory: &Path, arguments: &[&str], name: &str, command: &str) -> Program {
    let vote_file = format!("{name}.vote");
    let fixed = ["run", "--json", "--cluster", "c", "--size", "3", "--local", "d"];
    let command = ["--grace", "1", "--", "sh", "-c", command];
    let arguments = [&fixed[..], &["--vote-file", &vote_file], arguments, &command].concat();
    let mut program = Program::start(directory, &arguments);
    program.wait_for_start();
    program
}

#[test]
fn the_leader_alone_runs_the_command() {
    let mut cluster = Cluster::start(COMMAND);
    let (leader, _) = cluster.agree_and_run();
    for (index, program) in cluster.programs.iter().enumerate() {
        let runs = program.lines.iter().filter_map(|line| line.command());
        assert_eq!(runs.count(), usize::from(index == leader));
    }
}

/// The kernel ends the COMMAND of a node that can't end it any more. V1: the node comes back with
/// its id and its vote.
#[test]
fn a_killed_leader_takes_its_command_with_it() {
    let mut cluster = Cluster::start(COMMAND);
    let (leader, first) = cluster.agree_and_run();
    let mut killed = cluster.programs.remove(leader);
    killed.kill();
    assert!(!killed.wait().success());

    let (next, second) = cluster.agree_and_run();
    assert!(second.term > first.term, "{second:?}");

    let mut back = start_node(cluster.directory.path(), &[], &first.id, COMMAND);
    let start = &back.lines[0];
    assert_eq!(start.str("id"), first.id);
    assert!(start.term() >= first.term, "{start:?}");
    let next = cluster.programs[next].lines[0].str("id").to_owned();
    assert_eq!(back.wait_for_leader().str("leader"), next);
}

/// G3, L3: a node that is stopped can't end its COMMAND, and no longer leads. Its watchdog ends it.
#[test]
fn g3_the_command_of_a_stopped_node_is_gone_before_the_next_one_starts() {
    for command in [COMMAND, DEAF_COMMAND] {
        let mut cluster = Cluster::start(command);
        let (leader, first) = cluster.agree_and_run();
        let mut stopped = cluster.programs.remove(leader);
        stopped.stop();
        // It would say that it isn't alone.
        let (_, second) = cluster.agree_and_run();
        assert!(second.term > first.term, "{second:?}");
        stopped.go_on();
        stopped.wait_for(|line| line.is("lease", &[("from", "held")]));
        assert_eq!(stopped.wait_for_leader().term(), second.term);
    }
}

/// H3: the COMMAND ends, however long that takes, then the leadership is handed over, then the node
/// closes. G1: its vote stays.
#[test]
fn sigterm_closes_in_order() {
    let mut cluster = Cluster::start(DEAF_COMMAND);
    let (leader, first) = cluster.agree_and_run();
    let mut closing = cluster.programs.remove(leader);
    closing.terminate();
    assert!(closing.wait().success());
    let [.., lost, left, told, closed] = &closing.lines[..] else {
        panic!("{:#?}", closing.lines);
    };
    assert!(lost.is("lease", &[("from", "held"), ("to", "")]), "{lost:?}");
    assert!(left.is("state", &[("from", "Leader"), ("to", "Follower")]), "{left:?}");
    assert!(left.is("state", &[("reason", "handed_over")]), "{left:?}");
    assert!(told.is("leader", &[("leader", "")]), "{told:?}");
    assert!(closed.is("closed", &[("from", "Follower"), ("to", "Closed")]), "{closed:?}");

    let vote_file = cluster.directory.path().join(format!("{}.vote", first.id));
    let kept = VoteFile::inspect(vote_file).unwrap().unwrap();
    assert!(kept.term >= first.term, "{kept:?}");
    assert_eq!(kept.id, Some(first.id));

    let (_, second) = cluster.agree_and_run();
    assert!(second.term > first.term, "{second:?}");
    for program in &mut cluster.programs {
        program.terminate();
        assert!(program.wait().success());
        let is_closed = program.lines.iter().any(|line| line.is("closed", &[]));
        assert!(is_closed, "{:#?}", program.lines);
    }
}

/// G18.
#[test]
fn g18_a_vote_file_has_one_node() {
    let directory = tempfile::tempdir().unwrap();
    let arguments =
        ["run", "--json", "--cluster", "c", "--size", "3", "--local", "d", "--vote-file", "v"];
    let mut program = Program::start(directory.path(), &arguments);
    program.wait_for_start();
    let second = graft(directory.path(), &arguments);
    assert_eq!(second.status.code(), Some(1));
    let path = fs::canonicalize(directory.path()).unwrap().join("v");
    assert_eq!(
        text(&second.stderr),
        format!("graft: {} is in use by another node\n", path.display())
    );
}

#[test]
fn nodes_of_one_directory_have_a_vote_file_each() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["run", "--json", "--cluster", "c", "--size", "2", "--local", "d"];
    let mut programs = [(); 2].map(|()| {
        let mut program = Program::start(directory.path(), &arguments);
        program.wait_for_start();
        program
    });
    assert!(directory.path().join("c.1.vote").exists());
    assert!(directory.path().join("c.2.vote").exists());
    let third = graft(directory.path(), &arguments);
    assert_eq!(text(&third.stderr), "graft: 2 nodes of cluster c already run here\n");
    for program in &mut programs {
        program.terminate();
        assert!(program.wait().success());
    }
}

/// G8: also if the node never voted, as one that waits for others doesn't.
#[test]
fn g8_a_vote_file_stays_with_its_node() {
    for (size, last_line) in [("1", ("lease", "to", "held")), ("3", ("start", "id", "a"))] {
        let directory = tempfile::tempdir().unwrap();
        let run =
            ["run", "--json", "--cluster", "c", "--size", size, "--local", "d", "--vote-file", "v"];
        let mut program = Program::start(directory.path(), &[&run[..], &["--id", "a"]].concat());
        let (event, key, value) = last_line;
        program.wait_for(|line| line.is(event, &[(key, value)]));
        program.terminate();
        assert!(program.wait().success());

        let other = graft(directory.path(), &[&run[..], &["--id", "b"]].concat());
        assert_eq!(other.status.code(), Some(78));
        assert_eq!(
            text(&other.stderr),
            "graft: could not start the node: the stored vote belongs to node a, not to b\n"
        );
    }
}

#[test]
fn a_node_that_could_not_join_takes_no_vote_file() {
    let directory = tempfile::tempdir().unwrap();
    let run = ["run", "--json", "--cluster", "c", "--size", "2", "--local", "d", "--id"];
    let mut first = Program::start(directory.path(), &[&run[..], &["a"]].concat());
    first.wait_for_start();
    // It finds a file of its own, but its id is in use.
    let mistaken = graft(directory.path(), &[&run[..], &["a"]].concat());
    assert_eq!(mistaken.status.code(), Some(78), "{mistaken:?}");
    let mut second = Program::start(directory.path(), &[&run[..], &["b"]].concat());
    second.wait_for_start();
    assert!(directory.path().join("c.2.vote").exists());
}

#[test]
fn wrong_settings_are_refused_and_leave_no_trace() {
    for (arguments, code, reason) in [
        (vec!["--cluster", "c", "--size", "0"], 78, "size must not be 0"),
        (vec!["--cluster", "c", "--size", "65"], 78, "there is room for 64 voters"),
        (vec!["--cluster", "a b", "--size", "1"], 64, "the cluster name must be"),
        (vec!["--cluster", "", "--size", "1"], 64, "the cluster name must"),
        (vec!["--cluster", "c", "--size", "1", "--id", "a b"], 64, "byte 1 is not"),
        (vec!["--cluster", "c"], 64, "--size <N>"),
        (vec!["--cluster", "c", "--size", "1", "--nats", "x"], 64, "cannot be used with"),
        (vec!["--cluster", "c", "--size", "2", "--voters", "a"], 78, "1 voters are declared"),
        (vec!["--cluster", "c", "--size", "1", "--voters", "a b"], 64, "byte 1 is not"),
        (vec!["--cluster", "c", "--size", "1", "--mode", "x"], 64, "[possible values: extended"),
        (
            vec!["--cluster", "c", "--size", "1", "--witness", "--priority", "2"],
            64,
            "cannot be used",
        ),
        (vec!["--cluster", "c", "--size", "1", "--vote-file", "no/v"], 1, "no/v can't be reached"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let arguments = [&["run", "--local", "d"], &arguments[..]].concat();
        let output = graft(directory.path(), &arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(text(&output.stderr).contains(reason), "{output:?}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "{arguments:?}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let url = "nats://127.0.0.1:1";
    let output = graft(directory.path(), &["run", "--cluster", "c", "--size", "1", "--nats", url]);
    assert_eq!(output.status.code(), Some(69));
    let message = format!("graft: could not connect to {url}: ");
    assert!(text(&output.stderr).starts_with(&message), "{output:?}");
}

/// A server that accepts the connection and says nothing: the node gives up on it after a while,
/// and the program ends with an error, unless it is told to end before.
#[test]
fn a_signal_ends_a_node_that_still_connects() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", silent.local_addr().unwrap());
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP] {
        let directory = tempfile::tempdir().unwrap();
        let run = ["run", "--cluster", "c", "--size", "1", "--nats", &url];
        let mut program = Program::start(directory.path(), &run);
        let (_connection, _) = silent.accept().unwrap();
        program.signal(signal);
        assert!(program.wait().success(), "{signal:?}");
    }
}

/// A pipe that nobody else opens holds up whoever opens it, as a file on a disk that hangs does.
#[test]
fn a_file_that_can_not_be_opened_yet_does_not_hold_up_a_signal() {
    let node = ["run", "--cluster", "c", "--size", "1", "--vote-file", "vote"];
    let bridge = ["bridge", "--cluster", "c", "--serial", "unix:line"];
    let (local, creds) = (["--local", "d"], ["--creds", "fifo"]);
    for (arguments, fifo) in [
        ([&node[..], &local].concat(), "vote.lock"),
        ([&node[..], &creds].concat(), "fifo"),
        ([&bridge[..], &creds].concat(), "fifo"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        make_fifo(&directory.path().join(fifo));
        let mut program = Program::start(directory.path(), &arguments);
        wait_until(|| handles(program.pid(), Signal::TERM));
        program.terminate();
        assert!(program.wait().success(), "{arguments:?}");
        assert!(program.lines.is_empty(), "{:?}", program.lines);
    }
}

/// Each is an order to close: the leadership is handed over, and the status is that of a success.
#[test]
fn each_signal_that_asks_to_end_closes_in_order() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP] {
        let directory = tempfile::tempdir().unwrap();
        let run = ["run", "--json", "--cluster", "c", "--size", "1", "--local", "d"];
        let mut program = Program::start(directory.path(), &run);
        program.wait_for(|line| line.is("lease", &[("to", "held")]));
        program.signal(signal);
        assert!(program.wait().success(), "{signal:?}");
        let closed = program.lines.last().unwrap();
        assert!(closed.is("closed", &[("reason", "closed")]), "{signal:?}: {closed:?}");
    }
}

/// `nohup` has its program ignore SIGHUP, and so does this one.
#[test]
fn nohup_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let run = ["run", "--json", "--cluster", "c", "--size", "1", "--local", "d"];
    let nohup = ["nohup", env!("CARGO_BIN_EXE_graft")];
    let mut program = Program::start_words(directory.path(), &[&nohup[..], &run].concat());
    program.wait_for(|line| line.is("lease", &[("to", "held")]));
    program.signal(Signal::HUP);
    program.terminate();
    assert!(program.wait().success());
    let left = program.lines.iter().filter(|line| line.is("closed", &[])).count();
    assert_eq!(left, 1, "{:#?}", program.lines);
}

/// A lease is renewed with each heartbeat, however short both are.
#[test]
fn a_command_outlasts_leases_of_all_lengths() {
    for (election_timeout, heartbeat, code) in [
        ("100ms..200ms", "20ms", 7),
        ("100ms..200ms", "30ms", 7),
        ("1s..2s", "300ms", 7),
        // It would be killed at once, again and again.
        ("200ms..400ms", "100ms", 78),
        // Too short to kill anything in.
        ("50ms..100ms", "10ms", 78),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let times = ["--election-timeout", election_timeout, "--heartbeat", heartbeat];
        let node = ["run", "--cluster", "c", "--size", "1", "--local", "d"];
        // A busy machine may lose the shortest leases, and then starts the command again.
        let command = ["--", "sh", "-c", "trap '' TERM; sleep 0.5; exit 7"];
        let output = graft(directory.path(), &[&node[..], &times, &command].concat());
        assert_eq!(output.status.code(), Some(code), "{times:?}: {output:?}");
        let is_told = text(&output.stderr).contains("with a COMMAND, the heartbeat interval must");
        assert_eq!(is_told, code == 78, "{output:?}");
    }
}

#[test]
fn a_grace_may_be_of_any_size() {
    for (grace, code) in [
        ("0", 0),
        ("0.25", 0),
        ("1e300", 0),
        ("18446744073709551615", 0),
        ("-1", 64),
        ("nan", 64),
        ("inf", 64),
        ("long", 64),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let grace = format!("--grace={grace}");
        let run = ["run", "--cluster", "c", "--size", "1", "--local", "d", &grace, "--", "true"];
        let output = graft(directory.path(), &run);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let is_told = text(&output.stderr).contains("not a number of seconds");
        assert_eq!(is_told, code == 64, "{output:?}");
    }
}

#[test]
fn the_arguments_of_command_need_not_be_utf_8() {
    let directory = tempfile::tempdir().unwrap();
    let run = ["run", "--cluster", "c", "--size", "1", "--local", "d", "--", "printf", "%s"];
    let arguments = run.iter().map(OsStr::new).chain([OsStr::from_bytes(b"\xff\xfe")]);
    let output = Command::new(env!("CARGO_BIN_EXE_graft"))
        .args(arguments)
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.windows(2).any(|bytes| bytes == b"\xff\xfe"), "{output:?}");
}
