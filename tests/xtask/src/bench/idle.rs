//! What programs take of a machine while nothing happens.

use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::param::clock_ticks_per_second;

use super::await_server;
use super::failover::release_graft;
use super::table::{Table, short};
use crate::compare::group::Group;
use crate::compare::{ETCD, NATS, etcd_server, nats_server, words};
use crate::workspace::target_dir;

/// How long it is watched, after a while for all to come to rest.
const WATCHED: Duration = Duration::from_secs(30);
const QUICK_WATCHED: Duration = Duration::from_secs(2);
const REST: Duration = Duration::from_secs(4);

/// Where the processor time is among the numbers of `/proc/N/stat` that follow the program's name:
/// in user mode, and in the kernel.
const TIMES: std::ops::Range<usize> = 11..13;

/// Watches three nodes, and the servers.
///
/// # Errors
///
/// Something can't be installed, built or started.
pub(super) fn measure(quick: bool) -> Result<String> {
    let place = target_dir()?.join("idle");
    // There may be one of an earlier run.
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place)?;
    let graft = release_graft()?;
    let start = |words: &[String]| Group::start(words, &place, Stdio::null(), None);
    let nats = start(&nats_server(false)?)?;
    let etcd = start(&etcd_server()?)?;
    [NATS, ETCD].into_iter().try_for_each(await_server)?;
    let mut programs = vec![("nats-server, which they use", nats), ("etcd, one server", etcd)];
    for name in ["n1", "n2", "n3"] {
        let words = words(&format!(
            "{graft} run --cluster idle --size 3 --id {name} --vote-file {name}.vote \
             --nats {NATS} -- sleep 1000"
        ));
        programs.push(("`graft run`, one of three nodes", start(&words)?));
    }
    sleep(REST);
    let watched = if quick { QUICK_WATCHED } else { WATCHED };
    let times = |all: &[(&str, Group)]| -> Result<Vec<Duration>> {
        all.iter().map(|(_, program)| processor_time(program.id())).collect()
    };
    let before = times(&programs)?;
    sleep(watched);
    let after = times(&programs)?;
    let mut table = Table::new(&["", "% of a processor", "resident memory, MB", "threads"]);
    for ((name, program), (before, after)) in programs.iter().zip(before.iter().zip(after)) {
        let percent = (after - *before).as_secs_f64() / watched.as_secs_f64() * 100.0;
        let memory = status(program.id(), "VmRSS:")? as f64 / 1_000.0;
        let threads = status(program.id(), "Threads:")?;
        table.row(&[
            (*name).to_owned(),
            format!("{percent:.2}"),
            short(memory),
            threads.to_string(),
        ]);
    }
    Ok(format!(
        "Idle programs\n\
         Three nodes follow and lead, with a heartbeat every 100 ms, for {} s; one of them runs a \
         COMMAND, whose\nwatchdog is a process of its own and not counted.\n\n{}",
        watched.as_secs(),
        table.finish()
    ))
}

/// The processor time of a process so far.
fn processor_time(process: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("/proc/N/stat has another form")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let times = fields.get(TIMES).context("/proc/N/stat has too few fields")?;
    let ticks = times.iter().map(|ticks| ticks.parse::<u64>()).sum::<Result<u64, _>>()?;
    Ok(Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64))
}

/// A number of `/proc/N/status`.
fn status(process: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.with_context(|| format!("/proc/N/status has no {name}"))?.parse()?)
}
