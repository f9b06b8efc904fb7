//! Soak tests. Eight threads run random operations on one vault over `FileStorage`, and compare
//! each read with the acknowledged changes.
//!
//! Memory, files and disk space stay bounded, and `verify` stays clean. A second test runs these
//! threads in two processes that share the storage. Two further tests make backups of a vault in
//! use, and check that unused space returns to the file system.
//!
//! `CHARTLOCK_SOAK_SECONDS` sets the duration of a soak, and `CHARTLOCK_BACKUPS` the number of
//! backups. `CHARTLOCK_SEED` repeats the operations of each thread, but not their interleaving.
#![cfg(feature = "file")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod backup;
#[path = "../common/mod.rs"]
mod common;
mod maintenance;
mod measure;
mod model;
#[cfg(all(feature = "postgres", unix))]
mod postgres;
#[cfg(all(feature = "object-store", feature = "postgres", unix))]
mod router;
mod shared;
mod space;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chartlock::storage::Storage;
use chartlock::{FileStorage, Vault};
use common::content::Random;
use common::{Fixed, scratch, session};
use maintenance::Place;
use measure::{Peak, Times, stored_bytes, used_bytes};
use worker::Worker;

const THREADS: u64 = 8;

/// Disk space in bytes that an erased and compacted storage may use beyond twice the size of its
/// objects.
const EMPTY_BYTES: u64 = 16 << 20;

/// Memory that eight threads may use, in bytes. Each can have a large record, its copy and the
/// buffers of an upload.
const MEMORY_BYTES: u64 = 1 << 30;

/// Upper bound on the number of files of the storage. Each large record uses a few files.
const FILES: u64 = 5_000;

/// Returns the duration from `CHARTLOCK_SOAK_SECONDS`, or `short` seconds.
fn duration(short: u64) -> Duration {
    let set = std::env::var("CHARTLOCK_SOAK_SECONDS").ok();
    Duration::from_secs(set.map_or(short, |seconds| seconds.parse().unwrap()))
}

#[test]
fn soak_of_all_operations_stays_bounded_and_clean() {
    let scratch = scratch::quick();
    let directory = scratch.path().join("vault");
    let storage = Arc::new(FileStorage::open(&directory).unwrap());
    let vault = Vault::create(Arc::clone(&storage), &Fixed(1)).unwrap();
    let place = Place::with_files(Arc::clone(&storage), scratch.path());
    let (times, peak) = (Times::default(), Peak::default());
    let end = Instant::now() + duration(5);
    soak(&vault, &place, 0..THREADS, end, &times, &peak);
    times.print();
    peak.print();
    assert!(peak.memory() < MEMORY_BYTES, "the memory grew");
    assert!(peak.files() < FILES, "the number of files grew");
    erase_all(&vault);
    storage.compact().unwrap();
    let (used, stored) = (used_bytes(&directory), stored_bytes(&*storage));
    println!("after erasing: {used} bytes in the directory, {stored} of them in objects");
    assert!(used < EMPTY_BYTES + 2 * stored, "the space did not return");
    assert_clean(&vault);
    drop((vault, place));
    storage.close().unwrap();
    drop(storage);
    reopen_and_verify(&directory);
}

/// Runs one worker for each thread number until `end`, and measures the process.
fn soak(
    vault: &Vault,
    place: &Place,
    threads: std::ops::Range<u64>,
    end: Instant,
    times: &Times,
    peak: &Peak,
) {
    let seed = Random::new().next();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = threads
            .map(|thread| {
                let random = Random(seed.wrapping_add(thread));
                scope.spawn(move || Worker::new(vault, place, thread, random, times).run(end))
            })
            .collect();
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                peak.measure(&place.directory());
                thread::sleep(Duration::from_millis(200));
            }
        });
        let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        for result in results {
            result.unwrap();
        }
    });
}

fn erase_all(vault: &Vault) {
    let session = session(vault);
    let subjects: Vec<_> = session.subjects().unwrap().collect();
    for subject in subjects {
        session.erase_subject(&subject.unwrap(), "end").unwrap();
    }
    let garbage = vault.collect_garbage().unwrap();
    assert_eq!(garbage.charts_passed_over, 0);
}

#[track_caller]
fn assert_clean(vault: &Vault) {
    let report = vault.verify(None).unwrap();
    assert!(report.is_clean(), "{report:#?}");
}

fn reopen_and_verify(directory: &Path) {
    let vault = Vault::open(FileStorage::open(directory).unwrap(), &Fixed(1)).unwrap();
    assert_clean(&vault);
}
