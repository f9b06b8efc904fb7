//! Defects that the conformance kit must detect, each with the check that detects it.

use std::io::Cursor;
use std::sync::{Arc, Mutex};

use chartlock::storage::{
    CommitError, Committed, MemoryStorage, PerOperation, Scan, ScanPage, Storage, StorageError,
    Stored, Transaction, archive, conformance,
};

use crate::broken_storages::{Broken, Defect};

/// Returns the name of the check that detects a defect.
fn detected_by<S: Storage + 'static>(defect: Defect, make: impl Fn() -> S) -> &'static str {
    let failure = conformance::check(|| Broken::new(make(), defect));
    failure.map_or_else(|failure| failure.check, |_| "no check")
}

#[test]
fn conformance_kit_detects_each_defect() {
    use Defect::*;
    let mut expected = vec![
        (IgnoresExpectations, "preconditions"),
        (IgnoresChecks, "preconditions"),
        (AfterIsInclusive, "scan after"),
        (SignedOrder, "scan prefixes"),
        (DropsMoreFlag, "scan pages"),
        (ConstantRevision, "revisions"),
        (LosesEmptyValues, "values"),
        (TruncatesKeys, "keys"),
        (HeadIsWhole, "scan projections"),
        (DeleteOfAbsentFails, "preconditions"),
        (StopsAtFirstFailedTransaction, "independent transactions"),
        (ReverseTransactions, "independent transactions"),
        (NoRevisionForChecks, "revisions of commits"),
        (LostUpdates, "concurrent counter"),
        #[cfg(unix)]
        (ReusesSharedMemory, "shared values"),
        (NamesUnreadableRange, "scan ends"),
        (EndsScanOfKeysEarly, "scan ends"),
        (RepeatsPageOfHeads, "scan ends"),
        (LengthOfProjection, "scan lengths"),
        (LengthOfLargeValues, "scan lengths"),
        (LastIsFirst, "last"),
        (LastWithoutHighPrefixes, "last"),
        (LastInFirstPage, "last over pages"),
        (LastInOrderOfPrefixes, "last"),
        (SnapshotFails, "snapshots"),
        (SnapshotIsLive, "snapshots"),
        (SnapshotReadsLive, "snapshots"),
        (SnapshotScansLive, "snapshots"),
        (SnapshotDoesNotDefer, "snapshots and destroying puts"),
        (SnapshotIsTorn, "concurrent snapshots"),
        (IntegrityFails, "integrity"),
        (IntegrityFindsFaults, "integrity"),
        (ExclusiveUntilWritten, "exclusive use"),
        (CloseFailsTwice, "close"),
        (ClosedFailsWithIo, "close"),
        (ClosedIsEmpty, "close"),
        (ClosedCommits, "close"),
        (ClosedLosesCommits, "close"),
        (ClosedMakesSnapshots, "close"),
    ];
    let detected = expected.iter();
    let detected = detected.map(|(defect, _)| (*defect, detected_by(*defect, MemoryStorage::new)));
    let mut detected: Vec<_> = detected.collect();
    let per_operation = || PerOperation::new(MemoryStorage::new());
    for (defect, check) in [
        (ClaimsTransactions, "conflicts"),
        (ContinuesAfterConflict, "conflicts"),
    ] {
        expected.push((defect, check));
        detected.push((defect, detected_by(defect, per_operation)));
    }
    assert_eq!(detected, expected);
}

/// Storage that writes its content to a file only when it is closed.
#[derive(Debug)]
struct Unsynced {
    memory: MemoryStorage,
    file: Arc<Mutex<Vec<u8>>>,
}

impl Unsynced {
    fn open(file: &Arc<Mutex<Vec<u8>>>) -> Self {
        let memory = MemoryStorage::new();
        let bytes = file.lock().unwrap().clone();
        if !bytes.is_empty() {
            archive::read(Cursor::new(bytes), &memory).unwrap();
        }
        Self {
            memory,
            file: Arc::clone(file),
        }
    }
}

impl Storage for Unsynced {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.memory.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.memory.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        self.memory.commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        true
    }

    fn close(&self) -> Result<(), StorageError> {
        let mut file = self.file.lock().unwrap();
        file.clear();
        archive::write(&self.memory, &mut *file).unwrap();
        Ok(())
    }
}

#[test]
fn reopening_check_detects_lost_objects() {
    let lost = conformance::check_reopening(MemoryStorage::new).unwrap_err();
    assert_eq!(lost.check, "reopening");
    // `Unsynced` loses objects only if the check also drops a storage without closing it.
    let file = Arc::default();
    let lost = conformance::check_reopening(|| Unsynced::open(&file)).unwrap_err();
    assert_eq!(lost.check, "reopening");
    assert!(!file.lock().unwrap().is_empty());
}
