//! Soak of one vault by two processes that share its storage.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use chartlock::storage::FileOptions;
use chartlock::{FileStorage, Vault};

use crate::common::{Fixed, scratch};
use crate::maintenance::Place;
use crate::measure::{Peak, Times};
use crate::{MEMORY_BYTES, assert_clean, duration, reopen_and_verify, soak};

const DIRECTORY: &str = "CHARTLOCK_SOAK_DIRECTORY";
const PROCESS: &str = "CHARTLOCK_SOAK_PROCESS";
pub(crate) const PROCESSES: u64 = 2;
const THREADS_EACH: u64 = 4;

#[test]
fn soak_of_two_processes_stays_bounded_and_clean() {
    if let Some(parent) = std::env::var_os(DIRECTORY).map(PathBuf::from) {
        return work(&parent);
    }
    let scratch = scratch::quick();
    let directory = scratch.path().join("vault");
    drop(Vault::create(FileStorage::open(&directory).unwrap(), &Fixed(1)).unwrap());
    let test = "shared::soak_of_two_processes_stays_bounded_and_clean";
    run_in_processes(test, DIRECTORY, scratch.path().as_os_str());
    reopen_and_verify(&directory);
}

/// Runs a test in child processes, which receive `value` in the environment variable `name`.
pub(crate) fn run_in_processes(test: &str, name: &str, value: &OsStr) {
    let children: Vec<_> = (0..PROCESSES)
        .map(|process| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", test, "--nocapture"])
                .env(name, value)
                .env(PROCESS, process.to_string())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(output.status.success(), "{text}");
        println!("{text}");
    }
}

/// Returns the number of this child process.
pub(crate) fn process() -> u64 {
    std::env::var(PROCESS).unwrap().parse().unwrap()
}

fn work(parent: &Path) {
    let shared = FileOptions::new().shared();
    let storage = Arc::new(shared.open(parent.join("vault")).unwrap());
    let place = Place::with_files(storage, parent);
    work_in(&place, process());
}

/// Runs the workers of one process on a vault, and verifies the vault at the end.
pub(crate) fn work_in(place: &Place, process: u64) {
    let vault = Vault::open(Arc::clone(&place.storage), &Fixed(1)).unwrap();
    let first = process * THREADS_EACH;
    let threads = first..first + THREADS_EACH;
    let (times, peak) = (Times::default(), Peak::default());
    let end = Instant::now() + duration(5);
    soak(&vault, place, threads, end, &times, &peak);
    times.print();
    peak.print();
    assert!(peak.memory() < MEMORY_BYTES, "the memory grew");
    assert_clean(&vault);
}
