//! An erased subject stays erased, whoever wakes late.

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
use crate::stage::{Stage, content, record, session, subject, verdict_at};

everywhere!(
    erased,
    never_seen,
    broken_off_anywhere,
    reopened,
    a_put_delayed_across_it,
    a_put_delayed_across_it_and_a_return,
    a_delete_lands_late,
    a_second_eraser_wakes_late,
    writers_beside_it,
);

pub(crate) fn assert_erased(vault: &Vault, subject: &Subject) {
    let chart = session(vault);
    for name in ["Observation/amended", "CT/large", "never was"] {
        let id = chartlock::RecordId::new(subject.clone(), name).unwrap();
        assert_eq!(chart.get(&id).unwrap_err(), Error::Erased);
        assert_eq!(chart.get_version(&id, 1).unwrap_err(), Error::Erased);
        assert_eq!(chart.history(&id).unwrap_err(), Error::Erased);
        assert_eq!(chart.put(&id, b"x"), Err(Error::Erased));
        assert_eq!(chart.retract(&id), Err(Error::Erased));
    }
    let listed = chart.list(subject).map(Iterator::count);
    // The walk itself may be where it shows.
    assert!(matches!(listed, Err(Error::Erased)) || yields_erased(vault, subject));
    let mut subjects = chart.subjects().unwrap().map(Result::unwrap);
    assert!(subjects.all(|other| other != *subject));
    assert_eq!(vault.rotate_subject_key(subject), Err(Error::Erased));
    assert_eq!(vault.reencrypt_subject(subject), Err(Error::Erased));
    assert_eq!(vault.subject_key_usage(subject), Err(Error::Erased));
}

fn yields_erased(vault: &Vault, subject: &Subject) -> bool {
    let listed = session(vault).list(subject).unwrap();
    listed
        .into_iter()
        .all(|info| info.is_err_and(|error| error == Error::Erased))
}

fn erased(stage: &Stage) {
    let vault = stage.create();
    let other = stage.open();
    let mut model = small_clinic(&vault);
    // The other process holds the entry in memory.
    model.verify(&other);
    let patient = subject("MRN-1");
    let steps = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&steps);
    let vault = vault.with_progress(move |step: ProgressUpdate| log.lock().unwrap().push(step));
    let report = session(&vault)
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
        let census = raw::census(vault);
        assert_eq!((census.erased, census.subjects), (1, 3));
        assert_eq!(census, raw::brute_force(&stage.storage));
    }
    // What a process holds in memory opens nothing that is gone.
    let id = record("MRN-1", "Observation/amended");
    assert_eq!(session(&other).get(&id).unwrap_err(), Error::Erased);
    assert_eq!(session(&other).put(&id, b"x"), Err(Error::Erased));
    assert_erased(&other, &patient);
    assert_eq!(raw::counts(&stage.storage), [1, 4, 9, 8, 4, 0]);
    // Once more: there is nothing left to do.
    let again = session(&vault)
        .erase_subject(&patient, "asked for")
        .unwrap();
    assert!(!again.keys_destroyed);
    assert_eq!(
        (again.records, again.earlier_versions, again.segments),
        (0, 0, 0)
    );
    // A tombstone goes along with the next master key.
    let rotated = vault.rotate_master_key().unwrap();
    assert_eq!(
        (rotated.entries_resealed, rotated.master_keys_destroyed),
        (4, 1)
    );
    assert_erased(&vault, &patient);
}

fn never_seen(stage: &Stage) {
    let vault = stage.create();
    let before = raw::objects(&stage.storage);
    let chart = session(&vault);
    let nobody = subject("MRN-1");
    assert_eq!(
        chart.erase_subject(&nobody, "asked for"),
        Err(Error::UnknownSubject)
    );
    assert_eq!(chart.reopen_chart(&nobody), Err(Error::UnknownSubject));
    assert!(raw::objects(&stage.storage) == before);
    chart.put(&record("MRN-1", "a"), b"x").unwrap();
    assert_eq!(chart.reopen_chart(&nobody), Err(Error::Conflict));
}

fn broken_off_anywhere(stage: &Stage) {
    let mut model = smaller_clinic(&stage.create());
    let before = raw::everything(&stage.storage);
    let patient = subject("MRN-1");
    let (vault, faulty) = stage.open_with(|_, _| FaultAction::Proceed);
    let opened = faulty.steps();
    session(&vault)
        .erase_subject(&patient, "asked for")
        .unwrap();
    let steps = faulty.steps() - opened;
    assert!(steps >= 8);
    let whole = model.clone();
    model.0.retain(|id, _| *id.subject() != patient);
    for step in (0..steps).step_by(stage.stride) {
        for verdict in [FaultAction::Stop, FaultAction::StopAfter] {
            raw::reset(&stage.storage, &before);
            let (vault, _) = stage.open_with(verdict_at(step, verdict));
            session(&vault)
                .erase_subject(&patient, "asked for")
                .unwrap_err();
            let vault = stage.open();
            // All of it is there, or none of it can be read.
            let chart = session(&vault);
            let id = record("MRN-1", "Observation/amended");
            match chart.get(&id) {
                Ok(_) => whole.verify(&vault),
                Err(error) => {
                    assert_eq!(error, Error::Erased);
                    assert_erased(&vault, &patient);
                }
            }
            chart.erase_subject(&patient, "asked for").unwrap();
            assert_erased(&vault, &patient);
            model.verify(&vault);
            assert_eq!(raw::counts(&stage.storage), [1, 2, 1, 0, 0, 0]);
        }
    }
}

fn reopened(stage: &Stage) {
    let vault = stage.create();
    let mut model = small_clinic(&vault);
    let patient = subject("MRN-1");
    let chart = session(&vault);
    for round in 0..3 {
        let before = raw::objects(&stage.storage);
        chart.erase_subject(&patient, "asked for").unwrap();
        // Bytes of the dead chart that turn up again hang on nothing.
        for (key, value) in before.iter().filter(|(key, _)| key[0] == b'r') {
            raw::put(&stage.storage, key, value);
        }
        chart.reopen_chart(&patient).unwrap();
        assert_eq!(chart.reopen_chart(&patient), Err(Error::Conflict));
        model.0.retain(|id, _| *id.subject() != patient);
        let id = record("MRN-1", "Observation/amended");
        assert!(chart.get(&id).unwrap().is_none());
        assert!(chart.get_version(&id, 1).unwrap().is_none());
        assert!(chart.history(&id).unwrap().is_empty());
        assert_eq!(chart.list(&patient).unwrap().count(), 0);
        model.put(&chart, &id, &content(round, 99));
        model.verify(&vault);
        model.verify(&stage.open());
    }
}

/// Blocks the first commit of a kind until it is let go.
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
        move |_, moment| {
            let meant = matches!(moment, FaultPoint::Commit(operations)
                if raw::puts(operations).any(|(key, _)| key[0] == class));
            if meant && !stall.done.swap(true, Ordering::SeqCst) {
                stall.reached.wait();
                stall.released.wait();
            }
            FaultAction::Proceed
        }
    }

    /// Runs `work` on another thread, and `meanwhile` once it has stalled.
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

fn a_put_delayed_across_it(stage: &Stage) {
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
                || session(&slow).put(&id, body),
                || {
                    drop(
                        session(&stage.open())
                            .erase_subject(&patient, "asked for")
                            .unwrap(),
                    )
                },
            );
            assert_eq!(put, Err(Error::Erased));
            let vault = stage.open();
            assert_erased(&vault, &patient);
            model.verify(&vault);
            // What it left behind, if anything, went with the withdrawal.
            let left = raw::counts(&stage.storage);
            assert_eq!((left[2], left[3]), (1, 0));
            session(&vault)
                .erase_subject(&patient, "asked for")
                .unwrap();
            assert_eq!(raw::counts(&stage.storage), [1, 2, 1, 0, 0, 0]);
        }
    }
}

fn a_put_delayed_across_it_and_a_return(stage: &Stage) {
    smaller_clinic(&stage.create());
    let patient = subject("MRN-1");
    let stall = Stall::new();
    let (slow, _) = stage.open_with(stall.at(b'r'));
    let id = record("MRN-1", "Observation/amended");
    let put = stall.across(
        || session(&slow).put(&id, b"for the chart of before"),
        || {
            let vault = stage.open();
            session(&vault)
                .erase_subject(&patient, "asked for")
                .unwrap();
            session(&vault).reopen_chart(&patient).unwrap();
            session(&vault).put(&id, b"of the new chart").unwrap();
        },
    );
    assert_eq!(put, Err(Error::Erased));
    let vault = stage.open();
    let now = session(&vault).get(&id).unwrap().unwrap();
    assert_eq!((&now[..], now.version()), (&b"of the new chart"[..], 1));
    assert_eq!(raw::counts(&stage.storage)[2..], [2, 0, 0, 0]);
}

/// Deletes of an erasure are answered as unknown, and land when the patient is back.
fn a_delete_lands_late(stage: &Stage) {
    smaller_clinic(&stage.create());
    let patient = subject("MRN-1");
    let once = Arc::new(Mutex::new(std::collections::HashSet::new()));
    let (slow, faulty) = stage.open_with(move |_, moment| match moment {
        FaultPoint::Commit([Operation::Delete { key }])
            if once.lock().unwrap().insert(key.clone()) =>
        {
            FaultAction::Unknown(FaultOutcome::Later)
        }
        _ => FaultAction::Proceed,
    });
    session(&slow).erase_subject(&patient, "asked for").unwrap();
    assert!(faulty.under_way() > 0);
    let vault = stage.open();
    let chart = session(&vault);
    chart.reopen_chart(&patient).unwrap();
    let id = record("MRN-1", "Observation/amended");
    let large = content(3, INLINE_MAX + 1);
    chart.put(&id, &large).unwrap();
    chart.put(&id, b"second").unwrap();
    while let Some(landed) = faulty.land() {
        landed.unwrap();
    }
    assert_eq!(&chart.get(&id).unwrap().unwrap()[..], b"second");
    assert!(chart.get_version(&id, 1).unwrap().unwrap()[..] == large[..]);
    assert_eq!(raw::census(&vault), raw::brute_force(&stage.storage));
}

/// An eraser that stalls before its tombstone lands must not hit the patient who has returned.
fn a_second_eraser_wakes_late(stage: &Stage) {
    smaller_clinic(&stage.create());
    let patient = subject("MRN-1");
    let stall = Stall::new();
    let (slow, _) = stage.open_with(stall.at(b'p'));
    let id = record("MRN-1", "Observation/of the new chart");
    let late = stall.across(
        || session(&slow).erase_subject(&patient, "asked for"),
        || {
            let vault = stage.open();
            session(&vault)
                .erase_subject(&patient, "asked for")
                .unwrap();
            session(&vault).reopen_chart(&patient).unwrap();
            session(&vault).put(&id, b"new").unwrap();
        },
    );
    assert!(!late.unwrap().keys_destroyed);
    let vault = stage.open();
    assert_eq!(&session(&vault).get(&id).unwrap().unwrap()[..], b"new");
    assert_eq!(raw::census(&vault).erased, 0);
}

fn writers_beside_it(stage: &Stage) {
    let options = stage.options_under_load();
    let mine = options.clone().create(stage.shared(), &Fixed(1)).unwrap();
    let other = stage.open_by(options);
    let (mine, other) = (&mine, &other);
    for round in 0..4 {
        let patient = format!("MRN-{round}");
        let id = record(&patient, "Observation/1");
        session(mine).put(&id, b"x").unwrap();
        thread::scope(|scope| {
            for (thread, vault) in [mine, other, mine].into_iter().enumerate() {
                let patient = &patient;
                scope.spawn(move || {
                    let id = record(patient, &format!("by {thread}"));
                    let large = content(thread as u64, INLINE_MAX + 1);
                    for turn in 1.. {
                        let body = if turn % 4 == 0 { &large[..] } else { b"small" };
                        match session(vault).put(&id, body) {
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
            session(other)
                .erase_subject(id.subject(), "asked for")
                .unwrap();
        });
        assert_erased(mine, id.subject());
        // Late arrivals were withdrawn by those who brought them.
        assert_eq!(raw::counts(&stage.storage)[2..4], [0, 0]);
    }
}

/// Keys kept apart from the data: the data of before is dead once the keys are gone.
#[test]
fn data_of_before_and_keys_of_after() {
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
    session(&vault)
        .erase_subject(&patient, "asked for")
        .unwrap();
    for (key, value) in &backup {
        raw::put(&*data, key, value);
    }
    let vault = options.clone().open(split(), &Fixed(1)).unwrap();
    assert_erased(&vault, &patient);
    model.0.retain(|id, _| *id.subject() != patient);
    model.verify(&vault);
    // Nor does the data alone open, with the credential and all.
    let alone = options.clone().open(Arc::clone(&data), &Fixed(1));
    assert_eq!(alone.unwrap_err(), Error::NoVault);
    // No key that is left opens any of what came back.
    let dead = raw::brute_force(&split());
    assert_eq!((dead.subjects, dead.erased), (3, 1));
    session(&vault).reopen_chart(&patient).unwrap();
    let id = record("MRN-1", "Observation/amended");
    assert!(session(&vault).get(&id).unwrap().is_none());
}

/// A storage that fails an erasure's deletes tells, and the keys are gone nevertheless.
#[test]
fn a_failing_sweep_is_told() {
    let stage = Stage::per_operation();
    smaller_clinic(&stage.create());
    let storage = Faulty::new(
        PerOperation::new(stage.shared()),
        |_, moment| match moment {
            FaultPoint::Commit([Operation::Delete { .. }]) => {
                FaultAction::Fail(chartlock::storage::StorageError::Denied)
            }
            _ => FaultAction::Proceed,
        },
    );
    let vault = stage.options().open(storage, &Fixed(1)).unwrap();
    let patient = subject("MRN-1");
    assert_eq!(
        session(&vault).erase_subject(&patient, "asked for"),
        Err(Error::Storage(chartlock::storage::StorageError::Denied))
    );
    assert_erased(&stage.open(), &patient);
    assert_eq!(
        session(&stage.open()).reopen_chart(&patient),
        Err(Error::Erased)
    );
}
