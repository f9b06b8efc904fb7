//! Storage whose commits wait at a gate.

use std::sync::{Arc, Condvar, Mutex};

use chartlock::MemoryStorage;
use chartlock::storage::{
    CommitError, Committed, Scan, ScanPage, Storage, StorageError, Stored, Transaction,
};

/// A storage in memory whose commits wait while the gate is closed. Clones share content and gate.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gated {
    storage: Arc<MemoryStorage>,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

#[derive(Debug, Default)]
struct Gate {
    is_closed: bool,
    waiting: usize,
}

impl Gated {
    pub(crate) fn close(&self) {
        self.gate.0.lock().unwrap().is_closed = true;
    }

    pub(crate) fn open(&self) {
        self.gate.0.lock().unwrap().is_closed = false;
        self.gate.1.notify_all();
    }

    /// Waits until a commit waits at the gate.
    pub(crate) fn wait_for_commit(&self) {
        let gate = self.gate.0.lock().unwrap();
        drop(
            self.gate
                .1
                .wait_while(gate, |gate| gate.waiting == 0)
                .unwrap(),
        );
    }
}

impl Storage for Gated {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.storage.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.storage.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        let mut gate = self.gate.0.lock().unwrap();
        gate.waiting += 1;
        self.gate.1.notify_all();
        gate = self.gate.1.wait_while(gate, |gate| gate.is_closed).unwrap();
        gate.waiting -= 1;
        drop(gate);
        self.storage.commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        true
    }
}
