//! Writes of one or many versions, repeated in rounds until the outcome of each is decided. The
//! code block shows the order of operations in the notation of the architecture page:
//!
//! ```text
//! new subject   [ put p Absent ; put r* Absent ; ?v ]                     on transactional storage
//! put, new      [ ?h|1 Absent ; put r Absent ; ?p ]
//! put, next     [ put h|n Absent ; put r Unchanged ; ?p ]
//! put, large    [ put w Absent ] ; [ put s|i Absent ]* ; [ ?w ; (put h|n) ; put r ; ?p ; delete w ]
//! expunge       [ ?p ; destroying put r = marker Unchanged ; ?p ]         then `lifecycle` deletes the rest
//! ```
//! On transactional storage, the entry of a new subject and its first records are one transaction. On
//! other storage, the entry is put first, with a check of the header, and so is the entry of a
//! subject whose first record needs an upload.
//!
//! The check of the patient entry comes last, so that it detects a rotation or an erasure that was
//! committed first. No write is acknowledged before this check. A record whose current version is
//! missing has an earlier version 1, unless the record was expunged, so the check of `h|1` detects
//! the loss. The former version is put among the
//! earlier versions before the current version is replaced, so that no prefix of the transaction
//! loses the former version.

mod batch;
mod commit_reply;
mod import_outcome;
mod lookup;
mod next_version;
mod own_version;
mod put_marker;
mod replacement;
pub(crate) mod seal;

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use smallvec::SmallVec;

use crate::crypto::{self, ChartId, Commitment};
use crate::error::{Error, Result};
use crate::format::envelope::{Head, INLINE_MAX, Meta};
use crate::id::{RecordId, Subject};
use crate::journal::Act;
use crate::records::document::{Document, DocumentContent, Precondition};
use crate::records::upload::Upload;
use crate::vault::entries::{Freshness, NewSubject};
use crate::vault::{ROUNDS, Vault};

/// A request to write one version of one record.
pub(crate) struct WriteJob<'a> {
    act: Act,
    id: &'a RecordId,
    meta: Meta,
    change: PendingChange<'a>,
    expected: Precondition,
    /// Version that the write must create; see [`WriteJob::importing`].
    imported_version: Option<u64>,
    /// Upload that stored the content before the job began.
    upload: Option<Upload>,
    check: Option<ReplacementCheck<'a>>,
}

/// Asks the access policy whether a write may replace a version with these labels. Returns the act
/// to journal, with the consent that the policy named. Fails with `Denied`, which is journaled.
pub(crate) type ReplacementCheck<'a> = Box<dyn Fn(&[Box<str>]) -> Result<Act> + 'a>;

#[derive(Clone, Copy)]
enum PendingChange<'a> {
    Content(&'a [u8]),
    /// Content that is available only as an upload.
    Uploaded,
    Retraction,
    /// An expunged marker. `purged` becomes `true` if the storage confirmed that the bytes of the
    /// replaced version are purged.
    Expunge {
        purged: &'a Cell<bool>,
    },
}

impl<'a> WriteJob<'a> {
    /// Returns a job that writes `content` with the metadata of `document`.
    pub(crate) fn put(
        act: &Act,
        id: &'a RecordId,
        (content, document): (&'a DocumentContent<'_>, Document<'_>),
        expected: Precondition,
        now: i64,
    ) -> Result<Self> {
        expected.check()?;
        Ok(Self {
            act: act.clone(),
            id,
            change: PendingChange::Content(content.bytes()),
            meta: document.into_meta(id, now)?,
            expected,
            imported_version: None,
            upload: None,
            check: None,
        })
    }

    /// Returns a job for uploaded content. The caller must have checked `meta`.
    pub(crate) fn uploaded(
        act: &Act,
        id: &'a RecordId,
        mut meta: Meta,
        upload: Upload,
        expected: Precondition,
    ) -> Self {
        meta.set_origin(&upload.stream);
        Self {
            act: act.clone(),
            id,
            meta,
            change: PendingChange::Uploaded,
            expected,
            imported_version: None,
            upload: Some(upload),
            check: None,
        }
    }

    /// Sets the version that the job must create. If the record has this version already, the job writes
    /// nothing, so that an interrupted import can run again.
    pub(crate) fn importing(mut self, version: u64) -> Self {
        self.imported_version = Some(version);
        if let PendingChange::Content(content) = self.change {
            self.meta.set_import_digest(&crypto::sha256(&[content]));
        }
        self
    }

    /// Sets the check of the labels of the version that the write replaces.
    pub(crate) fn checked_by(mut self, check: Option<ReplacementCheck<'a>>) -> Self {
        self.check = check;
        self
    }

    pub(crate) fn retract(
        act: &Act,
        id: &'a RecordId,
        expected: Precondition,
        now: i64,
    ) -> Result<Self> {
        expected.check()?;
        Ok(Self {
            act: act.clone(),
            id,
            meta: Document::new(&[]).into_meta(id, now)?,
            change: PendingChange::Retraction,
            expected,
            imported_version: None,
            upload: None,
            check: None,
        })
    }
}

impl<'a> WriteJob<'a> {
    pub(crate) fn expunge(
        act: &Act,
        id: &'a RecordId,
        purged: &'a Cell<bool>,
        now: i64,
    ) -> Result<Self> {
        let mut job = Self::retract(act, id, Precondition::Any, now)?;
        job.change = PendingChange::Expunge { purged };
        Ok(job)
    }
}

/// The number of the version that was written; `None` if there was nothing to retract, to expunge or to
/// import.
pub(crate) type WriteOutcome = Result<Option<u64>>;

/// Sealed entries of new subjects whose last attempt was not committed, or has an unknown outcome.
type NewSubjects = HashMap<Subject, NewSubject>;

/// A write job without an outcome, and the facts that its attempts have established.
struct PendingWrite<'a> {
    job: WriteJob<'a>,
    /// Index of the job's outcome.
    index: usize,
    freshness: Freshness,
    /// Chart of the first attempt. If the subject was erased and reopened since then, the job must
    /// not write to the new chart.
    chart: Option<ChartId>,
    /// Number of the version that an earlier attempt may have committed.
    maybe_committed: Option<u64>,
    /// Commitment and patient key number of each value that an attempt of this job sealed. Values
    /// that this job re-encrypted are left out. A concurrent rotation may have re-encrypted the
    /// version under the same key, and `may_have_sealed` must accept that value.
    sealed: SmallVec<[(Commitment, u32); 1]>,
    /// `true` if the previous attempt found no current version but an earlier version 1.
    has_history: bool,
    /// Number of the earlier version whose storage key was occupied in a previous attempt. The next
    /// attempt replaces that object if the object and the current version are both unchanged.
    orphan_version: Option<u64>,
    upload: Option<Upload>,
    /// `true` if an attempt found the upload's intent missing.
    intent_collected: bool,
}

impl<'a> PendingWrite<'a> {
    fn new((mut job, index): (WriteJob<'a>, usize)) -> Self {
        let upload = job.upload.take();
        Self {
            index,
            freshness: match job.change {
                // Read the patient entry freshly, because a cached entry could miss a legal hold
                // placed in the last minute.
                PendingChange::Expunge { .. } => Freshness::Fresh,
                _ => Freshness::Cached,
            },
            job,
            chart: upload.as_ref().map(|upload| upload.chart),
            maybe_committed: None,
            sealed: SmallVec::new(),
            has_history: false,
            orphan_version: None,
            upload,
            intent_collected: false,
        }
    }

    /// Returns `true` if the content must be uploaded before the version can be written.
    fn needs_upload(&self) -> bool {
        self.upload.is_some()
            || match self.job.change {
                PendingChange::Content(content) => content.len() > INLINE_MAX,
                PendingChange::Uploaded => true,
                PendingChange::Retraction | PendingChange::Expunge { .. } => false,
            }
    }

    /// Forgets the attempts of this job, none of which was committed or can be committed.
    fn forget_attempts(&mut self) {
        self.chart = None;
        self.maybe_committed = None;
        self.sealed.clear();
    }

    /// Records the commitment and key number of a sealed value, before the value is sent.
    fn record_attempt(&mut self, value: &[u8]) -> Result<()> {
        let head = Head::parse(value)?;
        self.sealed.push((head.commitment, head.key_number));
        Ok(())
    }

    /// Returns the error for the caller: a storage error or a denial becomes `CommitUnknown` if an
    /// earlier attempt may have been committed.
    fn map_error(&self, error: Error) -> Error {
        match error {
            Error::Storage(_) | Error::Denied if self.maybe_committed.is_some() => {
                Error::CommitUnknown
            }
            error => error,
        }
    }

    /// Returns `true` if this job may have sealed a stored version.
    ///
    /// Under a patient key that this job used, the commitment decides, because rewrapping keeps the
    /// commitment. Under another key, a concurrent re-encryption may have replaced the commitment.
    /// The check must not accept another writer's version with the same time of writing and
    /// content.
    fn may_have_sealed(&self, head: &Head) -> bool {
        let mut sealed = self.sealed.iter();
        sealed
            .clone()
            .any(|(commitment, _)| *commitment == head.commitment)
            || sealed.all(|(_, number)| *number != head.key_number)
    }
}

impl Vault {
    /// Executes one job.
    pub(crate) fn write_one(&self, job: WriteJob<'_>) -> WriteOutcome {
        self.write(vec![job]).pop().unwrap_or(Err(Error::Contended))
    }

    /// Fails with `Denied` if the policy denies a replacement of the current version, and with
    /// `Conflict` if the record does not meet the precondition. These checks only avoid a useless
    /// upload, because the write itself checks again.
    pub(crate) fn admits(
        &self,
        id: &RecordId,
        expected: Precondition,
        check: Option<&ReplacementCheck<'_>>,
    ) -> Result<()> {
        if expected == Precondition::Any && check.is_none() {
            return Ok(());
        }
        let current = self.current_state(id, check.is_some())?;
        if let (Some(current), Some(check)) = (&current, check) {
            check(&current.labels)?;
        }
        let (version, is_retraction) =
            current.map_or((0, false), |it| (it.version, it.is_retraction));
        let admitted = expected.admits(version, is_retraction);
        admitted.then_some(()).ok_or(Error::Conflict)
    }

    /// Executes jobs, and returns their outcomes in the same order. Each round commits the first
    /// waiting job of every record together.
    pub(crate) fn write(&self, jobs: Vec<WriteJob<'_>>) -> Vec<WriteOutcome> {
        let mut outcomes: Vec<WriteOutcome> = Vec::new();
        outcomes.resize_with(jobs.len(), || Err(Error::Contended));
        let mut waiting: Vec<_> = jobs.into_iter().zip(0..).map(PendingWrite::new).collect();
        let mut new_subjects = NewSubjects::new();
        let mut round = 0;
        while !waiting.is_empty() && round < ROUNDS {
            self.core.store.back_off(round);
            let (batch, later) = first_of_each_record(waiting);
            let before = batch.len() + later.len();
            waiting = self.attempt_batch(batch, &mut new_subjects, &mut outcomes);
            waiting.extend(later);
            waiting.sort_by_key(|pending| pending.index);
            // Count only rounds without progress, because several versions of one record need
            // several rounds.
            round = if waiting.len() < before { 0 } else { round + 1 };
        }
        for pending in waiting {
            let unknown = pending.maybe_committed.is_some();
            if unknown && let Some(outcome) = outcomes.get_mut(pending.index) {
                *outcome = Err(Error::CommitUnknown);
            } else if let Some(upload) = &pending.upload {
                self.core.store.discard(upload);
            }
        }
        outcomes
    }
}

/// Splits off the first job of each record; later jobs of the same record wait for the next round.
fn first_of_each_record(
    waiting: Vec<PendingWrite<'_>>,
) -> (Vec<PendingWrite<'_>>, Vec<PendingWrite<'_>>) {
    let mut seen = HashSet::new();
    waiting
        .into_iter()
        .partition(|pending| seen.insert(pending.job.id))
}
