//! Construction of the transaction that puts an expunged marker, which replaces all versions below
//! it.
//!
//! The transaction checks the patient entry first and last. The first check is needed because
//! storage that is not transactional applies operations one by one. A legal hold placed earlier
//! must stop the write before any version is destroyed. The former current version is not moved to
//! the earlier versions, because its content must not survive.

use smallvec::smallvec;

use crate::crypto::{DataKey, StreamId};
use crate::error::Result;
use crate::format::envelope::{self, Content, Head};
use crate::format::storage_keys;
use crate::journal;
use crate::records::stream_owner::StreamOwner;
use crate::records::write::commit_reply::{AttemptKind, WriteAttempt};
use crate::records::write::lookup::WriteContext;
use crate::records::write::next_version::NextVersion;
use crate::records::write::{PendingWrite, WriteJob};
use crate::storage::{Stored, Transaction};
use crate::vault::Vault;

impl Vault {
    /// Returns the expunged marker as the next version, or `Nothing` if the current version is a
    /// marker.
    pub(super) fn next_marker(
        &self,
        pending: &mut PendingWrite<'_>,
        context: &WriteContext,
        current: &Stored,
        (head, key): (&Head, &DataKey),
    ) -> Result<NextVersion> {
        let WriteJob { id, meta, .. } = &mut pending.job;
        let name = Some(id.name());
        // Also expunge a version whose body does not open; garbage collection deletes its content.
        let opened = envelope::open(current.value.to_vec(), head, &context.address, name, key).ok();
        if opened.as_ref().is_some_and(envelope::Opened::is_expunged) {
            return Ok(NextVersion::Nothing);
        }
        self.require_expungeable(context)?;
        let stream: Option<StreamId> = match opened.map(|opened| opened.content) {
            Some(Content::Segmented { stream, key, .. }) => {
                let keys = [(head.suite, key)];
                let chart = &context.address.chart;
                // Check that the version owns the stream, because only the stream's content
                // authenticates its id. An altered id must not make the expunge delete the content
                // of another record.
                let owner = self.core.store.stream_owner(chart, &stream, &keys)?;
                (owner == StreamOwner::Record).then_some(stream)
            }
            _ => None,
        };
        meta.set_replaced_stream(stream.as_ref());
        meta.set_expunged_up_to(Some(head.version));
        Ok(NextVersion::Version {
            version: head.version + 1,
            earlier: None,
        })
    }

    /// Fails while a legal hold or a retention protects the subject's records.
    pub(super) fn require_expungeable(&self, context: &WriteContext) -> Result<()> {
        context
            .cached
            .entry
            .check_erasable(self.core.store.clock.now())
    }

    /// Discards the upload of a job whose earlier attempt may have been expunged.
    ///
    /// If nothing is stored at `version` any more, an expunge may have destroyed that attempt's
    /// version and its content. The gap is the only trace of such an expunge, so no later attempt
    /// may reference the upload.
    pub(super) fn drop_expunged_upload(
        &self,
        pending: &mut PendingWrite<'_>,
        context: &WriteContext,
        version: u64,
    ) -> Result<()> {
        if pending.upload.is_none() {
            return Ok(());
        }
        let key = storage_keys::earlier(&context.address, version);
        if self.core.store.read_one(&key)?.is_none()
            && let Some(upload) = pending.upload.take()
        {
            self.core.store.discard(&upload);
        }
        Ok(())
    }
}

/// Returns the attempt that replaces the current version with the marker, between two checks of the
/// patient entry.
pub(super) fn marker_in_place(
    context: &WriteContext,
    value: Vec<u8>,
    entry: journal::EntryDraft,
    version: u64,
) -> WriteAttempt {
    let transaction = Transaction::new()
        .check(context.cached.key(), context.cached.expect())
        .put_destroying(
            storage_keys::current(&context.address),
            value,
            context.expect_current(),
        )
        .check(context.cached.key(), context.cached.expect());
    WriteAttempt {
        change: journal::JournaledChange {
            transaction,
            drafts: smallvec![entry],
        },
        version,
        kind: AttemptKind::Write {
            intent: None,
            history: None,
            earlier: None,
            current: 1,
        },
    }
}
