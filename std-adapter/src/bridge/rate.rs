use std::time::Duration;

use tokio::time::Instant;

/// How long a sender may go ahead of its rate: campaigns come in bursts.
const BURST: Duration = Duration::from_millis(250);

/// Lets so much through a second, and nothing wait.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: u32,
    /// What was let through is paid for by then.
    paid_at: Instant,
}

impl Rate {
    /// Lets `per_second` through, at least 1.
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second: per_second.max(1), paid_at: now }
    }

    /// Whether `amount` may go through now.
    pub(super) fn admits(&mut self, amount: usize, now: Instant) -> bool {
        let start = self.paid_at.max(now);
        let admitted = start <= now + BURST;
        if admitted {
            let amount = u32::try_from(amount).unwrap_or(u32::MAX);
            self.paid_at = start + Duration::from_secs(1) * amount / self.per_second;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_ten_seconds_a_rate_is_kept_whatever_the_amounts() {
        for (per_second, amount) in [(100, 1), (480, 310), (16_000, 40)] {
            let began = Instant::now();
            let mut rate = Rate::new(per_second, began);
            let mut through = 0;
            for millis in 0..10_000 {
                for _ in 0..20 {
                    if rate.admits(amount, began + Duration::from_millis(millis)) {
                        through += amount;
                    }
                }
            }
            let expected = 10 * per_second as usize;
            let slack = per_second as usize / 4 + amount;
            assert!(through + slack >= expected, "{through} of {expected}");
            assert!(through <= expected + slack, "{through} of {expected}");
        }
    }
}
