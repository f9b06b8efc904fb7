//! Check that a server honours preconditions.
//!
//! A server that ignores them would let two writers overwrite each other, and no request would fail.

use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, UpdateVersion};

use super::bucket::{Bucket, revision};
use super::refusal::Failure;
use crate::storage::StorageError;

/// Writes an object without a key, and checks that its preconditions matter. The caller chooses a new suffix.
pub(super) async fn check(bucket: &Bucket, suffix: &str) -> Result<(), StorageError> {
    let path = bucket.names.probe(suffix);
    let put = async |content: &'static [u8], mode: PutMode| -> Result<_, Error> {
        let done = bucket.store.put_opts(&path, content.into(), mode.into());
        Ok(done.await?.e_tag)
    };
    let update = |e_tag: &Option<String>| {
        PutMode::Update(UpdateVersion {
            e_tag: e_tag.clone(),
            version: None,
        })
    };
    let first = put(b"1", PutMode::Create).await.map_err(Failure::from)?;
    let again = put(b"2", PutMode::Create).await;
    let second = put(b"2", update(&first)).await;
    let stale = put(b"3", update(&first)).await;
    bucket.store.delete(&path).await.map_err(Failure::from)?;
    let second = second.map_err(Failure::from)?;
    let are_refused = is_refused(again)? && is_refused(stale)?;
    let differ = revision(first.as_deref())? != revision(second.as_deref())?;
    match are_refused && differ {
        true => Ok(()),
        false => Err(StorageError::Unsupported),
    }
}

/// Returns `true` if a precondition did not hold.
fn is_refused(put: Result<Option<String>, Error>) -> Result<bool, Failure> {
    match put.map_err(Failure::from) {
        Ok(_) => Ok(false),
        Err(Failure::Refused {
            status: 409 | 412, ..
        }) => Ok(true),
        Err(failure) => Err(failure),
    }
}
