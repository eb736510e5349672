//! `cargo xtask compare`: `graft run` beside other programs of which one among several is at work,
//! on this machine, and what becomes of its job when the program is killed.

mod contest;
pub(crate) mod group;
mod patroni;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use self::contest::{Contest, Job, Trial};
use crate::command::{cargo, command, run, text};
use crate::tools::{self, apt_install, on_path};
use crate::workspace::{root, target_dir};

/// How often each program is struck in each way.
pub(crate) const RUNS: usize = 5;

/// Where the table is, between these two lines.
const PAGE: &str = "docs/comparison.md";
const BEGIN: &str = "<!-- Made by `cargo xtask compare --write`. -->\n";
const END: &str = "<!-- Until here. -->\n";

/// Where the servers listen: at ports that nobody else has on this machine.
pub(crate) const NATS: &str = "nats://127.0.0.1:14922";
pub(crate) const ETCD: &str = "http://127.0.0.1:14923";
const ETCD_PEERS: &str = "http://127.0.0.1:14924";

/// What could not be compared, and why.
const NOT_RUN: [(&str, &str); 2] = [
    (
        "`consul lock`",
        "Debian 12 has no package of it, and PyPI and npm have none with the program",
    ),
    ("Choria's election", "Debian 12 has no package of it, and PyPI and npm have none"),
];

/// A program of which one among several is at work.
struct Peer {
    name: &'static str,
    /// What tells its version.
    version: Vec<String>,
    /// What each contender runs; `NAME` and `LOCK` stand for its own name and for what they share.
    words: Vec<String>,
    job: Job,
    /// What else must run.
    server: Option<Vec<String>>,
    /// How often the one at work renews what it holds, if that is seldom: the strikes are spread
    /// over this time, since the next one waits the less the longer ago the last renewal was.
    renews_every: Duration,
    /// How long the next job is waited for.
    patience: Duration,
    needs: &'static str,
    outside: &'static str,
}

/// Runs all of them, `runs` times for each fault, and prints what came of it, or puts it into the
/// page.
///
/// # Errors
///
/// A program can't be installed or started.
pub(crate) fn compare(runs: usize, write: bool) -> Result<()> {
    let place = target_dir()?.join("compare");
    // There may be one of an earlier run.
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place)?;
    let mut table =
        "\n| | version | after `kill -9` the next job writes | the old job then | after \
                     SIGTERM | the old job then | who holds it, from outside | needs |\n\
                     |---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for (number, peer) in peers()?.iter().enumerate() {
        eprintln!("{}", peer.name);
        table += &row(peer, &place.join(number.to_string()), runs)?;
    }
    table += "\n| not run | why |\n|---|---|\n";
    for (name, why) in NOT_RUN {
        table += &format!("| {name} | {why} |\n");
    }
    if !write {
        print!("{table}");
        return Ok(());
    }
    let path = root()?.join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| format!("can't read {PAGE}"))?;
    let (before, rest) = page.split_once(BEGIN).context("the page has no place for the table")?;
    let (_, after) = rest.split_once(END).context("the page has no end of the table")?;
    fs::write(path, format!("{before}{BEGIN}{table}\n{END}{after}"))?;
    println!("wrote {PAGE}");
    Ok(())
}

/// All that can be run here.
fn peers() -> Result<Vec<Peer>> {
    if on_path("patroni").is_none() || !Path::new(patroni::POSTGRESQL).is_dir() {
        apt_install(&["patroni", "postgresql"])?;
    }
    let [lock, elect, patroni] = of_etcd()?;
    let [flock, flock_close] = of_files();
    Ok(vec![graft()?, lock, elect, patroni, flock, flock_close])
}

fn graft() -> Result<Peer> {
    run(cargo(["build", "--quiet", "--locked", "--package", "graft-election-cli"])?)?;
    let graft = target_dir()?.join("debug/graft");
    Ok(Peer {
        name: "`graft run`",
        version: words(&format!("{} --version", graft.display())),
        words: words(&format!(
            "{} run --cluster LOCK --size 3 --id NAME --vote-file LOCK-NAME.vote --nats {NATS} --",
            graft.display()
        )),
        job: Job::Command,
        server: Some(nats_server(false)?),
        renews_every: Duration::ZERO,
        patience: Duration::from_secs(20),
        needs: "a NATS server, or one machine, or a serial line; three voters",
        outside: "`graft status`, `graft watch`, `/leader`",
    })
}

/// A server of NATS at [`NATS`], with JetStream or without.
///
/// # Errors
///
/// It can't be installed.
pub(crate) fn nats_server(with_jetstream: bool) -> Result<Vec<String>> {
    let program = tools::nats_server()?;
    let mut words = words(&format!("{} --addr 127.0.0.1 --port 14922", program.display()));
    if with_jetstream {
        words.extend(["--jetstream", "--store_dir", "jetstream"].map(str::to_owned));
    }
    Ok(words)
}

/// A server of etcd.
///
/// # Errors
///
/// It can't be installed.
pub(crate) fn etcd_server() -> Result<Vec<String>> {
    if on_path("etcd").is_none() || on_path("etcdctl").is_none() {
        apt_install(&["etcd-server", "etcd-client"])?;
    }
    Ok(words(&format!(
        "etcd --data-dir etcd --listen-client-urls {ETCD} --advertise-client-urls {ETCD} \
         --listen-peer-urls {ETCD_PEERS} --initial-advertise-peer-urls {ETCD_PEERS} \
         --initial-cluster default={ETCD_PEERS}"
    )))
}

/// What waits for etcd's lock `LOCK`, which is free so many seconds after its holder is dead, and
/// then runs a command.
pub(crate) fn etcd_lock(seconds: u64) -> Vec<String> {
    words(&format!("etcdctl --endpoints {ETCD} lock --ttl {seconds} LOCK --"))
}

fn of_etcd() -> Result<[Peer; 3]> {
    let server = etcd_server()?;
    let lock = Peer {
        name: "`etcdctl lock`",
        version: words("etcdctl version"),
        words: etcd_lock(10),
        job: Job::Command,
        server: Some(server.clone()),
        // A third of its TTL.
        renews_every: Duration::from_millis(3333),
        patience: Duration::from_secs(20),
        needs: "an etcd cluster",
        outside: "`etcdctl get --prefix`: the key of a lease, not who has it",
    };
    let elect = Peer {
        name: "`etcdctl elect`",
        version: words("etcdctl version"),
        words: words(&format!("etcdctl --endpoints {ETCD} elect LOCK NAME")),
        job: Job::Output,
        server: Some(server.clone()),
        renews_every: Duration::from_secs(20),
        patience: Duration::from_secs(90),
        needs: "an etcd cluster, and a program that reads what it prints",
        outside: "`etcdctl elect --listen`",
    };
    let patroni = Peer {
        name: "Patroni",
        version: words("patroni --version"),
        words: patroni::words(),
        job: Job::Database,
        server: Some(server),
        renews_every: Duration::from_secs(10),
        patience: Duration::from_secs(90),
        needs: "an etcd cluster, or the like; its job is PostgreSQL, and nothing else",
        outside: "`patronictl list`, `/cluster`",
    };
    Ok([lock, elect, patroni])
}

fn of_files() -> [Peer; 2] {
    [("`flock`", "flock LOCK"), ("`flock --close`", "flock --close LOCK")].map(|(name, command)| {
        Peer {
            name,
            version: words("flock --version"),
            words: words(command),
            job: Job::Command,
            server: None,
            renews_every: Duration::ZERO,
            patience: Duration::from_secs(20),
            needs: "one machine",
            outside: "`lslocks`, on that machine",
        }
    })
}

pub(crate) fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn row(peer: &Peer, place: &Path, runs: usize) -> Result<String> {
    let mut version = command(&peer.version[0])?;
    version.args(&peer.version[1..]).env("ETCDCTL_API", "3");
    let version = text(version)?;
    let version = version.lines().next().unwrap_or_default().trim();
    let contest = Contest::open(place.to_owned(), peer)?;
    let mut cells = String::new();
    for (signal, name) in [(Signal::KILL, "KILL"), (Signal::TERM, "TERM")] {
        let mut trials = Vec::new();
        let mut later = Duration::ZERO;
        for number in 0..runs {
            trials.push(contest.play(&format!("{name}-{number}"), signal, later)?);
            later += peer.renews_every / u32::try_from(runs)?;
        }
        cells += &format!("{} | {} | ", takeover(&mut trials, peer), old_job(&trials, peer));
    }
    let Peer { name, outside, needs, .. } = peer;
    Ok(format!("| {name} | {version} | {cells}{outside} | {needs} |\n"))
}

/// How long it took until the next one worked: the median and the worst of all trials.
fn takeover(trials: &mut [Trial], peer: &Peer) -> String {
    trials.sort_by_key(|trial| trial.next_after);
    let shown = |trial: &Trial| match trial.next_after {
        Some(after) => format!("{:.2} s", after.as_secs_f64()),
        None => format!("not within {} s", peer.patience.as_secs()),
    };
    // One that nobody followed on is the worst.
    let never = trials.iter().filter(|trial| trial.next_after.is_none()).count();
    trials.rotate_left(never);
    match &*trials {
        [] => String::new(),
        [.., worst] if never == trials.len() => shown(worst),
        [.., worst] => {
            format!(
                "{} (worst {}, of {})",
                shown(&trials[trials.len() / 2]),
                shown(worst),
                trials.len()
            )
        }
    }
}

/// Whether the job of the one that was struck still worked beside the next.
fn old_job(trials: &[Trial], peer: &Peer) -> String {
    if peer.job == Job::Output {
        return "it has none".to_owned();
    }
    let count = |is_so: fn(&Trial) -> bool| trials.iter().filter(|trial| is_so(trial)).count();
    match (count(|trial| trial.overlaps), count(|trial| trial.goes_on)) {
        (0, 0) => "has ended".to_owned(),
        (0, alone) => format!("goes on alone ({alone} of {})", trials.len()),
        (both, _) => format!("**works beside it** ({both} of {})", trials.len()),
    }
}
