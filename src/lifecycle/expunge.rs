//! Expunges a record that was filed under the wrong patient.
//!
//! ```text
//! [ ?p ; destroying put r = marker n+1 Unchanged ; ?p ]
//! for each h below the marker: delete w and s of its stream, then h ; until a pass finds none
//! ```
//! The marker is a retraction that says: versions below this one are gone for good. From the moment
//! it stands, nobody is told anything of them, whatever is still there; so what follows can break off
//! anywhere, and the next call finishes it. Version numbers never repeat, so nothing below a marker
//! is ever put again, and the deletes are safe whenever they land.
//!
//! One exception, where operations land one by one: a put that had read the former `r` may have put a
//! copy of it to `h|n` before it finds the marker in its way. That copy stands below the marker: it
//! is removed by the pass that sees it, or by the next expunge of the record, or by a re-encryption
//! that cannot open its content any more; nobody is told of it before.
//!
//! Segments go before the version that names them, so that a pass that breaks off finds their name
//! again; the marker keeps that of the version in whose place it stands.

use std::cell::Cell;

use crate::crypto::{Place, StreamId};
use crate::error::{Error, Result};
use crate::format::envelope::{self, Address, Content};
use crate::format::storage_keys;
use crate::id::{self, RecordId, Subject};
use crate::journal::Act;
use crate::lifecycle::report::ExpungeReport;
use crate::records::expunged_marker::Marker;
use crate::records::version_ref::VersionRef;
use crate::records::write::WriteJob;
use crate::storage::{Projection, Scan};
use crate::vault::entries::CachedEntry;
use crate::vault::{ROUNDS, Vault};

/// Versions removed at a time.
const PAGE: usize = 64;

/// What an expunge says that it cannot reach.
const NOT_REACHED: [&str; 3] = [
    "backups taken before: they hold these versions and, if they are of the whole storage, the keys that open them",
    "what left the vault: exports, messages, printouts, other systems",
    "the journal keeps that there was a record, who read and wrote it, and why it was expunged; none of its content, and no name in clear",
];
/// And one thing more where operations land one by one.
const LATE_COPY: &str = "a put of this record that was under way elsewhere may still store a copy of what it read before: nobody is told of it, and expunging again removes it";

impl Vault {
    pub(crate) fn expunge(&self, act: &Act, id: &RecordId, reason: &str) -> Result<ExpungeReport> {
        id::check_reason(reason)?;
        self.require_writable()?;
        let held = self.live_entry(id.subject())?;
        let address = held.ok_or(Error::UnknownSubject)?.address(id.name())?;
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
        // A broken-off put may have left a copy of the version that the marker replaced.
        let counted = written.map(|marker| marker - 1);
        self.sweep_below(id, &address, marker.version, counted, &mut report)?;
        Ok(report)
    }

    /// The uppermost marker of a record.
    fn marker(&self, id: &RecordId, address: &Address) -> Result<Marker> {
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let held = self.chart_still(id.subject(), address)?;
            let Some(current) = self.core.store.read_one(&storage_keys::current(address))? else {
                continue;
            };
            match self.marker_in(&held, address, &current) {
                Ok(Some(marker)) => return Ok(marker),
                // Rotated, or moved aside, between the looks.
                Ok(None) | Err(Error::UnknownPatientKey) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Contended)
    }

    /// Removes all versions below a marker and their content, until a pass finds none.
    fn sweep_below(
        &self,
        id: &RecordId,
        address: &Address,
        marker: u64,
        counted: Option<u64>,
        report: &mut ExpungeReport,
    ) -> Result<()> {
        let prefix = storage_keys::earlier_versions(address);
        let mut seen = None;
        loop {
            let page = self.core.store.storage.scan(Scan {
                prefix: &prefix,
                after: None,
                limit: PAGE,
                projection: Projection::Values,
            })?;
            let chart = &address.chart;
            let objects = page.items.into_iter().filter_map(|entry| {
                let object = VersionRef::at(chart, Place::Earlier, entry.key)?;
                (object.version? < marker).then_some((object, entry.value))
            });
            let objects: Vec<_> = objects.collect();
            if objects.is_empty() {
                return Ok(());
            }
            let held = self.chart_still(id.subject(), address)?;
            let mut streams = Vec::new();
            let mut young = false;
            for (object, value) in &objects {
                match self.streams_of(&held, object, value) {
                    Ok(found) => streams.extend(found),
                    Err(error @ (Error::Storage(_) | Error::Locked)) => return Err(error),
                    Err(Error::UnknownPatientKey) => young = true,
                    // Its content is left to a collection of garbage.
                    Err(_) => {}
                }
            }
            // Rotated meanwhile: it opens at the next look. Else nobody can open it any more.
            if young && seen.as_ref() != Some(&held.revision) {
                seen = Some(held.revision.clone());
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
            self.core.store.remove_all(keys, &mut || ())?;
        }
    }

    /// The streams that go with a version: its own, and that of a version that a former marker
    /// replaced. A name that leads elsewhere was altered.
    fn streams_of(
        &self,
        held: &CachedEntry,
        object: &VersionRef,
        value: &[u8],
    ) -> Result<Option<StreamId>> {
        let (head, key) = object.open_head(held, value)?;
        let opened = envelope::open(value.to_vec(), &head, &object.address, None, &key)?;
        if opened.is_expunged() {
            return Ok(opened.meta.expunged_stream());
        }
        let Content::Segmented { stream, key, .. } = opened.content else {
            return Ok(None);
        };
        let keys = [(head.suite, key)];
        let is_its_own = self
            .core
            .store
            .is_of_a_record(&object.address.chart, &stream, &keys)?;
        Ok(is_its_own.then_some(stream))
    }

    /// The intent first, though it has served: where a put lands in steps, its last one may be to come.
    fn remove_stream(
        &self,
        address: &Address,
        stream: &StreamId,
        report: &mut ExpungeReport,
    ) -> Result<()> {
        let chart = &address.chart;
        self.core
            .store
            .remove_all(vec![storage_keys::intent(chart, stream)], &mut || ())?;
        let segments = &mut report.segments;
        self.core
            .store
            .remove_under(&storage_keys::segments(chart, stream), &mut || {
                *segments += 1
            })?;
        Ok(())
    }

    /// The entry, looked at now, if the subject still has the chart that this began with.
    fn chart_still(
        &self,
        subject: &Subject,
        address: &Address,
    ) -> Result<std::sync::Arc<CachedEntry>> {
        let held = self.live_entry(subject)?.ok_or(Error::UnknownSubject)?;
        let same = *held.chart()?.id() == address.chart;
        same.then_some(held).ok_or(Error::Erased)
    }
}
