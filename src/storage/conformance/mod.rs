//! Conformance kit: checks of the [`Storage`] contract that any backend can run.
//!
//! Guarantees: the kit never panics; it returns a violation of the contract as a [`Failure`]. Must
//! not know: which storage the kit checks.

mod committing;
mod concurrency;
mod greatest_key;
mod grouping;
mod lifetime;
mod reading;
mod scanning;
mod script;
mod views;

use std::fmt;

use crate::storage::{CommitError, Committed, Storage, StorageError, Stored, Transaction};

/// Checks that a storage fulfils the [`Storage`] contract. `make` must return a new, empty storage
/// for each check.
///
/// The storage must accept keys of 1 to 64 bytes and values of 0 bytes to 2 MiB. The kit does not
/// try larger ones, which a backend may refuse with [`StorageError::TooLarge`].
///
/// These checks never reopen a storage; [`check_reopening`] checks that content survives reopening.
///
/// ```
/// use chartlock::storage::{MemoryStorage, conformance};
///
/// let report = conformance::check(MemoryStorage::new)?;
/// assert!(report.transactional);
/// # Ok::<(), conformance::Failure>(())
/// ```
///
/// # Errors
/// Returns the first check that failed, with a description of the violation.
pub fn check<S: Storage>(make: impl Fn() -> S) -> Result<Report, Failure> {
    let mut report = Report {
        transactional: make().is_transactional(),
        checks: Vec::new(),
    };
    for (name, check) in checks() {
        let storage = make();
        if storage.is_transactional() != report.transactional {
            return Err(Failure {
                check: name,
                flaw: "is_transactional differs between two storages from the same constructor"
                    .to_owned(),
            });
        }
        check(&storage).map_err(|flaw| Failure {
            check: name,
            flaw: flaw.0,
        })?;
        report.checks.push(name);
    }
    Ok(report)
}

/// Checks that acknowledged commits survive when a storage is closed or dropped, and then reopened.
///
/// `open` must open the same storage at each call, and the storage must be empty at the first call.
/// The check never has the storage open twice at the same time.
///
/// ```
/// use std::sync::Arc;
/// use chartlock::storage::{MemoryStorage, conformance};
///
/// let storage = Arc::new(MemoryStorage::new());
/// conformance::check_reopening(|| Arc::clone(&storage))?;
/// # Ok::<(), conformance::Failure>(())
/// ```
///
/// # Errors
/// Returns a description of the violation; its check has the name `reopening`.
pub fn check_reopening<S: Storage>(open: impl Fn() -> S) -> Result<(), Failure> {
    lifetime::reopening(open).map_err(|flaw| Failure {
        check: "reopening",
        flaw: flaw.0,
    })
}

/// The checks that a storage passed.
///
/// ```
/// # use chartlock::storage::{MemoryStorage, conformance};
/// let report = conformance::check(MemoryStorage::new)?;
/// assert!(report.checks.contains(&"scan pages"));
/// # Ok::<(), conformance::Failure>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// `true` if the storage claims to be transactional. The checks then required that every
    /// transaction is all or nothing.
    pub transactional: bool,
    /// The names of the passed checks.
    pub checks: Vec<&'static str>,
}

/// A violation of the storage contract.
///
/// ```
/// # use chartlock::storage::{MemoryStorage, conformance};
/// let result: Result<_, conformance::Failure> = conformance::check(MemoryStorage::new);
/// assert!(result.is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The name of the check that failed.
    pub check: &'static str,
    /// The description of the violation.
    pub flaw: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.flaw)
    }
}

impl std::error::Error for Failure {}

type Check = fn(&dyn Storage) -> Result<(), Flaw>;

fn checks() -> impl Iterator<Item = (&'static str, Check)> {
    [
        reading::CHECKS,
        scanning::CHECKS,
        committing::CHECKS,
        grouping::CHECKS,
        script::CHECKS,
        greatest_key::CHECKS,
        views::CHECKS,
        lifetime::CHECKS,
        concurrency::CHECKS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// A violation that one check found.
#[derive(Debug)]
struct Flaw(String);

impl From<StorageError> for Flaw {
    fn from(error: StorageError) -> Self {
        Self(format!("failed: {error}"))
    }
}

impl From<CommitError> for Flaw {
    fn from(error: CommitError) -> Self {
        Self(format!("a commit failed that must succeed: {error}"))
    }
}

fn ensure(holds: bool, flaw: &str) -> Result<(), Flaw> {
    if holds {
        Ok(())
    } else {
        Err(Flaw(flaw.to_owned()))
    }
}

fn commit(storage: &dyn Storage, transaction: Transaction) -> Result<Committed, CommitError> {
    let mut results = storage.commit(&[transaction]);
    // Treat a missing result as `Unknown`, which no check accepts, so that the check fails.
    results.pop().unwrap_or(Err(CommitError::Unknown))
}

fn read(storage: &dyn Storage, key: &[u8]) -> Result<Option<Stored>, Flaw> {
    let mut results = storage.read(&[key])?;
    ensure(
        results.len() == 1,
        "a read of one key does not return exactly one result",
    )?;
    Ok(results.pop().flatten())
}

fn present(storage: &dyn Storage, key: &[u8]) -> Result<Stored, Flaw> {
    read(storage, key)?.ok_or_else(|| Flaw("a key that was written is absent".to_owned()))
}

fn value(storage: &dyn Storage, key: &[u8]) -> Result<Option<Vec<u8>>, Flaw> {
    Ok(read(storage, key)?.map(|stored| stored.value.into()))
}
