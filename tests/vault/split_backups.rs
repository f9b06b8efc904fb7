//! Backups of a vault whose keys and data are in two storages.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use chartlock::storage::{FileStorage, MemoryStorage, SplitStorage, Storage, archive};
use chartlock::{Error, Purpose, RecordId, Vault, VaultOptions};

use crate::common::{Fixed, accept_restore, ids::subject, record, scratch, session, session_as};

type Split = SplitStorage<FileStorage, FileStorage>;

fn open(directory: &Path) -> Arc<Split> {
    let side = |name| FileStorage::open(directory.join(name)).unwrap();
    Arc::new(SplitStorage::new(side("keys"), side("data")))
}

/// Creates a vault that destroys the former keys at the end of a rotation.
fn create(storage: Arc<Split>) -> Vault {
    let options = VaultOptions::new().key_removal_delay(Duration::ZERO);
    options.create(storage, &Fixed(1)).unwrap()
}

/// Counts of acknowledged puts.
#[derive(Default)]
struct Acknowledged {
    /// The number of new patients, each with one record.
    patients: AtomicU64,
    /// The number of versions of the record of patient `busy`.
    versions: AtomicU64,
}

fn of_new_patient(number: u64) -> RecordId {
    record(&format!("new-{number}"), "note")
}

fn of_rotated_patient(number: u64) -> RecordId {
    record("rotated", &format!("{number}"))
}

const ROTATED: u64 = 40;

/// Puts records until `is_over`.
fn write(vault: &Vault, acknowledged: &Acknowledged, is_over: &AtomicBool) {
    let session = session(vault);
    for number in 0.. {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        session.put(&of_new_patient(number), b"first").unwrap();
        acknowledged.patients.store(number + 1, Ordering::SeqCst);
        session.put(&record("busy", "note"), b"next").unwrap();
        acknowledged.versions.store(number + 1, Ordering::SeqCst);
    }
}

/// Rotates keys and destroys the former ones until `is_over`.
fn rotate(vault: &Vault, is_over: &AtomicBool) {
    while !is_over.load(Ordering::SeqCst) {
        let report = vault.rotate_subject_key(&subject("rotated")).unwrap();
        assert_eq!(report.blocking, 0);
        assert!(report.patient_keys_destroyed > 0);
        let report = vault.rotate_master_key().unwrap();
        assert_eq!(report.entries_blocking, 0);
    }
}

/// Puts a record of a patient, erases the patient and reopens the chart, until `is_over`.
fn erase(vault: &Vault, is_over: &AtomicBool) {
    let session = session(vault);
    while !is_over.load(Ordering::SeqCst) {
        session.put(&record("erased", "note"), b"once").unwrap();
        session
            .erase_subject(&subject("erased"), "asked for")
            .unwrap();
        session.reopen_chart(&subject("erased")).unwrap();
    }
}

/// Calls `back_up` while other threads write, rotate and erase.
fn while_busy(vault: &Vault, back_up: impl FnOnce(&Acknowledged)) {
    for number in 0..ROTATED {
        let id = of_rotated_patient(number);
        session(vault).put(&id, b"rewrapped").unwrap();
    }
    let (is_over, acknowledged) = (AtomicBool::new(false), Acknowledged::default());
    thread::scope(|scope| {
        let _ends_the_threads = SetOnDrop(&is_over);
        scope.spawn(|| write(vault, &acknowledged, &is_over));
        scope.spawn(|| rotate(vault, &is_over));
        scope.spawn(|| erase(vault, &is_over));
        back_up(&acknowledged);
    });
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Asserts that a restored vault is clean, and contains the puts that were acknowledged before the
/// backup.
fn assert_whole(storage: Arc<dyn Storage>, patients: u64, versions: u64) {
    let vault = Vault::open(storage, &Fixed(1)).unwrap();
    let report = vault.verify(None).unwrap();
    assert!(report.is_clean(), "{report:#?}");
    let session = session(&vault);
    let all = (0..patients).map(of_new_patient);
    for id in all.chain((0..ROTATED).map(of_rotated_patient)) {
        assert!(session.get(&id).unwrap().is_some(), "{id:?}");
    }
    let history = session.history(&record("busy", "note")).unwrap();
    assert!(history.len() as u64 >= versions);
    accept_restore(&session, "disk lost").unwrap();
    session.put(&record("busy", "note"), b"goes on").unwrap();
}

#[test]
fn backup_of_busy_split_vault_is_whole() {
    let scratch = scratch::quick();
    let storage = open(&scratch.path().join("vault"));
    let vault = create(storage.clone());
    while_busy(&vault, |acknowledged| {
        for number in 0..5 {
            let copy = scratch.path().join(number.to_string());
            let patients = acknowledged.patients.load(Ordering::SeqCst);
            let versions = acknowledged.versions.load(Ordering::SeqCst);
            let office = session_as(&vault, "it.office", Purpose::SystemAdministration);
            let backup = || storage.backup(copy.join("keys"), copy.join("data"), |_, _| {});
            let (keys, data) = office.backup("nightly", backup).unwrap();
            assert!(keys.objects > patients && data.objects > keys.objects);
            assert_whole(open(&copy), patients, versions);
        }
    });
}

#[test]
fn archive_of_busy_split_vault_is_whole() {
    let scratch = scratch::quick();
    let vault = create(open(&scratch.path().join("vault")));
    while_busy(&vault, |acknowledged| {
        for _ in 0..5 {
            let patients = acknowledged.patients.load(Ordering::SeqCst);
            let versions = acknowledged.versions.load(Ordering::SeqCst);
            let mut out = Cursor::new(Vec::new());
            let report = session(&vault).archive("nightly", &mut out).unwrap();
            assert_eq!(report.unreadable, 0);
            let restored = MemoryStorage::new();
            out.set_position(0);
            archive::read(out, &restored).unwrap();
            assert_whole(Arc::new(restored), patients, versions);
        }
    });
}

/// Copies one side, changes the vault, and then copies the other side. Returns the result of
/// reading a record from the copies.
fn read_after_separate_copies(
    order: [&str; 2],
    id: &RecordId,
    change: impl FnOnce(&Vault),
) -> Result<bool, Error> {
    let scratch = scratch::quick();
    let storage = open(&scratch.path().join("vault"));
    let vault = create(storage.clone());
    let before = record("rotated", "note");
    session(&vault).put(&before, b"before").unwrap();
    let copy = scratch.path().join("copy");
    let sides = BTreeMap::from([("keys", storage.keys()), ("data", storage.data())]);
    sides[order[0]]
        .backup(copy.join(order[0]), |_, _| {})
        .unwrap();
    change(&vault);
    sides[order[1]]
        .backup(copy.join(order[1]), |_, _| {})
        .unwrap();
    let restored = Vault::open(open(&copy), &Fixed(1))?;
    Ok(session(&restored).get(id)?.is_some())
}

/// A backup must block commits, because separate copies of the two sides can lose records in either
/// order.
#[test]
fn separate_copies_of_keys_and_data_lose_records() {
    let added = record("new", "note");
    let put = |vault: &Vault| assert_eq!(session(vault).put(&added, b"after"), Ok(1));
    let read = read_after_separate_copies(["keys", "data"], &added, put);
    assert!(read != Ok(true), "{read:?}");
    let rotated = record("rotated", "note");
    let rotate = |vault: &Vault| {
        vault.rotate_subject_key(&subject("rotated")).unwrap();
    };
    let read = read_after_separate_copies(["data", "keys"], &rotated, rotate);
    assert!(read != Ok(true), "{read:?}");
}

/// With a newer copy of the key side, an older copy of the data side stays readable, unless a
/// subject key was rotated. A subject that was erased between the two copies stays erased.
#[test]
fn data_copied_before_keys_stays_readable_without_rotation() {
    let kept = record("rotated", "note");
    let change = |vault: &Vault| {
        let session = session(vault);
        session.put(&record("new", "note"), b"after").unwrap();
        session.put(&kept, b"after").unwrap();
        vault.rotate_master_key().unwrap();
        vault.rotate_root_key(&[&Fixed(1)], &[]).unwrap();
    };
    let read = read_after_separate_copies(["data", "keys"], &kept, change);
    assert_eq!(read, Ok(true));
    let erase = |vault: &Vault| {
        session(vault)
            .erase_subject(&subject("rotated"), "asked for")
            .unwrap();
    };
    let read = read_after_separate_copies(["data", "keys"], &kept, erase);
    assert_eq!(read, Err(Error::Erased));
}
