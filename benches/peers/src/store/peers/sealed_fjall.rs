//! Rival that seals every record in fjall under one key, as an app without an encryption library
//! would. Replacing that key decrypts every record and encrypts it again.

use std::path::{Path, PathBuf};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key};
use anyhow::{Context, Result, anyhow};
use chartlock::{RecordId, Subject};
use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use rand::TryRng;
use rand::rngs::SysRng;

use super::{CACHE_BYTES, Handle, Item, Peer, Rotate, chart_key, name_in, plain_key};

const NONCE: usize = 12;
/// The number of records that are re-encrypted in one durable batch.
const BATCH: usize = 1000;

pub(crate) struct SealedFjall {
    directory: PathBuf,
    key: Aes256Gcm,
    // This field is `None` only while the database is reopened.
    open: Option<(Database, Keyspace)>,
}

impl SealedFjall {
    pub(crate) fn create(directory: &Path) -> Result<Self> {
        Ok(Self {
            directory: directory.to_owned(),
            key: random_key()?,
            open: Some(open_database(directory)?),
        })
    }

    fn parts(&self) -> Result<Sealing<'_>> {
        let (database, keyspace) = self.open.as_ref().context("the database is closed")?;
        Ok(Sealing {
            database,
            keyspace,
            key: &self.key,
        })
    }
}

/// Opens the database without compression, which sealed records resist.
fn open_database(directory: &Path) -> Result<(Database, Keyspace)> {
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

fn random_key() -> Result<Aes256Gcm> {
    let mut key = [0; 32];
    SysRng.try_fill_bytes(&mut key)?;
    Ok(Aes256Gcm::new(&Key::<Aes256Gcm>::from(key)))
}

fn seal(key: &Aes256Gcm, name: &[u8], content: &[u8]) -> Result<Vec<u8>> {
    let mut nonce = [0; NONCE];
    SysRng.try_fill_bytes(&mut nonce)?;
    let payload = Payload {
        msg: content,
        aad: name,
    };
    let sealed = key.encrypt(&nonce.into(), payload);
    let sealed = sealed.map_err(|_| anyhow!("sealing failed"))?;
    Ok([nonce.as_slice(), &sealed].concat())
}

fn open(key: &Aes256Gcm, name: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
    let (nonce, sealed) = sealed
        .split_first_chunk::<NONCE>()
        .context("the record is too short")?;
    let payload = Payload {
        msg: sealed,
        aad: name,
    };
    let opened = key.decrypt(nonce.into(), payload);
    opened.map_err(|_| anyhow!("not authentic"))
}

impl Peer for SealedFjall {
    fn name(&self) -> &'static str {
        "fjall, each record under one AES-GCM key"
    }

    fn handle(&self) -> Result<Box<dyn Handle + Send + '_>> {
        Ok(Box::new(self.parts()?))
    }

    fn reopen(&mut self) -> Result<()> {
        drop(self.open.take());
        self.open = Some(open_database(&self.directory)?);
        Ok(())
    }
}

impl Rotate for SealedFjall {
    fn rotate(&mut self) -> Result<()> {
        let new = random_key()?;
        let Sealing {
            database,
            keyspace,
            key,
        } = self.parts()?;
        let mut items = keyspace.iter().peekable();
        while items.peek().is_some() {
            let mut batch = database.batch().durability(Some(PersistMode::SyncData));
            for item in items.by_ref().take(BATCH) {
                let (name, sealed) = item.into_inner()?;
                let content = open(key, &name, &sealed)?;
                batch.insert(keyspace, name.clone(), seal(&new, &name, &content)?);
            }
            batch.commit()?;
        }
        self.key = new;
        Ok(())
    }
}

struct Sealing<'a> {
    database: &'a Database,
    keyspace: &'a Keyspace,
    key: &'a Aes256Gcm,
}

impl Handle for Sealing<'_> {
    fn put(&mut self, item: Item<'_>) -> Result<()> {
        self.put_many(&[item])
    }

    fn put_many(&mut self, items: &[Item<'_>]) -> Result<()> {
        let mut batch = self
            .database
            .batch()
            .durability(Some(PersistMode::SyncData));
        for (id, content) in items {
            let name = plain_key(id);
            let sealed = seal(self.key, &name, content)?;
            batch.insert(self.keyspace, name, sealed);
        }
        batch.commit()?;
        Ok(())
    }

    fn get(&mut self, id: &RecordId, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let name = plain_key(id);
        let found = self.keyspace.get(&name)?.context("the record is missing")?;
        take(&open(self.key, &name, &found)?);
        Ok(())
    }

    fn chart(&mut self, subject: &Subject, take: &mut dyn FnMut(&str, &[u8])) -> Result<()> {
        let chart = chart_key(subject);
        for item in self.keyspace.prefix(&chart) {
            let (name, sealed) = item.into_inner()?;
            take(name_in(&name, &chart)?, &open(self.key, &name, &sealed)?);
        }
        Ok(())
    }
}
