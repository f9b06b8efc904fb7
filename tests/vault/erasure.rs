//! Erasure: an erased subject stays erased, even if a writer or another eraser was delayed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use chartlock::internals::envelope::INLINE_MAX;
use chartlock::storage::{
    FaultAction, FaultOutcome, FaultPoint, Faulty, MemoryStorage, Operation, PerOperation,
    SplitStorage,
};
use chartlock::{
    Error, Subject, Vault,
    progress::{Phase, ProgressUpdate},
};

use crate::common::Fixed;
use crate::model::{small_clinic, smaller_clinic};
use crate::raw;
use crate::stage::{Stage, action_at, content, record, session_on, subject};

everywhere!(
    erase_destroys_keys_and_chart,
    erase_of_unknown_subject_returns_unknown_subject,
    erase_interrupted_at_any_step_can_be_repeated,
    reopened_chart_is_empty_and_takes_records,
    put_delayed_past_erase_returns_erased,
    put_delayed_past_erase_and_reopen_returns_erased,
    late_delete_of_erase_spares_reopened_chart,
    stalled_second_erase_spares_reopened_chart,
    writers_during_erase_end_with_erased,
);

pub(crate) fn assert_erased(vault: &Vault, subject: &Subject) {
    let session = session_on(vault);
    for name in ["Observation/amended", "CT/large", "never was"] {
        let id = chartlock::RecordId::new(subject.clone(), name).unwrap();
        assert_eq!(session.get(&id).unwrap_err(), Error::Erased);
        assert_eq!(session.get_version(&id, 1).unwrap_err(), Error::Erased);
        assert_eq!(session.history(&id).unwrap_err(), Error::Erased);
        assert_eq!(session.put(&id, b"x"), Err(Error::Erased));
        assert_eq!(session.retract(&id), Err(Error::Erased));
    }
    let listed = session.list(subject).map(Iterator::count);
    // Either the call or the first item must return the error.
    assert!(matches!(listed, Err(Error::Erased)) || yields_erased(vault, subject));
    let mut subjects = session.subjects().unwrap().map(Result::unwrap);
    assert!(subjects.all(|other| other != *subject));
    assert_eq!(vault.rotate_subject_key(subject), Err(Error::Erased));
    assert_eq!(vault.reencrypt_subject(subject), Err(Error::Erased));
    assert_eq!(vault.subject_key_usage(subject), Err(Error::Erased));
}

fn yields_erased(vault: &Vault, subject: &Subject) -> bool {
    let listed = session_on(vault).list(subject).unwrap();
    listed
        .into_iter()
        .all(|info| info.is_err_and(|error| error == Error::Erased))
}

fn erase_destroys_keys_and_chart(stage: &Stage) {
    let vault = stage.create();
    let other = stage.open();
    let mut model = small_clinic(&vault);
    // The second process caches the patient entry.
    model.verify(&other);
    let patient = subject("MRN-1");
    let steps = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&steps);
    let vault = vault.with_progress(move |step: ProgressUpdate| log.lock().unwrap().push(step));
    let report = session_on(&vault)
        .erase_subject(&patient, "asked for")
        .unwrap();
    assert!(report.keys_destroyed && !report.not_reached.is_empty());
    assert_eq!(
        (
            report.records,
            report.earlier_versions,
            report.segments,
            report.uploads
        ),
        (4, 4, 2, 0)
    );
    let steps = std::mem::take(&mut *steps.lock().unwrap());
    assert!(steps.iter().all(|step| step.phase == Phase::Erasing));
    assert_eq!(steps.last().unwrap().done, 10);
    model.0.retain(|id, _| *id.subject() != patient);
    for vault in [&vault, &stage.open()] {
        assert_erased(vault, &patient);
        model.verify(vault);
        let usage = raw::key_usage(vault);
        assert_eq!((usage.erased, usage.subjects), (1, 3));
        assert_eq!(usage, raw::brute_force(&stage.storage));
    }
    // The second process must not open records with its cached patient entry.
    let id = record("MRN-1", "Observation/amended");
    assert_eq!(session_on(&other).get(&id).unwrap_err(), Error::Erased);
    assert_eq!(session_on(&other).put(&id, b"x"), Err(Error::Erased));
    assert_erased(&other, &patient);
    assert_eq!(raw::counts(&stage.storage), [1, 4, 9, 8, 4, 0]);
    // A repeated erasure finds nothing to do.
    let again = session_on(&vault)
        .erase_subject(&patient, "asked for")
        .unwrap();
    assert!(!again.keys_destroyed);
    assert_eq!(
        (again.records, again.earlier_versions, again.segments),
        (0, 0, 0)
    );
    // A tombstone is resealed by the next master key rotation.
    let rotated = vault.rotate_master_key().unwrap();
    assert_eq!(
        (rotated.entries_resealed, rotated.master_keys_destroyed),
        (4, 1)
    );
    assert_erased(&vault, &patient);
}

fn erase_of_unknown_subject_returns_unknown_subject(stage: &Stage) {
    let vault = stage.create();
    let before = raw::objects(&stage.storage);
    let session = session_on(&vault);
    let unknown = subject("MRN-1");
    assert_eq!(
        session.erase_subject(&unknown, "asked for"),
        Err(Error::UnknownSubject)
    );
    assert_eq!(session.reopen_chart(&unknown), Err(Error::UnknownSubject));
    assert!(raw::objects(&stage.storage) == before);
    session.put(&record("MRN-1", "a"), b"x").unwrap();
    assert_eq!(session.reopen_chart(&unknown), Err(Error::NotErased));
}

fn erase_interrupted_at_any_step_can_be_repeated(stage: &Stage) {
    let mut model = smaller_clinic(&stage.create());
    let before = raw::all_objects(&stage.storage);
    let patient = subject("MRN-1");
    let (vault, faulty) = stage.open_with(|_, _| FaultAction::Proceed);
    let opened = faulty.steps();
    session_on(&vault)
        .erase_subject(&patient, "asked for")
        .unwrap();
    let steps = faulty.steps() - opened;
    assert!(steps >= 8);
    let whole = model.clone();
    model.0.retain(|id, _| *id.subject() != patient);
    for step in (0..steps).step_by(stage.stride) {
        for action in [FaultAction::Stop, FaultAction::StopAfter] {
            raw::reset(&stage.storage, &before);
            let (vault, _) = stage.open_with(action_at(step, action));
            session_on(&vault)
                .erase_subject(&patient, "asked for")
                .unwrap_err();
            let vault = stage.open();
            // The chart must be either fully readable or fully erased.
            let session = session_on(&vault);
            let id = record("MRN-1", "Observation/amended");
            match session.get(&id) {
                Ok(_) => whole.verify(&vault),
                Err(error) => {
                    assert_eq!(error, Error::Erased);
                    assert_erased(&vault, &patient);
                }
            }
            session.erase_subject(&patient, "asked for").unwrap();
            assert_erased(&vault, &patient);
            model.verify(&vault);
            assert_eq!(raw::counts(&stage.storage), [1, 2, 1, 0, 0, 0]);
        }
    }
}

fn reopened_chart_is_empty_and_takes_records(stage: &Stage) {
    let vault = stage.create();
    let mut model = small_clinic(&vault);
    let patient = subject("MRN-1");
    let session = session_on(&vault);
    for round in 0..3 {
        let before = raw::objects(&stage.storage);
        session.erase_subject(&patient, "asked for").unwrap();
        // Restored bytes of the destroyed chart must not appear in the new one.
        for (key, value) in before.iter().filter(|(key, _)| key[0] == b'r') {
            raw::put(&stage.storage, key, value);
        }
        session.reopen_chart(&patient).unwrap();
        assert_eq!(session.reopen_chart(&patient), Err(Error::NotErased));
        model.0.retain(|id, _| *id.subject() != patient);
        let id = record("MRN-1", "Observation/amended");
        assert!(session.get(&id).unwrap().is_none());
        assert!(session.get_version(&id, 1).unwrap().is_none());
        assert!(session.history(&id).unwrap().is_empty());
        assert_eq!(session.list(&patient).unwrap().count(), 0);
        model.put(&session, &id, &content(round, 99));
        model.verify(&vault);
        model.verify(&stage.open());
    }
}

/// Blocks the first commit that puts an object of a class, until the test releases it.
pub(crate) struct Stall {
    reached: Barrier,
    released: Barrier,
    done: AtomicBool,
}

impl Stall {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            reached: Barrier::new(2),
            released: Barrier::new(2),
            done: AtomicBool::new(false),
        })
    }

    pub(crate) fn at(
        self: &Arc<Self>,
        class: u8,
    ) -> impl Fn(u64, &FaultPoint<'_>) -> FaultAction + Send + Sync + 'static {
        let stall = Arc::clone(self);
        move |_, point| {
            let matching = matches!(point, FaultPoint::Commit(operations)
                if raw::puts(operations).any(|(key, _)| key[0] == class));
            if matching && !stall.done.swap(true, Ordering::SeqCst) {
                stall.reached.wait();
                stall.released.wait();
            }
            FaultAction::Proceed
        }
    }

    /// Runs `work` on another thread, and `meanwhile` while `work` is blocked.
    pub(crate) fn across<T: Send>(
        &self,
        work: impl FnOnce() -> T + Send,
        meanwhile: impl FnOnce(),
    ) -> T {
        thread::scope(|scope| {
            let late = scope.spawn(work);
            self.reached.wait();
            meanwhile();
            self.released.wait();
            late.join().unwrap()
        })
    }
}

fn put_delayed_past_erase_returns_erased(stage: &Stage) {
    let mut model = smaller_clinic(&stage.create());
    let patient = subject("MRN-1");
    model.0.retain(|id, _| *id.subject() != patient);
    let before = raw::objects(&stage.storage);
    let small = content(1, 50);
    let large = content(2, INLINE_MAX + 9);
    for body in [&small, &large] {
        for name in ["Observation/new", "Observation/amended"] {
            raw::reset(&stage.storage, &before);
            let stall = Stall::new();
            let (slow, _) = stage.open_with(stall.at(b'r'));
            let id = record("MRN-1", name);
            let put = stall.across(
                || session_on(&slow).put(&id, body),
                || {
                    drop(
                        session_on(&stage.open())
                            .erase_subject(&patient, "asked for")
                            .unwrap(),
                    )
                },
            );
            assert_eq!(put, Err(Error::Erased));
            let vault = stage.open();
            assert_erased(&vault, &patient);
            model.verify(&vault);
            // The put removes its own objects after its last check fails.
            let left = raw::counts(&stage.storage);
            assert_eq!((left[2], left[3]), (1, 0));
            session_on(&vault)
                .erase_subject(&patient, "asked for")
                .unwrap();
            assert_eq!(raw::counts(&stage.storage), [1, 2, 1, 0, 0, 0]);
        }
    }
}

fn put_delayed_past_erase_and_reopen_returns_erased(stage: &Stage) {
    smaller_clinic(&stage.create());
    let patient = subject("MRN-1");
    let stall = Stall::new();
    let (slow, _) = stage.open_with(stall.at(b'r'));
    let id = record("MRN-1", "Observation/amended");
    let put = stall.across(
        || session_on(&slow).put(&id, b"for the former chart"),
        || {
            let vault = stage.open();
            session_on(&vault)
                .erase_subject(&patient, "asked for")
                .unwrap();
            session_on(&vault).reopen_chart(&patient).unwrap();
            session_on(&vault).put(&id, b"of the new chart").unwrap();
        },
    );
    assert_eq!(put, Err(Error::Erased));
    let vault = stage.open();
    let now = session_on(&vault).get(&id).unwrap().unwrap();
    assert_eq!((&now[..], now.version()), (&b"of the new chart"[..], 1));
    assert_eq!(raw::counts(&stage.storage)[2..], [2, 0, 0, 0]);
}

/// Applies some deletes of the erasure late, after the chart is reopened. The outcome of these
/// deletes was unknown to the eraser.
fn late_delete_of_erase_spares_reopened_chart(stage: &Stage) {
    smaller_clinic(&stage.create());
    let patient = subject("MRN-1");
    let once = Arc::new(Mutex::new(std::collections::HashSet::new()));
    let (slow, faulty) = stage.open_with(move |_, point| match point {
        FaultPoint::Commit([Operation::Delete { key }])
            if once.lock().unwrap().insert(key.clone()) =>
        {
            FaultAction::Unknown(FaultOutcome::Later)
        }
        _ => FaultAction::Proceed,
    });
    session_on(&slow)
        .erase_subject(&patient, "asked for")
        .unwrap();
    assert!(faulty.under_way() > 0);
    let vault = stage.open();
    let session = session_on(&vault);
    session.reopen_chart(&patient).unwrap();
    let id = record("MRN-1", "Observation/amended");
    let large = content(3, INLINE_MAX + 1);
    session.put(&id, &large).unwrap();
    session.put(&id, b"second").unwrap();
    while let Some(landed) = faulty.land() {
        landed.unwrap();
    }
    assert_eq!(&session.get(&id).unwrap().unwrap()[..], b"second");
    assert!(session.get_version(&id, 1).unwrap().unwrap()[..] == large[..]);
    assert_eq!(raw::key_usage(&vault), raw::brute_force(&stage.storage));
}

/// The second eraser stalls before its tombstone is committed and must not erase the reopened
/// chart.
fn stalled_second_erase_spares_reopened_chart(stage: &Stage) {
    smaller_clinic(&stage.create());
    let patient = subject("MRN-1");
    let stall = Stall::new();
    let (slow, _) = stage.open_with(stall.at(b'p'));
    let id = record("MRN-1", "Observation/of the new chart");
    let late = stall.across(
        || session_on(&slow).erase_subject(&patient, "asked for"),
        || {
            let vault = stage.open();
            session_on(&vault)
                .erase_subject(&patient, "asked for")
                .unwrap();
            session_on(&vault).reopen_chart(&patient).unwrap();
            session_on(&vault).put(&id, b"new").unwrap();
        },
    );
    assert!(!late.unwrap().keys_destroyed);
    let vault = stage.open();
    assert_eq!(&session_on(&vault).get(&id).unwrap().unwrap()[..], b"new");
    assert_eq!(raw::key_usage(&vault).erased, 0);
}

fn writers_during_erase_end_with_erased(stage: &Stage) {
    let options = stage.options_under_load();
    let first = options.clone().create(stage.shared(), &Fixed(1)).unwrap();
    let other = stage.open_by(options);
    let (first, other) = (&first, &other);
    for round in 0..4 {
        let patient = format!("MRN-{round}");
        let id = record(&patient, "Observation/1");
        session_on(first).put(&id, b"x").unwrap();
        thread::scope(|scope| {
            for (thread, vault) in [first, other, first].into_iter().enumerate() {
                let patient = &patient;
                scope.spawn(move || {
                    let id = record(patient, &format!("by {thread}"));
                    let large = content(thread as u64, INLINE_MAX + 1);
                    for turn in 1.. {
                        let body = if turn % 4 == 0 { &large[..] } else { b"small" };
                        match session_on(vault).put(&id, body) {
                            Ok(version) => assert_eq!(version, turn),
                            Err(error) => {
                                assert_eq!(error, Error::Erased);
                                break;
                            }
                        }
                    }
                });
            }
            thread::sleep(std::time::Duration::from_millis(20));
            session_on(other)
                .erase_subject(id.subject(), "asked for")
                .unwrap();
        });
        assert_erased(first, id.subject());
        // Each writer removes the version that it wrote after the erasure.
        assert_eq!(raw::counts(&stage.storage)[2..4], [0, 0]);
    }
}

/// Stores keys and data in separate storages. After the keys are destroyed, a restored backup of
/// the data must stay unreadable.
#[test]
fn data_restored_after_erase_stays_unreadable() {
    let keys = Arc::new(MemoryStorage::new());
    let data = Arc::new(MemoryStorage::new());
    let split = || SplitStorage::new(Arc::clone(&keys), Arc::clone(&data));
    let stage = Stage::per_operation();
    let options = stage.options();
    let vault = options.clone().create(split(), &Fixed(1)).unwrap();
    let mut model = small_clinic(&vault);
    let patient = subject("MRN-1");
    let backup = raw::objects(&*data);
    let backed_up = backup.keys().all(|key| !matches!(key[0], b'v' | b'p'));
    assert!(backed_up && backup.len() > 20);
    session_on(&vault)
        .erase_subject(&patient, "asked for")
        .unwrap();
    for (key, value) in &backup {
        raw::put(&*data, key, value);
    }
    let vault = options.clone().open(split(), &Fixed(1)).unwrap();
    assert_erased(&vault, &patient);
    model.0.retain(|id, _| *id.subject() != patient);
    model.verify(&vault);
    // The data storage cannot be opened without the key storage, even with the credential.
    let alone = options.clone().open(Arc::clone(&data), &Fixed(1));
    assert_eq!(alone.unwrap_err(), Error::NoVault);
    // No remaining key opens the restored objects.
    let dead = raw::brute_force(&split());
    assert_eq!((dead.subjects, dead.erased), (3, 1));
    session_on(&vault).reopen_chart(&patient).unwrap();
    let id = record("MRN-1", "Observation/amended");
    assert!(session_on(&vault).get(&id).unwrap().is_none());
}

/// Makes the deletes fail: `erase_subject` must return the error and still destroy the keys.
#[test]
fn erase_with_failing_deletes_returns_error_and_destroys_keys() {
    let stage = Stage::per_operation();
    smaller_clinic(&stage.create());
    let storage = Faulty::new(PerOperation::new(stage.shared()), |_, point| match point {
        FaultPoint::Commit([Operation::Delete { .. }]) => {
            FaultAction::Fail(chartlock::storage::StorageError::Denied)
        }
        _ => FaultAction::Proceed,
    });
    let vault = stage.options().open(storage, &Fixed(1)).unwrap();
    let patient = subject("MRN-1");
    assert_eq!(
        session_on(&vault).erase_subject(&patient, "asked for"),
        Err(Error::Storage(chartlock::storage::StorageError::Denied))
    );
    assert_erased(&stage.open(), &patient);
    assert_eq!(
        session_on(&stage.open()).reopen_chart(&patient),
        Err(Error::Erased)
    );
}
