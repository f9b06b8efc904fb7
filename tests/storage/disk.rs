//! Helpers for a `FileStorage` and the files in its directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use chartlock::storage::{
    CommitError, Committed, Expect, FileStorage, Revision, Storage, Transaction,
};

pub(crate) fn commit(
    storage: &FileStorage,
    transaction: Transaction,
) -> Result<Committed, CommitError> {
    storage.commit(&[transaction]).pop().unwrap()
}

pub(crate) fn put(storage: &FileStorage, key: &[u8], value: &[u8]) -> Revision {
    let transaction = Transaction::new().put(key, value, Expect::Any);
    let committed = commit(storage, transaction).unwrap();
    committed.revisions[0].clone().unwrap()
}

pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all
}

pub(crate) fn files_with(directory: &Path, planted: &[u8]) -> Vec<PathBuf> {
    files(directory)
        .into_iter()
        .filter(|path| {
            let content = match fs::read(path) {
                // SQLite or another thread may delete a file during the search.
                Err(error) if error.kind() == ErrorKind::NotFound => return false,
                content => content.unwrap(),
            };
            content
                .windows(planted.len())
                .any(|window| window == planted)
        })
        .collect()
}

/// Content of each file, by its path in the directory.
pub(crate) type Contents = BTreeMap<PathBuf, Vec<u8>>;

/// Returns the content of each file.
///
/// Omits the log's shared memory, which SQLite builds anew, and a log of 0 bytes, which is
/// equivalent to no log.
pub(crate) fn contents(directory: &Path) -> Contents {
    let named = files(directory).into_iter().map(|path| {
        let content = fs::read(&path).unwrap();
        (path.strip_prefix(directory).unwrap().to_owned(), content)
    });
    named
        .filter(|(name, content)| {
            !(name.ends_with("vault.db-shm")
                || name.ends_with("vault.db-wal") && content.is_empty())
        })
        .collect()
}

/// Writes these files into a directory, and deletes all others.
pub(crate) fn restore(directory: &Path, contents: &Contents) {
    for path in files(directory) {
        if !contents.contains_key(path.strip_prefix(directory).unwrap()) {
            fs::remove_file(path).unwrap();
        }
    }
    for (name, content) in contents {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// Returns the paths of the segment files in ascending order.
pub(crate) fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut names = files(&directory.join("segments"));
    names.sort();
    names
}
