//! Vaults that the app opens read-only, with reads journaled to a spool.

use std::sync::Arc;

use chartlock::storage::{FaultAction, FaultPoint, Faulty, FileStorage, Storage, StorageError};
use chartlock::{Error, MemoryStorage, Operation, Purpose, Vault};

use super::deciding::{by, id, memory, options, outcomes_of};
use crate::common::objects::{objects_of, put, value_of};
use crate::common::{Fixed, Shared, accept_restore, record, scratch, session_as, subject};

fn with_note(storage: &Shared) -> Vault {
    let vault = options().create(Arc::clone(storage), &Fixed(1)).unwrap();
    by(&vault, "dr.garcia").put(&id("note"), b"{}").unwrap();
    vault
}

/// Opens a vault read-only, with the given spool.
fn open(storage: impl Storage + 'static, spool: &Shared) -> Result<Vault, Error> {
    options().open_read_only(storage, &Fixed(1), Arc::clone(spool))
}

#[test]
fn read_only_vault_journals_reads_to_its_spool_and_writes_nothing_else() {
    let (storage, spool) = (memory(), memory());
    let owner = with_note(&storage);
    let before = objects_of(&*storage, b"");
    let vault = open(Arc::clone(&storage), &spool).unwrap();
    let reader = by(&vault, "reader");
    assert_eq!(&reader.get(&id("note")).unwrap().unwrap()[..], b"{}");
    assert!(reader.get(&id("none")).unwrap().is_none());
    assert_eq!(reader.list(&subject("MRN-1042")).unwrap().count(), 1);
    assert!(vault.verify(None).unwrap().is_clean());
    drop((reader, vault));
    assert_eq!(objects_of(&*storage, b""), before);
    assert_eq!(
        objects_of(&*spool, b"j").len(),
        objects_of(&*spool, b"").len()
    );
    let officer = session_as(&owner, "it", Purpose::Operations);
    officer
        .bring_journal_home("reads of the standby", &spool)
        .unwrap();
    let home = outcomes_of(&storage, "reader").into_iter();
    let operations: Vec<_> = home.map(|(operation, _)| operation).collect();
    assert_eq!(
        operations,
        [Operation::Read, Operation::Read, Operation::List]
    );
    let opened = outcomes_of(&storage, "vault").into_iter();
    assert_eq!(
        opened
            .filter(|(operation, _)| *operation == Operation::Open)
            .count(),
        1
    );
    assert!(owner.verify(None).unwrap().is_clean());
}

#[test]
fn every_change_to_a_read_only_vault_is_refused() {
    let (storage, spool) = (memory(), memory());
    let owner = with_note(&storage);
    let slot = owner.slots().unwrap()[0].id;
    let vault = open(Arc::clone(&storage), &spool).unwrap();
    let (dr, patient) = (by(&vault, "dr.garcia"), subject("MRN-1042"));
    let before = objects_of(&*storage, b"");
    let refused = Error::ReadOnly;
    assert_eq!(dr.put(&id("note"), b"!"), Err(refused.clone()));
    assert_eq!(dr.put(&record("NEW", "note"), b"!"), Err(refused.clone()));
    assert_eq!(
        dr.put_reader(&id("ct"), &[7; 100_000][..]),
        Err(refused.clone())
    );
    assert_eq!(dr.retract(&id("note")), Err(refused.clone()));
    assert_eq!(dr.expunge(&id("note"), "x"), Err(refused.clone()));
    assert_eq!(dr.erase_subject(&patient, "x"), Err(refused.clone()));
    assert_eq!(dr.place_hold(&patient, "x"), Err(refused.clone()));
    assert_eq!(dr.retain_until(&patient, None), Err(refused.clone()));
    assert_eq!(accept_restore(&dr, "x").err(), Some(refused.clone()));
    assert_eq!(vault.rotate_master_key().err(), Some(refused.clone()));
    assert_eq!(vault.add_slot(&Fixed(2)).err(), Some(refused.clone()));
    assert_eq!(vault.remove_slot(slot).err(), Some(refused.clone()));
    assert_eq!(vault.checkpoint().err(), Some(refused.clone()));
    assert_eq!(vault.collect_garbage().err(), Some(refused.clone()));
    assert_eq!(vault.make_writable(), Err(refused));
    // The spool stays: the vault's own storage is never written.
    assert!(dr.end_journal_fallback("x").is_err());
    assert!(dr.abandon_journal_fallback("x").is_err());
    assert!(dr.bring_journal_home("x", &spool).is_err());
    dr.begin_journal_fallback("the spool is nearly full", memory())
        .unwrap();
    assert!(dr.get(&id("note")).unwrap().is_some());
    drop((dr, vault));
    assert_eq!(objects_of(&*storage, b""), before);
}

#[test]
fn read_only_vault_reads_storage_that_cannot_be_written() {
    let scratch = scratch::quick();
    let directory = scratch.path().join("vault");
    let storage: Shared = Arc::new(FileStorage::open(&directory).unwrap());
    drop(with_note(&storage));
    drop(storage);
    let spool = memory();
    let storage = FileStorage::open_read_only(&directory).unwrap();
    let vault = open(storage, &spool).unwrap();
    assert!(by(&vault, "reader").get(&id("note")).unwrap().is_some());
    assert!(!objects_of(&*spool, b"j").is_empty());
}

#[test]
fn read_only_vault_without_a_writable_spool_does_not_open() {
    let storage = memory();
    drop(with_note(&storage));
    let unwritable: Shared = Arc::new(Faulty::new(
        MemoryStorage::new(),
        |_, point: &FaultPoint<'_>| match point {
            FaultPoint::Commit(_) => FaultAction::Fail(StorageError::Full),
            _ => FaultAction::Proceed,
        },
    ));
    let refused = open(Arc::clone(&storage), &unwritable).unwrap_err();
    assert_eq!(refused, Error::Journal(StorageError::Full));
}

#[test]
fn read_only_vault_still_detects_a_rolled_back_header() {
    let (storage, spool) = (memory(), memory());
    let owner = with_note(&storage);
    let header = value_of(&*storage, b"v").unwrap();
    owner.add_slot(&Fixed(2)).unwrap();
    by(&owner, "dr.garcia")
        .put(&record("NEW", "note"), b"{}")
        .unwrap();
    drop(owner);
    put(&*storage, b"v", &header);
    let vault = open(Arc::clone(&storage), &spool).unwrap();
    let found = by(&vault, "reader").get(&record("NEW", "note"));
    assert_eq!(found.unwrap_err(), Error::HeaderRolledBack);
}
