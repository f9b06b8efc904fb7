//! Backups of a vault during writes, reads and key rotations.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chartlock::{FileStorage, RecordId, Vault};

use crate::common::{Fixed, record, scratch, session};

const WRITERS: usize = 4;
const READERS: usize = 2;
/// Number of records of each writer. Puts cycle through these records, so that the number of
/// records stays small.
const RECORDS: u64 = 60;
const LARGE_BYTES: usize = 300_000;
/// Number of puts of each writer for each backup, which limits the growth of the vault.
const PUTS_PER_BACKUP: u64 = 60;

/// Number of acknowledged puts of each writer.
type Counters = [AtomicU64; WRITERS];

#[test]
fn every_backup_of_a_busy_vault_opens_and_verifies() {
    let backups = std::env::var("CHARTLOCK_BACKUPS").map_or(5, |count| count.parse().unwrap());
    let scratch = scratch::quick();
    let storage = FileStorage::open(scratch.path().join("vault")).unwrap();
    let storage = Arc::new(storage);
    let vault = Vault::create(Arc::clone(&storage), &Fixed(1)).unwrap();
    let (is_over, puts) = (AtomicBool::new(false), Counters::default());
    let allowed = AtomicU64::new(PUTS_PER_BACKUP);
    thread::scope(|scope| {
        let _ends_the_threads = SetOnDrop(&is_over);
        for writer in 0..WRITERS {
            let (vault, puts, is_over) = (&vault, &puts[writer], &is_over);
            let allowed = &allowed;
            scope.spawn(move || write(vault, writer, puts, allowed, is_over));
        }
        for reader in 0..READERS {
            let (vault, is_over) = (&vault, &is_over);
            scope.spawn(move || read(vault, reader, is_over));
        }
        scope.spawn(|| rotate(&vault, &is_over));
        wait_for_puts(&puts);
        let mut times = [Duration::ZERO; 2];
        for number in 0..backups {
            allowed.fetch_add(PUTS_PER_BACKUP, Ordering::SeqCst);
            let copy = scratch.path().join("copy");
            back_up_and_compare(&vault, &storage, &copy, &puts, &mut times);
            fs::remove_dir_all(&copy).unwrap();
            println!("backup {} of {backups} opens and is clean", number + 1);
        }
        let [backup, copy] = times.map(|time| time / backups);
        println!("a backup takes {backup:?}, a plain copy of its files {copy:?}");
    });
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn id(writer: usize, number: u64) -> RecordId {
    record(&format!("MRN-{writer}"), &format!("{}", number % RECORDS))
}

/// Returns the content of a put, which ends with the put's number. Every tenth content is large.
fn content(number: u64) -> Vec<u8> {
    let length = if number % 10 == 9 { LARGE_BYTES } else { 1000 };
    let mut content = vec![7; length];
    content.extend(number.to_le_bytes());
    content
}

fn write(
    vault: &Vault,
    writer: usize,
    puts: &AtomicU64,
    allowed: &AtomicU64,
    is_over: &AtomicBool,
) {
    let session = session(vault);
    for number in 0.. {
        while number >= allowed.load(Ordering::SeqCst) && !is_over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(2));
        }
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        session.put(&id(writer, number), &content(number)).unwrap();
        puts.store(number + 1, Ordering::SeqCst);
        // Spread the puts over the backup.
        thread::sleep(Duration::from_millis(2));
    }
}

fn read(vault: &Vault, reader: usize, is_over: &AtomicBool) {
    let session = session(vault);
    while !is_over.load(Ordering::Relaxed) {
        for number in 0..RECORDS {
            session.get(&id(reader, number)).unwrap();
        }
    }
}

fn rotate(vault: &Vault, is_over: &AtomicBool) {
    let subjects: Vec<_> = (0..WRITERS)
        .map(|writer| id(writer, 0).subject().clone())
        .collect();
    for subject in subjects.iter().cycle() {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        vault.rotate_master_key().unwrap();
        match vault.rotate_subject_key(subject) {
            Ok(report) => assert_eq!(report.blocking, 0),
            Err(error) => assert_eq!(error, chartlock::Error::UnknownSubject),
        }
    }
}

fn wait_for_puts(puts: &Counters) {
    while puts.iter().any(|puts| puts.load(Ordering::SeqCst) < 20) {
        thread::sleep(Duration::from_millis(10));
    }
}

fn back_up_and_compare(
    vault: &Vault,
    storage: &FileStorage,
    directory: &Path,
    puts: &Counters,
    times: &mut [Duration; 2],
) {
    let checkpoint = vault.checkpoint().unwrap();
    let acknowledged = puts.each_ref().map(|puts| puts.load(Ordering::SeqCst));
    let start = Instant::now();
    let report = storage.backup(directory, |_, _| {}).unwrap();
    times[0] += start.elapsed();
    assert!(report.objects > 0);
    times[1] += copy(directory, &directory.with_extension("plain"));
    let copy = Vault::open(FileStorage::open(directory).unwrap(), &Fixed(1)).unwrap();
    let verified = copy.verify(Some(&checkpoint)).unwrap();
    assert!(verified.is_clean(), "{verified:#?}");
    let session = session(&copy);
    for (writer, acknowledged) in acknowledged.iter().enumerate() {
        let first = acknowledged.saturating_sub(RECORDS / 2);
        for number in first..*acknowledged {
            let record = session.get(&id(writer, number)).unwrap().unwrap();
            let (_, stored) = record.split_last_chunk().unwrap();
            assert!(u64::from_le_bytes(*stored) >= number);
        }
    }
}

/// Copies the files of a directory, deletes the copy, and returns the time of the copying. No
/// storage may have the directory open.
fn copy(from: &Path, to: &Path) -> Duration {
    let start = Instant::now();
    scratch::copy_each(from, to, &|file| {
        fs::File::open(file).unwrap().sync_all().unwrap()
    });
    let time = start.elapsed();
    fs::remove_dir_all(to).unwrap();
    time
}
