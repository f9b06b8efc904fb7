//! Pass over the record versions of a chart, which checks, rewraps or re-encrypts each version.

use crate::crypto::{ChartId, Place, StreamId};
use crate::error::{Error, Result};
use crate::format::envelope::{HEAD, Head};
use crate::format::storage_keys;
use crate::journal::{self, Act};
use crate::records::version_ref::VersionRef;
use crate::rotation::renewal::{RenewalChange, rewrap};
use crate::rotation::report::ReencryptionReport;
use crate::storage::{CommitError, Operation, Projection, ScanItem, StorageError, Transaction};
use crate::vault::Vault;
use crate::vault::entries::{CachedEntry, chart_id};
use crate::vault::progress::Counter;

/// Treatment of a version that is not under the active patient key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Rewraps the data key of the version.
    Rewrap,
    /// Re-encrypts the content of the version under a new data key.
    Reencrypt,
}

#[derive(Debug, Default)]
pub(super) struct ChartPass {
    /// Number of versions that were not under the active key when this pass read them.
    pub(super) stale: u64,
    pub(super) blocking: u64,
    pub(super) orphaned: u64,
}

/// Returns `true` if a rotation must end with this error. Damage of one version only blocks the
/// destruction of former keys.
fn is_fatal(error: &Error) -> bool {
    match error {
        Error::Storage(error) => *error != StorageError::Damaged,
        error => matches!(error, Error::Randomness | Error::Locked | Error::Cancelled),
    }
}

impl Vault {
    /// Renews the versions of a chart in one pass. Walks current records before history, because a
    /// concurrent put moves versions from the records to the history, never back.
    pub(super) fn walk_chart(
        &self,
        act: &Act,
        cached: &CachedEntry,
        work: Work,
        report: &mut ReencryptionReport,
        counter: &mut Counter<'_>,
    ) -> Result<ChartPass> {
        let chart = chart_id(cached)?;
        let mut pass = ChartPass::default();
        for place in [Place::Current, Place::Earlier] {
            let prefix = storage_keys::chart(place.code(), &chart);
            self.each_page(&prefix, Projection::Head(HEAD), &mut |entries| {
                let count = entries.len() as u64;
                let stale = self.stale_versions(cached, &chart, place, entries, &mut pass);
                self.renew(act, cached, work, stale, report, &mut pass)?;
                counter.add(count)
            })?;
        }
        Ok(pass)
    }

    /// Returns the versions that are not under the active key. The data keys of all other versions
    /// must unwrap, because the key number alone is not authenticated.
    fn stale_versions(
        &self,
        cached: &CachedEntry,
        chart: &ChartId,
        place: Place,
        entries: Vec<ScanItem>,
        pass: &mut ChartPass,
    ) -> Vec<VersionRef> {
        let mut stale = Vec::new();
        for ScanItem { key, value, .. } in entries {
            let Some(object) = VersionRef::at(chart, place, key) else {
                pass.blocking += 1;
                continue;
            };
            match self.is_active(cached, &object, &value) {
                Ok(true) => {}
                Ok(false) => stale.push(object),
                Err(error) => self.count_unopened_version(cached, &value, error, pass),
            }
        }
        stale
    }

    fn is_active(&self, cached: &CachedEntry, object: &VersionRef, value: &[u8]) -> Result<bool> {
        let (head, _) = object.open_head(cached, value)?;
        Ok(head.key_number == cached.chart()?.active_key().number)
    }

    fn count_unopened_version(
        &self,
        cached: &CachedEntry,
        value: &[u8],
        error: Error,
        pass: &mut ChartPass,
    ) {
        let number = Head::parse(value).map(|head| head.key_number);
        let retired = number.is_ok_and(|number| cached.entry.was_destroyed(number));
        match error {
            Error::UnknownPatientKey if retired && !self.core.store.storage.is_transactional() => {
                pass.orphaned += 1;
            }
            // Versions under the key of another rotation also count as blocking. The walk starts
            // again once the entry has changed.
            _ => pass.blocking += 1,
        }
    }

    fn renew(
        &self,
        act: &Act,
        cached: &CachedEntry,
        work: Work,
        stale: Vec<VersionRef>,
        report: &mut ReencryptionReport,
        pass: &mut ChartPass,
    ) -> Result<()> {
        if stale.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = stale.iter().map(|object| &object.key[..]).collect();
        let values = self.core.store.read_each(&keys)?;
        let mut changes = Vec::new();
        for (object, stored) in stale.iter().zip(values) {
            pass.stale += 1;
            // Skip a version that a put moved to the history, or that an erasure deleted.
            let Some(stored) = stored else { continue };
            let revision = stored.revision.clone();
            let change = match work {
                Work::Rewrap => rewrap(cached, object, stored),
                Work::Reencrypt => self.reencrypted(act, cached, object, stored),
            };
            match change {
                // Commit a segmented version immediately, because its new segments must not wait
                // for other versions to be re-encrypted.
                Ok(change) if change.streams.is_some() => {
                    self.commit_changes(vec![change], work, report)?;
                }
                Ok(change) => changes.push(change),
                Err(error) if is_fatal(&error) => return Err(error),
                // The next pass counts this version, unless the version has changed by then.
                Err(Error::UnknownPatientKey) => {}
                Err(_) if self.is_below_a_marker(cached, object)? => {
                    // Remove the version, because an interrupted expunge left it and no put writes
                    // that version again.
                    self.core
                        .store
                        .remove_all(vec![object.key.clone()], &mut || Ok(()))?;
                }
                Err(_) => {
                    // Report damage only if the version is unchanged, because a concurrent put may
                    // have replaced the version and removed its former segments.
                    let now = self.core.store.read_damaged(&object.key)?;
                    if now.is_some_and(|now| now.revision == revision) {
                        pass.stale -= 1;
                        pass.blocking += 1;
                    }
                }
            }
        }
        self.commit_changes(changes, work, report)
    }

    fn commit_changes(
        &self,
        changes: Vec<RenewalChange>,
        work: Work,
        report: &mut ReencryptionReport,
    ) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let (journaled, changes): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .map(|change| {
                let sent = change.transaction.clone();
                let with_entry = journal::JournaledChange {
                    transaction: change.transaction,
                    drafts: change.entry.into_iter().collect(),
                };
                (with_entry, (change.bytes, change.streams, sent))
            })
            .unzip();
        let results = self.core.journal.commit(journaled)?;
        for ((bytes, streams, sent), result) in changes.into_iter().zip(results) {
            match result {
                Ok(_) => {
                    match work {
                        Work::Rewrap => report.rewrapped += 1,
                        Work::Reencrypt => report.reencrypted += 1,
                    }
                    report.bytes += bytes;
                    if let Some((upload, former)) = streams {
                        self.core.store.remove_segments(&upload.chart, &former)?;
                    }
                }
                Err(CommitError::Io(error)) => return Err(error.into()),
                Err(CommitError::Conflict { operation }) => {
                    // Discard the upload only if no record can reference the new stream. On storage
                    // that is not transactional, the record may already reference the stream. A
                    // later check may have failed, or a client library may have repeated a request
                    // and conflicted with its own first attempt.
                    let is_unused = self.core.store.storage.is_transactional()
                        || operation == 0
                        || operation == 1
                            && streams.as_ref().is_none_or(|(upload, _)| {
                                self.is_unreferenced(&sent, &upload.stream).unwrap_or(false)
                            });
                    if let (Some((upload, _)), true) = (streams, is_unused) {
                        self.core.store.discard(&upload);
                    }
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Returns `true` if no stored value references `stream`. Reads the value at the version's own
    /// storage key first, and then the history key to which a put may have moved the version.
    fn is_unreferenced(&self, sent: &Transaction, stream: &StreamId) -> Result<bool> {
        let Some(Operation::Put { key, value, .. }) = sent.operations().get(1) else {
            return Ok(false);
        };
        let mut locations = vec![key.clone()];
        if let Some((b'r', record)) = key.split_first() {
            let version = Head::parse(value)?.version;
            locations.push([b"h", record, &version.to_be_bytes()].concat());
        }
        for location in locations {
            let stored = self.core.store.read_one(&location)?;
            if stored.is_some_and(|stored| stored.value.get(HEAD..HEAD + 16) == Some(stream)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Vault {}
