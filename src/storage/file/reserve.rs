//! Reserve: a file that is deleted to make room for deletions on a full disk. Its room is enough to
//! empty the write-ahead log and to erase a subject.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::directory::{DATABASE, RESERVE, private};
use super::schema::PAGE_BYTES;
use crate::group_commit::lock;

/// Largest room for the commits of an erasure, in bytes. A smaller storage needs less.
const ERASURE_BYTES_MAX: u64 = 4 << 20;
const ERASURE_BYTES_MIN: u64 = 512 << 10;
/// Margin for the puts after the last extension of the reserve, in bytes. An extension can fail while
/// the disk still has this much room, and later puts can use the room and increase the need.
const MARGIN_BYTES: u64 = 512 << 10;
/// The size of the reserve is a multiple of this, in bytes, so that it is rarely extended.
const STEP_BYTES: u64 = 256 << 10;
/// Smallest reserve that is kept, in bytes.
const RESERVE_BYTES_MIN: u64 = 256 << 10;
/// Free room that an extension of the reserve must leave on the disk, in bytes.
const ROOM_BYTES: u64 = 128 << 10;
/// Time between two attempts to write the reserve on a full disk.
const RETRY_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    state: Mutex<ReserveState>,
    database: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReserveState {
    /// Present with this size, in bytes; 0 for a missing file.
    Present(u64),
    /// Deleted to make room, and not written again yet.
    GivenUp,
    /// Missing or too small, because an attempt to write the reserve failed at this time.
    NoRoom(Instant),
}

impl Reserve {
    pub(super) fn new(directory: &Path) -> Self {
        let path = directory.join(RESERVE);
        let size = fs::metadata(&path).map_or(0, |file| file.len());
        Self {
            path,
            state: Mutex::new(ReserveState::Present(size)),
            database: directory.join(DATABASE),
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

    /// Writes or extends the reserve if it is too small. Writes a deleted reserve again at once, because
    /// later puts would otherwise use the room, and the next deletion would fail. After a failed
    /// attempt, waits five seconds before the next one.
    ///
    /// The write-ahead log can be emptied only after the database file has grown to `pages` pages, so
    /// the size of the reserve includes this growth.
    pub(super) fn refill(&self, pages: u64) {
        let mut state = lock(&self.state);
        let size = self.needed_bytes(pages);
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

    /// Shortens the reserve to the size that an empty log needs. The next process extends the
    /// reserve while its log grows.
    pub(super) fn shorten(&self) {
        let mut state = lock(&self.state);
        let size = self.needed_bytes(0);
        if let ReserveState::Present(present) = *state
            && present > size
        {
            let file = OpenOptions::new().write(true).open(&self.path);
            if file.and_then(|file| file.set_len(size)).is_ok() {
                *state = ReserveState::Present(size);
            }
        }
    }

    /// Returns the necessary size of the reserve, in bytes, if the database file must grow to `pages` pages.
    fn needed_bytes(&self, pages: u64) -> u64 {
        let database = fs::metadata(&self.database).map_or(0, |file| file.len());
        let growth = (pages * PAGE_BYTES as u64).saturating_sub(database);
        let erasure = database.clamp(ERASURE_BYTES_MIN, ERASURE_BYTES_MAX);
        (growth + erasure + MARGIN_BYTES).next_multiple_of(STEP_BYTES)
    }

    /// Writes real bytes, because a sparse file reserves nothing. Does not sync the file, because
    /// nothing depends on its content. After an error, keeps what was written if this is at least
    /// `RESERVE_BYTES_MIN`, and returns the error.
    fn write(&self, size: u64) -> io::Result<()> {
        let mut file = private(OpenOptions::new().append(true).create(true)).open(&self.path)?;
        let block = [0xa5; 64 << 10];
        let before = file.metadata()?.len();
        let mut written = before;
        let mut result = Ok(());
        while written < size + ROOM_BYTES && result.is_ok() {
            result = file.write_all(&block);
            written = file.metadata()?.len();
        }
        let kept = written.saturating_sub(ROOM_BYTES).max(before);
        if kept < RESERVE_BYTES_MIN {
            fs::remove_file(&self.path)?;
        } else {
            file.set_len(kept)?;
        }
        result
    }
}
