//! Check that a server honours preconditions.
//!
//! A server that ignores them would let two writers overwrite each other, and no request would fail.

use super::bucket::{Bucket, ChangeError};
use crate::storage::{CommitError, Expect, StorageError};

/// Writes an object whose name is not that of a key, and checks that the server honours preconditions. The
/// caller chooses a new suffix.
pub(super) async fn check(bucket: &Bucket, suffix: &str) -> Result<(), StorageError> {
    let path = bucket.names.probe(suffix);
    let put = async |content: &[u8], expect: Expect| {
        let done = bucket.put(&path, &content.into(), &expect).await;
        match done {
            Ok(done) => Ok(Some(done.revision)),
            Err(ChangeError::Conflict) => Ok(None),
            Err(ChangeError::Other(error)) => Err(error),
        }
    };
    let checked = async {
        let Some(first) = put(b"1", Expect::Absent).await? else {
            return Ok(false);
        };
        let again = put(b"2", Expect::Absent).await?;
        let second = put(b"2", Expect::Unchanged(first.clone())).await?;
        let stale = put(b"3", Expect::Unchanged(first)).await?;
        Ok(again.is_none() && second.is_some() && stale.is_none())
    };
    let checked = checked.await;
    // Ignore a failure, because lists omit a probe that remains.
    let _ = bucket.delete(&path).await;
    match checked {
        Ok(true) => Ok(()),
        Ok(false) => Err(StorageError::Unsupported),
        Err(CommitError::Io(error)) => Err(error),
        Err(_) => Err(StorageError::TimedOut),
    }
}
