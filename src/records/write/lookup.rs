//! Reads of the patient entry and the current version before a write.

use std::collections::HashMap;
use std::sync::Arc;

use crate::crypto::{ChartId, DataKey, PatientKey, Place};
use crate::error::{Error, Result};
use crate::format::envelope::{self, Address, Head};
use crate::format::storage_keys;
use crate::id::Subject;
use crate::journal::Act;
use crate::keys::ring::KeyVersion;
use crate::keys::wrap;
use crate::records::write::{NewSubjects, PendingWrite};
use crate::storage::{Expect, Revision, Stored};
use crate::vault::Vault;
use crate::vault::entries::{
    CachedEntry, EntryRequest, Freshness, NewSubject, WritableEntry, chart_id,
};

/// The stored state that a write job builds on: patient entry and current version.
pub(super) struct WriteContext {
    pub(super) cached: Arc<CachedEntry>,
    pub(super) address: Address,
    /// `true` if `cached` is not stored yet, and must be stored together with the record.
    pub(super) is_new_subject: bool,
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

    /// Returns the value of the current version, rewrapped for the earlier versions.
    pub(super) fn moved(
        &self,
        current: &Stored,
        head: &Head,
        data_key: &DataKey,
    ) -> Result<Vec<u8>> {
        let wrapped = wrap::wrap(
            head.suite,
            &self.patient_key(head.key_number)?.key,
            Place::Earlier,
            head.key_number,
            &head.commitment,
            data_key,
        )?;
        // Keep the patient key number of the moved version, so that the scan of a rotation still
        // finds the version.
        envelope::rewrapped(current.value.to_vec(), head.key_number, &wrapped)
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
        // A cached entry may be that of a chart which was erased and reopened since. A put then starts again
        // with the new chart, but an upload cannot.
        let request = EntryRequest {
            freshness: Freshness::Fresh,
            with_records: false,
        };
        let mut entries = self.entries_for_writing(&HashMap::from([(subject, request)]), act)?;
        match entries.remove(subject).unwrap_or(Err(Error::Contended))? {
            WritableEntry::Stored(cached) => chart_id(&cached),
            WritableEntry::New(_) => Err(Error::Contended),
        }
    }

    /// Reads the patient entry and the current version for each job, all in one call. The jobs
    /// share one actor and purpose.
    pub(super) fn read_contexts(
        &self,
        batch: &mut [PendingWrite<'_>],
        new_subjects: &mut NewSubjects,
    ) -> Result<Vec<Result<WriteContext>>> {
        let entries = self.entries_of_batch(batch, new_subjects)?;
        let mut contexts: Vec<Result<WriteContext>> = batch
            .iter()
            .map(|pending| {
                let subject = pending.job.id.subject();
                let new = new_subjects.get(subject).map(|new| Ok(new.cached()));
                let found = new.or_else(|| entries.get(subject).map(Result::as_ref));
                let cached = found.ok_or(Error::Contended)?.map_err(Clone::clone)?;
                let address = cached.address(pending.job.id.name())?;
                let orphan_version = self.read_orphan_version(pending, &address)?;
                Ok(WriteContext {
                    cached: Arc::clone(cached),
                    address,
                    is_new_subject: new_subjects.contains_key(subject),
                    orphan_version,
                    current: None,
                })
            })
            .collect();
        // A new chart has no record.
        let stored = |context: &&mut WriteContext| !context.is_new_subject;
        let stored: Vec<_> = contexts.iter_mut().flatten().filter(stored).collect();
        if stored.is_empty() {
            return Ok(contexts);
        }
        let keys = stored.iter().map(|it| storage_keys::current(&it.address));
        let keys: Vec<_> = keys.collect();
        let keys: Vec<_> = keys.iter().map(|key| key.as_slice()).collect();
        let current = self.core.store.read_each(&keys)?;
        for (context, current) in stored.into_iter().zip(current) {
            context.current = current;
        }
        Ok(contexts)
    }

    /// Returns the stored entry of each subject. Entries of new subjects are sealed into
    /// `new_subjects` instead, if the batch can store them together with the records.
    fn entries_of_batch(
        &self,
        batch: &mut [PendingWrite<'_>],
        new_subjects: &mut NewSubjects,
    ) -> Result<HashMap<Subject, Result<Arc<CachedEntry>>>> {
        let Some(act) = batch.first().map(|pending| pending.job.act.clone()) else {
            return Ok(HashMap::new());
        };
        if !new_subjects.is_empty() {
            // Read the header before the entries. An attempt under another header can then not be
            // committed after the entry is found missing.
            self.reload_header()?;
        }
        let entries = self.entries_for_writing(&self.entry_requests(batch), &act)?;
        let mut stored = HashMap::with_capacity(entries.len());
        for (subject, entry) in entries {
            let tried = new_subjects.remove(&subject);
            let entry = match (entry, tried) {
                (Ok(WritableEntry::New(new)), Some(tried)) if tried.has_header_of(&new) => {
                    new_subjects.insert(subject, tried);
                    continue;
                }
                (Ok(WritableEntry::New(new)), tried) => {
                    forget_attempts(batch, &subject, tried.as_ref());
                    new_subjects.insert(subject, new);
                    continue;
                }
                (Ok(WritableEntry::Stored(cached)), tried) => {
                    let tried = tried.filter(|tried| !has_had_chart(&cached, tried));
                    forget_attempts(batch, &subject, tried.as_ref());
                    Ok(cached)
                }
                (Err(error), _) => Err(error),
            };
            stored.insert(subject, entry);
        }
        Ok(stored)
    }

    fn entry_requests<'a>(&self, batch: &[PendingWrite<'a>]) -> HashMap<&'a Subject, EntryRequest> {
        let mut requests = HashMap::new();
        for pending in batch {
            let request = requests
                .entry(pending.job.id.subject())
                .or_insert(EntryRequest {
                    freshness: Freshness::Cached,
                    with_records: self.core.store.storage.is_transactional(),
                });
            if pending.freshness == Freshness::Fresh {
                request.freshness = Freshness::Fresh;
            }
            // Store the entry before the upload, because garbage collection deletes an upload to a
            // chart without an entry.
            request.with_records &= !pending.needs_upload();
        }
        requests
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

/// Returns `true` if the chart of an attempt is or was the chart of a stored entry.
fn has_had_chart(cached: &CachedEntry, tried: &NewSubject) -> bool {
    let chart = chart_id(tried.cached());
    chart.is_ok_and(|chart| {
        chart_id(cached) == Ok(chart) || cached.entry.dead_charts().contains(&chart)
    })
}

/// Resets the jobs of a subject whose last attempt, with the entry `tried`, can never be committed:
/// either the header that the attempt checks was replaced, or the subject has another entry.
fn forget_attempts(batch: &mut [PendingWrite<'_>], subject: &Subject, tried: Option<&NewSubject>) {
    let Some(chart) = tried.and_then(|tried| chart_id(tried.cached()).ok()) else {
        return;
    };
    for pending in batch {
        if pending.job.id.subject() == subject && pending.chart == Some(chart) {
            pending.forget_attempts();
        }
    }
}
