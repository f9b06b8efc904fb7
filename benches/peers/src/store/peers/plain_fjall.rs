//! Baseline: fjall, the engine of `FileStorage`, without encryption, versions or an access journal.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use chartlock::{RecordId, Subject};
use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{CACHE_BYTES, Handle, Item, Peer, chart_key, name_in, plain_key};

pub(crate) struct PlainFjall {
    directory: PathBuf,
    // This field is `None` only while the database is reopened.
    open: Option<(Database, Keyspace)>,
}

impl PlainFjall {
    pub(crate) fn create(directory: &Path) -> Result<Self> {
        Ok(Self {
            directory: directory.to_owned(),
            open: Some(open(directory)?),
        })
    }
}

/// Opens the database with the settings of `FileStorage`.
pub(super) fn open(directory: &Path) -> Result<(Database, Keyspace)> {
    let database = Database::builder(directory)
        .cache_size(CACHE_BYTES as u64)
        .journal_compression(CompressionType::None)
        .max_journaling_size(64 << 20)
        .open()?;
    let options = || {
        KeyspaceCreateOptions::default()
            .data_block_compression_policy(CompressionPolicy::disabled())
            .index_block_compression_policy(CompressionPolicy::disabled())
            .max_memtable_size(8 << 20)
    };
    let keyspace = database.keyspace("records", options)?;
    Ok((database, keyspace))
}

impl Peer for PlainFjall {
    fn name(&self) -> &'static str {
        "plain fjall"
    }

    fn handle(&self) -> Result<Box<dyn Handle + Send + '_>> {
        let (database, keyspace) = self.open.as_ref().context("the database is closed")?;
        Ok(Box::new(Plain { database, keyspace }))
    }

    fn reopen(&mut self) -> Result<()> {
        drop(self.open.take());
        self.open = Some(open(&self.directory)?);
        Ok(())
    }
}

struct Plain<'a> {
    database: &'a Database,
    keyspace: &'a Keyspace,
}

impl Handle for Plain<'_> {
    fn put(&mut self, item: Item<'_>) -> Result<()> {
        self.put_many(&[item])
    }

    fn put_many(&mut self, items: &[Item<'_>]) -> Result<()> {
        let mut batch = self
            .database
            .batch()
            .durability(Some(PersistMode::SyncData));
        for (id, content) in items {
            batch.insert(self.keyspace, plain_key(id), *content);
        }
        batch.commit()?;
        Ok(())
    }

    fn get(&mut self, id: &RecordId, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let found = self.keyspace.get(plain_key(id))?;
        take(&found.context("the record is missing")?);
        Ok(())
    }

    fn chart(&mut self, subject: &Subject, take: &mut dyn FnMut(&str, &[u8])) -> Result<()> {
        let chart = chart_key(subject);
        for item in self.keyspace.prefix(&chart) {
            let (key, content) = item.into_inner()?;
            take(name_in(&key, &chart)?, &content);
        }
        Ok(())
    }
}
