use embassy_time::{Duration, TimeoutError, Timer, with_timeout};
use embedded_hal_async::digital::Wait;
use embedded_io_async::{ErrorType, Write};
use rand_core::Rng;

/// The writing half of a line on which two who talk at once spoil both frames: before a frame it
/// waits for a random time, and then begins if it hears nobody.
///
/// Without it, two nodes that are asked for their votes at once answer at once, every time. It can't
/// prevent all collisions: who begins within a bit of another is not heard in time. A frame that is
/// lost so is one of those the election is made for.
#[derive(Debug)]
pub struct CarrierSense<W, P, R> {
    output: W,
    ear: P,
    rng: R,
    silence: Duration,
    is_within_frame: bool,
}

impl<W: Write, P: Wait, R: Rng> CarrierSense<W, P, R> {
    /// The longest random wait. With it, all of a cluster of seven can say a frame within a heartbeat
    /// interval.
    pub const WAIT_MAX: Duration = Duration::from_millis(16);

    /// The half that writes to `output`, a line of `baud` bits a second, to which the pin `ear`
    /// listens. `rng` must differ between those on the line.
    ///
    /// A flush ends a frame; the next write begins one. A pin that fails is not heeded: then only the
    /// random wait is left.
    pub fn new(output: W, ear: P, rng: R, baud: u32) -> Self {
        // A line that carries bytes changes at the beginning of each, every ten bits.
        let silence = Duration::from_hz(u64::from(baud).div_ceil(20).max(1));
        Self { output, ear, rng, silence, is_within_frame: false }
    }

    async fn wait_for_turn(&mut self) {
        loop {
            let wait = u64::from(self.rng.next_u32()) % Self::WAIT_MAX.as_ticks().max(1);
            Timer::after_ticks(wait).await;
            match with_timeout(self.silence, self.ear.wait_for_any_edge()).await {
                // Somebody talks. Those who wait for the same end begin at different times.
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
