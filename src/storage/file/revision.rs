//! The revisions of this storage: never the same one twice.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::storage::Revision;

/// The number of the opening and a counter within it, big-endian.
pub(super) type Mark = [u8; MARK_BYTES];

pub(super) const MARK_BYTES: usize = 12;

/// Gives out marks of one opening.
#[derive(Debug)]
pub(super) struct Marks {
    opening: u32,
    next: AtomicU64,
}

impl Marks {
    pub(super) fn new(opening: u32) -> Self {
        Self {
            opening,
            next: AtomicU64::new(0),
        }
    }

    pub(super) fn next(&self) -> Mark {
        let mut mark = [0; MARK_BYTES];
        let (opening, counter) = mark.split_at_mut(4);
        opening.copy_from_slice(&self.opening.to_be_bytes());
        counter.copy_from_slice(&self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        mark
    }
}

pub(super) fn revision(mark: &Mark) -> Revision {
    Revision::new(mark)
}

/// The name of the file that holds the value of this mark.
pub(super) fn file_name(mark: &Mark) -> String {
    mark.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The mark that names a file, if one does.
pub(super) fn from_file_name(name: &str) -> Option<Mark> {
    let mut mark = [0; MARK_BYTES];
    if name.len() != 2 * MARK_BYTES || !name.is_ascii() {
        return None;
    }
    for (byte, digits) in mark.iter_mut().zip(name.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    (file_name(&mark) == name).then_some(mark)
}
