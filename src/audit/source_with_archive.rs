//! Journal source that also reads archived pages from another storage.

use std::fmt;
use std::sync::Arc;

use crate::audit::exposure::Exposed;
use crate::audit::journal_source::{JournalSource, KnownRecords, KnownSubject, SourceKeys};
use crate::audit::time::Timestamp;
use crate::crypto::{JournalKey, VaultId};
use crate::error::{Result, StorageError};
use crate::format::storage_keys::JOURNAL_PAGES;
use crate::id::Subject;
use crate::storage::{
    CommitError, Committed, Scan, ScanItem, ScanPage, Storage, Stored, Transaction,
};

/// A journal source, and a journal archive of its pages.
pub(super) struct SourceWithArchive {
    source: Arc<dyn JournalSource>,
    storage: JoinedStorage,
}

impl SourceWithArchive {
    pub(super) fn new(source: Arc<dyn JournalSource>, archive: Arc<dyn Storage>) -> Self {
        Self {
            storage: JoinedStorage {
                source: Arc::clone(&source),
                archive,
            },
            source,
        }
    }
}

impl JournalSource for SourceWithArchive {
    fn storage(&self) -> &dyn Storage {
        &self.storage
    }

    fn vault(&self) -> VaultId {
        self.source.vault()
    }

    fn page_keys(&self) -> SourceKeys<'_> {
        self.source.page_keys()
    }

    fn renew_keys(&self) -> Result<()> {
        self.source.renew_keys()
    }

    fn tag_key(&self) -> &JournalKey {
        self.source.tag_key()
    }

    fn check(&self) -> Result<()> {
        self.source.check()
    }

    fn now(&self) -> i64 {
        self.source.now()
    }

    fn note(&self, target: Option<&Subject>, question: &str) -> Result<()> {
        self.source.note(target, question)
    }

    fn record_names(&self, subject: &Subject) -> Result<KnownRecords> {
        self.source.record_names(subject)
    }

    fn subjects(&self) -> Result<Option<Vec<KnownSubject>>> {
        self.source.subjects()
    }

    fn lifetime(&self, exposed: &Exposed) -> Result<Option<Timestamp>> {
        self.source.lifetime(exposed)
    }

    fn has_archive(&self) -> bool {
        true
    }
}

/// The objects of the vault's storage and of the archive. If both have an object, reads return that of the vault.
///
/// Each call reads the vault's storage first, because the vault puts a page into the archive before it deletes
/// the page.
struct JoinedStorage {
    source: Arc<dyn JournalSource>,
    archive: Arc<dyn Storage>,
}

impl fmt::Debug for JoinedStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinedStorage(..)")
    }
}

impl Storage for JoinedStorage {
    fn read(&self, keys: &[&[u8]]) -> std::result::Result<Vec<Option<Stored>>, StorageError> {
        let mut found = self.source.storage().read(keys)?;
        let lacking = found.iter_mut().zip(keys);
        let lacking = lacking.filter(|(stored, key)| stored.is_none() && is_of_journal(key));
        let (lacking, keys): (Vec<_>, Vec<&[u8]>) = lacking.unzip();
        if !keys.is_empty() {
            for (stored, archived) in lacking.into_iter().zip(self.archive.read(&keys)?) {
                *stored = archived;
            }
        }
        Ok(found)
    }

    fn scan(&self, scan: Scan<'_>) -> std::result::Result<ScanPage, StorageError> {
        let stored = self.source.storage().scan(scan)?;
        if !is_of_journal(scan.prefix) {
            return Ok(stored);
        }
        let archived = self.archive.scan(scan)?;
        Ok(merged(stored, archived, scan.limit))
    }

    fn commit(
        &self,
        transactions: &[Transaction],
    ) -> Vec<std::result::Result<Committed, CommitError>> {
        let refused = || Err(CommitError::Io(StorageError::ReadOnly));
        transactions.iter().map(|_| refused()).collect()
    }

    fn is_transactional(&self) -> bool {
        false
    }

    fn last(&self, prefixes: &[&[u8]]) -> std::result::Result<Vec<Option<Vec<u8>>>, StorageError> {
        let stored = self.source.storage().last(prefixes)?;
        let archived = self.archive.last(prefixes)?;
        let both = stored.into_iter().zip(archived).zip(prefixes);
        let last = both.map(|((stored, archived), prefix)| {
            stored.max(archived.filter(|_| is_of_journal(prefix)))
        });
        Ok(last.collect())
    }
}

/// Returns `true` for a key or a prefix of journal pages. The vault alone has all other objects.
fn is_of_journal(key: &[u8]) -> bool {
    key.starts_with(JOURNAL_PAGES)
}

/// Merges two pages of the same scan, up to the end of the page that ends first.
fn merged(stored: ScanPage, archived: ScanPage, limit: usize) -> ScanPage {
    let ends = [&stored, &archived].into_iter();
    let end = ends
        .filter(|page| page.more)
        .map(|page| page.end().map(<[u8]>::to_vec));
    // A page without a key but with more to follow leaves the merged page empty.
    let end = end.min();
    let is_within = |key: &[u8]| match &end {
        Some(end) => end.as_deref().is_some_and(|end| key <= end),
        None => true,
    };
    let more = stored.more || archived.more;
    let mut items: Vec<ScanItem> = stored.items;
    items.extend(archived.items);
    items.retain(|item| is_within(&item.key));
    // The sort is stable, so that the vault's object is the first of two.
    items.sort_by(|one, other| one.key.cmp(&other.key));
    items.dedup_by(|other, one| other.key == one.key);
    let is_cut = items.len() > limit;
    items.truncate(limit);
    let last = items.last().map(|item| item.key.clone());
    let mut unreadable = stored.unreadable;
    unreadable.extend(archived.unreadable);
    unreadable.retain(|range| {
        is_within(&range.first)
            && (!is_cut || last.as_ref().is_some_and(|last| range.first <= *last))
    });
    unreadable.sort_by(|one, other| one.first.cmp(&other.first));
    ScanPage {
        items,
        more: more || is_cut,
        unreadable,
    }
}
