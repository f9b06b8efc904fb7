//! A custom storage backend in fewer than 80 lines: a single file, which each commit replaces as a
//! whole.
//!
//! The backend is slow but correct: it passes the conformance kit, and the example stores a vault
//! in it. The file is always a valid archive, which also serves as a backup. Run it with `cargo run
//! --example custom_storage`.
#![allow(clippy::expect_used)]

#[macro_use]
mod common;

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chartlock::storage::{CommitError, Committed, MemoryStorage, Scan, ScanPage, Storage};
use chartlock::storage::{StorageError, Stored, Transaction, archive, conformance};
use chartlock::{Actor, Purpose, RecordId, Vault, keys::Passphrase};

use common::{Arguments, Outcome};

const USAGE: &str = "\
Runs the conformance kit on a custom storage backend, and stores a vault in it.

    cargo run --example custom_storage

Takes no arguments. Everything is temporary.";

#[derive(Debug)]
struct OneFile {
    path: PathBuf,
    _lock: File,
    /// `None` after a failed write, because the content of the file is unknown then.
    objects: Mutex<Option<MemoryStorage>>,
}

impl OneFile {
    fn open(path: &Path) -> Result<Self, StorageError> {
        let lock = File::create(path.with_extension("lock"))?;
        lock.try_lock().map_err(|_| StorageError::InUse)?;
        let objects = MemoryStorage::new();
        match File::open(path) {
            Ok(file) => {
                archive::read(file, &objects).map_err(|_| StorageError::Damaged)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
            objects: Mutex::new(Some(objects)),
        })
    }

    /// Writes a new file and makes it durable before it replaces the former one.
    fn save(&self, objects: &MemoryStorage) -> io::Result<()> {
        let next = self.path.with_extension("next");
        let file = File::create(&next)?;
        archive::write(objects, &file).map_err(io::Error::other)?;
        file.sync_all()?;
        fs::rename(&next, &self.path)?;
        File::open(self.path.parent().unwrap_or(&self.path))?.sync_all()
    }

    /// Locks the objects, so that no other thread reads a change before the change is durable.
    fn objects(&self) -> MutexGuard<'_, Option<MemoryStorage>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for OneFile {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        let objects = self.objects();
        objects.as_ref().ok_or(StorageError::Stopped)?.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        let objects = self.objects();
        objects.as_ref().ok_or(StorageError::Stopped)?.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        let mut objects = self.objects();
        let all = |error: CommitError| transactions.iter().map(|_| Err(error)).collect();
        let Some(current) = objects.as_ref() else {
            return all(StorageError::Stopped.into());
        };
        let results = current.commit(transactions);
        if self.save(current).is_err() {
            *objects = None;
            return all(CommitError::Unknown);
        }
        results
    }

    fn is_transactional(&self) -> bool {
        true
    }
}

fn main() -> ExitCode {
    common::main(USAGE, run)
}

fn run(arguments: &mut Arguments) -> Outcome<()> {
    arguments.none()?;
    let scratch = tempfile::tempdir()?;

    // The conformance kit needs a new storage for each check.
    let storages: Result<Vec<_>, _> = (0..100)
        .map(|number| OneFile::open(&scratch.path().join(format!("check-{number}"))))
        .collect();
    let storages = RefCell::new(storages?.into_iter());
    let fresh = || storages.borrow_mut().next().expect("more than 100 checks");
    let report = conformance::check(fresh)?;
    outln!(
        "{} checks passed: {}",
        report.checks.len(),
        report.checks.join(", ")
    );

    let path = scratch.path().join("clinic");
    let passphrase = Passphrase::new("correct horse battery staple");
    let id = RecordId::patient("MRN-1042", "Observation/bp-2026-11-21")?;
    let vault = Vault::create(OneFile::open(&path)?, &passphrase)?;
    let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
    session.put(&id, br#"{"systolic":120,"diastolic":80}"#)?;
    drop((session, vault)); // the session keeps the vault open

    let vault = Vault::open(OneFile::open(&path)?, &passphrase)?;
    let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
    let record = session.get(&id)?.ok_or("the stored record is missing")?;
    outln!("Reopened, and read: {}", String::from_utf8_lossy(&record));
    outln!(
        "Size of the storage file: {} bytes.",
        fs::metadata(&path)?.len()
    );
    Ok(())
}
