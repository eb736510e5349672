//! A clock that all processes of this machine share.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

/// Where Linux tells by which name this start of the machine is known.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// How long the machine has been up, the time included during which it was suspended.
pub(crate) fn now() -> Duration {
    // Other systems have no such clock.
    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    let time = clock_gettime(clock);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// The name of this start of the machine: after the next, the clock begins again.
pub(crate) fn boot_id() -> Result<String> {
    let id = fs::read_to_string(BOOT_ID)
        .with_context(|| format!("could not read this machine's boot id in {BOOT_ID}"))?;
    Ok(id.trim().to_owned())
}
