//! Holds and retention: what keeps a subject from being erased, and for how long.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chartlock::storage::{FaultAction, FaultOutcome, FaultPoint, Operation};
use chartlock::{Error, Vault};

use crate::common::Fixed;
use crate::common::clock::ManualClock;
use crate::erasure::{Stall, assert_erased};
use crate::model::smaller_clinic;
use crate::raw;
use crate::stage::{Stage, record, session, subject, verdict_at};

everywhere!(
    a_hold_refuses_an_erasure,
    a_retention_refuses_until_it_is_over,
    what_was_held_stays_held,
    nobody_to_hold,
    bounds,
    a_return_begins_free,
    an_erasure_that_has_begun_goes_on,
    a_hold_wins_over_a_stalled_erasure,
    an_erasure_wins_over_a_stalled_hold,
    one_of_the_two_wins,
    lost_answers,
    broken_off_anywhere,
);

const ASKED: &str = "the patient asked";
const NOW: i64 = 1_795_000_000_000;

/// Refused with this, and nothing is changed.
fn refused(stage: &Stage, vault: &Vault, error: &Error) {
    let before = raw::objects(&stage.storage);
    let erased = session(vault).erase_subject(&subject("MRN-1"), ASKED);
    assert_eq!(erased.unwrap_err(), *error);
    assert!(raw::objects(&stage.storage) == before);
}

fn erased(vault: &Vault) {
    let patient = subject("MRN-1");
    let report = session(vault).erase_subject(&patient, ASKED).unwrap();
    assert!(report.keys_destroyed);
    assert_erased(vault, &patient);
}

fn a_hold_refuses_an_erasure(stage: &Stage) {
    let vault = stage.create();
    let mut model = smaller_clinic(&vault);
    let patient = subject("MRN-1");
    let chart = session(&vault);
    assert!(chart.holds(&patient).unwrap().is_empty());
    let first = chart.place_hold(&patient, "subpoena 26-114").unwrap();
    let second = chart.place_hold(&patient, "subpoena 26-114").unwrap();
    assert_ne!(first, second);
    let told = chart.holds(&patient).unwrap();
    let told: Vec<_> = told.iter().map(|hold| (hold.id, &*hold.reason)).collect();
    assert_eq!(
        told,
        [(first, "subpoena 26-114"), (second, "subpoena 26-114")]
    );
    refused(stage, &vault, &Error::OnHold);
    refused(stage, &stage.open(), &Error::OnHold);
    // The records are as they were, and go on.
    model.put(&chart, &record("MRN-1", "Observation/amended"), b"more");
    model.verify(&vault);
    // The other patient is not concerned.
    assert!(chart.holds(&subject("MRN-2")).unwrap().is_empty());
    let report = chart.erase_subject(&subject("MRN-2"), ASKED).unwrap();
    assert!(report.keys_destroyed);

    chart.lift_hold(&patient, first).unwrap();
    refused(stage, &vault, &Error::OnHold);
    let before = raw::objects(&stage.storage);
    let again = chart.lift_hold(&patient, first);
    assert_eq!(again, Err(Error::NoSuchHold));
    assert!(raw::objects(&stage.storage) == before);
    chart.lift_hold(&patient, second).unwrap();
    erased(&vault);
}

fn a_retention_refuses_until_it_is_over(stage: &Stage) {
    let clock = Arc::new(ManualClock::at(NOW));
    let options = stage.options().clock(Arc::clone(&clock) as _);
    let vault = stage.create_by(options);
    smaller_clinic(&vault);
    let patient = subject("MRN-1");
    let chart = session(&vault);
    assert_eq!(chart.retained_until(&patient), Ok(None));
    let until = UNIX_EPOCH + Duration::from_millis(NOW as u64 + 5000);
    chart.retain_until(&patient, Some(until)).unwrap();
    assert_eq!(chart.retained_until(&patient), Ok(Some(until)));
    refused(stage, &vault, &Error::Retained);
    let hold = chart.place_hold(&patient, "audit").unwrap();
    assert_eq!(chart.holds(&patient).unwrap()[0].since, NOW);
    refused(stage, &vault, &Error::OnHold);
    chart.lift_hold(&patient, hold).unwrap();
    clock.advance(4999);
    refused(stage, &vault, &Error::Retained);

    // A later time, never; none at all; and one that ends within a millisecond ends after it.
    let later = until + Duration::from_secs(1);
    chart.retain_until(&patient, Some(later)).unwrap();
    clock.advance(1);
    refused(stage, &vault, &Error::Retained);
    let never = UNIX_EPOCH.checked_add(Duration::from_secs(1 << 62));
    if never.is_some() {
        let refused = chart.retain_until(&patient, never);
        assert_eq!(refused, Err(Error::InvalidMetadata));
    }
    chart.retain_until(&patient, None).unwrap();
    assert_eq!(chart.retained_until(&patient), Ok(None));
    let early = UNIX_EPOCH - Duration::from_millis(7);
    chart.retain_until(&patient, Some(early)).unwrap();
    assert_eq!(chart.retained_until(&patient), Ok(Some(early)));
    chart
        .retain_until(&patient, Some(until + Duration::from_nanos(100)))
        .unwrap();
    refused(stage, &vault, &Error::Retained);
    clock.advance(1);
    // Over, and still told.
    let over = until + Duration::from_millis(1);
    assert_eq!(chart.retained_until(&patient), Ok(Some(over)));
    erased(&vault);
}

fn far() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1 << 40)
}

fn what_was_held_stays_held(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let patient = subject("MRN-1");
    let hold = session(&vault).place_hold(&patient, "subpoena").unwrap();
    session(&vault).retain_until(&patient, Some(far())).unwrap();
    let before = session(&vault).holds(&patient).unwrap();
    let stands = |vault: &Vault| {
        assert_eq!(session(vault).holds(&patient).unwrap(), before);
        let until = session(vault).retained_until(&patient).unwrap();
        assert_eq!(until, Some(far()));
        refused(stage, vault, &Error::OnHold);
    };
    vault.rotate_master_key().unwrap();
    stands(&vault);
    vault.rotate_subject_key(&patient).unwrap();
    stands(&vault);
    vault.reencrypt_subject(&patient).unwrap();
    vault.reencrypt().unwrap();
    stands(&vault);
    vault.rotate_root_key(&[&Fixed(1)], &[]).unwrap();
    vault.collect_garbage().unwrap();
    stands(&vault);
    let opened = stage.open();
    stands(&opened);
    model.verify(&opened);
    session(&opened).lift_hold(&patient, hold).unwrap();
    refused(stage, &opened, &Error::Retained);
    refused(stage, &vault, &Error::Retained);
    session(&vault).retain_until(&patient, None).unwrap();
    erased(&opened);
}

/// What each verb answers about a subject.
fn answers(vault: &Vault, patient: &str) -> [Result<(), Error>; 5] {
    let (chart, patient) = (session(vault), subject(patient));
    [
        chart.place_hold(&patient, "subpoena").map(drop),
        chart.lift_hold(&patient, 7),
        chart.holds(&patient).map(drop),
        chart.retain_until(&patient, Some(far())),
        chart.retained_until(&patient).map(drop),
    ]
}

fn nobody_to_hold(stage: &Stage) {
    let vault = stage.create();
    smaller_clinic(&vault);
    erased(&vault);
    let before = raw::objects(&stage.storage);
    for answer in answers(&vault, "MRN-1") {
        assert_eq!(answer, Err(Error::Erased));
    }
    for answer in answers(&vault, "never seen") {
        assert_eq!(answer, Err(Error::UnknownSubject));
    }
    let reading = (stage.options()).open_rolled_back(stage.shared(), &Fixed(1));
    let reading = reading.unwrap();
    let [hold, release, holds, retain, retained] = answers(&reading, "MRN-2");
    for changing in [hold, release, retain] {
        assert_eq!(changing, Err(Error::ReadOnly));
    }
    assert_eq!((holds, retained), (Ok(()), Ok(())));
    reading.lock();
    for answer in answers(&reading, "MRN-2") {
        assert!(matches!(answer, Err(Error::Locked | Error::ReadOnly)));
    }
    assert!(raw::objects(&stage.storage) == before);
}

fn bounds(stage: &Stage) {
    let vault = stage.create();
    smaller_clinic(&vault);
    let (chart, patient) = (session(&vault), subject("MRN-1"));
    let before = raw::objects(&stage.storage);
    let invalid = Error::InvalidMetadata;
    for reason in ["", "two\nlines", &"x".repeat(256), "\u{9b}"] {
        assert_eq!(chart.place_hold(&patient, reason), Err(invalid.clone()));
        let erased = chart.erase_subject(&patient, reason);
        assert_eq!(erased, Err(invalid.clone()));
    }
    assert!(raw::objects(&stage.storage) == before);
    let longest = "é".repeat(127) + "x";
    let mut holds = vec![chart.place_hold(&patient, &longest).unwrap()];
    for _ in 1..64 {
        holds.push(chart.place_hold(&patient, "x").unwrap());
    }
    assert_eq!(chart.place_hold(&patient, "x"), Err(invalid));
    let told = chart.holds(&patient).unwrap();
    assert!(told.iter().map(|hold| hold.id).eq(holds.iter().copied()));
    assert_eq!(told[0].reason, longest);
    holds.sort_unstable();
    assert!(holds.is_sorted_by(|left, right| left < right));
    assert!(holds.iter().all(|id| *id < 1 << 53));
    chart.lift_hold(&patient, told[5].id).unwrap();
    chart.place_hold(&patient, "x").unwrap();
    assert_eq!(chart.holds(&patient).unwrap().len(), 64);
}

#[test]
fn a_hold_is_told_and_not_printed() {
    let stage = Stage::memory();
    let vault = stage.create();
    smaller_clinic(&vault);
    let (chart, patient) = (session(&vault), subject("MRN-1"));
    let id = chart.place_hold(&patient, "subpoena").unwrap();
    let hold = &chart.holds(&patient).unwrap()[0];
    let json = serde_json::to_value(hold).unwrap();
    let expected = serde_json::json!({"id": id, "since": hold.since, "reason": "subpoena"});
    assert_eq!(json, expected);
    let printed = format!("{hold:?} {hold:#?}");
    assert!(printed.contains(&id.to_string()) && !printed.contains("subpoena"));
    for (_, value) in raw::objects(&stage.storage) {
        assert!(!value.windows(8).any(|window| window == b"subpoena"));
    }
}

fn a_return_begins_free(stage: &Stage) {
    let clock = Arc::new(ManualClock::at(NOW));
    let options = stage.options().clock(Arc::clone(&clock) as _);
    let vault = stage.create_by(options);
    smaller_clinic(&vault);
    let (chart, patient) = (session(&vault), subject("MRN-1"));
    let until = UNIX_EPOCH + Duration::from_millis(NOW as u64 + 1);
    chart.retain_until(&patient, Some(until)).unwrap();
    clock.advance(1);
    erased(&vault);
    chart.reopen_chart(&patient).unwrap();
    assert!(chart.holds(&patient).unwrap().is_empty());
    assert_eq!(chart.retained_until(&patient), Ok(None));
    // Not even behind a clock that was put back.
    clock.set_calendar(NOW - 1);
    erased(&vault);
}

fn is_put_of_entry(moment: &FaultPoint<'_>) -> bool {
    matches!(moment, FaultPoint::Commit(operations)
        if raw::puts(operations).any(|(key, _)| key[0] == b'p'))
}

fn an_erasure_that_has_begun_goes_on(stage: &Stage) {
    let mut model = smaller_clinic(&stage.create());
    let patient = subject("MRN-1");
    let (dying, _) = stage.open_with(|_, moment| match moment {
        FaultPoint::Commit(operations)
            if (operations.iter())
                .any(|operation| matches!(operation, Operation::Delete { .. })) =>
        {
            FaultAction::Stop
        }
        _ => FaultAction::Proceed,
    });
    session(&dying).erase_subject(&patient, ASKED).unwrap_err();
    let vault = stage.open();
    for answer in answers(&vault, "MRN-1") {
        assert_eq!(answer, Err(Error::Erased));
    }
    let report = session(&vault).erase_subject(&patient, ASKED).unwrap();
    assert!(!report.keys_destroyed && report.records > 0);
    assert_erased(&vault, &patient);
    model.0.retain(|id, _| *id.subject() != patient);
    model.verify(&vault);
}

fn a_hold_wins_over_a_stalled_erasure(stage: &Stage) {
    let model = smaller_clinic(&stage.create());
    let patient = subject("MRN-1");
    let stall = Stall::new();
    let (slow, _) = stage.open_with(stall.at(b'p'));
    let late = stall.across(
        || session(&slow).erase_subject(&patient, ASKED),
        || {
            let chart = stage.open();
            session(&chart).place_hold(&patient, "subpoena").unwrap();
        },
    );
    assert_eq!(late, Err(Error::OnHold));
    let vault = stage.open();
    model.verify(&vault);
    assert_eq!(session(&vault).holds(&patient).unwrap().len(), 1);

    let stall = Stall::new();
    let (slow, _) = stage.open_with(stall.at(b'p'));
    let hold = session(&vault).holds(&patient).unwrap()[0].id;
    session(&vault).lift_hold(&patient, hold).unwrap();
    let late = stall.across(
        || session(&slow).erase_subject(&patient, ASKED),
        || {
            let chart = session(&vault);
            chart.retain_until(&patient, Some(far())).unwrap();
        },
    );
    assert_eq!(late, Err(Error::Retained));
    model.verify(&vault);
}

fn an_erasure_wins_over_a_stalled_hold(stage: &Stage) {
    smaller_clinic(&stage.create());
    let patient = subject("MRN-1");
    let stall = Stall::new();
    let (slow, _) = stage.open_with(stall.at(b'p'));
    let late = stall.across(
        || session(&slow).place_hold(&patient, "subpoena"),
        || erased(&stage.open()),
    );
    assert_eq!(late, Err(Error::Erased));
    assert_erased(&stage.open(), &patient);
}

fn one_of_the_two_wins(stage: &Stage) {
    let options = stage.options_under_load();
    let mine = options.clone().create(stage.shared(), &Fixed(1)).unwrap();
    let other = stage.open_by(options);
    for round in 0..24 {
        let id = record(&format!("MRN-{round}"), "Observation/1");
        let patient = id.subject();
        session(&mine).put(&id, b"x").unwrap();
        let start = Barrier::new(2);
        let (held, erased) = thread::scope(|scope| {
            let held = scope.spawn(|| {
                start.wait();
                session(&mine).place_hold(patient, "subpoena")
            });
            start.wait();
            let erased = session(&other).erase_subject(patient, ASKED);
            (held.join().unwrap(), erased)
        });
        for vault in [&mine, &other] {
            let chart = session(vault);
            match (&held, &erased) {
                (Ok(hold), Err(Error::OnHold)) => {
                    assert_eq!(chart.holds(patient).unwrap()[0].id, *hold);
                    assert_eq!(&chart.get(&id).unwrap().unwrap()[..], b"x");
                }
                (Err(Error::Erased), Ok(_)) => {
                    assert_eq!(chart.get(&id).unwrap_err(), Error::Erased);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The storage loses the answer to a change of the entry, whether or not it happened.
fn lost_answers(stage: &Stage) {
    smaller_clinic(&stage.create());
    let patient = subject("MRN-1");
    let open = |landing: FaultOutcome| {
        let lost = AtomicBool::new(false);
        let (vault, faulty) = stage.open_with(move |_, moment| {
            let meant = is_put_of_entry(moment) && !lost.swap(true, Ordering::SeqCst);
            match meant {
                true => FaultAction::Unknown(landing),
                false => FaultAction::Proceed,
            }
        });
        (vault, move || while faulty.land().is_some() {})
    };
    for landing in [
        FaultOutcome::Applied,
        FaultOutcome::Lost,
        FaultOutcome::Later,
    ] {
        let (vault, land) = open(landing);
        let hold = session(&vault).place_hold(&patient, "subpoena").unwrap();
        land();
        let holds = session(&stage.open()).holds(&patient).unwrap();
        assert_eq!((holds.len(), holds[0].id), (1, hold));
        let (vault, _) = open(landing);
        let erased = session(&vault).erase_subject(&patient, ASKED);
        assert_eq!(erased, Err(Error::OnHold));
        let (vault, land) = open(landing);
        session(&vault).lift_hold(&patient, hold).unwrap();
        land();
        assert!(session(&stage.open()).holds(&patient).unwrap().is_empty());
        let (vault, land) = open(landing);
        let chart = session(&vault);
        chart.retain_until(&patient, Some(far())).unwrap();
        land();
        refused(stage, &stage.open(), &Error::Retained);
        session(&stage.open()).retain_until(&patient, None).unwrap();
    }
    erased(&stage.open());
}

fn broken_off_anywhere(stage: &Stage) {
    let model = smaller_clinic(&stage.create());
    let patient = subject("MRN-1");
    let before = raw::everything(&stage.storage);
    let (vault, faulty) = stage.open_with(|_, _| FaultAction::Proceed);
    let opened = faulty.steps();
    session(&vault).place_hold(&patient, "subpoena").unwrap();
    let steps = faulty.steps() - opened;
    let mut seen = [false; 2];
    for step in 0..steps {
        for verdict in [FaultAction::Stop, FaultAction::StopAfter] {
            raw::reset(&stage.storage, &before);
            let (vault, _) = stage.open_with(verdict_at(step, verdict));
            session(&vault)
                .place_hold(&patient, "subpoena")
                .unwrap_err();
            let vault = stage.open();
            model.verify(&vault);
            let holds = session(&vault).holds(&patient).unwrap();
            match holds.as_slice() {
                [] => {
                    seen[0] = true;
                    session(&vault).place_hold(&patient, "subpoena").unwrap();
                }
                [_] => seen[1] = true,
                _ => panic!("{}", holds.len()),
            }
            refused(stage, &vault, &Error::OnHold);
        }
    }
    assert_eq!(seen, [true; 2], "held or not held, as it was killed");
}
