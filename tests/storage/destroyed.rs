//! Destruction of values: after a destroying commit, no file contains any part of the former value.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use chartlock::storage::{Expect, FileStorage, Storage, Transaction};

use crate::common::child::{child, directory_from_parent, exit_on_first_panic};
use crate::common::objects::value_of;
use crate::common::scratch;
use crate::disk::{commit, files, files_with, put};

/// Length in bytes of the pieces of values that the tests search for in files.
const PIECE: usize = 16;

/// Length of a patient entry, in bytes.
const ENTRY: usize = 420;

fn entries() -> u32 {
    match std::env::var_os("CHARTLOCK_LONG") {
        Some(_) => 40_000,
        None => 5_000,
    }
}

/// Returns bytes that look random, and that differ for each number and round.
fn value(number: u32, round: u32) -> Vec<u8> {
    let mut state = (u64::from(number) << 8 | u64::from(round)).wrapping_add(1);
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    });
    words
        .take(ENTRY.div_ceil(8))
        .flat_map(u64::to_le_bytes)
        .take(ENTRY)
        .collect()
}

fn key(number: u32) -> Vec<u8> {
    // Use storage keys in random order, because the storage key of a patient entry contains a keyed
    // hash.
    [b"p".as_slice(), &value(number, 255)[..16]].concat()
}

/// Pieces of values, for a search for all pieces in one pass over each file.
struct Pieces {
    pieces: HashSet<[u8; PIECE]>,
    /// Flags by the first three bytes of a piece, `true` if a piece begins with these bytes. This
    /// lookup rejects most positions in a file without hashing a window.
    first: Vec<bool>,
}

impl Pieces {
    fn new(values: impl Iterator<Item = Vec<u8>>) -> Self {
        let mut pieces = HashSet::new();
        let mut first = vec![false; 1 << 24];
        for value in values {
            for piece in value.chunks_exact(PIECE) {
                first[prefix(piece)] = true;
                pieces.insert(piece.try_into().unwrap());
            }
        }
        Self { pieces, first }
    }

    /// Returns the number of different pieces in the files of a directory.
    fn found(&self, directory: &Path) -> usize {
        let mut found = HashSet::new();
        for file in files(directory) {
            let content = fs::read(file).unwrap();
            for window in content.windows(PIECE) {
                if self.first[prefix(window)] && self.pieces.contains(window) {
                    found.insert(<[u8; PIECE]>::try_from(window).unwrap());
                }
            }
        }
        found.len()
    }
}

fn prefix(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2])
}

fn put_all(
    storage: &FileStorage,
    numbers: impl Iterator<Item = u32>,
    round: u32,
    destroying: bool,
) {
    let numbers: Vec<_> = numbers.collect();
    for some in numbers.chunks(500) {
        let transactions: Vec<_> = some
            .iter()
            .map(|number| {
                let (key, value) = (key(*number), value(*number, round));
                match destroying {
                    true => Transaction::new().put_destroying(key, value, Expect::Any),
                    false => Transaction::new().put(key, value, Expect::Any),
                }
            })
            .collect();
        assert!(storage.commit(&transactions).iter().all(Result::is_ok));
    }
}

fn is_replaced(number: &u32) -> bool {
    number.is_multiple_of(3)
}

fn is_destroyed(number: &u32) -> bool {
    number % 5 == 1
}

fn is_deleted(number: &u32) -> bool {
    number % 20 == 3
}

#[test]
fn destroyed_values_are_in_no_file() {
    let scratch = scratch::quick();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, b"v", &value(0, 10));
    put_all(&storage, 0..entries(), 0, false);
    // Replace only some values, because SQLite leaves copies of rows that it moves between pages.
    put_all(&storage, (0..entries()).filter(is_replaced), 1, false);
    put_all(&storage, (0..entries()).filter(is_destroyed), 2, true);
    let deleted: Vec<_> = (0..entries()).filter(is_deleted).collect();
    for some in deleted.chunks(500) {
        let deletes: Vec<_> = some
            .iter()
            .map(|number| Transaction::new().delete(key(*number)))
            .collect();
        assert!(storage.commit(&deletes).iter().all(Result::is_ok));
    }
    let header = Transaction::new().put_destroying(b"v", value(0, 11), Expect::Any);
    assert!(!commit(&storage, header).unwrap().deferred);
    check_pieces(scratch.path());
    storage.close().unwrap();
    check_pieces(scratch.path());
}

/// Asserts that no file contains a piece of a former value. Also asserts that the files contain
/// every piece of the unchanged values and of the header.
fn check_pieces(directory: &Path) {
    let is_gone = |number: &u32| is_replaced(number) || is_destroyed(number) || is_deleted(number);
    let former = (0..entries())
        .filter(is_gone)
        .map(|number| value(number, 0));
    // Some values of round 1, which replaced others, were then destroyed or deleted.
    let twice = (0..entries())
        .filter(|number| is_replaced(number) && (is_destroyed(number) || is_deleted(number)))
        .map(|number| value(number, 1));
    let gone = Pieces::new(former.chain(twice).chain([value(0, 10)]));
    assert!(gone.pieces.len() > entries() as usize * 10);
    assert_eq!(gone.found(directory), 0);
    let live = (0..entries())
        .filter(|number| !is_gone(number))
        .map(|number| value(number, 0));
    let live = Pieces::new(live.chain([value(0, 11)]));
    assert_eq!(live.found(directory), live.pieces.len());
}

#[test]
fn kill_after_destroying_puts_leaves_no_destroyed_value() {
    for stop in [1, 4, 9] {
        let scratch = scratch::quick();
        let name = "destroyed::child_destroys_until_killed";
        let mut process = child(name, scratch.path()).spawn().unwrap();
        let mut rounds = 0;
        let stdout = BufReader::new(process.stdout.take().unwrap());
        for line in stdout.lines().map_while(Result::ok) {
            if let Some(round) = line
                .rsplit("round ")
                .next()
                .and_then(|round| round.parse().ok())
            {
                rounds = round;
                if rounds >= stop {
                    process.kill().unwrap();
                }
            }
        }
        assert_eq!(process.wait().unwrap().signal(), Some(libc::SIGKILL));
        let former =
            (0..rounds).flat_map(|round| (0..KILLED).map(move |number| value(number, round)));
        // The killed process may have begun one more round, so only earlier values are certainly
        // destroyed.
        assert_eq!(
            Pieces::new(former).found(scratch.path()),
            0,
            "after {rounds} rounds"
        );
        let storage = FileStorage::open(scratch.path()).unwrap();
        assert!(value_of(&storage, &key(1)).is_some());
    }
}

/// Number of patient entries whose values the killed process destroys in every round.
const KILLED: u32 = 60;

#[test]
fn child_destroys_until_killed() {
    let Some(directory) = directory_from_parent() else {
        return;
    };
    exit_on_first_panic();
    let storage = FileStorage::open(directory).unwrap();
    put_all(&storage, 0..KILLED, 0, false);
    for round in 1..250 {
        put_all(&storage, 0..KILLED, round, true);
        println!("round {round}");
    }
}

#[test]
fn destroying_put_purges_former_value() {
    let planted = b"a former key, recognisable";
    for key in [b"v".as_slice(), b"p1"] {
        let scratch = tempfile::tempdir().unwrap();
        let storage = FileStorage::open(scratch.path()).unwrap();
        put(&storage, b"r1", b"unflushed");
        put(&storage, key, planted);
        put(&storage, b"h1", b"unflushed");
        assert_eq!(files_with(scratch.path(), planted).len(), 1);
        let destroying = Transaction::new().put_destroying(key, b"later", Expect::Any);
        assert!(!commit(&storage, destroying).unwrap().deferred);
        assert_eq!(files_with(scratch.path(), planted), Vec::<PathBuf>::new());
        assert_eq!(value_of(&storage, key), Some(b"later".to_vec()));
        // A deletion need not purge the deleted value, but the next destroying put must.
        put(&storage, key, planted);
        commit(&storage, Transaction::new().delete(key)).unwrap();
        let destroying = Transaction::new().put_destroying(b"p2", b"later", Expect::Any);
        assert!(!commit(&storage, destroying).unwrap().deferred);
        assert_eq!(files_with(scratch.path(), planted), Vec::<PathBuf>::new());
    }
}

#[test]
fn destroying_put_of_record_reports_deferred() {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    for key in [b"r1".as_slice(), b"h1"] {
        put(&storage, key, b"1");
        let destroying = Transaction::new().put_destroying(key, b"later", Expect::Any);
        assert!(commit(&storage, destroying).unwrap().deferred);
    }
}

#[test]
fn first_commit_after_crash_purges_former_values() {
    let planted = b"a former key, recognisable";
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path()).unwrap();
    put(&storage, b"p1", planted);
    put(&storage, b"p1", b"later");
    let copy = tempfile::tempdir().unwrap();
    scratch::copy_all(scratch.path(), copy.path());
    assert_eq!(files_with(copy.path(), planted).len(), 1);
    let storage = FileStorage::open(copy.path()).unwrap();
    put(&storage, b"r1", b"1");
    assert_eq!(files_with(copy.path(), planted), Vec::<PathBuf>::new());
}
