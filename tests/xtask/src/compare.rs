//! `cargo xtask compare`: `graft run` beside other programs that keep one of several commands
//! running, on this machine, and what becomes of the command when its program is killed.

mod contest;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use self::contest::{Contest, Trial};
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
const NATS: &str = "nats://127.0.0.1:14922";
const ETCD: &str = "http://127.0.0.1:14923";
const ETCD_PEERS: &str = "http://127.0.0.1:14924";

/// What could not be compared, and why.
const NOT_RUN: [(&str, &str); 4] = [
    ("`etcdctl elect`", "it runs no command: it prints who leads, for a program that reads it"),
    (
        "`consul lock`",
        "Debian 12 has no package of it, and PyPI and npm have none with the program",
    ),
    ("Choria's election", "Debian 12 has no package of it, and PyPI and npm have none"),
    (
        "Patroni",
        "Debian has 3.0.2; it runs no command of one's own but PostgreSQL, and needs etcd or the \
         like besides",
    ),
];

/// A program that keeps one command of several running.
struct Peer {
    name: &'static str,
    /// What tells its version.
    version: Vec<String>,
    /// What each contender runs; `NAME` and `LOCK` stand for its own name and for what they share.
    words: Vec<String>,
    /// What else must run.
    server: Option<Vec<String>>,
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
    for peer in peers(&place)? {
        eprintln!("{}", peer.name);
        table += &row(&peer, &place, runs)?;
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
fn peers(place: &Path) -> Result<Vec<Peer>> {
    if on_path("etcd").is_none() || on_path("etcdctl").is_none() {
        apt_install(&["etcd-server", "etcd-client"])?;
    }
    run(cargo(["build", "--quiet", "--locked", "--package", "graft-election-cli"])?)?;
    let nats_server = tools::nats_server()?;
    let graft = target_dir()?.join("debug/graft");
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let graft_words = format!(
        "{} run --cluster LOCK --size 3 --id NAME --vote-file LOCK-NAME.vote --nats {NATS} --",
        graft.display()
    );
    let nats = format!("{} --addr 127.0.0.1 --port 14922", nats_server.display());
    let etcd = format!(
        "etcd --data-dir {} --listen-client-urls {ETCD} --advertise-client-urls {ETCD} \
         --listen-peer-urls {ETCD_PEERS} --initial-advertise-peer-urls {ETCD_PEERS} \
         --initial-cluster default={ETCD_PEERS}",
        place.join("etcd").display()
    );
    Ok(vec![
        Peer {
            name: "`graft run`",
            version: words(&format!("{} --version", graft.display())),
            words: words(&graft_words),
            server: Some(words(&nats)),
            needs: "a NATS server, or one machine, or a serial line; three voters",
            outside: "`graft status`, `graft watch`, `/leader`",
        },
        Peer {
            name: "`etcdctl lock`",
            version: words("etcdctl version"),
            words: words(&format!("etcdctl --endpoints {ETCD} lock LOCK --")),
            server: Some(words(&etcd)),
            needs: "an etcd cluster",
            outside: "`etcdctl get --prefix`: the key of a lease, not who has it",
        },
        Peer {
            name: "`flock`",
            version: words("flock --version"),
            words: words("flock LOCK"),
            server: None,
            needs: "one machine",
            outside: "`lslocks`, on that machine",
        },
        Peer {
            name: "`flock --close`",
            version: words("flock --version"),
            words: words("flock --close LOCK"),
            server: None,
            needs: "one machine",
            outside: "`lslocks`, on that machine",
        },
    ])
}

fn row(peer: &Peer, place: &Path, runs: usize) -> Result<String> {
    let mut version = command(&peer.version[0])?;
    version.args(&peer.version[1..]).env("ETCDCTL_API", "3");
    let version = text(version)?;
    let version = version.lines().next().unwrap_or_default().trim();
    let contest = Contest::open(place, peer.server.as_deref())?;
    let mut cells = String::new();
    for signal in ["KILL", "TERM"] {
        let mut trials = Vec::new();
        for number in 0..runs {
            let lock = format!("{signal}-{number}");
            trials.push(contest.play(&peer.words, &lock, signal)?);
        }
        cells += &format!("{} | {} | ", takeover(&mut trials), old_job(&trials));
    }
    let Peer { name, outside, needs, .. } = peer;
    Ok(format!("| {name} | {version} | {cells}{outside} | {needs} |\n"))
}

/// How long nobody worked: the median and the worst of all trials.
fn takeover(trials: &mut [Trial]) -> String {
    trials.sort_by_key(|trial| trial.next_after);
    let shown = |trial: &Trial| match trial.next_after {
        Some(after) => format!("{:.2} s", after.as_secs_f64()),
        None => format!("not within {} s", contest::PATIENCE.as_secs()),
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
fn old_job(trials: &[Trial]) -> String {
    let count = |is_so: fn(&Trial) -> bool| trials.iter().filter(|trial| is_so(trial)).count();
    match (count(|trial| trial.overlaps), count(|trial| trial.goes_on)) {
        (0, 0) => "has ended".to_owned(),
        (0, alone) => format!("goes on alone ({alone} of {})", trials.len()),
        (both, _) => format!("**works beside it** ({both} of {})", trials.len()),
    }
}
