//! Storage in a PostgreSQL database, which several processes and machines can share.
//!
//! Guarantees: transactions are atomic, and durable when `commit` returns; a lost connection never causes
//! a wrong result. Must not know: the meaning of keys and values.
//!
//! Every statement is plain SQL without advisory locks, sequences, stored procedures or large objects, so
//! that servers which are compatible with PostgreSQL can run it.

mod batches;
mod connection;
mod failure;
mod pipeline;
mod postgres_options;
mod preconditions;
mod queries;
mod schema_version;
mod sql_snapshot;
mod statements;

use std::fmt;
use std::sync::Arc;

pub use postgres_options::{Isolation, PostgresOptions};

use self::connection::ConnectionPool;
use crate::storage::worker::Worker;
use crate::storage::{
    CommitError, Committed, Scan, ScanPage, Snapshot, Storage, StorageError, Stored, Transaction,
};

/// A storage in a PostgreSQL database.
///
/// Open it with [`PostgresOptions`]. Processes on several machines can open the same schema. A schema holds one
/// vault.
///
/// The storage runs its connections on its own thread, so it works inside and outside an async
/// runtime. A call blocks the calling thread until the server has answered.
///
/// ```no_run
/// use chartlock::storage::PostgresOptions;
/// use chartlock::{Vault, keys::KeyFile};
///
/// # fn create(tls: rustls::ClientConfig) -> Result<Vault, Box<dyn std::error::Error>> {
/// let options = PostgresOptions::parse("host=db.clinic.example user=ehr dbname=ehr sslmode=require")?;
/// let options = options.tls(tls);
/// options.migrate()?; // once, by a user who may create tables
/// let vault = Vault::create(options.open()?, &KeyFile::random()?)?;
/// # Ok(vault)
/// # }
/// ```
///
/// # TLS
/// Connections over a network need TLS: see [`PostgresOptions::tls`]. The app must depend on `rustls` 0.23 and
/// choose a crypto provider. Without TLS, an attacker in the network can read and replace the answers of the
/// server.
///
/// # What the database user needs
/// `SELECT`, `INSERT`, `UPDATE` and `DELETE` on the tables of the schema, and `USAGE` on the schema.
/// [`PostgresOptions::migrate`] also needs `CREATE` on the schema, and on the database if the schema does not exist.
///
/// # Destroyed values
/// PostgreSQL keeps replaced rows in the table until a vacuum, and longer in the write-ahead log and in
/// backups. A destroying put therefore always reports [`Committed::deferred`].
///
/// At log level `debug`, the client logs its statements, but not the stored keys and values. A server writes keys
/// and values to its own log if `log_statement`, `log_min_duration_statement` or
/// `log_parameter_max_length_on_error` is set.
pub struct PostgresStorage {
    worker: Worker,
    connections: Arc<ConnectionPool>,
}

impl PostgresStorage {
    fn new(worker: Worker, connections: Arc<ConnectionPool>) -> Self {
        Self {
            worker,
            connections,
        }
    }
}

impl fmt::Debug for PostgresStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStorage").finish_non_exhaustive()
    }
}

impl Storage for PostgresStorage {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        let connections = Arc::clone(&self.connections);
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
        self.worker
            .run(async move { queries::read(&*connections, keys).await })?
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        let connections = Arc::clone(&self.connections);
        let range = queries::ScanRange::new(scan);
        self.worker
            .run(async move { queries::scan(&*connections, range).await })?
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        let connections = Arc::clone(&self.connections);
        let owned = transactions.to_vec();
        self.worker.commit(transactions.len(), async move {
            batches::commit(&connections, owned).await
        })
    }

    fn is_transactional(&self) -> bool {
        true
    }

    fn last(&self, prefixes: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        let connections = Arc::clone(&self.connections);
        let prefixes: Vec<Vec<u8>> = prefixes.iter().map(|prefix| prefix.to_vec()).collect();
        self.worker
            .run(async move { queries::last(&*connections, prefixes).await })?
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        let connections = Arc::clone(&self.connections);
        let view = self
            .worker
            .run(async move { sql_snapshot::View::begin(connections).await })??;
        let worker = self.worker.clone();
        Ok(Box::new(sql_snapshot::SqlSnapshot::new(worker, view)))
    }

    fn close(&self) -> Result<(), StorageError> {
        self.connections.close();
        Ok(())
    }
}
