//! Opener of the records of a scan page, with threads that open records ahead of the caller.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread::{self, JoinHandle};

use crate::error::{Error, Result};
use crate::format::envelope::Address;
use crate::format::storage_keys;
use crate::records::document::RecordInfo;
use crate::records::read::Source;
use crate::secret::{AN_OPERATION, wipe_stack};
use crate::storage::{ScanItem, Stored};
use crate::vault::Vault;
use crate::vault::entries::{CachedEntry, chart_id};

/// Work for which another thread is started, in units of [`work`]. One unit takes about 2 µs, and a
/// thread takes about 100 µs to start and to end.
const WORK_PER_THREAD: usize = 96;
/// Number of bytes that take as long to open as the keys of a record take to derive.
const BYTES_PER_UNIT: usize = 4096;
/// Maximum number of threads for one page, the caller's thread included.
const THREADS_MAX: usize = 8;

/// Number of records that a thread claims at once, because threads that often write the same memory
/// slow each other down.
const AT_ONCE: usize = 16;

/// An opened current version; `None` for a retraction.
type Opened = Option<(RecordInfo, Source)>;

/// A record of a page, with the result of opening it.
pub(crate) struct OpenedRecord {
    /// Storage key of the record.
    pub(crate) key: Vec<u8>,
    pub(crate) opened: Result<Opened>,
}

/// Opener of the records of one page, which returns them in the order of the page.
///
/// Helper threads open the records of a page with much work. The caller may stop before it takes
/// all records, so a helper stores an error with its record. The caller gets the error when it takes
/// the record.
#[derive(Default)]
pub(crate) struct PageOpener {
    page: Option<Arc<SealedPage>>,
    /// Index of the record that the caller takes next.
    position: usize,
    helpers: Vec<JoinHandle<()>>,
}

/// Opener of single records.
trait OpenRecord: Send + Sync {
    fn open(&self, key: &[u8], stored: Stored) -> Result<Opened>;

    /// Returns `true` once helpers must not open more records.
    fn must_stop(&self) -> bool;
}

struct ChartOpener {
    vault: Vault,
    cached: Arc<CachedEntry>,
}

impl OpenRecord for ChartOpener {
    fn open(&self, key: &[u8], stored: Stored) -> Result<Opened> {
        let address = address_of(&self.cached, key)?;
        self.vault.open_unnamed(&self.cached, &address, stored)
    }

    /// Returns `true` once the vault is locked.
    fn must_stop(&self) -> bool {
        self.vault.header_in_memory().is_err()
    }
}

struct SealedPage {
    opener: Box<dyn OpenRecord>,
    records: Vec<Mutex<PageRecord>>,
    /// Index of the first record that no call of `open_next` claimed.
    next: AtomicUsize,
    /// `true` once the caller takes no more records.
    is_abandoned: AtomicBool,
}

enum PageRecord {
    Sealed(ScanItem),
    Opened(OpenedRecord),
    Taken,
}

impl PageOpener {
    /// Starts to open the current versions `items` of a chart, if helper threads save time.
    pub(crate) fn new(vault: &Vault, cached: &Arc<CachedEntry>, items: Vec<ScanItem>) -> Self {
        let threads = vault.core.threads.get().min(THREADS_MAX);
        let threads = threads.min(work(&items) / WORK_PER_THREAD);
        let opener = ChartOpener {
            vault: vault.clone(),
            cached: Arc::clone(cached),
        };
        Self::start(Box::new(opener), items, threads)
    }

    fn start(opener: Box<dyn OpenRecord>, items: Vec<ScanItem>, threads: usize) -> Self {
        let records = items.into_iter().map(PageRecord::Sealed);
        let page = Arc::new(SealedPage {
            opener,
            records: records.map(Mutex::new).collect(),
            next: AtomicUsize::new(0),
            is_abandoned: AtomicBool::new(false),
        });
        let start = |_| {
            let page = Arc::clone(&page);
            let thread = thread::Builder::new().name("chartlock-open".into());
            // If no thread can be started, the caller opens the records.
            thread.spawn(move || page.open_ahead()).ok()
        };
        Self {
            helpers: (1..threads).map_while(start).collect(),
            page: Some(page),
            position: 0,
        }
    }

    /// Returns the next record of the page; `None` after the last one.
    ///
    /// # Panics
    /// If a helper panicked while it opened this record, or if opening a record panics on the caller's
    /// thread.
    pub(crate) fn take(&mut self) -> Option<OpenedRecord> {
        let page = self.page.as_ref()?;
        let record = page.records.get(self.position)?;
        self.position += 1;
        loop {
            // While a helper opens this record, open later records instead of waiting.
            let locked = match record.try_lock() {
                Ok(locked) => Some(locked),
                Err(TryLockError::WouldBlock) if page.open_next() => continue,
                Err(TryLockError::WouldBlock) => record.lock().ok(),
                Err(TryLockError::Poisoned(_)) => None,
            };
            let Some(mut locked) = locked else { break };
            page.open(&mut locked);
            if let PageRecord::Opened(opened) = std::mem::replace(&mut *locked, PageRecord::Taken) {
                return Some(opened);
            }
            break;
        }
        self.resume_panic()
    }

    /// Continues the panic of a helper on the caller's thread.
    fn resume_panic(&mut self) -> Option<OpenedRecord> {
        for helper in self.helpers.drain(..) {
            if let Err(panic) = helper.join() {
                resume_unwind(panic);
            }
        }
        None
    }
}

impl Drop for PageOpener {
    /// Waits until no helper holds keys, content or the storage. Does not join a thread that has
    /// finished its work, because ending a thread takes 30 µs.
    fn drop(&mut self) {
        if let Some(page) = &self.page {
            page.is_abandoned.store(true, Ordering::Relaxed);
        }
        let working = self.helpers.drain(..).filter(|it| !it.is_finished());
        for helper in working {
            let _ = helper.join();
        }
    }
}

impl SealedPage {
    /// Opens records until no record is left, the caller stops, or the vault is locked.
    fn open_ahead(&self) {
        loop {
            let must_stop = self.is_abandoned.load(Ordering::Relaxed) || self.opener.must_stop();
            if must_stop || !self.open_next() {
                break;
            }
        }
        wipe_stack::<AN_OPERATION>();
    }

    /// Claims and opens the next records, except those that another thread opens or took. Returns
    /// `false` if no record is left.
    fn open_next(&self) -> bool {
        let next = self.next.fetch_add(AT_ONCE, Ordering::Relaxed);
        let Some(left) = self.records.get(next..).filter(|left| !left.is_empty()) else {
            return false;
        };
        for record in left.iter().take(AT_ONCE) {
            if let Ok(mut record) = record.try_lock() {
                self.open(&mut record);
            }
        }
        true
    }

    fn open(&self, record: &mut PageRecord) {
        *record = match std::mem::replace(record, PageRecord::Taken) {
            PageRecord::Sealed(item) => {
                let (value, revision) = (item.value, item.revision);
                let opened = self.opener.open(&item.key, Stored { value, revision });
                let key = item.key;
                PageRecord::Opened(OpenedRecord { key, opened })
            }
            other => other,
        };
    }
}

/// Returns the address of the record under a storage key of a chart.
pub(super) fn address_of(cached: &CachedEntry, key: &[u8]) -> Result<Address> {
    // Refuse a longer key, because a copy of a record under such a key would be listed as well.
    let Some((record, None)) = storage_keys::record_of(key) else {
        return Err(Error::Malformed);
    };
    Ok(Address {
        chart: chart_id(cached)?,
        record,
    })
}

/// Estimates the work of opening these records.
fn work(items: &[ScanItem]) -> usize {
    let bytes: usize = items.iter().map(|item| item.value.len()).sum();
    items.len() + bytes / BYTES_PER_UNIT
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used)]

    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;

    use super::*;
    use crate::storage::Revision;

    /// Opener that panics on key 1. The helper starts once the caller opens key 0.
    struct Panics(Barrier);

    impl OpenRecord for Panics {
        fn open(&self, key: &[u8], _: Stored) -> Result<Opened> {
            match key {
                [0] => self.0.wait(),
                [1] => panic!("opened key 1"),
                _ => return Ok(None),
            };
            Err(Error::NotAuthentic)
        }

        fn must_stop(&self) -> bool {
            self.0.wait();
            false
        }
    }

    /// Opener that fails for even keys.
    struct FailsForEven;

    impl OpenRecord for FailsForEven {
        fn open(&self, key: &[u8], _: Stored) -> Result<Opened> {
            let is_even = key.iter().all(|byte| byte % 2 == 0);
            (!is_even).then_some(None).ok_or(Error::NotAuthentic)
        }

        fn must_stop(&self) -> bool {
            false
        }
    }

    fn items() -> Vec<ScanItem> {
        let item = |key| ScanItem {
            key: vec![key],
            value: b"sealed".into(),
            length: 6,
            revision: Revision::new(b"1"),
        };
        (0..=250).map(item).collect()
    }

    #[test]
    fn page_opened_by_several_threads_keeps_order_and_errors() {
        for threads in 0..5 {
            let mut page = PageOpener::start(Box::new(FailsForEven), items(), threads);
            for key in 0..=250 {
                let record = page.take().unwrap();
                assert_eq!(record.key, [key]);
                assert_eq!(record.opened.is_ok(), key % 2 == 1);
            }
            assert!(page.take().is_none());
        }
    }

    #[test]
    fn panic_of_helper_continues_on_the_callers_thread() {
        let opener = Panics(Barrier::new(2));
        let mut page = PageOpener::start(Box::new(opener), items(), 2);
        // The helper waits until this thread opens record 0, and then panics on record 1.
        assert!(page.take().unwrap().opened.is_err());
        while !page.helpers.iter().all(JoinHandle::is_finished) {
            thread::yield_now();
        }
        let panic = catch_unwind(AssertUnwindSafe(|| page.take())).map(drop);
        let panic = panic.unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"opened key 1"));
    }
}
