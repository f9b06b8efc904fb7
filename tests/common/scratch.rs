//! Scratch directories.

use std::path::Path;

use tempfile::TempDir;

/// More than all tests of one binary keep at a time.
const NEEDED: u64 = 1 << 30;

/// In memory where there is such a place: for what does not depend on a disk, as a sync is quick there.
pub(crate) fn quick() -> TempDir {
    let memory = Path::new("/dev/shm");
    let in_memory = (free_bytes(memory) >= NEEDED).then(|| tempfile::tempdir_in(memory).ok());
    in_memory
        .flatten()
        .unwrap_or_else(|| tempfile::tempdir().unwrap())
}

/// None where there is no such place. Containers give theirs a few megabytes.
#[cfg(unix)]
pub(crate) fn free_bytes(place: &Path) -> u64 {
    use std::os::unix::ffi::OsStrExt;

    let place = std::ffi::CString::new(place.as_os_str().as_bytes()).unwrap();
    // SAFETY: all of its fields are numbers, for which zeros will do.
    #[allow(unsafe_code)]
    let mut space: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: a path that ends with a zero, and a place for the answer, both of which outlive the call.
    #[allow(unsafe_code)]
    let failed = unsafe { libc::statvfs(place.as_ptr(), &raw mut space) };
    match failed {
        0 => space.f_bavail as u64 * space.f_frsize as u64,
        _ => 0,
    }
}

#[cfg(not(unix))]
pub(crate) fn free_bytes(_: &Path) -> u64 {
    0
}
