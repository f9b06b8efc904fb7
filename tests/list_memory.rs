//! Memory of a page in order of names, counted by a global allocator.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, unsafe_code)]

#[path = "common/mod.rs"]
mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use chartlock::lists::ListQuery;
use chartlock::{Document, MemoryStorage, RecordId, Session, Vault};
use common::{Fixed, session, subject};

/// Allocator that measures the bytes in use, and their peak.
struct PeakAllocator;

#[global_allocator]
static ALLOCATOR: PeakAllocator = PeakAllocator;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the allocator forwards to the system's allocator.
unsafe impl GlobalAlloc for PeakAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let before = IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        PEAK.fetch_max(before + layout.size(), Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Returns the greatest number of bytes that `work` has in use at one time.
fn peak_of(work: impl FnOnce()) -> usize {
    let before = IN_USE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    work();
    PEAK.load(Ordering::Relaxed) - before
}

fn fill(session: &Session, patient: &str, records: usize) {
    let ids: Vec<_> = (0..records)
        .map(|number| RecordId::patient(patient, &format!("Observation/{number}")).unwrap())
        .collect();
    for batch in ids.chunks(1000) {
        let documents = batch.iter().map(|id| (id, Document::from(&[7; 200])));
        let puts = session.put_many(documents).unwrap();
        assert!(puts.iter().all(Result::is_ok));
    }
}

// A single test, because the allocator measures all threads.
#[test]
fn page_by_name_uses_memory_independent_of_the_chart() {
    let vault = Vault::create(MemoryStorage::new(), &Fixed(1)).unwrap();
    let session = session(&vault);
    let query = ListQuery::new().by_name().limit(50);
    let peaks = [("MRN-1", 2_000), ("MRN-2", 20_000)].map(|(patient, records)| {
        fill(&session, patient, records);
        peak_of(|| {
            let page = session.list_page(&subject(patient), &query).unwrap();
            assert_eq!(page.len(), 50);
        })
    });
    println!("peak of {} and {} bytes", peaks[0], peaks[1]);
    assert!(peaks[1] * 10 <= peaks[0] * 12, "{peaks:?}");
    assert!(peaks[1] < 1 << 20, "{peaks:?}");
}
