//! Writes versions of records, one or many, in rounds until each is decided.
//!
//! ```text
//! put, new      [ put r Absent ; ?p ]
//! put, next     [ put h|n Absent ; put r Unchanged ; ?p ]
//! put, large    [ put w Absent ] ; [ put s|i Absent ]* ; [ ?w ; (put h|n) ; put r ; ?p ; delete w ]
//! expunge       [ ?p ; destroying put r = marker Unchanged ; ?p ]         and what `expunging` does next
//! ```
//! `?p` comes last: a rotation or an erasure that went first is seen by it, and nothing is
//! acknowledged before. `h|n` comes before `r`, so no prefix loses the version that `r` held.

mod batch;
mod commit_reply;
mod lookup;
mod next_version;
mod own_version;
mod put_marker;
pub(crate) mod seal;

use std::cell::Cell;
use std::collections::HashSet;

use crate::crypto::{ChartId, Commitment};
use crate::error::{Error, Result};
use crate::format::envelope::{Head, Meta};
use crate::id::RecordId;
use crate::journal::Act;
use crate::records::document::{Document, Precondition};
use crate::records::upload::Upload;
use crate::vault::entries::Freshness;
use crate::vault::{ROUNDS, Vault};

/// One change of one record.
pub(crate) struct WriteJob<'a> {
    act: Act,
    id: &'a RecordId,
    meta: Meta,
    change: PendingChange<'a>,
    expected: Precondition,
    /// Content that was stored before.
    upload: Option<Upload>,
}

#[derive(Clone, Copy)]
enum PendingChange<'a> {
    Content(&'a [u8]),
    /// Content of which only the upload is at hand.
    Uploaded,
    Retraction,
    /// A retraction in place of all that was before. `purged` learns whether the storage said that
    /// the bytes of the version in its place are gone.
    Expunge {
        purged: &'a Cell<bool>,
    },
}

impl<'a> WriteJob<'a> {
    pub(crate) fn put(
        act: &Act,
        id: &'a RecordId,
        document: &Document<'a>,
        expected: Precondition,
        now: i64,
    ) -> Result<Self> {
        Ok(Self {
            act: act.clone(),
            id,
            meta: document.meta(id.name(), now).checked()?,
            change: PendingChange::Content(document.content),
            expected,
            upload: None,
        })
    }

    /// Content that was uploaded already; `meta` was checked.
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
            upload: Some(upload),
        }
    }

    pub(crate) fn retract(
        act: &Act,
        id: &'a RecordId,
        expected: Precondition,
        now: i64,
    ) -> Result<Self> {
        Ok(Self {
            act: act.clone(),
            id,
            meta: Document::new(&[]).meta(id.name(), now).checked()?,
            change: PendingChange::Retraction,
            expected,
            upload: None,
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
        job.meta.set_expunged(None);
        Ok(job)
    }
}

/// The version that was written; `None` when there was nothing to retract or to expunge.
pub(crate) type WriteOutcome = Result<Option<u64>>;

/// A job that is not decided yet.
struct PendingWrite<'a> {
    job: WriteJob<'a>,
    /// Where its outcome goes.
    index: usize,
    freshness: Freshness,
    /// The chart of the first try. An erasure in between must not carry the job to another one.
    chart: Option<ChartId>,
    /// The version at which an earlier try may stand.
    maybe_committed: Option<u64>,
    /// What this job sealed at first: the commitment, and the patient key number that it was sealed
    /// under. What it seals again to settle is left out: a re-encryption may have been there first,
    /// under the same number.
    sealed: Vec<(Commitment, u32)>,
    /// The version of an `h` in the way: to be replaced, if `r` is still what it was.
    orphan_version: Option<u64>,
    upload: Option<Upload>,
    /// Its intent was found gone.
    intent_collected: bool,
}

impl<'a> PendingWrite<'a> {
    fn new((mut job, index): (WriteJob<'a>, usize)) -> Self {
        let upload = job.upload.take();
        Self {
            index,
            freshness: match job.change {
                // A hold of the last minute counts.
                PendingChange::Expunge { .. } => Freshness::Fresh,
                _ => Freshness::Cached,
            },
            job,
            chart: upload.as_ref().map(|upload| upload.chart),
            maybe_committed: None,
            sealed: Vec::new(),
            orphan_version: None,
            upload,
            intent_collected: false,
        }
    }

    /// Remembers a value that is about to be sent.
    fn sent(&mut self, value: &[u8]) -> Result<()> {
        let head = Head::parse(value)?;
        self.sealed.push((head.commitment, head.key_number));
        Ok(())
    }

    /// What an error means to who asked: one of the storage says nothing of an earlier try.
    fn map_error(&self, error: Error) -> Error {
        match error {
            Error::Storage(_) if self.maybe_committed.is_some() => Error::CommitUnknown,
            error => error,
        }
    }

    /// Whether this job may have sealed a version that stands. Under a key that it sealed with, its
    /// commitment tells, which a re-wrap leaves alone; under another one it may have been sealed
    /// again by others. Another writer's, of the same millisecond and content, must not pass for it.
    fn may_have_sealed(&self, head: &Head) -> bool {
        let mut sealed = self.sealed.iter();
        sealed
            .clone()
            .any(|(commitment, _)| *commitment == head.commitment)
            || sealed.all(|(_, number)| *number != head.key_number)
    }
}

impl Vault {
    /// Carries out one job.
    pub(crate) fn write_one(&self, job: WriteJob<'_>) -> WriteOutcome {
        self.write(vec![job]).pop().unwrap_or(Err(Error::Contended))
    }

    /// Fails with `Conflict` unless the record is as expected now. Only a courtesy to who is about
    /// to store much content: what counts is looked at when the version is written.
    pub(crate) fn admits(&self, id: &RecordId, expected: Precondition) -> Result<()> {
        if expected == Precondition::Any {
            return Ok(());
        }
        let (version, is_retraction) = self.standing(id)?;
        let admitted = expected.admits(version, is_retraction);
        admitted.then_some(()).ok_or(Error::Conflict)
    }

    /// Carries out jobs; those of one commit become durable together. Outcomes come in their order.
    pub(crate) fn write(&self, jobs: Vec<WriteJob<'_>>) -> Vec<WriteOutcome> {
        let mut outcomes: Vec<WriteOutcome> = Vec::new();
        outcomes.resize_with(jobs.len(), || Err(Error::Contended));
        let mut waiting: Vec<_> = jobs.into_iter().zip(0..).map(PendingWrite::new).collect();
        let mut round = 0;
        while !waiting.is_empty() && round < ROUNDS {
            self.core.store.back_off(round);
            let (turn, later) = first_of_each_record(waiting);
            let before = turn.len() + later.len();
            waiting = self.try_batch(turn, &mut outcomes);
            waiting.extend(later);
            waiting.sort_by_key(|pending| pending.index);
            // Rounds count against contention, not against many versions of one record in a batch.
            round = if waiting.len() < before { 0 } else { round + 1 };
        }
        for pending in waiting {
            let undecided = pending.maybe_committed.is_some();
            if undecided && let Some(outcome) = outcomes.get_mut(pending.index) {
                *outcome = Err(Error::CommitUnknown);
            } else if let Some(upload) = &pending.upload {
                self.core.store.discard(upload);
            }
        }
        outcomes
    }
}

/// Two jobs for one record take turns, in their order.
fn first_of_each_record(
    waiting: Vec<PendingWrite<'_>>,
) -> (Vec<PendingWrite<'_>>, Vec<PendingWrite<'_>>) {
    let mut seen = HashSet::new();
    waiting
        .into_iter()
        .partition(|pending| seen.insert(pending.job.id))
}
