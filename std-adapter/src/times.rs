//! How long something took, each time that it happened.

use std::time::Duration;

/// How long something took, each time that it happened: how often, and how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    sum: Duration,
    /// How often each bound was the least that was not exceeded; last, how often all were.
    counts: [u64; Self::BOUNDS.len() + 1],
}

impl Times {
    /// The bounds by which times are told apart.
    pub const BOUNDS: [Duration; 14] = [
        Duration::from_micros(100),
        Duration::from_micros(250),
        Duration::from_micros(500),
        Duration::from_millis(1),
        Duration::from_micros(2500),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(25),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(250),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_millis(2500),
    ];

    /// How often it happened.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long it took altogether.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// For each of the [`BOUNDS`](Self::BOUNDS), how often it took no longer than that, and longer
    /// than the bound before; last, with `None`, how often it took longer than all.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = Self::BOUNDS.into_iter().map(Some).chain([None]);
        bounds.zip(self.counts)
    }

    pub(crate) fn add(&mut self, took: Duration) {
        self.sum = self.sum.saturating_add(took);
        let bucket = Self::BOUNDS.partition_point(|bound| *bound < took);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Times {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let mut times = serializer.serialize_struct("Times", 2)?;
        times.serialize_field("count", &self.count())?;
        times.serialize_field("sum_seconds", &self.sum.as_secs_f64())?;
        times.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_under_the_least_bound_that_it_does_not_exceed() {
        let mut times = Times::default();
        for micros in [0, 100, 101, 2_500_000, 2_500_001] {
            times.add(Duration::from_micros(micros));
        }
        let counted: Vec<_> = times.buckets().filter(|(_, count)| *count > 0).collect();
        let bound = |micros| Some(Duration::from_micros(micros));
        assert_eq!(counted, [(bound(100), 2), (bound(250), 1), (bound(2_500_000), 1), (None, 1)]);
        assert_eq!((times.count(), times.sum()), (5, Duration::from_micros(5_000_202)));
    }
}
