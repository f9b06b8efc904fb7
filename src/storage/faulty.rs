//! A storage wrapper that stalls, fails or leaves an outcome unknown where a test says so.
//!
//! Promises: asks its hook before every single step, and lets nothing pass that the hook refused.
//! May not know: which storage it wraps.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::storage::per_operation::{commit_one, step_by_step};
use crate::storage::{
    CommitError, Committed, Operation, Scan, ScanPage, Storage, StorageError, Stored, Transaction,
};

/// A step that is about to happen.
///
/// On a storage that is not transactional each key of a read and each operation of a transaction is
/// a step of its own; else a read is one, and so is a transaction.
///
/// ```
/// use chartlock::storage::FaultPoint;
///
/// let moment = FaultPoint::Read(&[b"v"]);
/// assert!(matches!(moment, FaultPoint::Read([b"v"])));
/// ```
#[derive(Debug, Clone, Copy)]
pub enum FaultPoint<'a> {
    /// These keys are read.
    Read(&'a [&'a [u8]]),
    /// A page is scanned.
    Scan(Scan<'a>),
    /// These operations are carried out, all or none.
    Commit(&'a [Operation]),
}

/// What becomes of a step.
///
/// ```
/// use chartlock::storage::{FaultOutcome, FaultAction};
///
/// assert_ne!(FaultAction::Proceed, FaultAction::Unknown(FaultOutcome::Later));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultAction {
    /// It happens.
    Proceed,
    /// It does not happen, and fails with this.
    Fail(StorageError),
    /// It does not happen, nor does anything after it: the process is dead.
    Stop,
    /// It happens, and nothing after it, not even its answer.
    StopAfter,
    /// The commit is answered [`CommitError::Unknown`]; a read or scan times out.
    Unknown(FaultOutcome),
}

/// What became of a commit whose outcome was left open.
///
/// ```
/// use chartlock::storage::FaultOutcome;
///
/// assert_ne!(FaultOutcome::Applied, FaultOutcome::Lost);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultOutcome {
    /// It happened at once; only the answer was lost.
    Applied,
    /// It never happens.
    Lost,
    /// It happens when [`Faulty::land`] is called, under the expectations that it carries.
    Later,
}

/// Asks a hook before every step whether and how it happens.
///
/// The hook may block (a stall), count (the n-th step), or wait for its turn (a schedule); steps of
/// other threads go on meanwhile. Wrapped around an `Arc` of a storage, each `Faulty` is one process
/// among several.
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
    later: Mutex<Vec<Transaction>>,
}

type Hook = dyn Fn(u64, &FaultPoint<'_>) -> FaultAction + Send + Sync;

impl<S: Storage> Faulty<S> {
    /// Wraps `inner`. The hook is given the number of the step, from 0, and the step.
    pub fn new(
        inner: S,
        hook: impl Fn(u64, &FaultPoint<'_>) -> FaultAction + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner,
            hook: Box::new(hook),
            steps: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            later: Mutex::new(Vec::new()),
        }
    }

    /// The storage within, which no hook guards.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// How many steps were begun so far.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::SeqCst)
    }

    /// From now on every step fails with [`StorageError::Stopped`].
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// How many commits are still under way, see [`FaultOutcome::Later`].
    pub fn under_way(&self) -> usize {
        self.later().len()
    }

    /// Lets the earliest commit land that is still under way, even if the process is dead meanwhile.
    ///
    /// Says what became of it; `None` if there is none.
    pub fn land(&self) -> Option<Result<Committed, CommitError>> {
        let transaction = {
            let mut later = self.later();
            if later.is_empty() {
                return None;
            }
            later.remove(0)
        };
        Some(commit_one(&self.inner, transaction))
    }

    fn judge(&self, moment: &FaultPoint<'_>) -> Result<FaultAction, StorageError> {
        if self.stopped.load(Ordering::SeqCst) {
            return Err(StorageError::Stopped);
        }
        let step = self.steps.fetch_add(1, Ordering::SeqCst);
        let verdict = (self.hook)(step, moment);
        // The hook may have stalled, and the process died meanwhile.
        if self.stopped.load(Ordering::SeqCst) {
            return Err(StorageError::Stopped);
        }
        match verdict {
            FaultAction::Fail(error) => Err(error),
            FaultAction::Stop => {
                self.stop();
                Err(StorageError::Stopped)
            }
            other => Ok(other),
        }
    }

    fn look<T>(
        &self,
        moment: &FaultPoint<'_>,
        look: impl FnOnce() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        match self.judge(moment)? {
            FaultAction::Unknown(_) => Err(StorageError::Io(io::ErrorKind::TimedOut)),
            FaultAction::StopAfter => {
                self.stop();
                Err(StorageError::Stopped)
            }
            _ => look(),
        }
    }

    fn change(&self, operations: &[Operation]) -> Result<Committed, CommitError> {
        let verdict = self.judge(&FaultPoint::Commit(operations))?;
        let transaction: Transaction = operations.iter().cloned().collect();
        match verdict {
            FaultAction::StopAfter => {
                let _unheard = commit_one(&self.inner, transaction);
                self.stop();
                Err(CommitError::Unknown)
            }
            FaultAction::Unknown(landing) => {
                match landing {
                    FaultOutcome::Applied => drop(commit_one(&self.inner, transaction)),
                    FaultOutcome::Lost => {}
                    FaultOutcome::Later => self.later().push(transaction),
                }
                Err(CommitError::Unknown)
            }
            _ => commit_one(&self.inner, transaction),
        }
    }

    fn later(&self) -> MutexGuard<'_, Vec<Transaction>> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
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
            return self.look(&FaultPoint::Read(keys), || self.inner.read(keys));
        }
        keys.iter()
            .map(|key| {
                let stored = self.look(&FaultPoint::Read(&[key]), || self.inner.read(&[key]))?;
                Ok(stored.into_iter().next().flatten())
            })
            .collect()
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.look(&FaultPoint::Scan(scan), || self.inner.scan(scan))
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        let whole = self.inner.is_transactional();
        transactions
            .iter()
            .map(|transaction| {
                if whole {
                    self.change(transaction.operations())
                } else {
                    step_by_step(transaction, |operation| {
                        self.change(std::slice::from_ref(operation))
                    })
                }
            })
            .collect()
    }

    fn is_transactional(&self) -> bool {
        self.inner.is_transactional()
    }
}
