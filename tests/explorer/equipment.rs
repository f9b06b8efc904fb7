//! What a process has beside its vault: a disk that can be full, a spool for the journal fallback, and the
//! moves of an attacker.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use chartlock::Error;
use chartlock::internals::crypto;
use chartlock::storage::{
    CommitError, Committed, Expect, MemoryStorage, Operation, Scan, ScanPage, Storage,
    StorageError, Stored, Transaction,
};
use chartlock::verify::RestorePlan;

use crate::scheduler::Scheduler;
use crate::tap::AppliedPut;
use crate::verbs::Verb;

/// State that a process shares with its storage wrapper.
#[derive(Debug, Default)]
pub(crate) struct LocalState {
    /// `true` while the process cannot write the vault's storage.
    is_disk_full: AtomicBool,
    /// The operation that the process runs now.
    verb: Mutex<Option<Verb>>,
}

impl LocalState {
    pub(crate) fn set_disk_full(&self, is_full: bool) {
        self.is_disk_full.store(is_full, Ordering::SeqCst);
    }

    pub(crate) fn is_disk_full(&self) -> bool {
        self.is_disk_full.load(Ordering::SeqCst)
    }

    pub(crate) fn begin(&self, verb: Verb) {
        *self.verb.lock().unwrap() = Some(verb);
    }

    pub(crate) fn runs(&self, verb: Verb) -> bool {
        *self.verb.lock().unwrap() == Some(verb)
    }
}

/// Moves of an attacker, prepared once for all executions.
#[derive(Debug, Clone)]
pub(crate) struct Moves {
    /// Journal page under the first keys of the vault, as a former insider seals it.
    pub(crate) late: (Vec<u8>, Vec<u8>),
    /// Journal page in the name of the vault, as an auditor without authority keys seals it.
    pub(crate) forged: (Vec<u8>, Vec<u8>),
    /// Storage key of a record that an attacker deletes.
    pub(crate) record: Option<Vec<u8>>,
}

/// What a process has beside its vault.
pub(crate) struct Equipment {
    pub(crate) local: Arc<LocalState>,
    pub(crate) spool: Arc<Spool>,
    /// The vault's storage, for the moves of an attacker.
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) moves: Option<Moves>,
    pub(crate) plan: Mutex<Option<RestorePlan>>,
}

impl Equipment {
    /// Stores the journal page that `of` selects.
    pub(crate) fn plant(&self, of: fn(&Moves) -> &(Vec<u8>, Vec<u8>)) -> Result<(), Error> {
        let (key, value) = of(self.moves.as_ref().unwrap());
        self.commit(Transaction::new().put(&key[..], &value[..], Expect::Any))
    }

    /// Deletes the record of the prepared moves.
    pub(crate) fn delete_record(&self) -> Result<(), Error> {
        let key = self.moves.as_ref().and_then(|moves| moves.record.as_ref());
        self.commit(Transaction::new().delete(&key.unwrap()[..]))
    }

    fn commit(&self, transaction: Transaction) -> Result<(), Error> {
        match self.storage.commit(&[transaction]).pop().unwrap() {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::CommitUnknown),
        }
    }
}

/// Storage that receives the journal pages of a process during a journal fallback. Other processes do
/// not see it, so its steps are not scheduled.
pub(crate) struct Spool {
    memory: Arc<MemoryStorage>,
    process: usize,
    scheduler: Option<Arc<Scheduler>>,
    applied: Arc<Mutex<Vec<AppliedPut>>>,
}

impl Spool {
    pub(crate) fn new(
        memory: Arc<MemoryStorage>,
        process: usize,
        scheduler: Option<Arc<Scheduler>>,
        applied: Arc<Mutex<Vec<AppliedPut>>>,
    ) -> Self {
        Self {
            memory,
            process,
            scheduler,
            applied,
        }
    }

    fn record_puts(&self, scheduler: &Scheduler, transaction: &Transaction) {
        let puts = transaction.operations().iter().filter_map(|operation| {
            let Operation::Put { key, value, .. } = operation else {
                return None;
            };
            Some(AppliedPut {
                process: self.process,
                step: scheduler.step(),
                key: key.clone(),
                digest: crypto::sha256(&[value]),
            })
        });
        self.applied.lock().unwrap().extend(puts);
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spool(..)")
    }
}

impl Storage for Spool {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.memory.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.memory.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        if let Some(scheduler) = &self.scheduler {
            if scheduler.is_dead(self.process) {
                let stopped = || Err(CommitError::Io(StorageError::Stopped));
                return transactions.iter().map(|_| stopped()).collect();
            }
            scheduler.note_write(self.process);
            for transaction in transactions {
                self.record_puts(scheduler, transaction);
            }
        }
        self.memory.commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        true
    }
}
