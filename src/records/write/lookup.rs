//! Reads the patient entry and the current version before a write.

use std::collections::HashMap;
use std::sync::Arc;

use crate::crypto::{ChartId, PatientKey};
use crate::error::{Error, Result};
use crate::format::envelope::{Address, Head};
use crate::format::storage_keys;
use crate::id::Subject;
use crate::journal::Act;
use crate::keys::ring::KeyVersion;
use crate::records::write::{PendingWrite, WriteJob};
use crate::storage::{Expect, Revision, Stored};
use crate::vault::Vault;
use crate::vault::entries::{CachedEntry, Freshness, chart_id};

/// Stored state that a job builds on.
pub(super) struct WriteContext {
    pub(super) cached: Arc<CachedEntry>,
    pub(super) address: Address,
    /// Version and revision of an `h` that blocked an earlier attempt.
    orphan_version: Option<(u64, Revision)>,
    pub(super) current: Option<Stored>,
}

impl WriteContext {
    /// Returns the current version by its head; 0 if there is none.
    pub(super) fn version(&self) -> Result<u64> {
        let current = self.current.as_ref();
        current.map_or(Ok(0), |stored| Ok(Head::parse(&stored.value)?.version))
    }

    /// Returns the precondition of the put to `h`: `Absent`, unless an orphan blocked an earlier
    /// attempt.
    ///
    /// The orphan is from an interrupted put, or from one that was just committed. It is replaced
    /// only together with the `r` that was read after it.
    pub(super) fn expect_earlier(&self, version: u64) -> Expect {
        match &self.orphan_version {
            Some((known, revision)) if *known == version => Expect::Unchanged(revision.clone()),
            _ => Expect::Absent,
        }
    }

    pub(super) fn expect_current(&self) -> Expect {
        match &self.current {
            Some(stored) => Expect::Unchanged(stored.revision.clone()),
            None => Expect::Absent,
        }
    }

    pub(super) fn patient_key(&self, number: u32) -> Result<&KeyVersion<PatientKey>> {
        self.cached
            .entry
            .key(number)
            .ok_or(Error::UnknownPatientKey)
    }
}

impl Vault {
    /// Returns the chart that a subject's records are written to; creates the patient entry of a
    /// new subject.
    pub(crate) fn chart_for_writing(&self, subject: &Subject, act: &Act) -> Result<ChartId> {
        let subjects = HashMap::from([(subject, Freshness::Cached)]);
        let entries = self.entries_for_writing(&subjects, act)?;
        let cached = entries.get(subject).ok_or(Error::Contended)?;
        chart_id(cached.as_ref().map_err(Clone::clone)?)
    }

    /// Reads patient entry and current version for each job, all in one call. The jobs share one
    /// act.
    pub(super) fn read_contexts(
        &self,
        batch: &[PendingWrite<'_>],
    ) -> Result<Vec<Result<WriteContext>>> {
        let Some(PendingWrite {
            job: WriteJob { act, .. },
            ..
        }) = batch.first()
        else {
            return Ok(Vec::new());
        };
        let mut subjects: HashMap<&Subject, Freshness> = HashMap::new();
        for pending in batch {
            let freshness = subjects
                .entry(pending.job.id.subject())
                .or_insert(Freshness::Cached);
            if pending.freshness == Freshness::Fresh {
                *freshness = Freshness::Fresh;
            }
        }
        let entries = self.entries_for_writing(&subjects, act)?;
        let mut contexts: Vec<Result<WriteContext>> = batch
            .iter()
            .map(|pending| {
                let cached = entries.get(pending.job.id.subject());
                let cached = Arc::clone(
                    cached
                        .ok_or(Error::Contended)?
                        .as_ref()
                        .map_err(Clone::clone)?,
                );
                let address = cached.address(pending.job.id.name())?;
                let orphan_version = self.read_orphan_version(pending, &address)?;
                Ok(WriteContext {
                    cached,
                    address,
                    orphan_version,
                    current: None,
                })
            })
            .collect();
        let keys: Vec<_> = contexts
            .iter()
            .flatten()
            .map(|context| storage_keys::current(&context.address))
            .collect();
        let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
        let stored = self.core.store.storage.read(&keys)?;
        for (context, stored) in contexts.iter_mut().flatten().zip(stored) {
            context.current = stored;
        }
        Ok(contexts)
    }

    /// Reads the `h` that blocked an earlier attempt.
    ///
    /// Must run before `r` is read. Otherwise a concurrent writer could move another `r` to this
    /// `h` in between, and replacing this `h` would restore what that writer replaced.
    fn read_orphan_version(
        &self,
        pending: &PendingWrite<'_>,
        address: &Address,
    ) -> Result<Option<(u64, Revision)>> {
        let Some(version) = pending.orphan_version else {
            return Ok(None);
        };
        let stored = self
            .core
            .store
            .read_one(&storage_keys::earlier(address, version))?;
        Ok(stored.map(|stored| (version, stored.revision)))
    }

    /// Returns whether the stored patient entry is still the one that `context` was read under.
    pub(super) fn entry_unchanged(
        &self,
        pending: &PendingWrite<'_>,
        context: &WriteContext,
    ) -> Result<bool> {
        let now = self.live_entry(pending.job.id.subject())?;
        Ok(now.is_some_and(|now| now.revision == context.cached.revision))
    }
}
