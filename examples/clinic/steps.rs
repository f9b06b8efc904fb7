//! Table of completed steps with their times, and progress bars.

use std::time::{Duration, Instant};

use chartlock::progress::ProgressUpdate;
use indicatif::{ProgressBar, ProgressStyle};

use crate::Outcome;
use crate::table::{Table, byte_rate, count, rate, time};

pub(crate) struct Steps {
    table: Table,
}

impl Steps {
    pub(crate) fn new() -> Self {
        let titles = ["step", "items", "", "time", "items/s", "content/s"];
        Self {
            table: Table::new(&titles),
        }
    }

    /// Runs a step that returns a result, a count of items and the size of the content read. With
    /// an empty `items`, the table shows only the time.
    pub(crate) fn time<T>(
        &mut self,
        step: &str,
        items: &str,
        work: impl FnOnce() -> Outcome<(T, u64, Option<u64>)>,
    ) -> Outcome<T> {
        let started = Instant::now();
        let (result, number, bytes) = work()?;
        let elapsed = started.elapsed();
        let (number, per_second) = match items {
            "" => (String::new(), String::new()),
            _ => (count(number), rate(number, elapsed)),
        };
        let bytes = bytes.map_or_else(String::new, |bytes| byte_rate(bytes, elapsed));
        let items = items.to_owned();
        (self.table).row([
            step.to_owned(),
            number,
            items,
            time(elapsed),
            per_second,
            bytes,
        ]);
        Ok(result)
    }

    pub(crate) fn print(&self) {
        self.table.print();
    }
}

/// Creates a progress bar for a known length in bytes.
pub(crate) fn bar(message: &'static str, bytes: u64) -> Outcome<ProgressBar> {
    let style = "{msg:24} [{bar:40}] {bytes:>10} of {total_bytes}  {bytes_per_sec}";
    let style = ProgressStyle::with_template(style)?.progress_chars("=> ");
    Ok(ProgressBar::new(bytes)
        .with_style(style)
        .with_message(message))
}

/// Creates a counter for vault scans, whose length is not known in advance.
pub(crate) fn counter() -> Outcome<(ProgressBar, impl Fn(ProgressUpdate) + Send + Sync + 'static)> {
    let style = ProgressStyle::with_template("{spinner} {msg}: {human_pos}")?;
    let counter = ProgressBar::no_length().with_style(style);
    counter.enable_steady_tick(Duration::from_millis(100));
    let shown = counter.clone();
    Ok((counter, move |step: ProgressUpdate| {
        shown.set_message(step.phase.to_string());
        shown.set_position(step.done);
    }))
}
