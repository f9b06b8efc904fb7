//! Result tables, whose rows compare chartlock with a rival.

use serde::{Deserialize, Serialize};

use super::quantity::three_digits;
use super::ratio::quantile;
use super::{Quantity, Ratio, Series};

/// The target value of a ratio.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(target) => ratio >= target,
            Self::AtMost(target) => ratio <= target,
        }
    }
}

/// A side of a comparison: its name and its measured value, the median over all rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Side {
    pub(crate) name: String,
    pub(crate) measured: Quantity,
    /// The median CPU time over all rounds, where it was measured.
    #[serde(default)]
    pub(crate) cpu: Option<Quantity>,
}

impl Side {
    /// Creates a side without CPU time.
    #[cfg(any(test, feature = "store"))]
    pub(crate) fn new(name: impl Into<String>, measured: Quantity) -> Self {
        Self {
            name: name.into(),
            measured,
            cpu: None,
        }
    }
}

impl From<&Series> for Side {
    fn from(series: &Series) -> Self {
        Self {
            name: series.name.clone(),
            measured: Quantity::Seconds(series.median()),
            cpu: Some(Quantity::Seconds(quantile(
                &mut series.cpu().collect::<Vec<_>>(),
                0.5,
            ))),
        }
    }
}

/// A comparison of chartlock with a rival in one workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) work: String,
    pub(crate) ours: Side,
    pub(crate) rival: Side,
    pub(crate) ratio: Ratio,
    /// The ratio of the CPU times, where they were measured.
    #[serde(default)]
    pub(crate) cpu: Option<Ratio>,
    pub(crate) target: Option<Target>,
    pub(crate) met: Option<bool>,
    /// The content size of the workload in bytes, if the table shows a throughput.
    pub(crate) bytes: Option<u64>,
}

impl Row {
    /// Compares times: the rival's time divided by chartlock's time should be at least `target`.
    pub(crate) fn timed(
        work: impl Into<String>,
        ours: &Series,
        rival: &Series,
        target: Option<f64>,
    ) -> Self {
        let ratio = Ratio::of(ours, rival);
        let target = target.map(Target::AtLeast);
        Self {
            cpu: Some(Ratio::of_cpu(ours, rival)),
            ..Self::new(work.into(), ours.into(), rival.into(), ratio, target)
        }
    }

    #[cfg(any(test, feature = "store"))]
    /// Compares sizes or growth: chartlock's value divided by the value of `base` should be at most
    /// `limit`.
    pub(crate) fn limited(work: impl Into<String>, ours: Side, base: Side, limit: f64) -> Self {
        let ratio = Ratio::exact(ours.measured.value() / base.measured.value());
        let target = Some(Target::AtMost(limit));
        Self::new(work.into(), ours, base, ratio, target)
    }

    #[cfg(feature = "store")]
    /// Compares sizes like [`Row::limited`], without a target.
    pub(crate) fn compared(work: impl Into<String>, ours: Side, base: Side) -> Self {
        let ratio = Ratio::exact(ours.measured.value() / base.measured.value());
        Self::new(work.into(), ours, base, ratio, None)
    }

    /// Creates a row and records whether the ratio meets the target.
    pub(crate) fn new(
        work: String,
        ours: Side,
        rival: Side,
        ratio: Ratio,
        target: Option<Target>,
    ) -> Self {
        Self {
            met: target.map(|target| target.is_met(ratio.median)),
            work,
            ours,
            rival,
            ratio,
            cpu: None,
            target,
            bytes: None,
        }
    }

    /// Sets the content size in bytes, so that the table shows a throughput.
    pub(crate) fn of_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    fn markdown(&self) -> String {
        let Ratio {
            median,
            lower,
            upper,
        } = self.ratio;
        let spread = match lower == upper {
            true => String::new(),
            false => format!(" ({} to {})", three_digits(lower), three_digits(upper)),
        };
        let target = match self.target {
            Some(Target::AtLeast(target)) => format!("at least {target}"),
            Some(Target::AtMost(target)) => format!("at most {target}"),
            None => String::new(),
        };
        let met = match self.met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | **{}**{spread} | {} | {target} | {met} |\n",
            self.work,
            self.ours.name,
            self.ours.measured,
            shown(self.ours.cpu),
            self.rival.name,
            self.rival.measured,
            shown(self.rival.cpu),
            three_digits(median),
            shown(self.cpu.map(|cpu| three_digits(cpu.median))),
        )
    }
}

/// Formats a value, or nothing if it was not measured.
fn shown(value: Option<impl std::fmt::Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// A table of related rows, with a description of what each side does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Table {
    /// The name of the table's file.
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) intro: String,
    /// The crates whose versions the table lists.
    pub(crate) crates: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

/// The row count above which a table is collapsed below its plot.
const LONG: usize = 50;

impl Table {
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n{}\n\n", self.title, self.intro);
        let is_long = self.rows.len() > LONG;
        if is_long {
            text.push_str(&format!(
                "<details><summary>{} ratios</summary>\n\n",
                self.rows.len()
            ));
        }
        text.push_str("| work | ours | time or size | CPU | against | time or size | CPU | ratio (middle half) | ratio of CPU | target | met |\n");
        text.push_str("|---|---|---:|---:|---|---:|---:|---|---:|---|---|\n");
        text.extend(self.rows.iter().map(Row::markdown));
        if is_long {
            text.push_str("\n</details>\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::Time;

    fn series(name: &str, millis: u64) -> Series {
        Series {
            name: name.to_owned(),
            times: vec![
                Time {
                    wall: Duration::from_millis(millis),
                    cpu: Duration::from_millis(2 * millis),
                };
                3
            ],
        }
    }

    #[test]
    fn ratio_of_times_below_the_target_misses_it() {
        let row = |target| Row::timed("put", &series("us", 2), &series("them", 3), target);
        assert_eq!(row(Some(1.5)).met, Some(true));
        assert_eq!(row(Some(1.6)).met, Some(false));
        assert_eq!(row(None).met, None);
    }

    #[test]
    fn ratio_of_sizes_above_the_limit_misses_it() {
        let side = |bytes| Side::new("disk", Quantity::Bytes(bytes));
        let row = |bytes| Row::limited("disk", side(bytes), side(100.0), 1.5);
        assert_eq!(row(150.0).met, Some(true));
        assert_eq!(row(151.0).met, Some(false));
    }

    #[test]
    fn row_shows_both_times_and_the_ratio() {
        let row = Row::timed("put", &series("us", 2), &series("them", 3), Some(1.5));
        let expected = "| put | us | 2.00 ms | 4.00 ms | them | 3.00 ms | 6.00 ms | **1.50** | 1.50 | at least 1.5 | yes |\n";
        assert_eq!(row.markdown(), expected);
    }
}
