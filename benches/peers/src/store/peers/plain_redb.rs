//! Rival redb: a copy-on-write B-tree, without encryption, versions or an access journal.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use chartlock::{RecordId, Subject};
use redb::{Database, ReadableDatabase, TableDefinition};

use super::{CACHE_BYTES, Handle, Item, Peer, chart_key, name_in, plain_key};

const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

pub(crate) struct PlainRedb {
    file: PathBuf,
    // This field is `None` only while the database is reopened.
    database: Option<Database>,
}

impl PlainRedb {
    pub(crate) fn create(directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let file = directory.join("records.redb");
        let database = open(&file)?;
        let transaction = database.begin_write()?;
        transaction.open_table(RECORDS)?;
        transaction.commit()?;
        Ok(Self {
            file,
            database: Some(database),
        })
    }
}

fn open(file: &Path) -> Result<Database> {
    Ok(Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create(file)?)
}

impl Peer for PlainRedb {
    fn name(&self) -> &'static str {
        "plain redb"
    }

    fn handle(&self) -> Result<Box<dyn Handle + Send + '_>> {
        let database = self.database.as_ref().context("the database is closed")?;
        Ok(Box::new(Plain(database)))
    }

    fn reopen(&mut self) -> Result<()> {
        if let Some(mut database) = self.database.take() {
            database.compact()?;
        }
        self.database = Some(open(&self.file)?);
        Ok(())
    }
}

struct Plain<'a>(&'a Database);

impl Handle for Plain<'_> {
    fn put(&mut self, item: Item<'_>) -> Result<()> {
        self.put_many(&[item])
    }

    fn put_many(&mut self, items: &[Item<'_>]) -> Result<()> {
        // Keep redb's default durability, with which a transaction is durable when its commit
        // returns.
        let transaction = self.0.begin_write()?;
        let mut table = transaction.open_table(RECORDS)?;
        for (id, content) in items {
            table.insert(plain_key(id).as_slice(), *content)?;
        }
        drop(table);
        transaction.commit()?;
        Ok(())
    }

    fn get(&mut self, id: &RecordId, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let table = self.0.begin_read()?.open_table(RECORDS)?;
        let found = table.get(plain_key(id).as_slice())?;
        take(found.context("the record is missing")?.value());
        Ok(())
    }

    fn chart(&mut self, subject: &Subject, take: &mut dyn FnMut(&str, &[u8])) -> Result<()> {
        let chart = chart_key(subject);
        let end = [subject.identifier().as_bytes(), &[1]].concat();
        let table = self.0.begin_read()?.open_table(RECORDS)?;
        for item in table.range(chart.as_slice()..end.as_slice())? {
            let (key, content) = item?;
            take(name_in(key.value(), &chart)?, content.value());
        }
        Ok(())
    }
}
