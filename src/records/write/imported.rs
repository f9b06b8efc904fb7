//! Decision about a version that an import writes: written, stored already, or in conflict.

use crate::error::{Error, Result};
use crate::format::envelope::{Content, Meta, Opened};
use crate::records::write::next_version::NextVersion;
use crate::records::write::{PendingChange, WriteJob};

/// Returns the outcome of an import, if the current version decides it; `None` if the write can go on, or if
/// the job is no import.
///
/// A record whose current version is the imported one must have the same content and origin, because another
/// program could have used the same name.
pub(super) fn imported(
    job: &WriteJob<'_>,
    current: u64,
    opened: &Result<Opened>,
) -> Option<Result<NextVersion>> {
    if job.imported_version != Some(current) {
        return imported_before(job, current);
    }
    Some(match opened {
        Ok(opened)
            if has_same_origin(&job.meta, &opened.meta) && has_content(opened, job.change) =>
        {
            Ok(NextVersion::Nothing)
        }
        Ok(_) => Err(Error::Conflict),
        Err(error) => Err(error.clone()),
    })
}

/// Returns the outcome of an import after the version `current`, if this number decides it. A record with later
/// versions has been changed since its import, so that the import must not add a version.
pub(super) fn imported_before(job: &WriteJob<'_>, current: u64) -> Option<Result<NextVersion>> {
    match job.imported_version? {
        version if version <= current => Some(Ok(NextVersion::Nothing)),
        version if version == current + 1 => None,
        _ => Some(Err(Error::Conflict)),
    }
}

fn has_same_origin(meta: &Meta, stored: &Meta) -> bool {
    meta.original_time() == stored.original_time()
        && meta.original_author() == stored.original_author()
        && meta.content_type == stored.content_type
}

/// Compares the content. Of content in segments, which is not read here, it compares the length.
fn has_content(stored: &Opened, change: PendingChange<'_>) -> bool {
    match (&stored.content, change) {
        (Content::Inline(buffer, range), PendingChange::Content(content)) => {
            buffer.get(range.clone()) == Some(content)
        }
        (Content::Segmented { length, .. }, PendingChange::Content(content)) => {
            *length == content.len() as u64
        }
        _ => false,
    }
}
