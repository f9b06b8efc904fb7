//! Baseline: SQLite, the engine of `FileStorage`, with the settings of `FileStorage`, but without
//! encryption, versions or an access journal.
//!
//! The program links SQLCipher's build of SQLite for all stores, because a program can contain only
//! one SQLite. Without a key, SQLCipher writes plain SQLite files.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Result, ensure};
use chartlock::{RecordId, Subject};
use rusqlite::Connection;

use super::{CACHE_BYTES, Handle, Item, Peer, sqlcipher};

pub(crate) struct PlainSqlite {
    file: PathBuf,
    // This field is `None` only while the database is reopened.
    first: Mutex<Option<Connection>>,
}

impl PlainSqlite {
    pub(crate) fn create(directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let file = directory.join("records.db");
        let first = connect(&file)?;
        first.execute_batch(sqlcipher::SCHEMA)?;
        Ok(Self {
            file,
            first: Mutex::new(Some(first)),
        })
    }

    /// Opens a database that another process created.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let file = directory.join("records.db");
        let first = Mutex::new(Some(connect(&file)?));
        Ok(Self { file, first })
    }
}

fn connect(file: &Path) -> Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(Duration::from_secs(60))?;
    let cache = CACHE_BYTES / 1024;
    // The page size and the vacuum have an effect only before the first table.
    connection.execute_batch(&format!(
        "PRAGMA page_size = 8192;
         PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA secure_delete = ON;
         PRAGMA wal_autocheckpoint = 4000;
         PRAGMA cache_size = -{cache};
         PRAGMA temp_store = MEMORY;"
    ))?;
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    ensure!(mode == "wal", "SQLite runs in the mode {mode}");
    Ok(connection)
}

impl Peer for PlainSqlite {
    fn name(&self) -> &'static str {
        "plain SQLite"
    }

    fn handle(&self) -> Result<Box<dyn Handle + Send + '_>> {
        Ok(Box::new(Own(connect(&self.file)?)))
    }

    fn backup(&self, directory: &Path) -> Result<()> {
        std::fs::create_dir_all(directory)?;
        let mut copy = Connection::open(directory.join("records.db"))?;
        sqlcipher::back_up(&connect(&self.file)?, &mut copy)
    }

    fn reopen(&mut self) -> Result<()> {
        let mut first = sqlcipher::lock(&self.first);
        if let Some(connection) = first.take() {
            connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
        }
        *first = Some(connect(&self.file)?);
        Ok(())
    }
}

struct Own(Connection);

impl Handle for Own {
    fn put(&mut self, item: Item<'_>) -> Result<()> {
        sqlcipher::put(&mut self.0, &[item])
    }

    fn put_first(&mut self, item: Item<'_>) -> Result<()> {
        sqlcipher::put_first(&mut self.0, item)
    }

    fn put_many(&mut self, items: &[Item<'_>]) -> Result<()> {
        sqlcipher::put(&mut self.0, items)
    }

    fn put_version(&mut self, item: Item<'_>, version: u64) -> Result<()> {
        sqlcipher::put_version(&mut self.0, item, version)
    }

    fn get_version(
        &mut self,
        id: &RecordId,
        version: u64,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        sqlcipher::get_version(&self.0, id, version, take)
    }

    fn get(&mut self, id: &RecordId, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        sqlcipher::get(&self.0, id, take)
    }

    fn chart(&mut self, subject: &Subject, take: &mut dyn FnMut(&str, &[u8])) -> Result<()> {
        sqlcipher::chart(&self.0, subject, take)
    }
}
