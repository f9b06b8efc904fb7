//! Scratch directories.

use std::path::Path;

use tempfile::TempDir;

/// In memory where there is such a place: for what does not depend on a disk, as a sync is quick there.
pub(crate) fn quick() -> TempDir {
    let memory = Path::new("/dev/shm");
    let in_memory = memory.is_dir().then(|| tempfile::tempdir_in(memory).ok());
    in_memory
        .flatten()
        .unwrap_or_else(|| tempfile::tempdir().unwrap())
}
