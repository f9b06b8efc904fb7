//! Meters that count failures and denials, and raise an event when many happen within a time
//! window.

use std::time::Duration;

use chartlock::access::SecurityEvent;
use chartlock::internals::access::{DenialMeter, FailureMeter, Meter};

use crate::common::actor;

const WINDOW: Duration = Duration::from_secs(600);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn fifth_failure_in_ten_minutes_raises_one_event() {
    let mut meter = FailureMeter::new();
    for second in [0, 1, 2, 599] {
        assert_eq!(meter.note(at(second)), None);
    }
    let (count, within) = (5, WINDOW);
    let event = SecurityEvent::RepeatedFailures { count, within };
    assert_eq!(meter.note(at(599)), Some(event));
    assert_eq!(meter.note(at(599)), None);
}

#[test]
fn failure_is_counted_for_one_time_window() {
    let mut meter = FailureMeter::new();
    for second in [0, 100, 200, 300, 600, 700, 800, 900, 1_200] {
        assert_eq!(meter.note(at(second)), None, "{second}");
    }
    // The window contains the failures at 700, 800, 900, 1,200 and 1,299 seconds, but not the
    // failure at 600.
    assert!(meter.note(at(1_299)).is_some());
}

#[test]
fn meter_raises_next_event_after_one_time_window() {
    let mut meter = Meter::new(3, WINDOW);
    let reports: Vec<_> = (0..20)
        .filter_map(|step| {
            let count = meter.note(at(step * 100))?;
            Some((step * 100, count))
        })
        .collect();
    assert_eq!(reports, [(200, 3), (800, 6), (1_400, 6)]);
}

#[test]
fn flood_of_failures_is_counted_up_to_meter_capacity() {
    let mut meter = Meter::new(3, WINDOW);
    let first = (0..100_000)
        .filter_map(|_| meter.note(at(0)))
        .collect::<Vec<_>>();
    assert_eq!(first, [3]);
    for _ in 0..5_000 {
        assert_eq!(meter.note(at(599)), None);
    }
    assert_eq!(meter.note(at(600)), Some(1_000));
}

#[test]
fn failures_with_unordered_times_are_counted() {
    let mut meter = Meter::new(3, WINDOW);
    assert_eq!(meter.note(at(5_000)), None);
    assert_eq!(meter.note(at(4_999)), None);
    assert_eq!(meter.note(at(4_998)), Some(3));
}

#[test]
fn denials_are_counted_per_actor() {
    let mut meter = DenialMeter::default();
    for number in 0..9 {
        for name in ["desk.lee", "desk.kim"] {
            assert_eq!(meter.note(&actor(name), at(number)), None);
        }
    }
    let event = meter.note(&actor("desk.lee"), at(9)).unwrap();
    assert_eq!(event.actor(), Some(&actor("desk.lee")));
    let expected = SecurityEvent::RepeatedDenials {
        actor: actor("desk.lee"),
        count: 10,
        within: WINDOW,
    };
    assert_eq!(event, expected);
    assert_eq!(meter.note(&actor("desk.lee"), at(10)), None);
}

#[test]
fn flood_of_actors_evicts_least_recently_denied_actor() {
    let mut meter = DenialMeter::default();
    for number in 0..9 {
        assert_eq!(meter.note(&actor("early"), at(number)), None);
        assert_eq!(meter.note(&actor("late"), at(500)), None);
    }
    for number in 0..999 {
        let flood = actor(&format!("made up {number}"));
        assert_eq!(meter.note(&flood, at(501)), None);
    }
    assert!(meter.note(&actor("late"), at(502)).is_some());
    assert_eq!(meter.note(&actor("early"), at(503)), None);
}
