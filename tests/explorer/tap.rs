//! Storage wrapper below the fault injection, which records the puts that the shared storage
//! applied.

use std::sync::{Arc, Mutex};

use chartlock::internals::crypto::{self, Digest};
use chartlock::internals::envelope;
use chartlock::storage::{
    CommitError, Committed, MemoryStorage, Operation, PerOperation, Scan, ScanPage, Storage,
    StorageError, Stored, Transaction,
};

use crate::scheduler::Scheduler;

/// Returns the storage that the processes share, with or without transactions.
pub(crate) fn shared(memory: &Arc<MemoryStorage>, transactional: bool) -> Box<dyn Storage> {
    if transactional {
        Box::new(Arc::clone(memory))
    } else {
        Box::new(PerOperation::new(Arc::clone(memory)))
    }
}

/// Steps at which the running operation first read and last changed a patient entry.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Marks {
    pub(crate) first_read: Option<u64>,
    pub(crate) last_change: Option<u64>,
}

/// Access of one process to the shared storage.
#[derive(Debug)]
pub(crate) struct Tap {
    inner: Box<dyn Storage>,
    scheduler: Arc<Scheduler>,
    marks: Mutex<Marks>,
    process: usize,
    applied: Arc<Mutex<Vec<AppliedPut>>>,
}

/// A put that the storage applied, even if a later put replaced its value.
#[derive(Debug, Clone)]
pub(crate) struct AppliedPut {
    pub(crate) process: usize,
    /// The number of steps taken when the storage applied the put.
    pub(crate) step: u64,
    pub(crate) key: Vec<u8>,
    /// The digest by which a journal entry identifies the value.
    pub(crate) digest: Digest,
}

impl Tap {
    pub(crate) fn new(
        inner: Box<dyn Storage>,
        scheduler: Arc<Scheduler>,
        process: usize,
        applied: Arc<Mutex<Vec<AppliedPut>>>,
    ) -> Self {
        Self {
            inner,
            scheduler,
            marks: Mutex::new(Marks::default()),
            process,
            applied,
        }
    }

    fn record_puts(&self, transaction: &Transaction) {
        let puts = transaction.operations().iter().filter_map(|operation| {
            let Operation::Put { key, value, .. } = operation else {
                return None;
            };
            let digest = match key[0] {
                b'r' | b'h' => envelope::digest(value).unwrap(),
                b'p' | b'v' | b'j' => crypto::sha256(&[value]),
                _ => return None,
            };
            Some(AppliedPut {
                process: self.process,
                step: self.scheduler.step(),
                key: key.clone(),
                digest,
            })
        });
        self.applied.lock().unwrap().extend(puts);
    }

    /// Returns the marks since the last call, and clears them.
    pub(crate) fn take_marks(&self) -> Marks {
        std::mem::take(&mut *self.marks.lock().unwrap())
    }
}

impl Storage for Tap {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        if keys.iter().any(|key| key.starts_with(b"p")) {
            let step = self.scheduler.step();
            self.marks.lock().unwrap().first_read.get_or_insert(step);
        }
        self.inner.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.inner.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        let results = self.inner.commit(transactions);
        for (transaction, result) in transactions.iter().zip(&results) {
            if let Err(error) = result {
                self.scheduler.remark(match error {
                    CommitError::Conflict { .. } => " (conflict)",
                    _ => " (fails)",
                });
                continue;
            }
            self.record_puts(transaction);
            let changes = transaction.operations().iter().any(|operation| {
                matches!(operation, Operation::Put { key, .. } if key.starts_with(b"p"))
            });
            if changes {
                self.marks.lock().unwrap().last_change = Some(self.scheduler.step());
            }
        }
        results
    }

    fn is_transactional(&self) -> bool {
        self.inner.is_transactional()
    }
}

/// Adapter from a boxed storage to [`Storage`].
#[derive(Debug)]
pub(crate) struct Boxed(pub(crate) Box<dyn Storage>);

impl Storage for Boxed {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.0.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.0.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        self.0.commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        self.0.is_transactional()
    }
}
