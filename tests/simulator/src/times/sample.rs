//! The times measured in many runs, and their percentiles.

use std::fmt;
use std::time::Duration;

use super::scene::UNIT;

/// The percentiles that are shown.
const PERCENTILES: [f64; 4] = [50.0, 95.0, 99.0, 100.0];

/// How many of these percentiles a few runs can tell.
const COMPARED: usize = 2;

/// How far off a percentile may be by chance, in standard deviations of its rank.
const DEVIATIONS_MAX: f64 = 4.0;

/// Half of the last digit that is shown.
const ROUNDING: f64 = 0.005;

/// Times in units of T_min, the shortest first.
#[derive(Clone, Debug)]
pub(super) struct Sample(Vec<f64>);

impl FromIterator<Duration> for Sample {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut times: Vec<_> =
            times.into_iter().map(|time| time.as_secs_f64() / UNIT.as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        Self(times)
    }
}

impl Sample {
    /// The least time that this many percent of the times don't exceed.
    fn percentile(&self, percent: f64) -> f64 {
        let rank = (self.0.len() as f64 * percent / 100.0).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Whether these may be the median and the 95th percentile of the distribution from which the
    /// times were drawn. The share of them below a percentile follows a binomial distribution, so
    /// this needs no further assumption.
    pub(super) fn agrees(&self, percentiles: &[f64]) -> bool {
        let count = self.0.len() as f64;
        let mut compared = percentiles.iter().zip(PERCENTILES).take(COMPARED);
        compared.all(|(time, percent)| {
            let share = percent / 100.0;
            let deviation = DEVIATIONS_MAX * (share * (1.0 - share) / count).sqrt();
            let below = self.0.partition_point(|other| *other < time - ROUNDING) as f64 / count;
            let up_to = self.0.partition_point(|other| *other <= time + ROUNDING) as f64 / count;
            below <= share + deviation && up_to >= share - deviation
        })
    }
}

/// The cells of a table.
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = PERCENTILES.map(|percent| format!("{:.2}", self.percentile(percent)));
        f.write_str(&cells.join(" | "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evenly_up_to(max: u32) -> Sample {
        (1..=max).map(|number| UNIT * number / max).collect()
    }

    #[test]
    fn percentiles_are_times_that_were_taken() {
        assert_eq!(evenly_up_to(1_000).to_string(), "0.50 | 0.95 | 0.99 | 1.00");
        assert_eq!(evenly_up_to(1).to_string(), "1.00 | 1.00 | 1.00 | 1.00");
    }

    #[test]
    fn few_runs_tell_what_many_say_within_chance() {
        let few = evenly_up_to(400);
        assert!(few.agrees(&[0.5, 0.95]) && few.agrees(&[0.59, 0.95]) && few.agrees(&[0.41, 0.98]));
        assert!(!few.agrees(&[0.62, 0.95]) && !few.agrees(&[0.38, 0.95]));
        assert!(!few.agrees(&[0.5, 0.9]) && !few.agrees(&[0.5, 1.01]));
    }
}
