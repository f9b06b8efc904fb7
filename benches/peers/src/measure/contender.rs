//! Contenders, and the rounds in which they run alternately.

use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Stopwatch, Time};

/// The minimum time of the calls in one round, so that the clock's resolution does not matter.
const ROUND: Duration = Duration::from_millis(15);

/// An implementation of a workload, for comparison with other implementations.
pub(crate) struct Contender<'a> {
    pub(crate) name: String,
    /// Runs one round of the workload and returns the time of the round's measured part.
    pub(crate) run: Box<dyn FnMut() -> Result<Time> + 'a>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(name: impl Into<String>, run: impl FnMut() -> Result<Time> + 'a) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }

    /// Creates a contender that repeats a call for at least [`ROUND`]. The contender's time is the
    /// time of one call.
    pub(crate) fn calls(
        name: impl Into<String>,
        mut call: impl FnMut() -> Result<()> + 'a,
    ) -> Self {
        let mut calls = 0;
        Self::new(name, move || {
            if calls == 0 {
                calls = calls_in_a_round(&mut call)?;
            }
            Ok(timed(calls, &mut call)? / calls)
        })
    }
}

/// The times of a contender, round by round.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) times: Vec<Time>,
}

impl Series {
    /// Returns the median wall-clock time of a round, in seconds.
    pub(crate) fn median(&self) -> f64 {
        let mut times: Vec<_> = self.wall().collect();
        super::ratio::quantile(&mut times, 0.5)
    }

    /// Returns the wall-clock time of each round, in seconds.
    pub(super) fn wall(&self) -> impl Iterator<Item = f64> {
        self.times.iter().map(|time| time.wall.as_secs_f64())
    }

    /// Returns the CPU time of each round, in seconds.
    pub(super) fn cpu(&self) -> impl Iterator<Item = f64> {
        self.times.iter().map(|time| time.cpu.as_secs_f64())
    }

    /// Returns the sum of two series, round by round, such as sealing plus opening.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        let rounds = self.times.iter().zip(&other.times);
        Self {
            name: self.name.clone(),
            times: rounds.map(|(one, other)| *one + *other).collect(),
        }
    }
}

/// Runs every contender once per round. Each round begins with a different contender, so that other
/// load on the machine affects all of them. The first round warms up and is not counted.
pub(crate) fn interleave(contenders: &mut [Contender<'_>], rounds: usize) -> Result<Vec<Series>> {
    let progress = progress((rounds + 1) * contenders.len());
    let mut series: Vec<_> = contenders
        .iter()
        .map(|contender| Series {
            name: contender.name.clone(),
            times: Vec::with_capacity(rounds),
        })
        .collect();
    for round in 0..=rounds {
        let mut turns: Vec<_> = contenders.iter_mut().zip(&mut series).collect();
        let first = round % turns.len().max(1);
        turns.rotate_left(first);
        for (contender, series) in turns {
            progress.set_message(contender.name.clone());
            let time = (contender.run)().with_context(|| contender.name.clone())?;
            if round > 0 {
                series.times.push(time);
            }
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(series)
}

/// Returns the pairs of series to compare. The first `ours` series belong to chartlock. Each later
/// chartlock series is compared with the first one, and each chartlock series with each rival.
pub(crate) fn pairs(series: &[Series], ours: usize) -> impl Iterator<Item = (&Series, &Series)> {
    let (ours, rivals) = series.split_at_checked(ours).unwrap_or_default();
    let among_us = ours.iter().skip(1).zip(ours.iter().take(1).cycle());
    let against_rivals = ours
        .iter()
        .flat_map(move |ours| rivals.iter().map(move |rival| (ours, rival)));
    among_us.chain(against_rivals)
}

fn progress(turns: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("  {bar:30} {pos:>4}/{len} {elapsed:>4} {msg}");
    ProgressBar::new(turns as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn calls_in_a_round(call: &mut impl FnMut() -> Result<()>) -> Result<u32> {
    let mut calls = 1;
    loop {
        // Use the shortest call as the estimate, because a longer call may have been interrupted.
        let mut shortest = Duration::MAX;
        for _ in 0..3 {
            shortest = shortest.min(timed(calls, call)?.wall);
            if shortest < ROUND {
                break;
            }
        }
        if shortest >= ROUND {
            return Ok(calls);
        }
        calls *= 2;
    }
}

fn timed(calls: u32, call: &mut impl FnMut() -> Result<()>) -> Result<Time> {
    let start = Stopwatch::start();
    for _ in 0..calls {
        call()?;
    }
    Ok(start.elapsed())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn rounds_begin_with_different_contenders_and_the_first_is_not_counted() -> Result<()> {
        let turns = RefCell::new(String::new());
        let contender = |name: &'static str, millis| {
            let turns = &turns;
            Contender::new(name, move || {
                turns.borrow_mut().push_str(name);
                Ok(Time {
                    wall: Duration::from_millis(millis),
                    cpu: Duration::ZERO,
                })
            })
        };
        let series = interleave(&mut [contender("a", 1), contender("b", 2)], 3)?;
        assert_eq!(*turns.borrow(), "abbaabba");
        let times = |series: &Series| series.times.len();
        assert_eq!(series.iter().map(times).collect::<Vec<_>>(), [3, 3]);
        Ok(())
    }

    #[test]
    fn pairs_compare_chartlock_with_each_rival_and_its_first_series() {
        let series = ["us", "us too", "them", "others"].map(|name| Series {
            name: name.to_owned(),
            times: Vec::new(),
        });
        let names = |(ours, rival): (&Series, &Series)| format!("{} / {}", ours.name, rival.name);
        let pairs: Vec<_> = pairs(&series, 2).map(names).collect();
        let expected = [
            "us too / us",
            "us / them",
            "us / others",
            "us too / them",
            "us too / others",
        ];
        assert_eq!(pairs, expected);
    }
}
