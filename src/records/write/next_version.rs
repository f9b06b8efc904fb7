//! Construction of the transaction that writes the next version.

use smallvec::smallvec;

use crate::crypto::{ChartId, CipherSuite, DataKey, Place};
use crate::error::{Error, Result};
use crate::format::envelope::{self, Body, Content, Head, INLINE_MAX, Kind};
use crate::format::storage_keys;
use crate::journal;
use crate::records::document::Precondition;
use crate::records::read;
use crate::records::upload::move_into;
use crate::records::write::commit_reply::{AttemptKind, WriteAttempt, WriteStep};
use crate::records::write::lookup::WriteContext;
use crate::records::write::put_marker::marker_in_place;
use crate::records::write::replacement::{check_replacement, labels_of};
use crate::records::write::seal::VersionDraft;
use crate::records::write::{PendingChange, PendingWrite, WriteJob};
use crate::storage::{Expect, Stored, Transaction};
use crate::vault::Vault;
use crate::vault::entries::{Freshness, chart_id};

pub(super) enum NextVersion {
    /// There is nothing to write: nothing to retract, or an earlier import already stored this version.
    Nothing,
    Retry,
    Version {
        version: u64,
        /// Former current version: its number, and its value rewrapped for the earlier versions.
        earlier: Option<(u64, Vec<u8>)>,
    },
}

impl Vault {
    /// Returns the next step of a job for the stored state `context`.
    pub(super) fn next_step(
        &self,
        pending: &mut PendingWrite<'_>,
        context: &WriteContext,
        key: DataKey,
    ) -> Result<WriteStep> {
        let chart = chart_id(&context.cached)?;
        if pending.chart.is_some_and(|before| before != chart) {
            self.delete_from_erased_chart(pending);
            return Err(Error::Erased);
        }
        pending.chart = Some(chart);
        if let Some(version) = pending.maybe_committed {
            match self.find_own_version(pending, context, version) {
                Ok(Some(own)) => {
                    return self.settle_own_version(pending, context, version, own, key);
                }
                Ok(None) => {}
                // Read again, because a concurrent re-encryption deleted the segments during the
                // read.
                Err(Error::SegmentMissing) => return Ok(WriteStep::Retry),
                // Read again, because the key may be newer than the patient entry that was read. If
                // the entry is current, the key was destroyed, and the code below replaces the
                // version or returns an error.
                Err(Error::UnknownPatientKey) if !self.entry_unchanged(pending, context)? => {
                    return Ok(WriteStep::Retry);
                }
                Err(Error::UnknownPatientKey) => {}
                Err(error) => return Err(error),
            }
            // If another writer's version has this number, the earlier attempt can never be
            // committed. Otherwise the earlier attempt may still be committed, so the next attempt
            // writes the same version.
            let current = context.version()?;
            if current >= version {
                pending.maybe_committed = None;
                if current > version {
                    self.drop_expunged_upload(pending, context, version)?;
                }
            }
            // The earlier attempt was not committed, and can never be committed, because its
            // transaction requires the removed intent.
            if pending.intent_collected && self.core.store.storage.is_transactional() {
                pending.maybe_committed = None;
                pending.intent_collected = false;
                if let Some(upload) = pending.upload.take() {
                    self.core.store.discard(&upload);
                }
            }
        }
        match self.next_version(pending, context)? {
            NextVersion::Nothing => Ok(WriteStep::Done(Ok(None))),
            NextVersion::Retry => Ok(WriteStep::Retry),
            NextVersion::Version { version, earlier } => {
                self.write_version(pending, context, version, earlier, key)
            }
        }
    }

    /// Returns the next version, if the current version meets the precondition.
    fn next_version(
        &self,
        pending: &mut PendingWrite<'_>,
        context: &WriteContext,
    ) -> Result<NextVersion> {
        let Some(current) = &context.current else {
            return self.first_version(pending, context);
        };
        let (head, data_key) =
            match read::authentic(&context.cached, &context.address, &current.value) {
                Err(Error::UnknownPatientKey) if pending.freshness == Freshness::Cached => {
                    pending.freshness = Freshness::Fresh;
                    return Ok(NextVersion::Retry);
                }
                // Read again, because a rotation rewrapped the record between the reads of the
                // patient entry and of the record.
                Err(Error::UnknownPatientKey) if !self.entry_unchanged(pending, context)? => {
                    return Ok(NextVersion::Retry);
                }
                Err(Error::UnknownPatientKey) => {
                    if let PendingChange::Expunge { .. } = pending.job.change {
                        self.require_expungeable(context)?;
                    }
                    return self.next_after_orphan(pending, context, current);
                }
                read => read?,
            };
        if let PendingChange::Expunge { .. } = pending.job.change {
            return self.next_marker(pending, context, current, (&head, &data_key));
        }
        // Ask the policy before the precondition is checked, because `Conflict` would reveal the
        // state of a record that the caller may not replace.
        let (address, name) = (&context.address, pending.job.id.name());
        let value = current.value.to_vec();
        let opened = envelope::open(value, &head, address, Some(name), &data_key);
        check_replacement(pending, labels_of(&opened))?;
        let absent = head.kind == Kind::Retraction;
        if !pending.job.expected.admits(head.version, absent) {
            return Err(Error::Conflict);
        }
        if absent && matches!(pending.job.change, PendingChange::Retraction) {
            return Ok(NextVersion::Nothing);
        }
        if let Some(decided) = self.import_outcome(pending, context, &head, &opened)? {
            return Ok(decided);
        }
        let name = Some(pending.job.id.name());
        let last = self.expunged_up_to(&context.cached, address, name, &head, opened)?;
        pending.job.meta.set_expunged_up_to(last);
        let value = context.moved(current, &head, &data_key)?;
        Ok(NextVersion::Version {
            version: head.version + 1,
            earlier: Some((head.version, value)),
        })
    }

    /// Returns version 1. Only its commit checks that the record has no earlier version, unless
    /// nothing is to be written.
    fn first_version(
        &self,
        pending: &mut PendingWrite<'_>,
        context: &WriteContext,
    ) -> Result<NextVersion> {
        if job_is_other_import(&pending.job, 1) {
            return Err(Error::Conflict);
        }
        let outcome = match (pending.job.expected, pending.job.change) {
            (Precondition::Version(_), _) => Err(Error::Conflict),
            (_, PendingChange::Retraction) => Ok(NextVersion::Nothing),
            (_, PendingChange::Expunge { .. }) => Err(Error::UnknownRecord),
            _ => Ok(NextVersion::Version {
                version: 1,
                earlier: None,
            }),
        };
        pending.job.meta.set_expunged_up_to(None);
        let is_written = matches!(outcome, Ok(NextVersion::Version { .. }));
        let has_history = match is_written || context.is_new_subject {
            true => pending.has_history,
            false => self.has_earlier(&context.address)?,
        };
        if !has_history {
            return outcome;
        }
        // Report missing data: the patient entry is freshly read and unchanged, so neither an
        // erasure nor a concurrent put explains the absence.
        if pending.freshness == Freshness::Fresh
            && self
                .core
                .store
                .read_one(&storage_keys::current(&context.address))?
                .is_none()
            && self.entry_unchanged(pending, context)?
        {
            return Err(Error::CurrentMissing);
        }
        pending.freshness = Freshness::Fresh;
        Ok(NextVersion::Retry)
    }

    /// Replaces a current version under a destroyed key.
    ///
    /// Such a version was never acknowledged, because it was committed after a stall longer than
    /// the key removal delay. The last acknowledged version is stored among the earlier versions.
    fn next_after_orphan(
        &self,
        pending: &mut PendingWrite<'_>,
        context: &WriteContext,
        current: &Stored,
    ) -> Result<NextVersion> {
        let head = Head::parse(&current.value)?;
        let destroyed = context.cached.entry.was_destroyed(head.key_number);
        if self.core.store.storage.is_transactional() || !destroyed {
            return Err(Error::UnknownPatientKey);
        }
        let PendingWrite { job, .. } = pending;
        if let PendingChange::Expunge { .. } = job.change {
            // Number the marker after the orphan, because a marker covers at least one version.
            job.meta.set_expunged_up_to(Some(head.version));
            return Ok(NextVersion::Version {
                version: head.version + 1,
                earlier: None,
            });
        }
        let mut absent = true;
        job.meta.set_expunged_up_to(None);
        if head.version > 1 {
            let (cached, address) = (&context.cached, &context.address);
            let name = Some(job.id.name());
            let before = self.open_earlier(cached, address, name, head.version - 1)?;
            job.meta.set_expunged_up_to(before.meta.expunged_up_to());
            absent = matches!(before.content, Content::Retraction);
            if pending.job.imported_version.is_some() && before.meta.import_digest().is_none() {
                return Err(Error::Conflict);
            }
            check_replacement(pending, Ok(before.meta.labels))?;
        }
        if job_is_other_import(&pending.job, head.version) {
            return Err(Error::Conflict);
        }
        // The precondition refers to the last acknowledged version, not to the orphan.
        if !pending.job.expected.admits(head.version - 1, absent) {
            return Err(Error::Conflict);
        }
        Ok(NextVersion::Version {
            version: head.version,
            earlier: None,
        })
    }

    /// Uploads content beyond the inline limit, unless the content is stored already, and checks
    /// that the upload has not expired.
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
                // Fail, because garbage collection removed the upload and the content is no longer
                // available.
                PendingChange::Uploaded => return Err(Error::UploadExpired),
                PendingChange::Content(_)
                | PendingChange::Retraction
                | PendingChange::Expunge { .. } => return Ok(()),
            }
        }
        // Check after the upload, because the upload itself may take long.
        let now = self.core.store.clock.now();
        match &pending.upload {
            Some(upload) if upload.is_expired(now) => Err(match pending.maybe_committed {
                Some(_) => Error::CommitUnknown,
                None => Error::UploadExpired,
            }),
            _ => Ok(()),
        }
    }

    /// Returns the journal entry for a version that a job writes.
    pub(super) fn entry_of_job(
        &self,
        pending: &PendingWrite<'_>,
        context: &WriteContext,
        value: &[u8],
    ) -> Result<journal::EntryDraft> {
        let WriteJob { act, id, .. } = &pending.job;
        self.draft_of_version(act, &context.cached, &context.address, id.name(), value)
    }

    fn write_version(
        &self,
        pending: &mut PendingWrite<'_>,
        context: &WriteContext,
        version: u64,
        earlier: Option<(u64, Vec<u8>)>,
        key: DataKey,
    ) -> Result<WriteStep> {
        let suite = self.header()?.header.suite();
        self.upload_content(pending, suite, &context.address.chart)?;
        let value = draft(pending, suite, version).seal(&context.cached, &context.address, key)?;
        pending.record_attempt(&value)?;
        let entry = self.entry_of_job(pending, context, &value)?;
        if let PendingChange::Expunge { .. } = pending.job.change {
            return Ok(WriteStep::WriteAttempt(marker_in_place(
                context, value, entry, version,
            )));
        }
        let (transaction, kind) = version_transaction(pending, context, value, earlier);
        Ok(WriteStep::WriteAttempt(WriteAttempt {
            change: journal::JournaledChange {
                transaction,
                drafts: smallvec![entry],
            },
            version,
            kind,
        }))
    }
}

/// Returns `true` for an import of another version than this one.
fn job_is_other_import(job: &WriteJob<'_>, version: u64) -> bool {
    job.imported_version
        .is_some_and(|imported| imported != version)
}

/// Returns the transaction that writes a version, and the roles of its operations. The
/// documentation of the module `records::write` shows the order of operations.
fn version_transaction(
    pending: &PendingWrite<'_>,
    context: &WriteContext,
    value: Vec<u8>,
    earlier: Option<(u64, Vec<u8>)>,
) -> (Transaction, AttemptKind) {
    let mut transaction = Transaction::new();
    let mut operations = 0;
    let mut next_index = || {
        operations += 1;
        operations - 1
    };
    let intent = pending.upload.as_ref().map(|upload| {
        let intent = Expect::Unchanged(upload.intent.clone());
        transaction = std::mem::take(&mut transaction).check(upload.intent_key(), intent);
        next_index()
    });
    let history = (context.current.is_none() && !context.is_new_subject).then(|| {
        let key = storage_keys::earlier(&context.address, 1);
        transaction = std::mem::take(&mut transaction).check(key, Expect::Absent);
        next_index()
    });
    let earlier = earlier.map(|(former, value)| {
        let key = storage_keys::earlier(&context.address, former);
        let expect = context.expect_earlier(former);
        transaction = std::mem::take(&mut transaction).put(key, value, expect);
        (next_index(), former)
    });
    transaction = transaction.put(
        storage_keys::current(&context.address),
        value,
        context.expect_current(),
    );
    let current = next_index();
    if !context.is_new_subject {
        transaction = transaction.check(context.cached.key(), context.cached.expect());
    }
    if let Some(upload) = &pending.upload {
        transaction = transaction.delete(upload.intent_key());
    }
    let kind = AttemptKind::Write {
        intent,
        history,
        earlier,
        current,
    };
    (transaction, kind)
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
