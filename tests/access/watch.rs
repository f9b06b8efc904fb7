//! Events: what they say, to whom.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chartlock::access::{SecurityEvent, SecurityEventHandler};
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
        },
        SecurityEvent::JournalFallbackEnded { actor },
        SecurityEvent::JournalForked,
        SecurityEvent::HeaderRolledBack,
    ]
}

#[test]
fn an_event_prints_without_its_actor() {
    let printed: Vec<_> = all().iter().map(ToString::to_string).collect();
    for (event, text) in all().iter().zip(&printed) {
        assert_eq!(format!("{event:?}"), format!("SecurityEvent({text})"));
        assert!(!text.contains("garcia"), "{text}");
    }
    assert!(printed.contains(&"somebody broke the glass, for 30 minutes".to_owned()));
    assert!(printed.contains(&"12 failures to authenticate within 600s".to_owned()));
}

#[test]
fn an_operator_can_ask_for_the_actor() {
    let named = |event: &SecurityEvent| event.actor().map(|actor| actor.name().to_owned());
    let actors: Vec<_> = all().iter().filter_map(named).collect();
    assert_eq!(actors, ["dr.garcia"; 5]);
}

#[test]
fn the_serialized_form_tells_all() {
    let of = |index: usize| serde_json::to_value(all().get(index).unwrap()).unwrap();
    let glass = json!({"event": "glass-broken", "actor": "dr.garcia", "for_seconds": 1800});
    assert_eq!(of(0), glass);
    let failures = json!({"event": "repeated-failures", "count": 12, "within_seconds": 600});
    assert_eq!(of(2), failures);
    assert_eq!(of(4), json!({"event": "journal-failing"}));
}

#[test]
fn any_function_keeps_watch() {
    let (watch, heard) = ear();
    for event in all() {
        watch.event(&event);
    }
    assert_eq!(*heard.lock().unwrap(), all());
}

/// A watch that remembers, and what it heard.
fn ear() -> (
    Arc<dyn SecurityEventHandler>,
    Arc<Mutex<Vec<SecurityEvent>>>,
) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = Arc::clone(&heard);
    let watch = move |event: &SecurityEvent| ear.lock().unwrap().push(event.clone());
    (Arc::new(watch), heard)
}

#[test]
fn alarms_tell_what_happens_too_often() {
    let (watch, heard) = ear();
    let alarms = Alarms::new(Some(watch));
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
    assert_eq!(*heard.lock().unwrap(), expected);
}

#[test]
fn a_watch_that_panics_does_not_silence_the_next_alarm() {
    let (ear, heard) = ear();
    let watch = move |event: &SecurityEvent| {
        ear.event(event);
        assert!(!matches!(event, SecurityEvent::RepeatedFailures { .. }));
    };
    let alarms = Alarms::new(Some(Arc::new(watch)));
    let fail = |at| catch_unwind(AssertUnwindSafe(|| alarms.failed(Duration::from_secs(at))));
    let panics = (0..5).filter(|at| fail(*at).is_err()).count();
    assert_eq!(panics, 1);
    assert!(fail(700).is_ok());
    assert!((701..705).any(|at| fail(at).is_err()));
    assert_eq!(heard.lock().unwrap().len(), 2);
}

#[test]
fn without_a_watch_alarms_only_count() {
    let alarms = Alarms::new(None);
    (0..100).for_each(|at| alarms.failed(Duration::from_secs(at)));
    alarms.raise(&SecurityEvent::JournalFailing);
    assert_eq!(format!("{alarms:?}"), "Alarms(..)");
}
