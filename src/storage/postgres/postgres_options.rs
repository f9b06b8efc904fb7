//! Options of a PostgreSQL storage.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::TargetSessionAttrs;

use super::PostgresStorage;
use super::connection::ConnectionPool;
use super::schema_version;
use super::statements::Statements;
use crate::storage::StorageError;
use crate::storage::worker::Worker;

/// Default number of connections.
const CONNECTIONS: usize = 8;
/// Maximum number of connections. A server seldom accepts as many.
const CONNECTIONS_MAX: usize = 10_000;
/// Default time for which a call waits for a server that cannot be reached.
const SERVER_WAIT: Duration = Duration::from_secs(10);
/// Default time for which a call waits for an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Maximum length of a schema name, in bytes: PostgreSQL cuts longer names.
const SCHEMA_BYTES_MAX: usize = 63;

/// Isolation level of the storage's transactions.
///
/// The storage is correct with both levels. The storage retries a transaction that the server aborts because
/// of a concurrent one.
///
/// ```
/// # use chartlock::storage::Isolation;
/// assert_eq!(Isolation::default(), Isolation::ReadCommitted);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Isolation {
    /// `READ COMMITTED`, the default of PostgreSQL. Row locks protect the preconditions.
    #[default]
    ReadCommitted,
    /// `SERIALIZABLE`, the default of CockroachDB.
    Serializable,
}

impl Isolation {
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::ReadCommitted => "read committed",
            Self::Serializable => "serializable",
        }
    }
}

/// Options for opening a [`PostgresStorage`].
///
/// ```
/// use std::time::Duration;
/// use chartlock::storage::PostgresOptions;
///
/// let options = PostgresOptions::parse("host=localhost user=ehr")?
///     .schema("clinic_north")?
///     .connections(16)
///     .wait_for_server(Duration::from_secs(20));
/// # Ok::<(), chartlock::storage::StorageError>(())
/// ```
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    pub(super) config: Config,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) schema: String,
    pub(super) connections: usize,
    pub(super) isolation: Isolation,
    pub(super) is_prepared: bool,
    pub(super) server_wait: Duration,
    pub(super) answer_wait: Duration,
}

impl PostgresOptions {
    /// Creates options for the server of `config`. The storage refuses a server that accepts no writes.
    pub fn new(mut config: Config) -> Self {
        // A replica could return a patient entry from before an erasure.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        Self {
            config,
            tls: None,
            schema: "chartlock".to_owned(),
            connections: CONNECTIONS,
            isolation: Isolation::default(),
            is_prepared: true,
            server_wait: SERVER_WAIT,
            answer_wait: ANSWER_WAIT,
        }
    }

    /// Creates options from a connection string, as
    /// [libpq](https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING) defines it:
    /// keywords and values, or a URI.
    ///
    /// # Errors
    /// [`StorageError::InvalidOptions`] if the string is malformed.
    pub fn parse(connection: &str) -> Result<Self, StorageError> {
        let config = connection.parse();
        config
            .map(Self::new)
            .map_err(|_| StorageError::InvalidOptions)
    }

    /// Encrypts the connections with TLS, which connections over a network need. Set `sslmode=require` in the
    /// connection string too, so that a server without TLS is refused.
    ///
    /// The configuration is a type of the crate `rustls` 0.23. The app must depend on `rustls` too, and choose the
    /// crypto provider, because chartlock enables none. Without a provider, `ClientConfig::builder` panics.
    ///
    /// ```
    /// # use chartlock::storage::PostgresOptions;
    /// // rustls = { version = "0.23", default-features = false, features = ["ring", "std", "tls12"] }
    /// let mut roots = rustls::RootCertStore::empty();
    /// // roots.add(certificate of the clinic's authority)?;
    /// let provider = rustls::crypto::ring::default_provider();
    /// let tls = rustls::ClientConfig::builder_with_provider(provider.into())
    ///     .with_safe_default_protocol_versions()?
    ///     .with_root_certificates(roots)
    ///     .with_no_client_auth();
    /// let options = PostgresOptions::parse("host=db.clinic.example user=ehr sslmode=require")?.tls(tls);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn tls(mut self, config: rustls::ClientConfig) -> Self {
        self.tls = Some(Arc::new(config));
        self
    }

    /// Sets the schema that contains the tables, `chartlock` by default. Each vault needs its own.
    ///
    /// # Errors
    /// [`StorageError::InvalidOptions`] unless the name consists of 1 to 63 lower-case letters, digits and
    /// underscores, and begins with a letter or an underscore.
    pub fn schema(mut self, name: &str) -> Result<Self, StorageError> {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_valid = (1..=SCHEMA_BYTES_MAX).contains(&name.len())
            && name.bytes().all(is_plain)
            && !name.starts_with(|first: char| first.is_ascii_digit());
        if !is_valid {
            return Err(StorageError::InvalidOptions);
        }
        name.clone_into(&mut self.schema);
        Ok(self)
    }

    /// Sets the maximum number of connections, 8 by default, from 1 to 10,000. A snapshot uses one more while it exists.
    ///
    /// A vault commits one group of changes at a time. Two connections more than the number of reading
    /// threads suffice.
    #[must_use]
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.clamp(1, CONNECTIONS_MAX);
        self
    }

    /// Sets the isolation level.
    #[must_use]
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Sends each statement without a name. A connection pooler such as pgbouncer in transaction mode needs
    /// this. Without a pooler, named statements are faster.
    #[must_use]
    pub fn unnamed_statements(mut self) -> Self {
        self.is_prepared = false;
        self
    }

    /// Sets how long a call waits for a server that cannot be reached, 10 seconds by default. A
    /// restart of the server within this time only delays calls.
    #[must_use]
    pub fn wait_for_server(mut self, wait: Duration) -> Self {
        self.server_wait = wait;
        self
    }

    /// Sets how long a call waits for the server's answer, 30 seconds by default.
    #[must_use]
    pub fn wait_for_answer(mut self, wait: Duration) -> Self {
        self.answer_wait = wait;
        self
    }

    /// Opens the storage.
    ///
    /// # Errors
    /// - [`StorageError::NotMigrated`] if the schema has no tables; call [`migrate`](Self::migrate).
    /// - [`StorageError::Layout`] if another release created the tables.
    /// - [`StorageError::Unreachable`] if the server cannot be reached.
    /// - [`StorageError::ReadOnly`] if the server accepts no writes.
    /// - [`StorageError::Denied`] if the server refuses the user or password.
    /// - [`StorageError::Backend`] with the server's error code otherwise.
    pub fn open(&self) -> Result<PostgresStorage, StorageError> {
        let (worker, connections) = self.connect()?;
        let checked = Arc::clone(&connections);
        worker.run(async move { schema_version::check(&checked).await })??;
        Ok(PostgresStorage::new(worker, connections))
    }

    /// Creates the schema and its tables, if they are absent. Several processes can call this at the same time.
    ///
    /// # Errors
    /// [`StorageError::Layout`] if a newer release created the tables, and the errors of
    /// [`open`](Self::open).
    pub fn migrate(&self) -> Result<(), StorageError> {
        let (worker, connections) = self.connect()?;
        worker.run(async move { schema_version::migrate(&connections).await })?
    }

    fn connect(&self) -> Result<(Worker, Arc<ConnectionPool>), StorageError> {
        let worker = Worker::start("chartlock-postgres")?;
        let statements = Statements::new(&self.schema, self.isolation, self.answer_wait);
        let connections = Arc::new(ConnectionPool::new(self, statements)?);
        Ok((worker, connections))
    }
}
