//! What `graft run` does with far more than a cluster says.

use std::fs;
use std::time::Instant;

use graft_election::async_nats;

use crate::nats_server::NatsServer;
use crate::peer::Peer;
use crate::process::{Line, Program};

/// How much more memory a node may take while it is flooded with 500 MB: as many of the largest
/// messages as may wait on the subject if the node never gets to run, which are 64 MB, the client's
/// buffer, which holds as much again while it grows, and what the allocator keeps of both.
const GROWTH_MAX_KIB: u64 = 160 * 1024;

/// The most memory that a process has had so far.
fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_flood_neither_fills_the_memory_nor_the_log() {
    let (server, directory) = (NatsServer::start(), tempfile::tempdir().unwrap());
    let url = server.url();
    let node = ["run", "--json", "--cluster", "c", "--size", "1", "--nats", &url];
    let mut program = Program::start(directory.path(), &node);
    program.wait_for(|line| line.is("lease", &[("to", "held")]));
    let before = peak_kib(program.pid());

    let began = Instant::now();
    let client = async_nats::connect(&url).await.unwrap();
    for number in 0..20_000 {
        // Each seems to come from another node.
        let subject = format!("graft.c.heartbeat.s{number}");
        client.publish(subject, "nonsense".into()).await.unwrap();
    }
    for number in 0..500 {
        let payload = vec![b'x'; 1_000_000];
        client.publish(format!("graft.c.who.l{number}"), payload.into()).await.unwrap();
    }
    client.flush().await.unwrap();
    program.wait_for(|line| {
        line.is("error", &[]) && line.str("error").contains(" more events are not reported")
    });
    let growth = peak_kib(program.pid()) - before;
    assert!(growth < GROWTH_MAX_KIB, "{growth} KiB");
    program.terminate();
    assert!(program.wait().success());

    let told = program.lines.iter().filter(|line| line.is("error", &[])).count() as u64;
    // Ten a second, and how many more there were.
    assert!(told <= 11 * (began.elapsed().as_secs() + 2), "{told} lines");
    let log = format!("{:?}", program.lines);
    assert!(log.contains("dropped a message from graft.c.heartbeat.s"), "{log}");
}

/// Anyone on the local sockets can claim to lead ever higher terms.
#[test]
fn leaders_that_are_made_up_fill_no_log_and_hide_no_lease() {
    const CLAIMS: u64 = 300;
    let directory = tempfile::tempdir().unwrap();
    let liars = ["liar", "cheat"].map(|id| Peer::join(&directory.path().join("d"), id));
    let node = ["run", "--json", "--cluster", "c", "--size", "1", "--local", "d", "--id", "n"];
    let mut program = Program::start(directory.path(), &node);
    let lease = program.wait_for(|line| line.is("lease", &[("to", "held")]));
    let (began, first_term) = (Instant::now(), lease.term() + 1);
    for term in first_term..first_term + CLAIMS {
        liars[usize::try_from(term % 2).unwrap()].lead("n", term);
    }
    let last_term = first_term + CLAIMS;
    program.wait_for(|line| line.is("lease", &[("to", "held")]) && line.term() >= last_term);
    program.terminate();
    assert!(program.wait().success());

    let is_news = |line: &&Line| line.is("state", &[]) || line.is("leader", &[]);
    let printed = program.lines.iter().filter(is_news).count() as u64;
    // Ten a second, and the changes of those who lead.
    assert!(printed <= 12 * (began.elapsed().as_secs() + 2), "{printed} lines");
    let log = format!("{:?}", program.lines);
    assert!(log.contains(" more events are not reported: ten a second are"), "{log}");
    let leases: Vec<_> = program.lines.iter().filter(|line| line.is("lease", &[])).collect();
    let has_lease = |line: &&Line| line.str("to") == "held";
    for (index, lease) in leases.iter().enumerate() {
        assert_eq!(has_lease(lease), index % 2 == 0, "{leases:?}");
    }
    assert!(program.lines.last().unwrap().is("closed", &[]), "{log}");
}

/// Who follows the log knows who leads, however much of it was left out.
#[test]
fn after_a_flood_of_leaders_the_log_says_who_leads() {
    const CLAIMS: u64 = 301;
    let directory = tempfile::tempdir().unwrap();
    let liars = ["liar", "cheat"].map(|id| Peer::join(&directory.path().join("d"), id));
    let node = ["run", "--json", "--cluster", "c", "--size", "3", "--local", "d", "--id", "n"];
    // The last of them is followed for longer than the test takes.
    let times = ["--election-timeout", "90s..180s"];
    let mut program = Program::start(directory.path(), &[&node[..], &times].concat());
    program.wait_for_start();
    for term in 1..=CLAIMS {
        liars[usize::try_from(term % 2).unwrap()].lead("n", term);
    }
    program.wait_for(|line| {
        line.is("error", &[]) && line.str("error").contains(" more events are not reported")
    });
    program.wait_for(|line| line.is("leader", &[("leader", "cheat")]) && line.term() == CLAIMS);
}
