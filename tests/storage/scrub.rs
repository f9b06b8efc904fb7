//! Background checks of a `FileStorage`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use chartlock::storage::{Expect, FileOptions, FileStorage, ScrubReport, Storage, Transaction};

use crate::common::child::{assert_success, child, directory_from_parent};
use crate::common::scratch;
use crate::disk::{commit, put, segments};

const AT_ONCE: Duration = Duration::from_millis(1);

/// Waits for a report that is not `former`.
fn next_report(storage: &FileStorage, former: Option<&ScrubReport>) -> ScrubReport {
    let start = Instant::now();
    loop {
        match storage.last_scrub() {
            Some(report) if Some(&report) != former => return report,
            _ => assert!(start.elapsed() < Duration::from_secs(60), "no report"),
        }
        std::thread::sleep(AT_ONCE);
    }
}

fn fill(directory: &Path) {
    let storage = FileStorage::open(directory).unwrap();
    for number in 0..500_u16 {
        let key = [b"r".as_slice(), &number.to_be_bytes()].concat();
        put(&storage, &key, &[7; 100]);
    }
    put(&storage, b"s1", &vec![1; 300_000]);
    storage.close().unwrap();
}

#[test]
fn scrub_after_byte_flip_reports_the_fault() {
    let scratch = scratch::quick();
    fill(scratch.path());
    let database = scratch.path().join("vault.db");
    let connection = rusqlite::Connection::open(&database).unwrap();
    let sql = "select rootpage from sqlite_schema where name = 'object_by_key'";
    let page = connection
        .query_row(sql, (), |row| row.get::<_, i64>(0))
        .unwrap();
    drop(connection);
    let mut bytes = fs::read(&database).unwrap();
    // The low byte of the number of entries, in the header of the page.
    bytes[(page as usize - 1) * 8192 + 4] ^= 1;
    fs::write(&database, bytes).unwrap();
    let storage = FileOptions::new().scrub_every(AT_ONCE).open(scratch.path());
    let storage = storage.unwrap();
    let found = next_report(&storage, None).result.unwrap();
    assert!(found.structure_faults > 0);
    assert_eq!(found, storage.integrity().unwrap());
}

#[test]
fn scrub_after_loss_of_segment_names_its_key() {
    let scratch = scratch::quick();
    fill(scratch.path());
    let options = FileOptions::new().scrub_every(AT_ONCE);
    let storage = options.open(scratch.path()).unwrap();
    let clean = next_report(&storage, None);
    assert!(clean.result.as_ref().unwrap().is_clean());
    fs::remove_file(&segments(scratch.path())[0]).unwrap();
    let mut report = next_report(&storage, Some(&clean));
    // The check that ran during the removal may have missed it.
    if report.result.as_ref().unwrap().is_clean() {
        report = next_report(&storage, Some(&report));
    }
    assert_eq!(report.result.unwrap().missing_values, [b"s1".to_vec()]);
}

#[test]
fn destroying_commits_during_scrubs_neither_wait_nor_are_deferred() {
    let scratch = scratch::quick();
    fill(scratch.path());
    let storage = FileStorage::open(scratch.path()).unwrap();
    // A check of so many objects takes about 100 ms.
    for first in 0..40_u8 {
        let numbers = 0..5000_u16;
        let all = numbers.fold(Transaction::new(), |all, number| {
            let [high, low] = number.to_be_bytes();
            all.put([b'r', high, low, first], [first], Expect::Any)
        });
        commit(&storage, all).unwrap();
    }
    storage.close().unwrap();
    let mut quick = 0;
    for round in 0..10 {
        let options = FileOptions::new().scrub_every(Duration::from_micros(1));
        let storage = options.open(scratch.path()).unwrap();
        std::thread::sleep(Duration::from_millis(10 + round));
        let key = Transaction::new().put_destroying(b"p1", vec![1; 400], Expect::Any);
        let start = Instant::now();
        assert!(!commit(&storage, key).unwrap().deferred, "{round}");
        quick += u32::from(start.elapsed() < Duration::from_millis(40));
    }
    // Other tests may slow some commits down.
    assert!(quick >= 3, "{quick} of 10");
}

#[test]
fn closing_ends_the_scrub_and_its_thread() {
    let scratch = tempfile::tempdir().unwrap();
    assert_success(child("scrub::child_closes_during_scrub", scratch.path()));
}

#[test]
fn child_closes_during_scrub() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    fill(&directory);
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    for round in 0..100 {
        let interval = Duration::from_micros(round * 50);
        let storage = FileOptions::new()
            .scrub_every(interval)
            .open(&directory)
            .unwrap();
        assert_eq!(threads(), before + 1);
        std::thread::sleep(Duration::from_micros(round * 40));
        let start = Instant::now();
        match round % 2 {
            0 => storage.close().unwrap(),
            _ => drop(storage),
        }
        assert!(start.elapsed() < Duration::from_secs(2));
        // The system lists a thread for a moment after its end.
        while threads() > before {
            assert!(start.elapsed() < Duration::from_secs(2));
        }
    }
    let storage = FileOptions::new().without_scrub().open(&directory).unwrap();
    assert_eq!((threads(), storage.last_scrub()), (before, None));
    let _reader = FileStorage::open_read_only(&directory).unwrap();
    assert_eq!(threads(), before);
}
