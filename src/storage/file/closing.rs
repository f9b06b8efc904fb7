//! What a storage that was closed keeps of the engine's journals: nothing, where that is worth it.
//!
//! The engine itself drops a journal when it is full, at 64 MiB, and all that is in it is in tables.
//! So a closed storage would keep most of what was last written twice. Here the engine first writes
//! everything to tables, which are durable when it says so; then it is closed, and then its journals
//! are emptied: whatever of that a crash undoes, the engine reads again and finds in its tables.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use crate::storage::StorageError;
use crate::storage::file::directory::sync_directory;
use crate::storage::file::tail::journals;

/// What may stay: so that closing costs nothing where little was written.
const KEPT_BYTES: u64 = 4 << 20;

/// Whether the journals of the engine in a directory are so large.
pub(super) fn is_worth_it(engine: &Path) -> bool {
    let bytes = |journals: Vec<PathBuf>| journals.iter().map(taken).sum::<u64>();
    journals(engine).is_ok_and(|journals| bytes(journals) > KEPT_BYTES)
}

/// Empties the journals of an engine that is closed and has everything in its tables.
pub(super) fn empty_journals(engine: &Path) -> Result<(), StorageError> {
    let mut journals = journals(engine)?;
    let newest = journals.pop();
    for journal in &journals {
        fs::remove_file(journal)?;
    }
    sync_directory(engine)?;
    // The engine goes on in the newest.
    if let Some(newest) = newest {
        let file = OpenOptions::new().write(true).open(newest)?;
        file.set_len(0)?;
        file.sync_all()?;
    }
    Ok(())
}

/// What a file takes on the disk: a new journal is long, and holds nothing.
fn taken(file: impl AsRef<Path>) -> u64 {
    fs::metadata(file).map_or(0, |metadata| blocks(&metadata))
}

#[cfg(unix)]
fn blocks(metadata: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    metadata.blocks() * 512
}

#[cfg(not(unix))]
fn blocks(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}
