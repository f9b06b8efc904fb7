//! Operations on the whole vault and its storage, concurrent with operations on single records.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chartlock::storage::archive::{self, ArchiveError};
use chartlock::storage::{Storage, StorageError};
use chartlock::{FileStorage, Vault};

use crate::assert_clean;
use crate::common::Fixed;
use crate::common::content::Random;
use crate::measure::Times;

/// Storage of the vault, with its files if the vault is in a file storage.
pub(crate) struct Place {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) files: Option<Files>,
}

/// File storage of the vault, and the parent directory of the vault and its copies.
pub(crate) struct Files {
    pub(crate) storage: Arc<FileStorage>,
    pub(crate) copies: PathBuf,
}

impl Place {
    pub(crate) fn with_files(storage: Arc<FileStorage>, copies: &Path) -> Self {
        Self {
            storage: Arc::clone(&storage) as _,
            files: Some(Files {
                storage,
                copies: copies.to_owned(),
            }),
        }
    }

    /// Returns the directory of the vault; an empty path if it has none.
    pub(crate) fn directory(&self) -> PathBuf {
        let files = self.files.as_ref();
        files.map_or_else(PathBuf::new, |files| files.copies.join("vault"))
    }
}

/// Runs a random maintenance operation of the vault, or none.
///
/// Only two of the eight threads run verifications and re-encryptions, and two others run backups
/// and archives. On every thread, these operations would take most of the time.
pub(crate) fn maintain(
    vault: &Vault,
    place: &Place,
    thread: u64,
    random: &mut Random,
    times: &Times,
) {
    let choice = (random.below(16), thread % 4);
    if let Some(files) = &place.files {
        maintain_files(files, choice, thread, times);
    }
    match choice {
        (0, 0) => times.of("verify", || assert_clean(vault)),
        (1, 0) => {
            let report = times.of("reencrypt", || vault.reencrypt()).unwrap();
            assert_eq!((report.blocking, report.orphaned), (0, 0));
        }
        (3, 1) => {
            let write = || archive::write(&*place.storage, io::sink());
            match times.of("archive", write) {
                Ok(report) => assert_eq!(report.unreadable, 0),
                // A snapshot does not outlive a crash of the server, or the end of a statement.
                Err(ArchiveError::Storage(error)) => {
                    assert!(place.files.is_none(), "{error}");
                    let ends = [StorageError::Unreachable, StorageError::TimedOut];
                    assert!(ends.contains(&error), "{error}");
                }
                // An object store has no snapshots.
                Err(ArchiveError::Changed) => assert!(place.files.is_none()),
                Err(error) => panic!("{error}"),
            }
        }
        (4, _) => {
            let report = times.of("rotate master", || vault.rotate_master_key());
            assert_eq!(report.unwrap().entries_blocking, 0);
        }
        (5, _) => {
            let report = times.of("collect garbage", || vault.collect_garbage());
            assert_eq!(report.unwrap().charts_passed_over, 0);
        }
        (7, 1) => times.of("slots", || change_slots(vault)),
        (8, 0) => drop(times.of("key usage", || vault.key_usage()).unwrap()),
        (9..12, _) => {
            let checkpoint = times.of("checkpoint", || vault.checkpoint()).unwrap();
            if thread == 0 && random.below(4) == 0 {
                let verify = || vault.verify(Some(&checkpoint));
                let report = times.of("verify", verify).unwrap();
                assert!(report.is_clean(), "{report:#?}");
            }
        }
        _ => {}
    }
}

fn maintain_files(files: &Files, choice: (u64, u64), thread: u64, times: &Times) {
    match choice {
        (2, 1) => times.of("backup", || back_up(files, thread)),
        (6, _) => times.of("compact", || files.storage.compact()).unwrap(),
        _ => {}
    }
}

fn change_slots(vault: &Vault) {
    let id = vault.add_slot(&Fixed(2)).unwrap();
    vault.replace_slot(id, &Fixed(3)).unwrap();
    vault.remove_slot(id).unwrap();
}

/// Backs up the storage, verifies the copy, and deletes it.
fn back_up(files: &Files, thread: u64) {
    let copy = files.copies.join(format!("copy-{thread}"));
    files.storage.backup(&copy, |_, _| {}).unwrap();
    open_and_verify(&copy);
    std::fs::remove_dir_all(&copy).unwrap();
}

pub(crate) fn open_and_verify(copy: &Path) {
    let vault = Vault::open(FileStorage::open(copy).unwrap(), &Fixed(1)).unwrap();
    assert_clean(&vault);
}
