//! Conformance of `FileStorage`, checked by the conformance kit.

use std::sync::atomic::{AtomicU32, Ordering};

use chartlock::storage::{FileStorage, PerOperation, SplitStorage, conformance};
use tempfile::TempDir;

use crate::common::scratch;

/// Factory of new storages in one scratch directory.
struct Files {
    scratch: TempDir,
    made: AtomicU32,
}

impl Files {
    fn new(scratch: TempDir) -> Self {
        Self {
            scratch,
            made: AtomicU32::new(0),
        }
    }

    fn make(&self) -> FileStorage {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        FileStorage::open(self.scratch.path().join(number.to_string())).unwrap()
    }
}

#[test]
fn file_storage_passes_conformance() {
    let files = Files::new(tempfile::tempdir().unwrap());
    let report = conformance::check(|| files.make()).unwrap();
    assert!(report.transactional);
}

#[test]
fn file_storage_passes_reopening_check() {
    let scratch = tempfile::tempdir().unwrap();
    conformance::check_reopening(|| FileStorage::open(scratch.path()).unwrap()).unwrap();
    let scratch = scratch::quick();
    let open = |side: &str| FileStorage::open(scratch.path().join(side)).unwrap();
    conformance::check_reopening(|| SplitStorage::new(open("keys"), open("data"))).unwrap();
}

#[test]
fn file_storage_per_operation_passes_conformance() {
    let files = Files::new(scratch::quick());
    conformance::check(|| PerOperation::new(files.make())).unwrap();
}

#[test]
fn split_file_storage_passes_conformance() {
    let files = Files::new(scratch::quick());
    conformance::check(|| SplitStorage::new(files.make(), files.make())).unwrap();
}
