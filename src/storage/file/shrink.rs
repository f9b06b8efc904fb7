//! Return of free database pages to the file system, a few after each commit.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::database::{failed, number};
use crate::storage::StorageError;

/// Number of free pages that commits may leave in the database for later commits.
const FREE_PAGES_MAX: i64 = 1000;

/// Deletions after which the number of free pages is read again.
const DELETIONS_BETWEEN_CHECKS: usize = 16;

/// Pages that are returned before the clock is read again.
const STEP_PAGES: i64 = 32;

/// Time that one commit spends on the return of pages, excluding the sync.
const COMMIT_TIME: Duration = Duration::from_millis(10);

/// Pages that [`free_all`] returns in one database transaction, which bounds the write-ahead log.
const TRANSACTION_PAGES: i64 = 4000;

/// State of the return of free pages.
#[derive(Debug)]
pub(super) struct Shrinker {
    deletions: usize,
    /// `true` while commits return pages, and before the first commit of an opening.
    is_active: bool,
    has_freed: bool,
    /// `true` after damage prevented the return of a page.
    is_disabled: bool,
}

impl Default for Shrinker {
    fn default() -> Self {
        Self {
            deletions: 0,
            is_active: true,
            has_freed: false,
            is_disabled: false,
        }
    }
}

/// Result of [`Shrinker::after_commit`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shrunk {
    /// Number of pages that were returned.
    pub(super) pages: usize,
    /// `true` if earlier commits returned pages and no further page is due. The file shrinks when the
    /// log is copied.
    pub(super) is_finished: bool,
}

impl Shrinker {
    /// Spends a short time on the return of free pages to the file system, after a commit with this
    /// number of deletions.
    ///
    /// Starts when more than 1,000 pages and more than a quarter of all pages are free. Continues after
    /// each commit until at most 1,000 pages are free.
    pub(super) fn after_commit(
        &mut self,
        connection: &Connection,
        deletions: usize,
    ) -> Result<Shrunk, StorageError> {
        self.deletions += deletions;
        if self.is_disabled || !(self.is_active || self.deletions >= DELETIONS_BETWEEN_CHECKS) {
            return Ok(Shrunk::default());
        }
        self.deletions = 0;
        let free = number(connection, "pragma freelist_count")?;
        let is_due = free > FREE_PAGES_MAX
            && (self.has_freed || free * 4 > number(connection, "pragma page_count")?);
        self.is_active = is_due;
        if !is_due {
            let is_finished = std::mem::take(&mut self.has_freed);
            return Ok(Shrunk {
                pages: 0,
                is_finished,
            });
        }
        match free_pages(connection, free - FREE_PAGES_MAX, COMMIT_TIME) {
            Ok(pages) => {
                self.has_freed = true;
                Ok(Shrunk {
                    pages,
                    is_finished: false,
                })
            }
            // The damage prevents only the return of pages, so reads and commits continue.
            Err(StorageError::Damaged) => {
                self.is_disabled = true;
                Ok(Shrunk::default())
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns up to about `limit` free pages to the file system, in one database transaction. Stops early
/// after `time`. The result is the number of pages.
fn free_pages(connection: &Connection, limit: i64, time: Duration) -> Result<usize, StorageError> {
    let start = Instant::now();
    let transaction =
        Transaction::new_unchecked(connection, TransactionBehavior::Immediate).map_err(failed)?;
    let mut freed = 0;
    while freed < limit && start.elapsed() < time {
        let pages = step(&transaction)?;
        if pages == 0 {
            break;
        }
        freed += pages;
    }
    transaction.commit().map_err(failed)?;
    Ok(usize::try_from(freed).unwrap_or(0))
}

/// Returns a few free pages to the file system. SQLite returns one page per step of the statement, so
/// the loop steps to the end.
fn step(connection: &Connection) -> Result<i64, StorageError> {
    let sql = format!("pragma incremental_vacuum({STEP_PAGES})");
    let mut statement = connection.prepare_cached(&sql).map_err(failed)?;
    let before = number(connection, "pragma freelist_count")?;
    let mut rows = statement.query(()).map_err(failed)?;
    while rows.next().map_err(failed)?.is_some() {}
    Ok(before - number(connection, "pragma freelist_count")?)
}

/// Returns all free pages to the file system. Calls `copy_log` after each transaction.
pub(super) fn free_all(
    connection: &Connection,
    mut copy_log: impl FnMut(&Connection) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    loop {
        let pages = free_pages(connection, TRANSACTION_PAGES, Duration::MAX)?;
        copy_log(connection)?;
        if pages == 0 {
            return Ok(());
        }
    }
}

/// Returns the number of pages of the database, including those that are only in the log.
pub(super) fn page_count(connection: &Connection) -> u64 {
    let pages = number(connection, "pragma page_count").unwrap_or(0);
    u64::try_from(pages).unwrap_or(0)
}
