//! Expunging a record: what was filed under the wrong patient.
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
use crate::format::envelope::{self, Address, Content, HEAD, Head, Kind, Opened};
use crate::format::storage_keys;
use crate::id::{self, RecordId, Subject};
use crate::journal::Act;
use crate::lifecycle::report::ExpungeReport;
use crate::records::read;
use crate::records::version_ref::Object;
use crate::records::write::Job;
use crate::storage::{Entry, Scan, Stored, Want};
use crate::vault::entries::Held;
use crate::vault::{ROUNDS, Vault};

/// Versions opened and removed at a time.
const PAGE: usize = 64;

/// What an expunge says that it cannot reach.
const NOT_REACHED: [&str; 3] = [
    "backups taken before: they hold these versions and, if they are of the whole storage, the keys that open them",
    "what left the vault: exports, messages, printouts, other systems",
    "the journal keeps that there was a record, who read and wrote it, and why it was expunged; none of its content, and no name in clear",
];
/// And one thing more where operations land one by one.
const LATE_COPY: &str = "a put of this record that was under way elsewhere may still store a copy of what it read before: nobody is told of it, and expunging again removes it";

/// The version that stands for those below it.
struct Marker {
    version: u64,
    /// What the version in whose place it was put had named.
    stream: Option<StreamId>,
}

impl Vault {
    pub(crate) fn expunge(&self, act: &Act, id: &RecordId, reason: &str) -> Result<ExpungeReport> {
        id::check_reason(reason)?;
        self.require_writable()?;
        let held = self.live_entry(id.subject())?;
        let address = read::address(&*held.ok_or(Error::UnknownSubject)?, id.name())?;
        let purged = Cell::new(false);
        let job = Job::expunge(act, id, &purged, self.store.clock.now())?;
        let written = self.write_one(job)?;
        let mut report = ExpungeReport {
            versions: u64::from(written.is_some()),
            resumed: written.is_none(),
            purge_deferred: !purged.get(),
            not_reached: NOT_REACHED.to_vec(),
            ..ExpungeReport::default()
        };
        if !self.store.storage.is_transactional() {
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
            self.store.back_off(round);
            let held = self.chart_still(id.subject(), address)?;
            let Some(current) = self.store.read_one(&storage_keys::current(address))? else {
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

    fn marker_in(
        &self,
        held: &Held,
        address: &Address,
        current: &Stored,
    ) -> Result<Option<Marker>> {
        let head = Head::parse(&current.value)?;
        if let Some(marker) = marker_of(held, address, Place::Current, current.value.clone())? {
            return Ok(Some(marker));
        }
        let mut last = None;
        self.each_retraction(address, 0, head.version, &mut |_, value| {
            last = marker_of(held, address, Place::Earlier, value)?.or(last.take());
            Ok(())
        })?;
        Ok(last)
    }

    /// Whether a version that is below the current one was expunged: a marker stands above it. One
    /// that may be a marker, but does not open, leaves that open.
    pub(crate) fn is_expunged(
        &self,
        held: &Held,
        address: &Address,
        version: u64,
        current: &Stored,
    ) -> Result<bool> {
        let mut found = false;
        let mut doubt = Ok(());
        let mut look = |place, value| match marker_of(held, address, place, value) {
            Ok(marker) => found |= marker.is_some(),
            Err(error) => doubt = Err(error),
        };
        look(Place::Current, current.value.clone());
        let current = Head::parse(&current.value)?.version;
        self.each_retraction(address, version, current, &mut |_, value| {
            look(Place::Earlier, value);
            Ok(())
        })?;
        match found {
            true => Ok(true),
            false => doubt.map(|()| false),
        }
    }

    /// Whether a marker stands above an earlier version, as far as can be told.
    pub(crate) fn is_below_a_marker(&self, held: &Held, object: &Object) -> Result<bool> {
        let (Some(version), address) = (object.version, &object.address) else {
            return Ok(false);
        };
        let Some(current) = self.store.read_one(&storage_keys::current(address))? else {
            return Ok(false);
        };
        let below = Head::parse(&current.value).is_ok_and(|head| version < head.version);
        match below.then(|| self.is_expunged(held, address, version, &current)) {
            Some(Err(error @ (Error::Storage(_) | Error::Locked))) => Err(error),
            told => Ok(matches!(told, Some(Ok(true)))),
        }
    }

    /// Visits the retractions of a record between two versions, ascending.
    fn each_retraction(
        &self,
        address: &Address,
        above: u64,
        below: u64,
        visit: &mut dyn FnMut(u64, Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let prefix = storage_keys::earlier_versions(address);
        let mut after = storage_keys::earlier(address, above);
        loop {
            let page = self.store.storage.scan(Scan {
                prefix: &prefix,
                after: Some(&after),
                limit: PAGE,
                want: Want::Head(HEAD),
            })?;
            for Entry { key, value, .. } in &page.entries {
                let version = storage_keys::record_of(key).and_then(|(_, version)| version);
                let head = Head::parse(value);
                if let (Some(version), Ok(head)) = (version, head)
                    && head.kind == Kind::Retraction
                    && version < below
                    && let Some(stored) = self.store.read_one(key)?
                {
                    visit(version, stored.value)?;
                }
            }
            match page.entries.into_iter().last() {
                Some(last) if page.more => after = last.key,
                _ => return Ok(()),
            }
        }
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
            let page = self.store.storage.scan(Scan {
                prefix: &prefix,
                after: None,
                limit: PAGE,
                want: Want::Values,
            })?;
            let chart = &address.chart;
            let objects = page.entries.into_iter().filter_map(|entry| {
                let object = Object::at(chart, Place::Earlier, entry.key)?;
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
            self.store.remove_all(keys, &mut || ())?;
        }
    }

    /// The streams that go with a version: its own, and that of a version that a former marker
    /// replaced. A name that leads elsewhere was altered.
    fn streams_of(&self, held: &Held, object: &Object, value: &[u8]) -> Result<Option<StreamId>> {
        let (head, key) = object.open_head(held, value)?;
        let opened = envelope::open(value.to_vec(), &head, &object.address, None, &key)?;
        if opened.is_expunged() {
            return Ok(opened.meta.expunged_stream());
        }
        let Content::Segmented { stream, key, .. } = opened.content else {
            return Ok(None);
        };
        let keys = [(head.suite, key)];
        let is_its_own = self.is_of_a_record(&object.address.chart, &stream, &keys)?;
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
        self.store
            .remove_all(vec![storage_keys::intent(chart, stream)], &mut || ())?;
        let segments = &mut report.segments;
        self.store
            .remove_under(&storage_keys::segments(chart, stream), &mut || {
                *segments += 1
            })?;
        Ok(())
    }

    /// The entry, looked at now, if the subject still has the chart that this began with.
    fn chart_still(&self, subject: &Subject, address: &Address) -> Result<std::sync::Arc<Held>> {
        let held = self.live_entry(subject)?.ok_or(Error::UnknownSubject)?;
        let same = *held.chart()?.id() == address.chart;
        same.then_some(held).ok_or(Error::Erased)
    }
}

/// The marker that a value is, if it is one.
fn marker_of(
    held: &Held,
    address: &Address,
    place: Place,
    value: Vec<u8>,
) -> Result<Option<Marker>> {
    let head = Head::parse(&value)?;
    if head.kind != Kind::Retraction {
        return Ok(None);
    }
    let key = read::unwrap(held, &head, place)?;
    let opened: Opened = envelope::open(value, &head, address, None, &key)?;
    Ok(opened.is_expunged().then(|| Marker {
        version: head.version,
        stream: opened.meta.expunged_stream(),
    }))
}
