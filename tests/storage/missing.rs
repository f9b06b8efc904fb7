//! Files of a `FileStorage` that are missing, empty, truncated, older or of another storage.
//!
//! A storage cannot detect an older copy of all its files; the vault's `verify` with a checkpoint
//! can. A storage cannot detect an older marker either, alone or with an older or missing log,
//! because a power cut can leave the same files. A storage cannot detect a segment file with the
//! bytes of another segment file of the same length. The vault detects this file, because the vault
//! authenticates every value.

use std::path::{Path, PathBuf};

use chartlock::storage::{Expect, FileStorage, Storage, StorageError, Transaction};
use tempfile::TempDir;

use crate::common::objects::{Objects, objects_of};
use crate::common::scratch;
use crate::disk::{Contents, commit, contents, put, restore};

const LARGE: usize = 300_000;

/// Puts objects of the classes `v`, `r`, `p` and `s`, and replaces and deletes some of them.
fn fill(storage: &FileStorage, seed: u8, rounds: u8) {
    for round in 0..rounds {
        let mut transaction = Transaction::new().put(b"v", vec![seed; 500], Expect::Any);
        for number in 0..40_u8 {
            let value = vec![seed ^ round; 700];
            transaction = transaction.put([b'r', round % 3, number], value, Expect::Any);
        }
        commit(storage, transaction.delete([b'r', round, 7])).unwrap();
        put(storage, &[b'p', round], &[seed ^ round; 400]);
    }
    for number in 0..2 {
        put(
            storage,
            &[b's', rounds, number],
            &vec![seed ^ number; LARGE],
        );
    }
}

/// Files of one storage at two times, with the objects at the later time.
struct Times {
    older: Contents,
    current: Contents,
    objects: Objects,
}

/// Fills a storage and returns its files at two times. The current files are those of a closed
/// storage, or those of an open storage as after a crash.
fn times(seed: u8, is_closed: bool) -> Times {
    let scratch = scratch::quick();
    let storage = FileStorage::open(scratch.path()).unwrap();
    fill(&storage, seed, 3);
    let mut older = contents(scratch.path());
    let header = Transaction::new().put_destroying(b"v", b"later", Expect::Any);
    assert!(!commit(&storage, header).unwrap().deferred);
    if is_closed {
        older = contents(scratch.path());
    }
    fill(&storage, seed, 6);
    let objects = objects_of(&storage, b"");
    if is_closed {
        storage.close().unwrap();
    }
    Times {
        older,
        current: contents(scratch.path()),
        objects,
    }
}

type Change = fn(&Path, &mut Contents, &Times, &Times);

const CHANGES: [(&str, Change); 5] = [
    ("removed", |name, files, _, _| drop(files.remove(name))),
    ("emptied", |name, files, _, _| {
        files.insert(name.to_owned(), Vec::new());
    }),
    ("cut", |name, files, _, _| {
        let content = files.get_mut(name).unwrap();
        content.truncate(content.len() / 2);
    }),
    ("older", |name, files, own, _| swap(name, files, &own.older)),
    ("of another", |name, files, _, other| {
        swap(name, files, &other.current)
    }),
];

/// Replaces a file by the file of the same name in `others`, if `others` contains that name. A
/// segment file is only replaced if `others` does not contain its name, by half of a segment file
/// of `others`.
fn swap(name: &Path, files: &mut Contents, others: &Contents) {
    let other = match is_segment(name) {
        // Use half of a segment file, because the storage detects only a wrong length.
        true => others
            .iter()
            .find(|(name, _)| is_segment(name))
            .map(|(_, content)| &content[..LARGE / 2]),
        false => others.get(name).map(Vec::as_slice),
    };
    if let Some(content) = other
        && !(is_segment(name) && others.contains_key(name))
    {
        files.insert(name.to_owned(), content.to_vec());
    }
}

fn is_segment(name: &Path) -> bool {
    name.starts_with("segments")
}

/// Returns the names of the files that the tests change.
fn parts(files: &Contents) -> Vec<PathBuf> {
    let all = files.keys().filter(|name| {
        is_segment(name)
            || ["vault.db", "vault.db-wal", "marker"]
                .iter()
                .any(|own| name.ends_with(own))
    });
    let mut parts: Vec<_> = all.cloned().collect();
    // Keep only two segment files, because these suffice for all pairs of changes.
    let segments: Vec<_> = parts
        .iter()
        .filter(|name| is_segment(name))
        .skip(2)
        .cloned()
        .collect();
    parts.retain(|name| !segments.contains(name));
    parts
}

struct Case {
    scratch: TempDir,
    own: Times,
    other: Times,
}

impl Case {
    fn new(is_closed: bool) -> Self {
        Self {
            scratch: scratch::quick(),
            own: times(1, is_closed),
            other: times(2, is_closed),
        }
    }

    /// Asserts that opening changed files returns an error, or that the storage loses only values
    /// in changed segment files. Neither may change a file.
    fn check(&self, what: &str, changed: &[&PathBuf], files: &Contents) {
        let changed: Vec<_> = changed
            .iter()
            .filter(|name| files.get(**name) != self.own.current.get(**name))
            .collect();
        if changed.is_empty() {
            return;
        }
        restore(self.scratch.path(), files);
        let before = contents(self.scratch.path());
        let marker = Path::new("marker");
        let has_older_marker = files.get(marker) == self.own.older.get(marker);
        match FileStorage::open(self.scratch.path()) {
            Err(error) => assert!(
                matches!(error, StorageError::Damaged | StorageError::Foreign),
                "{what}: {error:?}"
            ),
            // With an older marker, the storage cannot detect that the other files lost commits.
            Ok(_) if has_older_marker => return,
            Ok(storage) => {
                if changed.iter().any(|name| is_segment(name)) {
                    self.check_readable(&storage, what);
                } else {
                    // The log contains everything that the changed file lacks.
                    assert!(
                        objects_of(&storage, b"") == self.own.objects,
                        "{what}: opened"
                    );
                    assert!(storage.integrity().unwrap().is_clean(), "{what}: opened");
                }
                assert!(contents(self.scratch.path()) == before, "{what}: changed");
                return;
            }
        }
        assert!(contents(self.scratch.path()) == before, "{what}: changed");
        let read_only = FileStorage::open_read_only(self.scratch.path()).map(drop);
        assert!(read_only.is_err(), "{what}: opened for reading");
        assert!(contents(self.scratch.path()) == before, "{what}: changed");
    }

    /// Asserts that `integrity` lists the values of damaged segment files, and that all other
    /// values are readable.
    fn check_readable(&self, storage: &FileStorage, what: &str) {
        let damaged = storage.integrity().unwrap().missing_values;
        assert!(!damaged.is_empty(), "{what}: not named");
        for (key, value) in &self.own.objects {
            match storage.read(&[key]) {
                Ok(found) => {
                    let found = found[0]
                        .as_ref()
                        .unwrap_or_else(|| panic!("{what}: absent"));
                    assert!(found.value == *value, "{what}: wrong value");
                }
                Err(error) => {
                    assert_eq!(error, StorageError::Damaged, "{what}");
                    assert!(damaged.contains(key), "{what}: {key:?} not named");
                }
            }
        }
    }

    fn check_whole(&self) {
        restore(self.scratch.path(), &self.own.current);
        let storage = FileStorage::open(self.scratch.path()).unwrap();
        assert!(objects_of(&storage, b"") == self.own.objects);
        assert!(storage.integrity().unwrap().is_clean());
        put(&storage, b"r", b"goes on");
    }
}

fn check_every_change(is_closed: bool) {
    let case = Case::new(is_closed);
    let parts = parts(&case.own.current);
    assert!(parts.len() >= 4 + usize::from(!is_closed));
    for (one_change, change_one) in CHANGES {
        for one in &parts {
            let mut files = case.own.current.clone();
            change_one(one, &mut files, &case.own, &case.other);
            case.check(&format!("{one:?} {one_change}"), &[one], &files);
            for (other_change, change_other) in CHANGES {
                for other in parts.iter().filter(|other| *other > one) {
                    // Skip this pair, because a closed storage's database and marker from the same
                    // time are a valid storage.
                    let is_pair =
                        one_change == other_change && ["older", "of another"].contains(&one_change);
                    let is_whole =
                        |name: &PathBuf| name.ends_with("marker") || name.starts_with("vault.db");
                    if is_pair && is_whole(one) && is_whole(other) && is_closed {
                        continue;
                    }
                    let mut files = files.clone();
                    change_other(other, &mut files, &case.own, &case.other);
                    let what = format!("{one:?} {one_change}, {other:?} {other_change}");
                    case.check(&what, &[one, other], &files);
                }
            }
        }
    }
    case.check_whole();
}

#[test]
fn changed_files_of_closed_storage_are_refused_and_untouched() {
    check_every_change(true);
}

#[test]
fn changed_files_of_crashed_storage_are_refused_and_untouched() {
    check_every_change(false);
}

#[test]
fn older_log_with_newer_database_returns_damaged() {
    let scratch = scratch::quick();
    let storage = FileStorage::open(scratch.path()).unwrap();
    // Write enough rows for a B-tree of several pages, so that the old log contains none of its
    // interior pages.
    for number in 0..30_u8 {
        fill(&storage, number, 6);
    }
    storage.close().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, b"r1", b"in the old log");
    let log = std::fs::read(scratch.path().join("vault.db-wal")).unwrap();
    assert!(!log.is_empty());
    for number in 0..60_u8 {
        put(&storage, &[b'x', number], &[number; 3000]);
    }
    storage.close().unwrap();
    let whole = contents(scratch.path());
    std::fs::write(scratch.path().join("vault.db-wal"), log).unwrap();
    assert_eq!(
        FileStorage::open(scratch.path()).unwrap_err(),
        StorageError::Damaged
    );
    restore(scratch.path(), &whole);
    let storage = FileStorage::open(scratch.path()).unwrap();
    assert!(storage.integrity().unwrap().is_clean());
}

#[test]
fn commit_with_missing_segment_deletes_no_segment() {
    let scratch = scratch::quick();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, b"s1", &vec![1; LARGE]);
    put(&storage, b"s2", &vec![2; LARGE]);
    storage.close().unwrap();
    let segments = scratch.path().join("segments");
    let lost = crate::disk::segments(scratch.path()).remove(0);
    let away = scratch.path().join("segments/7fffffffffffffff");
    std::fs::rename(&lost, &away).unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, b"r1", b"1");
    drop(storage);
    // While a segment file is missing, unreferenced files must stay, because they may belong to a
    // newer database that is restored later.
    assert_eq!(std::fs::read_dir(&segments).unwrap().count(), 2);
    std::fs::rename(&away, &lost).unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    assert!(storage.integrity().unwrap().is_clean());
    assert_eq!(objects_of(&storage, b"s").len(), 2);
}

#[test]
fn older_database_with_newer_log_at_any_path_returns_damaged() {
    use std::os::unix::ffi::OsStrExt;
    let scratch = scratch::quick();
    let slash = std::ffi::OsStr::from_bytes(b"/");
    let mut twice = slash.to_owned();
    twice.push(scratch.path().join("twice"));
    let odd = scratch
        .path()
        .join(std::ffi::OsStr::from_bytes(b"odd ?#%\xff"));
    for directory in [PathBuf::from(twice), odd] {
        let storage = FileStorage::open(&directory).unwrap();
        fill(&storage, 1, 6);
        storage.close().unwrap();
        let older = contents(&directory);
        let storage = FileStorage::open(&directory).unwrap();
        put(&storage, b"r1", b"copied into the database");
        let header = Transaction::new().put_destroying(b"v", b"later", Expect::Any);
        commit(&storage, header).unwrap();
        put(&storage, b"r2", b"in the log");
        let mut files = contents(&directory);
        drop(storage);
        let database = PathBuf::from("vault.db");
        files.insert(database.clone(), older[&database].clone());
        restore(&directory, &files);
        let opened = FileStorage::open(&directory).map(drop);
        assert_eq!(opened, Err(StorageError::Damaged), "{directory:?}");
    }
}

#[test]
fn opening_without_segment_directory_returns_damaged() {
    let scratch = scratch::quick();
    let segments = scratch.path().join("segments");
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, b"r1", b"small");
    storage.close().unwrap();
    let away = scratch.path().join("away");
    std::fs::rename(&segments, &away).unwrap();
    let before = contents(scratch.path());
    for opened in [
        FileStorage::open(scratch.path()),
        FileStorage::open_read_only(scratch.path()),
    ] {
        assert_eq!(opened.unwrap_err(), StorageError::Damaged);
    }
    assert_eq!(contents(scratch.path()), before);
    std::fs::rename(&away, &segments).unwrap();
    FileStorage::open(scratch.path()).unwrap();
}
