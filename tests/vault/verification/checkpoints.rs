//! Checkpoints that are kept outside the storage and reveal a rollback of the whole storage.

use chartlock::{
    Checkpoint, Error,
    verify::{CheckpointState, JournalFault},
};

use super::{assert_clean, clinic, faults};
use crate::raw;
use crate::stage::{Stage, record, session_on};

everywhere!(
    checkpoint_reveals_storage_rollback,
    checkpoint_reveals_journal_rollback,
    checkpoint_still_in_the_journal_is_clean,
    checkpoint_of_another_vault_is_refused,
);

fn checkpoint_reveals_storage_rollback(stage: &Stage) {
    clinic(&stage.create());
    let snapshot = raw::all_objects(&stage.storage);
    let vault = stage.open();
    session_on(&vault)
        .put(&record("MRN-1", "Allergy/1"), b"penicillin")
        .unwrap();
    let kept = vault.checkpoint().unwrap().to_string();
    drop(vault);
    raw::reset(&stage.storage, &snapshot);
    // The rolled-back storage is consistent, so verify finds nothing without the checkpoint.
    assert_clean(stage);
    let checkpoint: Checkpoint = kept.parse().unwrap();
    let report = stage.open().verify(Some(&checkpoint)).unwrap();
    assert_eq!(report.checkpoint, Some(CheckpointState::Gone));
    assert_eq!(faults(&report), [JournalFault::Cut]);
    assert!(!report.is_clean());
}

/// Rolls the storage back to a state before several reads, which only the journal records.
fn checkpoint_reveals_journal_rollback(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    vault.checkpoint().unwrap();
    let snapshot = raw::all_objects(&stage.storage);
    for _ in 0..3 {
        session_on(&vault)
            .get(&record("MRN-1", "Allergy/1"))
            .unwrap()
            .unwrap();
    }
    let checkpoint = vault.checkpoint().unwrap();
    drop(vault);
    raw::reset(&stage.storage, &snapshot);
    let report = stage.open().verify(Some(&checkpoint)).unwrap();
    assert_eq!(report.checkpoint, Some(CheckpointState::Gone));
    assert!(!report.is_clean());
}

fn checkpoint_still_in_the_journal_is_clean(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    let checkpoint = vault.checkpoint().unwrap();
    let report = vault.verify(Some(&checkpoint)).unwrap();
    assert_eq!(report.checkpoint, Some(CheckpointState::Intact));
    assert!(report.is_clean(), "{report:#?}");
    drop(vault);
    session_on(&stage.open())
        .put(&record("MRN-3", "Allergy/1"), b"none")
        .unwrap();
    let report = stage.open().verify(Some(&checkpoint)).unwrap();
    assert!(report.is_clean(), "{report:#?}");
}

fn checkpoint_of_another_vault_is_refused(stage: &Stage) {
    let other = Stage::memory();
    let checkpoint = other.create().checkpoint().unwrap();
    let vault = stage.create();
    assert_eq!(
        vault.verify(Some(&checkpoint)),
        Err(Error::ForeignCheckpoint)
    );
    assert!(vault.verify(None).unwrap().is_clean());
}

#[test]
fn mistyped_checkpoint_is_refused() {
    let checkpoint = Stage::memory().create().checkpoint().unwrap();
    let text = checkpoint.to_string();
    assert_eq!(text.parse(), Ok(checkpoint));
    let loose = format!("  {} ", text.to_uppercase().replace(' ', "\n"));
    assert_eq!(loose.parse(), Ok(checkpoint));
    let mut mistaken = 0;
    for (at, typed) in text.char_indices() {
        let other = if typed == '7' { '4' } else { '7' };
        let mistyped = format!("{}{other}{}", &text[..at], &text[at + 1..]);
        let shorter = format!("{}{}", &text[..at], &text[at + 1..]);
        mistaken += u32::from(mistyped.parse::<Checkpoint>().is_ok());
        assert!(
            typed == ' ' || shorter.parse::<Checkpoint>().is_err(),
            "{at}"
        );
    }
    // The checksum has 16 bits, so about one of 65,536 mistyped texts passes.
    assert!(mistaken <= 1, "{mistaken}");
    for text in [
        "",
        "chartlock",
        "chartlock checkpoint 2 00",
        "chartlock checkpoint 1 zz",
    ] {
        assert_eq!(text.parse::<Checkpoint>(), Err(Error::BadCheckpoint));
    }
}
