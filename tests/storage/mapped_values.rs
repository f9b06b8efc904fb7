//! Values in memory that is mapped from a file. A defective storage changes the file after it
//! returned the values.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

use bytes::Bytes;
use chartlock::storage::Value;

/// Alignment of the values in the file, in bytes. Offsets must be multiples of the system's page
/// size, which is at most 64 KiB on common systems.
const PAGE_BYTES: usize = 64 << 10;

/// File with the values that a defective storage returned.
#[derive(Debug)]
pub(crate) struct MappedValues {
    file: File,
    lengths: Mutex<Vec<usize>>,
}

impl MappedValues {
    pub(crate) fn new() -> Self {
        Self {
            file: tempfile::tempfile().unwrap(),
            lengths: Mutex::default(),
        }
    }

    /// Returns the same bytes in mapped memory.
    pub(crate) fn map(&self, value: &[u8]) -> Value {
        if value.is_empty() {
            return Value::default();
        }
        let mut lengths = self.lengths.lock().unwrap();
        let offset = offset_after(&lengths);
        lengths.push(value.len());
        self.file.write_all_at(value, offset).unwrap();
        // SAFETY: a new mapping of the file overlaps no other memory.
        #[allow(unsafe_code)]
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                value.len(),
                libc::PROT_READ,
                libc::MAP_SHARED,
                self.file.as_raw_fd(),
                offset.try_into().unwrap(),
            )
        };
        assert_ne!(start, libc::MAP_FAILED);
        // SAFETY: the mapping has this length, and it is never removed. The bytes change, which is
        // the defect that this type simulates; no code reads the slice during the change.
        #[allow(unsafe_code)]
        let bytes = unsafe { std::slice::from_raw_parts(start.cast_const().cast(), value.len()) };
        Bytes::from_static(bytes).into()
    }

    /// Overwrites all values with zeros.
    pub(crate) fn overwrite(&self) {
        let mut lengths = self.lengths.lock().unwrap();
        while let Some(length) = lengths.pop() {
            let zeros = vec![0; length];
            let offset = offset_after(&lengths);
            self.file.write_all_at(&zeros, offset).unwrap();
        }
    }
}

fn offset_after(lengths: &[usize]) -> u64 {
    let pages = lengths.iter().map(|length| length.div_ceil(PAGE_BYTES));
    (pages.sum::<usize>() * PAGE_BYTES) as u64
}
