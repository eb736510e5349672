//! How long a leader waits before it gives way to a follower of higher priority (rule H4).

/// How many of the greatest election timeouts a follower must have been steady before the leader
/// gives way to it (rule H4).
const STEADY_TIMEOUTS: u32 = 10;

/// How often that time doubles at most.
const DOUBLINGS_MAX: u32 = 16;

/// How a leader's attempts to give way to a follower of higher priority went (rule H4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct PriorityBackoff {
    /// How many in a row came to nothing.
    failures: u32,
}

impl PriorityBackoff {
    /// For how many microseconds a follower must have been steady. Each attempt that comes to
    /// nothing doubles it, so that a target that can't win doesn't cost the cluster its leader
    /// again and again.
    pub(super) fn wait(self, election_timeout_max: u32) -> u64 {
        let timeouts = STEADY_TIMEOUTS << self.failures.min(DOUBLINGS_MAX);
        u64::from(election_timeout_max).saturating_mul(timeouts.into())
    }

    /// The attempt is over: its target leads, or doesn't.
    pub(super) fn end(&mut self, has_succeeded: bool) {
        self.failures = if has_succeeded { 0 } else { self.failures.saturating_add(1) };
    }
}
