//! Break-glass sessions: the required reason and the time limit.

use std::time::Duration;

use chartlock::Error;
use chartlock::internals::access::BrokenGlass;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn break_glass_ends_after_its_duration() {
    let broken_at = Duration::from_secs(500);
    let glass = BrokenGlass::new("unconscious, no history", HOUR, broken_at);
    let glass = glass.unwrap();
    assert!(glass.is_open(broken_at));
    assert!(glass.is_open(broken_at + HOUR - Duration::from_nanos(1)));
    assert!(!glass.is_open(broken_at + HOUR));
    assert!(!glass.is_open(Duration::MAX));
    assert_eq!(format!("{glass:?}"), "BrokenGlass(..)");
}

#[test]
fn break_glass_without_reason_or_limit_is_refused() {
    let broken = |reason: &str, duration| BrokenGlass::new(reason, duration, Duration::ZERO).err();
    let refused = Some(Error::InvalidMetadata);
    assert_eq!(broken("why", Duration::ZERO), refused);
    assert_eq!(broken("why", 24 * HOUR + Duration::from_nanos(1)), refused);
    assert_eq!(broken("", HOUR), refused);
    assert_eq!(broken("two\nlines", HOUR), refused);
    assert_eq!(broken(&"a".repeat(256), HOUR), refused);
    assert_eq!(broken(&"a".repeat(255), 24 * HOUR), None);
}
