//! The second copy of the vault header in a file storage.

use std::path::Path;

use chartlock::storage::{Expect, FileStorage, MemoryStorage, Storage, Transaction};

const HEADER: [u8; 300] = {
    let mut header = [0; 300];
    let mut index = 0;
    while index < header.len() {
        header[index] = (index * 7 % 251) as u8;
        index += 1;
    }
    header
};

fn create(directory: &Path) {
    let storage = FileStorage::open(directory).unwrap();
    let put =
        Transaction::new()
            .put(b"v", HEADER, Expect::Absent)
            .put(b"r1", b"sealed", Expect::Absent);
    assert!(storage.commit(&[put])[0].is_ok());
    storage.close().unwrap();
}

fn copies(directory: &Path) -> Vec<usize> {
    let database = std::fs::read(directory.join("vault.db")).unwrap();
    let windows = database.windows(HEADER.len()).enumerate();
    windows
        .filter(|(_, window)| *window == HEADER)
        .map(|(at, _)| at)
        .collect()
}

fn flip(directory: &Path, at: usize) {
    let path = directory.join("vault.db");
    let mut database = std::fs::read(&path).unwrap();
    database[at] ^= 1;
    std::fs::write(&path, database).unwrap();
}

#[test]
fn repair_of_either_damaged_header_copy_restores_both() {
    for copy in 0..2 {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("vault");
        create(&directory);
        let found = copies(&directory);
        assert_eq!(found.len(), 2);
        flip(&directory, found[copy] + 100);
        let storage = FileStorage::open(&directory).unwrap();
        assert!(!storage.integrity().unwrap().is_clean());
        assert!(storage.repair_header().unwrap());
        let stored = storage.read(&[b"v"]).unwrap().remove(0).unwrap();
        assert_eq!(stored.value, HEADER);
        assert!(storage.integrity().unwrap().is_clean());
        assert!(!storage.repair_header().unwrap());
        storage.close().unwrap();
        assert_eq!(copies(&directory).len(), 2);
    }
}

#[test]
fn salvage_of_damaged_header_uses_second_copy() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("vault");
    let mut used = 0;
    for copy in 0..2 {
        let _fresh = std::fs::remove_dir_all(&directory);
        create(&directory);
        flip(&directory, copies(&directory)[copy] + 100);
        let target = MemoryStorage::new();
        let report = FileStorage::salvage(&directory, &target).unwrap();
        used += u32::from(report.used_header_copy);
        assert_eq!((report.objects, report.unreadable), (2, 0));
        let stored = target.read(&[b"v"]).unwrap().remove(0).unwrap();
        assert_eq!(stored.value, HEADER);
    }
    assert_eq!(used, 1);
}
