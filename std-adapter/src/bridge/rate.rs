use std::time::Duration;

use graft_election_core::NodeId;
use tokio::time::Instant;

/// How far a sender may run ahead of its rate: campaigns come in bursts.
const BURST: Duration = Duration::from_millis(250);

/// How far all senders together may run ahead: one that does so leaves room for the others.
const TOTAL_BURST: Duration = Duration::from_millis(500);

/// How long a silent sender keeps its share.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// How many senders have shares, far more than vote. More than these get none.
const SENDERS_MAX: usize = 64;

/// Admits an amount per second, and queues nothing. All recent senders have equal shares, so that
/// one that floods the bridge uses up its own share and nobody else's.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: u32,
    total: Account,
    shares: Vec<Share>,
}

#[derive(Debug)]
struct Share {
    sender: NodeId,
    heard_at: Instant,
    account: Account,
}

/// When all that was admitted so far is paid for.
#[derive(Clone, Copy, Debug)]
struct Account {
    paid_at: Instant,
}

impl Rate {
    /// Admits `per_second`, at least 1.
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let total = Account { paid_at: now };
        Self { per_second: per_second.max(1), total, shares: Vec::new() }
    }

    /// Whether an `amount` from `sender` is admitted now.
    pub(super) fn admits(&mut self, sender: &NodeId, amount: usize, now: Instant) -> bool {
        self.shares.retain(|share| now.saturating_duration_since(share.heard_at) < SILENCE_MAX);
        let known = self.shares.iter().position(|share| share.sender == *sender);
        if known.is_none() && self.shares.len() >= SENDERS_MAX {
            return false;
        }
        let index = known.unwrap_or_else(|| {
            let account = Account { paid_at: now };
            self.shares.push(Share { sender: sender.clone(), heard_at: now, account });
            self.shares.len().saturating_sub(1)
        });
        let cost = self.cost(amount);
        // There are at most `SENDERS_MAX` shares.
        let share_cost = cost * u32::try_from(self.shares.len()).unwrap_or(u32::MAX);
        let Some(share) = self.shares.get_mut(index) else { return false };
        share.heard_at = now;
        let is_admitted =
            share.account.is_within(BURST, now) && self.total.is_within(TOTAL_BURST, now);
        if is_admitted {
            share.account.charge(share_cost, now);
            self.total.charge(cost, now);
        }
        is_admitted
    }

    /// How long an `amount` takes at the whole rate.
    fn cost(&self, amount: usize) -> Duration {
        Duration::from_secs(1) * u32::try_from(amount).unwrap_or(u32::MAX) / self.per_second
    }
}

impl Account {
    fn is_within(&self, burst: Duration, now: Instant) -> bool {
        self.paid_at <= now + burst
    }

    fn charge(&mut self, cost: Duration, now: Instant) {
        self.paid_at = self.paid_at.max(now) + cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    #[test]
    fn over_ten_seconds_a_rate_is_kept_whatever_the_amounts_and_whoever_sends() {
        for (per_second, amount) in [(100, 1), (480, 310), (16_000, 40)] {
            for senders in 1..=3 {
                let began = Instant::now();
                let mut rate = Rate::new(per_second, began);
                let mut through = 0;
                for millis in 0..10_000 {
                    for number in 0..6 {
                        let sender = id(&format!("n{}", number % senders));
                        if rate.admits(&sender, amount, began + Duration::from_millis(millis)) {
                            through += amount;
                        }
                    }
                }
                let expected = 10 * per_second as usize;
                let burst = if senders == 1 { BURST } else { TOTAL_BURST };
                let slack = (burst * per_second).as_secs() as usize + senders * amount;
                assert!(through + slack >= expected, "{through} of {expected}");
                assert!(through <= expected + slack, "{through} of {expected}");
            }
        }
    }

    #[test]
    fn a_sender_that_floods_the_bridge_uses_up_its_own_share_alone() {
        let began = Instant::now();
        let mut rate = Rate::new(100, began);
        let (mut babbled, mut heard) = (0, 0);
        for millis in 0..10_000 {
            let now = began + Duration::from_millis(millis);
            babbled += (0..5).filter(|_| rate.admits(&id("babbler"), 1, now)).count();
            if millis % 100 == 50 {
                heard += usize::from(rate.admits(&id("leader"), 1, now));
            }
        }
        assert_eq!(heard, 100, "every heartbeat goes through");
        assert!((475..=550).contains(&babbled), "{babbled} of 1000 is half");
    }
}
