//! Every storage of this crate keeps the contract.

use std::sync::atomic::{AtomicU32, Ordering};

use chartlock::storage::{Faulty, FileStorage, MemoryStorage, PerOperation, Verdict, conformance};
use tempfile::TempDir;

/// Fresh storages side by side in one scratch directory.
struct Files {
    scratch: TempDir,
    made: AtomicU32,
}

impl Files {
    fn new() -> Self {
        Self {
            scratch: tempfile::tempdir().unwrap(),
            made: AtomicU32::new(0),
        }
    }

    fn make(&self) -> FileStorage {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        FileStorage::open(self.scratch.path().join(number.to_string())).unwrap()
    }
}

#[test]
fn file() {
    let files = Files::new();
    let report = conformance::check(|| files.make()).unwrap();
    assert!(report.transactional);
}

#[test]
fn file_per_operation() {
    let files = Files::new();
    conformance::check(|| PerOperation::new(files.make())).unwrap();
}

#[test]
fn memory() {
    let report = conformance::check(MemoryStorage::new).unwrap();
    assert!(report.transactional);
}

#[test]
fn memory_per_operation() {
    let report = conformance::check(|| PerOperation::new(MemoryStorage::new())).unwrap();
    assert!(!report.transactional);
}

#[test]
fn faulty_without_faults() {
    conformance::check(|| Faulty::new(MemoryStorage::new(), |_, _| Verdict::Proceed)).unwrap();
    conformance::check(|| {
        Faulty::new(PerOperation::new(MemoryStorage::new()), |_, _| {
            Verdict::Proceed
        })
    })
    .unwrap();
}
