//! Transactions on content segments: each has one operation, so that a `RouterStorage` can store segments
//! elsewhere and stay transactional.

use std::sync::atomic::{AtomicUsize, Ordering};

use chartlock::storage::{
    CommitError, Committed, MemoryStorage, PerOperation, Scan, ScanPage, Storage, StorageError,
    Stored, Transaction,
};

use crate::stage::{Stage, content, record, session_on, subject};

/// Storage wrapper that counts transactions on segments, and refuses those that touch anything else.
#[derive(Debug)]
struct SegmentWatch<S> {
    inner: S,
    segments: AtomicUsize,
}

impl<S: Storage> Storage for SegmentWatch<S> {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.inner.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.inner.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        for transaction in transactions {
            let operations = transaction.operations();
            if operations.iter().any(|it| it.key().starts_with(b"s")) {
                assert_eq!(operations.len(), 1, "{operations:?}");
                self.segments.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.inner.commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        self.inner.is_transactional()
    }
}

fn check(inner: impl Storage + 'static) {
    let watch = std::sync::Arc::new(SegmentWatch {
        inner,
        segments: AtomicUsize::new(0),
    });
    let stage = Stage::new(std::sync::Arc::clone(&watch));
    let vault = stage.create();
    let session = session_on(&vault);
    let (kept, expunged) = (record("MRN-1", "image"), record("MRN-1", "slide"));
    for version in 1..=2 {
        session.put(&kept, &content(version, 3 << 20)).unwrap();
        session.put(&expunged, &content(version, 100_000)).unwrap();
    }
    let mut unfinished = session.writer(&kept);
    std::io::Write::write_all(&mut unfinished, &content(3, 2 << 20)).unwrap();
    drop(unfinished);
    vault.rotate_master_key().unwrap();
    vault.rotate_subject_key(&subject("MRN-1")).unwrap();
    vault.reencrypt_subject(&subject("MRN-1")).unwrap();
    session.expunge(&expunged, "wrong patient").unwrap();
    session.retract(&kept).unwrap();
    vault.collect_garbage().unwrap();
    session.erase_subject(&subject("MRN-1"), "request").unwrap();
    assert!(watch.segments.load(Ordering::SeqCst) > 20);
    assert!(vault.verify(None).unwrap().is_clean());
}

#[test]
fn segments_are_changed_alone_on_transactional_storage() {
    check(MemoryStorage::new());
}

#[test]
fn segments_are_changed_alone_on_storage_of_single_operations() {
    check(PerOperation::new(MemoryStorage::new()));
}
