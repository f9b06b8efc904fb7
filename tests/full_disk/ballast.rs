//! Files that fill a disk.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::common::scratch::free_bytes;

/// File that fills a disk except for a number of bytes. Dropping the ballast deletes the file.
pub(crate) struct Ballast(PathBuf);

impl Ballast {
    pub(crate) fn leaving(disk: &Path, free: u64) -> Self {
        let path = disk.join("ballast");
        let mut file = File::create(&path).unwrap();
        let block = [0x5a; 4096];
        while free_bytes(disk) > free {
            // The file system may have less room than it reports.
            if file.write_all(&block).is_err() {
                break;
            }
        }
        let _best_effort = file.sync_all();
        Self(path)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _already_deleted = fs::remove_file(&self.0);
    }
}

/// Directory of empty files that use all inodes. Dropping the ballast deletes the directory.
pub(crate) struct InodeBallast(PathBuf);

impl InodeBallast {
    pub(crate) fn new(disk: &Path) -> Self {
        let directory = disk.join("inodes");
        fs::create_dir(&directory).unwrap();
        let mut number = 0;
        while File::create(directory.join(format!("{number}"))).is_ok() {
            number += 1;
        }
        Self(directory)
    }
}

impl Drop for InodeBallast {
    fn drop(&mut self) {
        let _already_deleted = fs::remove_dir_all(&self.0);
    }
}
