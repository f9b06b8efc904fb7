//! Expunge of a record that was filed under the wrong patient.
//!
//! ```text
//! [ ?p ; destroying put r = marker n+1 Unchanged ; ?p ]
//! for each h below the marker: delete w and s of its stream, then h ; until a pass finds none
//! ```
//! An expunged marker is a retraction that also records the destruction of all versions below it.
//! Once the marker is stored, no read returns these versions, even while some are still in storage.
//! The deletes that follow can therefore stop at any point, and the next call finishes them.
//! Version numbers never repeat, so no version below a marker is put again, and a late delete is
//! safe.
//!
//! Storage that is not transactional has one exception. A put may have read the current version
//! before the marker was stored. Such a put may copy that version into the history before it fails
//! at the marker. The copy is below the marker, so no read returns the copy. The running expunge or
//! the next expunge of the record removes the copy. A re-encryption also removes the copy if the
//! copy's content no longer opens.
//!
//! Segments are deleted before the version that references them, so that a repeated pass finds the
//! reference again. The marker keeps the stream id of the version that it replaced.

use std::cell::Cell;

use crate::crypto::{Place, StreamId};
use crate::error::{Error, Result};
use crate::format::envelope::{self, Address, Content};
use crate::format::storage_keys;
use crate::id::{RecordId, Subject};
use crate::journal::Act;
use crate::lifecycle::report::ExpungeReport;
use crate::records::expunged_marker::Marker;
use crate::records::stream_owner::StreamOwner;
use crate::records::version_ref::VersionRef;
use crate::records::write::WriteJob;
use crate::storage::{Projection, Scan, Value};
use crate::vault::entries::CachedEntry;
use crate::vault::{ROUNDS, Vault};

/// Maximum number of versions that are removed in one pass. The limit bounds memory, because a pass
/// reads whole values.
const PAGE: usize = 64;

const NOT_REACHED: [&str; 3] = [
    "a backup from before the expunge contains these versions; a backup of the whole storage also contains the keys that open them",
    "exports, messages, printouts and other systems keep what left the vault",
    "the journal still records that the record existed, who read and wrote it, and why it was expunged, without content and without a name in plaintext",
];
/// Additional copy that an expunge cannot reach, on storage that is not transactional.
const LATE_COPY: &str = "a put by another process may still store a copy of the version that it replaces; no read returns this copy, and another expunge removes it";

impl Vault {
    pub(crate) fn expunge(&self, act: &Act, id: &RecordId) -> Result<ExpungeReport> {
        self.require_writable()?;
        let cached = self.live_entry(id.subject())?;
        let address = cached.ok_or(Error::UnknownSubject)?.address(id.name())?;
        let purged = Cell::new(false);
        let job = WriteJob::expunge(act, id, &purged, self.core.store.clock.now())?;
        let written = self.write_one(job)?;
        let mut report = ExpungeReport {
            versions: u64::from(written.is_some()),
            resumed: written.is_none(),
            purge_deferred: !purged.get(),
            not_reached: NOT_REACHED.to_vec(),
            ..ExpungeReport::default()
        };
        if !self.core.store.storage.is_transactional() {
            report.not_reached.push(LATE_COPY);
        }
        let marker = self.marker(id, &address)?;
        if let Some(stream) = &marker.stream {
            self.remove_stream(&address, stream, &mut report)?;
        }
        // Do not count a copy of the version that the marker replaced: the report already counts
        // that version, and an interrupted put may have left the copy.
        let counted = written.map(|marker| marker - 1);
        self.sweep_below(id, &address, marker.version, counted, &mut report)?;
        Ok(report)
    }

    /// Finds the newest marker of a record.
    fn marker(&self, id: &RecordId, address: &Address) -> Result<Marker> {
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let cached = self.entry_of_chart(id.subject(), address)?;
            let Some(current) = self.core.store.read_one(&storage_keys::current(address))? else {
                continue;
            };
            match self.marker_in(&cached, address, id.name(), &current) {
                Ok(Some(marker)) => return Ok(marker),
                // A rotation or a put changed the record between the two reads.
                Ok(None) | Err(Error::UnknownPatientKey) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Contended)
    }

    /// Removes all versions below a marker with their content, and repeats until a pass finds none.
    fn sweep_below(
        &self,
        id: &RecordId,
        address: &Address,
        marker: u64,
        counted: Option<u64>,
        report: &mut ExpungeReport,
    ) -> Result<()> {
        let mut seen = None;
        loop {
            let objects = self.versions_below(address, marker)?;
            if objects.is_empty() {
                return Ok(());
            }
            let cached = self.entry_of_chart(id.subject(), address)?;
            let mut streams = Vec::new();
            let mut young = false;
            for (object, value) in &objects {
                match self.streams_of(&cached, object, value) {
                    Ok(found) => streams.extend(found),
                    Err(error @ (Error::Storage(_) | Error::Locked)) => return Err(error),
                    Err(Error::UnknownPatientKey) => young = true,
                    // Remove only the version here, because garbage collection frees its content.
                    Err(_) => {}
                }
            }
            // A concurrent rotation may have added the key, so read the patient entry again. If the
            // entry is unchanged, no key opens the version any more.
            if young && seen.as_ref() != Some(&cached.revision) {
                seen = Some(cached.revision.clone());
                continue;
            }
            for stream in &streams {
                self.remove_stream(address, stream, report)?;
            }
            let news = objects
                .iter()
                .filter(|(object, _)| object.version != counted);
            report.versions += news.count() as u64;
            let keys = objects.into_iter().map(|(object, _)| object.key).collect();
            self.core.store.remove_all(keys, &mut || Ok(()))?;
        }
    }

    /// Returns versions below a marker, at most one page of them; none if no version is left. Skips
    /// pages that contain only keys of no version, because an attacker can plant such keys.
    fn versions_below(&self, address: &Address, marker: u64) -> Result<Vec<(VersionRef, Value)>> {
        let prefix = storage_keys::earlier_versions(address);
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.core.store.scan(Scan {
                prefix: &prefix,
                after: after.as_deref(),
                limit: PAGE,
                projection: Projection::Values,
            })?;
            let last = page.items.last().map(|item| item.key.clone());
            let objects = page.items.into_iter().filter_map(|item| {
                let object = VersionRef::at(&address.chart, Place::Earlier, item.key)?;
                (object.version? < marker).then_some((object, item.value))
            });
            let objects: Vec<_> = objects.collect();
            if !objects.is_empty() || !page.more {
                return Ok(objects);
            }
            // A page without a key does not show where to continue.
            after = Some(last.ok_or(Error::Contended)?);
        }
    }

    /// Returns the stream to remove with a version: its content stream or, for an expunged marker,
    /// the stream that the marker records. Returns `None` if the stream may belong to another
    /// record, because an altered version can reference such a stream.
    fn streams_of(
        &self,
        cached: &CachedEntry,
        object: &VersionRef,
        value: &[u8],
    ) -> Result<Option<StreamId>> {
        let (head, key) = object.open_head(cached, value)?;
        let opened = envelope::open(value.to_vec(), &head, &object.address, None, &key)?;
        if opened.is_expunged() {
            return Ok(opened.meta.replaced_stream());
        }
        let Content::Segmented { stream, key, .. } = opened.content else {
            return Ok(None);
        };
        let keys = [(head.suite, key)];
        let chart = &object.address.chart;
        let owner = self.core.store.stream_owner(chart, &stream, &keys)?;
        Ok((owner == StreamOwner::Record).then_some(stream))
    }

    /// Removes a stream and its intent. Deletes the intent first, because on storage that is not
    /// transactional the put's delete of the intent may still be outstanding.
    fn remove_stream(
        &self,
        address: &Address,
        stream: &StreamId,
        report: &mut ExpungeReport,
    ) -> Result<()> {
        let chart = &address.chart;
        self.core
            .store
            .remove_all(vec![storage_keys::intent(chart, stream)], &mut || Ok(()))?;
        let segments = &mut report.segments;
        self.core
            .store
            .remove_under(&storage_keys::segments(chart, stream), &mut || {
                *segments += 1;
                Ok(())
            })?;
        Ok(())
    }

    /// Reads the patient entry, and fails if the subject no longer has this chart.
    fn entry_of_chart(
        &self,
        subject: &Subject,
        address: &Address,
    ) -> Result<std::sync::Arc<CachedEntry>> {
        let cached = self.live_entry(subject)?.ok_or(Error::UnknownSubject)?;
        let same = *cached.chart()?.id() == address.chart;
        same.then_some(cached).ok_or(Error::Erased)
    }
}
