//! Accepts a restore: puts lost journal pages back, repeats erasures and expunges, and journals the
//! remaining differences as accepted.
//!
//! ```text
//! [ put j Absent ]* from the later storage ; erase again ; expunge again ;
//! verify ; a page that sees all chains: restored, by whom, because of what ; what differs, as it stands
//! ```

use std::collections::BTreeSet;

use serde::Serialize;

use crate::crypto::{ChartId, JournalKey};
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::id::Subject;
use crate::journal::checkpoint::CHAINS_MAX;
use crate::journal::{self, AccessOutcome, Act, EntryDraft, Operation, PageKeys, Target};
use crate::keys::entry::EntryState;
use crate::storage::{CommitError, Expect, Projection, Storage, Transaction};
use crate::vault::{ROUNDS, Vault, scan};
use crate::verify::journal_scan::describe;
use crate::verify::report::VerifyReport;

/// Entries told on one page.
const ENTRIES_PER_PAGE: usize = 2048;
/// Pages of the journal put at a time.
const PAGES_AT_ONCE: usize = 64;

/// What accepting a restore did.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// let operator = vault.session(Actor::new("it.office")?, Purpose::SystemAdministration);
/// let report = operator.accept_restore("disk failure on ward 3", None)?;
/// assert!(report.differed.is_clean()); // nothing had been put back
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RestoreReport {
    /// Pages of the journal that were put back from the later storage.
    pub pages_put_back: u64,
    /// Pages of the later storage that do not open here, or in whose place another one stands.
    pub pages_passed_over: u64,
    /// Subjects erased again.
    pub erased_again: u64,
    /// Subjects that were to be erased again and could not be: a hold or a retention of before is
    /// back. Erase them yourself.
    pub not_erased_again: u64,
    /// Records expunged again.
    pub expunged_again: u64,
    /// Records that were to be expunged again and could not be: they do not open, or a hold or a
    /// retention of before is back. Expunge them yourself.
    pub not_expunged_again: u64,
    /// What differed from what the journal tells, and counts as meant from now on, as far as it opens.
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

    /// Copies the pages that are not here. None is ever replaced.
    fn put_pages_back(&self, later: &dyn Storage, report: &mut RestoreReport) -> Result<()> {
        let header = self.header()?;
        let key = |number| -> Option<&JournalKey> {
            header.keyring.journal_key(number).map(|key| &key.key)
        };
        let keys = PageKeys {
            vault: *header.header.vault(),
            key: &key,
        };
        scan::each_page(
            later,
            storage_keys::JOURNAL_PAGES,
            Projection::Values,
            &mut |entries| {
                for entries in entries.chunks(PAGES_AT_ONCE) {
                    let names: Vec<_> = entries.iter().map(|entry| &entry.key[..]).collect();
                    let here = self.core.store.storage.read(&names)?;
                    let mut puts = Vec::new();
                    for (entry, here) in entries.iter().zip(here) {
                        let id = storage_keys::journal_page_of(&entry.key);
                        let opens = id.is_some_and(|id| keys.open(&entry.value, &id).is_ok());
                        match here {
                            Some(here) if here.value == entry.value => {}
                            None if opens => puts.push(Transaction::new().put(
                                &entry.key[..],
                                &entry.value[..],
                                Expect::Absent,
                            )),
                            _ => report.pages_passed_over += 1,
                        }
                    }
                    for answer in self.core.store.storage.commit(&puts) {
                        match answer {
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

    /// Erases every subject whose chart was erased before, by what the journal tells.
    fn erase_again(&self, act: &Act, report: &mut RestoreReport) -> Result<()> {
        let erased = self.verification().erased_charts()?;
        for subject in self.subjects_with(&erased)? {
            let erase = act.to(Operation::Erase);
            match self.erase(&erase, &subject, &act.note) {
                Ok(_) => report.erased_again += 1,
                Err(Error::OnHold | Error::Retained) => report.not_erased_again += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Expunges every record that was expunged before, by what the journal tells.
    fn expunge_again(&self, act: &Act, report: &mut RestoreReport) -> Result<()> {
        let mut verification = self.verification();
        while verification.step()? {}
        for finding in verification.undone_expunges() {
            let Some(id) = finding.id() else {
                report.not_expunged_again += 1;
                continue;
            };
            let expunge = act.to(Operation::Expunge);
            match self.expunge(&expunge, &id, &act.note) {
                Ok(_) => report.expunged_again += 1,
                Err(Error::OnHold | Error::Retained) => report.not_expunged_again += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The subjects to whom one of these charts belongs, though it was erased.
    fn subjects_with(&self, charts: &BTreeSet<ChartId>) -> Result<Vec<Subject>> {
        let mut subjects = Vec::new();
        self.each_entry(&mut |entry| {
            let cached = match self.open_listed(entry) {
                Ok(Some(cached)) => cached,
                Ok(None) => return Ok(()),
                Err(error @ (Error::Storage(_) | Error::Locked)) => return Err(error),
                Err(_) => return Ok(()),
            };
            let back = match cached.entry.state() {
                EntryState::Live(chart) => charts.contains(chart.id()),
                EntryState::Erasing { chart } => charts.contains(chart),
                EntryState::Erased | EntryState::Alias(_) => false,
            };
            if back {
                subjects.push(cached.entry.subject().clone());
            }
            Ok(())
        })?;
        Ok(subjects)
    }

    /// Tells that a restore was accepted, and what stands where something differs. `None` if the
    /// chain that was to tell it broke off: then it is told again.
    fn journal_acceptance(&self, act: &Act) -> Result<Option<VerifyReport>> {
        let header = self.header()?;
        let mut verification = self.verification();
        while verification.step()? {}
        let moment = self.core.journal.moment();
        let writer = self.core.journal.writer().ok_or(Error::ReadOnly)?;
        self.core.journal.flush()?;
        let seen = journal::recent(&*self.core.store.storage, moment.now, CHAINS_MAX)?;
        let accepted = act.draft(moment.now, Target::Vault, AccessOutcome::Done);
        let faults = verification.report().journal.iter().map(|finding| {
            let mut fault = act.clone();
            fault.note = describe(finding);
            fault.draft(moment.now, Target::Vault, AccessOutcome::NotAuthentic)
        });
        let told: Vec<EntryDraft> = std::iter::once(accepted).chain(faults).collect();
        let begun = writer.send_apart(&told, seen, moment)?;
        // Looked at after that page: what others write meanwhile is told by them, later.
        let targets = verification.baseline(&header)?;
        let mut told = act.clone();
        told.note = "".into();
        for targets in targets.chunks(ENTRIES_PER_PAGE) {
            let drafts: Vec<_> = targets
                .iter()
                .map(|target| told.draft(moment.now, *target, AccessOutcome::Done))
                .collect();
            let page = writer.send_apart(&drafts, Vec::new(), moment)?;
            if page.page.writer != begun.page.writer {
                return Ok(None);
            }
        }
        Ok(Some(verification.report().clone()))
    }
}
