//! Rival SQLCipher: an encrypted SQLite, configured for durable commits and for speed.
//!
//! The table is a rowid table with an index. A table WITHOUT ROWID would store the part of a row
//! that exceeds about a quarter of a page in overflow pages.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use chartlock::{RecordId, Subject};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, TransactionBehavior, params};

use super::{CACHE_BYTES, Handle, Item, Peer, Rotate};

pub(super) const SCHEMA: &str = "
    CREATE TABLE records (patient TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, content BLOB NOT NULL);
    CREATE UNIQUE INDEX by_patient ON records (patient, name, version);
    CREATE TABLE patients (patient TEXT PRIMARY KEY NOT NULL);";
const INSERT_PATIENT: &str = "INSERT INTO patients (patient) VALUES (?1)";
const INSERT: &str =
    "INSERT INTO records (patient, name, version, content) VALUES (?1, ?2, ?3, ?4)";
const SELECT_VERSION: &str =
    "SELECT content FROM records WHERE patient = ?1 AND name = ?2 AND version = ?3";
const SELECT: &str =
    "SELECT content FROM records WHERE patient = ?1 AND name = ?2 ORDER BY version DESC LIMIT 1";
const CHART: &str = "SELECT name, content FROM records WHERE patient = ?1";

/// The connections through which threads share the database.
#[derive(Clone, Copy)]
pub(crate) enum Sharing {
    /// Each thread uses a separate connection. A writer waits, up to the busy timeout, while
    /// another connection writes.
    Own,
    /// All threads share one connection behind a lock.
    One,
}

pub(crate) struct SqlCipher {
    file: PathBuf,
    key: u8,
    sharing: Sharing,
    // This field is `None` only while the database is reopened.
    first: Mutex<Option<Connection>>,
}

impl SqlCipher {
    pub(crate) fn create(directory: &Path, sharing: Sharing) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let file = directory.join("records.db");
        let key = 1;
        let first = connect(&file, key)?;
        first.execute_batch(SCHEMA)?;
        Ok(Self {
            file,
            key,
            sharing,
            first: Mutex::new(Some(first)),
        })
    }

    /// Opens a database that another process created.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let (file, key) = (directory.join("records.db"), 1);
        let first = Mutex::new(Some(connect(&file, key)?));
        Ok(Self {
            file,
            key,
            sharing: Sharing::Own,
            first,
        })
    }

    fn first(&self) -> MutexGuard<'_, Option<Connection>> {
        lock(&self.first)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn raw_key(key: u8) -> String {
    format!("\"x'{}'\"", format!("{key:02x}").repeat(32))
}

fn connect(file: &Path, key: u8) -> Result<Connection> {
    let connection = keyed(file, key)?;
    let cache = CACHE_BYTES / 1024;
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA cache_size = -{cache};
         PRAGMA temp_store = MEMORY;"
    ))?;
    connection.busy_timeout(Duration::from_secs(60))?;
    // Check the provider, because SQLite without encryption ignores `PRAGMA key`. Without
    // encryption, `PRAGMA cipher_provider` returns no row, so the query fails. All measurements use
    // OpenSSL's provider.
    let provider: String =
        connection.pragma_query_value(None, "cipher_provider", |row| row.get(0))?;
    ensure!(provider == "openssl", "SQLCipher runs on {provider}");
    Ok(connection)
}

fn keyed(file: &Path, key: u8) -> Result<Connection> {
    let connection = Connection::open(file)?;
    connection.execute_batch(&format!("PRAGMA key = {};", raw_key(key)))?;
    Ok(connection)
}

/// Copies an open database with SQLite's online backup, in one step.
pub(super) fn back_up(from: &Connection, into: &mut Connection) -> Result<()> {
    let done = Backup::new(from, into)?.step(-1)?;
    ensure!(done == StepResult::Done, "the backup is not complete");
    Ok(())
}

impl Peer for SqlCipher {
    fn name(&self) -> &'static str {
        match self.sharing {
            Sharing::Own => "SQLCipher",
            Sharing::One => "SQLCipher, one connection behind a lock",
        }
    }

    fn handle(&self) -> Result<Box<dyn Handle + Send + '_>> {
        Ok(match self.sharing {
            Sharing::Own => Box::new(Own(connect(&self.file, self.key)?)),
            Sharing::One => Box::new(One(self)),
        })
    }

    fn backup(&self, directory: &Path) -> Result<()> {
        std::fs::create_dir_all(directory)?;
        let mut copy = keyed(&directory.join("records.db"), self.key)?;
        back_up(&connect(&self.file, self.key)?, &mut copy)
    }

    fn reopen(&mut self) -> Result<()> {
        let mut first = self.first();
        if let Some(connection) = first.take() {
            connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
        }
        *first = Some(connect(&self.file, self.key)?);
        Ok(())
    }
}

impl Rotate for SqlCipher {
    fn rotate(&mut self) -> Result<()> {
        self.key = self.key.wrapping_add(1);
        let rekey = format!("PRAGMA rekey = {}", raw_key(self.key));
        if let Some(connection) = &*self.first() {
            connection.execute_batch(&rekey)?;
        }
        Ok(())
    }
}

struct Own(Connection);

impl Handle for Own {
    fn put(&mut self, item: Item<'_>) -> Result<()> {
        put(&mut self.0, &[item])
    }

    fn put_first(&mut self, item: Item<'_>) -> Result<()> {
        put_first(&mut self.0, item)
    }

    fn put_many(&mut self, items: &[Item<'_>]) -> Result<()> {
        put(&mut self.0, items)
    }

    fn put_version(&mut self, item: Item<'_>, version: u64) -> Result<()> {
        put_version(&mut self.0, item, version)
    }

    fn get_version(
        &mut self,
        id: &RecordId,
        version: u64,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        get_version(&self.0, id, version, take)
    }

    fn get(&mut self, id: &RecordId, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        get(&self.0, id, take)
    }

    fn chart(&mut self, subject: &Subject, take: &mut dyn FnMut(&str, &[u8])) -> Result<()> {
        chart(&self.0, subject, take)
    }
}

struct One<'a>(&'a SqlCipher);

impl One<'_> {
    fn with(&self, work: impl FnOnce(&mut Connection) -> Result<()>) -> Result<()> {
        self.0.first().as_mut().map_or(Ok(()), work)
    }
}

impl Handle for One<'_> {
    fn put(&mut self, item: Item<'_>) -> Result<()> {
        self.with(|connection| put(connection, &[item]))
    }

    fn put_first(&mut self, item: Item<'_>) -> Result<()> {
        self.with(|connection| put_first(connection, item))
    }

    fn put_many(&mut self, items: &[Item<'_>]) -> Result<()> {
        self.with(|connection| put(connection, items))
    }

    fn get(&mut self, id: &RecordId, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.with(|connection| get(connection, id, take))
    }

    fn chart(&mut self, subject: &Subject, take: &mut dyn FnMut(&str, &[u8])) -> Result<()> {
        self.with(|connection| chart(connection, subject, take))
    }
}

pub(super) fn put(connection: &mut Connection, items: &[Item<'_>]) -> Result<()> {
    put_with(connection, items, 1, |_| Ok(()))
}

pub(super) fn put_version(connection: &mut Connection, item: Item<'_>, version: u64) -> Result<()> {
    put_with(connection, &[item], i64::try_from(version)?, |_| Ok(()))
}

/// Puts the first record of a patient with the patient's row.
pub(super) fn put_first(connection: &mut Connection, item: Item<'_>) -> Result<()> {
    put_with(connection, &[item], 1, |transaction| {
        let mut insert = transaction.prepare_cached(INSERT_PATIENT)?;
        insert.execute([item.0.subject().identifier()])?;
        Ok(())
    })
}

/// Puts records in the same transaction as the changes of `before`.
fn put_with(
    connection: &mut Connection,
    items: &[Item<'_>],
    version: i64,
    before: impl FnOnce(&Connection) -> Result<()>,
) -> Result<()> {
    // Take the write lock at the start, where SQLite waits up to the busy timeout. A read
    // transaction that becomes a writer fails with `SQLITE_BUSY` at once if another connection is
    // writing.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    before(&transaction)?;
    let mut insert = transaction.prepare_cached(INSERT)?;
    for (id, content) in items {
        let row = params![id.subject().identifier(), id.name(), version, content];
        insert.execute(row)?;
    }
    drop(insert);
    transaction.commit()?;
    Ok(())
}

pub(super) fn get(
    connection: &Connection,
    id: &RecordId,
    take: &mut dyn FnMut(&[u8]),
) -> Result<()> {
    let mut select = connection.prepare_cached(SELECT)?;
    select.query_row(params![id.subject().identifier(), id.name()], |row| {
        take(row.get_ref(0)?.as_blob()?);
        Ok(())
    })?;
    Ok(())
}

pub(super) fn get_version(
    connection: &Connection,
    id: &RecordId,
    version: u64,
    take: &mut dyn FnMut(&[u8]),
) -> Result<()> {
    let mut select = connection.prepare_cached(SELECT_VERSION)?;
    let version = i64::try_from(version)?;
    let key = params![id.subject().identifier(), id.name(), version];
    select.query_row(key, |row| {
        take(row.get_ref(0)?.as_blob()?);
        Ok(())
    })?;
    Ok(())
}

pub(super) fn chart(
    connection: &Connection,
    subject: &Subject,
    take: &mut dyn FnMut(&str, &[u8]),
) -> Result<()> {
    let mut select = connection.prepare_cached(CHART)?;
    let mut rows = select.query(params![subject.identifier()])?;
    while let Some(row) = rows.next()? {
        take(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_blob()?);
    }
    Ok(())
}
