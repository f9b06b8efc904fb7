//! Archiving of old journal pages: moves whole chains to another storage.
//!
//! `architecture.md` explains the notation of these steps, under "Order of writes".
//!
//! ```text
//! [ put the pages in the archive ] ; compare the copies ; [ put j: summaries of the pages ]* ;
//! [ put j: heads of these summaries ] ; [ delete the pages ]*
//! ```
//! The summaries come before the deletions, so that every reader finds each page or its summary. If the
//! process ends after any step, the next call compares the copies again, writes no summary twice, and goes
//! on with the deletions.

mod chains;
mod copy;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::journal::{ChainHead, PageSummary, Summaries};
use crate::storage::Storage;
use crate::vault::Vault;
use crate::vault::progress::{Counter, Phase};
use chains::{ArchivableChain, OldChains};

/// Maximum length of the summaries on one page, in bytes. The limit keeps a page below 1 MiB.
const SUMMARIES_MAX: usize = 768 * 1024;

/// Report of journal pages that were moved to an archive.
///
/// ```
/// # use chartlock::{*, access::Reason, audit::Timestamp};
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
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
    /// Number of older chains that stay: chains in which a restore was accepted, chains with a page that
    /// is missing or does not open, chains that the vault needs to prove other pages, and chains without
    /// a date.
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
    /// Moves the chains that ended before a time to `archive`. The caller has verified the vault.
    ///
    /// # Errors
    /// [`Error::ArchiveDiffers`] and errors of both storages. Every page is then still stored, in the
    /// vault or in the archive.
    pub(crate) fn archive_chains(
        &self,
        before: i64,
        archive: &dyn Storage,
    ) -> Result<JournalArchiveReport> {
        self.require_writable()?;
        let mut counter = Counter::new(self.monitor(), Phase::ArchivingJournal);
        let chains = OldChains::find(self, before)?;
        let mut report = JournalArchiveReport {
            chains_kept: chains.kept,
            ..JournalArchiveReport::default()
        };
        let mut group = Group::default();
        for writer in &chains.writers {
            let Some(chain) = chains.read(self, writer)? else {
                report.chains_kept += 1;
                continue;
            };
            group.add(chain)?;
            if group.length >= SUMMARIES_MAX {
                self.archive_group(&chains, std::mem::take(&mut group), archive, &mut counter)?
                    .add_to(&mut report);
            }
        }
        self.archive_group(&chains, group, archive, &mut counter)?
            .add_to(&mut report);
        Ok(report)
    }

    fn archive_group(
        &self,
        chains: &OldChains,
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

    /// Writes the summaries that no page contains yet, and a page that has seen these pages.
    fn write_summaries(&self, chains: &OldChains, group: &Group) -> Result<()> {
        let writer = self.core.journal.writer().ok_or(Error::ReadOnly)?;
        let pages = group.chains.iter().flat_map(|chain| &chain.pages);
        let new: Vec<_> = pages.filter(|page| !chains.has_summary(page)).collect();
        let until = group.chains.iter().map(|chain| chain.until);
        let until = until.fold(chains.until, i64::max);
        let mut heads: Vec<ChainHead> = Vec::new();
        for pages in by_length(&new)? {
            let pages = pages.iter().map(|page| (*page).clone()).collect();
            let summaries = Summaries { until, pages };
            let moment = self.core.journal.moment();
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
