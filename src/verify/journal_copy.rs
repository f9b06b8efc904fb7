//! Copy of journal pages from the storage that a restore replaced.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::journal::{ClosedPages, PageError};
use crate::storage::{CommitError, Expect, Projection, ScanItem, Storage, Transaction};
use crate::vault::header::OpenHeader;
use crate::vault::joined_header::JoinedHeader;
use crate::vault::{Vault, scan};
use crate::verify::later_header::LaterHeader;

/// Maximum number of journal pages that are copied in one commit. The limit bounds the size of the
/// commit, because a page can have 1 MiB.
const PAGES_AT_ONCE: usize = 64;

/// Report of journal pages that were copied back into the vault.
///
/// ```
/// # use chartlock::{*, access::Reason};
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// # let later = storage::MemoryStorage::new();
/// let session = vault.session(Actor::new("it.office")?, Purpose::SystemAdministration);
/// let report = session.bring_journal_back(&later, None, Reason::new("disk failure on ward 3")?)?;
/// assert_eq!(report.pages_put_back, 0); // the other storage has no page
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JournalCopyReport {
    /// Number of journal pages that were copied back from the later storage.
    pub pages_put_back: u64,
    /// Number of pages of the later storage that were not copied. Such a page does not open with
    /// this vault's keys, or a different page is already stored at its storage key.
    pub pages_passed_over: u64,
}

impl Vault {
    /// Copies journal pages of the later storage that this storage lacks. Never overwrites a page.
    pub(crate) fn put_pages_back(
        &self,
        later: &dyn Storage,
        header: Option<&LaterHeader>,
    ) -> Result<JournalCopyReport> {
        self.require_writable()?;
        let mut report = JournalCopyReport::default();
        let (mut stored, mut closed) = (self.header()?, None);
        if let Some(header) = header {
            stored = self.reload_header()?;
            let joined = JoinedHeader::new(&stored, header.header(), header.keyring())?;
            stored = joined.map_or(stored, |joined| joined.open);
            closed = Some(header.read_closed_pages(later)?);
        }
        let keys = (&*stored, closed.as_ref());
        let pages = storage_keys::JOURNAL_PAGES;
        scan::each_page(later, pages, Projection::Values, &mut |items| {
            let mut items = items.chunks(PAGES_AT_ONCE);
            items.try_for_each(|items| self.put_back(items, keys, &mut report))
        })?;
        Ok(report)
    }

    fn put_back(
        &self,
        items: &[ScanItem],
        keys: (&OpenHeader, Option<&ClosedPages>),
        report: &mut JournalCopyReport,
    ) -> Result<()> {
        let object_keys: Vec<_> = items.iter().map(|item| &item.key[..]).collect();
        let stored_pages = self.core.store.read_each(&object_keys)?;
        let mut puts = Vec::new();
        for (item, stored) in items.iter().zip(stored_pages) {
            match stored {
                Some(stored) if stored.value == item.value => {}
                None if is_page(item, keys) => puts.push(Transaction::new().put(
                    &item.key[..],
                    &item.value[..],
                    Expect::Absent,
                )),
                _ => report.pages_passed_over += 1,
            }
        }
        for outcome in self.core.store.storage.commit(&puts) {
            match outcome {
                Ok(_) => report.pages_put_back += 1,
                Err(CommitError::Io(error)) => return Err(error.into()),
                Err(CommitError::Conflict { .. }) => report.pages_passed_over += 1,
                Err(_) => return Err(Error::CommitUnknown),
            }
        }
        Ok(())
    }
}

/// Returns `true` if an object is a page that opens. A page that was late in the later storage is not
/// copied, because a person who kept former keys could have planted it. A page that was unproven there is
/// copied, because it stays unproven.
fn is_page(item: &ScanItem, (header, closed): (&OpenHeader, Option<&ClosedPages>)) -> bool {
    let id = storage_keys::journal_page_of(&item.key);
    id.is_some_and(|id| {
        let opened = header.with_page_keys(closed, |keys| keys.open(&item.value, &id));
        matches!(opened, Ok(_) | Err(PageError::Unproven))
    })
}
