//! Acceptance of a planned restore: repeats erasures and expunges, and journals the remaining
//! differences as accepted.
//!
//! `architecture.md` explains the notation of these steps, under "Order of writes".
//!
//! ```text
//! plan again ; (joined header: see `vault/joined_header.rs`) ; erase again ; expunge again ;
//! verify ; [ put j: heads of all chains, actor, reason, what was left out ] ; [ put j: differing objects as stored ]*
//! ```
//! The header comes first: pages under the later keys, which prove the erasures to repeat, must open for
//! every process before anything is destroyed on their word. If the process ends after any step, the
//! differences stay findings, and the next plan lists what is left to do.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::crypto::{self, ChartId};
use crate::error::{Error, Result};
use crate::id::Subject;
use crate::journal::checkpoint::CHAINS_MAX;
use crate::journal::{
    self, AccessOutcome, Act, EntryDraft, Operation, RecordRef, Stage, SubjectRef, Target, WriterId,
};
use crate::keys::entry::EntryState;
use crate::storage::StorageError;
use crate::vault::header::OpenHeader;
use crate::vault::{ROUNDS, Vault};
use crate::verify::journal_fault::JournalFinding;
use crate::verify::open_entry::tag_of;
use crate::verify::page_findings::acceptance;
use crate::verify::plan_match::is_late;
use crate::verify::report::VerifyReport;
use crate::verify::restore_plan::{RestoreItem, RestoreItemKind, RestorePlan};

/// Maximum number of entries per journal page of an acceptance, which keeps a page below its 1 MiB limit.
const ENTRIES_PER_PAGE: usize = 2048;

/// Report of an accepted restore: the repeated erasures and expunges, and the accepted differences.
///
/// ```
/// # use chartlock::{*, access::Reason};
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// let session = vault.session(Actor::new("it.office")?, Purpose::SystemAdministration);
/// let plan = session.plan_restore(None, None)?;
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
    /// `true` if slots of the backup's time open the vault, so that credentials removed since are valid
    /// again. Call [`Vault::rotate_root_key`] next, and then [`Vault::rotate_master_key`].
    pub root_rotation_due: bool,
}

impl Vault {
    /// Accepts a planned restore.
    ///
    /// # Errors
    /// [`Error::PlanOutdated`] if the findings or items are no longer those of the plan.
    pub(crate) fn accept_restore(&self, act: &Act, plan: &RestorePlan) -> Result<RestoreReport> {
        self.require_writable()?;
        let (again, joined) = self.plan_restore(plan.checkpoint.as_ref(), plan.later.as_ref())?;
        if !plan.is_same(&again) {
            return Err(Error::PlanOutdated);
        }
        if again.findings.storage.unreadable_ranges > 0 {
            // Nothing is accepted as missing that a damaged structure may only hide.
            return Err(StorageError::Damaged.into());
        }
        if plan
            .items
            .iter()
            .any(|item| plan.repeats(item) && is_rewritten(item))
        {
            return Err(Error::RecordRewritten);
        }
        let own = self.core.journal.writer().and_then(journal::Writer::tip);
        let own = own.map(|head| head.page.writer);
        if let (Some(joined), Some(later)) = (joined, &plan.later) {
            let slots = (later.header(), later.root(), later.keyring());
            self.write_joined_header(act, joined, plan.takes_later_slots.then_some(slots))?;
        }
        let mut report = RestoreReport {
            root_rotation_due: plan.header.root_rotation_due,
            ..RestoreReport::default()
        };
        let (repeated, left_out): (Vec<_>, Vec<_>) =
            plan.items.iter().partition(|item| plan.repeats(item));
        for item in repeated {
            self.repeat(act, item, &mut report)?;
        }
        report.left_out = left_out.len() as u64;
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            if let Some(differed) = self.journal_acceptance(act, plan, own, &left_out)? {
                report.differed = differed;
                return Ok(report);
            }
        }
        Err(Error::Contended)
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
        own: Option<WriterId>,
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
        // A late page that came since, of another process than this one, stays a finding.
        let is_known = |finding: &&JournalFinding| {
            plan.lists(finding)
                || is_late(finding) && finding.writer.is_some() && finding.writer == own
        };
        let faults = verification.report().journal.iter().filter(is_known);
        let faults = faults.map(|finding| draft(acceptance(finding), AccessOutcome::Done));
        let done = |draft: EntryDraft| (draft, Stage::Done);
        let mut entries: Vec<_> = std::iter::once(accepted).chain(faults).map(done).collect();
        for item in left_out {
            let target = left_out_target(&header, item)?;
            entries.push(done(draft(target, AccessOutcome::Refused)));
        }
        let (first, more) = entries.split_at(entries.len().min(ENTRIES_PER_PAGE));
        let chain = writer.send_staged(first, seen, moment)?.page.writer;
        // Read the baseline only after this page is written, because the page marks the acceptance
        // in the journal. Writers journal all later changes themselves.
        let targets = verification.baseline(&header, &plan.findings)?.into_iter();
        let targets = targets.map(|(target, stage)| (draft(target, AccessOutcome::Done), stage));
        let drafts: Vec<_> = more.iter().cloned().chain(targets).collect();
        for drafts in drafts.chunks(ENTRIES_PER_PAGE) {
            let page = writer.send_staged(drafts, Vec::new(), moment)?;
            if page.page.writer != chain {
                return Ok(None);
            }
        }
        Ok(Some(verification.report().clone()))
    }
}

/// Returns `true` for an expunge of a record with versions that the journal does not prove to be older.
/// Version numbers begin anew after a restore, so that the number in the expunge's entry does not tell
/// the expunged content from what was written since. An expunge cannot spare later versions either: its
/// marker replaces the current one.
fn is_rewritten(item: &RestoreItem) -> bool {
    item.kind == RestoreItemKind::Expunge && item.contested
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
    let key = header.keyring.first_journal_key();
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
