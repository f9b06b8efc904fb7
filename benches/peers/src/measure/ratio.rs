//! Medians of pairs.

use serde::{Deserialize, Serialize};

use super::Series;

/// How many times one thing is another; its spread is the middle half.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
}

impl Ratio {
    /// The rival's time in ours, of the two times of each round. Above 1 we are faster.
    pub(crate) fn of(ours: &Series, rival: &Series) -> Self {
        let pairs = ours.times.iter().zip(&rival.times);
        let mut ratios: Vec<_> = pairs
            .map(|(ours, rival)| rival.as_secs_f64() / ours.as_secs_f64())
            .collect();
        Self {
            lower: quantile(&mut ratios, 0.25),
            median: quantile(&mut ratios, 0.5),
            upper: quantile(&mut ratios, 0.75),
        }
    }

    #[cfg(any(test, feature = "store"))]
    /// Of what was measured once, or does not vary.
    pub(crate) fn exact(ratio: f64) -> Self {
        Self {
            median: ratio,
            lower: ratio,
            upper: ratio,
        }
    }
}

/// Between two values where none stands at that place. Not a number when there is no value.
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

    fn series(times: &[u64]) -> Series {
        Series {
            name: "one".to_owned(),
            times: times.iter().copied().map(Duration::from_millis).collect(),
        }
    }

    #[test]
    fn pairs_are_those_of_a_round() {
        // The machine was ten times slower in the second round, for both.
        let ratio = Ratio::of(&series(&[10, 100, 10]), &series(&[20, 200, 20]));
        assert_eq!(ratio, Ratio::exact(2.0));
    }

    #[test]
    fn the_spread_is_the_middle_half() {
        let ratio = Ratio::of(&series(&[10; 5]), &series(&[50, 10, 40, 20, 30]));
        assert_eq!((ratio.lower, ratio.median, ratio.upper), (2.0, 3.0, 4.0));
    }

    #[test]
    fn a_quantile_lies_between_two_values() {
        assert_eq!(quantile(&mut [4.0, 1.0], 0.5), 2.5);
        assert!(quantile(&mut [], 0.5).is_nan());
    }
}
