//! Fault-injecting storage wrapper, with which a test stalls or fails calls, or leaves the outcomes of
//! commits unknown.
//!
//! Guarantees: the wrapper asks its hook before every step, and executes no step that the hook
//! refused. Must not know: which storage is wrapped.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::storage::per_operation::{commit_one, step_by_step};
use crate::storage::{
    CommitError, Committed, Integrity, Operation, Scan, ScanPage, Snapshot, Storage, StorageError,
    Stored, Transaction,
};

/// A storage step that is about to run, as the hook of a [`Faulty`] storage receives it.
///
/// On a storage that is not transactional, each key of a read and each operation of a transaction
/// is a step. On a transactional storage, a whole read is a step, and so is a whole transaction.
///
/// ```
/// use chartlock::storage::FaultPoint;
///
/// let point = FaultPoint::Read(&[b"v"]);
/// assert!(matches!(point, FaultPoint::Read([b"v"])));
/// ```
#[derive(Debug, Clone, Copy)]
pub enum FaultPoint<'a> {
    /// A read of these keys, or a call of [`Storage::last`] with these prefixes.
    Read(&'a [&'a [u8]]),
    /// A scan of one page.
    Scan(Scan<'a>),
    /// A commit of these operations as one unit.
    Commit(&'a [Operation]),
}

/// The hook's decision on a step.
///
/// ```
/// use chartlock::storage::{FaultOutcome, FaultAction};
///
/// assert_ne!(FaultAction::Proceed, FaultAction::Unknown(FaultOutcome::Later));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultAction {
    /// Run the step.
    Proceed,
    /// Skip the step and return this error.
    Fail(StorageError),
    /// Skip this step and all later steps, as if the process had died.
    Stop,
    /// Run a commit, discard its result and skip all later steps, as if the process had died just
    /// after the commit. A read or scan is skipped as well.
    StopAfter,
    /// Return [`CommitError::Unknown`] from a commit, and a timeout from a read or scan.
    Unknown(FaultOutcome),
}

/// The real outcome of a commit for which the caller receives [`CommitError::Unknown`].
///
/// ```
/// use chartlock::storage::FaultOutcome;
///
/// assert_ne!(FaultOutcome::Applied, FaultOutcome::Lost);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultOutcome {
    /// The commit is applied at once; only its result is lost.
    Applied,
    /// The commit is never applied.
    Lost,
    /// The commit is applied when the test calls [`Faulty::land`], if its preconditions hold then.
    Later,
}

/// A storage wrapper that asks a hook before every step. Snapshots, integrity checks and `close` are
/// not steps, and bypass the hook.
///
/// The hook may block to simulate a stall, count steps to select the n-th step, or wait to enforce a
/// schedule. A blocked hook does not block other threads. Several `Faulty` wrappers around `Arc`s of
/// one storage simulate several processes.
///
/// ```
/// use chartlock::storage::{Faulty, MemoryStorage, Storage, StorageError, FaultAction};
///
/// let full = Faulty::new(MemoryStorage::new(), |_, _| FaultAction::Fail(StorageError::Full));
/// assert_eq!(full.read(&[b"v"]), Err(StorageError::Full));
/// ```
pub struct Faulty<S> {
    inner: S,
    hook: Box<Hook>,
    steps: AtomicU64,
    stopped: AtomicBool,
    delayed: Mutex<Vec<Transaction>>,
}

type Hook = dyn Fn(u64, &FaultPoint<'_>) -> FaultAction + Send + Sync;

impl<S: Storage> Faulty<S> {
    /// Wraps `inner`. The hook receives the index of each step, starting at 0, and the step.
    pub fn new(
        inner: S,
        hook: impl Fn(u64, &FaultPoint<'_>) -> FaultAction + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner,
            hook: Box::new(hook),
            steps: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            delayed: Mutex::new(Vec::new()),
        }
    }

    /// Returns the wrapped storage, for access that bypasses the hook.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Returns the number of steps started so far.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::SeqCst)
    }

    /// Makes every later step fail with [`StorageError::Stopped`].
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Returns the number of delayed commits ([`FaultOutcome::Later`]) that are not applied yet.
    pub fn under_way(&self) -> usize {
        self.delayed().len()
    }

    /// Applies the earliest delayed commit, even if the simulated process has stopped since. Returns
    /// the result of the commit, or `None` if no commit is delayed.
    pub fn land(&self) -> Option<Result<Committed, CommitError>> {
        let transaction = {
            let mut delayed = self.delayed();
            if delayed.is_empty() {
                return None;
            }
            delayed.remove(0)
        };
        Some(commit_one(&self.inner, transaction))
    }

    fn action_at(&self, point: &FaultPoint<'_>) -> Result<FaultAction, StorageError> {
        if self.stopped.load(Ordering::SeqCst) {
            return Err(StorageError::Stopped);
        }
        let step = self.steps.fetch_add(1, Ordering::SeqCst);
        let action = (self.hook)(step, point);
        // Check again, because another thread may have stopped the simulated process while the hook
        // stalled.
        if self.stopped.load(Ordering::SeqCst) {
            return Err(StorageError::Stopped);
        }
        match action {
            FaultAction::Fail(error) => Err(error),
            FaultAction::Stop => {
                self.stop();
                Err(StorageError::Stopped)
            }
            other => Ok(other),
        }
    }

    fn read_step<T>(
        &self,
        point: &FaultPoint<'_>,
        read: impl FnOnce() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        match self.action_at(point)? {
            FaultAction::Unknown(_) => Err(StorageError::Io(io::ErrorKind::TimedOut)),
            FaultAction::StopAfter => {
                self.stop();
                Err(StorageError::Stopped)
            }
            _ => read(),
        }
    }

    fn commit_step(&self, operations: &[Operation]) -> Result<Committed, CommitError> {
        let action = self.action_at(&FaultPoint::Commit(operations))?;
        let transaction: Transaction = operations.iter().cloned().collect();
        match action {
            FaultAction::StopAfter => {
                let _lost = commit_one(&self.inner, transaction);
                self.stop();
                Err(CommitError::Unknown)
            }
            FaultAction::Unknown(outcome) => {
                match outcome {
                    FaultOutcome::Applied => drop(commit_one(&self.inner, transaction)),
                    FaultOutcome::Lost => {}
                    FaultOutcome::Later => self.delayed().push(transaction),
                }
                Err(CommitError::Unknown)
            }
            _ => commit_one(&self.inner, transaction),
        }
    }

    fn delayed(&self) -> MutexGuard<'_, Vec<Transaction>> {
        self.delayed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: fmt::Debug> fmt::Debug for Faulty<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty")
            .field("inner", &self.inner)
            .field("steps", &self.steps)
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

impl<S: Storage> Storage for Faulty<S> {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        if self.inner.is_transactional() {
            return self.read_step(&FaultPoint::Read(keys), || self.inner.read(keys));
        }
        keys.iter()
            .map(|key| {
                let stored =
                    self.read_step(&FaultPoint::Read(&[key]), || self.inner.read(&[key]))?;
                Ok(stored.into_iter().next().flatten())
            })
            .collect()
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.read_step(&FaultPoint::Scan(scan), || self.inner.scan(scan))
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        let whole = self.inner.is_transactional();
        transactions
            .iter()
            .map(|transaction| {
                if whole {
                    self.commit_step(transaction.operations())
                } else {
                    step_by_step(transaction, |operation| {
                        self.commit_step(std::slice::from_ref(operation))
                    })
                }
            })
            .collect()
    }

    fn is_transactional(&self) -> bool {
        self.inner.is_transactional()
    }
    fn last(&self, prefixes: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        // Count the call as one read step, because a backend serves it with one request.
        self.read_step(&FaultPoint::Read(prefixes), || self.inner.last(prefixes))
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        self.inner.snapshot()
    }

    fn integrity(&self) -> Result<Integrity, StorageError> {
        self.inner.integrity()
    }

    fn close(&self) -> Result<(), StorageError> {
        self.inner.close()
    }
}
