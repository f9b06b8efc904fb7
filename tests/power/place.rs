//! Opening of a child's storage, whose kind the name of its directory selects.

use std::path::Path;
use std::sync::Arc;

use chartlock::storage::StorageError;
use chartlock::storage::{FileOptions, FileStorage, SplitStorage, Storage};

pub(crate) type Split = SplitStorage<FileStorage, FileStorage>;

/// Opens the storage in a directory. A directory with the name `split` contains a split storage.
pub(crate) fn open(directory: &Path) -> Result<Arc<dyn Storage>, StorageError> {
    match is_split(directory) {
        true => Ok(open_split(directory)?),
        false => Ok(open_file(directory)?),
    }
}

pub(crate) fn open_split(directory: &Path) -> Result<Arc<Split>, StorageError> {
    let keys = FileStorage::open(directory.join("keys"))?;
    let data = FileStorage::open(directory.join("data"))?;
    Ok(Arc::new(SplitStorage::new(keys, data)))
}

/// Opens a directory that contains a single storage. Several processes can open a storage in a
/// directory with the name `shared`.
pub(crate) fn open_file(directory: &Path) -> Result<Arc<FileStorage>, StorageError> {
    let options = FileOptions::new();
    let storage = match directory.ends_with("shared") {
        true => options.shared().open(directory)?,
        false => options.open(directory)?,
    };
    Ok(Arc::new(storage))
}

pub(crate) fn is_split(directory: &Path) -> bool {
    directory.ends_with("split")
}
