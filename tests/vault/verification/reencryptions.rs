//! Re-encryptions of content that the journal does not record: verify names the content before and
//! after the re-encryption. Honest re-encryptions cause no finding.

use chartlock::internals::envelope::Body;
use chartlock::storage::{FaultAction, FaultOutcome};
use chartlock::verify::FindingKind::{self, ReencryptedTampered, Unexpected};
use chartlock::{Checkpoint, Vault};

use super::{assert_clean, chains, clinic, faults, put_back, record_key, records, remove, verify};
use crate::common::accept_restore;
use crate::forged_records::sealed;
use crate::raw;
use crate::stage::{Stage, action_at, record, session_on, subject};

everywhere!(
    reencrypted_forgery_is_found,
    reencrypted_forgery_in_history_is_found,
    reencrypted_rollback_is_found,
    reencryption_after_accepted_restore_is_clean,
    reencrypted_unjournaled_record_is_found,
    repeated_reencryptions_are_clean,
    reencryptions_by_two_processes_are_clean,
    expunge_after_reencryption_is_clean,
    interrupted_reencryption_is_clean,
);

/// Replaces version 4 of MRN-1's allergy by content that no session wrote, sealed with the keys of
/// the chart. Returns a checkpoint from before.
fn forge(stage: &Stage) -> Checkpoint {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let checkpoint = stage.open().checkpoint().unwrap();
    let body = Body::Inline(b"none known");
    let forged = sealed(stage, &key, ("Allergy/1", 4), body);
    let mut objects = raw::all_objects(&stage.storage);
    objects.insert(key, forged);
    raw::reset(&stage.storage, &objects);
    assert_allergy(stage, 4, Unexpected);
    checkpoint
}

#[track_caller]
fn assert_allergy(stage: &Stage, version: u64, kind: FindingKind) {
    let report = verify(stage);
    let expected = [("MRN-1 Allergy/1".to_owned(), version, kind)];
    assert_eq!(records(&report), expected, "{report:#?}");
    assert!(!report.is_clean());
}

fn reencrypt(stage: &Stage) {
    let vault = stage.open();
    let report = vault.reencrypt_subject(&subject("MRN-1")).unwrap();
    assert_eq!(report.blocking, 0, "{report:?}");
}

fn reencrypted_forgery_is_found(stage: &Stage) {
    let checkpoint = forge(stage);
    for _ in 0..2 {
        reencrypt(stage);
        assert_allergy(stage, 4, ReencryptedTampered);
        let report = stage.open().verify(Some(&checkpoint)).unwrap();
        assert_eq!(records(&report).len(), 1, "{report:#?}");
    }
    let session = session_on(&stage.open());
    session
        .put(&record("MRN-1", "Allergy/1"), b"latex")
        .unwrap();
    drop(session);
    assert_allergy(stage, 4, ReencryptedTampered);
    accept_restore(&session_on(&stage.open()), "checked by hand").unwrap();
    assert_clean(stage);
    reencrypt(stage);
    assert_clean(stage);
}

fn reencrypted_forgery_in_history_is_found(stage: &Stage) {
    forge(stage);
    let session = session_on(&stage.open());
    session
        .put(&record("MRN-1", "Allergy/1"), b"latex")
        .unwrap();
    drop(session);
    assert_allergy(stage, 4, Unexpected);
    reencrypt(stage);
    assert_allergy(stage, 4, ReencryptedTampered);
}

/// Rolls the chart back to its state before a re-encryption; the journal stays.
fn roll_back(stage: &Stage) {
    clinic(&stage.create());
    let snapshot = raw::all_objects(&stage.storage);
    reencrypt(stage);
    assert_clean(stage);
    put_back(&stage.storage, &snapshot, |of| {
        matches!(of[0], b'p' | b'r' | b'h')
    });
}

fn reencrypted_rollback_is_found(stage: &Stage) {
    roll_back(stage);
    let found = records(&verify(stage));
    assert_eq!(found.len(), 4);
    let is_rollback = |kind: &FindingKind| *kind == FindingKind::RolledBack;
    assert!(
        found.iter().all(|(.., kind)| is_rollback(kind)),
        "{found:?}"
    );
    reencrypt(stage);
    let found = records(&verify(stage));
    assert_eq!(found.len(), 4);
    let is_named = |kind: &FindingKind| *kind == ReencryptedTampered;
    assert!(found.iter().all(|(.., kind)| is_named(kind)), "{found:?}");
}

fn reencryption_after_accepted_restore_is_clean(stage: &Stage) {
    roll_back(stage);
    accept_restore(&session_on(&stage.open()), "disk failure").unwrap();
    assert_clean(stage);
    reencrypt(stage);
    assert_clean(stage);
}

/// No journal page names the record. An intact journal proves that no session wrote the record; a
/// journal without some pages does not.
fn reencrypted_unjournaled_record_is_found(stage: &Stage) {
    clinic(&stage.create());
    let vault = stage.open_by(stage.options().without_journal());
    let session = session_on(&vault);
    session.put(&record("MRN-1", "Consent/1"), b"yes").unwrap();
    drop((session, vault));
    let found = |kind| [("MRN-1 Consent/1".to_owned(), 1, kind)];
    assert_eq!(records(&verify(stage)), found(Unexpected));
    reencrypt(stage);
    assert_eq!(records(&verify(stage)), found(ReencryptedTampered));
    let chains = chains(&stage.storage);
    let longest = chains.iter().max_by_key(|chain| chain.len()).unwrap();
    remove(&stage.storage, &longest[1..2]);
    let report = verify(stage);
    assert!(!faults(&report).is_empty());
    let unjudged = report.unattested.iter();
    let names: Vec<_> = unjudged.filter_map(|found| found.name.as_deref()).collect();
    assert!(names.contains(&"Consent/1"), "{report:#?}");
    assert!(
        records(&report)
            .iter()
            .all(|(name, ..)| name != "MRN-1 Consent/1")
    );
}

fn repeated_reencryptions_are_clean(stage: &Stage) {
    clinic(&stage.create());
    for round in 0..3_u8 {
        reencrypt(stage);
        assert_clean(stage);
        let vault = stage.open();
        let session = session_on(&vault);
        session
            .put(&record("MRN-1", "Allergy/1"), &[round])
            .unwrap();
        vault.rotate_subject_key(&subject("MRN-1")).unwrap();
        drop((session, vault));
        assert_clean(stage);
    }
}

fn reencryptions_by_two_processes_are_clean(stage: &Stage) {
    clinic(&stage.create());
    let open = || stage.open_by(stage.options_under_load());
    let vaults: [Vault; 3] = [open(), open(), open()];
    std::thread::scope(|scope| {
        let [first, second, writer] = &vaults;
        for vault in [first, second] {
            scope.spawn(move || {
                for _ in 0..3 {
                    // Another rotation may interfere, which is no fault of either.
                    drop(vault.reencrypt_subject(&subject("MRN-1")));
                }
            });
        }
        let session = session_on(writer);
        for round in 0..12_u8 {
            drop(session.put(&record("MRN-1", "Allergy/1"), &[round]));
        }
    });
    drop(vaults);
    assert_clean(stage);
    reencrypt(stage);
    assert_clean(stage);
}

fn expunge_after_reencryption_is_clean(stage: &Stage) {
    clinic(&stage.create());
    reencrypt(stage);
    let session = session_on(&stage.open());
    let id = record("MRN-1", "Allergy/1");
    session.expunge(&id, "by court order").unwrap();
    drop(session);
    assert_clean(stage);
    reencrypt(stage);
    assert_clean(stage);
}

/// Interrupts a re-encryption at each step, or leaves the outcome of the step unknown.
fn interrupted_reencryption_is_clean(stage: &Stage) {
    clinic(&stage.create());
    let before = raw::all_objects(&stage.storage);
    let (vault, faulty) = stage.open_with(|_, _| FaultAction::Proceed);
    let opened = faulty.steps();
    vault.reencrypt_subject(&subject("MRN-1")).unwrap();
    let steps = faulty.steps() - opened;
    drop((vault, faulty));
    assert!(steps > 5);
    let actions = [
        FaultAction::Stop,
        FaultAction::StopAfter,
        FaultAction::Unknown(FaultOutcome::Applied),
        FaultAction::Unknown(FaultOutcome::Lost),
        FaultAction::Unknown(FaultOutcome::Later),
    ];
    for step in (0..steps).step_by(stage.stride) {
        for action in actions {
            raw::reset(&stage.storage, &before);
            let (vault, faulty) = stage.open_with(action_at(step, action));
            drop(vault.reencrypt_subject(&subject("MRN-1")));
            drop((vault, faulty));
            let report = verify(stage);
            let is_named = report
                .records
                .iter()
                .any(|it| it.kind == ReencryptedTampered);
            assert!(!is_named, "{step} {action:?} {report:#?}");
            reencrypt(stage);
            let report = verify(stage);
            assert!(report.is_clean(), "{step} {action:?} {report:#?}");
        }
    }
}
