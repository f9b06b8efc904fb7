//! Acceptance of a restore: copies lost journal pages back, repeats erasures and expunges, and
//! journals the remaining differences as accepted.
//!
//! `architecture.md` explains the notation of these steps, under "Order of writes".
//!
//! ```text
//! [ put j Absent ]* from the later storage ; erase again ; expunge again ;
//! verify ; [ put j: heads of all chains, actor, reason ] ; [ put j: differing objects as stored ]*
//! ```

use std::collections::BTreeSet;

use serde::Serialize;

use crate::crypto::ChartId;
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::id::Subject;
use crate::journal::checkpoint::CHAINS_MAX;
use crate::journal::{self, AccessOutcome, Act, EntryDraft, Operation, Target};
use crate::keys::entry::EntryState;
use crate::storage::{CommitError, Expect, Projection, Storage, Transaction};
use crate::vault::{ROUNDS, Vault, scan};
use crate::verify::journal_scan::acceptance;
use crate::verify::report::VerifyReport;

/// Maximum number of baseline entries per journal page, which keeps a page below its 1 MiB limit.
const ENTRIES_PER_PAGE: usize = 2048;
/// Maximum number of journal pages that are copied in one commit. The limit bounds the size of the
/// commit, because a page can have 1 MiB.
const PAGES_AT_ONCE: usize = 64;

/// Report of an accepted restore: the journal pages copied back, the repeated erasures and
/// expunges, and the accepted differences.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// let session = vault.session(Actor::new("it.office")?, Purpose::SystemAdministration);
/// let report = session.accept_restore("disk failure on ward 3", None)?;
/// assert!(report.differed.is_clean()); // nothing was rolled back
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RestoreReport {
    /// Number of journal pages that were copied back from the later storage.
    pub pages_put_back: u64,
    /// Number of pages of the later storage that were not copied. Such a page does not open with
    /// this vault's keys, or a different page is already stored at its storage key.
    pub pages_passed_over: u64,
    /// Number of subjects that were erased again.
    pub erased_again: u64,
    /// Number of subjects that could not be erased again, because the restore brought back a legal
    /// hold or a retention date. Lift the hold or wait for the date, then erase these subjects.
    pub not_erased_again: u64,
    /// Number of records that were expunged again.
    pub expunged_again: u64,
    /// Number of records that could not be expunged again. Either these records do not open, or the
    /// restore brought back a legal hold or a retention date. Remove the obstacle, then expunge
    /// these records.
    pub not_expunged_again: u64,
    /// Differences between the storage and the journal. Differing objects that open are accepted,
    /// and later verifications report no finding on them.
    pub differed: VerifyReport,
}

impl Vault {
    pub(crate) fn accept_restore(
        &self,
        act: &Act,
        later: Option<&dyn Storage>,
    ) -> Result<RestoreReport> {
        self.require_writable()?;
        let mut report = RestoreReport::default();
        if let Some(later) = later {
            self.put_pages_back(later, &mut report)?;
        }
        self.erase_again(act, &mut report)?;
        self.expunge_again(act, &mut report)?;
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            if let Some(differed) = self.journal_acceptance(act)? {
                report.differed = differed;
                return Ok(report);
            }
        }
        Err(Error::Contended)
    }

    /// Copies journal pages of the later storage that this storage lacks. Never overwrites a page.
    fn put_pages_back(&self, later: &dyn Storage, report: &mut RestoreReport) -> Result<()> {
        let header = self.header()?;
        scan::each_page(
            later,
            storage_keys::JOURNAL_PAGES,
            Projection::Values,
            &mut |entries| {
                for entries in entries.chunks(PAGES_AT_ONCE) {
                    let object_keys: Vec<_> = entries.iter().map(|entry| &entry.key[..]).collect();
                    let stored_pages = self.core.store.read_each(&object_keys)?;
                    let mut puts = Vec::new();
                    for (entry, stored) in entries.iter().zip(stored_pages) {
                        let id = storage_keys::journal_page_of(&entry.key);
                        let opens = id.is_some_and(|id| {
                            header.with_page_keys(|keys| keys.open(&entry.value, &id).is_ok())
                        });
                        match stored {
                            Some(stored) if stored.value == entry.value => {}
                            None if opens => puts.push(Transaction::new().put(
                                &entry.key[..],
                                &entry.value[..],
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
                }
                Ok(())
            },
        )
    }

    /// Erases again every subject that is live or being erased although the journal records the
    /// erasure of its chart.
    fn erase_again(&self, act: &Act, report: &mut RestoreReport) -> Result<()> {
        let erased = self.verification().erased_charts()?;
        for subject in self.subjects_with(&erased)? {
            let erase = act.to(Operation::Erase);
            match self.erase(&erase, &subject) {
                Ok(_) => report.erased_again += 1,
                Err(Error::OnHold | Error::Retained) => report.not_erased_again += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Expunges again every record that is stored although the journal records its expunge.
    fn expunge_again(&self, act: &Act, report: &mut RestoreReport) -> Result<()> {
        let mut verification = self.verification();
        while verification.step()? {}
        for finding in verification.undone_expunges() {
            let Some(id) = finding.id() else {
                report.not_expunged_again += 1;
                continue;
            };
            let expunge = act.to(Operation::Expunge);
            match self.expunge(&expunge, &id) {
                Ok(_) => report.expunged_again += 1,
                Err(Error::OnHold | Error::Retained) => report.not_expunged_again += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns the subjects whose patient entries contain one of these charts as live or being
    /// erased.
    fn subjects_with(&self, charts: &BTreeSet<ChartId>) -> Result<Vec<Subject>> {
        let mut subjects = Vec::new();
        self.each_entry(&mut |entry| {
            let cached = match self.open_listed(entry) {
                Ok(Some(cached)) => cached,
                Ok(None) => return Ok(()),
                Err(error @ (Error::Storage(_) | Error::Locked)) => return Err(error),
                Err(_) => return Ok(()),
            };
            let is_restored = match cached.entry.state() {
                EntryState::Live(chart) => charts.contains(chart.id()),
                EntryState::Erasing { chart } => charts.contains(chart),
                EntryState::Erased | EntryState::Alias(_) => false,
            };
            if is_restored {
                subjects.push(cached.entry.subject().clone());
            }
            Ok(())
        })?;
        Ok(subjects)
    }

    /// Journals the acceptance of a restore, and the stored state of each object that differs.
    /// Returns `None` if the writer concurrently began a new chain; the caller then tries again.
    fn journal_acceptance(&self, act: &Act) -> Result<Option<VerifyReport>> {
        let header = self.header()?;
        let mut verification = self.verification();
        while verification.step()? {}
        let moment = self.core.journal.moment();
        let writer = self.core.journal.writer().ok_or(Error::ReadOnly)?;
        self.core.journal.flush()?;
        let storage = &*self.core.store.storage;
        let mut seen = header.with_page_keys(|keys| journal::open_heads(storage, keys))?;
        let surplus = seen.len().saturating_sub(CHAINS_MAX);
        drop(seen.drain(..surplus));
        let accepted = act.draft(moment.now, Target::Vault, AccessOutcome::Done);
        let mut entry_act = act.clone();
        entry_act.reason = "".into();
        entry_act.consent = "".into();
        let faults = verification.report().journal.iter().map(|finding| {
            entry_act.draft(moment.now, acceptance(finding), AccessOutcome::NotAuthentic)
        });
        let entries: Vec<EntryDraft> = std::iter::once(accepted).chain(faults).collect();
        let first_page = writer.send_page(&entries, seen, moment)?;
        // Read the baseline only after this page is written, because the page marks the acceptance
        // in the journal. Writers journal all later changes themselves.
        let targets = verification.baseline(&header)?;
        for targets in targets.chunks(ENTRIES_PER_PAGE) {
            let drafts: Vec<_> = targets
                .iter()
                .map(|target| entry_act.draft(moment.now, *target, AccessOutcome::Done))
                .collect();
            let page = writer.send_page(&drafts, Vec::new(), moment)?;
            if page.page.writer != first_page.page.writer {
                return Ok(None);
            }
        }
        Ok(Some(verification.report().clone()))
    }
}
