//! Broken glass: for how long.

use std::time::Duration;

use chartlock::Error;
use chartlock::internals::access::BrokenGlass;

use crate::common::actor;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn glass_closes_when_its_time_is_over() {
    let broken_at = Duration::from_secs(500);
    let glass = BrokenGlass::new(
        actor("dr.garcia"),
        "unconscious, no history",
        HOUR,
        broken_at,
    );
    let glass = glass.unwrap();
    assert_eq!(glass.actor().name(), "dr.garcia");
    assert_eq!(glass.reason(), "unconscious, no history");
    assert!(glass.is_open(broken_at));
    assert!(glass.is_open(broken_at + HOUR - Duration::from_nanos(1)));
    assert!(!glass.is_open(broken_at + HOUR));
    assert!(!glass.is_open(Duration::MAX));
    assert_eq!(format!("{glass:?}"), "BrokenGlass(..)");
}

#[test]
fn glass_is_not_broken_for_nothing_nor_for_ever() {
    let broken = |reason: &str, duration| {
        BrokenGlass::new(actor("dr.garcia"), reason, duration, Duration::ZERO).err()
    };
    let refused = Some(Error::InvalidMetadata);
    assert_eq!(broken("why", Duration::ZERO), refused);
    assert_eq!(broken("why", 24 * HOUR + Duration::from_nanos(1)), refused);
    assert_eq!(broken("", HOUR), refused);
    assert_eq!(broken("two\nlines", HOUR), refused);
    assert_eq!(broken(&"a".repeat(256), HOUR), refused);
    assert_eq!(broken(&"a".repeat(255), 24 * HOUR), None);
}
