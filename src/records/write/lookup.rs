//! Reads of the patient entry and the current version before a write.

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

/// The stored state that a write job builds on: patient entry and current version.
pub(super) struct WriteContext {
    pub(super) cached: Arc<CachedEntry>,
    pub(super) address: Address,
    /// Version and revision of a stored earlier version that blocked an earlier attempt.
    orphan_version: Option<(u64, Revision)>,
    pub(super) current: Option<Stored>,
}

impl WriteContext {
    /// Returns the version number in the head of the current version; 0 if there is no current
    /// version.
    pub(super) fn version(&self) -> Result<u64> {
        let current = self.current.as_ref();
        current.map_or(Ok(0), |stored| Ok(Head::parse(&stored.value)?.version))
    }

    /// Returns the precondition for moving the current version to the earlier versions: `Absent`,
    /// unless an orphan blocked an earlier attempt.
    ///
    /// The orphan was left by an interrupted put, or belongs to a put that was just committed. The
    /// orphan is replaced only together with the current version that was read after the orphan.
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

    /// Reads the patient entry and the current version for each job, all in one call. The jobs
    /// share one actor and purpose.
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
        let stored = self.core.store.read_each(&keys)?;
        for (context, stored) in contexts.iter_mut().flatten().zip(stored) {
            context.current = stored;
        }
        Ok(contexts)
    }

    /// Reads the earlier version that blocked an earlier attempt.
    ///
    /// This read must precede the read of the current version. Otherwise a concurrent writer could
    /// move another current version to this storage key between the two reads. Replacing the object
    /// at this key would then restore what that writer replaced.
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

    /// Returns `true` if the stored patient entry is unchanged since `context` was read.
    pub(super) fn entry_unchanged(
        &self,
        pending: &PendingWrite<'_>,
        context: &WriteContext,
    ) -> Result<bool> {
        let now = self.live_entry(pending.job.id.subject())?;
        Ok(now.is_some_and(|now| now.revision == context.cached.revision))
    }
}
