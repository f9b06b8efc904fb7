//! Texts that are kept elsewhere.

use chartlock::{
    Checkpoint, Error,
    verify::{CheckpointStanding, JournalFault},
};

use super::{clinic, faults, is_clean};
use crate::raw;
use crate::stage::{Stage, record, session};

everywhere!(
    the_whole_storage_is_put_back,
    the_end_of_the_journal_is_put_back,
    one_that_stands,
    of_another_vault,
);

fn the_whole_storage_is_put_back(stage: &Stage) {
    clinic(&stage.create());
    let then = raw::everything(&stage.storage);
    let vault = stage.open();
    session(&vault)
        .put(&record("MRN-1", "Allergy/1"), b"penicillin")
        .unwrap();
    let kept = vault.checkpoint().unwrap().to_string();
    drop(vault);
    raw::reset(&stage.storage, &then);
    // Yesterday is in itself as it should be.
    is_clean(stage);
    let checkpoint: Checkpoint = kept.parse().unwrap();
    let report = stage.open().verify(Some(&checkpoint)).unwrap();
    assert_eq!(report.checkpoint, Some(CheckpointStanding::Gone));
    assert_eq!(faults(&report), [JournalFault::Cut]);
    assert!(!report.is_clean());
}

/// Reads only: nothing but the journal tells of them.
fn the_end_of_the_journal_is_put_back(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    vault.checkpoint().unwrap();
    let then = raw::everything(&stage.storage);
    for _ in 0..3 {
        session(&vault)
            .get(&record("MRN-1", "Allergy/1"))
            .unwrap()
            .unwrap();
    }
    let checkpoint = vault.checkpoint().unwrap();
    drop(vault);
    raw::reset(&stage.storage, &then);
    let report = stage.open().verify(Some(&checkpoint)).unwrap();
    assert_eq!(report.checkpoint, Some(CheckpointStanding::Gone));
    assert!(!report.is_clean());
}

fn one_that_stands(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    let checkpoint = vault.checkpoint().unwrap();
    let report = vault.verify(Some(&checkpoint)).unwrap();
    assert_eq!(report.checkpoint, Some(CheckpointStanding::Intact));
    assert!(report.is_clean(), "{report:#?}");
    drop(vault);
    session(&stage.open())
        .put(&record("MRN-3", "Allergy/1"), b"none")
        .unwrap();
    let report = stage.open().verify(Some(&checkpoint)).unwrap();
    assert!(report.is_clean(), "{report:#?}");
}

fn of_another_vault(stage: &Stage) {
    let other = Stage::memory();
    let checkpoint = other.create().checkpoint().unwrap();
    let vault = stage.create();
    assert_eq!(
        vault.verify(Some(&checkpoint)),
        Err(Error::ForeignCheckpoint)
    );
    assert!(vault.verify(None).unwrap().is_clean());
}

/// A mistyped one is told from another one, whatever was mistyped.
#[test]
fn mistyped() {
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
    // Sixteen bits of check: one in so many passes.
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
