//! Paired timing: chartlock and the baseline run alternately, so that other load on the machine
//! affects both.

use std::time::Duration;

/// Runs chartlock and the baseline alternately, and prints both median times and the median of the
/// ratios.
pub(crate) fn ratio(
    name: &str,
    pairs: usize,
    mut ours: impl FnMut() -> Duration,
    mut bare: impl FnMut() -> Duration,
) {
    ours();
    bare();
    let mut times: Vec<(Duration, Duration)> = (0..pairs).map(|_| (ours(), bare())).collect();
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let mut a: Vec<f64> = times.iter().map(|pair| pair.0.as_secs_f64()).collect();
    let mut b: Vec<f64> = times.iter().map(|pair| pair.1.as_secs_f64()).collect();
    let mut ratios: Vec<f64> = times
        .drain(..)
        .map(|(ours, bare)| ours.as_secs_f64() / bare.as_secs_f64())
        .collect();
    println!(
        "{name:<52} ours {:>10} bare {:>10} ratio {:.2}",
        human(median(&mut a)),
        human(median(&mut b)),
        median(&mut ratios)
    );
}

pub(crate) fn human(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.0} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.2} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}
