//! Security events and their handlers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chartlock::access::{SecurityEvent, SecurityEventHandler, SpoolHead};
use chartlock::internals::access::Alarms;
use serde_json::json;

use crate::common::actor;

fn all() -> Vec<SecurityEvent> {
    let actor = actor("dr.garcia");
    let (count, within) = (12, Duration::from_secs(600));
    vec![
        SecurityEvent::GlassBroken {
            actor: actor.clone(),
            duration: Duration::from_secs(1800),
        },
        SecurityEvent::HoneytokenRead {
            actor: actor.clone(),
        },
        SecurityEvent::RepeatedFailures { count, within },
        SecurityEvent::RepeatedDenials {
            actor: actor.clone(),
            count,
            within,
        },
        SecurityEvent::JournalFailing,
        SecurityEvent::JournalFallbackBegun {
            actor: actor.clone(),
            spool: SpoolHead {
                writer: [1; 16],
                page: 7,
                digest: [2; 32],
            },
        },
        SecurityEvent::JournalFallbackEnded {
            actor,
            missing_chains: 1,
        },
        SecurityEvent::JournalForked,
        SecurityEvent::HeaderRolledBack,
        SecurityEvent::JournalEntriesLost { count },
        SecurityEvent::ClockSetBack { by: within },
    ]
}

#[test]
fn security_event_display_omits_actor() {
    let printed: Vec<_> = all().iter().map(ToString::to_string).collect();
    for (event, text) in all().iter().zip(&printed) {
        assert_eq!(format!("{event:?}"), format!("SecurityEvent({text})"));
        assert!(!text.contains("garcia"), "{text}");
    }
    assert!(printed.contains(&"break-glass access was opened for 30 minutes".to_owned()));
    assert!(printed.contains(&"12 failures to authenticate within 600s".to_owned()));
}

#[test]
fn security_event_about_actor_returns_actor() {
    let named = |event: &SecurityEvent| event.actor().map(|actor| actor.name().to_owned());
    let actors: Vec<_> = all().iter().filter_map(named).collect();
    assert_eq!(actors, ["dr.garcia"; 5]);
}

#[test]
fn serialized_security_event_contains_every_field() {
    let of = |index: usize| serde_json::to_value(all().get(index).unwrap()).unwrap();
    let glass = json!({"event": "glass-broken", "actor": "dr.garcia", "for_seconds": 1800});
    assert_eq!(of(0), glass);
    let failures = json!({"event": "repeated-failures", "count": 12, "within_seconds": 600});
    assert_eq!(of(2), failures);
    assert_eq!(of(4), json!({"event": "journal-failing"}));
    let spool = format!("{}/7/{}", "01".repeat(16), "02".repeat(32));
    let begun = json!({"event": "journal-fallback-begun", "actor": "dr.garcia", "spool": spool});
    assert_eq!(of(5), begun);
}

#[test]
fn closure_as_handler_receives_every_security_event() {
    let (handler, received) = recording_handler();
    for event in all() {
        handler.event(&event);
    }
    assert_eq!(*received.lock().unwrap(), all());
}

/// Returns an event handler that stores the events, and the list of stored events.
fn recording_handler() -> (
    Arc<dyn SecurityEventHandler>,
    Arc<Mutex<Vec<SecurityEvent>>>,
) {
    let received = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&received);
    let handler = move |event: &SecurityEvent| sink.lock().unwrap().push(event.clone());
    (Arc::new(handler), received)
}

#[test]
fn repeated_denials_and_failures_reach_event_handler() {
    let (handler, received) = recording_handler();
    let alarms = Alarms::new(Some(handler));
    let (lee, now) = (actor("desk.lee"), Duration::from_secs(7));
    (0..5).for_each(|_| alarms.failed(now));
    (0..10).for_each(|_| alarms.denied(&lee, now));
    alarms.raise(&SecurityEvent::JournalForked);
    let within = Duration::from_secs(600);
    let (actor, count) = (lee, 10);
    let denials = SecurityEvent::RepeatedDenials {
        actor,
        count,
        within,
    };
    let failures = SecurityEvent::RepeatedFailures { count: 5, within };
    let expected = [failures, denials, SecurityEvent::JournalForked];
    assert_eq!(*received.lock().unwrap(), expected);
}

#[test]
fn handler_that_panics_receives_later_events() {
    let (recorder, received) = recording_handler();
    let handler = move |event: &SecurityEvent| {
        recorder.event(event);
        assert!(!matches!(event, SecurityEvent::RepeatedFailures { .. }));
    };
    let alarms = Alarms::new(Some(Arc::new(handler)));
    let fail = |at| catch_unwind(AssertUnwindSafe(|| alarms.failed(Duration::from_secs(at))));
    let panics = (0..5).filter(|at| fail(*at).is_err()).count();
    assert_eq!(panics, 1);
    assert!(fail(700).is_ok());
    assert!((701..705).any(|at| fail(at).is_err()));
    assert_eq!(received.lock().unwrap().len(), 2);
}

#[test]
fn security_events_without_handler_are_discarded() {
    let alarms = Alarms::new(None);
    (0..100).for_each(|at| alarms.failed(Duration::from_secs(at)));
    alarms.raise(&SecurityEvent::JournalFailing);
    assert_eq!(format!("{alarms:?}"), "Alarms(..)");
}
