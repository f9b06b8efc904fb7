//! chartlock on `FileStorage`, with default options.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use chartlock::keys::KeyFile;
use chartlock::{Actor, Document, FileStorage, Purpose, RecordId, Session, Subject, Vault};

use super::{Handle, Item, Peer, Rotate};

pub(crate) struct Ours {
    directory: PathBuf,
    /// The credential that opens the vault. A key file is used, because a passphrase would slow
    /// down opening, which is not measured.
    key: KeyFile,
    // This field is `None` only while the vault is reopened.
    vault: Option<Vault>,
}

impl Ours {
    pub(crate) fn create(directory: &Path) -> Result<Self> {
        let key = KeyFile::random()?;
        fs::write(directory.with_extension("key"), key.to_text().as_bytes())?;
        let vault = Vault::create(FileStorage::open(directory)?, &key)?;
        Ok(Self {
            directory: directory.to_owned(),
            key,
            vault: Some(vault),
        })
    }

    /// Opens a vault that another process created.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let key = KeyFile::from_text(&fs::read_to_string(directory.with_extension("key"))?)?;
        let vault = Vault::open(FileStorage::open(directory)?, &key)?;
        Ok(Self {
            directory: directory.to_owned(),
            key,
            vault: Some(vault),
        })
    }

    fn vault(&self) -> Result<&Vault> {
        self.vault.as_ref().context("the vault is closed")
    }
}

impl Peer for Ours {
    fn name(&self) -> &'static str {
        "chartlock"
    }

    fn handle(&self) -> Result<Box<dyn Handle + Send + '_>> {
        let session = self
            .vault()?
            .session(Actor::new("dr.garcia")?, Purpose::Treatment);
        Ok(Box::new(Chart(session)))
    }

    fn reopen(&mut self) -> Result<()> {
        drop(self.vault.take());
        self.vault = Some(Vault::open(FileStorage::open(&self.directory)?, &self.key)?);
        Ok(())
    }
}

impl Rotate for Ours {
    fn rotate(&mut self) -> Result<()> {
        self.vault()?.rotate_master_key()?;
        Ok(())
    }
}

struct Chart(Session);

impl Handle for Chart {
    fn put(&mut self, (id, content): Item<'_>) -> Result<()> {
        self.0.put(id, content)?;
        Ok(())
    }

    fn put_many(&mut self, items: &[Item<'_>]) -> Result<()> {
        let records = items
            .iter()
            .map(|(id, content)| (*id, Document::new(content)));
        for outcome in self.0.put_many(records)? {
            outcome?;
        }
        Ok(())
    }

    fn get(&mut self, id: &RecordId, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let record = self.0.get(id)?.context("the record is missing")?;
        take(&record);
        Ok(())
    }

    fn chart(&mut self, subject: &Subject, take: &mut dyn FnMut(&str, &[u8])) -> Result<()> {
        for record in self.0.get_all(subject)? {
            let record = record?;
            take(record.info().name(), &record);
        }
        Ok(())
    }
}
