//! Ratios of paired measurements: median and spread.

use serde::{Deserialize, Serialize};

use super::Series;

/// The median ratio of two series of measurements. The spread is the interquartile range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
}

impl Ratio {
    /// Divides the rival's wall-clock time by chartlock's in each round. A ratio above 1 means that
    /// chartlock is faster.
    pub(crate) fn of(ours: &Series, rival: &Series) -> Self {
        Self::paired(ours.wall(), rival.wall())
    }

    /// Divides the rival's CPU time by chartlock's in each round.
    pub(crate) fn of_cpu(ours: &Series, rival: &Series) -> Self {
        Self::paired(ours.cpu(), rival.cpu())
    }

    fn paired(ours: impl Iterator<Item = f64>, rival: impl Iterator<Item = f64>) -> Self {
        let mut ratios: Vec<_> = ours.zip(rival).map(|(ours, rival)| rival / ours).collect();
        Self {
            lower: quantile(&mut ratios, 0.25),
            median: quantile(&mut ratios, 0.5),
            upper: quantile(&mut ratios, 0.75),
        }
    }

    #[cfg(any(test, feature = "store"))]
    /// Creates a ratio without a spread, for values that are measured once or are constant.
    pub(crate) fn exact(ratio: f64) -> Self {
        Self {
            median: ratio,
            lower: ratio,
            upper: ratio,
        }
    }
}

/// Returns a quantile, interpolated between two values if needed, or NaN for an empty slice.
pub(super) fn quantile(values: &mut [f64], at: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = at * values.len().saturating_sub(1) as f64;
    let value = |place: f64| values.get(place as usize).copied().unwrap_or(f64::NAN);
    let (below, above) = (value(place.floor()), value(place.ceil()));
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::Time;

    fn time(wall: u64) -> Time {
        Time {
            wall: Duration::from_millis(wall),
            cpu: Duration::from_millis(3 * wall),
        }
    }

    fn series(times: &[u64]) -> Series {
        Series {
            name: "one".to_owned(),
            times: times.iter().map(|wall| time(*wall)).collect(),
        }
    }

    #[test]
    fn ratio_pairs_the_times_of_one_round() {
        // In the second round, the machine is ten times slower for both sides.
        let ratio = Ratio::of(&series(&[10, 100, 10]), &series(&[20, 200, 20]));
        assert_eq!(ratio, Ratio::exact(2.0));
        let ratio = Ratio::of_cpu(&series(&[10, 100]), &series(&[20, 200]));
        assert_eq!(ratio, Ratio::exact(2.0));
    }

    #[test]
    fn spread_is_the_interquartile_range() {
        let ratio = Ratio::of(&series(&[10; 5]), &series(&[50, 10, 40, 20, 30]));
        assert_eq!((ratio.lower, ratio.median, ratio.upper), (2.0, 3.0, 4.0));
    }

    #[test]
    fn quantile_between_two_values_is_interpolated() {
        assert_eq!(quantile(&mut [4.0, 1.0], 0.5), 2.5);
        assert!(quantile(&mut [], 0.5).is_nan());
    }
}
