//! Arguments that name a time range.

use std::time::{Duration, UNIX_EPOCH};

use chartlock::audit::{TimeRange, Timestamp};
use clap::Args;

use super::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct TimeArguments {
    /// First day in UTC, in the form 2026-11-21.
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// Last day in UTC, inclusive.
    #[arg(long, value_name = "DAY")]
    until: Option<String>,
}

const SECONDS_OF_DAY: u64 = 86_400;

impl TimeArguments {
    pub(crate) fn range(&self) -> Result<TimeRange, Failure> {
        let start = |day: &Option<String>, days_later| {
            let day = day.as_deref();
            day.map(|day| start_of(day, days_later)).transpose()
        };
        let range = TimeRange {
            from: start(&self.from, 0)?,
            until: start(&self.until, 1)?,
        };
        match (range.from, range.until) {
            (Some(from), Some(until)) if from >= until => Err(Failure::usage(
                "the day of --from is after the day of --until",
                "exchange the two days",
            )),
            _ => Ok(range),
        }
    }
}

/// Returns the beginning of a day, or of a later day.
fn start_of(text: &str, days_later: u64) -> Result<Timestamp, Failure> {
    let invalid = || Failure::usage("a day is not valid", "use the form 2026-11-21");
    let day = days_since_epoch(text).ok_or_else(invalid)?;
    let seconds = (day + days_later) * SECONDS_OF_DAY;
    let start = Timestamp::from(UNIX_EPOCH + Duration::from_secs(seconds));
    // February 30 would otherwise become a day of March.
    let is_same = days_later > 0 || start.day() == text;
    is_same.then_some(start).ok_or_else(invalid)
}

/// Returns the number of days from 1970-01-01 to a day of the years 1970 to 9999.
fn days_since_epoch(text: &str) -> Option<u64> {
    let mut parts = text.split('-');
    let mut number = |digits: usize| {
        let part = parts.next()?;
        let is_number = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| part.parse::<u64>().ok()).flatten()
    };
    let (year, month, day) = (number(4)?, number(2)?, number(2)?);
    let is_valid = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day);
    if parts.next().is_some() || !is_valid {
        return None;
    }
    // Years begin in March, so that the leap day is the last day of the year.
    let year = year - u64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some((year * 365 + year / 4 - year / 100 + year / 400 + day_of_year).saturating_sub(719_468))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(from: &str, until: &str) -> Result<TimeRange, Failure> {
        TimeArguments {
            from: Some(from.to_owned()),
            until: Some(until.to_owned()),
        }
        .range()
    }

    #[test]
    fn days_become_the_times_of_their_beginning_and_end() {
        let range = argument("2024-02-29", "2024-02-29").unwrap_or_default();
        let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
        assert_eq!(
            text(range.from).as_deref(),
            Some("2024-02-29T00:00:00.000Z")
        );
        assert_eq!(
            text(range.until).as_deref(),
            Some("2024-03-01T00:00:00.000Z")
        );
        assert_eq!(days_since_epoch("1970-01-01"), Some(0));
    }

    #[test]
    fn invalid_days_are_refused() {
        for day in [
            "2023-02-29",
            "2023-13-01",
            "23-01-01",
            "2023-1-1",
            "2023-01-01-01",
            "",
            "x",
        ] {
            assert!(argument(day, "2030-01-01").is_err(), "{day}");
        }
        assert!(argument("2024-02-02", "2024-02-01").is_err());
    }
}
