//! Reserve: a file that is deleted to make room for deletions on a full disk.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::directory::{DATABASE, RESERVE, new_file};
use crate::group_commit::lock;

/// Size of the reserve, in bytes. It is enough for the log and the tree pages of an erasure.
const RESERVE_BYTES: usize = 4 << 20;
/// Time after which a missing reserve is written again.
const REFILL_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    /// Time from which the missing reserve is written again; `None` while the reserve exists.
    refill_at: Mutex<Option<Instant>>,
}

impl Reserve {
    pub(super) fn new(directory: &Path) -> Self {
        let path = directory.join(RESERVE);
        let is_missing = !path.exists();
        // A large storage gets its reserve with its first commit, a small one later.
        let database = fs::metadata(directory.join(DATABASE));
        let is_large = database.is_ok_and(|file| file.len() >= RESERVE_BYTES as u64);
        let now = Instant::now();
        Self {
            path,
            refill_at: Mutex::new(is_missing.then_some(if is_large {
                now
            } else {
                now + REFILL_AFTER
            })),
        }
    }

    /// Deletes the reserve.
    pub(super) fn give_up(&self) {
        let _may_be_missing = fs::remove_file(&self.path);
        *lock(&self.refill_at) = Some(Instant::now() + REFILL_AFTER);
    }

    /// Writes the reserve if it is missing, but not soon after it was given up.
    pub(super) fn refill(&self) {
        let mut refill_at = lock(&self.refill_at);
        let now = Instant::now();
        if refill_at.is_some_and(|time| time <= now) {
            *refill_at = match self.write() {
                Ok(()) => None,
                // The disk is still too full.
                Err(_) => Some(now + REFILL_AFTER),
            };
        }
    }

    /// Writes real bytes, because a sparse file reserves nothing. Nothing depends on its content,
    /// so it is not synced.
    fn write(&self) -> io::Result<()> {
        let mut file = new_file(&self.path)?;
        let block = [0xa5; 64 << 10];
        for _ in 0..RESERVE_BYTES / block.len() {
            if let Err(error) = file.write_all(&block) {
                let _best_effort = fs::remove_file(&self.path);
                return Err(error);
            }
        }
        Ok(())
    }
}
