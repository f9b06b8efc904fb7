//! Conformance of each storage of this crate except `FileStorage`, checked by the conformance kit.

use chartlock::storage::{
    FaultAction, Faulty, MemoryStorage, PerOperation, SplitStorage, conformance,
};

#[test]
fn memory_storage_passes_conformance() {
    let report = conformance::check(MemoryStorage::new).unwrap();
    assert!(report.transactional);
    let mut names = report.checks.clone();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), report.checks.len(), "two checks have one name");
}

#[test]
fn memory_storage_per_operation_passes_conformance() {
    let report = conformance::check(|| PerOperation::new(MemoryStorage::new())).unwrap();
    assert!(!report.transactional);
}

#[test]
fn faulty_storage_without_faults_passes_conformance() {
    conformance::check(|| Faulty::new(MemoryStorage::new(), |_, _| FaultAction::Proceed)).unwrap();
    conformance::check(|| {
        Faulty::new(PerOperation::new(MemoryStorage::new()), |_, _| {
            FaultAction::Proceed
        })
    })
    .unwrap();
}

#[test]
fn split_storage_passes_conformance() {
    let memory = || SplitStorage::new(MemoryStorage::new(), MemoryStorage::new());
    assert!(!conformance::check(memory).unwrap().transactional);
    conformance::check(|| PerOperation::new(memory())).unwrap();
    let slow = || PerOperation::new(MemoryStorage::new());
    conformance::check(|| SplitStorage::new(slow(), MemoryStorage::new())).unwrap();
}
