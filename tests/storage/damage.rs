//! Flipped bytes in the files of a `FileStorage`.
//!
//! The storage does not authenticate values: the vault does. A read can therefore return a value
//! with a flipped byte, but never a wrong key or revision.
//!
//! SQLite's pages have no checksums. A flipped byte in the structure of an index page, such as its
//! number of entries, can hide keys. Only `integrity` detects this.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use chartlock::storage::{
    Expect, FileStorage, MemoryStorage, Projection, Revision, Scan, ScanPage, Storage,
    StorageError, Transaction,
};

use crate::common::objects::objects_of;
use crate::common::scratch;
use crate::disk::{Contents, commit, contents, put, restore};

/// Revision and value of each key.
type Found = BTreeMap<Vec<u8>, (Revision, Vec<u8>)>;

/// Undamaged files of a storage, with the stored objects. The files include every kind of file, and
/// interior pages of the table and the index.
struct Sound {
    files: Contents,
    objects: Found,
}

impl Sound {
    fn new() -> Self {
        let scratch = scratch::quick();
        let storage = FileStorage::open(scratch.path()).unwrap();
        put(&storage, b"v", &[1; 500]);
        let put_all = |transaction: Transaction, numbers: std::ops::Range<u32>| {
            let all = numbers.fold(transaction, |transaction, number| {
                let key = [b"r".as_slice(), &[7; 28], &number.to_be_bytes()].concat();
                let value = [number.to_le_bytes(); 40].concat();
                transaction.put(key, value, Expect::Any)
            });
            commit(&storage, all).unwrap();
        };
        put_all(Transaction::new(), 0..400);
        put(&storage, b"r-long", &[3; 20_000]);
        put(&storage, b"s1", &vec![4; 256 << 10]);
        put_all(Transaction::new().delete(b"r-long"), 400..440);
        for number in 0..4 {
            put(&storage, &[b'p', number], &[number; 400]);
        }
        put(&storage, b"r-long", &[5; 30_000]);
        // Copy most pages from the log into the database, so that both files contain current pages.
        let header = Transaction::new().put_destroying(b"v", vec![6; 500], Expect::Any);
        assert!(!commit(&storage, header).unwrap().deferred);
        put_all(Transaction::new(), 440..444);
        Self {
            files: contents(scratch.path()),
            objects: found(&storage),
        }
    }
}

fn scan_page(storage: &dyn Storage, after: Option<&[u8]>) -> Result<ScanPage, StorageError> {
    storage.scan(Scan {
        prefix: b"",
        after,
        limit: 50,
        projection: Projection::Values,
    })
}

fn found(storage: &FileStorage) -> Found {
    let page = |after: Option<&[u8]>| scan_page(storage, after).unwrap();
    let mut all = Found::new();
    loop {
        let last = all
            .last_key_value()
            .map(|(key, _): (&Vec<u8>, _)| key.clone());
        let page = page(last.as_deref());
        let more = page.more;
        all.extend(
            page.items
                .into_iter()
                .map(|item| (item.key, (item.revision, item.value.to_vec()))),
        );
        if !more {
            return all;
        }
    }
}

/// Effects of a flipped byte.
#[derive(Debug, Default)]
struct Outcome {
    refused: bool,
    /// The number of objects that reads or the scan report as damaged, whichever is larger.
    damaged: usize,
    /// The number of reads that report an object as absent, plus the number of objects that the
    /// scan omits. If it is not 0, `integrity` must report damage.
    hidden: usize,
    changed_values: usize,
    is_clean: bool,
}

/// Opens a storage with a flipped byte, and checks everything that the storage returns.
fn examine(directory: &Path, sound: &Found, what: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let storage = match FileStorage::open(directory) {
        Ok(storage) => storage,
        Err(error) => {
            let expected = [
                StorageError::Damaged,
                StorageError::Foreign,
                StorageError::Layout,
            ];
            let is_expected =
                expected.contains(&error) || matches!(error, StorageError::Backend(_));
            assert!(is_expected, "{what}: {error:?}");
            outcome.refused = true;
            return outcome;
        }
    };
    outcome.is_clean = storage
        .integrity()
        .is_ok_and(|integrity| integrity.is_clean());
    for (key, (revision, value)) in sound {
        match storage.read(&[key]) {
            Ok(mut stored) => match stored.remove(0) {
                Some(stored) => {
                    assert_eq!(stored.revision, *revision, "{what}: wrong revision");
                    outcome.changed_values += usize::from(stored.value != *value);
                }
                None => outcome.hidden += 1,
            },
            Err(_) => outcome.damaged += 1,
        }
    }
    let (scanned, unreadable) = examine_scan(&storage, sound, what);
    let is_named = |key: &Vec<u8>| {
        unreadable
            .iter()
            .any(|(first, last)| first <= key && key <= last)
    };
    let missed = sound
        .keys()
        .filter(|key| !scanned.contains(key) && !is_named(key));
    outcome.hidden += missed.count();
    let named = sound.keys().filter(|key| is_named(key)).count();
    outcome.damaged = outcome.damaged.max(named);
    let absent = storage.read(&[b"absent"]);
    assert!(!absent.is_ok_and(|found| found[0].is_some()));
    assert!(
        outcome.hidden == 0 || !outcome.is_clean,
        "{what}: hidden and clean: {outcome:?}"
    );
    outcome
}

type Ranges = Vec<(Vec<u8>, Vec<u8>)>;

/// Scans page by page, and returns the keys and the unreadable ranges.
fn examine_scan(storage: &FileStorage, sound: &Found, what: &str) -> (Vec<Vec<u8>>, Ranges) {
    let (mut keys, mut ranges) = (Vec::new(), Ranges::new());
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = match scan_page(storage, after.as_deref()) {
            Ok(page) => page,
            Err(_) => {
                // A failed scan returns no keys, so count all later keys as unreadable.
                ranges.push((after.unwrap_or_default(), vec![u8::MAX; 65]));
                return (keys, ranges);
            }
        };
        after = page.end().map(<[u8]>::to_vec);
        for item in page.items {
            let (revision, _) = sound
                .get(&item.key)
                .unwrap_or_else(|| panic!("{what}: wrong key"));
            assert_eq!(item.revision, *revision, "{what}: wrong revision in scan");
            keys.push(item.key);
        }
        let unreadable = page.unreadable.into_iter();
        ranges.extend(unreadable.map(|range| (range.first, range.last)));
        if !page.more {
            return (keys, ranges);
        }
    }
}

/// Returns the share of all positions that `CHARTLOCK_LONG` selects: a share such as `2/4`, or all for
/// any other value. Returns `None` without this variable.
fn long_share() -> Option<(u64, u64)> {
    let share = std::env::var("CHARTLOCK_LONG").ok()?;
    let (part, parts) = share.split_once('/').unwrap_or(("1", "1"));
    Some((part.parse().unwrap(), parts.parse().unwrap()))
}

/// Returns the positions of the bytes to flip: a share of all positions with `CHARTLOCK_LONG`, otherwise
/// a sample that is the same in each run.
fn positions(files: &Contents) -> Vec<(PathBuf, u64)> {
    let parts = files.iter().filter(|(name, _)| {
        name.starts_with("segments")
            || ["vault.db", "vault.db-wal", "marker"]
                .iter()
                .any(|own| name.ends_with(own))
    });
    let share = long_share();
    let mut state = 7_u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut positions = Vec::new();
    for (name, content) in parts {
        let length = content.len() as u64;
        if let Some((part, parts)) = share {
            let of_share = (0..length).filter(|at| at % parts == part - 1);
            positions.extend(of_share.map(|at| (name.clone(), at)));
            continue;
        }
        let count = if name.ends_with("vault.db") { 260 } else { 30 };
        positions.extend((0..count).map(|_| (name.clone(), random() % length)));
        if name.ends_with("vault.db") {
            // Add the page headers and the database header, which the sample rarely hits.
            for page in 0..length / 8192 {
                positions.extend((0..12).map(|at| (name.clone(), page * 8192 + at)));
            }
            positions.extend((0..100).step_by(3).map(|at| (name.clone(), at)));
        }
    }
    positions
}

/// Restores the files that opening and dropping a storage may change.
fn put_back(directory: &Path, sound: &Contents) {
    for name in ["vault.db", "vault.db-wal", "marker"] {
        fs::write(directory.join(name), &sound[Path::new(name)]).unwrap();
    }
    let _may_be_absent = fs::remove_file(directory.join("vault.db-shm"));
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    // Vary the bit with the position, so that the sample covers all eight bits.
    byte[0] ^= 1 << (at.wrapping_mul(2_654_435_761) >> 16 & 7);
    file.write_all_at(&byte, at).unwrap();
}

/// Flips a byte, checks the storage and its salvage, and restores the files.
fn check_flip(directory: &Path, sound: &Sound, name: &Path, at: u64) -> Outcome {
    put_back(directory, &sound.files);
    let path = directory.join(name);
    flip(&path, at);
    let what = format!("{}:{at}", name.display());
    let outcome = examine(directory, &sound.objects, &what);
    if !outcome.refused && name.starts_with("segments") {
        assert!(
            outcome.damaged == 0 && outcome.changed_values == 1,
            "{what}"
        );
    }
    if name.ends_with("vault.db-wal") {
        assert!(
            outcome.refused || outcome.changed_values == 0,
            "{what}: {outcome:?}"
        );
    }
    if outcome.refused || outcome.damaged + outcome.hidden > 0 {
        put_back(directory, &sound.files);
        flip(&path, at);
        check_salvage(directory, &sound.objects, &what);
    }
    if name.starts_with("segments") {
        flip(&path, at);
    }
    outcome
}

#[test]
fn flipped_byte_in_any_file_loses_at_most_one_page() {
    let sound = Sound::new();
    let scratch = scratch::quick();
    let directory = scratch.path();
    restore(directory, &sound.files);
    let (mut refused, mut changed, mut damaged, mut hidden, mut total) = (0, 0, 0, 0, 0);
    let mut failed = Vec::new();
    for (name, at) in positions(&sound.files) {
        let checked = catch_unwind(AssertUnwindSafe(|| {
            check_flip(directory, &sound, &name, at)
        }));
        let Ok(outcome) = checked else {
            failed.push(format!("{}:{at}", name.display()));
            assert!(failed.len() < 20, "{failed:?}");
            continue;
        };
        total += 1;
        refused += usize::from(outcome.refused);
        changed += usize::from(outcome.changed_values > 0);
        damaged += usize::from(outcome.damaged > 0);
        hidden += usize::from(outcome.hidden > 0);
    }
    assert!(failed.is_empty(), "{failed:?}");
    println!(
        "{total} flips: {refused} refused, {changed} changed a value, {damaged} named objects, {hidden} hid objects"
    );
    assert!(refused > 20 && changed > 20 && damaged > 5);
    put_back(directory, &sound.files);
    let storage = FileStorage::open(directory).unwrap();
    assert!(found(&storage) == sound.objects && storage.integrity().unwrap().is_clean());
}

/// Upper bound on the number of objects in one database page.
const PAGE_OBJECTS: usize = 60;

/// Asserts that salvage loses or changes at most the objects of one page.
fn check_salvage(directory: &Path, sound: &Found, what: &str) {
    let target = MemoryStorage::new();
    let report = FileStorage::salvage(directory, &target);
    let report = report.unwrap_or_else(|error| panic!("{what}: salvage failed: {error:?}"));
    let objects = objects_of(&target, b"");
    assert_eq!(objects.len() as u64, report.objects, "{what}");
    assert!(
        objects.keys().all(|key| sound.contains_key(key)),
        "{what}: a wrong key"
    );
    let lost = sound.len() - objects.len();
    let wrong = objects
        .iter()
        .filter(|(key, value)| sound[*key].1 != **value)
        .count();
    assert!(
        lost <= PAGE_OBJECTS,
        "{what}: salvage lost {lost} of {}",
        sound.len()
    );
    assert!(wrong <= PAGE_OBJECTS, "{what}: salvage changed {wrong}");
}

#[test]
fn scan_with_failing_segment_file_returns_error() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("vault");
    let storage = FileStorage::open(&directory).unwrap();
    let large = vec![7; 256 << 10];
    let put =
        Transaction::new()
            .put(b"r0", b"small", Expect::Absent)
            .put(b"r1", large, Expect::Absent);
    assert!(storage.commit(&[put])[0].is_ok());
    let mut segments = fs::read_dir(directory.join("segments")).unwrap();
    let segment = segments.next().unwrap().unwrap().path();
    fs::remove_file(&segment).unwrap();
    // Opening a symbolic link to itself fails with another error than a missing or truncated file
    // does.
    std::os::unix::fs::symlink(&segment, &segment).unwrap();
    let scan = |projection| {
        storage.scan(Scan {
            prefix: b"r",
            after: None,
            limit: 10,
            projection,
        })
    };
    assert_eq!(scan(Projection::Keys).unwrap().items.len(), 2);
    assert!(matches!(scan(Projection::Values), Err(StorageError::Io(_))));
    assert!(matches!(storage.read(&[b"r1"]), Err(StorageError::Io(_))));
}

#[test]
fn read_of_several_keys_never_reports_damaged_key_as_absent() {
    let scratch = scratch::quick();
    let directory = scratch.path().join("vault");
    let key = |number: u8| [b"r".as_slice(), &[number; 30]].concat();
    let storage = FileStorage::open(&directory).unwrap();
    for number in 0..40 {
        put(&storage, &key(number), b"sealed");
    }
    storage.close().unwrap();
    let sound = fs::read(directory.join("vault.db")).unwrap();
    let (sought, other) = (key(20), key(30));
    let places = sound.windows(sought.len()).enumerate();
    let places: Vec<_> = places
        .filter(|(_, window)| *window == sought)
        .map(|(at, _)| at)
        .collect();
    assert_eq!(places.len(), 2, "one key in the table, one in the index");
    for at in places {
        let mut damaged = sound.clone();
        damaged[at + 9] ^= 4;
        fs::write(directory.join("vault.db"), damaged).unwrap();
        let storage = FileStorage::open(&directory).unwrap();
        let found = storage.read(&[&sought, &other]);
        assert!(!found.is_ok_and(|found| found[0].is_none()), "byte {at}");
    }
}
