//! Copies of journal pages in the journal archive.

use crate::crypto;
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::journal::PageSummary;
use crate::storage::{CommitError, Expect, Storage, Stored, Transaction, read_each};
use crate::vault::Vault;
use crate::vault::progress::Counter;

/// Number of pages that are copied at once. The limit bounds memory, because a page can have 1 MiB.
const COPIED_AT_ONCE: usize = 32;

impl Vault {
    /// Copies pages to the archive, and compares the copies with the pages. Returns the total length of the
    /// pages, in bytes.
    ///
    /// # Errors
    /// [`Error::ArchiveDiffers`] if a copy is missing or differs from its page; [`Error::Contended`] if another
    /// process archives the same pages; [`Error::Cancelled`]; errors of both storages.
    pub(super) fn copy_pages(
        &self,
        pages: &[PageSummary],
        archive: &dyn Storage,
        counter: &mut Counter<'_>,
    ) -> Result<u64> {
        let mut bytes = 0;
        for pages in pages.chunks(COPIED_AT_ONCE) {
            let keys = pages.iter().map(|page| &page.head.page);
            let keys: Vec<_> = keys.map(storage_keys::journal_page).collect();
            let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let stored = self.core.store.read_each(&keys)?;
            let mut puts = Vec::with_capacity(pages.len());
            for ((page, key), stored) in pages.iter().zip(&keys).zip(stored) {
                // A page that is missing or differs shows that another process archives the same pages.
                let stored = stored.ok_or(Error::Contended)?;
                if crypto::sha256(&[&stored.value]) != page.head.digest {
                    return Err(Error::Contended);
                }
                bytes += stored.value.len() as u64;
                puts.push(Transaction::new().put(*key, stored.value, Expect::Absent));
            }
            put_all(archive, &puts)?;
            let copies = read_each(archive, &keys)?;
            if !pages
                .iter()
                .zip(&copies)
                .all(|(page, copy)| is_copy(page, copy.as_ref()))
            {
                return Err(Error::ArchiveDiffers);
            }
            counter.add(pages.len() as u64)?;
        }
        Ok(bytes)
    }
}

/// Puts the pages that the archive lacks. Ignores unknown outcomes, because the caller compares the copies.
fn put_all(archive: &dyn Storage, puts: &[Transaction]) -> Result<()> {
    for outcome in archive.commit(puts) {
        match outcome {
            Ok(_) | Err(CommitError::Conflict { .. } | CommitError::Unknown) => {}
            Err(CommitError::Io(error)) => return Err(error.into()),
        }
    }
    Ok(())
}

fn is_copy(page: &PageSummary, copy: Option<&Stored>) -> bool {
    copy.is_some_and(|copy| crypto::sha256(&[&copy.value]) == page.head.digest)
}
