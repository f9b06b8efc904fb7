//! Between the faults and the shared storage: sees what really happened, and when.

use std::sync::{Arc, Mutex};

use chartlock::internals::crypto::{self, Digest};
use chartlock::internals::envelope;
use chartlock::storage::{
    CommitError, Committed, MemoryStorage, Operation, PerOperation, Scan, ScanPage, Storage,
    StorageError, Stored, Transaction,
};

use crate::turns::Turns;

/// The storage that processes share, as transactional as the scenario wants it.
pub(crate) fn shared(memory: &Arc<MemoryStorage>, transactional: bool) -> Box<dyn Storage> {
    if transactional {
        Box::new(Arc::clone(memory))
    } else {
        Box::new(PerOperation::new(Arc::clone(memory)))
    }
}

/// When the verb that a process is at first looked at a patient entry, and last changed one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Marks {
    pub(crate) looked: Option<u64>,
    pub(crate) changed: Option<u64>,
}

/// What passes between one process and the storage.
#[derive(Debug)]
pub(crate) struct Tap {
    inner: Box<dyn Storage>,
    turns: Arc<Turns>,
    marks: Mutex<Marks>,
    process: usize,
    landed: Arc<Mutex<Vec<Landed>>>,
}

/// A put that stood, if only for a moment.
#[derive(Debug, Clone)]
pub(crate) struct Landed {
    pub(crate) process: usize,
    /// How many steps were taken then.
    pub(crate) step: u64,
    pub(crate) key: Vec<u8>,
    /// As the journal tells it.
    pub(crate) digest: Digest,
}

impl Tap {
    pub(crate) fn new(
        inner: Box<dyn Storage>,
        turns: Arc<Turns>,
        process: usize,
        landed: Arc<Mutex<Vec<Landed>>>,
    ) -> Self {
        Self {
            inner,
            turns,
            marks: Mutex::new(Marks::default()),
            process,
            landed,
        }
    }

    fn note(&self, transaction: &Transaction) {
        let puts = transaction.operations().iter().filter_map(|operation| {
            let Operation::Put { key, value, .. } = operation else {
                return None;
            };
            let digest = match key[0] {
                b'r' | b'h' => envelope::digest(value).unwrap(),
                b'p' | b'v' | b'j' => crypto::sha256(&[value]),
                _ => return None,
            };
            Some(Landed {
                process: self.process,
                step: self.turns.step(),
                key: key.clone(),
                digest,
            })
        });
        self.landed.lock().unwrap().extend(puts);
    }

    /// What was marked since the last call.
    pub(crate) fn take_marks(&self) -> Marks {
        std::mem::take(&mut *self.marks.lock().unwrap())
    }
}

impl Storage for Tap {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        if keys.iter().any(|key| key.starts_with(b"p")) {
            let step = self.turns.step();
            self.marks.lock().unwrap().looked.get_or_insert(step);
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
                self.turns.remark(match error {
                    CommitError::Conflict { .. } => " (conflict)",
                    _ => " (fails)",
                });
                continue;
            }
            self.note(transaction);
            let changes = transaction.operations().iter().any(|operation| {
                matches!(operation, Operation::Put { key, .. } if key.starts_with(b"p"))
            });
            if changes {
                self.marks.lock().unwrap().changed = Some(self.turns.step());
            }
        }
        results
    }

    fn is_transactional(&self) -> bool {
        self.inner.is_transactional()
    }
}

/// A boxed storage as a storage.
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
