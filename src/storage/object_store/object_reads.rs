//! Reads of objects by key, and scans.

use std::io;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::bucket::{Bucket, Fetched};
use super::listing::{ListPage, ListedObject, PAGE_KEYS_MAX};
use super::request_failure::RequestFailure;
use crate::storage::{Projection, Scan, ScanItem, ScanPage, StorageError, Stored, UnreadableRange};

/// Number of bytes of values after which a page ends.
const PAGE_BYTES: u64 = 4 * 1024 * 1024;

/// Reads the values of keys.
pub(super) async fn read(
    bucket: &Bucket,
    keys: Vec<Vec<u8>>,
) -> Result<Vec<Option<Stored>>, StorageError> {
    // Collect the futures first, because a stream of a closure over references is not `Send`.
    let reads = keys.iter().map(|key| async move {
        let fetched = bucket.get(key, None).await?;
        Ok(fetched.map(
            |Fetched {
                 value, revision, ..
             }| Stored {
                value: value.into(),
                revision,
            },
        ))
    });
    let reads: Vec<_> = reads.collect();
    let reads = stream::iter(reads).buffered(bucket.requests);
    reads.try_collect().await
}

/// A scan that owns its bounds.
pub(super) struct OwnedScan {
    prefix: Vec<u8>,
    after: Option<Vec<u8>>,
    limit: usize,
    projection: Projection,
}

impl From<Scan<'_>> for OwnedScan {
    fn from(scan: Scan<'_>) -> Self {
        Self {
            prefix: scan.prefix.to_vec(),
            // A lower bound below the prefix changes nothing.
            after: scan
                .after
                .filter(|after| *after >= scan.prefix)
                .map(<[u8]>::to_vec),
            limit: scan.limit,
            projection: scan.projection,
        }
    }
}

/// Reads a page of a scan.
pub(super) async fn scan(bucket: &Bucket, mut scan: OwnedScan) -> Result<ScanPage, StorageError> {
    loop {
        let after = scan.after.as_deref().map(|after| bucket.names.name(after));
        let limit = scan.limit.clamp(1, PAGE_KEYS_MAX);
        let mut listed = bucket.list(&scan.prefix, after, limit).await?;
        cut(&mut listed, limit, scan.projection);
        let end = listed.objects.last().map(|object| object.key.clone());
        let page = fill(bucket, listed, scan.projection).await?;
        // Another process deleted all objects of the page meanwhile. Continue after the page, because the caller
        // cannot continue after an empty page.
        let is_empty = page.items.is_empty() && page.unreadable.is_empty();
        match end {
            Some(end) if is_empty && page.more => scan.after = Some(end),
            None if page.more => return Err(StorageError::Io(io::ErrorKind::InvalidData)),
            _ => return Ok(page),
        }
    }
}

/// Shortens a page to the scan's number of keys, and to the number of bytes that a caller can keep in memory.
fn cut(listed: &mut ListPage, limit: usize, projection: Projection) {
    let mut bytes = 0_u64;
    let fits = |object: &ListedObject| {
        let is_first = bytes == 0;
        bytes = bytes.saturating_add(requested(object.size, projection).max(1));
        is_first || bytes <= PAGE_BYTES
    };
    let fitting = listed
        .objects
        .iter()
        .map(fits)
        .take(limit)
        .take_while(|fits| *fits)
        .count();
    listed.more |= fitting < listed.objects.len();
    listed.objects.truncate(fitting);
}

/// Returns the number of bytes of a value that a projection includes.
fn requested(size: u64, projection: Projection) -> u64 {
    match projection {
        Projection::Keys => 0,
        Projection::Head(bytes) => size.min(bytes as u64),
        Projection::Values => size,
    }
}

async fn fill(
    bucket: &Bucket,
    listed: ListPage,
    projection: Projection,
) -> Result<ScanPage, StorageError> {
    let filled = stream::iter(listed.objects).map(|object| item(bucket, object, projection));
    let mut filled = filled.buffered(bucket.requests);
    let mut page = ScanPage {
        more: listed.more,
        ..ScanPage::default()
    };
    let mut bytes = 0;
    while let Some((key, filled)) = filled.next().await {
        match filled {
            Ok(Some(object)) => {
                bytes += object.value.len() as u64;
                page.items.push(ScanItem {
                    key,
                    value: object.value.into(),
                    length: object.size,
                    revision: object.revision,
                });
                // End the page, because the objects are larger than the list states.
                if bytes > PAGE_BYTES {
                    page.more = true;
                    break;
                }
            }
            // Another process deleted the object meanwhile.
            Ok(None) => {}
            Err(RequestFailure::Oversized) => page.unreadable.push(UnreadableRange {
                first: key.clone(),
                last: key,
            }),
            Err(failure) => return Err(failure.into()),
        }
    }
    Ok(page)
}

async fn item(
    bucket: &Bucket,
    object: ListedObject,
    projection: Projection,
) -> (Vec<u8>, Result<Option<Fetched>, RequestFailure>) {
    let ListedObject {
        key,
        size,
        revision,
    } = object;
    let wanted = requested(size, projection);
    let is_listed = matches!(projection, Projection::Keys | Projection::Head(0));
    let fetched = match is_listed {
        true => Ok(Some(Fetched {
            value: bytes::Bytes::new(),
            size,
            revision,
        })),
        false => {
            let head = (wanted < size).then_some(wanted);
            let fetched = bucket.get(&key, head).await;
            fetched.map(|fetched| fetched.map(|object| shortened(object, projection)))
        }
    };
    (key, fetched)
}

/// Shortens a value to its projection, because a server may ignore the requested range, or state a wrong size.
fn shortened(object: Fetched, projection: Projection) -> Fetched {
    let end = match projection {
        Projection::Head(end) => object.value.get(..end),
        _ => None,
    };
    match end {
        // Copy, because a slice would keep the whole value in memory.
        Some(head) if head.len() < object.value.len() => Fetched {
            value: bytes::Bytes::copy_from_slice(head),
            ..object
        },
        _ => object,
    }
}
