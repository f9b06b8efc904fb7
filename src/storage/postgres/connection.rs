//! Connection pool, and the statements that run on its connections.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use deadpool_postgres::{
    ClientWrapper, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime,
};
use tokio::time::{sleep, timeout};
use tokio_postgres::types::{Format, IsNull, ToSql, Type};
use tokio_postgres::{Error, NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::not_connected;
use super::postgres_options::PostgresOptions;
use super::statements::{Sql, Statements};
use crate::storage::StorageError;
use crate::telemetry;

/// First and last pause between two attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// Parameter of a statement.
pub(super) type Parameter<'a> = &'a (dyn ToSql + Sync);

/// Error of a parameter that cannot be converted to its type in the statement.
type ConversionError = Box<dyn std::error::Error + Sync + Send>;

/// Parameter that the client's log does not show. At level `debug`, the client logs the `Debug` text of each
/// parameter. Otherwise the log would keep the stored bytes of erased patients.
struct Unlogged<'a>(Parameter<'a>);

impl fmt::Debug for Unlogged<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("_")
    }
}

impl ToSql for Unlogged<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, ConversionError> {
        self.0.to_sql_checked(kind, out)
    }

    fn accepts(_: &Type) -> bool {
        // `to_sql_checked` of the inner parameter checks the type.
        true
    }

    fn to_sql_checked(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, ConversionError> {
        self.0.to_sql_checked(kind, out)
    }

    fn encode_format(&self, kind: &Type) -> Format {
        self.0.encode_format(kind)
    }
}

/// Connection pool of a storage. The pool replaces lost connections.
pub(super) struct ConnectionPool {
    pool: Pool,
    statements: Statements,
    is_prepared: bool,
    server_wait: Duration,
    pub(super) answer_wait: Duration,
}

impl ConnectionPool {
    pub(super) fn new(
        options: &PostgresOptions,
        statements: Statements,
    ) -> Result<Self, StorageError> {
        let mut config = options.config.clone();
        if config.get_connect_timeout().is_none() {
            // A host without an answer must leave time for the next one.
            let hosts = config.get_hosts().len().max(config.get_hostaddrs().len());
            let hosts = u32::try_from(hosts).unwrap_or(u32::MAX).max(1);
            config.connect_timeout((options.server_wait / hosts).max(FIRST_PAUSE));
        }
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = match &options.tls {
            Some(tls) => {
                let connector = MakeRustlsConnect::new((**tls).clone());
                Manager::from_config(config, connector, recycling)
            }
            None => Manager::from_config(config, NoTls, recycling),
        };
        let pool = Pool::builder(manager)
            .max_size(options.connections)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(options.answer_wait))
            .create_timeout(Some(options.server_wait.max(FIRST_PAUSE)))
            .build()
            .map_err(|_| StorageError::InvalidOptions)?;
        Ok(Self {
            pool,
            statements,
            is_prepared: options.is_prepared,
            server_wait: options.server_wait,
            answer_wait: options.answer_wait,
        })
    }

    pub(super) fn statements(&self) -> &Statements {
        &self.statements
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }

    /// Returns a connection. Retries until the server wait ends if the server cannot be reached.
    pub(super) async fn get(&self) -> Result<Connection, StorageError> {
        let mut backoff = self.backoff();
        loop {
            match self.pool.get().await {
                Ok(client) => {
                    return Ok(Connection {
                        client: Client::Pooled(client),
                        is_prepared: self.is_prepared,
                    });
                }
                Err(error) => {
                    let (error, may_succeed) = not_connected(&error);
                    if !may_succeed || !backoff.pause().await {
                        return Err(error);
                    }
                    telemetry::reconnect(error);
                }
            }
        }
    }

    /// Returns the backoff between attempts to reach the server.
    pub(super) fn backoff(&self) -> Backoff {
        Backoff {
            end: Instant::now().checked_add(self.server_wait),
            pause: FIRST_PAUSE,
        }
    }

    /// Waits for a future; returns `None` once the answer wait is over.
    pub(super) async fn answered<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        timeout(self.answer_wait, future).await.ok()
    }
}

/// Exponential backoff until a deadline.
pub(super) struct Backoff {
    /// `None` if the wait has no end.
    end: Option<Instant>,
    pause: Duration,
}

impl Backoff {
    /// Waits until the next attempt; returns `false` at once if that would be after the deadline.
    pub(super) async fn pause(&mut self) -> bool {
        if self
            .end
            .is_some_and(|end| Instant::now() + self.pause > end)
        {
            return false;
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LAST_PAUSE);
        true
    }
}

/// Connection in use by one call or one snapshot.
pub(super) struct Connection {
    client: Client,
    is_prepared: bool,
}

enum Client {
    /// Returns to the pool when it is dropped.
    Pooled(Object),
    Detached(ClientWrapper),
}

impl Connection {
    fn client(&self) -> &ClientWrapper {
        match &self.client {
            Client::Pooled(client) => client,
            Client::Detached(client) => client,
        }
    }

    /// Prepares a statement, so that the next call of [`query`](Self::query) sends it at once.
    pub(super) async fn prepare(&self, sql: &Sql) -> Result<(), Error> {
        if self.is_prepared {
            let client = self.client();
            client.prepare_typed_cached(&sql.text, sql.types).await?;
        }
        Ok(())
    }

    /// Runs a statement.
    pub(super) async fn query(
        &self,
        sql: &Sql,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Error> {
        let client = self.client();
        let unlogged: Vec<_> = parameters.iter().map(|value| Unlogged(*value)).collect();
        let parameters = unlogged.iter().map(|value| -> Parameter<'_> { value });
        if self.is_prepared {
            let statement = client.prepare_typed_cached(&sql.text, sql.types).await?;
            let parameters: Vec<_> = parameters.collect();
            return client.query(&statement, &parameters).await;
        }
        let typed = parameters.zip(sql.types);
        let typed: Vec<_> = typed.map(|(value, kind)| (value, kind.clone())).collect();
        client.query_typed(&sql.text, &typed).await
    }

    /// Runs statements without parameters.
    pub(super) async fn execute(&self, text: &str) -> Result<(), Error> {
        self.client().batch_execute(text).await
    }

    /// Takes the connection out of the pool. Dropping the connection then closes it.
    pub(super) fn detach(self) -> Self {
        let client = match self.client {
            Client::Pooled(client) => Client::Detached(Object::take(client)),
            detached => detached,
        };
        Self { client, ..self }
    }
}
