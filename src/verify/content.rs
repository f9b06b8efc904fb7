//! Reading and opening of record values for verification.

use std::sync::Arc;

use crate::crypto;
use crate::error::{Error, Result};
use crate::format::envelope::{self, CHUNK, Head};
use crate::format::storage_keys;
use crate::records::download::{Ahead, Download, ReadExtent};
use crate::records::version_ref::VersionRef;
use crate::storage::{Projection, Revision, StorageError, Stored};
use crate::vault::entries::CachedEntry;
use crate::vault::scan;
use crate::verify::Verification;
use crate::verify::compare::{ContentCheck, OpenResult, StoredVersion};

/// Result of reading one stored value, with the name that the value contains.
pub(super) struct ReadValue {
    pub(super) stored: StoredVersion,
    /// The record's name, if the value opens.
    pub(super) name: Option<Box<str>>,
    /// Number of stored segments of the content.
    pub(super) segments: u64,
}

impl Verification {
    /// Opens a value completely, and checks its content segments.
    pub(super) fn read_value(
        &self,
        cached: Option<&CachedEntry>,
        object: &VersionRef,
        stored: Stored,
    ) -> Result<ReadValue> {
        let Stored { value, revision } = stored;
        let mut read = ReadValue {
            stored: unopened(object, &value, revision),
            name: None,
            segments: 0,
        };
        let Some(cached) = cached else {
            return Ok(read);
        };
        let number = Head::parse(&value).map(|head| head.key_number);
        let opened = object.open_head(cached, &value).and_then(|(head, key)| {
            let opened = envelope::open(value.into(), &head, &object.address, None, &key)?;
            let name_key = cached.chart()?.name_key();
            let tag = crypto::record_tag(name_key, &opened.meta.name)?;
            if tag != object.address.record {
                return Err(Error::NotAuthentic);
            }
            Ok((head, opened))
        });
        match opened {
            Ok((head, opened)) => {
                read.stored.opens = OpenResult::Yes;
                read.name = Some((&*opened.meta.name).into());
                read.stored.expunged_up_to = opened.meta.expunged_up_to().unwrap_or(0);
                if let envelope::Content::Segmented {
                    stream,
                    key,
                    length,
                } = &opened.content
                {
                    let chart = &object.address.chart;
                    let stream = (stream, key, *length);
                    match self.vault.download(head.suite, chart, stream) {
                        Ok(download) => self.check_content(download, &mut read)?,
                        // No storage can contain the segments of such a length.
                        Err(Error::TooLarge) => read.stored.content = ContentCheck::Missing,
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(Error::UnknownPatientKey)
                if number.is_ok_and(|number| cached.entry.was_destroyed(number)) =>
            {
                read.stored.opens = OpenResult::Destroyed;
            }
            Err(_) => read.stored.opens = OpenResult::No,
        }
        Ok(read)
    }

    /// Checks that exactly the segments of a content stream are stored, each with its length. Opens the
    /// segments only if `with_content` is set.
    fn check_content(&self, download: Download, read: &mut ReadValue) -> Result<()> {
        let prefix = storage_keys::segments(download.chart(), download.stream());
        let segments = download.segments();
        let mut next = 0;
        let mut has_gap = false;
        let mut has_other_length = false;
        let storage = Arc::clone(&self.storage);
        scan::each_page(&*storage, &prefix, Projection::Head(0), &mut |items| {
            for item in items {
                // A key of another length belongs to no segment.
                let Some(index) = storage_keys::index_of(&item.key) else {
                    continue;
                };
                read.segments += 1;
                has_gap |= index != next || self.missing_values.contains(&item.key);
                has_other_length |= item.length != download.sealed_length(index);
                next = index.saturating_add(1);
            }
            Ok(())
        })?;
        read.stored.content = if self.storage.hides(&prefix) {
            ContentCheck::Altered
        } else if next < segments || has_gap && next == segments {
            ContentCheck::Missing
        } else if next > segments || has_other_length {
            ContentCheck::Altered
        } else if self.with_content {
            self.open_all(download)?
        } else {
            ContentCheck::Whole
        };
        Ok(())
    }

    fn open_all(&self, download: Download) -> Result<ContentCheck> {
        let mut ahead = Ahead::new(download);
        let mut buffer = crate::secret::Plaintext::new(vec![0; CHUNK]);
        let mut offset = 0;
        loop {
            self.vault.monitor().check()?;
            match ahead.copy(offset, &mut buffer, ReadExtent::Stream) {
                Ok(0) => return Ok(ContentCheck::Whole),
                Ok(bytes) => offset += bytes as u64,
                Err(Error::Storage(StorageError::Damaged)) => return Ok(ContentCheck::Altered),
                Err(error @ (Error::Storage(_) | Error::Locked)) => return Err(error),
                Err(Error::SegmentMissing) => return Ok(ContentCheck::Missing),
                Err(_) => return Ok(ContentCheck::Altered),
            }
        }
    }
}

/// Describes a value without opening it, from its storage key and bytes.
fn unopened(object: &VersionRef, value: &[u8], revision: Revision) -> StoredVersion {
    let version = Head::parse(value).map(|head| head.version);
    StoredVersion {
        version: object.version.or(version.ok()).unwrap_or(0),
        digest: envelope::digest(value).unwrap_or_default(),
        opens: OpenResult::CannotTell,
        content: ContentCheck::Whole,
        expunged_up_to: 0,
        revision,
    }
}
