//! `graft run` on a real nats-server.

use std::path::Path;

use crate::nats_server::NatsServer;
use crate::process::Program;

fn run(directory: &Path, server: &NatsServer, size: usize, place: usize) -> Program {
    let (size, id, log) = (size.to_string(), format!("n{place}"), format!("n{place}.vote"));
    let url = server.url();
    let node = ["--cluster", "c", "--size", &size, "--id", &id, "--log", &log, "--nats", &url];
    let mut program = Program::start(directory, &[&["run", "--json"], &node[..]].concat());
    program.wait_for_start();
    program
}

/// Waits until the program leads a term above `term`, or follows one who does; returns who, and the
/// term.
fn next_leader(program: &mut Program, term: u64) -> (usize, u64) {
    let line = program.wait_for(|line| {
        line.is("leader", &[]) && line.term() > term && !line.str("leader").is_empty()
    });
    let place = line.str("leader").strip_prefix('n').unwrap();
    (place.parse().unwrap(), line.term())
}

/// The highest of the terms that the programs other than `gone` say someone leads, and who.
fn next_leader_of_all(programs: &mut [Program], gone: Option<usize>, term: u64) -> (usize, u64) {
    let others = programs.iter_mut().enumerate().filter(|(place, _)| Some(*place) != gone);
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
        let run = |place| run(directory.path(), &server, size, place);
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
