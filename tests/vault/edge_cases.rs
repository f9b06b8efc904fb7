//! Edge cases: a race between equal puts, a kit restore over an intact header, a listing interrupted
//! by `lock`, and scans that never end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chartlock::storage::{FaultAction, FaultPoint, Faulty, Operation};
use chartlock::{Error, Precondition, RecoveryKit, Vault};

use crate::clock::LONG_AGO;
use crate::common::clock::ManualClock;
use crate::common::{AlteredScans, Fixed};
use crate::stage::{Stage, record, session_on, subject};

everywhere!(
    conditional_put_of_equal_content_wins_once,
    kit_does_not_replace_intact_header,
    list_after_lock_ends_with_locked,
);

fn conditional_put_of_equal_content_wins_once(stage: &Stage) {
    let options = stage.options().clock(Arc::new(ManualClock::at(LONG_AGO)));
    let first = options.clone().create(stage.shared(), &Fixed(1)).unwrap();
    session_on(&first)
        .put(&record("MRN-1042", "other"), b"-")
        .unwrap();
    let id = record("MRN-1042", "Slot/1");
    let raced = AtomicBool::new(false);
    let claim = id.clone();
    let hook = move |_: u64, point: &FaultPoint<'_>| {
        let puts_record = matches!(point, FaultPoint::Commit(operations) if operations.iter().any(
            |operation| matches!(operation, Operation::Put { key, .. } if key.starts_with(b"r"))
        ));
        if puts_record && !raced.swap(true, Ordering::SeqCst) {
            let won = session_on(&first).put_if(&claim, Precondition::Absent, b"taken");
            assert_eq!(won, Ok(1));
        }
        FaultAction::Proceed
    };
    let faulty = Faulty::new(stage.shared(), hook);
    let second: Vault = options.open(faulty, &Fixed(1)).unwrap();
    let lost = session_on(&second).put_if(&id, Precondition::Absent, b"taken");
    assert_eq!(lost, Err(Error::Conflict));
}

fn kit_does_not_replace_intact_header(stage: &Stage) {
    let vault = stage.create();
    let kit = vault.recovery_kit().unwrap();
    let slot = vault.slots().unwrap()[0].id;
    vault.replace_slot(slot, &Fixed(2)).unwrap();
    vault.rotate_master_key().unwrap();
    let id = record("MRN-1042", "Observation/1");
    session_on(&vault).put(&id, b"new").unwrap();
    let restored = RecoveryKit::from_bytes(kit.as_bytes())
        .unwrap()
        .restore(stage.shared(), &Fixed(1));
    assert_eq!(restored, Err(Error::HeaderPresent));
    let again = stage.options().open(stage.shared(), &Fixed(2)).unwrap();
    assert_eq!(&session_on(&again).get(&id).unwrap().unwrap()[..], b"new");
}

fn list_after_lock_ends_with_locked(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    for name in ["a", "b", "c"] {
        session.put(&record("MRN-1042", name), b"-").unwrap();
    }
    let mut list = session.list(&subject("MRN-1042")).unwrap();
    assert!(list.next().unwrap().is_ok());
    vault.lock();
    assert_eq!(list.next().unwrap().unwrap_err(), Error::Locked);
    assert!(list.next().is_none());
}

#[test]
fn endless_scan_ends_with_an_error() {
    let stage = Stage::memory();
    drop(stage.create());
    let vault = stage
        .options()
        .open(AlteredScans::endless(stage.shared(), b"p"), &Fixed(1));
    let vault = vault.unwrap();
    assert_eq!(vault.key_usage().err(), Some(Error::Contended));
    assert_eq!(vault.rotate_master_key().err(), Some(Error::Contended));
    assert_eq!(vault.verify(None).err(), Some(Error::Contended));
}
