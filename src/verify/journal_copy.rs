//! Copy of journal pages from the storage that a restore replaced.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::crypto;
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::journal::{Act, ChainHead, ClosedPages, PageError, PageHead, PageKeys, WriterId};
use crate::storage::{CommitError, Expect, Projection, ScanItem, Storage, Transaction};
use crate::vault::closing::HomeHead;
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
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
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

/// Copy of the pages of a later storage, with the keys that open them.
struct PageCopy<'a> {
    /// The stored header, or the header that joins it with the later one.
    header: &'a OpenHeader,
    /// The pages under closed keys that the later header believes.
    closed: Option<&'a ClosedPages>,
    /// Numbers of the journal keys that were active or closing when the copy began.
    unclosed: Vec<u32>,
    /// The last copied page of each chain under these keys.
    heads: BTreeMap<WriterId, HomeHead>,
    report: JournalCopyReport,
}

impl Vault {
    /// Copies journal pages of the later storage that this storage lacks. Never overwrites a page.
    pub(crate) fn put_pages_back(
        &self,
        act: &Act,
        later: &dyn Storage,
        header: Option<&LaterHeader>,
    ) -> Result<JournalCopyReport> {
        self.require_writable()?;
        let (stored, mut closed) = (self.reload_header()?, None);
        let mut joined = None;
        if let Some(header) = header {
            joined = JoinedHeader::new(&stored, header.header(), header.keyring())?;
            closed = Some(header.read_closed_pages(later)?);
        }
        let joined = joined.map(|joined| joined.open);
        let active = stored.keyring.active_journal_key().number;
        let mut copy = PageCopy {
            header: joined.as_deref().unwrap_or(&stored),
            closed: closed.as_ref(),
            unclosed: [Some(active), stored.keyring.closing_journal_key()]
                .into_iter()
                .flatten()
                .collect(),
            heads: BTreeMap::new(),
            report: JournalCopyReport::default(),
        };
        let pages = storage_keys::JOURNAL_PAGES;
        let copied = scan::each_page(later, pages, Projection::Values, &mut |items| {
            let mut items = items.chunks(PAGES_AT_ONCE);
            items.try_for_each(|items| self.put_back(items, &mut copy))
        });
        // A rotation beside this copy may have closed keys without these pages.
        let heads: Vec<_> = copy.heads.into_values().collect();
        let covered = self.cover(act, &heads);
        copied.and(covered)?;
        Ok(copy.report)
    }

    fn put_back(&self, items: &[ScanItem], copy: &mut PageCopy<'_>) -> Result<()> {
        let object_keys: Vec<_> = items.iter().map(|item| &item.key[..]).collect();
        let stored_pages = self.core.store.read_each(&object_keys)?;
        let mut puts = Vec::new();
        for (item, stored) in items.iter().zip(stored_pages) {
            match stored {
                Some(stored) if stored.value == item.value => {}
                None if copy.is_page(item) => puts.push(item),
                _ => copy.report.pages_passed_over += 1,
            }
        }
        let transactions: Vec<_> = (puts.iter())
            .map(|item| Transaction::new().put(&item.key[..], &item.value[..], Expect::Absent))
            .collect();
        let outcomes = self.core.store.storage.commit(&transactions);
        for (item, outcome) in puts.into_iter().zip(outcomes) {
            match outcome {
                Ok(_) => copy.add(item)?,
                Err(CommitError::Io(error)) => return Err(error.into()),
                Err(CommitError::Conflict { .. }) => copy.report.pages_passed_over += 1,
                Err(_) => return Err(Error::CommitUnknown),
            }
        }
        Ok(())
    }
}

impl PageCopy<'_> {
    /// Adds a page that was copied.
    fn add(&mut self, item: &ScanItem) -> Result<()> {
        self.report.pages_put_back += 1;
        let number = PageHead::parse(&item.value)?.number;
        let Some(page) = storage_keys::journal_page_of(&item.key) else {
            return Ok(());
        };
        // All other pages are believed only if a closing names them already.
        let is_proven = |closed: &ClosedPages| closed.prove(&page, &item.value);
        if self.unclosed.contains(&number) && self.closed.is_none_or(is_proven) {
            let digest = crypto::sha256(&[&item.value]);
            let head = ChainHead { page, digest };
            self.heads.insert(page.writer, HomeHead { head, number });
        }
        Ok(())
    }

    /// Returns `true` if an object is a page that opens. A page that was late in the later storage is not
    /// copied, because a person who kept former keys could have planted it. A page that was unproven there is
    /// copied, because it stays unproven.
    fn is_page(&self, item: &ScanItem) -> bool {
        let id = storage_keys::journal_page_of(&item.key);
        id.is_some_and(|id| {
            let open = |keys: &PageKeys<'_>| keys.open(&item.value, &id);
            let opened = self.header.with_page_keys(self.closed, open);
            matches!(opened, Ok(_) | Err(PageError::Unproven))
        })
    }
}
