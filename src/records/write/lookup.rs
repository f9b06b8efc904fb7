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

/// What was found for a job.
pub(super) struct WriteContext {
    pub(super) held: Arc<CachedEntry>,
    pub(super) address: Address,
    /// An `h` that was in the way of an earlier try, by version.
    orphan_version: Option<(u64, Revision)>,
    pub(super) current: Option<Stored>,
}

impl WriteContext {
    /// The current version by its header, 0 if there is none.
    pub(super) fn version(&self) -> Result<u64> {
        let current = self.current.as_ref();
        current.map_or(Ok(0), |stored| Ok(Head::parse(&stored.value)?.version))
    }

    /// `Absent` first. One that is in the way is left of a put that broke off, or of one that has
    /// just happened: it is replaced only together with the `r` that was read after it.
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
        self.held.entry.key(number).ok_or(Error::UnknownPatientKey)
    }
}

impl Vault {
    /// The chart that a subject's records are written to now; begins one for a subject never seen.
    pub(crate) fn chart_for_writing(&self, subject: &Subject, act: &Act) -> Result<ChartId> {
        let subjects = HashMap::from([(subject, Freshness::Cached)]);
        let entries = self.entries_for_writing(&subjects, act)?;
        let held = entries.get(subject).ok_or(Error::Contended)?;
        chart_id(held.as_ref().map_err(Clone::clone)?)
    }

    /// Entry and current version for each job, read together. All are of one act.
    pub(super) fn look_for_writing(
        &self,
        turn: &[PendingWrite<'_>],
    ) -> Result<Vec<Result<WriteContext>>> {
        let Some(PendingWrite {
            job: WriteJob { act, .. },
            ..
        }) = turn.first()
        else {
            return Ok(Vec::new());
        };
        let mut subjects: HashMap<&Subject, Freshness> = HashMap::new();
        for pending in turn {
            let freshness = subjects
                .entry(pending.job.id.subject())
                .or_insert(Freshness::Cached);
            if pending.freshness == Freshness::Fresh {
                *freshness = Freshness::Fresh;
            }
        }
        let entries = self.entries_for_writing(&subjects, act)?;
        let mut found: Vec<Result<WriteContext>> = turn
            .iter()
            .map(|pending| {
                let held = entries.get(pending.job.id.subject());
                let held = Arc::clone(
                    held.ok_or(Error::Contended)?
                        .as_ref()
                        .map_err(Clone::clone)?,
                );
                let address = held.address(pending.job.id.name())?;
                let orphan_version = self.read_in_the_way(pending, &address)?;
                Ok(WriteContext {
                    held,
                    address,
                    orphan_version,
                    current: None,
                })
            })
            .collect();
        let keys: Vec<_> = found
            .iter()
            .flatten()
            .map(|found| storage_keys::current(&found.address))
            .collect();
        let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
        let stored = self.core.store.storage.read(&keys)?;
        for (found, stored) in found.iter_mut().flatten().zip(stored) {
            found.current = stored;
        }
        Ok(found)
    }

    /// Read before `r` is: were it read after, it could be the work of a writer who moved another `r`
    /// aside in between, and replacing it would bring back what that writer replaced.
    fn read_in_the_way(
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

    /// Whether the entry is still the one under which the record was looked at.
    pub(super) fn entry_unchanged(
        &self,
        pending: &PendingWrite<'_>,
        found: &WriteContext,
    ) -> Result<bool> {
        let now = self.live_entry(pending.job.id.subject())?;
        Ok(now.is_some_and(|now| now.revision == found.held.revision))
    }
}
