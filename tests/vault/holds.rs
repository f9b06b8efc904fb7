//! Legal holds and retention, which prevent the erasure of a subject.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chartlock::input::{InputFault, InputField};
use chartlock::storage::{FaultAction, FaultOutcome, FaultPoint, Operation};
use chartlock::{Error, Vault};

use crate::common::Fixed;
use crate::common::clock::ManualClock;
use crate::common::invalid::{invalid_metadata, invalid_text};
use crate::erasure::{Stall, assert_erased};
use crate::model::smaller_clinic;
use crate::raw;
use crate::stage::{Stage, action_at, record, session_on, subject};

everywhere!(
    erase_under_hold_returns_on_hold,
    erase_before_retention_ends_returns_retained,
    holds_survive_rotations_and_collection,
    holds_of_erased_or_unknown_subject_are_refused,
    hold_beyond_limits_returns_invalid_metadata,
    reopened_chart_has_no_hold_or_retention,
    hold_after_erase_began_returns_erased,
    stalled_erase_after_hold_returns_on_hold,
    stalled_hold_after_erase_returns_erased,
    concurrent_hold_and_erase_have_one_winner,
    hold_with_unknown_outcome_is_placed_once,
    place_hold_interrupted_at_any_step_is_all_or_nothing,
);

const REASON: &str = "the patient asked";
const NOW: i64 = 1_795_000_000_000;

/// Asserts that erasing is refused with this error and changes nothing.
fn assert_erase_refused(stage: &Stage, vault: &Vault, error: &Error) {
    let before = raw::objects(&stage.storage);
    let erased = session_on(vault).erase_subject(&subject("MRN-1"), REASON);
    assert_eq!(erased.unwrap_err(), *error);
    assert!(raw::objects(&stage.storage) == before);
}

fn erase(vault: &Vault) {
    let patient = subject("MRN-1");
    let report = session_on(vault).erase_subject(&patient, REASON).unwrap();
    assert!(report.keys_destroyed);
    assert_erased(vault, &patient);
}

fn erase_under_hold_returns_on_hold(stage: &Stage) {
    let vault = stage.create();
    let mut model = smaller_clinic(&vault);
    let patient = subject("MRN-1");
    let session = session_on(&vault);
    assert!(session.holds(&patient).unwrap().is_empty());
    let first = session.place_hold(&patient, "subpoena 26-114").unwrap();
    let second = session.place_hold(&patient, "subpoena 26-114").unwrap();
    assert_ne!(first, second);
    let listed = session.holds(&patient).unwrap();
    let listed: Vec<_> = listed.iter().map(|hold| (hold.id, &*hold.reason)).collect();
    assert_eq!(
        listed,
        [(first, "subpoena 26-114"), (second, "subpoena 26-114")]
    );
    assert_erase_refused(stage, &vault, &Error::OnHold);
    assert_erase_refused(stage, &stage.open(), &Error::OnHold);
    // The records are unchanged and can be amended.
    model.put(&session, &record("MRN-1", "Observation/amended"), b"more");
    model.verify(&vault);
    // The hold does not apply to the other patient.
    assert!(session.holds(&subject("MRN-2")).unwrap().is_empty());
    let report = session.erase_subject(&subject("MRN-2"), REASON).unwrap();
    assert!(report.keys_destroyed);

    session.lift_hold(&patient, first).unwrap();
    assert_erase_refused(stage, &vault, &Error::OnHold);
    let before = raw::objects(&stage.storage);
    let again = session.lift_hold(&patient, first);
    assert_eq!(again, Err(Error::NoSuchHold));
    assert!(raw::objects(&stage.storage) == before);
    session.lift_hold(&patient, second).unwrap();
    erase(&vault);
}

fn erase_before_retention_ends_returns_retained(stage: &Stage) {
    let clock = Arc::new(ManualClock::at(NOW));
    let options = stage.options().clock(Arc::clone(&clock) as _);
    let vault = stage.create_by(options);
    smaller_clinic(&vault);
    let patient = subject("MRN-1");
    let session = session_on(&vault);
    assert_eq!(session.retained_until(&patient), Ok(None));
    let until = UNIX_EPOCH + Duration::from_millis(NOW as u64 + 5000);
    session.retain_until(&patient, Some(until)).unwrap();
    assert_eq!(session.retained_until(&patient), Ok(Some(until)));
    assert_erase_refused(stage, &vault, &Error::Retained);
    let hold = session.place_hold(&patient, "audit").unwrap();
    assert_eq!(session.holds(&patient).unwrap()[0].since, NOW);
    assert_erase_refused(stage, &vault, &Error::OnHold);
    session.lift_hold(&patient, hold).unwrap();
    clock.advance(4999);
    assert_erase_refused(stage, &vault, &Error::Retained);

    let later = until + Duration::from_secs(1);
    session.retain_until(&patient, Some(later)).unwrap();
    clock.advance(1);
    assert_erase_refused(stage, &vault, &Error::Retained);
    let never = UNIX_EPOCH.checked_add(Duration::from_secs(1 << 62));
    // `checked_add` returns `None` on systems whose clock type cannot represent this time.
    if never.is_some() {
        let refused = session.retain_until(&patient, never);
        assert_eq!(
            refused,
            Err(invalid_metadata(
                InputField::RetentionTime,
                InputFault::OutOfRange
            ))
        );
    }
    session.retain_until(&patient, None).unwrap();
    assert_eq!(session.retained_until(&patient), Ok(None));
    let early = UNIX_EPOCH - Duration::from_millis(7);
    session.retain_until(&patient, Some(early)).unwrap();
    assert_eq!(session.retained_until(&patient), Ok(Some(early)));
    // Stored times are rounded up to a millisecond, so that no retention ends early.
    session
        .retain_until(&patient, Some(until + Duration::from_nanos(100)))
        .unwrap();
    assert_erase_refused(stage, &vault, &Error::Retained);
    clock.advance(1);
    // The retention has expired but is still reported.
    let over = until + Duration::from_millis(1);
    assert_eq!(session.retained_until(&patient), Ok(Some(over)));
    erase(&vault);
}

fn far_future() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1 << 40)
}

fn holds_survive_rotations_and_collection(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let patient = subject("MRN-1");
    let hold = session_on(&vault).place_hold(&patient, "subpoena").unwrap();
    session_on(&vault)
        .retain_until(&patient, Some(far_future()))
        .unwrap();
    let before = session_on(&vault).holds(&patient).unwrap();
    let assert_unchanged = |vault: &Vault| {
        assert_eq!(session_on(vault).holds(&patient).unwrap(), before);
        let until = session_on(vault).retained_until(&patient).unwrap();
        assert_eq!(until, Some(far_future()));
        assert_erase_refused(stage, vault, &Error::OnHold);
    };
    vault.rotate_master_key().unwrap();
    assert_unchanged(&vault);
    vault.rotate_subject_key(&patient).unwrap();
    assert_unchanged(&vault);
    vault.reencrypt_subject(&patient).unwrap();
    vault.reencrypt().unwrap();
    assert_unchanged(&vault);
    vault.rotate_root_key(&[&Fixed(1)], &[]).unwrap();
    vault.collect_garbage().unwrap();
    assert_unchanged(&vault);
    let opened = stage.open();
    assert_unchanged(&opened);
    model.verify(&opened);
    session_on(&opened).lift_hold(&patient, hold).unwrap();
    assert_erase_refused(stage, &opened, &Error::Retained);
    assert_erase_refused(stage, &vault, &Error::Retained);
    session_on(&vault).retain_until(&patient, None).unwrap();
    erase(&opened);
}

/// Returns the result of each hold and retention operation on a subject.
fn hold_results(vault: &Vault, patient: &str) -> [Result<(), Error>; 5] {
    let (session, patient) = (session_on(vault), subject(patient));
    [
        session.place_hold(&patient, "subpoena").map(drop),
        session.lift_hold(&patient, 7),
        session.holds(&patient).map(drop),
        session.retain_until(&patient, Some(far_future())),
        session.retained_until(&patient).map(drop),
    ]
}

fn holds_of_erased_or_unknown_subject_are_refused(stage: &Stage) {
    let vault = stage.create();
    smaller_clinic(&vault);
    erase(&vault);
    let before = raw::objects(&stage.storage);
    for result in hold_results(&vault, "MRN-1") {
        assert_eq!(result, Err(Error::Erased));
    }
    for result in hold_results(&vault, "never seen") {
        assert_eq!(result, Err(Error::UnknownSubject));
    }
    let read_only = (stage.options()).open_rolled_back(stage.shared(), &Fixed(1));
    let read_only = read_only.unwrap();
    let [hold, lift, holds, retain, retained] = hold_results(&read_only, "MRN-2");
    for changing in [hold, lift, retain] {
        assert_eq!(changing, Err(Error::ReadOnly));
    }
    assert_eq!((holds, retained), (Ok(()), Ok(())));
    read_only.lock();
    for result in hold_results(&read_only, "MRN-2") {
        assert!(matches!(result, Err(Error::Locked | Error::ReadOnly)));
    }
    assert!(raw::objects(&stage.storage) == before);
}

fn hold_beyond_limits_returns_invalid_metadata(stage: &Stage) {
    let vault = stage.create();
    smaller_clinic(&vault);
    let (session, patient) = (session_on(&vault), subject("MRN-1"));
    let before = raw::objects(&stage.storage);
    for reason in ["", "two\nlines", &"x".repeat(256), "\u{9b}"] {
        let invalid = invalid_text(InputField::Reason, reason);
        assert_eq!(session.place_hold(&patient, reason), Err(invalid.clone()));
        let erased = session.erase_subject(&patient, reason);
        assert_eq!(erased, Err(invalid.clone()));
    }
    assert!(raw::objects(&stage.storage) == before);
    let longest = "é".repeat(127) + "x";
    let mut holds = vec![session.place_hold(&patient, &longest).unwrap()];
    for _ in 1..64 {
        holds.push(session.place_hold(&patient, "x").unwrap());
    }
    let invalid = invalid_metadata(InputField::Holds, InputFault::TooMany { count: 65 });
    assert_eq!(session.place_hold(&patient, "x"), Err(invalid));
    let listed = session.holds(&patient).unwrap();
    assert!(listed.iter().map(|hold| hold.id).eq(holds.iter().copied()));
    assert_eq!(listed[0].reason, longest);
    holds.sort_unstable();
    assert!(holds.is_sorted_by(|left, right| left < right));
    assert!(holds.iter().all(|id| *id < 1 << 53));
    session.lift_hold(&patient, listed[5].id).unwrap();
    session.place_hold(&patient, "x").unwrap();
    assert_eq!(session.holds(&patient).unwrap().len(), 64);
}

#[test]
fn hold_reason_is_serialized_but_not_printed() {
    let stage = Stage::memory();
    let vault = stage.create();
    smaller_clinic(&vault);
    let (session, patient) = (session_on(&vault), subject("MRN-1"));
    let id = session.place_hold(&patient, "subpoena").unwrap();
    let hold = &session.holds(&patient).unwrap()[0];
    let json = serde_json::to_value(hold).unwrap();
    let expected = serde_json::json!({"id": id, "since": hold.since, "reason": "subpoena"});
    assert_eq!(json, expected);
    let printed = format!("{hold:?} {hold:#?}");
    assert!(printed.contains(&id.to_string()) && !printed.contains("subpoena"));
    for (_, value) in raw::objects(&stage.storage) {
        assert!(!value.windows(8).any(|window| window == b"subpoena"));
    }
}

fn reopened_chart_has_no_hold_or_retention(stage: &Stage) {
    let clock = Arc::new(ManualClock::at(NOW));
    let options = stage.options().clock(Arc::clone(&clock) as _);
    let vault = stage.create_by(options);
    smaller_clinic(&vault);
    let (session, patient) = (session_on(&vault), subject("MRN-1"));
    let until = UNIX_EPOCH + Duration::from_millis(NOW as u64 + 1);
    session.retain_until(&patient, Some(until)).unwrap();
    clock.advance(1);
    erase(&vault);
    session.reopen_chart(&patient).unwrap();
    assert!(session.holds(&patient).unwrap().is_empty());
    assert_eq!(session.retained_until(&patient), Ok(None));
    // The former retention must not apply again after the clock is set back.
    clock.set_calendar(NOW - 1);
    erase(&vault);
}

fn puts_entry(point: &FaultPoint<'_>) -> bool {
    matches!(point, FaultPoint::Commit(operations)
        if raw::puts(operations).any(|(key, _)| key[0] == b'p'))
}

fn hold_after_erase_began_returns_erased(stage: &Stage) {
    let mut model = smaller_clinic(&stage.create());
    let patient = subject("MRN-1");
    let (interrupted, _) = stage.open_with(|_, point| match point {
        FaultPoint::Commit(operations)
            if (operations.iter())
                .any(|operation| matches!(operation, Operation::Delete { .. })) =>
        {
            FaultAction::Stop
        }
        _ => FaultAction::Proceed,
    });
    session_on(&interrupted)
        .erase_subject(&patient, REASON)
        .unwrap_err();
    let vault = stage.open();
    for result in hold_results(&vault, "MRN-1") {
        assert_eq!(result, Err(Error::Erased));
    }
    let report = session_on(&vault).erase_subject(&patient, REASON).unwrap();
    assert!(!report.keys_destroyed && report.records > 0);
    assert_erased(&vault, &patient);
    model.0.retain(|id, _| *id.subject() != patient);
    model.verify(&vault);
}

fn stalled_erase_after_hold_returns_on_hold(stage: &Stage) {
    let model = smaller_clinic(&stage.create());
    let patient = subject("MRN-1");
    let stall = Stall::new();
    let (slow, _) = stage.open_with(stall.at(b'p'));
    let late = stall.across(
        || session_on(&slow).erase_subject(&patient, REASON),
        || {
            let vault = stage.open();
            session_on(&vault).place_hold(&patient, "subpoena").unwrap();
        },
    );
    assert_eq!(late, Err(Error::OnHold));
    let vault = stage.open();
    model.verify(&vault);
    assert_eq!(session_on(&vault).holds(&patient).unwrap().len(), 1);

    let stall = Stall::new();
    let (slow, _) = stage.open_with(stall.at(b'p'));
    let hold = session_on(&vault).holds(&patient).unwrap()[0].id;
    session_on(&vault).lift_hold(&patient, hold).unwrap();
    let late = stall.across(
        || session_on(&slow).erase_subject(&patient, REASON),
        || {
            let session = session_on(&vault);
            session.retain_until(&patient, Some(far_future())).unwrap();
        },
    );
    assert_eq!(late, Err(Error::Retained));
    model.verify(&vault);
}

fn stalled_hold_after_erase_returns_erased(stage: &Stage) {
    smaller_clinic(&stage.create());
    let patient = subject("MRN-1");
    let stall = Stall::new();
    let (slow, _) = stage.open_with(stall.at(b'p'));
    let late = stall.across(
        || session_on(&slow).place_hold(&patient, "subpoena"),
        || erase(&stage.open()),
    );
    assert_eq!(late, Err(Error::Erased));
    assert_erased(&stage.open(), &patient);
}

fn concurrent_hold_and_erase_have_one_winner(stage: &Stage) {
    let options = stage.options_under_load();
    let first = options.clone().create(stage.shared(), &Fixed(1)).unwrap();
    let other = stage.open_by(options);
    for round in 0..24 {
        let id = record(&format!("MRN-{round}"), "Observation/1");
        let patient = id.subject();
        session_on(&first).put(&id, b"x").unwrap();
        let start = Barrier::new(2);
        let (held, erased) = thread::scope(|scope| {
            let held = scope.spawn(|| {
                start.wait();
                session_on(&first).place_hold(patient, "subpoena")
            });
            start.wait();
            let erased = session_on(&other).erase_subject(patient, REASON);
            (held.join().unwrap(), erased)
        });
        for vault in [&first, &other] {
            let session = session_on(vault);
            match (&held, &erased) {
                (Ok(hold), Err(Error::OnHold)) => {
                    assert_eq!(session.holds(patient).unwrap()[0].id, *hold);
                    assert_eq!(&session.get(&id).unwrap().unwrap()[..], b"x");
                }
                (Err(Error::Erased), Ok(_)) => {
                    assert_eq!(session.get(&id).unwrap_err(), Error::Erased);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The storage loses the reply to an entry change, whether or not the change was applied.
fn hold_with_unknown_outcome_is_placed_once(stage: &Stage) {
    smaller_clinic(&stage.create());
    let patient = subject("MRN-1");
    let open = |outcome: FaultOutcome| {
        let lost = AtomicBool::new(false);
        let (vault, faulty) = stage.open_with(move |_, point| {
            let matching = puts_entry(point) && !lost.swap(true, Ordering::SeqCst);
            match matching {
                true => FaultAction::Unknown(outcome),
                false => FaultAction::Proceed,
            }
        });
        (vault, move || while faulty.land().is_some() {})
    };
    for outcome in [
        FaultOutcome::Applied,
        FaultOutcome::Lost,
        FaultOutcome::Later,
    ] {
        let (vault, land) = open(outcome);
        let hold = session_on(&vault).place_hold(&patient, "subpoena").unwrap();
        land();
        let holds = session_on(&stage.open()).holds(&patient).unwrap();
        assert_eq!((holds.len(), holds[0].id), (1, hold));
        let (vault, _) = open(outcome);
        let erased = session_on(&vault).erase_subject(&patient, REASON);
        assert_eq!(erased, Err(Error::OnHold));
        let (vault, land) = open(outcome);
        session_on(&vault).lift_hold(&patient, hold).unwrap();
        land();
        assert!(
            session_on(&stage.open())
                .holds(&patient)
                .unwrap()
                .is_empty()
        );
        let (vault, land) = open(outcome);
        let session = session_on(&vault);
        session.retain_until(&patient, Some(far_future())).unwrap();
        land();
        assert_erase_refused(stage, &stage.open(), &Error::Retained);
        session_on(&stage.open())
            .retain_until(&patient, None)
            .unwrap();
    }
    erase(&stage.open());
}

fn place_hold_interrupted_at_any_step_is_all_or_nothing(stage: &Stage) {
    let model = smaller_clinic(&stage.create());
    let patient = subject("MRN-1");
    let before = raw::all_objects(&stage.storage);
    let (vault, faulty) = stage.open_with(|_, _| FaultAction::Proceed);
    let opened = faulty.steps();
    session_on(&vault).place_hold(&patient, "subpoena").unwrap();
    let steps = faulty.steps() - opened;
    let mut seen = [false; 2];
    for step in 0..steps {
        for action in [FaultAction::Stop, FaultAction::StopAfter] {
            raw::reset(&stage.storage, &before);
            let (vault, _) = stage.open_with(action_at(step, action));
            session_on(&vault)
                .place_hold(&patient, "subpoena")
                .unwrap_err();
            let vault = stage.open();
            model.verify(&vault);
            let holds = session_on(&vault).holds(&patient).unwrap();
            match holds.as_slice() {
                [] => {
                    seen[0] = true;
                    session_on(&vault).place_hold(&patient, "subpoena").unwrap();
                }
                [_] => seen[1] = true,
                _ => panic!("{}", holds.len()),
            }
            assert_erase_refused(stage, &vault, &Error::OnHold);
        }
    }
    assert_eq!(seen, [true; 2], "the interruptions must cover both results");
}
