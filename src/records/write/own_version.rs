//! Detection of versions that an earlier attempt with unknown commit outcome wrote.

use smallvec::smallvec;

use crate::crypto::{DataKey, Place};
use crate::error::Result;
use crate::format::envelope::{self, Content, Head};
use crate::format::storage_keys;
use crate::journal;
use crate::records::read;
use crate::records::write::commit_reply::{AttemptKind, WriteAttempt, WriteStep};
use crate::records::write::lookup::WriteContext;
use crate::records::write::seal::VersionDraft;
use crate::records::write::{PendingChange, PendingWrite, WriteOutcome};
use crate::storage::{Expect, Stored, Transaction};
use crate::vault::Vault;

/// A stored version that an earlier attempt of the same write job wrote.
pub(super) struct OwnVersion {
    place: Place,
    stored: Stored,
    head: Head,
    content: Content,
}

impl Vault {
    /// Finds the version that an earlier attempt wrote: same version number, same metadata, same
    /// content. Other operations may have rewrapped, re-encrypted or moved the version since then.
    pub(super) fn find_own_version(
        &self,
        pending: &PendingWrite<'_>,
        context: &WriteContext,
        version: u64,
    ) -> Result<Option<OwnVersion>> {
        let Some(current) = &context.current else {
            return Ok(None);
        };
        let head = Head::parse(&current.value)?;
        let (place, stored) = if head.version == version {
            (Place::Current, current.clone())
        } else if head.version > version {
            match self
                .core
                .store
                .read_one(&storage_keys::earlier(&context.address, version))?
            {
                Some(stored) => (Place::Earlier, stored),
                None => return Ok(None),
            }
        } else {
            return Ok(None);
        };
        let head = read::earlier_head(&stored.value, version)?;
        if !pending.may_have_sealed(&head) {
            return Ok(None);
        }
        let key = context.cached.unwrap_data_key(&head, place)?;
        let name = Some(pending.job.id.name());
        let opened = envelope::open(stored.value.to_vec(), &head, &context.address, name, &key)?;
        let same = opened.meta == pending.job.meta
            && match (&opened.content, pending.job.change) {
                (Content::Inline(buffer, range), PendingChange::Content(content)) => {
                    buffer.get(range.clone()) == Some(content)
                }
                // Do not compare the content. The metadata compared above contains the id of the
                // stream that this job uploaded, and a re-encryption keeps that id.
                (Content::Segmented { .. }, _) => pending.upload.is_some(),
                (
                    Content::Retraction,
                    PendingChange::Retraction | PendingChange::Expunge { .. },
                ) => true,
                _ => false,
            };
        Ok(same.then_some(OwnVersion {
            place,
            stored,
            head,
            content: opened.content,
        }))
    }

    /// Returns the step that acknowledges a stored version. On transactional storage, no further
    /// attempt is needed. On other storage, an attempt checks the patient entry, and re-encrypts
    /// the version unless it is under the active patient key.
    pub(super) fn settle_own_version(
        &self,
        pending: &PendingWrite<'_>,
        context: &WriteContext,
        version: u64,
        own: OwnVersion,
        key: DataKey,
    ) -> Result<WriteStep> {
        if self.core.store.storage.is_transactional() {
            return Ok(WriteStep::Done(Ok(Some(version))));
        }
        let mut transaction = Transaction::new();
        let mut resealed = None;
        if own.head.key_number != context.cached.chart()?.active_key().number {
            let draft = VersionDraft {
                suite: own.head.suite,
                version,
                place: own.place,
                meta: &pending.job.meta,
                body: own.content.as_body(),
            };
            let value = draft.seal(&context.cached, &context.address, key)?;
            let at = match own.place {
                Place::Current => storage_keys::current(&context.address).to_vec(),
                Place::Earlier => storage_keys::earlier(&context.address, version),
            };
            let expect = Expect::Unchanged(own.stored.revision);
            transaction = transaction.put(at, &value[..], expect);
            resealed = Some(value);
        }
        let value = resealed.as_deref().unwrap_or(&own.stored.value);
        let entry = self.entry_of_job(pending, context, value)?;
        transaction = transaction.check(context.cached.key(), context.cached.expect());
        if let Some(upload) = &pending.upload {
            transaction = transaction.delete(upload.intent_key());
        }
        Ok(WriteStep::WriteAttempt(WriteAttempt {
            change: journal::JournaledChange {
                transaction,
                drafts: smallvec![entry],
            },
            version,
            kind: AttemptKind::Settle,
        }))
    }

    /// Deletes all objects that a job may have written to a chart that was erased during the job.
    /// An erased chart is never used again, so the deletes are safe even if they are applied late.
    pub(super) fn delete_from_erased_chart(&self, pending: &PendingWrite<'_>) {
        let (Some(chart), Some(_)) = (pending.chart, pending.maybe_committed) else {
            return;
        };
        let _ = self.core.store.sweep_chart(&chart, &mut |_| Ok(()));
    }

    /// Discards the upload of a failed job, unless a record may reference the upload.
    pub(super) fn discard_upload(&self, pending: &PendingWrite<'_>, outcome: &WriteOutcome) {
        if let (Some(upload), Err(_), None) = (&pending.upload, outcome, pending.maybe_committed) {
            self.core.store.discard(upload);
        }
    }
}
