//! Memory use of storing and reading a record of 64 MiB.
#![allow(clippy::unwrap_used)]

#[path = "common/mod.rs"]
mod common;

use std::fs;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

use chartlock::storage::FileOptions;
use chartlock::{RecordId, Session, VaultOptions};
use common::{Fixed, record, session};

const DIRECTORY: &str = "CHARTLOCK_TEST_DIRECTORY";

const MIB: u64 = 1 << 20;
const RECORD: u64 = 64 * MIB;
/// Number of rounds until the memory of the allocator reaches its peak on each thread.
const ROUNDS: usize = 4;
const CACHE: u64 = MIB;
/// Documented maximum memory in bytes, excluding the database's cache, for a record of any size on
/// any machine.
const BOUND: u64 = 64 * MIB;

/// Reader that generates pseudorandom content. All instances generate the same bytes.
struct Generated {
    state: u64,
    left: u64,
}

impl Generated {
    fn record() -> Self {
        Self {
            state: 0x9E37_79B9_7F4A_7C15,
            left: RECORD,
        }
    }
}

impl Read for Generated {
    /// Fills whole words only, because the length of each caller's buffer is a multiple of eight
    /// bytes.
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = (out.len() as u64).min(self.left) as usize;
        for word in out.get_mut(..bytes).unwrap().chunks_exact_mut(8) {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            word.copy_from_slice(&self.state.to_le_bytes());
        }
        self.left -= bytes as u64;
        Ok(bytes)
    }
}

/// Returns the peak memory of this process in bytes; `None` if the system does not report it.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib = line.split_whitespace().next()?;
    Some(kib.parse::<u64>().ok()? << 10)
}

#[test]
fn large_record_put_and_read_use_bounded_memory() {
    if let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) {
        return put_and_read(&directory);
    }
    if peak().is_none() {
        eprintln!("skipped: this system does not report the peak memory of a process");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        "large_record_put_and_read_use_bounded_memory",
        "--nocapture",
    ]);
    let output = child.env(DIRECTORY, scratch.path()).output().unwrap();
    let output_text = [output.stdout, output.stderr].concat();
    let output_text = String::from_utf8_lossy(&output_text);
    assert!(
        output.status.success() && output_text.contains("1 passed"),
        "{output_text}"
    );
    print!("{output_text}");
}

/// Disables huge pages. With huge pages, the system may count 2 MiB of memory for a single touched
/// byte.
#[cfg(target_os = "linux")]
fn refuse_huge_pages() {
    // SAFETY: this system call affects only the settings of this process.
    #[allow(unsafe_code)]
    let refused = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    if refused != 0 {
        eprintln!("cannot disable huge pages, so the result includes them");
    }
}

#[cfg(not(target_os = "linux"))]
fn refuse_huge_pages() {}

/// Writes and reads the record with the maximum number of threads.
fn put_and_read(directory: &Path) {
    refuse_huge_pages();
    let start = peak().unwrap();
    let storage = FileOptions::new().cache_bytes(CACHE);
    let storage = storage.open(directory.join("vault")).unwrap();
    let options = VaultOptions::new().threads(NonZeroUsize::new(64).unwrap());
    let vault = options.create(storage, &Fixed(1)).unwrap();
    let session = session(&vault);
    let id = record("MRN-1", "ImagingStudy/1");

    for _ in 0..ROUNDS {
        session.put_reader(&id, Generated::record()).unwrap();
        compare(&session, &id);
    }
    let taken = peak().unwrap() - start;
    println!(
        "{} MiB beside the {} MiB at the start",
        taken / MIB,
        start / MIB
    );
    assert!(taken < CACHE + BOUND, "{taken} bytes");

    // As a control, the measurement must detect that `get` reads the whole record into memory.
    drop(session.get(&id).unwrap().unwrap());
    assert!(peak().unwrap() - start > RECORD);
}

fn compare(session: &Session, id: &RecordId) {
    let mut reader = session.reader(id).unwrap().unwrap();
    assert_eq!(reader.len(), RECORD);
    let mut expected = Generated::record();
    let (mut part, mut own) = (vec![0; MIB as usize], vec![0; MIB as usize]);
    for _ in 0..RECORD / MIB {
        reader.read_exact(&mut part).unwrap();
        expected.read_exact(&mut own).unwrap();
        assert!(part == own);
    }
    assert_eq!(reader.read(&mut part).unwrap(), 0);
}
