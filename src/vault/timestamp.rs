//! Timestamps, as stored and as reported.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

const DAY: i64 = 24 * 60 * 60 * 1000;

/// A point in time with millisecond precision, displayed and serialized as RFC 3339 in UTC, for the years
/// 0 to 9999.
///
/// It covers 292 million years before and after 1970. A conversion from `SystemTime` drops the part below one
/// millisecond; a time out of range becomes the nearest `Timestamp`. With the features `jiff` and `chrono`, it converts
/// from `jiff::Timestamp` and `chrono::DateTime<Utc>`, rounded down to the millisecond, which always succeeds. The
/// reverse conversion is `TryFrom`: years before -9999 or after 9999 (`jiff`), or beyond 262,000 years (`chrono`), return the time as
/// the error. For methods that take `SystemTime`, both crates have conversions of their own.
///
/// ```
/// # use chartlock::audit::Timestamp;
/// let time = Timestamp::from_millis(1_700_000_000_123);
/// assert_eq!(time.to_string(), "2023-11-14T22:13:20.123Z");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest time.
    pub(crate) const MIN: Self = Self(i64::MIN);

    /// Creates a timestamp from milliseconds since 1970-01-01 UTC; negative for earlier times.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since 1970-01-01 UTC.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Returns the day in UTC, in the form `2026-11-21`.
    pub fn day(self) -> String {
        let (year, month, day) = civil(self.0.div_euclid(DAY));
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// Subtracts calendar years. In a year without a leap day, February 29 becomes February 28.
    pub(crate) fn years_before(self, years: i64) -> Self {
        let (days, within) = (self.0.div_euclid(DAY), self.0.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        let day = match (month, day) {
            (2, 29) if !is_leap(year - years) => 28,
            _ => day,
        };
        let days = days_until(year - years, month, day);
        Self(days.saturating_mul(DAY).saturating_add(within))
    }

    pub(crate) fn minus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let millis = |since: Duration| i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(since) => millis(since),
            Err(before) => -millis(before.duration()),
        })
    }
}

impl From<Timestamp> for SystemTime {
    fn from(Timestamp(millis): Timestamp) -> Self {
        let distance = Duration::from_millis(millis.unsigned_abs());
        let time = if millis < 0 {
            UNIX_EPOCH.checked_sub(distance)
        } else {
            UNIX_EPOCH.checked_add(distance)
        };
        time.unwrap_or(UNIX_EPOCH)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = self.0.rem_euclid(DAY);
        let (seconds, millis) = (within / 1000, within % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let day = self.day();
        write!(f, "{day}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Rounds down to the millisecond.
#[cfg(feature = "jiff")]
impl From<jiff::Timestamp> for Timestamp {
    fn from(time: jiff::Timestamp) -> Self {
        // The range of `jiff` fits.
        let nanos = time.as_nanosecond().div_euclid(1_000_000);
        Self(i64::try_from(nanos).unwrap_or(i64::MAX))
    }
}

/// Returns the time as the error if it is outside the years -9999 to 9999.
#[cfg(feature = "jiff")]
impl TryFrom<Timestamp> for jiff::Timestamp {
    type Error = Timestamp;

    fn try_from(time: Timestamp) -> Result<Self, Timestamp> {
        Self::from_millisecond(time.0).map_err(|_| time)
    }
}

/// Rounds down to the millisecond. A leap second counts as the first second after it.
#[cfg(feature = "chrono")]
impl From<chrono::DateTime<chrono::Utc>> for Timestamp {
    fn from(time: chrono::DateTime<chrono::Utc>) -> Self {
        Self(time.timestamp_millis())
    }
}

/// Returns the time as the error if it is beyond about 262,000 years from the year 0.
#[cfg(feature = "chrono")]
impl TryFrom<Timestamp> for chrono::DateTime<chrono::Utc> {
    type Error = Timestamp;

    fn try_from(time: Timestamp) -> Result<Self, Timestamp> {
        Self::from_timestamp_millis(time.0).ok_or(time)
    }
}

/// Converts days since 1970-01-01 to year, month and day of the Gregorian calendar. The computation
/// begins years in March, so that the leap day is the last day of the year.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Converts year, month and day to days since 1970-01-01. This is the inverse of [`civil`].
fn days_until(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}
