//! Verification of the whole storage against the journal, with a report of every difference.
//!
//! ```text
//! structures of the storage ; chains of the journal ; header ; patient entries ; then charts, in partitions of their ids:
//!   journal facts on these charts ; their stored records ; comparison of both
//! ```
//! Verification runs online. It reports a mismatch only if the mismatch repeats when the object is
//! read again, each time between two readings of the journal. Changes journaled before an object is
//! read must be stored; changes journaled afterwards may be stored.

pub(crate) mod accept_restore;
mod announced;
mod baseline;
mod checkpoint;
mod closing_proof;
mod compare;
mod content;
mod entries;
mod expectation;
mod expected_state;
mod gaps;
mod header;
mod header_plan;
mod hidden_entries;
mod integrity;
pub(crate) mod journal_copy;
mod journal_fault;
pub(crate) mod journal_scan;
mod key_list;
pub(crate) mod later_header;
mod open_entry;
mod order;
mod page_findings;
mod page_list;
mod partitions;
mod plan_match;
mod position;
mod read_journal;
mod recheck;
mod records;
mod reencryption;
mod report;
pub(crate) mod restore_plan;
mod snapshot;
mod subjects;
mod undone_changes;
mod unopened_entries;
mod unowned_charts;
mod walk;
mod walk_keys;

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use crate::crypto::{ChartId, PatientTag};
use crate::error::Result;
use crate::id::Subject;
use crate::journal::checkpoint::Checkpoint;
use crate::journal::{Act, ClosedPages, Operation};
use crate::storage::past_ranges::PastRanges;
use crate::telemetry;
use crate::vault::Vault;
use crate::vault::header::OpenHeader;
use crate::vault::progress::Phase;
pub use accept_restore::RestoreReport;
pub use header_plan::HeaderPlan;
pub use integrity::StorageFindings;
pub use journal_copy::JournalCopyReport;
pub use journal_fault::{JournalFault, JournalFinding};
use journal_scan::JournalScan;
pub use later_header::LaterHeader;
use open_entry::RefusedEntries;
use position::END;
pub use position::VerifyPosition;
pub use report::{
    AcceptedRestore, CheckpointState, Counts, EntryFinding, FindingKind, HeaderFinding,
    RecordFinding, VerifyReport,
};
pub use restore_plan::{PageProof, RestoreItem, RestoreItemKind, RestorePlan};
use walk::JournalWalk;

/// Maximum number of facts on records in memory. A single bucket of charts may exceed this limit.
const FACTS_AT_ONCE: u64 = 250_000;

/// Verification of a vault in steps, which the caller can pace and resume. [`Vault::verification`]
/// creates it.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// let mut verification = vault.verification().with_content();
/// while verification.step()? {
///     println!("{}", verification.position()); // to continue from later
/// }
/// assert!(verification.report().is_clean());
/// # Ok::<(), Error>(())
/// ```
pub struct Verification {
    vault: Vault,
    checkpoint: Option<Checkpoint>,
    with_content: bool,
    facts_at_once: u64,
    next: NextStep,
    /// Position from which to continue once the journal, the header and the patient entries are
    /// checked.
    resume: VerifyPosition,
    act: Act,
    done: u64,
    /// The joined header of a planned restore, whose keys open the journal; `None` for the stored header.
    planned_header: Option<Arc<OpenHeader>>,
    closed_pages: Option<Arc<ClosedPages>>,
    storage: Arc<PastRanges>,
    walk: JournalWalk,
    scan: JournalScan,
    report: VerifyReport,
    /// Charts of subjects whose patient entries do not match, each with its subject if known.
    suspect_charts: HashMap<ChartId, Option<Subject>>,
    forked: bool,
    /// `true` if an object opens whose write is missing from a journal without other findings.
    incomplete: bool,
    /// Number of objects among the patient entries.
    stored_entries: usize,
    /// Number of objects among the records whose storage keys identify no version.
    foreign_objects: u64,
    refused_entries: Arc<RefusedEntries>,
    /// Patient entries that do not open and whose subjects are unknown.
    altered: Vec<PatientTag>,
    /// Storage keys of the objects whose values are missing, as the storage reports them.
    missing_values: HashSet<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NextStep {
    Storage,
    Journal,
    Header,
    Entries,
    /// Check the charts, starting with ids that begin with these two bytes.
    Charts(u32),
    End,
}

impl Vault {
    /// Compares every stored object with the journal, and reports all differences.
    ///
    /// The report lists each record that is altered, missing, unexpected or rolled back. The report
    /// also states if the header or the journal was cut, reordered, forked or rolled back, and if
    /// the storage found faults in its own structures, see
    /// [`Storage::integrity`](crate::storage::Storage::integrity).
    /// Verification runs online: concurrent reads, writes, rotations and erasures cause no
    /// findings. Leftovers of a crash cause no findings either.
    ///
    /// With a `checkpoint` that was kept outside the storage, verification also detects a rollback
    /// of the journal or of the whole storage.
    ///
    /// Verification **cannot** detect:
    /// - without a checkpoint, a rollback of the *whole storage* including its journal, because the
    ///   older state is consistent;
    /// - without a checkpoint, the loss of the last pages of the newest chain. This applies only if
    ///   these pages contain only reads, and neither a later opening nor this process has seen
    ///   them. If the lost pages contain changes, verification detects the loss by the changed
    ///   objects;
    /// - content altered by an attacker who has the chart's keys *and* the active journal and authority
    ///   keys, because this attacker's writes and journal entries are indistinguishable from genuine ones.
    ///
    /// Verification opens every record. For content above 64 KiB, this method checks only that all
    /// segments are stored, each with its length. A flipped byte or an exchanged segment of the same
    /// length is found only if the segments are opened: run a [`Vault::verification`] with
    /// [`Verification::with_content`]. [`VerifyReport::content_opened`] says which was done.
    ///
    /// # Errors
    /// [`Error::ForeignCheckpoint`](crate::Error::ForeignCheckpoint) for a checkpoint of another
    /// vault, [`Error::Locked`](crate::Error::Locked), and errors of the storage. Objects that do not
    /// open are findings in the report, not errors.
    pub fn verify(&self, checkpoint: Option<&Checkpoint>) -> Result<VerifyReport> {
        let verification = self.verification();
        match checkpoint {
            Some(checkpoint) => verification.with_checkpoint(checkpoint).finish(),
            None => verification.finish(),
        }
    }

    /// Creates a verification that runs in steps, so that the caller can pace it, pause it and
    /// continue later.
    pub fn verification(&self) -> Verification {
        Verification {
            vault: self.clone(),
            checkpoint: None,
            with_content: false,
            facts_at_once: FACTS_AT_ONCE,
            next: NextStep::Storage,
            resume: VerifyPosition::default(),
            act: self.system_act(Operation::Verify),
            done: 0,
            planned_header: None,
            closed_pages: None,
            storage: Arc::new(PastRanges::new(Arc::clone(&self.core.store.storage))),
            walk: JournalWalk::default(),
            scan: JournalScan::default(),
            report: VerifyReport::default(),
            suspect_charts: HashMap::new(),
            forked: false,
            incomplete: false,
            stored_entries: 0,
            foreign_objects: 0,
            refused_entries: Arc::default(),
            altered: Vec::new(),
            missing_values: HashSet::new(),
        }
    }
}

impl Verification {
    /// Enables a check that the journal page of a checkpoint is stored unchanged.
    #[must_use]
    pub fn with_checkpoint(mut self, checkpoint: &Checkpoint) -> Self {
        self.checkpoint = Some(*checkpoint);
        self
    }

    /// Enables the opening of all content above 64 KiB. Verification then reads the whole storage.
    #[must_use]
    pub fn with_content(mut self) -> Self {
        self.with_content = true;
        self.report.content_opened = true;
        self
    }

    /// Continues from the position of an earlier verification. Verification checks the storage, the
    /// journal, the header and the patient entries again, but not the records before the position. The report of
    /// the earlier verification contains the findings on those records.
    #[must_use]
    pub fn from(mut self, position: VerifyPosition) -> Self {
        self.resume = position;
        self
    }

    /// Limits the facts on records in memory, for tests: a low limit causes many partitions.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    #[must_use]
    pub fn max_facts(mut self, facts: u64) -> Self {
        self.facts_at_once = facts;
        self
    }

    /// Returns the position from which another verification can continue.
    pub fn position(&self) -> VerifyPosition {
        let charts = match self.next {
            NextStep::Charts(charts) => Some(charts),
            NextStep::End => Some(END),
            NextStep::Storage | NextStep::Journal | NextStep::Header | NextStep::Entries => {
                self.resume.charts
            }
        };
        VerifyPosition { charts }
    }

    /// Returns the findings so far.
    pub fn report(&self) -> &VerifyReport {
        &self.report
    }

    /// Runs all remaining steps and returns the report.
    ///
    /// # Errors
    /// The errors of [`Verification::step`].
    pub fn finish(mut self) -> Result<VerifyReport> {
        while self.step()? {}
        Ok(self.report)
    }

    /// Runs the next step. Returns `true` if more steps remain. The caller can repeat a failed
    /// step.
    ///
    /// # Errors
    /// The errors of [`Vault::verify`].
    pub fn step(&mut self) -> Result<bool> {
        telemetry::verb(self.act.operation.name(), || self.next_step())
    }

    fn next_step(&mut self) -> Result<bool> {
        let header = self.current_header()?;
        self.next = match self.next {
            NextStep::Storage => {
                let _ = self.vault.core.journal.pin_heads(); // Verification needs no pin.
                self.journal_start()?;
                self.check_storage()?;
                NextStep::Journal
            }
            NextStep::Journal => {
                self.read_journal(&header)?;
                NextStep::Header
            }
            NextStep::Header => {
                self.check_header(&header)?;
                NextStep::Entries
            }
            NextStep::Entries => {
                self.check_entries(&header)?;
                NextStep::Charts(self.resume.charts.unwrap_or(0))
            }
            NextStep::Charts(END) => {
                self.report.storage.unreadable_ranges = self.storage.count();
                self.add_journal_faults();
                NextStep::End
            }
            NextStep::Charts(from) => {
                let charts = self.next_partition(from);
                let end = charts.end;
                self.check_charts(&header, charts)?;
                NextStep::Charts(end)
            }
            NextStep::End => NextStep::End,
        };
        Ok(self.next != NextStep::End)
    }

    /// Returns the next range of charts whose facts fit into memory. The range contains at least
    /// one bucket of charts.
    fn next_partition(&self, from: u32) -> Range<u32> {
        let mut sum = 0;
        let counts = self
            .scan
            .facts_per_bucket
            .iter()
            .zip(0..)
            .skip(from as usize);
        for (count, bucket) in counts {
            sum += u64::from(*count);
            if sum > self.facts_at_once && bucket > from {
                return from..bucket;
            }
        }
        from..END
    }

    /// Returns `true` if the journal has no findings, so that an unjournaled write is an error. A range
    /// of keys that cannot be read can contain journal pages.
    fn is_journal_intact(&self) -> bool {
        !self.scan.has_findings && self.storage.count() == 0
    }

    /// Records that the storage mixes two copies of the vault, if `kind` is a fork.
    fn note_fork(&mut self, kind: FindingKind) {
        self.forked |= kind == FindingKind::Forked;
    }

    fn add_journal_faults(&mut self) {
        let mut add = |fault| {
            self.report.journal.push(JournalFinding {
                fault,
                writer: None,
                page: 0,
                pages: 0,
            });
        };
        if self.forked {
            add(JournalFault::Forked);
        }
        if self.foreign_objects > 0 {
            add(JournalFault::Unexpected);
        }
        if self.incomplete {
            add(JournalFault::Incomplete);
        }
    }

    fn progress(&mut self, more: u64) -> Result<()> {
        self.done += more;
        self.vault.monitor().report(Phase::Verifying, self.done)
    }
}

impl std::fmt::Debug for Verification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verification({})", self.position())
    }
}
