//! Builds the transaction that writes the next version.

use std::collections::HashMap;

use crate::crypto::{ChartId, CipherSuite, DataKey, Place};
use crate::error::{Error, Result};
use crate::format::envelope::{self, Address, Body, Head, INLINE_MAX, Kind};
use crate::format::storage_keys;
use crate::journal;
use crate::keys::wrap;
use crate::records::document::Precondition;
use crate::records::read;
use crate::records::upload::move_into;
use crate::records::write::commit_reply::{AttemptKind, WriteAttempt, WriteStep};
use crate::records::write::lookup::WriteContext;
use crate::records::write::put_marker::marker_in_place;
use crate::records::write::seal::VersionDraft;
use crate::records::write::{PendingChange, PendingWrite, WriteJob};
use crate::storage::{Expect, Stored, Transaction};
use crate::vault::Vault;
use crate::vault::entries::{Freshness, chart_id};

/// Whether a chart holds any earlier version, as far as this commit has asked; asked after the
/// records' own absence was seen.
pub(super) type Histories = HashMap<ChartId, bool>;

pub(super) enum NextVersion {
    /// There is nothing to retract.
    Nothing,
    LookAgain,
    Version {
        version: u64,
        /// The version that moves aside, and its value for the place it moves to.
        earlier: Option<(u64, Vec<u8>)>,
    },
}

impl Vault {
    /// What to do next for a job, from what was found.
    pub(super) fn step(
        &self,
        pending: &mut PendingWrite<'_>,
        found: &WriteContext,
        history: &mut Histories,
        key: DataKey,
    ) -> Result<WriteStep> {
        let chart = chart_id(&found.held)?;
        if pending.chart.is_some_and(|before| before != chart) {
            self.withdraw(pending);
            return Err(Error::Erased);
        }
        pending.chart = Some(chart);
        if let Some(version) = pending.maybe_committed {
            match self.own(pending, found, version) {
                Ok(Some(own)) => return self.settle(pending, found, version, own, key),
                Ok(None) => {}
                // Sealed again by another while it was read here.
                Err(Error::SegmentMissing) => return Ok(WriteStep::LookAgain),
                // Under a key younger than the entry at hand; else under one that is gone, so that
                // what follows replaces it or says why not.
                Err(Error::UnknownPatientKey) if !self.entry_unchanged(pending, found)? => {
                    return Ok(WriteStep::LookAgain);
                }
                Err(Error::UnknownPatientKey) => {}
                Err(error) => return Err(error),
            }
            // Somebody else's stands there: what was under way can never land. Else it still may, and
            // the next try, at the same version, is as good as that one.
            let now = found.version()?;
            if now >= version {
                pending.maybe_committed = None;
                if now > version {
                    self.drop_expunged_upload(pending, found, version)?;
                }
            }
            // The earlier try, which is not there, had to find the same intent: it can never land.
            if pending.intent_collected && self.core.store.storage.is_transactional() {
                pending.maybe_committed = None;
                pending.intent_collected = false;
                if let Some(upload) = pending.upload.take() {
                    self.core.store.discard(&upload);
                }
            }
        }
        match self.next(pending, found, history)? {
            NextVersion::Nothing => Ok(WriteStep::Done(Ok(None))),
            NextVersion::LookAgain => Ok(WriteStep::LookAgain),
            NextVersion::Version { version, earlier } => {
                self.write_version(pending, found, version, earlier, key)
            }
        }
    }

    /// The version that comes next, if the current one is as expected.
    fn next(
        &self,
        pending: &mut PendingWrite<'_>,
        found: &WriteContext,
        history: &mut Histories,
    ) -> Result<NextVersion> {
        let Some(current) = &found.current else {
            return self.next_of_none(pending, found, history);
        };
        let (head, data_key) = match read::authentic(&found.held, &found.address, &current.value) {
            Err(Error::UnknownPatientKey) if pending.freshness == Freshness::Cached => {
                pending.freshness = Freshness::Fresh;
                return Ok(NextVersion::LookAgain);
            }
            // Rotated, and the record re-wrapped, between the looks at the entry and at the record.
            Err(Error::UnknownPatientKey) if !self.entry_unchanged(pending, found)? => {
                return Ok(NextVersion::LookAgain);
            }
            Err(Error::UnknownPatientKey) => {
                if let PendingChange::Expunge { .. } = pending.job.change {
                    self.require_expungeable(found)?;
                }
                return self.next_after_orphan(pending, found, current);
            }
            read => read?,
        };
        if let PendingChange::Expunge { .. } = pending.job.change {
            return self.next_marker(pending, found, current, (&head, &data_key));
        }
        let absent = head.kind == Kind::Retraction;
        if !pending.job.expected.admits(head.version, absent) {
            return Err(Error::Conflict);
        }
        if absent && matches!(pending.job.change, PendingChange::Retraction) {
            return Ok(NextVersion::Nothing);
        }
        let wrapped = wrap::wrap(
            head.suite,
            &found.patient_key(head.key_number)?.key,
            Place::Earlier,
            head.key_number,
            &head.commitment,
            &data_key,
        )?;
        // A move changes the place, not the key number: the walk of a rotation must find it.
        let value = envelope::rewrapped(current.value.clone(), head.key_number, &wrapped)?;
        Ok(NextVersion::Version {
            version: head.version + 1,
            earlier: Some((head.version, value)),
        })
    }

    fn next_of_none(
        &self,
        pending: &mut PendingWrite<'_>,
        found: &WriteContext,
        history: &mut Histories,
    ) -> Result<NextVersion> {
        if self.chart_has_history(&found.address, history)? && self.has_earlier(&found.address)? {
            // Fresh already: neither an erasure under way nor a put in between explains it.
            if pending.freshness == Freshness::Fresh
                && self
                    .core
                    .store
                    .read_one(&storage_keys::current(&found.address))?
                    .is_none()
                && self.entry_unchanged(pending, found)?
            {
                return Err(Error::CurrentMissing);
            }
            pending.freshness = Freshness::Fresh;
            return Ok(NextVersion::LookAgain);
        }
        match (pending.job.expected, pending.job.change) {
            (Precondition::Version(_), _) => Err(Error::Conflict),
            (_, PendingChange::Retraction) => Ok(NextVersion::Nothing),
            (_, PendingChange::Expunge { .. }) => Err(Error::UnknownRecord),
            _ => Ok(NextVersion::Version {
                version: 1,
                earlier: None,
            }),
        }
    }

    /// Asked once for a chart: most that are written to in bulk have no earlier versions at all.
    fn chart_has_history(&self, address: &Address, known: &mut Histories) -> Result<bool> {
        if let Some(known) = known.get(&address.chart) {
            return Ok(*known);
        }
        let has = self.has_any(&storage_keys::chart(b'h', &address.chart))?;
        known.insert(address.chart, has);
        Ok(has)
    }

    /// A current version under a retired key was never acknowledged: it landed after a stall longer
    /// than the grace. It is replaced in its place; what came before it stands in `h`.
    fn next_after_orphan(
        &self,
        pending: &PendingWrite<'_>,
        found: &WriteContext,
        current: &Stored,
    ) -> Result<NextVersion> {
        let head = Head::parse(&current.value)?;
        let retired = found.held.entry.was_destroyed(head.key_number);
        if self.core.store.storage.is_transactional() || !retired {
            return Err(Error::UnknownPatientKey);
        }
        let mut absent = true;
        if head.version > 1 {
            let before = self
                .core
                .store
                .read_one(&storage_keys::earlier(&found.address, head.version - 1))?;
            let before = before.ok_or(Error::HistoryGap)?;
            let before = read::earlier_head(&before.value, head.version - 1)?;
            let key = found.held.unwrap_data_key(&before, Place::Earlier)?;
            envelope::admit(&before, &found.address, &key)?;
            absent = before.kind == Kind::Retraction;
        }
        // What is expected was the last one that was acknowledged, not the orphan.
        if !pending.job.expected.admits(head.version - 1, absent) {
            return Err(Error::Conflict);
        }
        Ok(NextVersion::Version {
            version: head.version,
            earlier: None,
        })
    }

    /// Sees to it that content beyond the inline limit is in storage, under an intent that nobody
    /// takes for abandoned before the version is written.
    fn upload_content(
        &self,
        pending: &mut PendingWrite<'_>,
        suite: CipherSuite,
        chart: &ChartId,
    ) -> Result<()> {
        if pending.upload.is_none() {
            match pending.job.change {
                PendingChange::Content(content) if content.len() > INLINE_MAX => {
                    let mut left = content;
                    let upload =
                        self.upload(suite, chart, |free| Ok(move_into(free, &mut left)))?;
                    pending.job.meta.set_origin(&upload.stream);
                    pending.upload = Some(upload);
                }
                // Swept, and its content is at hand no more.
                PendingChange::Uploaded => return Err(Error::UploadExpired),
                PendingChange::Content(_)
                | PendingChange::Retraction
                | PendingChange::Expunge { .. } => return Ok(()),
            }
        }
        // However long it took to get here.
        let now = self.core.store.clock.now();
        match &pending.upload {
            Some(upload) if upload.is_expired(now) => Err(match pending.maybe_committed {
                Some(_) => Error::CommitUnknown,
                None => Error::UploadExpired,
            }),
            _ => Ok(()),
        }
    }

    /// What is told of a version that a job writes.
    pub(super) fn draft_of_job(
        &self,
        pending: &PendingWrite<'_>,
        found: &WriteContext,
        value: &[u8],
    ) -> Result<journal::EntryDraft> {
        let WriteJob { act, id, .. } = &pending.job;
        self.draft_of_version(act, &found.held, &found.address, id.name(), value)
    }

    fn write_version(
        &self,
        pending: &mut PendingWrite<'_>,
        found: &WriteContext,
        version: u64,
        earlier: Option<(u64, Vec<u8>)>,
        key: DataKey,
    ) -> Result<WriteStep> {
        let suite = self.header()?.header.suite();
        self.upload_content(pending, suite, &found.address.chart)?;
        let value = draft(pending, suite, version).seal(&found.held, &found.address, key)?;
        pending.sent(&value)?;
        let told = self.draft_of_job(pending, found, &value)?;
        if let PendingChange::Expunge { .. } = pending.job.change {
            return Ok(WriteStep::WriteAttempt(marker_in_place(
                found, value, told, version,
            )));
        }
        let mut transaction = Transaction::new();
        let mut operations = 0;
        let mut at = || {
            operations += 1;
            operations - 1
        };
        let intent = pending.upload.as_ref().map(|upload| {
            let intent = Expect::Unchanged(upload.intent.clone());
            transaction = std::mem::take(&mut transaction).check(upload.intent_key(), intent);
            at()
        });
        let earlier = match earlier {
            Some((former, value)) => {
                let place = storage_keys::earlier(&found.address, former);
                let expect = found.expect_earlier(former);
                transaction = transaction.put(place, value, expect);
                Some((at(), former))
            }
            None => None,
        };
        transaction = transaction
            .put(
                storage_keys::current(&found.address),
                value,
                found.expect_current(),
            )
            .check(found.held.key(), found.held.expect());
        let current = at();
        if let Some(upload) = &pending.upload {
            transaction = transaction.delete(upload.intent_key());
        }
        Ok(WriteStep::WriteAttempt(WriteAttempt {
            change: journal::JournaledChange {
                transaction,
                drafts: vec![told],
            },
            version,
            kind: AttemptKind::Write {
                intent,
                earlier,
                current,
            },
        }))
    }
}

fn draft<'a>(pending: &'a PendingWrite<'_>, suite: CipherSuite, version: u64) -> VersionDraft<'a> {
    let body = match (&pending.upload, pending.job.change) {
        (Some(upload), _) => Body::Segmented {
            stream: upload.stream,
            key: &upload.key,
            length: upload.length,
        },
        (None, PendingChange::Content(content)) => Body::Inline(content),
        (
            None,
            PendingChange::Uploaded | PendingChange::Retraction | PendingChange::Expunge { .. },
        ) => Body::Retraction,
    };
    VersionDraft {
        suite,
        version,
        place: Place::Current,
        meta: &pending.job.meta,
        body,
    }
}
