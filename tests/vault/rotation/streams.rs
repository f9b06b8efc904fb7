//! Streams of re-encrypted large records: a new stream is removed only if the record certainly does
//! not reference the stream.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chartlock::Vault;
use chartlock::internals::envelope::INLINE_MAX;
use chartlock::storage::{FaultAction, FaultOutcome, FaultPoint, Operation, Storage, Transaction};

use crate::model::Model;
use crate::raw;
use crate::stage::{Shared, Stage, content, record, session_on, subject};

everywhere!(
    reencryption_with_collected_intent_succeeds,
    reencryption_after_concurrent_put_removes_its_stream,
    reencryption_after_entry_change_removes_its_stream,
    reencryption_with_unknown_outcome_keeps_records_readable,
    reencryption_stores_one_extra_stream_at_a_time,
);

/// Puts large records of one segment each, with these numbers of versions.
fn put_large(vault: &Vault, versions: &[usize]) -> Model {
    let mut model = Model::default();
    for (number, versions) in (1..).zip(versions) {
        let id = record("MRN-1", &format!("CT/{number}"));
        for version in 0..*versions as u64 {
            let content = content(10 * number + version, INLINE_MAX + 1);
            model.put(&session_on(vault), &id, &content);
        }
    }
    model
}

fn checks(point: &FaultPoint<'_>, class: u8) -> bool {
    let is_one = |operation: &Operation| matches!(operation, Operation::Check { key, .. } if key[0] == class);
    matches!(point, FaultPoint::Commit(operations) if operations.iter().any(is_one))
}

fn puts(point: &FaultPoint<'_>, class: u8) -> bool {
    matches!(point, FaultPoint::Commit(operations)
        if raw::puts(operations).any(|(key, _)| key[0] == class))
}

fn reencrypt(vault: &Vault) {
    let report = vault.reencrypt_subject(&subject("MRN-1")).unwrap();
    assert_eq!((report.blocking, report.orphaned), (0, 0));
}

/// Re-encrypts the subject and runs `happens` at the first step that satisfies `when`.
fn reencrypt_while(
    stage: &Stage,
    when: impl Fn(&FaultPoint<'_>) -> bool + Send + Sync + 'static,
    happens: impl Fn(&FaultPoint<'_>) + Send + Sync + 'static,
) {
    let happened = AtomicBool::new(false);
    let (vault, _) = stage.open_with(move |_, point| {
        if when(point) && !happened.swap(true, Ordering::SeqCst) {
            happens(point);
        }
        FaultAction::Proceed
    });
    reencrypt(&vault);
}

/// Counts segments and intents.
fn stored(stage: &Stage) -> (usize, usize) {
    let [.., segments, intents] = raw::counts(&stage.storage);
    (segments, intents)
}

/// Simulates a collector that removes the intent, as the collector does beyond the age limit.
fn reencryption_with_collected_intent_succeeds(stage: &Stage) {
    let model = put_large(&stage.create(), &[2]);
    let storage = stage.shared();
    reencrypt_while(
        stage,
        |point| checks(point, b'w'),
        move |_| {
            let intents = raw::objects_of(&storage, b"w");
            assert_eq!(intents.len(), 1);
            intents.keys().for_each(|key| raw::delete(&storage, key));
        },
    );
    assert_eq!(stored(stage), (2, 0));
    model.verify(&stage.open());
}

fn reencryption_after_concurrent_put_removes_its_stream(stage: &Stage) {
    let mut model = put_large(&stage.create(), &[1]);
    let (other, id) = (stage.open(), record("MRN-1", "CT/1"));
    let amended = content(5, INLINE_MAX + 1);
    let theirs = amended.clone();
    let race = id.clone();
    reencrypt_while(
        stage,
        |point| puts(point, b'r'),
        move |_| assert_eq!(session_on(&other).put(&race, &theirs), Ok(2)),
    );
    model.0.get_mut(&id).unwrap().push(Some(amended));
    assert_eq!(stored(stage), (2, 0));
    model.verify(&stage.open());
}

fn reencryption_after_entry_change_removes_its_stream(stage: &Stage) {
    let model = put_large(&stage.create(), &[2]);
    let other = stage.open();
    reencrypt_while(
        stage,
        |point| checks(point, b'p'),
        move |_| {
            other.rotate_master_key().unwrap();
        },
    );
    // Without transactions, the record references the new stream before the entry is checked.
    if stage.storage.is_transactional() {
        assert_eq!(stored(stage), (2, 0));
    }
    model.verify(&stage.open());
}

fn reencryption_with_unknown_outcome_keeps_records_readable(stage: &Stage) {
    let model = put_large(&stage.create(), &[2]);
    for outcome in [
        FaultOutcome::Applied,
        FaultOutcome::Lost,
        FaultOutcome::Later,
    ] {
        for class in [b'r', b'h'] {
            let asked = AtomicBool::new(false);
            let (vault, faulty) = stage.open_with(move |_, point| {
                match puts(point, class) && !asked.swap(true, Ordering::SeqCst) {
                    true => FaultAction::Unknown(outcome),
                    false => FaultAction::Proceed,
                }
            });
            reencrypt(&vault);
            model.verify(&stage.open());
            while faulty.land().is_some() {}
            model.verify(&stage.open());
        }
    }
}

/// Re-encryption must never store more than one new stream in addition to the existing streams.
fn reencryption_stores_one_extra_stream_at_a_time(stage: &Stage) {
    let model = put_large(&stage.create(), &[1, 1, 2]);
    let storage = stage.shared();
    let most = std::sync::Arc::new(AtomicUsize::new(0));
    let seen = std::sync::Arc::clone(&most);
    let (vault, _) = stage.open_with(move |_, _| {
        let segments = raw::objects_of(&storage, b"s").len();
        seen.fetch_max(segments, Ordering::SeqCst);
        FaultAction::Proceed
    });
    let report = vault.reencrypt_subject(&subject("MRN-1")).unwrap();
    assert_eq!(report.reencrypted, 4);
    assert_eq!(most.load(Ordering::SeqCst), 4 + 1);
    model.verify(&stage.open());
}

/// Commits the operations of a request, so that the storage receives the same request twice.
fn repeat(storage: &Shared, point: &FaultPoint<'_>) {
    let FaultPoint::Commit(operations) = point else {
        panic!("not a commit");
    };
    let first: Transaction = operations.iter().cloned().collect();
    storage.commit(&[first]).remove(0).unwrap();
}

/// Repeats a request below the vault, so that the second copy conflicts with the first. The version
/// references the new stream.
#[test]
fn reencryption_with_repeated_request_keeps_records_readable() {
    for stage in [Stage::per_operation(), Stage::split()] {
        let model = put_large(&stage.create(), &[2]);
        for class in [b'r', b'h'] {
            let storage = stage.shared();
            reencrypt_while(
                &stage,
                move |point| puts(point, class),
                move |point| repeat(&storage, point),
            );
            model.verify(&stage.open());
        }
    }
}

/// Repeats the request and then puts a version, which moves the re-encrypted version to history.
#[test]
fn reencryption_with_repeated_request_and_put_keeps_records_readable() {
    for stage in [Stage::per_operation(), Stage::split()] {
        let mut model = put_large(&stage.create(), &[1]);
        let (other, storage) = (stage.open(), stage.shared());
        let amended = Mutex::new(model.clone());
        reencrypt_while(
            &stage,
            |point| puts(point, b'r'),
            move |point| {
                repeat(&storage, point);
                let id = record("MRN-1", "CT/1");
                (amended.lock().unwrap()).put(&session_on(&other), &id, b"amended");
            },
        );
        let versions = model.0.get_mut(&record("MRN-1", "CT/1")).unwrap();
        versions.push(Some(b"amended".to_vec()));
        model.verify(&stage.open());
    }
}

/// Re-encrypts after an interrupted put, which leaves a history copy that shares the current
/// version's stream. Re-encryption must make the copy equal to the re-encrypted version.
#[test]
fn reencryption_of_copy_left_by_put_keeps_records_readable() {
    for stage in [Stage::per_operation(), Stage::split()] {
        let mut model = put_large(&stage.create(), &[1]);
        let (vault, _) = stage.open_with(|_, point| match puts(point, b'h') {
            true => FaultAction::StopAfter,
            false => FaultAction::Proceed,
        });
        let (id, amended) = (record("MRN-1", "CT/1"), content(5, INLINE_MAX + 1));
        session_on(&vault).put(&id, &amended).unwrap_err();
        assert_eq!(raw::counts(&stage.storage)[2..4], [1, 1]);
        let vault = stage.open();
        reencrypt(&vault);
        model.verify(&vault);
        model.put(&session_on(&vault), &id, &amended);
        model.verify(&stage.open());
    }
}
