//! Break-glass sessions: the scope and the time limit.

use std::time::Duration;

use chartlock::Subject;
use chartlock::access::BreakGlassScope;
use chartlock::input::{InputFault, InputField};
use chartlock::internals::access::BrokenGlass;

use crate::common::invalid::invalid_metadata;
use crate::common::subject;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn break_glass_ends_after_its_duration() {
    let broken_at = Duration::from_secs(500);
    let glass = BrokenGlass::new(BreakGlassScope::AllPatients, HOUR, broken_at);
    let glass = glass.unwrap();
    assert!(glass.is_open(broken_at));
    assert!(glass.is_open(broken_at + HOUR - Duration::from_nanos(1)));
    assert!(!glass.is_open(broken_at + HOUR));
    assert!(!glass.is_open(Duration::MAX));
    assert_eq!(format!("{glass:?}"), "BrokenGlass(..)");
}

#[test]
fn break_glass_without_limit_is_refused() {
    let broken =
        |duration| BrokenGlass::new(BreakGlassScope::AllPatients, duration, Duration::ZERO).err();
    let refused = Some(invalid_metadata(
        InputField::BreakGlassDuration,
        InputFault::OutOfRange,
    ));
    assert_eq!(broken(Duration::ZERO), refused);
    assert_eq!(broken(24 * HOUR + Duration::from_nanos(1)), refused);
    assert_eq!(broken(24 * HOUR), None);
}

#[test]
fn break_glass_covers_only_its_scope() {
    let covers = |scope: BreakGlassScope, subject: Option<&Subject>| {
        let glass = BrokenGlass::new(scope, HOUR, Duration::ZERO).unwrap();
        glass.covers(subject)
    };
    let (one, other) = (subject("MRN-1"), subject("MRN-2"));
    let payroll = Subject::organization("payroll").unwrap();
    assert!(covers(BreakGlassScope::from(&one), Some(&one)));
    assert!(!covers(BreakGlassScope::from(&one), Some(&other)));
    assert!(!covers(BreakGlassScope::from(&one), None));
    assert!(covers(BreakGlassScope::AllPatients, Some(&other)));
    assert!(!covers(BreakGlassScope::AllPatients, Some(&payroll)));
    assert!(covers(
        BreakGlassScope::from(payroll.clone()),
        Some(&payroll)
    ));
}
