//! Builds the expunged marker that replaces all versions below it.
//!
//! `?p` comes first too: where operations land one by one, a hold that was put before is seen before
//! anything is lost. What `r` held has no other place, and is to have none: `h` is not written.

use crate::crypto::{DataKey, StreamId};
use crate::error::Result;
use crate::format::envelope::{self, Content, Head};
use crate::format::storage_keys;
use crate::journal;
use crate::records::write::commit_reply::{AttemptKind, WriteAttempt};
use crate::records::write::lookup::WriteContext;
use crate::records::write::next_version::NextVersion;
use crate::records::write::{PendingWrite, WriteJob};
use crate::storage::{Stored, Transaction};
use crate::vault::Vault;

impl Vault {
    /// The marker that comes next; nothing where one stands.
    pub(super) fn next_marker(
        &self,
        pending: &mut PendingWrite<'_>,
        found: &WriteContext,
        current: &Stored,
        (head, key): (&Head, &DataKey),
    ) -> Result<NextVersion> {
        let WriteJob { id, meta, .. } = &mut pending.job;
        let name = Some(id.name());
        // One whose body does not open goes too; its content is left to a collection of garbage.
        let opened = envelope::open(current.value.clone(), head, &found.address, name, key).ok();
        if opened.as_ref().is_some_and(envelope::Opened::is_expunged) {
            return Ok(NextVersion::Nothing);
        }
        self.require_expungeable(found)?;
        let stream: Option<StreamId> = match opened.map(|opened| opened.content) {
            Some(Content::Segmented { stream, key, .. }) => {
                let keys = [(head.suite, key)];
                let chart = &found.address.chart;
                // Nothing authenticates the name of a stream but its content: it must not lead to
                // that of another record.
                (self.core.store.is_of_a_record(chart, &stream, &keys)?).then_some(stream)
            }
            _ => None,
        };
        meta.set_expunged(stream.as_ref());
        Ok(NextVersion::Version {
            version: head.version + 1,
            earlier: None,
        })
    }

    /// Fails while a hold or a retention keeps what there is of the subject.
    pub(super) fn require_expungeable(&self, found: &WriteContext) -> Result<()> {
        found.held.entry.check_erasable(self.core.store.clock.now())
    }

    /// An earlier try of this job stood at `version` where nothing stands any more: it was expunged,
    /// and what it had uploaded with it. The version number alone tells that, so the upload must not
    /// be named again.
    pub(super) fn drop_expunged_upload(
        &self,
        pending: &mut PendingWrite<'_>,
        found: &WriteContext,
        version: u64,
    ) -> Result<()> {
        if pending.upload.is_none() {
            return Ok(());
        }
        let place = storage_keys::earlier(&found.address, version);
        if self.core.store.read_one(&place)?.is_none()
            && let Some(upload) = pending.upload.take()
        {
            self.core.store.discard(&upload);
        }
        Ok(())
    }
}

/// `[ ?p ; destroying put r = marker Unchanged ; ?p ]`
pub(super) fn marker_in_place(
    found: &WriteContext,
    value: Vec<u8>,
    told: journal::EntryDraft,
    version: u64,
) -> WriteAttempt {
    let transaction = Transaction::new()
        .check(found.held.key(), found.held.expect())
        .put_destroying(
            storage_keys::current(&found.address),
            value,
            found.expect_current(),
        )
        .check(found.held.key(), found.held.expect());
    WriteAttempt {
        change: journal::JournaledChange {
            transaction,
            drafts: vec![told],
        },
        version,
        kind: AttemptKind::Write {
            intent: None,
            earlier: None,
            current: 1,
        },
    }
}
