//! Where the vault of a child lies.

use std::path::Path;
use std::sync::Arc;

use chartlock::storage::StorageError;
use chartlock::storage::{FileStorage, SplitStorage, Storage};

/// The storage in a directory: two of them, with the keys apart, where its name says so.
pub(crate) fn open(directory: &Path) -> Result<Arc<dyn Storage>, StorageError> {
    if !directory.ends_with("split") {
        return Ok(Arc::new(FileStorage::open(directory)?));
    }
    let keys = FileStorage::open(directory.join("keys"))?;
    let data = FileStorage::open(directory.join("data"))?;
    Ok(Arc::new(SplitStorage::new(keys, data)))
}
