//! Verification during concurrent puts, rotations, re-encryptions and erasures: no false finding,
//! and tampering is still found.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use chartlock::storage::{FaultAction, FaultPoint, StorageError};
use chartlock::{Vault, verify::FindingKind};

use super::{clinic, record_key, records};
use crate::common::Fixed;
use crate::raw;
use crate::stage::{Stage, record, session_on, subject};

everywhere!(
    verify_during_writes_is_clean,
    verify_during_rotations_is_clean,
    verify_during_erasures_is_clean,
    tampering_with_busy_record_is_found
);

/// Maximum number of operations per worker thread, because verify reads the growing histories.
const TURNS: u64 = 300;

/// Runs `check` several times on the first of two vaults, while a thread per vault runs `work`.
fn verify_during(stage: &Stage, work: impl Fn(&Vault, u64, u64) + Sync, check: impl Fn(&Vault)) {
    let options = stage.options_under_load();
    let vaults: Vec<Vault> = (0..2)
        .map(|_| options.clone().open(stage.shared(), &Fixed(1)).unwrap())
        .collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for (thread, vault) in (0..).zip(&vaults) {
            let (work, done) = (&work, &done);
            scope.spawn(move || {
                for turn in 0..TURNS {
                    if done.load(Ordering::SeqCst) {
                        return;
                    }
                    work(vault, thread, turn);
                }
            });
        }
        let stop = StopOnDrop(&done);
        for _ in 0..4 {
            check(&vaults[0]);
        }
        drop(stop);
    });
    let report = stage.open().verify(None).unwrap();
    check(&vaults[1]);
    drop(report);
}

/// Guard that stops the worker threads, even if a check panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn assert_vault_clean(vault: &Vault) {
    let report = vault.verify(None).unwrap();
    assert!(report.is_clean(), "{report:#?}");
}

fn write(vault: &Vault, thread: u64, turn: u64) {
    let session = session_on(vault);
    let patient = format!("MRN-{}", turn % 7);
    let name = format!("Observation/{}", (turn + thread) % 3);
    let _ = session.put(&record(&patient, &name), &turn.to_le_bytes());
    if turn.is_multiple_of(11) {
        let _ = session.retract(&record(&patient, &name));
    }
}

fn verify_during_writes_is_clean(stage: &Stage) {
    clinic(&stage.create());
    verify_during(stage, write, assert_vault_clean);
}

fn verify_during_rotations_is_clean(stage: &Stage) {
    clinic(&stage.create());
    let work = |vault: &Vault, thread: u64, turn: u64| {
        write(vault, thread, turn);
        let patient = subject(&format!("MRN-{}", turn % 7));
        let _ = match (thread, turn % 6) {
            (0, 0) => vault.rotate_subject_key(&patient).map(drop),
            (0, 2) => vault.reencrypt_subject(&patient).map(drop),
            (1, 5) => vault.rotate_master_key().map(drop),
            _ => Ok(()),
        };
    };
    verify_during(stage, work, assert_vault_clean);
}

fn verify_during_erasures_is_clean(stage: &Stage) {
    clinic(&stage.create());
    let work = |vault: &Vault, thread: u64, turn: u64| {
        write(vault, thread, turn);
        let patient = subject(&format!("MRN-{}", turn % 7));
        let session = session_on(vault);
        let _ = match (turn + thread) % 3 {
            0 => session.erase_subject(&patient, "asked for").map(drop),
            1 => session.reopen_chart(&patient),
            _ => vault.collect_garbage().map(drop),
        };
    };
    verify_during(stage, work, assert_vault_clean);
}

/// A removed version must be found even while other vaults keep changing the record.
fn tampering_with_busy_record_is_found(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let second = [b"h", &key[1..], &2_u64.to_be_bytes()].concat();
    let mut objects = raw::all_objects(&stage.storage);
    objects.remove(&second).unwrap();
    raw::reset(&stage.storage, &objects);
    let work = |vault: &Vault, _: u64, turn: u64| {
        let _ = session_on(vault).put(&record("MRN-1", "Allergy/1"), &turn.to_le_bytes());
    };
    verify_during(stage, work, |vault| {
        let report = vault.verify(None).unwrap();
        let missing = ("MRN-1 Allergy/1".to_owned(), 2, FindingKind::Missing);
        assert_eq!(records(&report), [missing], "{report:#?}");
    });
}

/// An entry under a new master key opens only with the new header. If the storage fails to return that
/// header, verification fails instead of reporting the entry.
#[test]
fn verify_without_new_header_fails() {
    let stage = Stage::per_operation();
    clinic(&stage.create());
    let (rotating, is_rotated) = (stage.open(), AtomicBool::new(false));
    let busy = StorageError::Io(ErrorKind::TimedOut);
    let (vault, _) = stage.open_with(move |_, point| match point {
        FaultPoint::Scan(scan) if scan.prefix == b"p" => {
            if !is_rotated.swap(true, Ordering::SeqCst) {
                rotating.rotate_master_key().unwrap();
            }
            FaultAction::Proceed
        }
        FaultPoint::Read([key]) if key[0] == b'v' && is_rotated.load(Ordering::SeqCst) => {
            FaultAction::Fail(busy)
        }
        _ => FaultAction::Proceed,
    });
    let verified = vault.verify(None);
    assert_eq!(
        verified.unwrap_err(),
        StorageError::Io(ErrorKind::TimedOut).into()
    );
}
