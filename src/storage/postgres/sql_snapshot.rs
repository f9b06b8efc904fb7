//! Snapshots: transactions with `REPEATABLE READ`.

use std::fmt;
use std::sync::Arc;

use tokio_postgres::Row;

use super::connection::{Connection, ConnectionPool, Parameter};
use super::failure::failed;
use super::queries::{self, RowSource, ScanRange};
use super::statements::{Sql, Statements};
use crate::storage::worker::Worker;
use crate::storage::{Scan, ScanPage, Snapshot, StorageError, Stored};

/// Transaction that sees the storage at one point in time. Its connection is not in the pool, so that
/// snapshots do not exhaust the pool.
pub(super) struct View {
    connections: Arc<ConnectionPool>,
    connection: Connection,
}

impl View {
    /// Begins the transaction.
    pub(super) async fn begin(connections: Arc<ConnectionPool>) -> Result<Self, StorageError> {
        let connection = connections.get().await?.detach();
        let view = Self {
            connections,
            connection,
        };
        let begin = &view.connections.statements().begin_view;
        let begun = view.connections.answered(view.connection.execute(begin));
        begun
            .await
            .ok_or(StorageError::TimedOut)?
            .map_err(|error| failed(&error))?;
        // The server takes the snapshot at the first query.
        queries::read(&view, Vec::new()).await?;
        Ok(view)
    }
}

impl RowSource for View {
    async fn rows(
        &self,
        select: fn(&Statements) -> &Sql,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, StorageError> {
        let sql = select(self.connections.statements());
        let answer = self.connection.query(sql, parameters);
        let answer = self.connections.answered(answer).await;
        answer
            .ok_or(StorageError::TimedOut)?
            .map_err(|error| failed(&error))
    }
}

pub(super) struct SqlSnapshot {
    worker: Worker,
    view: Arc<View>,
}

impl SqlSnapshot {
    pub(super) fn new(worker: Worker, view: View) -> Self {
        Self {
            worker,
            view: Arc::new(view),
        }
    }
}

impl fmt::Debug for SqlSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlSnapshot").finish_non_exhaustive()
    }
}

impl Snapshot for SqlSnapshot {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        let view = Arc::clone(&self.view);
        let keys = keys.iter().map(|key| key.to_vec()).collect();
        self.worker
            .run(async move { queries::read(&*view, keys).await })?
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        let view = Arc::clone(&self.view);
        let range = ScanRange::new(scan);
        self.worker
            .run(async move { queries::scan(&*view, range).await })?
    }
}
