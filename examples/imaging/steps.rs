//! Table of completed steps with their times and peak memory, and progress bars.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::Outcome;
use crate::memory;
use crate::table::{Table, byte_rate, bytes, count, rate, time};

pub(crate) struct Steps {
    table: Table,
}

/// The number of files in a step, and their size if the step read all of them.
pub(crate) type Work = (u64, Option<u64>);

impl Steps {
    pub(crate) fn new() -> Self {
        let titles = [
            "step",
            "records",
            "content",
            "time",
            "records/s",
            "content/s",
            "peak memory",
        ];
        Self {
            table: Table::new(&titles),
        }
    }

    pub(crate) fn time<T>(
        &mut self,
        step: &str,
        work: impl FnOnce() -> Outcome<(T, Option<Work>)>,
    ) -> Outcome<T> {
        let started = Instant::now();
        let (result, done) = work()?;
        let elapsed = started.elapsed();
        let or_empty = |cell: Option<String>| cell.unwrap_or_default();
        let (number, size) = (done.map(|done| done.0), done.and_then(|done| done.1));
        self.table.row([
            step.to_owned(),
            or_empty(number.map(count)),
            or_empty(size.map(bytes)),
            time(elapsed),
            or_empty(number.map(|number| rate(number, elapsed))),
            or_empty(size.map(|size| byte_rate(size, elapsed))),
            or_empty(memory::peak().map(bytes)),
        ]);
        Ok(result)
    }

    pub(crate) fn print(&self) {
        self.table.print();
    }
}

/// Creates a progress bar for a length in bytes.
pub(crate) fn bar(message: &'static str, bytes: u64) -> Outcome<ProgressBar> {
    let style = "{msg:16} [{bar:40}] {bytes:>10} of {total_bytes}  {bytes_per_sec}  {eta}";
    let style = ProgressStyle::with_template(style)?.progress_chars("=> ");
    Ok(ProgressBar::new(bytes)
        .with_style(style)
        .with_message(message))
}
