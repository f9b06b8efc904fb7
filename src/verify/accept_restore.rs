//! Acceptance of a planned restore: repeats erasures and expunges, and journals the remaining
//! differences as accepted.
//!
//! `architecture.md` explains the notation of these steps, under "Order of writes".
//!
//! ```text
//! plan again ; erase again ; expunge again ;
//! verify ; [ put j: heads of all chains, actor, reason, what was left out ] ; [ put j: differing objects as stored ]*
//! ```

use std::collections::BTreeSet;

use serde::Serialize;

use crate::crypto::{self, ChartId};
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::id::Subject;
use crate::journal::checkpoint::CHAINS_MAX;
use crate::journal::{
    self, AccessOutcome, Act, EntryDraft, Operation, RecordRef, SubjectRef, Target,
};
use crate::keys::entry::EntryState;
use crate::storage::{CommitError, Expect, Projection, Storage, Transaction};
use crate::vault::header::OpenHeader;
use crate::vault::{ROUNDS, Vault, scan};
use crate::verify::open_entry::tag_of;
use crate::verify::page_findings::acceptance;
use crate::verify::report::VerifyReport;
use crate::verify::restore_plan::{RestoreItem, RestoreItemKind, RestorePlan};

/// Maximum number of entries per journal page of an acceptance, which keeps a page below its 1 MiB limit.
const ENTRIES_PER_PAGE: usize = 2048;
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
/// let report = session.bring_journal_back(&later, Reason::new("disk failure on ward 3")?)?;
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

/// Report of an accepted restore: the repeated erasures and expunges, and the accepted differences.
///
/// ```
/// # use chartlock::{*, access::Reason};
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// let session = vault.session(Actor::new("it.office")?, Purpose::SystemAdministration);
/// let plan = session.plan_restore(None)?;
/// let report = session.accept_restore(&plan, Reason::new("disk failure on ward 3")?)?;
/// assert!(report.differed.is_clean()); // nothing was rolled back
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RestoreReport {
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
    /// Number of erasures and expunges that the plan left out, contested ones included.
    pub left_out: u64,
    /// Differences between the storage and the journal. Differing objects that open are accepted,
    /// and later verifications report no finding on them.
    pub differed: VerifyReport,
}

impl Vault {
    /// Accepts a planned restore.
    ///
    /// # Errors
    /// [`Error::PlanOutdated`] if the findings or items are no longer those of the plan.
    pub(crate) fn accept_restore(&self, act: &Act, plan: &RestorePlan) -> Result<RestoreReport> {
        self.require_writable()?;
        if !self.plan_restore(plan.checkpoint.as_ref())?.is_same(plan) {
            return Err(Error::PlanOutdated);
        }
        let mut report = RestoreReport::default();
        let (repeated, left_out): (Vec<_>, Vec<_>) =
            plan.items.iter().partition(|item| plan.repeats(item));
        for item in repeated {
            self.repeat(act, item, &mut report)?;
        }
        report.left_out = left_out.len() as u64;
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            if let Some(differed) = self.journal_acceptance(act, plan, &left_out)? {
                report.differed = differed;
                return Ok(report);
            }
        }
        Err(Error::Contended)
    }

    /// Copies journal pages of the later storage that this storage lacks. Never overwrites a page.
    pub(crate) fn put_pages_back(&self, later: &dyn Storage) -> Result<JournalCopyReport> {
        self.require_writable()?;
        let mut report = JournalCopyReport::default();
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
                            header.with_page_keys(None, |keys| keys.open(&entry.value, &id).is_ok())
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
        )?;
        Ok(report)
    }

    /// Repeats an erasure or expunge.
    fn repeat(&self, act: &Act, item: &RestoreItem, report: &mut RestoreReport) -> Result<()> {
        let (done, not_done, result) = match item.kind {
            RestoreItemKind::Erase => {
                let act = act.to(Operation::Erase);
                let subject = item.subject.as_ref();
                let erased = subject
                    .map(|subject| self.erase_chart(&act, subject, Some(item.chart)).map(drop));
                (
                    &mut report.erased_again,
                    &mut report.not_erased_again,
                    erased,
                )
            }
            RestoreItemKind::Expunge => {
                let act = act.to(Operation::Expunge);
                let expunged = item.id().map(|id| self.expunge(&act, &id).map(drop));
                (
                    &mut report.expunged_again,
                    &mut report.not_expunged_again,
                    expunged,
                )
            }
        };
        match result {
            Some(Ok(())) => *done += 1,
            None | Some(Err(Error::OnHold | Error::Retained)) => *not_done += 1,
            Some(Err(error)) => return Err(error),
        }
        Ok(())
    }

    /// Returns the subjects whose patient entries contain one of these charts as live or being
    /// erased, each with its chart.
    pub(super) fn subjects_with(
        &self,
        charts: &BTreeSet<ChartId>,
    ) -> Result<Vec<(Subject, ChartId)>> {
        let mut subjects = Vec::new();
        self.each_entry(&mut |entry| {
            let cached = match self.open_listed(entry) {
                Ok(Some(cached)) => cached,
                Ok(None) => return Ok(()),
                Err(error @ (Error::Storage(_) | Error::Locked)) => return Err(error),
                Err(_) => return Ok(()),
            };
            let chart = match cached.entry.state() {
                EntryState::Live(chart) => Some(*chart.id()),
                EntryState::Erasing { chart } => Some(*chart),
                EntryState::Erased | EntryState::Alias(_) => None,
            };
            if let Some(chart) = chart.filter(|chart| charts.contains(chart)) {
                subjects.push((cached.entry.subject().clone(), chart));
            }
            Ok(())
        })?;
        Ok(subjects)
    }

    /// Journals the acceptance of a restore, and the stored state of each object that differs.
    /// Returns `None` if the writer concurrently began a new chain; the caller then tries again.
    ///
    /// # Errors
    /// [`Error::PlanOutdated`] if an object differs that the plan does not list.
    fn journal_acceptance(
        &self,
        act: &Act,
        plan: &RestorePlan,
        left_out: &[&RestoreItem],
    ) -> Result<Option<VerifyReport>> {
        let header = self.header()?;
        let mut verification = self.verification();
        verification.checkpoint = plan.checkpoint;
        while verification.step()? {}
        if !plan.covers(verification.report()) {
            return Err(Error::PlanOutdated);
        }
        let moment = self.core.journal.moment();
        let writer = self.core.journal.writer().ok_or(Error::ReadOnly)?;
        self.core.journal.flush()?;
        let storage = &*self.core.store.storage;
        let closed_pages = header.read_closed_pages(storage)?;
        let mut seen = header.with_page_keys(Some(&closed_pages), |keys| {
            journal::open_heads(storage, keys)
        })?;
        let surplus = seen.len().saturating_sub(CHAINS_MAX);
        drop(seen.drain(..surplus));
        let accepted = act.draft(moment.now, Target::Vault, AccessOutcome::Done);
        let mut entry_act = act.clone();
        entry_act.reason = "".into();
        entry_act.consent = "".into();
        let draft = |target, outcome| entry_act.draft(moment.now, target, outcome);
        let faults = verification.report().journal.iter();
        let faults = faults.map(|finding| draft(acceptance(finding), AccessOutcome::Done));
        let mut entries: Vec<EntryDraft> = std::iter::once(accepted).chain(faults).collect();
        for item in left_out {
            entries.push(draft(
                left_out_target(&header, item)?,
                AccessOutcome::Refused,
            ));
        }
        let (first, more) = entries.split_at(entries.len().min(ENTRIES_PER_PAGE));
        let chain = writer.send_page(first, seen, moment)?.page.writer;
        // Read the baseline only after this page is written, because the page marks the acceptance
        // in the journal. Writers journal all later changes themselves.
        let targets = verification.baseline(&header)?;
        let targets = targets.iter();
        let targets = targets.map(|target| draft(target.clone(), AccessOutcome::Done));
        let drafts: Vec<_> = more.iter().cloned().chain(targets).collect();
        for drafts in drafts.chunks(ENTRIES_PER_PAGE) {
            let page = writer.send_page(drafts, Vec::new(), moment)?;
            if page.page.writer != chain {
                return Ok(None);
            }
        }
        Ok(Some(verification.report().clone()))
    }
}

/// Returns the target by which the journal lists an item that was left out.
fn left_out_target(header: &OpenHeader, item: &RestoreItem) -> Result<Target> {
    let tag = item.subject.as_ref().map(|subject| tag_of(header, subject));
    let subject = SubjectRef {
        chart: item.chart,
        tag: tag.transpose()?.unwrap_or_default(),
    };
    let Some(tag) = item.record else {
        return Ok(Target::Subject(subject));
    };
    let key = &header.keyring.active_journal_key().key;
    let name = item.name.as_ref().map(|name| crypto::name_tag(key, name));
    Ok(Target::Record {
        subject,
        record: RecordRef {
            tag,
            name: name.transpose()?.unwrap_or_default(),
        },
        version: item.until.unwrap_or_default(),
    })
}
