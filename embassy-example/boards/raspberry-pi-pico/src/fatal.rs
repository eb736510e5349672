//! What a node does when it can't take part in the election.

use defmt::Format;
use embassy_rp::gpio::Output;
use embassy_time::Timer;

/// Logs why, and blinks five times a second for as long as there is power.
pub(crate) async fn no_start(light: &mut Output<'_>, reason: impl Format) -> ! {
    defmt::error!("the node can't start: {}", reason);
    loop {
        light.toggle();
        Timer::after_millis(100).await;
    }
}
