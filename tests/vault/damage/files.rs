//! Vaults on a `FileStorage` with a changed byte or a missing segment file, and a backup of a vault
//! in use.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chartlock::storage::{FileStorage, Storage};
use chartlock::verify::{FindingKind, JournalFault, VerifyReport};
use chartlock::{Document, Error, MemoryStorage, RecordId, Vault, VaultOptions};
use tempfile::TempDir;

use crate::common::{Fixed, scratch};
use crate::raw;
use crate::stage::{content, record, session_on, subject};

const PATIENTS: u64 = 8;
const RECORDS: u64 = 40;
/// Upper bound on the records that one changed byte may make unreadable: those on one database
/// page, or all records of one patient.
const LOST_MAX: usize = RECORDS as usize;

fn options() -> VaultOptions {
    VaultOptions::new().without_background()
}

fn id(patient: u64, number: u64) -> RecordId {
    record(&format!("MRN-{patient}"), &format!("Observation/{number}"))
}

/// Scratch directory with the files of a storage.
struct Directory {
    path: PathBuf,
    _scratch: TempDir,
}

impl Directory {
    /// Creates a vault in which each record has 900 bytes of content.
    fn of_small_records() -> Self {
        Self::filled(|vault| {
            for patient in 0..PATIENTS {
                let records: Vec<_> = (0..RECORDS).map(|number| id(patient, number)).collect();
                let bytes = content(patient, 900);
                let puts = records.iter().map(|id| (id, Document::from(&bytes)));
                for outcome in session_on(vault).put_many(puts).unwrap() {
                    outcome.unwrap();
                }
            }
        })
    }

    fn filled(fill: impl FnOnce(&Vault)) -> Self {
        let scratch = scratch::quick();
        let path = scratch.path().join("vault");
        let storage = FileStorage::open(&path).unwrap();
        let vault = options().create(storage, &Fixed(1)).unwrap();
        fill(&vault);
        drop(vault);
        Self {
            path,
            _scratch: scratch,
        }
    }

    fn database(&self) -> Vec<u8> {
        fs::read(self.path.join("vault.db")).unwrap()
    }

    fn open(&self) -> Option<(Arc<FileStorage>, Vault)> {
        let storage = Arc::new(FileStorage::open(&self.path).ok()?);
        let vault = options().open(Arc::clone(&storage), &Fixed(1)).ok()?;
        Some((storage, vault))
    }

    /// Runs `check` while one byte of the database is changed, and restores the files.
    fn with_changed_byte(&self, offset: usize, check: impl FnOnce()) {
        let copy = copy_of(&self.path);
        let mut bytes = self.database();
        bytes[offset] ^= 16;
        fs::write(self.path.join("vault.db"), bytes).unwrap();
        check();
        fs::remove_dir_all(&self.path).unwrap();
        fs::rename(copy, &self.path).unwrap();
    }
}

fn copy_of(directory: &Path) -> PathBuf {
    let copy = directory.with_file_name("copy");
    scratch::copy_all(directory, &copy);
    copy
}

/// Counts of the records that `get` or `list` returns or omits, over all patients.
#[derive(Debug, Default)]
struct Seen {
    readable: usize,
    /// Records that are absent or left out without an error.
    hidden: usize,
}

impl Seen {
    fn by_get(vault: &Vault) -> Self {
        let session = session_on(vault);
        let mut seen = Self::default();
        for patient in 0..PATIENTS {
            for number in 0..RECORDS {
                match session.get(&id(patient, number)) {
                    Ok(Some(_)) => seen.readable += 1,
                    Ok(None) => seen.hidden += 1,
                    Err(_) => {}
                }
            }
        }
        seen
    }

    fn by_list(vault: &Vault) -> Self {
        let mut seen = Self::default();
        for patient in 0..PATIENTS {
            let Ok(list) = session_on(vault).list(&subject(&format!("MRN-{patient}"))) else {
                continue;
            };
            let (found, failed): (Vec<_>, Vec<_>) = list.partition(Result::is_ok);
            seen.readable += found.len();
            if failed.is_empty() {
                seen.hidden += RECORDS as usize - found.len();
            }
        }
        seen
    }

    /// Asserts that no record is hidden and that at most `LOST_MAX` are unreadable, unless the
    /// storage reports structure faults. A changed byte in an interior page of an index can hide
    /// the records below this page. Only `Storage::integrity` detects this.
    #[track_caller]
    fn assert_local(&self, has_structure_faults: bool, offset: usize) {
        let total = (PATIENTS * RECORDS) as usize;
        let is_local = self.hidden == 0 && self.readable + LOST_MAX >= total;
        assert!(is_local || has_structure_faults, "byte {offset}: {self:?}");
    }
}

/// Verifies the vault. If the damage keeps the storage from writing the journal, the report and the
/// returned vault come from a read-only opening, which journals to a spool.
fn verified(storage: &Arc<FileStorage>, vault: Vault) -> (Vault, VerifyReport) {
    match vault.verify(None) {
        Ok(report) => (vault, report),
        Err(Error::Journal(_)) => {
            drop(vault);
            let spool = MemoryStorage::new();
            let vault = options().open_read_only(Arc::clone(storage), &Fixed(1), spool);
            let vault = vault.unwrap();
            let report = vault.verify(None).unwrap();
            assert!(!report.is_clean());
            (vault, report)
        }
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn changed_database_byte_loses_few_records_and_is_reported() {
    let directory = Directory::of_small_records();
    let total = (PATIENTS * RECORDS) as usize;
    let length = directory.database().len();
    let (mut refused, mut damaged) = (0, 0);
    for case in 0..30 {
        let offset = length * case / 30 + 263 * case;
        directory.with_changed_byte(offset, || {
            let Some((storage, vault)) = directory.open() else {
                refused += 1;
                return;
            };
            let (vault, report) = verified(&storage, vault);
            let seen = [Seen::by_get(&vault), Seen::by_list(&vault)];
            let has_structure_faults = report.storage.structure_faults > 0;
            for seen in &seen {
                seen.assert_local(has_structure_faults, offset);
                assert!(
                    seen.readable == total || !report.is_clean(),
                    "byte {offset}"
                );
            }
            damaged += usize::from(!report.is_clean());
            let archived = session_on(&vault).archive("nightly", std::io::sink());
            assert!(archived.unwrap().objects > 0);
            let rotated = vault.rotate_master_key();
            assert!(rotated.is_ok() || has_structure_faults, "{rotated:?}");
            // Check again after the rotation, because its writes to a damaged index can affect
            // other lookups.
            Seen::by_get(&vault).assert_local(has_structure_faults, offset);
        });
    }
    assert!(refused <= 3, "{refused}");
    assert!(damaged >= 10, "{damaged}");
}

#[test]
fn changed_byte_in_a_journal_page_leaves_the_records_readable() {
    let directory = Directory::of_small_records();
    let (storage, vault) = directory.open().unwrap();
    let pages = raw::objects_of(&*storage, b"j");
    drop((storage, vault));
    let database = directory.database();
    for page in pages.values() {
        // Overflow pages divide long values, so search for the first bytes only.
        let start = database
            .windows(200)
            .position(|bytes| bytes == &page[..200]);
        directory.with_changed_byte(start.unwrap() + 150, || {
            let (_, vault) = directory.open().unwrap();
            let seen = Seen::by_get(&vault);
            assert_eq!(seen.readable, (PATIENTS * RECORDS) as usize);
            session_on(&vault).put(&id(1, 1), b"next").unwrap();
            let report = vault.verify(None).unwrap();
            let faults: Vec<_> = report.journal.iter().map(|found| found.fault).collect();
            assert_eq!(faults, [JournalFault::Altered]);
            assert!(report.records.is_empty());
        });
    }
}

#[test]
fn missing_segment_file_loses_only_its_content_and_is_reported() {
    let large = [record("MRN-1", "CT/1"), record("MRN-2", "CT/1")];
    let directory = Directory::filled(|vault| {
        for (id, seed) in large.iter().zip(1..) {
            session_on(vault).put(id, &content(seed, 1 << 20)).unwrap();
        }
    });
    let mut files: Vec<_> = fs::read_dir(directory.path.join("segments"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    fs::remove_file(&files[0]).unwrap();
    let (storage, vault) = directory.open().unwrap();
    let session = session_on(&vault);
    let whole = large
        .iter()
        .filter(|id| matches!(session.get(id), Ok(Some(_))));
    assert_eq!(whole.count(), 1);
    let missing = storage.integrity().unwrap().missing_values.len() as u64;
    let report = vault.verify(None).unwrap();
    assert!(missing > 0 && report.storage.missing_values == missing);
    let [finding] = &report.records[..] else {
        panic!("{report:#?}");
    };
    assert_eq!(finding.kind, FindingKind::ContentMissing);
    assert!(large.contains(&finding.id().unwrap()));
}

#[test]
fn backup_of_vault_in_use_opens_and_verifies() {
    let directory = Directory::of_small_records();
    let (storage, vault) = directory.open().unwrap();
    let copy = directory.path.with_file_name("backup");
    let session = session_on(&vault);
    let report = session.backup("nightly", || {
        storage.backup(&copy, |_, _| {
            assert!(session.put(&id(1, 1), b"meanwhile").is_ok())
        })
    });
    assert!(report.unwrap().objects > PATIENTS * RECORDS);
    let vault = options()
        .open(FileStorage::open(&copy).unwrap(), &Fixed(1))
        .unwrap();
    assert!(vault.verify(None).unwrap().is_clean());
    let seen = Seen::by_get(&vault);
    assert_eq!(seen.readable, (PATIENTS * RECORDS) as usize);
}
