//! One pass over the record versions of a chart: each is checked, rewrapped or re-encrypted.

use crate::crypto::{ChartId, Place, StreamId};
use crate::error::{Error, Result};
use crate::format::envelope::{HEAD, Head};
use crate::format::storage_keys;
use crate::journal::{self, Act};
use crate::records::version_ref::VersionRef;
use crate::rotation::renewal::{RenewalChange, rewrap};
use crate::rotation::report::ReencryptionReport;
use crate::storage::{CommitError, Operation, Projection, ScanItem, Transaction};
use crate::vault::Vault;
use crate::vault::entries::{CachedEntry, chart_id};
use crate::vault::progress::Counter;

/// What is done to a version that is not under the active patient key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Its data key is wrapped again.
    Rewrap,
    /// Its content is sealed again under a new data key.
    Reencrypt,
}

/// What a pass over a chart found.
#[derive(Debug, Default)]
pub(super) struct ChartPass {
    /// Versions not under the active key, whether or not this pass changed that.
    pub(super) stale: u64,
    pub(super) blocking: u64,
    pub(super) orphaned: u64,
}

impl Vault {
    /// Records before history: a version that a put moves aside meanwhile is met in `h`.
    pub(super) fn walk_chart(
        &self,
        act: &Act,
        held: &CachedEntry,
        work: Work,
        report: &mut ReencryptionReport,
        counter: &mut Counter<'_>,
    ) -> Result<ChartPass> {
        let chart = chart_id(held)?;
        let mut pass = ChartPass::default();
        for place in [Place::Current, Place::Earlier] {
            let prefix = storage_keys::chart(place.code(), &chart);
            self.each_page(&prefix, Projection::Head(HEAD), &mut |entries| {
                let count = entries.len() as u64;
                let stale = self.stale_of(held, &chart, place, entries, &mut pass);
                self.renew(act, held, work, stale, report, &mut pass)?;
                counter.add(count);
                Ok(())
            })?;
        }
        Ok(pass)
    }

    /// Those not under the active key. The others must unwrap: a number is not to be believed.
    fn stale_of(
        &self,
        held: &CachedEntry,
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
            match self.is_active(held, &object, &value) {
                Ok(true) => {}
                Ok(false) => stale.push(object),
                Err(error) => self.count_unopened_version(held, &value, error, pass),
            }
        }
        stale
    }

    fn is_active(&self, held: &CachedEntry, object: &VersionRef, value: &[u8]) -> Result<bool> {
        let (head, _) = object.open_head(held, value)?;
        Ok(head.key_number == held.chart()?.active_key().number)
    }

    fn count_unopened_version(
        &self,
        held: &CachedEntry,
        value: &[u8],
        error: Error,
        pass: &mut ChartPass,
    ) {
        let number = Head::parse(value).map(|head| head.key_number);
        let retired = number.is_ok_and(|number| held.entry.was_destroyed(number));
        match error {
            Error::UnknownPatientKey if retired && !self.core.store.storage.is_transactional() => {
                pass.orphaned += 1;
            }
            // Also what hangs on another rotation's key: whoever walks looks again once the entry moved.
            _ => pass.blocking += 1,
        }
    }

    fn renew(
        &self,
        act: &Act,
        held: &CachedEntry,
        work: Work,
        stale: Vec<VersionRef>,
        report: &mut ReencryptionReport,
        pass: &mut ChartPass,
    ) -> Result<()> {
        if stale.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = stale.iter().map(|object| &object.key[..]).collect();
        let values = self.core.store.storage.read(&keys)?;
        let mut changes = Vec::new();
        for (object, stored) in stale.iter().zip(values) {
            pass.stale += 1;
            // Gone since: moved aside or erased.
            let Some(stored) = stored else { continue };
            let revision = stored.revision.clone();
            let change = match work {
                Work::Rewrap => rewrap(held, object, stored),
                Work::Reencrypt => self.reencrypted(act, held, object, stored),
            };
            match change {
                // A large one at a time: what was stored for it waits for nothing else.
                Ok(change) if change.streams.is_some() => {
                    self.commit_changes(vec![change], work, report)?;
                }
                Ok(change) => changes.push(change),
                Err(error @ (Error::Storage(_) | Error::Randomness | Error::Locked)) => {
                    return Err(error);
                }
                // Counted by the pass that finds it standing still.
                Err(Error::UnknownPatientKey) => {}
                Err(_) if self.is_below_a_marker(held, object)? => {
                    // Left of an expunge that broke off, and never put again.
                    self.core
                        .store
                        .remove_all(vec![object.key.clone()], &mut || ())?;
                }
                Err(_) => {
                    // Replaced meanwhile, and its former segments removed: nothing is wrong with it.
                    let now = self.core.store.read_one(&object.key)?;
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
        let (told, changes): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .map(|change| {
                let sent = change.transaction.clone();
                let told = journal::JournaledChange {
                    transaction: change.transaction,
                    drafts: change.told.into_iter().collect(),
                };
                (told, (change.bytes, change.streams, sent))
            })
            .unzip();
        let results = self.core.journal.commit(told)?;
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
                    // On storage that is not transactional the record may name the new stream
                    // already: a later check failed, or a request that was repeated below us met
                    // itself.
                    let surely_not = self.core.store.storage.is_transactional()
                        || operation == 0
                        || operation == 1
                            && streams.as_ref().is_none_or(|(upload, _)| {
                                self.is_unnamed(&sent, &upload.stream).unwrap_or(false)
                            });
                    if let (Some((upload, _)), true) = (streams, surely_not) {
                        self.core.store.discard(&upload);
                    }
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Whether the version that was to be sealed again names another stream, where it stands or
    /// where a put has moved it meanwhile: `r` before `h`.
    fn is_unnamed(&self, sent: &Transaction, stream: &StreamId) -> Result<bool> {
        let Some(Operation::Put { key, value, .. }) = sent.operations().get(1) else {
            return Ok(false);
        };
        let mut places = vec![key.clone()];
        if let Some((b'r', record)) = key.split_first() {
            let version = Head::parse(value)?.version;
            places.push([b"h", record, &version.to_be_bytes()].concat());
        }
        for place in places {
            let stored = self.core.store.read_one(&place)?;
            if stored.is_some_and(|stored| stored.value.get(HEAD..HEAD + 16) == Some(stream)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Vault {}
