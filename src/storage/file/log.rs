//! Page numbers in the write-ahead log (SQLite file format, section 4).
//!
//! A database file that is shorter than the database is whole only if the log contains the rest.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::RangeInclusive;
use std::path::Path;

use super::schema::PAGE_BYTES;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// Returns `true` if the log contains every page of a range.
pub(super) fn log_contains(path: &Path, pages: RangeInclusive<u32>) -> io::Result<bool> {
    let mut log = BufReader::new(File::open(path)?);
    let mut header = [0; HEADER_BYTES];
    let mut missing: HashSet<u32> = pages.collect();
    if !read_whole(&mut log, &mut header)? {
        return Ok(false);
    }
    let mut frame = [0; FRAME_HEADER_BYTES];
    while !missing.is_empty() && read_whole(&mut log, &mut frame)? {
        // A frame with other salts is a remnant of an earlier log in the same file.
        if header.get(16..24) != frame.get(8..16) {
            break;
        }
        let [a, b, c, d, ..] = frame;
        missing.remove(&u32::from_be_bytes([a, b, c, d]));
        log.seek(SeekFrom::Current(PAGE_BYTES as i64))?;
    }
    Ok(missing.is_empty())
}

/// Fills the buffer. Returns `false` at the end of the file.
fn read_whole(log: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
