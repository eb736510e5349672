use std::time::Duration;

use graft_election_core::NodeId;
use tokio::time::Instant;

/// How long a sender may go ahead of its rate: campaigns come in bursts.
const BURST: Duration = Duration::from_millis(250);

/// How long all may go ahead together: when one has done so, there is room for others yet.
const TOTAL_BURST: Duration = Duration::from_millis(500);

/// How long a sender that falls silent keeps its share.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// How many senders have shares, far more than vote. Beyond them nobody gets any.
const SENDERS_MAX: usize = 64;

/// Lets so much through a second, and nothing wait. All who have just been heard have equal shares,
/// so that one who babbles uses up its own and no other's.
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

/// What was let through is paid for by then.
#[derive(Clone, Copy, Debug)]
struct Account {
    paid_at: Instant,
}

impl Rate {
    /// Lets `per_second` through, at least 1.
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let total = Account { paid_at: now };
        Self { per_second: per_second.max(1), total, shares: Vec::new() }
    }

    /// Whether `amount` of what `sender` says may go through now.
    pub(super) fn admits(&mut self, sender: &NodeId, amount: usize, now: Instant) -> bool {
        self.shares.retain(|share| now.saturating_duration_since(share.heard_at) < SILENCE_MAX);
        let known = self.shares.iter().position(|share| share.sender == *sender);
        if known.is_none() && self.shares.len() >= SENDERS_MAX {
            return false;
        }
        let place = known.unwrap_or_else(|| {
            let account = Account { paid_at: now };
            self.shares.push(Share { sender: sender.clone(), heard_at: now, account });
            self.shares.len().saturating_sub(1)
        });
        let cost = self.cost(amount);
        // There are few of them.
        let share_cost = cost * u32::try_from(self.shares.len()).unwrap_or(u32::MAX);
        let Some(share) = self.shares.get_mut(place) else { return false };
        share.heard_at = now;
        let is_admitted =
            share.account.is_within(BURST, now) && self.total.is_within(TOTAL_BURST, now);
        if is_admitted {
            share.account.charge(share_cost, now);
            self.total.charge(cost, now);
        }
        is_admitted
    }

    /// Takes `amount` off what all may send: it has gone through without being asked about.
    pub(super) fn charge(&mut self, amount: usize, now: Instant) {
        let cost = self.cost(amount);
        self.total.charge(cost, now);
    }

    /// How long `amount` takes, had one sender all of the rate.
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
    fn who_babbles_uses_up_its_own_share_alone() {
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
