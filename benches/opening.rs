//! Benchmark of opening a vault of 1,000,000 records with a warm page cache. Measures openings of a
//! closed vault, with and without a passphrase, and openings after a process was killed.
//!
//! `CHARTLOCK_BENCH_RECORDS` sets the number of records.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../tests/common/credential.rs"]
mod credential;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chartlock::keys::{Credential, Passphrase};
use chartlock::storage::{FileStorage, Storage};
use chartlock::{Actor, Document, Purpose, RecordId, Session, Vault};
use credential::Fixed;

const DIRECTORY: &str = "CHARTLOCK_BENCH_DIRECTORY";
const BATCH: usize = 1000;
const PATIENTS: usize = 1000;
const ROUNDS: usize = 5;
/// Number of records that a process puts before it is killed. These puts leave a long write-ahead
/// log.
const BEFORE_KILL: usize = 20_000;
const PASSPHRASE: &str = "correct horse battery staple";

fn records() -> usize {
    let set = std::env::var("CHARTLOCK_BENCH_RECORDS").ok();
    set.and_then(|count| count.parse().ok())
        .unwrap_or(1_000_000)
}

fn id(number: usize) -> RecordId {
    let patient = format!("MRN-{:06}", number % PATIENTS);
    RecordId::patient(&patient, &format!("Observation/{number:08}")).unwrap()
}

fn session(vault: &Vault) -> Session {
    vault.session(Actor::new("bench").unwrap(), Purpose::Operations)
}

fn fill(vault: &Vault, from: usize, count: usize) {
    let content = vec![7; 1024];
    let session = session(vault);
    for batch in (from..from + count).step_by(BATCH) {
        let ids: Vec<_> = (batch..batch + BATCH).map(id).collect();
        let documents = ids.iter().map(|id| (id, Document::new(&content)));
        for outcome in session.put_many(documents).unwrap() {
            outcome.unwrap();
        }
    }
}

/// Times of one opening, and of the first `get` and `put` after the opening.
struct Opening {
    open: Duration,
    get: Duration,
    put: Duration,
}

/// Measures opening a vault, the first `get` and the first `put`. After a kill, this put completes
/// the recovery.
fn open_once(directory: &Path, credential: &dyn Credential, round: usize) -> Opening {
    let start = Instant::now();
    let vault = Vault::open(FileStorage::open(directory).unwrap(), credential).unwrap();
    let open = start.elapsed();
    let session = session(&vault);
    let start = Instant::now();
    assert!(session.get(&id(777)).unwrap().is_some());
    let get = start.elapsed();
    let start = Instant::now();
    session.put(&id(round), &[7; 1024]).unwrap();
    let put = start.elapsed();
    Opening { open, get, put }
}

fn print(name: &str, openings: &[Opening]) {
    let median = |part: fn(&Opening) -> Duration| {
        let mut times: Vec<_> = openings.iter().map(part).collect();
        times.sort();
        times[times.len() / 2]
    };
    println!(
        "{name:<32} opens in {:?}, first get {:?}, first put {:?}",
        median(|opening| opening.open),
        median(|opening| opening.get),
        median(|opening| opening.put),
    );
}

/// Starts this program as a child, waits until it has put records, and kills it.
fn put_and_kill(directory: &Path) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    child.kill().unwrap();
    child.wait().unwrap();
}

fn main() {
    if let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) {
        let vault = Vault::open(FileStorage::open(directory).unwrap(), &Fixed(1)).unwrap();
        fill(&vault, 0, BEFORE_KILL);
        println!("ready");
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("vault");
    let storage = std::sync::Arc::new(FileStorage::open(&directory).unwrap());
    let vault = Vault::create(std::sync::Arc::clone(&storage), &Fixed(1)).unwrap();
    vault.add_slot(&Passphrase::new(PASSPHRASE)).unwrap();
    fill(&vault, 0, records());
    drop(vault);
    storage.close().unwrap();
    drop(storage);
    println!("a vault of {} records, page cache warm", records());
    let closed: Vec<_> = (0..ROUNDS)
        .map(|round| open_once(&directory, &Fixed(1), round))
        .collect();
    print("after closing, without the KDF", &closed);
    let killed: Vec<_> = (0..ROUNDS)
        .map(|round| {
            put_and_kill(&directory);
            open_once(&directory, &Fixed(1), round)
        })
        .collect();
    print("after kill -9, without the KDF", &killed);
    let passphrase = Passphrase::new(PASSPHRASE);
    let stretched: Vec<_> = (0..ROUNDS)
        .map(|round| open_once(&directory, &passphrase, round))
        .collect();
    print("after closing, with a passphrase", &stretched);
}
