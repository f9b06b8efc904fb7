//! Scratch directories, in memory where possible.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// Free bytes that a scratch directory in memory requires. All concurrent tests of one test binary
/// store less.
const NEEDED: u64 = 1 << 30;

/// Creates a directory in memory if enough memory is free, because a sync is fast there. Otherwise
/// creates the directory on disk.
///
/// Use the directory only in tests that do not depend on a disk.
pub(crate) fn quick() -> TempDir {
    let memory = Path::new("/dev/shm");
    let in_memory = (free_bytes(memory) >= NEEDED).then(|| tempfile::tempdir_in(memory).ok());
    in_memory
        .flatten()
        .unwrap_or_else(|| tempfile::tempdir().unwrap())
}

/// Sets the mode of a file, so that a test does not depend on the mask of its process.
#[cfg(unix)]
pub(crate) fn set_mode(path: &Path, mode: u32) {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(path, permissions).unwrap();
}

/// Returns the free bytes of a file system; 0 if the path does not exist.
///
/// Containers may limit `/dev/shm` to a few megabytes.
#[cfg(unix)]
pub(crate) fn free_bytes(path: &Path) -> u64 {
    use std::os::unix::ffi::OsStrExt;

    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: all fields are integers, for which zero is a valid value.
    #[allow(unsafe_code)]
    let mut space: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is NUL-terminated, and path and buffer outlive the call.
    #[allow(unsafe_code)]
    let failed = unsafe { libc::statvfs(path.as_ptr(), &raw mut space) };
    match failed {
        0 => space.f_bavail as u64 * space.f_frsize as u64,
        _ => 0,
    }
}

#[cfg(not(unix))]
pub(crate) fn free_bytes(_: &Path) -> u64 {
    0
}

/// Copies a directory with everything in it.
pub(crate) fn copy_all(from: &Path, to: &Path) {
    copy_each(from, to, &|_| ());
}

/// Copies a directory with everything in it. Calls `copied` with the path of each copied file.
pub(crate) fn copy_each(from: &Path, to: &Path, copied: &impl Fn(&Path)) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_each(&entry.path(), &target, copied);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            copied(&target);
        }
    }
}
