//! Tests of the two ways to back up a router over a file storage and an object store.

use std::io::Cursor;
use std::sync::Arc;

use chartlock::storage::{FileStorage, MemoryStorage, RouterStorage, archive};
use chartlock::{Error, Vault};

use crate::common::{Fixed, record, scratch, session};
use crate::fake_bucket::{bucket, open};

#[test]
fn router_opens_from_copies_of_both_storages() {
    let scratch = scratch::quick();
    let (proxy, objects) = bucket(|_| None);
    let main = Arc::new(FileStorage::open(scratch.path().join("main")).unwrap());
    let vault = Vault::create(
        RouterStorage::new(open(&proxy), Arc::clone(&main)),
        &Fixed(1),
    )
    .unwrap();
    let id = record("MRN-1", "scan");
    let content = vec![7; 3_000_000];
    session(&vault).put(&id, &content).unwrap();
    let copy = scratch.path().join("copy");
    main.backup(&copy, |_, _| {}).unwrap();
    // Written after the copy of the main storage, so garbage in the copy of the segments.
    session(&vault)
        .put(&record("MRN-1", "later"), &content)
        .unwrap();
    let (copied, copied_objects) = bucket(|_| None);
    copied_objects.lock().unwrap().objects = objects.lock().unwrap().objects.clone();
    let restored = RouterStorage::new(open(&copied), FileStorage::open(&copy).unwrap());
    let restored = Vault::open(restored, &Fixed(1)).unwrap();
    assert!(restored.verify(None).unwrap().is_clean());
    assert_eq!(&*session(&restored).get(&id).unwrap().unwrap(), content);
    // A segment that is missing in the copy is a finding, and never shorter content.
    copied_objects.lock().unwrap().objects.pop_first();
    copied_objects.lock().unwrap().objects.pop_last();
    let report = restored.verify(None).unwrap();
    assert!(!report.is_clean());
    assert_eq!(
        session(&restored).get(&id).unwrap_err(),
        Error::SegmentMissing
    );
}

#[test]
fn archive_of_router_restores_into_any_storage() {
    let (proxy, _) = bucket(|_| None);
    let router = Arc::new(RouterStorage::new(open(&proxy), MemoryStorage::new()));
    let vault = Vault::create(Arc::clone(&router), &Fixed(1)).unwrap();
    let id = record("MRN-1", "scan");
    session(&vault).put(&id, &[7; 300_000]).unwrap();
    vault.lock();
    let mut bytes = Vec::new();
    archive::write(&*router, &mut bytes).unwrap();
    let (other, _) = bucket(|_| None);
    let restored = Arc::new(RouterStorage::new(open(&other), MemoryStorage::new()));
    archive::read(Cursor::new(bytes), &*restored).unwrap();
    let vault = Vault::open(restored, &Fixed(1)).unwrap();
    assert!(vault.verify(None).unwrap().is_clean());
    assert_eq!(session(&vault).get(&id).unwrap().unwrap().len(), 300_000);
}
