//! Whoever does a work, and the turns that they take at it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// How long the calls of one round take at least, so that the clock's grain does not matter.
const ROUND: Duration = Duration::from_millis(15);

/// Somebody who can do a work again and again.
pub(crate) struct Contender<'a> {
    pub(crate) name: String,
    /// Does one round of the work; returns the time of its measured part.
    pub(crate) run: Box<dyn FnMut() -> Result<Duration> + 'a>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(name: impl Into<String>, run: impl FnMut() -> Result<Duration> + 'a) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }

    /// A round is as many calls as take a while; its time is that of one call.
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

/// What a contender took, round by round.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) times: Vec<Duration>,
}

impl Series {
    /// The median time of a round, in seconds.
    pub(crate) fn median(&self) -> f64 {
        let mut times: Vec<_> = self.times.iter().map(Duration::as_secs_f64).collect();
        super::ratio::quantile(&mut times, 0.5)
    }
}

/// Every round runs each contender once, and each round begins with another one, so that a machine's
/// moods hit all of them alike. A first round warms up and is not counted.
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

fn progress(turns: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("  {bar:30} {pos:>4}/{len} {elapsed:>4} {msg}");
    ProgressBar::new(turns as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn calls_in_a_round(call: &mut impl FnMut() -> Result<()>) -> Result<u32> {
    let mut calls = 1;
    while timed(calls, call)? < ROUND {
        calls *= 2;
    }
    Ok(calls)
}

fn timed(calls: u32, call: &mut impl FnMut() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    for _ in 0..calls {
        call()?;
    }
    Ok(start.elapsed())
}
