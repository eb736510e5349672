//! One way to measure all contestants, side by side.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// How much processor time a batch takes, at least.
const BATCH: Duration = Duration::from_millis(1);

/// The most plays that are made ready at once: each may be a cluster of 64 nodes.
const READY_MAX: u64 = 32;

/// What a contestant does once it is ready. It says how often it did it.
pub type Play = Box<dyn FnMut() -> u64>;

/// One library that does one thing.
pub struct Contestant {
    pub library: &'static str,
    /// What it does.
    pub scene: &'static str,
    pub voters: usize,
    /// Makes it ready, with the chances of this seed.
    pub prepare: Box<dyn Fn(u64) -> Play>,
    /// How many messages it takes, each receiver's counted, if that is known.
    pub messages: Option<usize>,
}

impl Contestant {
    pub fn new(
        library: &'static str,
        voters: usize,
        scene: &'static str,
        messages: Option<usize>,
        prepare: impl Fn(u64) -> Play + 'static,
    ) -> Self {
        Self { library, scene, voters, prepare: Box::new(prepare), messages }
    }
}

/// What it takes to do it once.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    pub library: &'static str,
    pub scene: &'static str,
    pub voters: usize,
    /// The median of all batches, and the tenth and the ninetieth hundredth, in nanoseconds.
    pub median: f64,
    pub low: f64,
    pub high: f64,
    pub allocations: f64,
    pub allocated_bytes: f64,
    pub messages: Option<usize>,
}

/// Measures all contestants. Batch by batch they take turns, so that whatever else the machine does
/// strikes all of them alike. The first batch of each is to warm up.
pub fn measure(contestants: &[Contestant], batches: u64) -> Vec<Cost> {
    let ready: Vec<u64> = contestants.iter().map(fit_batch).collect();
    let mut times = vec![Vec::new(); contestants.len()];
    for batch in 0..=batches {
        for ((contestant, ready), times) in contestants.iter().zip(&ready).zip(&mut times) {
            let time = time_batch(contestant, *ready, batch);
            if batch > 0 {
                times.push(time);
            }
        }
    }
    let cost = |(contestant, times): (&Contestant, Vec<f64>)| cost(contestant, times);
    contestants.iter().zip(times).map(cost).collect()
}

/// How many plays fill a batch.
fn fit_batch(contestant: &Contestant) -> u64 {
    let mut play = (contestant.prepare)(0);
    let began = busy_time();
    play();
    let one = (busy_time() - began).as_nanos().max(1);
    let needed = BATCH.as_nanos().div_ceil(one);
    u64::try_from(needed).unwrap_or(READY_MAX).clamp(1, READY_MAX)
}

/// How long it takes once, in nanoseconds.
fn time_batch(contestant: &Contestant, ready: u64, batch: u64) -> f64 {
    let seed = |number| batch * READY_MAX + number + 1;
    let mut plays: Vec<Play> =
        (0..ready).map(|number| (contestant.prepare)(seed(number))).collect();
    let began = busy_time();
    let times: u64 = plays.iter_mut().map(|play| play()).sum();
    let took = busy_time() - began;
    took.as_nanos() as f64 / times as f64
}

fn cost(contestant: &Contestant, mut times: Vec<f64>) -> Cost {
    times.sort_by(f64::total_cmp);
    let share = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    let mut play = (contestant.prepare)(1);
    let mut count = 0;
    let counted = allocation_counter::measure(|| count = play());
    let each = |total: u64| total as f64 / count as f64;
    Cost {
        library: contestant.library,
        scene: contestant.scene,
        voters: contestant.voters,
        median: share(0.5),
        low: share(0.1),
        high: share(0.9),
        allocations: each(counted.count_total),
        allocated_bytes: each(counted.bytes_total),
        messages: contestant.messages,
    }
}

/// The processor time of this thread: what others take of the machine is not part of it.
pub fn busy_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.try_into().unwrap_or_default()
}
