//! Rotations of the journal keys beside operations of other processes: a verification, and pages that
//! come home or are brought back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use chartlock::audit::AuditItem;
use chartlock::storage::{FaultAction, FaultPoint, Faulty, Operation, Storage, StorageError};
use chartlock::{Error, MemoryStorage, Vault};

use super::{assert_clean, clinic, faults};
use crate::common::{Fixed, because};
use crate::raw;
use crate::stage::{Stage, record, session_on};

everywhere!(
    verification_beside_a_rotation_at_any_step_is_clean,
    spool_that_comes_home_before_the_second_header_is_believed,
    spool_under_older_keys_is_believed_while_other_keys_are_closing,
    spool_that_ends_with_a_foreign_page_is_believed_up_to_it,
    pages_brought_back_beside_a_rotation_are_believed,
    report_beside_a_rotation_at_any_step_has_no_fault,
);

/// Returns a spool with the reads of a standby.
fn spool_of_standby(stage: &Stage) -> Arc<MemoryStorage> {
    let spool = Arc::new(MemoryStorage::new());
    let own = Arc::clone(&spool);
    let standby = (stage.options()).open_read_only(stage.shared(), &Fixed(1), own);
    let id = record("MRN-1", "Allergy/1");
    assert!(session_on(&standby.unwrap()).get(&id).unwrap().is_some());
    spool
}

fn bring_home(vault: &Vault, spool: &MemoryStorage) -> Result<u64, Error> {
    let brought = session_on(vault).bring_journal_home("reads of the standby", spool);
    brought.map(|report| report.pages)
}

fn puts_header(point: &FaultPoint<'_>) -> bool {
    let FaultPoint::Commit(operations) = point else {
        return false;
    };
    let is_header = |operation: &Operation| matches!(operation, Operation::Put { key, .. } if key[..] == b"v"[..]);
    operations.iter().any(is_header)
}

/// Runs `check` again and again. Each time, another process rotates the keys, and writes under the new
/// ones, before another storage step since `check` called the function that it receives.
fn rotate_at_any_step(stage: &Stage, check: impl Fn(&Vault, &dyn Fn(), u64)) {
    clinic(&stage.create());
    let before = raw::all_objects(&stage.storage);
    for due in (0..).step_by(3) {
        let (other, steps) = (stage.open(), Arc::new(AtomicU64::new(u64::MAX / 2)));
        let counter = Arc::clone(&steps);
        let (vault, _) = stage.open_with(move |_, _| {
            if counter.fetch_add(1, Ordering::SeqCst) == due {
                other.rotate_journal_keys(&[], &[]).unwrap();
                clinic(&other);
                other.rotate_journal_keys(&[], &[]).unwrap();
            }
            FaultAction::Proceed
        });
        check(&vault, &|| steps.store(0, Ordering::SeqCst), due);
        if steps.load(Ordering::SeqCst) <= due {
            assert!(due > 3);
            return;
        }
        drop(vault);
        raw::reset(&stage.storage, &before);
    }
}

fn verification_beside_a_rotation_at_any_step_is_clean(stage: &Stage) {
    rotate_at_any_step(stage, |vault, begin, due| {
        let mut verification = vault.verification();
        // The first step journals the verification.
        assert!(verification.step().unwrap());
        begin();
        while verification.step().unwrap() {}
        let report = verification.report();
        assert!(report.is_clean(), "{due}: {report:#?}");
    });
}

fn report_beside_a_rotation_at_any_step_has_no_fault(stage: &Stage) {
    rotate_at_any_step(stage, |vault, begin, due| {
        let trail = session_on(vault).audit().unwrap();
        begin();
        for item in trail.entries(..).unwrap() {
            let item = item.unwrap();
            assert!(matches!(item, AuditItem::Entry(_)), "{due}: {item:?}");
        }
    });
}

fn spool_that_comes_home_before_the_second_header_is_believed(stage: &Stage) {
    clinic(&stage.create());
    let spool = spool_of_standby(stage);
    let (other, headers) = (stage.open(), AtomicU64::new(0));
    let (vault, _) = stage.open_with(move |_, point| {
        if puts_header(point) && headers.fetch_add(1, Ordering::SeqCst) == 1 {
            assert!(bring_home(&other, &spool).unwrap() > 0);
        }
        FaultAction::Proceed
    });
    let report = vault.rotate_journal_keys(&[], &[]).unwrap();
    assert!(report.pages.unwrap() > 0);
    drop(vault);
    assert_clean(stage);
}

fn spool_under_older_keys_is_believed_while_other_keys_are_closing(stage: &Stage) {
    clinic(&stage.create());
    let (spool, headers) = (spool_of_standby(stage), AtomicU64::new(0));
    let (vault, _) = stage.open_with(move |_, point| {
        let fails = puts_header(point) && headers.fetch_add(1, Ordering::SeqCst) == 3;
        match fails {
            true => FaultAction::Fail(StorageError::Io(std::io::ErrorKind::Other)),
            false => FaultAction::Proceed,
        }
    });
    assert!(vault.rotate_journal_keys(&[], &[]).unwrap().pages.is_some());
    let unfinished = vault.rotate_journal_keys(&[], &[]).unwrap();
    assert_eq!(unfinished.pages, None);
    assert!(bring_home(&vault, &spool).unwrap() > 0);
    let report = vault.verify(None).unwrap();
    assert!(
        report.is_clean() && report.journal_keys_closing,
        "{report:#?}"
    );
    vault.rotate_journal_keys(&[], &[]).unwrap();
    drop(vault);
    assert_clean(stage);
}

fn spool_that_ends_with_a_foreign_page_is_believed_up_to_it(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    let spool = spool_of_standby(stage);
    vault.rotate_journal_keys(&[], &[]).unwrap();
    let shared: crate::stage::Shared = Arc::clone(&spool) as _;
    let (_, value) = raw::objects_of(&shared, b"j").pop_last().unwrap();
    // The page of another position.
    let foreign = [&b"j"[..], &[255; 16], &[0; 8]].concat();
    raw::put(&shared, &foreign, &value);
    assert_eq!(bring_home(&vault, &spool), Err(Error::NotAuthentic));
    let home = raw::objects_of(&stage.storage, b"j");
    let mut pages = raw::objects_of(&shared, b"j");
    pages.pop_last();
    assert!(pages.keys().all(|page| home.contains_key(page)));
    drop(vault);
    assert_clean(stage);
}

/// A copy of the storage has pages of reads that the restored storage lacks.
fn pages_brought_back_beside_a_rotation_are_believed(stage: &Stage) {
    clinic(&stage.create());
    let backup = raw::all_objects(&stage.storage);
    let id = record("MRN-1", "Allergy/1");
    assert!(session_on(&stage.open()).get(&id).unwrap().is_some());
    let copy: crate::stage::Shared = Arc::new(MemoryStorage::new());
    raw::reset(&copy, &raw::all_objects(&stage.storage));
    raw::reset(&stage.storage, &backup);
    let options = || stage.options_on_clock().without_background();
    let (vault, other) = (stage.open_by(options()), stage.open_by(options()));
    let (rotated, clock) = (AtomicBool::new(false), Arc::clone(&stage.clock));
    let later = Faulty::new(copy, move |_, point| {
        let is_scan = matches!(point, FaultPoint::Scan(_));
        if is_scan && !rotated.swap(true, Ordering::SeqCst) {
            other.rotate_journal_keys(&[], &[]).unwrap();
            // Storage without transactions keeps the former keys for at most 60 seconds.
            clock.advance(61_000);
        }
        FaultAction::Proceed
    });
    let later: &dyn Storage = &later;
    let brought = session_on(&vault).bring_journal_back(later, None, because("disk failure"));
    assert!(brought.unwrap().pages_put_back > 0);
    let report = vault.verify(None).unwrap();
    assert!(faults(&report).is_empty(), "{report:#?}");
    drop(vault);
    assert_clean(stage);
}
