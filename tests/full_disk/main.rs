//! Vaults on disks that become full at random moments. The disks are a small tmpfs and a small ext4
//! file system. Further tests remove all free inodes, make the file system read-only, or set limits
//! of a process.
//!
//! Operations that need space on a full disk return `Full`, but a subject can be erased. The same
//! handle continues when there is free space again. No acknowledged change is lost, and no read is
//! released without a journal entry.
//!
//! `CHARTLOCK_MOMENTS` sets the number of moments for each file system, and `CHARTLOCK_SEED` repeats
//! them. The tests are skipped with a note where this system does not permit mounts.
#![cfg(all(feature = "file", target_os = "linux"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod ballast;
#[path = "../common/mod.rs"]
mod common;
mod limits;
mod moment;
mod patients;
mod read_only;

use std::path::Path;

use common::child::{assert_success, child_after, directory_from_parent};
use common::content::Random;

/// Shell command that mounts a tmpfs of 64 MiB.
const TMPFS: &str = "mount -t tmpfs -o size=64m none \"$1\"";

/// Returns the shell commands that create and mount an ext4 file system of 64 MiB. `options` are
/// options of `mkfs.ext4`.
fn ext4(options: &str) -> String {
    format!(
        "truncate -s 64M \"$1.image\"
         mkfs.ext4 -q -F {options} \"$1.image\"
         mount -o loop \"$1.image\" \"$1\""
    )
}

/// Runs a test in a child process after the commands `mount`, or skips the test if they are not
/// permitted.
#[track_caller]
fn run_after(mount: &str, test: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let disk = scratch.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    if let Some(command) = child_after(mount, test, &disk) {
        assert_success(command);
    }
}

fn moments() -> u64 {
    let set = std::env::var("CHARTLOCK_MOMENTS").ok();
    set.map_or(5, |moments| moments.parse().unwrap())
}

fn each_moment(disk: &Path) {
    let mut random = Random::new();
    for number in 0..moments() {
        moment::run(disk, number, &mut random);
    }
}

#[test]
fn full_tmpfs_loses_nothing_and_recovers() {
    match directory_from_parent() {
        Some(disk) => each_moment(&disk),
        None => run_after(TMPFS, "full_tmpfs_loses_nothing_and_recovers"),
    }
}

#[test]
fn full_ext4_loses_nothing_and_recovers() {
    match directory_from_parent() {
        Some(disk) => each_moment(&disk),
        None => run_after(&ext4(""), "full_ext4_loses_nothing_and_recovers"),
    }
}
