//! Conversions of timestamps from and to the types of `jiff` and `chrono`.

use std::time::{Duration, UNIX_EPOCH};

use chartlock::audit::Timestamp;

const TIMES: [(i64, &str); 4] = [
    (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
    (0, "1970-01-01T00:00:00.000Z"),
    (-1, "1969-12-31T23:59:59.999Z"),
    (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
];

#[test]
fn jiff_timestamps_convert_both_ways() {
    for (millis, text) in TIMES {
        let time: jiff::Timestamp = text.parse().unwrap();
        assert_eq!(Timestamp::from(time).millis(), millis);
        assert_eq!(Timestamp::from(time).to_string(), text);
        assert_eq!(
            jiff::Timestamp::try_from(Timestamp::from_millis(millis)),
            Ok(time)
        );
    }
    for time in [jiff::Timestamp::MIN, jiff::Timestamp::MAX] {
        let millis = Timestamp::from(time).millis();
        assert_eq!(millis, time.as_nanosecond().div_euclid(1_000_000) as i64);
    }
    for millis in [i64::MIN, i64::MAX, 253_402_300_800_000] {
        let time = Timestamp::from_millis(millis);
        assert_eq!(jiff::Timestamp::try_from(time), Err(time));
    }
}

#[test]
fn chrono_times_convert_both_ways() {
    type Time = chrono::DateTime<chrono::Utc>;
    for (millis, text) in TIMES {
        let time: Time = text.parse().unwrap();
        assert_eq!(Timestamp::from(time).millis(), millis);
        assert_eq!(Time::try_from(Timestamp::from_millis(millis)), Ok(time));
    }
    for time in [Time::MIN_UTC, Time::MAX_UTC] {
        let back = Time::try_from(Timestamp::from(time)).unwrap();
        assert!(back <= time && time - back < chrono::TimeDelta::milliseconds(1));
    }
    for millis in [i64::MIN, i64::MAX] {
        let time = Timestamp::from_millis(millis);
        assert_eq!(Time::try_from(time), Err(time));
    }
}

#[test]
fn conversions_round_down_to_the_millisecond() {
    for (nanos, millis) in [(1_999_999, 1), (-1, -1), (-1_000_001, -2)] {
        let time = jiff::Timestamp::from_nanosecond(nanos).unwrap();
        assert_eq!(Timestamp::from(time).millis(), millis);
        let time = chrono::DateTime::from_timestamp_nanos(nanos as i64);
        assert_eq!(Timestamp::from(time).millis(), millis);
    }
}

#[test]
fn system_times_convert_through_both_crates() {
    let time = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    let expected = Timestamp::from(time);
    assert_eq!(
        Timestamp::from(jiff::Timestamp::try_from(time).unwrap()),
        expected
    );
    assert_eq!(
        Timestamp::from(chrono::DateTime::<chrono::Utc>::from(time)),
        expected
    );
    let back = std::time::SystemTime::from(jiff::Timestamp::try_from(expected).unwrap());
    assert_eq!(back, time);
}
