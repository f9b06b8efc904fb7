//! What was done, with its time and the memory that it took; and a bar for who waits.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::Outcome;
use crate::memory;
use crate::table::{Table, byte_rate, bytes, count, rate, time};

pub(crate) struct Steps {
    table: Table,
}

/// The number of files that a step went through, and their bytes where it read all of them.
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
        let told = |cell: Option<String>| cell.unwrap_or_default();
        let (number, size) = (done.map(|done| done.0), done.and_then(|done| done.1));
        self.table.row([
            step.to_owned(),
            told(number.map(count)),
            told(size.map(bytes)),
            time(elapsed),
            told(number.map(|number| rate(number, elapsed))),
            told(size.map(|size| byte_rate(size, elapsed))),
            told(memory::peak().map(bytes)),
        ]);
        Ok(result)
    }

    pub(crate) fn print(&self) {
        self.table.print();
    }
}

/// A bar for so many bytes of content.
pub(crate) fn bar(message: &'static str, bytes: u64) -> Outcome<ProgressBar> {
    let style = "{msg:16} [{bar:40}] {bytes:>10} of {total_bytes}  {bytes_per_sec}  {eta}";
    let style = ProgressStyle::with_template(style)?.progress_chars("=> ");
    Ok(ProgressBar::new(bytes)
        .with_style(style)
        .with_message(message))
}
