use embassy_time::{Duration, TimeoutError, Timer, with_timeout};
use embedded_hal_async::digital::Wait;
use embedded_io_async::{ErrorType, Write};
use rand_core::Rng;

/// The writing half of a line on which two nodes that talk at once spoil each other's frames.
/// Before each frame it waits for a random time, and then until the line is silent.
///
/// Without it, two nodes that are asked for their votes at the same time would answer at the same
/// time, every time. It can't prevent every collision: two nodes that begin within a bit of each
/// other don't hear each other in time. The election tolerates the frames that are lost so.
#[derive(Debug)]
pub struct CarrierSense<W, P, R> {
    output: W,
    sense: P,
    rng: R,
    silence: Duration,
    is_within_frame: bool,
}

impl<W: Write, P: Wait, R: Rng> CarrierSense<W, P, R> {
    /// The longest random wait. It lets each node of a cluster of seven send a frame within one
    /// heartbeat interval.
    pub const WAIT_MAX: Duration = Duration::from_millis(16);

    /// The half that writes to `output`, a line of `baud` bits per second whose state the pin
    /// `sense` shows. `rng` must differ between the nodes on the line.
    ///
    /// A flush ends a frame; the next write begins one. If the pin fails, the frame is sent after
    /// the random wait alone.
    pub fn new(output: W, sense: P, rng: R, baud: u32) -> Self {
        // A line that carries bytes changes at the beginning of each, every ten bits.
        let silence = Duration::from_hz(u64::from(baud).div_ceil(20).max(1));
        Self { output, sense, rng, silence, is_within_frame: false }
    }

    async fn wait_for_turn(&mut self) {
        loop {
            let wait = u64::from(self.rng.next_u32()) % Self::WAIT_MAX.as_ticks().max(1);
            Timer::after_ticks(wait).await;
            match with_timeout(self.silence, self.sense.wait_for_any_edge()).await {
                // The line is busy. Nodes that wait for the same frame to end begin at different
                // times, as each waits for another random time.
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(TimeoutError) => return,
            }
        }
    }
}

impl<W: ErrorType, P, R> ErrorType for CarrierSense<W, P, R> {
    type Error = W::Error;
}

impl<W: Write, P: Wait, R: Rng> Write for CarrierSense<W, P, R> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, W::Error> {
        if !self.is_within_frame {
            self.wait_for_turn().await;
            self.is_within_frame = true;
        }
        self.output.write(bytes).await
    }

    async fn flush(&mut self) -> Result<(), W::Error> {
        self.is_within_frame = false;
        self.output.flush().await
    }
}
