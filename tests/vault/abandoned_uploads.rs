//! Uploads that garbage collection treats as abandoned: those of an earlier process on exclusive
//! storage, and those that began too long ago or too far in the future.

use std::io::Write;
use std::sync::Arc;

use chartlock::VaultOptions;
use chartlock::internals::envelope::SEGMENT;
use chartlock::report::GarbageReport;
use chartlock::storage::{
    CommitError, Committed, FileOptions, FileStorage, MemoryStorage, Scan, ScanPage, SplitStorage,
    Storage, StorageError, Stored, Transaction,
};

use crate::common::clock::{ManualClock, NOON};
use crate::common::{Fixed, record, scratch, session};
use crate::raw;
use crate::stage::{Shared, Stage, content};

const DAY: i64 = 24 * 60 * 60 * 1000;

fn options(now: i64) -> VaultOptions {
    let options = VaultOptions::new().clock(Arc::new(ManualClock::at(now)));
    options.threads(std::num::NonZeroUsize::MIN)
}

/// Leaves the objects of an upload whose process ended before it committed the record.
fn leave_upload(storage: &Shared, started_at: i64) {
    let vault = options(started_at).create(Arc::clone(storage), &Fixed(1));
    let vault = vault.unwrap();
    let body = content(1, 3 * SEGMENT);
    let mut writer = session(&vault).writer(&record("P1", "CT"));
    writer.write_all(&body).unwrap();
    let under_way = raw::objects(storage);
    drop(writer);
    drop(vault);
    raw::reset(storage, &under_way);
    assert_eq!(raw::counts(storage)[5], 1);
}

fn collect(storage: &Shared, now: i64) -> GarbageReport {
    let vault = options(now).open(Arc::clone(storage), &Fixed(1)).unwrap();
    vault.collect_garbage().unwrap()
}

/// Storage that does not report exclusive use, because other processes could write to it.
#[derive(Debug)]
struct NotExclusive(Shared);

impl Storage for NotExclusive {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.0.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.0.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        self.0.commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        self.0.is_transactional()
    }
}

#[test]
fn upload_of_earlier_process_on_exclusive_storage_is_freed_at_once() {
    let makes = [
        Stage::memory,
        Stage::per_operation,
        Stage::split,
        Stage::file,
    ];
    for make in makes {
        for started_at in [NOON, NOON - 1, NOON + 1000 * DAY] {
            let stage = make();
            leave_upload(&stage.storage, started_at);
            let report = collect(&stage.storage, NOON);
            assert_eq!((report.uploads, report.uploads_under_way), (1, 0));
            assert_eq!(raw::counts(&stage.storage)[4..], [0, 0]);
        }
    }
}

/// Another vault of this process must not free the upload, even if its clock is 100 days ahead or
/// behind.
#[test]
fn upload_of_this_process_on_exclusive_storage_is_kept_at_any_age() {
    for stage in [Stage::memory(), Stage::file()] {
        let vault = options(NOON).create(Arc::clone(&stage.storage), &Fixed(1));
        let vault = vault.unwrap();
        let body = content(1, 3 * SEGMENT);
        let id = record("P1", "CT");
        let mut writer = session(&vault).writer(&id);
        writer.write_all(&body).unwrap();
        for now in [NOON, NOON - 100 * DAY, NOON + 100 * DAY] {
            let report = collect(&stage.storage, now);
            assert_eq!((report.uploads, report.uploads_under_way), (0, 1));
        }
        assert_eq!(writer.finish(), Ok(1));
        let report = collect(&stage.storage, NOON);
        assert_eq!((report.segments, report.uploads_under_way), (0, 0));
        assert!(session(&vault).get(&id).unwrap().unwrap()[..] == body);
    }
}

#[test]
fn upload_from_the_future_is_kept_up_to_the_age_limit() {
    for (stage, limit) in [(Stage::memory(), DAY), (Stage::per_operation(), 7 * DAY)] {
        leave_upload(&stage.storage, NOON);
        let storage: Shared = Arc::new(NotExclusive(Arc::clone(&stage.storage)));
        for now in [NOON - limit, NOON - 1, NOON, NOON + limit] {
            let report = collect(&storage, now);
            assert_eq!((report.uploads, report.uploads_under_way), (0, 1), "{now}");
        }
        let report = collect(&storage, NOON - limit - 1);
        assert_eq!((report.uploads, report.uploads_under_way), (1, 0));
        assert_eq!(raw::counts(&storage)[4..], [0, 0]);
    }
}

#[test]
fn is_exclusive_is_false_for_shared_and_read_only_storage() {
    assert!(MemoryStorage::new().is_exclusive());
    let split = SplitStorage::new(MemoryStorage::new(), MemoryStorage::new());
    assert!(split.is_exclusive());
    let shared: Shared = Arc::new(NotExclusive(Arc::new(MemoryStorage::new())));
    assert!(!SplitStorage::new(Arc::clone(&shared), MemoryStorage::new()).is_exclusive());
    assert!(!SplitStorage::new(MemoryStorage::new(), shared).is_exclusive());

    let directory = scratch::quick();
    let directory = directory.path().join("vault");
    assert!(FileStorage::open(&directory).unwrap().is_exclusive());
    let shared = FileOptions::new().shared().open(&directory).unwrap();
    assert!(!shared.is_exclusive());
    drop(shared);
    let reader = FileStorage::open_read_only(&directory).unwrap();
    assert!(!reader.is_exclusive());
    drop(reader);
}
