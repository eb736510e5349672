//! Who kills the one at work, and how long it takes until another is: on a real nats-server, beside
//! etcd's lock and a lease in JetStream.

mod race;

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Result;

use self::race::{Race, Round};
use super::plot::{Plot, Scale, Series};
use super::table::{Aims, Table, share, short};
use super::{await_server, peers};
use crate::command::{cargo, command, run, text};
use crate::compare::{ETCD, NATS, etcd_lock, etcd_server, group::Group, nats_server, words};
use crate::workspace::{root, target_dir};

/// The drawing of the times after `kill -9`.
const DRAWING: &str = "docs/pictures/failover.svg";

/// How often all of it is done.
const ROUNDS: u32 = 100;

/// The same for those that take ten seconds each time.
const SLOW_ROUNDS: u32 = 8;
const QUICK_ROUNDS: u32 = 1;

/// What is measured of `graft run`.
const MEASURED: [(&str, Pick); 9] = [
    ("first start: a leader has its lease", |it| it.first),
    ("`kill -9`: the next has its lease", |it| it.kill.leads),
    ("`kill -9`: the first survivor knows", |it| it.kill.first_knows),
    ("`kill -9`: all survivors know", |it| it.kill.all_know),
    ("`kill -9`: COMMAND acts", |it| it.kill.acts),
    ("SIGTERM: the next has its lease", |it| it.close.as_ref()?.leads),
    ("SIGTERM: all survivors know", |it| it.close.as_ref()?.all_know),
    ("SIGTERM: COMMAND acts", |it| it.close.as_ref()?.acts),
    ("all killed and started again, with records: a lease", |it| it.restart),
];

/// One of the times of a round.
type Pick = fn(&Round) -> Option<f64>;

/// What contends for a job.
struct Contender {
    name: &'static str,
    size: usize,
    /// What each runs; `NAME` and `LOCK` stand for its own name and for what all share.
    words: Vec<String>,
    /// Whether it says in a file what happens.
    tells: bool,
    /// Whether it ends when it is told to.
    ends: bool,
    /// How often it renews what it holds.
    renews_every: Duration,
    rounds: u32,
}

/// Plays all rounds.
///
/// # Errors
///
/// Something can't be installed, built or started, or nobody comes to work.
pub(super) fn measure(quick: bool) -> Result<String> {
    let place = target_dir()?.join("failover");
    // There may be one of an earlier run.
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place)?;
    let servers = [nats_server(true)?, etcd_server()?];
    let servers: Result<Vec<Group>> =
        servers.iter().map(|words| Group::start(words, &place, Stdio::null(), None)).collect();
    let _servers = servers?;
    [NATS, ETCD].into_iter().try_for_each(await_server)?;
    let mut results = Vec::new();
    for contender in contenders()? {
        eprintln!("{}, {} nodes", contender.name, contender.size);
        let rounds = if quick { QUICK_ROUNDS } else { contender.rounds };
        let mut all = Vec::new();
        for number in 0..rounds {
            let mut race = Race::start(&place, &contender, number)?;
            all.push(race.play(contender.renews_every * number / rounds)?);
        }
        results.push((contender, all));
    }
    if !quick {
        fs::write(root()?.join(DRAWING), draw(&results))?;
    }
    section(&results)
}

/// The program, as it is released.
///
/// # Errors
///
/// It can't be built.
pub(super) fn release_graft() -> Result<String> {
    run(cargo(["build", "--quiet", "--release", "--locked", "--package", "graft-election-cli"])?)?;
    Ok(target_dir()?.join("release/graft").display().to_string())
}

fn contenders() -> Result<Vec<Contender>> {
    let graft = release_graft()?;
    let of_graft = |size| Contender {
        name: "`graft run`",
        size,
        words: words(&format!(
            "{graft} run --cluster LOCK --size {size} --vote-file NAME.vote --nats {NATS} \
             --json=NAME.json --"
        )),
        tells: true,
        ends: true,
        renews_every: Duration::from_millis(100),
        rounds: ROUNDS,
    };
    let lock = |name, seconds, rounds| Contender {
        name,
        size: 3,
        words: etcd_lock(seconds),
        tells: false,
        ends: false,
        renews_every: Duration::from_secs(seconds) / 3,
        rounds,
    };
    let lease = peers()?.display().to_string();
    Ok(vec![
        of_graft(3),
        of_graft(5),
        lock("`etcdctl lock`, TTL 10 s (its default)", 10, SLOW_ROUNDS),
        lock("`etcdctl lock`, TTL 2 s", 2, SLOW_ROUNDS),
        Contender {
            name: "a lease in JetStream, TTL 1 s (ours, small)",
            size: 3,
            words: words(&format!("{lease} kv-lease --nats {NATS} --bucket LOCK --name NAME --")),
            tells: false,
            ends: true,
            renews_every: Duration::from_secs(1) / 3,
            rounds: ROUNDS / 5,
        },
    ])
}

fn section(results: &[(Contender, Vec<Round>)]) -> Result<String> {
    let mut text = format!(
        "Failover\n\
         Each contender runs a COMMAND, which writes the time when it begins. All run on this \
         machine, `graft\nrun` with its usual times (500–1000 ms, heartbeats every 100 ms) on a \
         nats-server. The one at work is\nkilled with `kill -9`, at any moment between two \
         renewals, or closed with SIGTERM; the time is taken\nfrom the signal on, and for starts \
         from the moment at which a quorum has begun to run. `etcdctl lock`\nignores SIGTERM until \
         its COMMAND ends. The lease in JetStream is a key that is renewed every third\nof its \
         TTL, and that the others try to create ten times a second.\n\n\
         {}; etcdctl {}.\n\n![The share of failovers after kill -9, by the time.]({DRAWING})\n\n",
        version(&nats_server(false)?[0], "--version")?,
        version("etcdctl", "version")?.replace("etcdctl version: ", ""),
    );
    let graft = share(&sorted(&results[0].1, |it| it.kill.acts), 0.5);
    let mut table = Table::new(&[
        "COMMAND at work after",
        "nodes",
        "`kill -9`: times as long as graft",
        "median ms",
        "95 %",
        "worst",
        "SIGTERM: median ms",
        "95 %",
        "worst",
    ]);
    for (contender, rounds) in results {
        let killed = sorted(rounds, |it| it.kill.acts);
        let closed = sorted(rounds, |it| it.close.as_ref().map(|it| it.acts)?);
        let mut cells = vec![contender.name.to_owned(), contender.size.to_string()];
        cells.push(short(share(&killed, 0.5) / graft));
        cells.extend(figures(&killed));
        cells.extend(figures(&closed));
        table.row(&cells);
    }
    text += &format!("{}\n", table.finish());
    let mut table = Table::new(&["`graft run`", "nodes", "of", "median ms", "95 %", "worst"]);
    for (contender, rounds) in results.iter().filter(|it| it.0.tells) {
        for (what, pick) in MEASURED {
            let times = sorted(rounds, pick);
            let mut cells = vec![what.to_owned(), contender.size.to_string()];
            cells.push(times.len().to_string());
            cells.extend(figures(&times));
            table.row(&cells);
        }
    }
    Ok(text + &format!("{}\n{}", table.finish(), aims(results)))
}

fn aims(results: &[(Contender, Vec<Round>)]) -> String {
    let mut aims = Aims::new();
    for (contender, rounds) in results.iter().filter(|it| it.0.tells) {
        let size = contender.size;
        let killed = sorted(rounds, |it| it.kill.leads);
        let first = share(&sorted(rounds, |it| it.first), 0.5);
        let restart = share(&sorted(rounds, |it| it.restart), 0.5);
        let nodes = |what: &str| format!("{what}, {size} nodes");
        aims.at_most(&nodes("`kill -9`, median"), share(&killed, 0.5), 490.0, "ms");
        aims.at_most(&nodes("`kill -9`, 95 %"), share(&killed, 0.95), 545.0, "ms");
        aims.at_most(&nodes("first leader, median"), first, 100.0, "ms");
        aims.at_most(&nodes("all restarted with records, median"), restart, 600.0, "ms");
    }
    aims.finish()
}

/// The first line of what a program says of its version.
fn version(program: &str, asked: &str) -> Result<String> {
    let mut program = command(program)?;
    program.arg(asked).env("ETCDCTL_API", "3");
    Ok(text(program)?.lines().next().unwrap_or_default().to_owned())
}

fn sorted(rounds: &[Round], pick: impl Fn(&Round) -> Option<f64>) -> Vec<f64> {
    let mut times: Vec<f64> = rounds.iter().filter_map(pick).collect();
    times.sort_by(f64::total_cmp);
    times
}

fn figures(sorted: &[f64]) -> [String; 3] {
    if sorted.is_empty() {
        return ["–", "–", "–"].map(str::to_owned);
    }
    [0.5, 0.95, 1.0].map(|part| short(share(sorted, part)))
}

fn draw(results: &[(Contender, Vec<Round>)]) -> String {
    let series = |(colour, (contender, rounds)): (usize, &(Contender, Vec<Round>))| {
        let times = sorted(rounds, |it| it.kill.acts);
        let count = times.len() as f64;
        let share = |(rank, time): (usize, &f64)| (*time, (rank + 1) as f64 / count * 100.0);
        let name = contender.name.split(" (").next().unwrap_or_default().replace('`', "");
        let points = times.iter().enumerate().map(share).collect();
        let name = format!("{name}, {} nodes", contender.size);
        Series { name, colour, points, is_dashed: !contender.tells }
    };
    Plot {
        title: "Until another COMMAND acts, after kill -9",
        x: ("ms", Scale::Logarithmic(100.0, 100_000.0)),
        y: ("% of failovers", Scale::Linear(0.0, 100.0)),
        series: results.iter().enumerate().map(series).collect(),
    }
    .draw()
}
