//! Reads and opens values for verification.

use crate::crypto;
use crate::error::{Error, Result};
use crate::format::envelope::{self, CHUNK, Head, Kind};
use crate::format::storage_keys;
use crate::records::download::{Ahead, Download, ReadExtent};
use crate::records::version_ref::VersionRef;
use crate::storage::Projection;
use crate::vault::entries::CachedEntry;
use crate::verify::Verification;
use crate::verify::compare::{ContentCheck, OpenResult, StoredVersion};

/// A value that was looked at, and what is sealed in it.
pub(super) struct ReadValue {
    pub(super) seen: StoredVersion,
    /// What the record is called, if the value opens.
    pub(super) name: Option<Box<str>>,
}

impl Verification {
    /// Looks at a value: its head is opened, and its body where there is content elsewhere. What is
    /// sealed in the body is known by its digest.
    pub(super) fn glance(
        &mut self,
        held: Option<&CachedEntry>,
        object: &VersionRef,
        value: Vec<u8>,
    ) -> Result<StoredVersion> {
        let mut seen = outside(object, &value);
        let Some(held) = held else {
            return Ok(seen);
        };
        match object.open_head(held, &value) {
            Ok((head, _)) if head.kind == Kind::Segmented => {
                return Ok(self.inspect(Some(held), object, value)?.seen);
            }
            opened => seen.opens = opens(held, &value, opened.map(drop)),
        }
        Ok(seen)
    }

    /// Looks at a value and all that is in it.
    pub(super) fn inspect(
        &mut self,
        held: Option<&CachedEntry>,
        object: &VersionRef,
        value: Vec<u8>,
    ) -> Result<ReadValue> {
        let mut looked = ReadValue {
            seen: outside(object, &value),
            name: None,
        };
        let Some(held) = held else {
            return Ok(looked);
        };
        let number = value.clone();
        let opened = object.open_head(held, &value).and_then(|(head, key)| {
            let opened = envelope::open(value, &head, &object.address, None, &key)?;
            let name_key = held.chart()?.name_key();
            let tag = crypto::record_tag(name_key, &opened.meta.name)?;
            if tag != object.address.record {
                return Err(Error::NotAuthentic);
            }
            Ok((head, opened))
        });
        match opened {
            Ok((head, opened)) => {
                looked.seen.opens = OpenResult::Yes;
                looked.name = Some(opened.meta.name.clone());
                if let envelope::Content::Segmented {
                    stream,
                    key,
                    length,
                } = &opened.content
                {
                    let chart = &object.address.chart;
                    let stream = (stream, key, *length);
                    let download = self.vault.download(head.suite, chart, stream)?;
                    looked.seen.content = self.content(download)?;
                }
            }
            Err(error) => looked.seen.opens = opens(held, &number, Err(error)),
        }
        Ok(looked)
    }

    /// Whether the segments of a stream are all there, and no more; and whether they open, if that was
    /// asked for.
    fn content(&mut self, download: Download) -> Result<ContentCheck> {
        let prefix = storage_keys::segments(download.chart(), download.stream());
        let segments = download.segments();
        let mut next = 0;
        let mut strange = false;
        self.vault
            .each_page(&prefix, Projection::Keys, &mut |entries| {
                for entry in entries {
                    match storage_keys::index_of(&entry.key) {
                        Some(index) if index == next => next += 1,
                        Some(index) if index > next => {
                            next = index;
                            strange = true;
                        }
                        _ => strange = true,
                    }
                }
                Ok(())
            })?;
        self.report.counts.segments += u64::from(next.min(segments));
        if next < segments || strange && next == segments {
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
            Err(error @ (Error::Storage(_) | Error::Locked)) => return Err(error),
            Err(Error::SegmentMissing) => return Ok(ContentCheck::Missing),
            Err(_) => return Ok(ContentCheck::Altered),
        }
    }
}

/// What can be told without any key.
fn outside(object: &VersionRef, value: &[u8]) -> StoredVersion {
    let version = Head::parse(value).map(|head| head.version);
    StoredVersion {
        version: object.version.or(version.ok()).unwrap_or(0),
        digest: envelope::digest(value).unwrap_or_default(),
        opens: OpenResult::CannotTell,
        content: ContentCheck::Whole,
    }
}

fn opens(held: &CachedEntry, value: &[u8], opened: Result<()>) -> OpenResult {
    match opened {
        Ok(()) => OpenResult::Yes,
        Err(Error::UnknownPatientKey) => {
            let number = Head::parse(value).map(|head| head.key_number);
            if number.is_ok_and(|number| held.entry.was_destroyed(number)) {
                OpenResult::Destroyed
            } else {
                OpenResult::No
            }
        }
        Err(_) => OpenResult::No,
    }
}
