//! Archiving of old journal pages: moves whole chains to another storage, the journal archive.
//!
//! `architecture.md` explains the notation of these steps, under "Order of writes".
//!
//! ```text
//! [ put the pages in the archive ] ; compare the copies ; [ put j: summaries of the pages ]* ;
//! [ put j: heads of these summaries ] ; [ delete the pages ]*
//! ```
//! The vault writes the summaries before the deletions, so that every reader finds each page or its summary.
//! If the process ends after any step, the next call compares the copies again, writes no summary twice, and
//! continues the deletions.

mod chains;
mod copy;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::journal::{self, ChainHead, PageSummary, Summaries, Writer};
use crate::storage::Storage;
use crate::vault::Vault;
use crate::vault::progress::{Counter, Phase};
use chains::{ArchivableChain, OldChains};

/// Maximum length of several summaries on one page, in bytes. The limit keeps the page below 1 MiB.
const SUMMARIES_MAX: usize = 768 * 1024;

/// Report of the journal pages that were moved to a journal archive.
///
/// ```
/// # use chartlock::{*, access::Reason, audit::Timestamp};
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// let archive = storage::MemoryStorage::new(); // a FileStorage on another disk
/// let session = vault.session(Actor::new("it.office")?, Purpose::SystemAdministration);
/// let before = Timestamp::from_millis(1_700_000_000_000);
/// let report = session.archive_journal(before, &archive, Reason::new("kept on tape 7")?)?;
/// assert_eq!(report.pages, 0); // this vault is new
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JournalArchiveReport {
    /// Number of chains that were moved.
    pub chains: u64,
    /// Number of journal pages that were moved.
    pub pages: u64,
    /// Total length of these pages, in bytes.
    pub bytes: u64,
    /// Number of old or undated chains that stay in the vault. Such a chain has one of these properties:
    /// - The chain has an entry of an accepted or refused restore.
    /// - A page of the chain is missing or does not open.
    /// - The vault needs the chain to prove other pages, or still writes the chain.
    /// - The chain is undated: its entries can have any time.
    pub chains_kept: u64,
}

/// Chains whose summaries share pages.
#[derive(Default)]
struct Group {
    chains: Vec<ArchivableChain>,
    /// Total length of the summaries, in bytes.
    length: usize,
}

impl Vault {
    /// Moves the chains that ended before a time to `archive`. The caller must have verified the vault.
    ///
    /// # Errors
    /// [`Error::ArchiveDiffers`], [`Error::Contended`], [`Error::Cancelled`], [`Error::CommitUnknown`],
    /// [`Error::ReadOnly`], and errors of both storages. Every page is then still stored, in the
    /// vault or in the archive.
    pub(crate) fn archive_chains(
        &self,
        before: i64,
        archive: &dyn Storage,
    ) -> Result<JournalArchiveReport> {
        self.require_writable()?;
        let mut counter = Counter::new(self.monitor(), Phase::ArchivingJournal);
        self.refuse_own_storage(archive)?;
        let mut chains = OldChains::find(self, before)?;
        let mut report = JournalArchiveReport {
            chains_kept: chains.kept,
            ..JournalArchiveReport::default()
        };
        let mut group = Group::default();
        for writer in std::mem::take(&mut chains.writers) {
            let Some(chain) = chains.read(self, &writer)? else {
                report.chains_kept += 1;
                continue;
            };
            group.add(chain)?;
            if group.length >= SUMMARIES_MAX {
                self.archive_group(
                    &mut chains,
                    std::mem::take(&mut group),
                    archive,
                    &mut counter,
                )?
                .add_to(&mut report);
            }
        }
        self.archive_group(&mut chains, group, archive, &mut counter)?
            .add_to(&mut report);
        Ok(report)
    }

    /// Refuses the vault's own storage, whose pages would be deleted without a copy. Only that storage has the
    /// page that this process wrote last.
    fn refuse_own_storage(&self, archive: &dyn Storage) -> Result<()> {
        let tip = self.core.journal.writer().and_then(Writer::tip);
        let Some(tip) = tip else {
            return Ok(());
        };
        match journal::digest_of(archive, &tip.page)? {
            Some(_) => Err(Error::ArchiveDiffers),
            None => Ok(()),
        }
    }

    fn archive_group(
        &self,
        chains: &mut OldChains,
        group: Group,
        archive: &dyn Storage,
        counter: &mut Counter<'_>,
    ) -> Result<JournalArchiveReport> {
        let mut report = JournalArchiveReport::default();
        if group.chains.is_empty() {
            return Ok(report);
        }
        for chain in &group.chains {
            report.bytes += self.copy_pages(&chain.pages, archive, counter)?;
        }
        self.write_summaries(chains, &group)?;
        for chain in &group.chains {
            let pages = chain.pages.iter().map(|page| &page.head.page);
            let keys = pages.map(storage_keys::journal_page).collect();
            self.core
                .store
                .remove_all(keys, &mut || self.monitor().check())?;
            report.chains += 1;
            report.pages += chain.pages.len() as u64;
        }
        Ok(report)
    }

    /// Writes pages with the summaries that are not stored yet, and a page that pins these pages.
    fn write_summaries(&self, chains: &mut OldChains, group: &Group) -> Result<()> {
        // A page under keys that were closed since the pages were read may be late.
        if chains.are_keys_outdated(self)? {
            return Err(Error::Contended);
        }
        let writer = self.core.journal.writer().ok_or(Error::ReadOnly)?;
        let pages = group.chains.iter().flat_map(|chain| &chain.pages);
        let new: Vec<_> = pages.filter(|page| !chains.has_summary(page)).collect();
        let until = group.chains.iter().map(|chain| chain.until);
        let until = until.fold(chains.until, i64::max);
        chains.until = until;
        let mut heads: Vec<ChainHead> = Vec::new();
        for pages in by_length(&new)? {
            let pages = pages.iter().map(|page| (*page).clone()).collect();
            let summaries = Summaries { until, pages };
            // The ids ascend, so that the newest page has the latest `until`.
            let mut moment = self.core.journal.moment();
            moment.now = moment.now.max(chains.newest.saturating_add(1));
            chains.newest = moment.now;
            heads.push(writer.send_summaries(&summaries, moment)?);
        }
        if !heads.is_empty() {
            writer.send_page(&[], heads, self.core.journal.moment())?;
        }
        Ok(())
    }
}

impl Group {
    fn add(&mut self, chain: ArchivableChain) -> Result<()> {
        for page in &chain.pages {
            self.length += page.length()?;
        }
        self.chains.push(chain);
        Ok(())
    }
}

impl JournalArchiveReport {
    fn add_to(self, sum: &mut Self) {
        sum.chains += self.chains;
        sum.pages += self.pages;
        sum.bytes += self.bytes;
    }
}

/// Returns the summaries in parts that each fit on a page.
fn by_length<'s>(summaries: &'s [&'s PageSummary]) -> Result<Vec<&'s [&'s PageSummary]>> {
    let mut parts = Vec::new();
    let (mut start, mut length) = (0, 0);
    for (index, summary) in summaries.iter().enumerate() {
        let more = summary.length()?;
        if index > start && length + more > SUMMARIES_MAX {
            parts.push(summaries.get(start..index).unwrap_or_default());
            (start, length) = (index, 0);
        }
        length += more;
    }
    parts.push(summaries.get(start..).unwrap_or_default());
    parts.retain(|part| !part.is_empty());
    Ok(parts)
}
