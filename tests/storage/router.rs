//! Tests of `RouterStorage`: the side that stores each key, refused transactions, and snapshots.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chartlock::storage::{
    CommitError, Expect, FaultAction, FaultPoint, Faulty, MemoryStorage, PerOperation, Projection,
    RouterStorage, Scan, Storage, StorageError, Transaction, conformance,
};

use crate::common::counting::Counting;

fn router() -> RouterStorage<MemoryStorage, MemoryStorage> {
    RouterStorage::new(MemoryStorage::new(), MemoryStorage::new())
}

fn put(key: &[u8]) -> Transaction {
    Transaction::new().put(key, b"sealed", Expect::Absent)
}

#[test]
fn router_storage_passes_conformance() {
    let report = conformance::check(router).unwrap();
    assert!(report.transactional);
    let segments = || PerOperation::new(MemoryStorage::new());
    let steps = || RouterStorage::new(segments(), MemoryStorage::new());
    assert!(conformance::check(steps).unwrap().transactional);
    let none = || RouterStorage::new(segments(), segments());
    assert!(!conformance::check(none).unwrap().transactional);
}

#[test]
fn router_storage_stores_only_segments_in_first_storage() {
    let router = router();
    let classes = *b"vprhwjasx";
    let puts: Vec<_> = classes.iter().map(|class| put(&[*class, 1])).collect();
    assert!(router.commit(&puts).iter().all(Result::is_ok));
    for class in classes {
        let key = [class, 1];
        let keys: [&[u8]; 1] = [&key];
        let stored = |storage: &dyn Storage| storage.read(&keys).unwrap().remove(0).is_some();
        assert_eq!(stored(router.segments()), class == b's');
        assert_eq!(stored(router.main()), class != b's');
    }
    let last = router.last(&[b"s", b"", b"r", b"q"]).unwrap();
    let expected = [Some(b"s\x01".to_vec()), Some(b"x\x01".to_vec())];
    assert_eq!(last[..2], expected);
    assert_eq!(last[2..], [Some(b"r\x01".to_vec()), None]);
}

/// A transaction over both storages could be applied in part. The other transactions of the call succeed.
#[test]
fn transaction_over_both_storages_is_refused() {
    let router = router();
    let mixed = put(b"s1").check(b"p1", Expect::Absent);
    let swapped = put(b"r1").delete(b"s2");
    let results = router.commit(&[put(b"r2"), mixed, put(b"s2"), swapped]);
    let refused = Err(CommitError::Io(StorageError::Unsupported));
    assert_eq!([&results[1], &results[3]], [&refused, &refused]);
    assert!(results[0].is_ok() && results[2].is_ok());
    let read = router.read(&[b"r1", b"r2", b"s1", b"s2"]).unwrap();
    let is_present: Vec<_> = read.iter().map(Option::is_some).collect();
    assert_eq!(is_present, [false, true, false, true]);
}

/// The router promises that each transaction is all or nothing, which a storage that is not transactional
/// cannot fulfil for several segments.
#[test]
fn transaction_of_two_segments_is_refused_unless_atomic() {
    let two = put(b"s1").delete(b"s2");
    let whole = router().commit(std::slice::from_ref(&two));
    assert!(whole[0].is_ok());
    let steps = PerOperation::new(MemoryStorage::new());
    let router = RouterStorage::new(steps, MemoryStorage::new());
    let refused = Err(CommitError::Io(StorageError::Unsupported));
    assert_eq!(router.commit(&[two]), [refused]);
}

#[test]
fn router_storage_without_snapshots_of_segments_has_none() {
    let segments = Counting::new(MemoryStorage::new());
    let router = RouterStorage::new(segments, MemoryStorage::new());
    assert_eq!(router.snapshot().unwrap_err(), StorageError::Unsupported);
}

/// An archive scans all keys, and a page of segments has megabytes.
#[test]
fn scan_of_all_keys_reads_no_segments_above_its_page() {
    let scans = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&scans);
    let segments = Faulty::new(MemoryStorage::new(), move |_, point| {
        let is_scan = matches!(point, FaultPoint::Scan(_));
        counter.fetch_add(usize::from(is_scan), Ordering::SeqCst);
        FaultAction::Proceed
    });
    let router = RouterStorage::new(segments, MemoryStorage::new());
    let numbers = 0..100_u8;
    let keys = b"hrsw"
        .iter()
        .flat_map(|class| numbers.clone().map(|number| [*class, number]));
    let keys: Vec<_> = keys.collect();
    let puts: Vec<_> = keys.iter().map(|key| put(key)).collect();
    assert!(router.commit(&puts).iter().all(Result::is_ok));
    let mut found: Vec<Vec<u8>> = Vec::new();
    loop {
        let after = found.last().cloned();
        let page = router.scan(Scan {
            prefix: b"",
            after: after.as_deref(),
            limit: 10,
            projection: Projection::Values,
        });
        let page = page.unwrap();
        found.extend(page.items.into_iter().map(|item| item.key));
        if !page.more {
            break;
        }
    }
    assert_eq!(found, keys);
    // 10 pages of segments, and one at each end.
    assert!((10..=12).contains(&scans.load(Ordering::SeqCst)));
}
