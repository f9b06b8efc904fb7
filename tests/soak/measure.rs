//! Measurements of call times, memory, files and disk space.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chartlock::storage::{Projection, Scan, Storage};

/// Number and longest duration of the calls of each operation.
#[derive(Default)]
pub(crate) struct Times(Mutex<BTreeMap<&'static str, (u64, Duration)>>);

impl Times {
    pub(crate) fn of<T>(&self, operation: &'static str, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = call();
        let time = start.elapsed();
        let mut times = self.0.lock().unwrap();
        let (count, longest) = times.entry(operation).or_default();
        *count += 1;
        *longest = time.max(*longest);
        done
    }

    /// Prints the times. No test asserts bounds on the times, because they depend on the machine.
    pub(crate) fn print(&self) {
        for (operation, (count, longest)) in &*self.0.lock().unwrap() {
            let slow = if *longest > Duration::from_secs(5) {
                " (more than 5 s)"
            } else {
                ""
            };
            println!("{operation:<16} {count:>8} calls, longest {longest:?}{slow}");
        }
    }
}

/// Greatest values of repeated measurements.
#[derive(Default)]
pub(crate) struct Peak {
    memory: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Peak {
    pub(crate) fn measure(&self, directory: &Path) {
        self.memory.fetch_max(memory(), Ordering::Relaxed);
        let (files, bytes) = usage(directory);
        self.files.fetch_max(files, Ordering::Relaxed);
        self.bytes.fetch_max(bytes, Ordering::Relaxed);
    }

    pub(crate) fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    pub(crate) fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    pub(crate) fn print(&self) {
        println!(
            "at most {} MiB of memory, {} files with {} MiB",
            self.memory() >> 20,
            self.files(),
            self.bytes.load(Ordering::Relaxed) >> 20
        );
    }
}

/// Returns the resident memory of this process in bytes; 0 if the system does not report it.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) << 10
}

/// Returns the total size in bytes of the files below a directory.
pub(crate) fn used_bytes(directory: &Path) -> u64 {
    usage(directory).1
}

/// Returns the number and the total size in bytes of the files below a directory. Skips files that
/// are deleted during the walk.
fn usage(directory: &Path) -> (u64, u64) {
    let Ok(entries) = fs::read_dir(directory) else {
        return (0, 0);
    };
    let (mut files, mut bytes) = (0, 0);
    for entry in entries.flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                let (below, bytes_below) = usage(&entry.path());
                files += below;
                bytes += bytes_below;
            }
            Ok(metadata) => {
                files += 1;
                bytes += metadata.len();
            }
            Err(_) => {}
        }
    }
    (files, bytes)
}

/// Returns the total size in bytes of all stored keys and values.
pub(crate) fn stored_bytes(storage: &dyn Storage) -> u64 {
    let (mut bytes, mut after): (u64, Option<Vec<u8>>) = (0, None);
    loop {
        let scan = Scan {
            prefix: b"",
            after: after.as_deref(),
            limit: 1000,
            projection: Projection::Head(0),
        };
        let page = storage.scan(scan).unwrap();
        let sizes = page.items.iter();
        bytes += sizes
            .map(|item| item.key.len() as u64 + item.length)
            .sum::<u64>();
        match page.items.last() {
            Some(last) if page.more => after = Some(last.key.clone()),
            _ => return bytes,
        }
    }
}
