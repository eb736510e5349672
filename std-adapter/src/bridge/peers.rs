use std::time::Duration;

use graft_election_core::NodeId;
use tokio::time::Instant;

/// How often bridges that know of each other say that they are there.
pub(super) const BEACON_INTERVAL: Duration = Duration::from_millis(500);

/// How often a bridge says so that knows of no other.
pub(super) const LONE_BEACON_INTERVAL: Duration = Duration::from_secs(10);

/// A bridge whose beacons stay away for so long has lost one of its sides, or is gone.
const SILENCE_MAX: Duration = Duration::from_millis(1_500);

/// For how long it is remembered what such a bridge was: its messages may be late.
const MEMORY: Duration = Duration::from_secs(60);

/// How many other bridges of one line are known at most.
const PEERS_MAX: usize = 16;

/// The other bridges on this line, and which of them carries what.
///
/// A bridge stands by for another if both of the other's sides are known to work: its beacons come
/// over the line and over NATS, and on NATS it says that it hears this bridge on the line. Only the
/// lower id of two is stood by for; so the lowest always carries, and never do all stand by.
#[derive(Debug)]
pub(super) struct Peers {
    own: NodeId,
    peers: Vec<Peer>,
}

#[derive(Debug)]
struct Peer {
    id: NodeId,
    on_line_at: Instant,
    /// When it last said on NATS that it hears this bridge on the line.
    hears_us_at: Option<Instant>,
}

impl Peers {
    pub(super) const fn new(own: NodeId) -> Self {
        Self { own, peers: Vec::new() }
    }

    /// A beacon came over the line; true if that bridge was silent before.
    pub(super) fn hear_on_line(&mut self, id: NodeId, now: Instant) -> bool {
        if id == self.own {
            return false;
        }
        self.peers.retain(|peer| is_within(MEMORY, peer.on_line_at, now));
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.id == id) {
            let was_silent = !is_within(SILENCE_MAX, peer.on_line_at, now);
            peer.on_line_at = now;
            return was_silent;
        }
        let has_room = self.peers.len() < PEERS_MAX;
        if has_room {
            self.peers.push(Peer { id, on_line_at: now, hears_us_at: None });
        }
        has_room
    }

    /// A beacon came over NATS, from a bridge that hears those bridges on its line.
    pub(super) fn hear_on_nats(&mut self, id: &NodeId, beacon: &str, now: Instant) {
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.id == *id) {
            let hears_us = beacon.split(' ').any(|heard| heard == self.own.as_str());
            peer.hears_us_at = hears_us.then_some(now);
        }
    }

    /// What this bridge says on NATS: the bridges that it hears on the line.
    pub(super) fn beacon(&self, now: Instant) -> String {
        let heard = self.peers.iter().filter(|peer| is_within(SILENCE_MAX, peer.on_line_at, now));
        heard.map(|peer| peer.id.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Whether a bridge is, or was a moment ago, on this line.
    pub(super) fn contains(&self, id: &NodeId, now: Instant) -> bool {
        self.peers.iter().any(|peer| peer.id == *id && is_within(MEMORY, peer.on_line_at, now))
    }

    /// How long to wait before the next beacon.
    pub(super) fn beacon_interval(&self, now: Instant) -> Duration {
        let is_known = |peer: &Peer| is_within(MEMORY, peer.on_line_at, now);
        if self.peers.iter().any(is_known) { BEACON_INTERVAL } else { LONE_BEACON_INTERVAL }
    }

    /// The bridge that carries everything in place of this one; none if this one has to.
    pub(super) fn carrier(&self, now: Instant) -> Option<&NodeId> {
        let works = |peer: &&Peer| {
            is_within(SILENCE_MAX, peer.on_line_at, now)
                && peer.hears_us_at.is_some_and(|at| is_within(SILENCE_MAX, at, now))
        };
        self.peers.iter().filter(works).map(|peer| &peer.id).filter(|id| **id < self.own).min()
    }
}

fn is_within(span: Duration, heard_at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(heard_at) < span
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    /// Bridge `b`, which has just heard `a` and `c` on both sides.
    fn peers(now: Instant) -> Peers {
        let mut peers = Peers::new(id("b"));
        for other in ["a", "c"] {
            assert!(peers.hear_on_line(id(other), now));
            peers.hear_on_nats(&id(other), "x b", now);
        }
        peers
    }

    #[test]
    fn the_lowest_id_whose_sides_both_work_carries() {
        let now = Instant::now();
        let mut peers = peers(now);
        assert_eq!(peers.beacon(now), "a c");
        assert_eq!(peers.carrier(now), Some(&id("a")));

        // It no longer hears this bridge on the line.
        peers.hear_on_nats(&id("a"), "c", now);
        assert_eq!(peers.carrier(now), None, "never for a higher id");
    }

    #[test]
    fn silence_on_either_side_ends_the_role() {
        let began = Instant::now();
        let later = began + SILENCE_MAX;
        let mut on_nats_alone = peers(began);
        on_nats_alone.hear_on_nats(&id("a"), "b", later);
        assert_eq!(on_nats_alone.carrier(later), None);

        let mut on_line_alone = peers(began);
        assert!(on_line_alone.hear_on_line(id("a"), later), "it is answered at once");
        assert_eq!(on_line_alone.carrier(later), None);
        on_line_alone.hear_on_nats(&id("a"), "b", later);
        assert_eq!(on_line_alone.carrier(later), Some(&id("a")));
    }

    #[test]
    fn a_bridge_that_is_on_another_line_is_no_peer() {
        let now = Instant::now();
        let mut peers = Peers::new(id("b"));
        peers.hear_on_nats(&id("a"), "b", now);
        assert_eq!(peers.carrier(now), None);
        assert_eq!(peers.beacon_interval(now), LONE_BEACON_INTERVAL);
    }
}
