//! Effects of each rotation on the stored objects.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chartlock::internals::crypto::Place;
use chartlock::internals::envelope::{Head, digest};
use chartlock::internals::keys::{Chart, KeyVersion, unwrap};
use chartlock::storage::{
    CommitError, Committed, FaultAction, FaultPoint, Operation, Scan, ScanPage, Storage,
    StorageError, Stored, Transaction,
};
use chartlock::{
    progress::{Phase, ProgressUpdate},
    report::ReencryptionReport,
};

use super::{ROTATIONS, Report, Rotation};
use crate::common::Fixed;
use crate::model::small_clinic;
use crate::raw::{self, Objects};
use crate::stage::{Shared, Stage, session_on, subject};

everywhere!(
    master_rotation_reads_and_writes_no_record,
    subject_rotation_rewraps_only_its_data_keys,
    reencryption_replaces_every_data_key_and_ciphertext,
    former_patient_keys_unwrap_nothing,
    rotation_reports_progress,
    reencryption_of_empty_vault_reports_nothing,
    rotation_with_deferred_purge_reports_it,
);

/// Returns the first patient's objects if `belongs`, otherwise all other objects except the header.
fn of_patient(stage: &Stage, belongs: bool) -> Objects {
    let mut objects = raw::objects(&stage.storage);
    objects.retain(|key, _| key[0] != b'v' && raw::belongs_to(stage, key, "MRN-1") == belongs);
    objects
}

fn master_rotation_reads_and_writes_no_record(stage: &Stage) {
    let model = small_clinic(&stage.create());
    let before = raw::objects(&stage.storage);
    let written = Arc::new(Mutex::new(BTreeMap::<u8, usize>::new()));
    let log = Arc::clone(&written);
    let (vault, _) = stage.open_with(move |_, point| {
        let of_entries = |key: &[u8]| matches!(key, [b'a' | b'v'] | [b'p' | b'j', ..]);
        match point {
            FaultPoint::Read(keys) => assert!(keys.iter().all(|key| of_entries(key))),
            FaultPoint::Scan(scan) => assert!(of_entries(scan.prefix)),
            FaultPoint::Commit(operations) => {
                assert!(
                    operations
                        .iter()
                        .all(|operation| of_entries(operation.key()))
                );
                for (key, value) in raw::puts(operations) {
                    *log.lock().unwrap().entry(key[0]).or_default() += value.len();
                }
            }
        }
        FaultAction::Proceed
    });
    let report = vault.rotate_master_key().unwrap();
    assert_eq!(report.entries_resealed, 4);
    let written = written.lock().unwrap();
    assert!(
        written[&b'p'] / 4 < 600,
        "{} bytes for 4 patients",
        written[&b'p']
    );
    let after = raw::objects(&stage.storage);
    assert!(before.keys().eq(after.keys()));
    for (key, value) in &after {
        assert_eq!(before[key] == *value, !matches!(key[0], b'v' | b'p'));
    }
    model.verify(&stage.open());
}

fn subject_rotation_rewraps_only_its_data_keys(stage: &Stage) {
    let vault = stage.create();
    let model = small_clinic(&vault);
    let before = raw::objects(&stage.storage);
    let others = of_patient(stage, false);
    let report = vault.rotate_subject_key(&subject("MRN-1")).unwrap();
    assert_eq!(
        (
            report.subjects,
            report.rewrapped,
            report.reencrypted,
            report.bytes
        ),
        (1, 8, 0, 0)
    );
    assert_eq!((report.patient_keys_destroyed, report.blocking), (1, 0));
    assert!(of_patient(stage, false) == others);
    let after = of_patient(stage, true);
    for (key, value) in after
        .iter()
        .filter(|(key, _)| matches!(key[0], b'r' | b'h'))
    {
        let former = &before[key];
        assert_eq!(digest(value), digest(former));
        assert_eq!(value[8..48], former[8..48]);
        assert_ne!(value[4..8], former[4..8]);
        assert_ne!(value[48..96], former[48..96]);
    }
    let segments = after.iter().filter(|(key, _)| key[0] == b's');
    assert!(segments.clone().count() > 0);
    assert!(
        segments
            .into_iter()
            .all(|(key, value)| before[key] == *value)
    );
    model.verify(&vault);
    assert_eq!(raw::key_usage(&vault), raw::brute_force(&stage.storage));
}

fn reencryption_replaces_every_data_key_and_ciphertext(stage: &Stage) {
    let vault = stage.create();
    let model = small_clinic(&vault);
    let before = raw::objects(&stage.storage);
    let session = session_on(&vault);
    let infos = |id| session.history(id).unwrap();
    let former: Vec<_> = model.0.keys().map(infos).collect();
    let report = vault.reencrypt().unwrap();
    let content = model.0.values().flatten().flatten().map(Vec::len);
    assert_eq!(
        (report.subjects, report.rewrapped, report.reencrypted),
        (4, 0, 3 * 8 + 1)
    );
    assert_eq!(report.bytes, content.sum::<usize>() as u64);
    assert_eq!(report.patient_keys_destroyed, 4);
    let after = raw::objects(&stage.storage);
    for (key, value) in &after {
        match key[0] {
            b'r' | b'h' => {
                let (old, new) = (&before[key], value);
                assert_eq!(old[8..16], new[8..16], "the version number changed");
                for field in [4..8, 16..48, 48..96] {
                    assert_ne!(old[field.clone()], new[field]);
                }
                assert_ne!(digest(old), digest(new));
            }
            b's' => assert!(!before.contains_key(key), "a former stream was kept"),
            b'p' => assert!(before[key] != *value),
            _ => assert_eq!(key, b"v"),
        }
    }
    let classes = |objects: &Objects| objects.keys().map(|key| key[0]).collect::<Vec<_>>();
    assert_eq!(classes(&before), classes(&after));
    // The metadata of every version stays the same.
    assert!(model.0.keys().map(infos).eq(former));
    model.verify(&vault);
    model.verify(&stage.open());
    assert_eq!(raw::key_usage(&vault), raw::brute_force(&stage.storage));
}

fn former_patient_keys_unwrap_nothing(stage: &Stage) {
    let vault = stage.create();
    small_clinic(&vault);
    for rotation in [Rotation::Subject, Rotation::ReencryptSubject] {
        let header = raw::header_value(&stage.storage);
        let entries = raw::entries(&stage.storage, &header);
        let former: Vec<&KeyVersion<_>> = entries
            .iter()
            .filter_map(|(_, entry)| entry.as_ref().unwrap().chart().map(Chart::active_key))
            .collect();
        rotation.run(&vault).unwrap();
        for (key, value) in of_patient(stage, true) {
            let place = match key[0] {
                b'r' => Place::Current,
                b'h' => Place::Earlier,
                _ => continue,
            };
            let head = Head::parse(&value).unwrap();
            for key in &former {
                assert_ne!(key.number, head.key_number);
                let (commitment, wrapped) = (&head.commitment, &head.wrapped);
                let opened = unwrap(head.suite, &key.key, place, key.number, commitment, wrapped);
                assert!(opened.is_err());
            }
        }
    }
}

fn rotation_reports_progress(stage: &Stage) {
    small_clinic(&stage.create());
    let options = stage
        .options_under_load()
        .key_removal_delay(Duration::from_secs(30));
    let vault = stage.open_by(options);
    for rotation in ROTATIONS {
        let steps = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&steps);
        let vault = vault.with_progress(move |step: ProgressUpdate| log.lock().unwrap().push(step));
        let report = rotation.run(&vault).unwrap();
        let steps = steps.lock().unwrap();
        let (phase, most) = match (rotation, &report) {
            (Rotation::Master, _) => (Phase::Resealing, 4),
            (Rotation::Subject, _) => (Phase::Rewrapping, 8),
            _ => (Phase::Reencrypting, 8),
        };
        let of = |phase| steps.iter().filter(move |step| step.phase == phase);
        assert_eq!(of(phase).map(|step| step.done).max(), Some(most));
        assert!(of(phase).all(|step| step.done > 0));
        let waited = of(Phase::Waiting).map(|step| step.done).max();
        assert!(waited.is_some_and(|seconds| (1..=30).contains(&seconds)));
        match report {
            Report::Master(report) => assert!(report.passes >= 3),
            Report::Subject(report) => assert!(report.passes >= 3),
        }
    }
}

fn reencryption_of_empty_vault_reports_nothing(stage: &Stage) {
    let report = stage.create().reencrypt();
    assert_eq!(report, Ok(ReencryptionReport::default()));
}

/// Storage that reports the purge of each destroying put as deferred.
#[derive(Debug)]
struct DeferredPurge(Shared);

impl Storage for DeferredPurge {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.0.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.0.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        let mut results = self.0.commit(transactions);
        for (transaction, result) in transactions.iter().zip(&mut results) {
            let destroying = |operation: &Operation| matches!(operation, Operation::Put { destroying, .. } if *destroying);
            if let Ok(done) = result {
                done.deferred = transaction.operations().iter().any(destroying);
            }
        }
        results
    }

    fn is_transactional(&self) -> bool {
        self.0.is_transactional()
    }
}

fn rotation_with_deferred_purge_reports_it(stage: &Stage) {
    small_clinic(&stage.create());
    let deferring = DeferredPurge(stage.shared());
    let vault = stage.options().open(deferring, &Fixed(1)).unwrap();
    for rotation in ROTATIONS {
        for (vault, expected) in [(&vault, true), (&stage.open(), false)] {
            let deferred = match rotation.run(vault).unwrap() {
                Report::Master(report) => report.purge_deferred,
                Report::Subject(report) => report.purge_deferred,
            };
            // Files of the database may still contain the replaced values.
            let allowed = deferred && (stage.directory.is_some() || stage.defers_purges);
            assert!(deferred == expected || allowed, "{rotation:?}");
        }
    }
}
