//! Verification: compares the whole storage with the journal, and reports every difference.
//!
//! ```text
//! chains of the journal ; header ; entries ; then charts, in slices of their ids:
//!   facts of these charts from the journal ; what stands of them ; both compared
//! ```
//! Online: a mismatch counts only when it stands through looks of its own, each between two readings
//! of the journal. What was told before the look must be there, what is told after it may be.

pub(crate) mod accept_restore;
mod baseline;
mod checkpoint;
mod compare;
mod content;
mod entries;
mod expectation;
mod expected_state;
mod header;
pub(crate) mod journal_scan;
mod open_entry;
mod partitions;
mod position;
mod recheck;
mod records;
mod report;
mod subjects;
mod walk;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::crypto::{ChartId, PatientTag};
use crate::error::{Error, Result};
use crate::id::Subject;
use crate::journal::checkpoint::Checkpoint;
use crate::journal::{self, AccessOutcome, Act, Operation, Target};
use crate::vault::Vault;
use crate::vault::header::OpenHeader;
use crate::vault::progress::{Counter, Phase, ProgressListener};
pub use accept_restore::RestoreReport;
use journal_scan::JournalSurvey;
use position::END;
pub use position::VerifyPosition;
pub use report::{
    AcceptedRestore, CheckpointStanding, Counts, EntryFinding, FindingKind, HeaderFinding,
    JournalFault, JournalFinding, RecordFinding, VerifyReport,
};
use walk::{At, JournalWalk};

/// Facts on records held at a time.
const FACTS_AT_ONCE: u64 = 250_000;

/// A verification of a vault, step by step; made by [`Vault::verification`].
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// let mut verification = vault.verification().with_content();
/// while verification.step()? {
///     println!("{}", verification.position()); // to go on from, another day
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
    /// Where to go on once the journal was read.
    resume: VerifyPosition,
    act: Act,
    watcher: Option<Arc<dyn ProgressListener>>,
    done: u64,
    walk: JournalWalk,
    survey: JournalSurvey,
    report: VerifyReport,
    /// The subjects whose entries are not what they should be, and their charts.
    doubtful: HashMap<ChartId, Option<Subject>>,
    forked: bool,
    /// Something stands that the journal should tell of.
    incomplete: bool,
    /// Objects among the records that are none.
    strangers: u64,
    /// Entries that do not open, and of which nobody can tell whose they are.
    altered: Vec<PatientTag>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NextStep {
    Journal,
    Header,
    Entries,
    /// Charts, from those whose ids begin with these two bytes.
    Charts(u32),
    End,
}

impl Vault {
    /// Walks everything and reports exactly which records are altered, missing, unexpected or rolled
    /// back, and whether the header or the journal was cut, reordered, forked or rolled back. Online:
    /// readers, writers, rotations and erasures go on, and are no alarm; nor is what a crash left.
    ///
    /// Each object is compared with what the journal tells of it. So with a `checkpoint` that was
    /// kept elsewhere it is noticed, too, that the journal or the whole storage was put back.
    ///
    /// What it **cannot** notice:
    /// - without a checkpoint, that the *whole storage* was put back to an older state, journal and
    ///   all: that state is in itself as it should be;
    /// - without a checkpoint, that the youngest chain lost its last pages, if they tell of reads only
    ///   and neither a later opening nor this process has seen them. Where they tell of changes, the
    ///   changed objects show it;
    /// - content that somebody altered who holds the chart's keys *and* the journal key: what he wrote
    ///   and told of is what anybody writes and tells of.
    ///
    /// Of content beyond 64 KiB it is checked that it is all there. That it opens is checked by
    /// [`Vault::verification`] with [`Verification::with_content`].
    ///
    /// # Errors
    /// [`Error::ForeignCheckpoint`] for a checkpoint of another vault, [`Error::Locked`], and errors of
    /// the storage. What does not open is no error: see the report.
    pub fn verify(&self, checkpoint: Option<&Checkpoint>) -> Result<VerifyReport> {
        let verification = self.verification();
        match checkpoint {
            Some(checkpoint) => verification.with_checkpoint(checkpoint).finish(),
            None => verification.finish(),
        }
    }

    /// A verification, step by step: to be paced, paused, and gone on with another day.
    pub fn verification(&self) -> Verification {
        Verification {
            vault: self.clone(),
            checkpoint: None,
            with_content: false,
            facts_at_once: FACTS_AT_ONCE,
            next: NextStep::Journal,
            resume: VerifyPosition::default(),
            act: self.system_act(Operation::Verify),
            watcher: self.watcher(),
            done: 0,
            walk: JournalWalk::default(),
            survey: JournalSurvey::default(),
            report: VerifyReport::default(),
            doubtful: HashMap::new(),
            forked: false,
            incomplete: false,
            strangers: 0,
            altered: Vec::new(),
        }
    }
}

impl Verification {
    /// Also checks that the page of a checkpoint still stands.
    #[must_use]
    pub fn with_checkpoint(mut self, checkpoint: &Checkpoint) -> Self {
        self.checkpoint = Some(*checkpoint);
        self
    }

    /// Also opens all content beyond 64 KiB. This reads everything there is.
    #[must_use]
    pub fn with_content(mut self) -> Self {
        self.with_content = true;
        self
    }

    /// Goes on where another verification stood. The journal, the header and the entries are looked at
    /// again, records before the position are not; what was found before is in the other's report.
    #[must_use]
    pub fn from(mut self, position: VerifyPosition) -> Self {
        self.resume = position;
        self
    }

    /// Holds no more facts on records at a time, for tests: with few there are many slices.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    #[must_use]
    pub fn max_facts(mut self, facts: u64) -> Self {
        self.facts_at_once = facts;
        self
    }

    /// How far it has come.
    pub fn position(&self) -> VerifyPosition {
        let charts = match self.next {
            NextStep::Charts(charts) => Some(charts),
            NextStep::End => Some(END),
            NextStep::Journal | NextStep::Header | NextStep::Entries => self.resume.charts,
        };
        VerifyPosition { charts }
    }

    /// What was found so far.
    pub fn report(&self) -> &VerifyReport {
        &self.report
    }

    /// Takes all steps that are left.
    ///
    /// # Errors
    /// Those of [`Verification::step`].
    pub fn finish(mut self) -> Result<VerifyReport> {
        while self.step()? {}
        Ok(self.report)
    }

    /// Takes the next step; answers whether there are more. A step that fails can be taken again.
    ///
    /// # Errors
    /// Those of [`Vault::verify`].
    pub fn step(&mut self) -> Result<bool> {
        let header = self.vault.header_in_memory()?;
        self.next = match self.next {
            NextStep::Journal => {
                self.vault
                    .journal_before_release(&self.act, Target::Vault, AccessOutcome::Done)?;
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
                self.conclude();
                NextStep::End
            }
            NextStep::Charts(from) => {
                let charts = self.slice(from);
                let end = charts.end;
                self.check_charts(&header, charts)?;
                NextStep::Charts(end)
            }
            NextStep::End => NextStep::End,
        };
        Ok(self.next != NextStep::End)
    }

    fn read_journal(&mut self, header: &OpenHeader) -> Result<()> {
        if self
            .checkpoint
            .is_some_and(|checkpoint| !checkpoint.is_of(header.header.vault()))
        {
            return Err(Error::ForeignCheckpoint);
        }
        let storage = &*self.vault.core.store.storage;
        let own = self.vault.core.journal.writer();
        let own = own.and_then(journal::Writer::tip);
        self.walk = JournalWalk::default();
        self.survey = JournalSurvey::default();
        self.survey.look_for_strangers(storage)?;
        self.walk.advance(storage, header, &mut self.survey)?;
        if let Some(tip) = own {
            // Nothing can make it void.
            self.survey.claim(&tip, At::NEVER);
        }
        self.survey.look_for_cuts(storage, &self.walk)?;
        self.survey.counted = true;
        let restored = !self.survey.restores.is_empty();
        self.survey.subjects.settle(&self.walk, restored);
        self.survey.headers.settle(&self.walk);
        self.report.counts = self.survey.counts;
        self.report.counts.chains = self.walk.chains();
        self.report.restores = self.survey.restores.clone();
        self.report.journal = self.survey.findings.clone();
        self.progress(self.report.counts.pages);
        self.check_checkpoint()
    }

    fn check_checkpoint(&mut self) -> Result<()> {
        let Some(checkpoint) = self.checkpoint else {
            return Ok(());
        };
        let standing = journal::digest_of(&*self.vault.core.store.storage, &checkpoint.page)?;
        let restored = self.report.restores.iter();
        let restored = restored.map(|restore| restore.at).max();
        let standing = match standing {
            Some(digest) if checkpoint.names(&digest) => CheckpointStanding::Stands,
            _ if restored.is_some_and(|at| at >= checkpoint.at) => {
                CheckpointStanding::BeforeRestore
            }
            Some(_) => CheckpointStanding::Replaced,
            None => CheckpointStanding::Gone,
        };
        let fault = match standing {
            CheckpointStanding::Gone => Some(JournalFault::Cut),
            CheckpointStanding::Replaced => Some(JournalFault::Replaced),
            _ => None,
        };
        let page = checkpoint.page;
        let writer = Some(page.writer);
        let mut named = self.report.journal.iter();
        let named = named.any(|finding| finding.writer == writer && finding.page <= page.sequence);
        if let (Some(fault), false) = (fault, named) {
            self.report.journal.push(JournalFinding {
                fault,
                writer,
                page: page.sequence,
                pages: 1,
            });
        }
        self.report.checkpoint = Some(standing);
        Ok(())
    }

    /// Charts of which no more facts are told than are held at a time; at least those of two bytes.
    fn slice(&self, from: u32) -> Range<u32> {
        let mut sum = 0;
        let counts = self
            .survey
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

    /// Whether the journal was whole, so that what it does not tell did not happen.
    fn is_whole(&self) -> bool {
        self.survey.findings.is_empty()
    }

    /// Notes when two histories were met.
    fn note_kind(&mut self, kind: FindingKind) {
        self.forked |= kind == FindingKind::Forked;
    }

    fn conclude(&mut self) {
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
        if self.strangers > 0 {
            add(JournalFault::Unexpected);
        }
        if self.incomplete {
            add(JournalFault::Incomplete);
        }
    }

    fn progress(&mut self, more: u64) {
        self.done += more;
        let mut counter = Counter::new(self.watcher.as_deref(), Phase::Verifying);
        counter.add(self.done);
    }
}

impl std::fmt::Debug for Verification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verification({})", self.position())
    }
}
