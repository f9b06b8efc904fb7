//! Descriptors of SQLite's files that stay open until the process ends.
//!
//! When a process closes any descriptor of a file, POSIX releases all locks of the process on this file,
//! also those of SQLite. A descriptor that was opened beside SQLite can therefore not be closed. Later
//! calls use the same descriptor, so the number of descriptors does not grow with the number of calls.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Opens a file for reading. The descriptor stays open until the process ends.
#[cfg(unix)]
pub(super) fn open(path: &Path) -> io::Result<Arc<File>> {
    use std::os::unix::fs::MetadataExt;
    use std::sync::Mutex;

    /// Open files by their identity and access rights. After a change of its rights a file is opened
    /// again, because only an opening shows whether the new rights suffice.
    static RETAINED: Mutex<Vec<(Key, Arc<File>)>> = Mutex::new(Vec::new());
    /// Device, inode, mode, user and group.
    type Key = (u64, u64, u32, u32, u32);

    let key = |metadata: &std::fs::Metadata| {
        let (device, inode) = (metadata.dev(), metadata.ino());
        (
            device,
            inode,
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
        )
    };
    let mut retained = crate::group_commit::lock(&RETAINED);
    let wanted = key(&std::fs::metadata(path)?);
    if let Some((_, file)) = retained.iter().find(|(known, _)| *known == wanted) {
        return Ok(Arc::clone(file));
    }
    let file = Arc::new(File::open(path)?);
    // Another file may have replaced the file in between.
    let opened = file.metadata().as_ref().map_or(wanted, key);
    retained.push((opened, Arc::clone(&file)));
    Ok(file)
}

/// Opens a file for reading. The locks of other systems belong to a descriptor.
#[cfg(not(unix))]
pub(super) fn open(path: &Path) -> io::Result<Arc<File>> {
    File::open(path).map(Arc::new)
}
