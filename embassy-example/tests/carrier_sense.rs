//! A line on which nodes that talk at once spoil each other's frames, in virtual time.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use embassy_time::{Duration, Instant, MockDriver, TICK_HZ, Timer};
use embedded_hal::digital::ErrorType as PinErrorType;
use embedded_hal_async::digital::Wait;
use embedded_io_async::{ErrorType, Write};
use graft_election_core::Config;
use graft_election_embassy::CarrierSense;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const BAUD: u32 = 115_200;

/// How long a byte takes.
const BYTE: Duration = Duration::from_ticks(TICK_HZ * 10 / BAUD as u64);

/// A frame of the usual length.
const FRAME: &[u8] = &[0x55; 40];

/// The program has only one mock clock, so only one test at a time may use it.
static CLOCK: Mutex<()> = Mutex::new(());

/// The beginning and end of each transmission.
type Air = RefCell<Vec<(Instant, Instant)>>;

struct Wire<'a>(&'a Air);

impl ErrorType for Wire<'_> {
    type Error = Infallible;
}

impl Write for Wire<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let now = Instant::now();
        let end = now + BYTE * bytes.len() as u32;
        self.0.borrow_mut().push((now, end));
        Timer::at(end).await;
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

struct Sense<'a>(&'a Air);

impl PinErrorType for Sense<'_> {
    type Error = Infallible;
}

impl Wait for Sense<'_> {
    async fn wait_for_any_edge(&mut self) -> Result<(), Infallible> {
        poll_fn(|_| {
            let now = Instant::now();
            // What begins at this instant has not changed the wire yet.
            let is_heard = |(from, to): &(Instant, Instant)| (*from < now) && (now < *to);
            if self.0.borrow().iter().any(is_heard) { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    async fn wait_for_high(&mut self) -> Result<(), Infallible> {
        unreachable!()
    }

    async fn wait_for_low(&mut self) -> Result<(), Infallible> {
        unreachable!()
    }

    async fn wait_for_rising_edge(&mut self) -> Result<(), Infallible> {
        unreachable!()
    }

    async fn wait_for_falling_edge(&mut self) -> Result<(), Infallible> {
        unreachable!()
    }
}

fn talker<R: Rng>(air: &Air, rng: R) -> CarrierSense<Wire<'_>, Sense<'_>, R> {
    CarrierSense::new(Wire(air), Sense(air), rng, BAUD)
}

/// Lets time pass, tick by tick, until all are done.
fn run(mut all: Vec<Pin<Box<dyn Future<Output = ()> + '_>>>) {
    let mut context = Context::from_waker(Waker::noop());
    while !all.is_empty() {
        all.retain_mut(|future| future.as_mut().poll(&mut context).is_pending());
        MockDriver::get().advance(Duration::from_ticks(1));
    }
}

/// Asks this many talkers at once, this many times, and counts the frames that collide. Every
/// talker must be done within a heartbeat interval.
fn collisions(talkers: u64, times: u64) -> usize {
    let _clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let in_time = Duration::from_millis(Config::HEARTBEAT_INTERVAL.as_millis() as u64);
    let collisions = (0..times).map(|time| {
        let (air, asked_at) = (Air::default(), Instant::now());
        let answer = |number| -> Pin<Box<dyn Future<Output = ()> + '_>> {
            let mut talker = talker(&air, SmallRng::seed_from_u64(talkers * time + number));
            Box::pin(async move { assert_eq!(talker.write(FRAME).await, Ok(FRAME.len())) })
        };
        run((0..talkers).map(answer).collect());
        let mut frames = air.into_inner();
        frames.sort();
        let last = frames.iter().map(|(_, to)| *to).max().unwrap();
        assert!(last - asked_at < in_time, "time {time}: {} ms", (last - asked_at).as_millis());
        frames.windows(2).filter(|pair| pair[1].0 < pair[0].1).count()
    });
    collisions.sum()
}

#[test]
fn two_nodes_that_are_asked_at_once_answer_one_after_the_other() {
    assert_eq!(collisions(2, 100), 0);
}

#[test]
fn the_six_others_of_a_cluster_of_seven_answer_within_a_heartbeat_interval() {
    let collisions = collisions(6, 20);
    assert!(collisions <= 2, "{collisions} of 120");
}

#[test]
fn a_frame_that_is_written_in_two_parts_stays_whole() {
    let _clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let air = Air::default();
    let mut talker = talker(&air, SmallRng::seed_from_u64(1));
    run(vec![Box::pin(async move {
        let (front, back) = FRAME.split_at(7);
        for part in [front, back] {
            assert_eq!(talker.write(part).await, Ok(part.len()));
        }
        assert_eq!(talker.flush().await, Ok(()));
        assert_eq!(talker.write(FRAME).await, Ok(FRAME.len()));
    })]);
    let frames = air.into_inner();
    assert_eq!(frames[1].0, frames[0].1, "the rest follows at once");
    assert!(frames[2].0 > frames[1].1 + BYTE, "the next frame waits for its turn");
}
