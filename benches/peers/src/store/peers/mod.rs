//! Common trait of the compared stores: chartlock and its rivals.

mod files;
mod ours;
mod plain_redb;
mod plain_sqlite;
mod sealed_fjall;
mod sqlcipher;

use std::path::Path;

use anyhow::{Result, bail, ensure};
use chartlock::{RecordId, Subject};

pub(super) use self::files::Files;
pub(super) use self::ours::Ours;
pub(super) use self::plain_redb::PlainRedb;
pub(super) use self::plain_sqlite::PlainSqlite;
pub(super) use self::sealed_fjall::SealedFjall;
pub(super) use self::sqlcipher::{Sharing, SqlCipher};

/// The cache size of each rival, in bytes.
pub(super) const CACHE_BYTES: usize = 64 << 20;

/// A record to put.
pub(super) type Item<'a> = (&'a RecordId, &'a [u8]);

/// A store of records in a directory. A put returns only after the record is synced.
pub(super) trait Peer: Sync {
    fn name(&self) -> &'static str;

    /// Returns a handle for one thread.
    fn handle(&self) -> Result<Box<dyn Handle + Send + '_>>;

    /// Writes a consistent copy of the open store into a new directory.
    fn backup(&self, _directory: &Path) -> Result<()> {
        bail!("{} is not measured here", self.name())
    }

    /// Runs the engine's manual compaction or checkpoint, if there is one, then closes the store
    /// and opens it again.
    fn reopen(&mut self) -> Result<()>;
}

/// A thread's access to a store.
pub(super) trait Handle {
    /// Puts a record that does not exist yet.
    fn put(&mut self, item: Item<'_>) -> Result<()>;

    /// Puts the first record of a new patient.
    fn put_first(&mut self, item: Item<'_>) -> Result<()> {
        self.put(item)
    }

    /// Puts records that do not exist yet, and makes them durable together.
    fn put_many(&mut self, items: &[Item<'_>]) -> Result<()>;

    /// Passes a record's content to `take`; fails if the record is missing.
    fn get(&mut self, id: &RecordId, take: &mut dyn FnMut(&[u8])) -> Result<()>;

    /// Puts a version of a record that exists already.
    fn put_version(&mut self, _item: Item<'_>, _version: u64) -> Result<()> {
        bail!("versions are not measured here")
    }

    /// Passes the content of a version to `take`; fails if the version is missing.
    fn get_version(
        &mut self,
        _id: &RecordId,
        _version: u64,
        _take: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        bail!("versions are not measured here")
    }

    /// Passes each record of a patient, with its name, to `take`.
    fn chart(&mut self, subject: &Subject, take: &mut dyn FnMut(&str, &[u8])) -> Result<()>;
}

/// A store that can replace its top-level key.
pub(super) trait Rotate: Peer {
    fn rotate(&mut self) -> Result<()>;
}

/// Checks that the stored records equal `items`.
pub(super) fn check<'a>(peer: &dyn Peer, items: impl Iterator<Item = Item<'a>>) -> Result<()> {
    let mut handle = peer.handle()?;
    for (id, content) in items {
        let mut same = false;
        handle.get(id, &mut |found| same = found == content)?;
        ensure!(same, "{} returned another record than was put", peer.name());
    }
    Ok(())
}

/// Returns the key under which the unencrypted stores store a record: the patient, then the
/// record's name.
fn plain_key(id: &RecordId) -> Vec<u8> {
    [chart_key(id.subject()).as_slice(), id.name().as_bytes()].concat()
}

fn chart_key(subject: &Subject) -> Vec<u8> {
    [subject.identifier().as_bytes(), &[0]].concat()
}

/// Returns the record name that the key from [`plain_key`] contains.
fn name_in<'a>(key: &'a [u8], chart: &[u8]) -> Result<&'a str> {
    let name = key.strip_prefix(chart).unwrap_or_default();
    Ok(std::str::from_utf8(name)?)
}

/// Returns the disk use of all files below a directory.
pub(super) fn bytes_on_disk(directory: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += metadata.blocks() * 512;
        if metadata.is_dir() {
            bytes += bytes_on_disk(&entry.path())?;
        }
    }
    Ok(bytes)
}
