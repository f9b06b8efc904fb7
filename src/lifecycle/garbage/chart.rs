//! Garbage collection in one chart.

use std::collections::BTreeSet;

use crate::crypto::{ChartId, CipherSuite, StreamId, StreamKey};
use crate::error::{Error, Result};
use crate::format::envelope::Intent;
use crate::format::storage_keys;
use crate::id::Subject;
use crate::keys::entry::EntryState;
use crate::lifecycle::garbage::Collection;
use crate::lifecycle::garbage::survey::StreamSurvey;
use crate::records::live_stream::is_live;
use crate::records::stream_owner::StreamOwner;
use crate::storage::{Projection, Scan, ScanItem};
use crate::vault::entries::{CachedEntry, Freshness};
use crate::vault::{ROUNDS, Vault};

const HOUR: i64 = 60 * 60 * 1000;
/// Age in milliseconds at which an upload counts as abandoned. Its writer has normally given up
/// earlier. Otherwise the writer finds its intent deleted, and loses only its upload.
const ABANDONED_AFTER: i64 = 24 * HOUR;
/// Age in milliseconds at which an upload counts as abandoned on storage that is not transactional.
/// A writer may stall between its check of the intent and the put that references the content. No
/// check detects such a put; only elapsed time excludes it.
const ABANDONED_AFTER_STEPS: i64 = 7 * 24 * HOUR;
/// Maximum number of objects per scan page. A page contains only storage keys, and so needs little
/// memory.
const PAGE: usize = 256;

#[derive(Default)]
struct Intents {
    abandoned: Vec<StreamId>,
    /// Streams whose intents protect their segments.
    under_way: BTreeSet<StreamId>,
}

struct SurveyedChart {
    /// Number of versions that are missing or do not open.
    unreadable: u64,
    under_way: u64,
}

/// Returns `true` if the start of an upload is further than `bound` from `now`, in either direction.
///
/// A start in the future comes from a clock that is ahead of this one. The bound also limits how long
/// such a clock protects an upload. An upload whose clock is less than `bound` ahead is not removed
/// early.
fn is_distant(started_at: i64, now: i64, bound: i64) -> bool {
    started_at.abs_diff(now) > bound.unsigned_abs()
}

impl Vault {
    /// Removes the intents and segments of a dead chart, which no reader opens again. Deletes the
    /// intents first, so that a late writer stops uploading.
    pub(super) fn collect_dead(
        &self,
        chart: &ChartId,
        collection: &mut Collection<'_>,
    ) -> Result<()> {
        let Collection { report, counter } = collection;
        self.core
            .store
            .remove_under(&storage_keys::chart(b'w', chart), &mut || {
                report.uploads += 1;
                counter.add(1)
            })?;
        self.core
            .store
            .remove_under(&storage_keys::chart(b's', chart), &mut || {
                report.segments += 1;
                counter.add(1)
            })?;
        Ok(())
    }

    /// Collects garbage in a chart that was live when its entry was listed.
    pub(super) fn collect_live(
        &self,
        subject: &Subject,
        chart: &ChartId,
        collection: &mut Collection<'_>,
    ) -> Result<()> {
        let mut before = None;
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let (Some(cached), _) = self.entry(subject, Freshness::Fresh)? else {
                return Ok(());
            };
            match cached.entry.state() {
                EntryState::Live(now) if now.id() == chart => {}
                EntryState::Erasing { chart: now } if now == chart => {
                    return self.collect_dead(chart, collection);
                }
                _ if cached.entry.dead_charts().contains(chart) => {
                    return self.collect_dead(chart, collection);
                }
                _ => return Ok(()),
            }
            let surveyed = self.collect_chart(&cached, chart, collection)?;
            let is_readable = surveyed.unreadable == 0;
            // Retry if the entry has changed, because a concurrent rotation or erasure may be the
            // reason why versions do not open.
            if is_readable || before.as_ref() == Some(&cached.revision) {
                let report = &mut collection.report;
                report.uploads_under_way += surveyed.under_way;
                report.charts_passed_over += u64::from(!is_readable);
                report.unreadable_versions += surveyed.unreadable;
                return Ok(());
            }
            before = Some(cached.revision.clone());
        }
        Err(Error::Contended)
    }

    fn collect_chart(
        &self,
        cached: &CachedEntry,
        chart: &ChartId,
        collection: &mut Collection<'_>,
    ) -> Result<SurveyedChart> {
        // List segments before intents, and intents before records. The module docs explain this
        // order.
        let mut unreferenced = self.streams(chart, collection)?;
        let intents = self.intents(chart, collection)?;
        unreferenced.retain(|stream| !intents.under_way.contains(stream));
        let mut surveyed = SurveyedChart {
            unreadable: 0,
            under_way: intents.under_way.len() as u64,
        };
        let nothing =
            |unreferenced: &BTreeSet<_>| unreferenced.is_empty() && intents.abandoned.is_empty();
        if nothing(&unreferenced) {
            return Ok(surveyed);
        }
        // Survey only the plaintext stream ids first: if every stream is referenced, no body needs
        // to be opened.
        surveyed.unreadable =
            self.survey(cached, chart, StreamSurvey::Ids, collection, &mut |named| {
                unreferenced.remove(&named.stream);
            })?;
        if surveyed.unreadable > 0 || nothing(&unreferenced) {
            return Ok(surveyed);
        }
        let mut keys = Vec::new();
        surveyed.unreadable = self.survey(
            cached,
            chart,
            StreamSurvey::Keys,
            collection,
            &mut |named| {
                unreferenced.remove(&named.stream);
                keys.extend(named.key);
            },
        )?;
        if surveyed.unreadable > 0 {
            return Ok(surveyed);
        }
        self.fence(chart, &intents.abandoned, collection)?;
        if intents
            .abandoned
            .iter()
            .any(|stream| unreferenced.contains(stream))
        {
            // Survey again, because a writer may have committed just before its intent was deleted.
            surveyed.unreadable =
                self.survey(cached, chart, StreamSurvey::Ids, collection, &mut |named| {
                    unreferenced.remove(&named.stream);
                })?;
        }
        if surveyed.unreadable == 0 {
            self.free(chart, unreferenced, &keys, collection)?;
        }
        Ok(surveyed)
    }

    /// Returns the streams that have a segment.
    fn streams(
        &self,
        chart: &ChartId,
        collection: &mut Collection<'_>,
    ) -> Result<BTreeSet<StreamId>> {
        let prefix = storage_keys::chart(b's', chart);
        let mut streams = BTreeSet::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.core.store.scan(Scan {
                prefix: &prefix,
                after: after.as_deref(),
                limit: PAGE,
                projection: Projection::Keys,
            })?;
            collection.counter.add(page.items.len() as u64)?;
            streams.extend(
                page.items
                    .iter()
                    .filter_map(|entry| storage_keys::stream_of(&entry.key)),
            );
            if !page.more {
                return Ok(streams);
            }
            if let Some(last) = page.items.last() {
                // Skip the other segments of the same stream.
                let stream = storage_keys::stream_of(&last.key);
                let end = stream
                    .map(|stream| storage_keys::behind(&storage_keys::segments(chart, &stream)));
                after = Some(end.unwrap_or_else(|| last.key.clone()));
            }
        }
    }

    fn intents(&self, chart: &ChartId, collection: &mut Collection<'_>) -> Result<Intents> {
        let abandoned_after = if self.core.store.storage.is_transactional() {
            ABANDONED_AFTER
        } else {
            ABANDONED_AFTER_STEPS
        };
        let now = self.core.store.clock.now();
        let is_exclusive = self.core.store.storage.is_exclusive();
        let mut intents = Intents::default();
        let prefix = storage_keys::chart(b'w', chart);
        self.each_page(&prefix, Projection::Values, &mut |entries| {
            collection.counter.add(entries.len() as u64)?;
            for ScanItem { key, value, .. } in entries {
                let Some(stream) = storage_keys::stream_of(&key) else {
                    continue;
                };
                let is_abandoned = if is_exclusive {
                    // An upload that ended after the scan is not live either, but has no intent.
                    !is_live(&stream) && self.core.store.read_damaged(&key)?.is_some()
                } else {
                    // Count an unreadable intent as under way, because its age is unknown.
                    Intent::parse(&value)
                        .is_ok_and(|intent| is_distant(intent.started_at, now, abandoned_after))
                };
                if is_abandoned {
                    intents.abandoned.push(stream);
                } else {
                    intents.under_way.insert(stream);
                }
            }
            Ok(())
        })?;
        Ok(intents)
    }

    /// Deletes intents, so that their writers fail at the check of the intent and no record can
    /// reference these streams any more.
    fn fence(
        &self,
        chart: &ChartId,
        abandoned: &[StreamId],
        collection: &mut Collection<'_>,
    ) -> Result<()> {
        let keys = abandoned
            .iter()
            .map(|stream| storage_keys::intent(chart, stream))
            .collect();
        let uploads = &mut collection.report.uploads;
        self.core.store.remove_all(keys, &mut || {
            *uploads += 1;
            Ok(())
        })
    }

    /// Removes streams that no record references. A stream that a record's key opens is kept,
    /// because the reference in that record was altered. A stream that cannot be read is kept,
    /// because a record's key may open it.
    fn free(
        &self,
        chart: &ChartId,
        unreferenced: BTreeSet<StreamId>,
        keys: &[(CipherSuite, StreamKey)],
        collection: &mut Collection<'_>,
    ) -> Result<()> {
        for stream in unreferenced {
            let report = &mut collection.report;
            match self.core.store.stream_owner(chart, &stream, keys)? {
                StreamOwner::Record => report.misnamed_streams += 1,
                StreamOwner::Unknown => report.unreadable_streams += 1,
                StreamOwner::Other => {
                    let prefix = storage_keys::segments(chart, &stream);
                    let removed = &mut || {
                        report.segments += 1;
                        self.monitor().check()
                    };
                    self.core.store.remove_under(&prefix, removed)?;
                }
            }
        }
        Ok(())
    }
}
