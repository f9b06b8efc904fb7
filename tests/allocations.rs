//! Number of allocations per record, counted by a global allocator.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, unsafe_code)]

#[path = "common/mod.rs"]
mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use chartlock::{Document, MemoryStorage, RecordId, Session, Vault};
use common::{Fixed, session};

/// Records in a batch.
const BATCH: usize = 1000;
const CONTENT: [u8; 1024] = [7; 1024];

/// Allocator that counts its blocks.
struct CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

static BLOCKS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the allocator forwards to the system's allocator.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BLOCKS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        BLOCKS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `realloc`.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Returns the number of blocks that this work allocates for each of `records` records.
fn blocks_per_record(records: usize, work: impl FnOnce()) -> f64 {
    let before = BLOCKS.load(Ordering::Relaxed);
    work();
    (BLOCKS.load(Ordering::Relaxed) - before) as f64 / records as f64
}

fn ids(patient: &str, from: usize) -> Vec<RecordId> {
    (from..from + BATCH)
        .map(|number| RecordId::patient(patient, &format!("Observation/{number}")).unwrap())
        .collect()
}

/// Puts these records, none of which exists.
fn put_many(session: &Session, ids: &[RecordId]) {
    let documents = ids.iter().map(|id| (id, Document::new(&CONTENT)));
    for version in session.put_many(documents).unwrap() {
        assert_eq!(version.unwrap(), 1);
    }
}

// A single test, because the allocator counts the blocks of all threads.
#[test]
fn puts_and_gets_allocate_few_blocks_per_record() {
    let vault = Vault::create(MemoryStorage::new(), &Fixed(1)).unwrap();
    let session = session(&vault);
    put_many(&session, &ids("MRN-1", 0));
    let later = ids("MRN-1", BATCH);
    let ids = ids("MRN-2", 0);
    let put = blocks_per_record(BATCH, || put_many(&session, &ids));
    let put_later = blocks_per_record(BATCH, || put_many(&session, &later));
    let get = blocks_per_record(BATCH, || {
        for id in &ids {
            assert_eq!(&*session.get(id).unwrap().unwrap(), &CONTENT);
        }
    });
    println!("put_many {put}, later {put_later}, get {get}");
    // Beside these, storage and journal allocate once for many records.
    assert!(put < 8.0, "put_many allocates {put} blocks for each record");
    assert!(
        put_later < 10.5,
        "put_many allocates {put_later} blocks for each record"
    );
    assert!(get < 6.1, "get allocates {get} blocks");
}
