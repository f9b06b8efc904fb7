//! Change that renews one version: rewraps its data key, or re-encrypts its content.

use crate::crypto::{ChartId, CipherSuite, DataKey, Place, StreamId};
use crate::error::{Error, Result};
use crate::format::envelope::{self, Body, Content, Head};
use crate::format::storage_keys;
use crate::journal::{self, Act};
use crate::keys::wrap;
use crate::records::download::{Ahead, Download, ReadExtent};
use crate::records::read;
use crate::records::upload::Upload;
use crate::records::version_ref::VersionRef;
use crate::records::write::seal::VersionDraft;
use crate::storage::{Expect, Revision, Stored, Transaction};
use crate::vault::Vault;
use crate::vault::entries::CachedEntry;

pub(super) struct RenewalChange {
    pub(super) transaction: Transaction,
    /// The journal entry; `None` for a rewrap, which leaves the version's digest unchanged.
    pub(super) entry: Option<journal::EntryDraft>,
    /// Number of content bytes re-encrypted.
    pub(super) bytes: u64,
    /// The new upload and the former stream; `None` for a version without segmented content.
    pub(super) streams: Option<(Upload, StreamId)>,
}

impl Vault {
    /// Returns the change that stores the same version under a new data key. The change checks the
    /// upload intent first, if there is one, and the patient entry last.
    pub(super) fn reencrypted(
        &self,
        act: &Act,
        cached: &CachedEntry,
        object: &VersionRef,
        stored: Stored,
    ) -> Result<RenewalChange> {
        let (head, key) = object.open_head(cached, &stored.value)?;
        if object.place == Place::Earlier
            && let Some(change) = self.leftover_repair(cached, object, &head, &stored.revision)?
        {
            return Ok(change);
        }
        let before = envelope::digest(&stored.value)?;
        let opened = envelope::open(stored.value.into(), &head, &object.address, None, &key)?;
        let suite = self.header()?.header.suite();
        let streams = self.reupload_content(suite, head.suite, object, &opened.content)?;
        let body = match &streams {
            Some((upload, _, length)) => Body::Segmented {
                stream: upload.stream,
                key: &upload.key,
                length: *length,
            },
            None => opened.content.as_body(),
        };
        let bytes = match &opened.content {
            Content::Inline(_, range) => range.len() as u64,
            Content::Retraction => 0,
            Content::Segmented { length, .. } => *length,
        };
        let draft = VersionDraft {
            suite,
            version: head.version,
            place: object.place,
            meta: &opened.meta,
            body,
        };
        let value = draft.seal(cached, &object.address, DataKey::random()?)?;
        let named = (&*opened.meta.name, before);
        let entry = self.draft_of_reencryption(act, cached, &object.address, named, &value)?;
        let put = |transaction: Transaction| {
            transaction
                .put(&object.key[..], value, Expect::Unchanged(stored.revision))
                .check(cached.key(), cached.expect())
        };
        let transaction = match &streams {
            Some((upload, ..)) => {
                let intent = Expect::Unchanged(upload.intent.clone());
                put(Transaction::new().check(upload.intent_key(), intent))
                    .delete(upload.intent_key())
            }
            None => put(Transaction::new()),
        };
        Ok(RenewalChange {
            transaction,
            entry: Some(entry),
            bytes,
            streams: streams.map(|(upload, former, _)| (upload, former)),
        })
    }

    /// Uploads segmented content again under a new stream key. Returns the upload, the former
    /// stream and the content length in bytes. Returns `None` for a version without segmented
    /// content.
    fn reupload_content(
        &self,
        suite: CipherSuite,
        former_suite: CipherSuite,
        object: &VersionRef,
        content: &Content,
    ) -> Result<Option<(Upload, StreamId, u64)>> {
        let Content::Segmented {
            stream,
            key,
            length,
        } = content
        else {
            return Ok(None);
        };
        let chart = &object.address.chart;
        let download = self.download(former_suite, chart, (stream, key, *length))?;
        let upload = self.reupload_stream(suite, chart, download)?;
        Ok(Some((upload, *stream, *length)))
    }

    /// Uploads the content of one stream as another stream, one segment at a time.
    fn reupload_stream(
        &self,
        suite: CipherSuite,
        chart: &ChartId,
        former: Download,
    ) -> Result<Upload> {
        let mut former = Ahead::new(former);
        let mut offset = 0;
        self.upload(suite, chart, |free| {
            let bytes = former.copy(offset, free, ReadExtent::Stream)?;
            offset += bytes as u64;
            Ok(bytes)
        })
    }

    /// Returns the change that repairs a history version left by a put that was interrupted before
    /// it replaced the current record. The change replaces that version by a copy of the current
    /// version. Returns `None` for a genuine earlier version.
    ///
    /// The leftover version owns no stream. The stream that it references belongs to the current
    /// record, or was deleted when the current record was re-encrypted.
    fn leftover_repair(
        &self,
        cached: &CachedEntry,
        object: &VersionRef,
        head: &Head,
        revision: &Revision,
    ) -> Result<Option<RenewalChange>> {
        let Some(current) = self
            .core
            .store
            .read_damaged(&storage_keys::current(&object.address))?
        else {
            return Ok(None);
        };
        if Head::parse(&current.value)?.version != head.version {
            return Ok(None);
        }
        let (head, key) = read::authentic(cached, &object.address, &current.value)?;
        let active = cached.chart()?.active_key();
        if head.key_number != active.number {
            // Renew the current version first; the next pass reads both again.
            return Err(Error::UnknownPatientKey);
        }
        let wrapped = wrap::wrap(
            head.suite,
            &active.key,
            object.place,
            active.number,
            &head.commitment,
            &key,
        )?;
        let value = envelope::rewrapped(current.value.into(), active.number, &wrapped)?;
        let expect = Expect::Unchanged(revision.clone());
        Ok(Some(RenewalChange {
            transaction: Transaction::new().put(&object.key[..], value, expect),
            entry: None,
            bytes: 0,
            streams: None,
        }))
    }
}

/// Returns the change that replaces a version by the same version with a rewrapped data key.
pub(super) fn rewrap(
    cached: &CachedEntry,
    object: &VersionRef,
    stored: Stored,
) -> Result<RenewalChange> {
    let (head, key) = object.open_head(cached, &stored.value)?;
    let active = cached.chart()?.active_key();
    let number = active.number;
    let (suite, place, commitment) = (head.suite, object.place, &head.commitment);
    let wrapped = wrap::wrap(suite, &active.key, place, number, commitment, &key)?;
    let value = envelope::rewrapped(stored.value.into(), number, &wrapped)?;
    let expect = Expect::Unchanged(stored.revision);
    Ok(RenewalChange {
        transaction: Transaction::new().put(&object.key[..], value, expect),
        entry: None,
        bytes: 0,
        streams: None,
    })
}
