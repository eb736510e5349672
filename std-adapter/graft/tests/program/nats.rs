//! `graft run` on a real nats-server.

use std::path::Path;

use graft_election::Config;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::nats_server::NatsServer;
use crate::process::{COMMAND, DEAF_COMMAND, Program};
use crate::proxy::{Line, Proxy};

/// Node number `index` of `size` on the server at `url`, with a COMMAND or without.
fn run(directory: &Path, url: &str, size: usize, index: usize, command: &[&str]) -> Program {
    let (size, id) = (size.to_string(), format!("n{index}"));
    let vote_file = format!("{id}.vote");
    let node =
        ["--cluster", "c", "--size", &size, "--id", &id, "--vote-file", &vote_file, "--nats", url];
    let arguments = [&["run", "--json"], &node[..], command].concat();
    let mut program = Program::start(directory, &arguments);
    program.wait_for_start();
    program
}

/// Waits until the program leads a term above `term`, or follows one who does; returns who, and the
/// term.
fn next_leader(program: &mut Program, term: u64) -> (usize, u64) {
    let line = program.wait_for(|line| {
        line.is("leader", &[]) && line.term() > term && !line.str("leader").is_empty()
    });
    let index = line.str("leader").strip_prefix('n').unwrap();
    (index.parse().unwrap(), line.term())
}

/// The highest of the terms that the programs other than `gone` say someone leads, and who.
fn next_leader_of_all(programs: &mut [Program], gone: Option<usize>, term: u64) -> (usize, u64) {
    let others = programs.iter_mut().enumerate().filter(|(index, _)| Some(*index) != gone);
    let told: Vec<_> = others.map(|(_, program)| next_leader(program, term)).collect();
    // I1: whoever speaks of one term names one leader.
    for (leader, term) in &told {
        assert!(told.iter().all(|(other, at)| at != term || other == leader), "{told:?}");
    }
    told.into_iter().max_by_key(|(_, term)| *term).unwrap()
}

#[test]
fn a_leader_that_is_killed_is_replaced_and_comes_back_as_a_follower() {
    for size in [3, 5] {
        let server = NatsServer::start();
        let directory = tempfile::tempdir().unwrap();
        let run = |index| run(directory.path(), &server.url(), size, index, &[]);
        let mut programs: Vec<_> = (0..size).map(run).collect();
        let (mut leader, mut term) = next_leader_of_all(&mut programs, None, 0);
        for _ in 0..3 {
            programs[leader].kill();
            let (next, next_term) = next_leader_of_all(&mut programs, Some(leader), term);
            assert_ne!(next, leader);
            programs[leader] = run(leader);
            assert_eq!(next_leader(&mut programs[leader], 0), (next, next_term));
            (leader, term) = (next, next_term);
        }
    }
}

/// L4: what the leader says and hears is held back, and nobody tells it anything.
#[tokio::test(flavor = "multi_thread")]
async fn g3_the_command_of_a_node_whose_line_is_silent_ends_with_its_lease() {
    for command in [COMMAND, DEAF_COMMAND] {
        let server = NatsServer::start();
        let directory = tempfile::tempdir().unwrap();
        let (mut programs, mut proxies) = (Vec::new(), Vec::new());
        for index in 0..3 {
            let proxy = Proxy::start(&server.url()).await;
            let command = ["--grace", "3600", "--", "sh", "-c", command];
            programs.push(run(directory.path(), &proxy.url(), 3, index, &command));
            proxies.push(proxy);
        }
        let (leader, term) = next_leader_of_all(&mut programs, None, 0);
        let first = programs[leader].wait_for_command();
        assert!(first.is_alone && first.term == term, "{first:?}");

        let process = pidfd_open(Pid::from_raw(first.pid).unwrap(), PidfdFlags::empty()).unwrap();
        proxies[leader].set(Line::Silent);
        // A3: within the least election timeout. The rest is for a busy machine.
        let time_max = (10 * Config::ELECTION_TIMEOUT_MIN).try_into().unwrap();
        let mut end = [PollFd::new(&process, PollFlags::IN)];
        assert_eq!(poll(&mut end, Some(&time_max)), Ok(1), "the COMMAND outlives its lease");

        let (next, next_term) = next_leader_of_all(&mut programs, Some(leader), term);
        let second = programs[next].wait_for_command();
        // It would say that it isn't alone.
        assert!(second.is_alone && second.term == next_term, "{second:?}");
        proxies[leader].set(Line::Open);
        assert_eq!(next_leader(&mut programs[leader], term), (next, next_term));
    }
}
