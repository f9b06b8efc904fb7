//! Benchmark of verifying a large vault: rate and memory use.
//!
//! `CHARTLOCK_VERIFY_RECORDS` sets the number of records (300,000 by default). The journal contains
//! one entry for each put and, for every 3 records, 7 entries of reads.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../tests/common/credential.rs"]
mod credential;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chartlock::{Actor, Document, FileStorage, Purpose, RecordId, Vault};
use credential::Fixed;

/// The environment variable with the vault's directory. The parent process sets the variable for
/// the child process that verifies the vault.
const DIRECTORY: &str = "CHARTLOCK_VERIFY_DIRECTORY";
const BATCH: usize = 1000;
/// The number of records of each patient, as is typical for a practice.
const RECORDS_OF_A_PATIENT: usize = 300;
const CONTENT: [u8; 200] = [7; 200];

fn id(record: usize) -> RecordId {
    let patient = record / RECORDS_OF_A_PATIENT;
    let name = format!("Observation/{record:08}");
    RecordId::patient(&format!("MRN-{patient:06}"), &name).unwrap()
}

/// Returns the resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let digits = line.and_then(|line| line.split_whitespace().next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Runs `work` and returns its result and the peak of additional resident memory, in KiB.
fn at_peak<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = resident();
    let peak = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let result = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(resident(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    });
    (result, peak.into_inner().saturating_sub(before))
}

fn fill(vault: &Vault, records: usize) {
    let session = vault.session(Actor::new("bench").unwrap(), Purpose::Operations);
    let ids: Vec<_> = (0..records).map(id).collect();
    for ids in ids.chunks(BATCH) {
        let documents = ids.iter().map(|id| (id, Document::new(&CONTENT)));
        for outcome in session.put_many(documents).unwrap() {
            outcome.unwrap();
        }
    }
    for read in 0..records * 7 / 3 {
        session.get(&ids[read % records]).unwrap().unwrap();
    }
}

/// Verifies the vault and prints rate and peak memory. Runs in a child process, because the memory
/// used for filling the vault would hide the peak.
fn verify(directory: &Path) {
    let vault = Vault::open(FileStorage::open(directory).unwrap(), &Fixed(1)).unwrap();
    let start = Instant::now();
    let (report, peak) = at_peak(|| vault.verify(None).unwrap());
    let seconds = start.elapsed().as_secs_f64();
    assert!(report.is_clean());
    let counts = report.counts;
    println!(
        "  {} records, {} entries on {} pages in {seconds:.1} s: {:.0} records and entries per second; peak memory {} MiB, including the storage",
        counts.records,
        counts.entries,
        counts.pages,
        (counts.records + counts.entries) as f64 / seconds,
        peak / 1024,
    );
}

fn main() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return verify(directory.as_ref());
    }
    let records = std::env::var("CHARTLOCK_VERIFY_RECORDS");
    let records = records.map_or(300_000, |records| records.parse().unwrap());
    println!("verify");
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("clinic");
    let storage = FileStorage::open(&directory).unwrap();
    fill(&Vault::create(storage, &Fixed(1)).unwrap(), records);
    let verified = Command::new(std::env::current_exe().unwrap())
        .env(DIRECTORY, &directory)
        .status();
    assert!(verified.unwrap().success());
}
