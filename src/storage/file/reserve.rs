//! Reserve: a file that is deleted to make room for deletions on a full disk.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::directory::{DATABASE, RESERVE, private};
use crate::group_commit::lock;

/// Size of the reserve of a large storage, in bytes. It is enough for the log and the tree pages of
/// an erasure.
const RESERVE_BYTES: u64 = 4 << 20;
/// Size of the reserve of a small storage, in bytes, whose log and tree have few pages.
const SMALL_RESERVE_BYTES: u64 = 512 << 10;
/// Smallest reserve that is kept, in bytes.
const RESERVE_BYTES_MIN: u64 = 256 << 10;
/// Room that must be left beside the reserve, in bytes, so that an erasure in progress can finish.
const ROOM_BYTES: u64 = 512 << 10;
/// Time after which a reserve that could not be written is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    state: Mutex<ReserveState>,
    /// `true` if the database was large when the storage was opened.
    is_large: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReserveState {
    /// Present with this size, in bytes; 0 for a missing file.
    Present(u64),
    /// Deleted for a commit that needed its room.
    GivenUp,
    /// Missing since the disk was too full for it.
    NoRoom(Instant),
}

impl Reserve {
    pub(super) fn new(directory: &Path) -> Self {
        let path = directory.join(RESERVE);
        let size = |name| fs::metadata(directory.join(name)).map_or(0, |file| file.len());
        Self {
            path,
            state: Mutex::new(ReserveState::Present(size(RESERVE))),
            is_large: size(DATABASE) >= RESERVE_BYTES,
        }
    }

    /// Deletes the reserve.
    pub(super) fn give_up(&self) {
        let _may_be_missing = fs::remove_file(&self.path);
        *lock(&self.state) = ReserveState::GivenUp;
    }

    pub(super) fn is_given_up(&self) -> bool {
        *lock(&self.state) == ReserveState::GivenUp
    }

    /// Writes the reserve if it is missing or too small for the storage, at once after it was given
    /// up. Otherwise the next puts would take its room, and the next deletion would find none.
    ///
    /// `written` is the size of the commits since the opening, in bytes.
    pub(super) fn refill(&self, written: u64) {
        let mut state = lock(&self.state);
        let size = match self.is_large || written >= RESERVE_BYTES {
            true => RESERVE_BYTES,
            false => SMALL_RESERVE_BYTES,
        };
        match *state {
            ReserveState::Present(present) if present >= size => return,
            ReserveState::NoRoom(since) if since.elapsed() < RETRY_AFTER => return,
            _ => {}
        }
        *state = match self.write(size) {
            Ok(()) => ReserveState::Present(size),
            Err(_) => ReserveState::NoRoom(Instant::now()),
        };
    }

    /// Writes real bytes, because a sparse file reserves nothing. Nothing depends on its content,
    /// so it is not synced. A smaller file than `size` is kept, but counts as an error.
    fn write(&self, size: u64) -> io::Result<()> {
        let mut file = private(OpenOptions::new().append(true).create(true)).open(&self.path)?;
        let block = [0xa5; 64 << 10];
        let mut written = file.metadata()?.len();
        let mut result = Ok(());
        while written < size + ROOM_BYTES && result.is_ok() {
            result = file.write_all(&block);
            written = file.metadata()?.len();
        }
        let kept = written.saturating_sub(ROOM_BYTES);
        if kept < RESERVE_BYTES_MIN {
            fs::remove_file(&self.path)?;
        } else {
            file.set_len(kept)?;
        }
        result
    }
}
