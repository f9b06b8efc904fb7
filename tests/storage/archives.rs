//! Archive tests: reading an archive restores exactly the archived objects or returns an error.

use std::io::Cursor;
use std::sync::Arc;

use chartlock::storage::archive::{self, ArchiveError, Entries};
use chartlock::storage::{
    CommitError, Committed, FaultAction, FaultPoint, Faulty, MemoryStorage, Operation, Projection,
    Scan, ScanPage, Storage, StorageError, Stored, Transaction, UnreadableRange,
};
use proptest::prelude::*;

use crate::common::altered_scans::AlteredScans;
use crate::common::objects::{keys_of, put};

fn small() -> MemoryStorage {
    let storage = MemoryStorage::new();
    put(&storage, b"v", b"header");
    put(&storage, b"p1", b"");
    put(&storage, b"r1", b"record");
    storage
}

fn archived(storage: &impl Storage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let report = archive::write(storage, &mut bytes).unwrap();
    assert_eq!(report.bytes, bytes.len() as u64);
    assert_eq!(report.digest, bytes[bytes.len() - 32..]);
    bytes
}

fn is_empty(storage: &impl Storage) -> bool {
    keys_of(storage, b"").is_empty()
}

#[test]
fn archive_bytes_match_format() {
    let bytes = archived(&small());
    let body = b"\x89CLA\r\n\x1a\n\
        \x02\0p1\0\0\0\0\0\0\0\0\
        \x02\0r1\x06\0\0\0\0\0\0\0record\
        \x01\0v\x06\0\0\0\0\0\0\0header";
    assert_eq!(bytes[..bytes.len() - 32], *body);
    // The expected digest is the output of `sha256sum` for the body.
    let digest: String = bytes[bytes.len() - 32..]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(digest, DIGEST);
}

const DIGEST: &str = "78194ed1cb8ccff28d51b98301bc41e46933e30b0265cd375427f81adaa4b923";

#[test]
fn archive_restores_every_object() {
    let storage = small();
    put(&storage, b"s1", &vec![1; 1_153_434]);
    put(&storage, b"s2", &vec![2; 2 << 20]);
    put(&storage, &[0xff; 64], &[3; 65_504]);
    for number in 0..2500_u32 {
        let key = [b"h".as_slice(), &number.to_be_bytes()].concat();
        put(&storage, &key, &number.to_le_bytes());
    }
    let bytes = archived(&storage);
    let restored = MemoryStorage::new();
    let report = archive::read(Cursor::new(&bytes), &restored).unwrap();
    assert_eq!(report.objects, 2506);
    assert_eq!(archive::verify(bytes.as_slice()), Ok(report));
    assert_eq!(archived(&restored), bytes);
    // Read from a stream position other than zero, because other bytes may precede an archive.
    let mut later = Cursor::new([b"before".as_slice(), &bytes].concat());
    later.set_position(6);
    assert_eq!(archive::read(later, &MemoryStorage::new()), Ok(report));
}

#[cfg(feature = "file")]
#[test]
fn archive_of_one_backend_restores_into_another() {
    use chartlock::storage::{FileStorage, SplitStorage};

    let scratch = tempfile::tempdir().unwrap();
    let bytes = archived(&small());
    let file = FileStorage::open(scratch.path()).unwrap();
    archive::read(Cursor::new(&bytes), &file).unwrap();
    assert_eq!(archived(&file), bytes);
    let split = SplitStorage::new(MemoryStorage::new(), MemoryStorage::new());
    archive::read(Cursor::new(archived(&file)), &split).unwrap();
    assert_eq!(archived(&split), bytes);
}

#[test]
fn damaged_archive_is_refused_and_writes_nothing() {
    let bytes = archived(&small());
    let storage = MemoryStorage::new();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(archive::read(Cursor::new(damaged), &storage).is_err());
    }
    for length in 0..bytes.len() {
        assert!(archive::read(Cursor::new(&bytes[..length]), &storage).is_err());
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(archive::read(Cursor::new(longer), &storage).is_err());
    assert!(is_empty(&storage));
}

#[test]
fn damaged_archive_returns_specific_error() {
    let bytes = archived(&small());
    assert_eq!(
        archive::verify(b"".as_slice()),
        Err(ArchiveError::NotAnArchive)
    );
    let mut damaged = bytes.clone();
    damaged[34] ^= 1;
    assert_eq!(
        archive::verify(damaged.as_slice()),
        Err(ArchiveError::Digest)
    );
    assert_eq!(archive::verify(&bytes[..60]), Err(ArchiveError::Truncated));
    for malformed in [
        b"\0\0".as_slice(),
        b"\x41\0",
        b"\xff\xff",
        b"\x01\0k\x01\0\x20\0\0\0\0\0",
        b"\x01\0k\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x01\0k\0\0\0\0\0\0\0\0\x01\0k\0\0\0\0\0\0\0\0",
        b"\x01\0k\0\0\0\0\0\0\0\0\x01\0a\0\0\0\0\0\0\0\0",
    ] {
        let archive = [b"\x89CLA\r\n\x1a\n".as_slice(), malformed, &[0; 100]].concat();
        let error = archive::verify(archive.as_slice());
        assert_eq!(error, Err(ArchiveError::Malformed));
    }
}

#[test]
fn archive_restore_into_nonempty_storage_is_refused() {
    let storage = MemoryStorage::new();
    put(&storage, b"x", b"");
    let bytes = archived(&small());
    assert_eq!(
        archive::read(Cursor::new(bytes), &storage),
        Err(ArchiveError::NotEmpty)
    );
}

#[test]
fn interrupted_archive_restore_leaves_no_header() {
    let bytes = archived(&small());
    for failing in 0..3 {
        let inner = Arc::new(MemoryStorage::new());
        let commits = std::sync::atomic::AtomicU32::new(0);
        let storage = Faulty::new(inner.clone(), move |_, point| match point {
            FaultPoint::Commit([Operation::Put { key, .. }]) => {
                let number = commits.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                assert_eq!(key == b"v", number == 2);
                match number == failing {
                    true => FaultAction::Fail(StorageError::Full),
                    false => FaultAction::Proceed,
                }
            }
            _ => FaultAction::Proceed,
        });
        assert!(archive::read(Cursor::new(&bytes), &storage).is_err());
        assert!(inner.read(&[b"v"]).unwrap()[0].is_none());
    }
}

/// Storage without support for snapshots. A put changes the content during the first scan.
#[derive(Debug)]
struct Changing(Arc<MemoryStorage>, std::sync::Once);

impl Storage for Changing {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.0.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        let page = self.0.scan(scan);
        self.1.call_once(|| put(&self.0, b"p1", b"resealed"));
        page
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        self.0.commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        true
    }
}

#[test]
fn archive_of_changing_storage_with_snapshots_contains_initial_state() {
    let storage = Arc::new(small());
    let mut expected = Vec::new();
    archive::write(&storage, &mut expected).unwrap();
    struct WriteThenChange(Arc<MemoryStorage>, Vec<u8>);
    impl std::io::Write for WriteThenChange {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            put(&self.0, b"p1", b"resealed");
            self.1.write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut out = WriteThenChange(Arc::clone(&storage), Vec::new());
    archive::write(&storage, &mut out).unwrap();
    assert_eq!(out.1, expected);
}

#[test]
fn archive_of_changing_storage_without_snapshots_is_refused() {
    let storage = Changing(Arc::new(small()), std::sync::Once::new());
    let mut bytes = Vec::new();
    assert_eq!(
        archive::write(&storage, &mut bytes),
        Err(ArchiveError::Changed)
    );
    assert!(archive::verify(bytes.as_slice()).is_err());
    assert!(archive::write(&storage, Vec::new()).is_ok());
}

/// Makes `p1` unreadable.
fn hide(page: &mut ScanPage) {
    let at = page.items.iter().position(|item| item.key == b"p1");
    page.unreadable.extend(at.map(|at| {
        let key = page.items.remove(at).key;
        let (first, last) = (key.clone(), key);
        UnreadableRange { first, last }
    }));
}

/// The second scan reads only the keys, so it lists an object whose value is unreadable.
#[test]
fn archive_without_snapshots_leaves_out_what_it_cannot_read() {
    let storage = AlteredScans::new(small(), |scan, page| {
        if matches!(scan.projection, Projection::Values) {
            hide(page);
        }
    });
    let mut bytes = Vec::new();
    let report = archive::write(&storage, &mut bytes).unwrap();
    assert_eq!((report.objects, report.unreadable), (2, 1));
    let restored = MemoryStorage::new();
    archive::read(Cursor::new(bytes), &restored).unwrap();
    assert_eq!(keys_of(&restored, b""), [b"r1".as_slice(), b"v"]);
}

#[test]
fn archive_of_endless_empty_pages_is_refused() {
    let storage = AlteredScans::endless(small(), b"");
    let error = ArchiveError::Io(std::io::ErrorKind::InvalidData);
    assert_eq!(archive::write(&storage, Vec::new()), Err(error));
}

#[test]
fn archive_restore_into_storage_with_hidden_objects_is_refused() {
    let bytes = archived(&small());
    let target = || {
        let storage = MemoryStorage::new();
        put(&storage, b"p1", b"");
        storage
    };
    let unreadable = AlteredScans::new(target(), |_, page| hide(page));
    let endless = AlteredScans::endless(target(), b"");
    for storage in [unreadable, endless] {
        let restored = archive::read(Cursor::new(&bytes), &storage);
        assert_eq!(restored, Err(ArchiveError::NotEmpty));
    }
}

/// Storage that returns no results of commits.
#[derive(Debug)]
struct Silent(MemoryStorage);

impl Storage for Silent {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.0.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.0.scan(scan)
    }

    fn commit(&self, _: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        Vec::new()
    }

    fn is_transactional(&self) -> bool {
        true
    }
}

#[test]
fn archive_restore_without_commit_results_is_unknown() {
    let bytes = archived(&small());
    let restored = archive::read(Cursor::new(bytes), &Silent(MemoryStorage::new()));
    assert_eq!(restored, Err(ArchiveError::Commit(CommitError::Unknown)));
}

proptest! {
    #[test]
    fn arbitrary_archive_bytes_are_refused(tail in proptest::collection::vec(any::<u8>(), 0..300)) {
        let archive = [b"\x89CLA\r\n\x1a\n".as_slice(), &tail].concat();
        // `Entries::new` refuses input that is shorter than an empty archive.
        let Ok(mut entries) = Entries::new(archive.as_slice()) else {
            return Ok(());
        };
        prop_assert!(entries.by_ref().take(100).any(|entry| entry.is_err()));
        prop_assert!(entries.next().is_none() && entries.report().is_none());
    }

    #[test]
    fn arbitrary_objects_survive_archive_and_restore(
        objects in proptest::collection::btree_map(
            proptest::collection::vec(any::<u8>(), 1..=64),
            proptest::collection::vec(any::<u8>(), 0..200),
            0..20,
        )
    ) {
        let storage = MemoryStorage::new();
        for (key, value) in &objects {
            put(&storage, key, value);
        }
        let bytes = archived(&storage);
        let found: Result<Vec<_>, _> = Entries::new(bytes.as_slice()).unwrap().collect();
        prop_assert_eq!(found.unwrap(), objects.into_iter().collect::<Vec<_>>());
    }
}
