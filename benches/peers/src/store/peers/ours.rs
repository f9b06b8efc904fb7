//! chartlock on `FileStorage`, with default options.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use chartlock::keys::KeyFile;
use chartlock::storage::FileOptions;
use chartlock::{Actor, Document, FileStorage, Purpose, RecordId, Session, Subject, Vault};

use super::{Handle, Item, Peer, Rotate};

pub(crate) struct Ours {
    directory: PathBuf,
    options: FileOptions,
    /// The credential that opens the vault. A key file is used, because a passphrase would slow
    /// down opening, which is not measured.
    key: KeyFile,
    // This field is `None` only while the vault is reopened.
    vault: Option<(Vault, Arc<FileStorage>)>,
}

impl Ours {
    pub(crate) fn create(directory: &Path) -> Result<Self> {
        Self::create_with(directory, FileOptions::new())
    }

    /// Creates a vault with options for its storage.
    pub(crate) fn create_with(directory: &Path, options: FileOptions) -> Result<Self> {
        let key = KeyFile::random()?;
        fs::write(directory.with_extension("key"), key.to_text().as_bytes())?;
        let storage = Arc::new(options.open(directory)?);
        let vault = Vault::create(Arc::clone(&storage), &key)?;
        Ok(Self {
            directory: directory.to_owned(),
            options,
            key,
            vault: Some((vault, storage)),
        })
    }

    /// Opens a vault that another process created.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        Self::open_with(directory, FileOptions::new())
    }

    /// Opens a vault with options for its storage.
    pub(crate) fn open_with(directory: &Path, options: FileOptions) -> Result<Self> {
        let key = KeyFile::from_text(&fs::read_to_string(directory.with_extension("key"))?)?;
        let storage = Arc::new(options.open(directory)?);
        let vault = Vault::open(Arc::clone(&storage), &key)?;
        Ok(Self {
            directory: directory.to_owned(),
            options,
            key,
            vault: Some((vault, storage)),
        })
    }

    fn vault(&self) -> Result<&Vault> {
        let (vault, _) = self.vault.as_ref().context("the vault is closed")?;
        Ok(vault)
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

    fn backup(&self, directory: &Path) -> Result<()> {
        let (vault, storage) = self.vault.as_ref().context("the vault is closed")?;
        let session = vault.session(Actor::new("it.office")?, Purpose::SystemAdministration);
        session.backup("nightly", || storage.backup(directory, |_, _| {}))?;
        Ok(())
    }

    fn reopen(&mut self) -> Result<()> {
        drop(self.vault.take());
        let storage = Arc::new(self.options.open(&self.directory)?);
        let vault = Vault::open(Arc::clone(&storage), &self.key)?;
        self.vault = Some((vault, storage));
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

    fn put_version(&mut self, item: Item<'_>, _version: u64) -> Result<()> {
        self.put(item)
    }

    fn get_version(
        &mut self,
        id: &RecordId,
        version: u64,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        let record = self.0.get_version(id, version)?;
        take(&record.context("the version is missing")?);
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
