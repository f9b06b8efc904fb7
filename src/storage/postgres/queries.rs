//! Reads and scans.

use std::collections::HashMap;
use std::future::Future;

use tokio_postgres::Row;

use super::connection::{ConnectionPool, Parameter};
use super::failure::{failed, is_lost, is_retryable};
use super::statements::{Sql, Statements};
use crate::storage::limits::KEY_BYTES_MAX;
use crate::storage::scan::prefix_end;
use crate::storage::{Projection, Revision, Scan, ScanItem, ScanPage, StorageError, Stored};

/// Source of rows: the connection pool of a storage, or the connection of a snapshot.
pub(super) trait RowSource: Sync {
    /// Runs a reading statement. After a lost connection, the pool retries the statement. A snapshot returns an
    /// error, because the snapshot ended with its connection.
    fn rows(
        &self,
        select: fn(&Statements) -> &Sql,
        parameters: &[Parameter<'_>],
    ) -> impl Future<Output = Result<Vec<Row>, StorageError>> + Send;
}

impl RowSource for ConnectionPool {
    async fn rows(
        &self,
        select: fn(&Statements) -> &Sql,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, StorageError> {
        let mut backoff = self.backoff();
        loop {
            let connection = self.get().await?;
            let sql = select(self.statements());
            let error = match self.answered(connection.query(sql, parameters)).await {
                Some(Ok(rows)) => return Ok(rows),
                Some(Err(error)) => error,
                None => {
                    // Do not reuse a connection that does not answer.
                    drop(connection.detach());
                    return Err(StorageError::TimedOut);
                }
            };
            let may_succeed = is_lost(&error) || is_retryable(&error);
            if !may_succeed || !backoff.pause().await {
                return Err(failed(&error));
            }
        }
    }
}

/// A range of keys to scan, which owns its bounds.
pub(super) struct ScanRange {
    first: Vec<u8>,
    past: Vec<u8>,
    limit: i64,
    projection: Projection,
}

impl ScanRange {
    pub(super) fn new(scan: Scan<'_>) -> Self {
        let first = match scan.after {
            // The key after `after` is `after` with a zero byte.
            Some(after) if after >= scan.prefix => [after, &[0]].concat(),
            _ => scan.prefix.to_vec(),
        };
        Self {
            first,
            past: past(scan.prefix),
            limit: i64::try_from(scan.limit.max(1)).unwrap_or(i64::MAX - 1),
            projection: scan.projection,
        }
    }
}

/// Returns a bound above all keys with a prefix.
fn past(prefix: &[u8]) -> Vec<u8> {
    prefix_end(prefix).unwrap_or_else(|| vec![u8::MAX; KEY_BYTES_MAX + 1])
}

/// Reads the values of keys.
pub(super) async fn read(
    source: &impl RowSource,
    keys: Vec<Vec<u8>>,
) -> Result<Vec<Option<Stored>>, StorageError> {
    let rows = source.rows(|statements| &statements.read, &[&keys]).await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        let (key, value): (&[u8], &[u8]) = (column(row, 0)?, column(row, 2)?);
        let stored = Stored {
            value: value.into(),
            revision: revision(column(row, 1)?),
        };
        found.insert(key, stored);
    }
    // Clone the values, because `keys` can contain a key twice.
    let stored = keys.iter().map(|key| found.get(key.as_slice()).cloned());
    Ok(stored.collect())
}

/// Reads a page of a scan.
pub(super) async fn scan(
    source: &impl RowSource,
    range: ScanRange,
) -> Result<ScanPage, StorageError> {
    let ScanRange {
        first,
        past,
        limit,
        projection,
    } = range;
    let rows = match projection {
        Projection::Keys => {
            source
                .rows(|it| &it.scan_keys, &[&first, &past, &limit])
                .await?
        }
        Projection::Head(bytes) => {
            let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
            let parameters: [Parameter<'_>; 4] = [&first, &past, &limit, &bytes];
            source.rows(|it| &it.scan_heads, &parameters).await?
        }
        Projection::Values => {
            source
                .rows(|it| &it.scan_values, &[&first, &past, &limit])
                .await?
        }
    };
    let total = match (projection, rows.first()) {
        (Projection::Values, Some(row)) => column(row, 4)?,
        _ => count(&rows),
    };
    let items = rows.iter().map(item).collect::<Result<_, _>>()?;
    Ok(ScanPage {
        items,
        more: total >= limit || count(&rows) < total,
        unreadable: Vec::new(),
    })
}

/// Finds the greatest key with each prefix.
pub(super) async fn last(
    source: &impl RowSource,
    prefixes: Vec<Vec<u8>>,
) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
    let pasts: Vec<_> = prefixes.iter().map(|prefix| past(prefix)).collect();
    let rows = source.rows(|it| &it.last, &[&prefixes, &pasts]).await?;
    rows.iter().map(|row| column(row, 0)).collect()
}

fn item(row: &Row) -> Result<ScanItem, StorageError> {
    let (key, value): (&[u8], &[u8]) = (column(row, 0)?, column(row, 3)?);
    let length: i64 = column(row, 2)?;
    Ok(ScanItem {
        key: key.to_vec(),
        value: value.into(),
        length: length.unsigned_abs(),
        revision: revision(column(row, 1)?),
    })
}

/// Returns a column of a row; [`StorageError::Damaged`] if the row has another form.
pub(super) fn column<'r, T: tokio_postgres::types::FromSql<'r>>(
    row: &'r Row,
    index: usize,
) -> Result<T, StorageError> {
    row.try_get(index).map_err(|_| StorageError::Damaged)
}

fn count(rows: &[Row]) -> i64 {
    i64::try_from(rows.len()).unwrap_or(i64::MAX)
}

/// Returns the revision for a number.
pub(super) fn revision(number: i64) -> Revision {
    Revision::new(&number.to_be_bytes())
}
