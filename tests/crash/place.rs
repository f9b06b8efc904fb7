//! The storage of a child's vault.

use std::path::Path;
use std::sync::Arc;

use chartlock::storage::StorageError;
use chartlock::storage::{FileStorage, SplitStorage, Storage};

/// Opens the storage in a directory. A directory with the name `split` contains a split storage.
pub(crate) fn open(directory: &Path) -> Result<Arc<dyn Storage>, StorageError> {
    if !directory.ends_with("split") {
        return Ok(Arc::new(FileStorage::open(directory)?));
    }
    let keys = FileStorage::open(directory.join("keys"))?;
    let data = FileStorage::open(directory.join("data"))?;
    Ok(Arc::new(SplitStorage::new(keys, data)))
}
