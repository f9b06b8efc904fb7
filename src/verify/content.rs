//! Reading and opening of record values for verification.

use crate::crypto;
use crate::error::{Error, Result};
use crate::format::envelope::{self, CHUNK, Head, Kind};
use crate::format::storage_keys;
use crate::records::download::{Ahead, Download, ReadExtent};
use crate::records::version_ref::VersionRef;
use crate::storage::{Projection, StorageError};
use crate::vault::entries::CachedEntry;
use crate::verify::Verification;
use crate::verify::compare::{ContentCheck, OpenResult, StoredVersion};

/// Result of reading one stored value, with the name that the value contains.
pub(super) struct ReadValue {
    pub(super) stored: StoredVersion,
    /// The record's name, if the value opens.
    pub(super) name: Option<Box<str>>,
}

impl Verification {
    /// Opens the head of a value. Opens the body only if the content is stored in segments;
    /// otherwise the digest suffices to identify the body.
    pub(super) fn read_head(
        &mut self,
        cached: Option<&CachedEntry>,
        object: &VersionRef,
        value: Vec<u8>,
    ) -> Result<StoredVersion> {
        let mut stored = unopened(object, &value);
        let Some(cached) = cached else {
            return Ok(stored);
        };
        match object.open_head(cached, &value) {
            Ok((head, _)) if head.kind == Kind::Segmented => {
                return Ok(self.read_value(Some(cached), object, value)?.stored);
            }
            opened => stored.opens = open_result(cached, &value, opened.map(drop)),
        }
        Ok(stored)
    }

    /// Opens a value completely, and checks its content segments.
    pub(super) fn read_value(
        &mut self,
        cached: Option<&CachedEntry>,
        object: &VersionRef,
        value: Vec<u8>,
    ) -> Result<ReadValue> {
        let mut read = ReadValue {
            stored: unopened(object, &value),
            name: None,
        };
        let Some(cached) = cached else {
            return Ok(read);
        };
        let raw = value.clone();
        let opened = object.open_head(cached, &value).and_then(|(head, key)| {
            let opened = envelope::open(value, &head, &object.address, None, &key)?;
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
                read.name = Some(opened.meta.name.clone());
                if let envelope::Content::Segmented {
                    stream,
                    key,
                    length,
                } = &opened.content
                {
                    let chart = &object.address.chart;
                    let stream = (stream, key, *length);
                    read.stored.content = match self.vault.download(head.suite, chart, stream) {
                        Ok(download) => self.check_content(download)?,
                        // No storage can contain the segments of such a length.
                        Err(Error::TooLarge) => ContentCheck::Missing,
                        Err(error) => return Err(error),
                    };
                }
            }
            Err(error) => read.stored.opens = open_result(cached, &raw, Err(error)),
        }
        Ok(read)
    }

    /// Checks that exactly the segments of a content stream are stored. Opens the segments only if
    /// `with_content` is set.
    fn check_content(&mut self, download: Download) -> Result<ContentCheck> {
        let prefix = storage_keys::segments(download.chart(), download.stream());
        let segments = download.segments();
        let mut next = 0;
        let mut stored = 0;
        let mut has_gap = false;
        self.vault
            .each_page(&prefix, Projection::Keys, &mut |entries| {
                for entry in entries {
                    has_gap |= self.missing_values.contains(&entry.key);
                    stored += 1;
                    match storage_keys::index_of(&entry.key) {
                        Some(index) => {
                            has_gap |= index != next;
                            next = index.saturating_add(1);
                        }
                        None => has_gap = true,
                    }
                }
                Ok(())
            })?;
        self.report.counts.segments += stored;
        if next < segments || has_gap && next == segments {
            return Ok(ContentCheck::Missing);
        }
        if next > segments {
            return Ok(ContentCheck::Altered);
        }
        if self.with_content {
            return open_all(download);
        }
        Ok(ContentCheck::Whole)
    }
}

fn open_all(download: Download) -> Result<ContentCheck> {
    let mut ahead = Ahead::new(download);
    let mut buffer = crate::secret::Plaintext::new(vec![0; CHUNK]);
    let mut offset = 0;
    loop {
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

/// Describes a value without opening it, from its storage key and bytes.
fn unopened(object: &VersionRef, value: &[u8]) -> StoredVersion {
    let version = Head::parse(value).map(|head| head.version);
    StoredVersion {
        version: object.version.or(version.ok()).unwrap_or(0),
        digest: envelope::digest(value).unwrap_or_default(),
        opens: OpenResult::CannotTell,
        content: ContentCheck::Whole,
    }
}

fn open_result(cached: &CachedEntry, value: &[u8], opened: Result<()>) -> OpenResult {
    match opened {
        Ok(()) => OpenResult::Yes,
        Err(Error::UnknownPatientKey) => {
            let number = Head::parse(value).map(|head| head.key_number);
            if number.is_ok_and(|number| cached.entry.was_destroyed(number)) {
                OpenResult::Destroyed
            } else {
                OpenResult::No
            }
        }
        Err(_) => OpenResult::No,
    }
}
