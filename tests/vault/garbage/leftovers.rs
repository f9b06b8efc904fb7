//! Collection of each kind of garbage that interrupted operations leave.

use std::sync::atomic::{AtomicU64, Ordering};

use chartlock::internals::envelope::{INLINE_MAX, SEGMENT};
use chartlock::storage::{FaultAction, FaultOutcome, FaultPoint, StorageError};
use chartlock::{Error, Vault};

use super::{
    DAY, Garbage, START, assert_collects_nothing, collect_and_compare, limit, open_at,
    stop_before_record, vault_at,
};
use crate::model::{Model, small_clinic, smaller_clinic};
use crate::raw::{self, Objects};
use crate::stage::{Stage, action_at, content, record, session_on, subject};

everywhere!(
    collection_without_garbage_changes_nothing,
    upload_interrupted_at_any_step_is_collected,
    reencryption_interrupted_at_any_step_is_collected,
    late_segments_of_erased_chart_are_collected,
    collection_during_erase_frees_the_chart,
    collection_interrupted_at_any_step_can_be_repeated,
    collection_with_unknown_outcomes_counts_each_delete_once,
);

fn collection_without_garbage_changes_nothing(stage: &Stage) {
    drop(stage.create());
    let vault = vault_at(stage, START);
    assert_eq!(vault.collect_garbage(), Ok(Default::default()));
    let model = small_clinic(&vault);
    let report = assert_collects_nothing(stage, START + 100 * DAY);
    // Three of the four subjects have content in segments.
    assert_eq!((report.charts, report.uploads_under_way), (3, 0));
    assert_eq!(report.charts_passed_over + report.unknown_charts, 0);
    model.verify(&vault);
}

const BREAKS: [FaultAction; 2] = [FaultAction::Stop, FaultAction::StopAfter];

/// Interrupts `operation` at each step and collects the garbage, first within the age limit and
/// then beyond the limit.
fn interrupt_every_step(
    stage: &Stage,
    stride: usize,
    operation: impl Fn(&Vault) -> Result<(), Error>,
    check: impl Fn(&Vault),
) {
    let before = raw::objects(&stage.storage);
    let (mut young, mut old) = (0, 0);
    for step in (0..).step_by(stride) {
        for action in BREAKS {
            raw::reset(&stage.storage, &before);
            let hook = action_at(step, action);
            let (vault, _) = open_at(stage, START, hook);
            if operation(&vault).is_ok() && action == FaultAction::Stop {
                assert!(step >= 6 && young > 0 && old > 0);
                return;
            }
            drop(vault);
            young += collect_and_compare(stage, START + limit(stage)).uploads_under_way;
            check(&vault_at(stage, START));
            old += collect_and_compare(stage, START + limit(stage) + 1).uploads;
            check(&vault_at(stage, START));
            let objects = raw::objects(&stage.storage);
            let left = Garbage::find(stage, &objects, i64::MAX);
            assert!(left.is_empty() && left.under_way == 0, "{left:?}");
        }
    }
}

fn upload_interrupted_at_any_step_is_collected(stage: &Stage) {
    let id = record("MRN-1", "CT/1");
    let old = content(1, INLINE_MAX + 1);
    session_on(&stage.create()).put(&id, &old).unwrap();
    let new = content(2, SEGMENT + 1);
    let put = |vault: &Vault| session_on(vault).put(&id, &new).map(drop);
    interrupt_every_step(stage, 1, put, |vault| {
        let session = session_on(vault);
        let current = session.get(&id).unwrap().unwrap();
        let first = session.get_version(&id, 1).unwrap().unwrap();
        assert!(*first == old && (*current == old || *current == new));
    });
}

fn reencryption_interrupted_at_any_step_is_collected(stage: &Stage) {
    let model = smaller_clinic(&stage.create());
    let patient = subject("MRN-1");
    let reencrypt = |vault: &Vault| vault.reencrypt_subject(&patient).map(drop);
    interrupt_every_step(stage, stage.stride, reencrypt, |vault| model.verify(vault));
    // After any interruption, re-encryption starts again and leaves no garbage.
    let vault = vault_at(stage, START);
    assert_eq!(vault.reencrypt_subject(&patient).unwrap().blocking, 0);
    assert_collects_nothing(stage, START + 100 * DAY);
    model.verify(&vault);
}

/// Returns the segments and intents of one patient.
fn segments_and_intents(stage: &Stage, identifier: &str) -> Objects {
    let mut objects = raw::objects(&stage.storage);
    objects.retain(|key, _| b"sw".contains(&key[0]) && raw::belongs_to(stage, key, identifier));
    objects
}

fn abandon_upload(stage: &Stage, identifier: &str) {
    let (vault, _) = open_at(stage, START, stop_before_record);
    let id = record(identifier, "CT/upload");
    session_on(&vault)
        .put(&id, &content(9, SEGMENT + 1))
        .unwrap_err();
}

fn late_segments_of_erased_chart_are_collected(stage: &Stage) {
    drop(stage.create());
    let vault = vault_at(stage, START);
    let mut model = small_clinic(&vault);
    abandon_upload(stage, "MRN-1");
    let late = segments_and_intents(stage, "MRN-1");
    assert_eq!(late.len(), 2 + 2 + 1);
    let patient = subject("MRN-1");
    session_on(&vault)
        .erase_subject(&patient, "asked for")
        .unwrap();
    session_on(&vault).reopen_chart(&patient).unwrap();
    model.0.retain(|id, _| *id.subject() != patient);
    let id = record("MRN-1", "CT/large");
    model.put(&session_on(&vault), &id, &content(5, INLINE_MAX + 1));
    let before = raw::objects(&stage.storage);
    for (key, value) in &late {
        raw::put(&stage.storage, key, value);
    }
    // Garbage of a destroyed chart has no age limit.
    let report = vault_at(stage, START).collect_garbage().unwrap();
    assert_eq!((report.segments, report.uploads), (4, 1));
    assert_eq!((report.charts, report.uploads_under_way), (4, 0));
    assert!(raw::objects(&stage.storage) == before);
    model.verify(&vault);
}

fn collection_during_erase_frees_the_chart(stage: &Stage) {
    drop(stage.create());
    let mut model = small_clinic(&vault_at(stage, START));
    abandon_upload(stage, "MRN-1");
    let (vault, _) = open_at(stage, START, |_, point| match point {
        FaultPoint::Scan(scan) if scan.prefix.len() == 17 => FaultAction::Stop,
        _ => FaultAction::Proceed,
    });
    let patient = subject("MRN-1");
    session_on(&vault)
        .erase_subject(&patient, "asked for")
        .unwrap_err();
    let report = vault_at(stage, START).collect_garbage().unwrap();
    assert_eq!((report.segments, report.uploads), (4, 1));
    let vault = vault_at(stage, START);
    let erasure = session_on(&vault)
        .erase_subject(&patient, "asked for")
        .unwrap();
    assert_eq!((erasure.segments, erasure.uploads), (0, 0));
    model.0.retain(|id, _| *id.subject() != patient);
    model.verify(&vault);
}

/// Creates old garbage of every kind: an abandoned upload, segments without an intent, an intent
/// whose stream a record references, and an intent without segments.
fn every_kind_of_garbage(stage: &Stage) -> Model {
    drop(stage.create());
    let vault = vault_at(stage, START);
    let model = small_clinic(&vault);
    for patient in ["MRN-1", "MRN-2"] {
        abandon_upload(stage, patient);
        let content = segments_and_intents(stage, patient);
        let intent = content.keys().find(|key| key[0] == b'w').unwrap();
        let value = &content[intent];
        raw::put(&stage.storage, &[&intent[..17], &[7; 16]].concat(), value);
        let named = raw::objects_of(&stage.storage, b"r")
            .into_iter()
            .find(|(key, value)| value[2] == 2 && key[1..17] == intent[1..17]);
        let (_, named) = named.unwrap();
        let beside = [&intent[..17], &named[96..112]].concat();
        raw::put(&stage.storage, &beside, value);
        if patient == "MRN-2" {
            raw::delete(&stage.storage, intent);
        }
    }
    model
}

const FREED: (u64, u64) = (2 * 2, 3 + 2);

fn collection_interrupted_at_any_step_can_be_repeated(stage: &Stage) {
    let model = every_kind_of_garbage(stage);
    let before = raw::objects(&stage.storage);
    let time = START + 8 * DAY;
    let report = collect_and_compare(stage, time);
    assert_eq!((report.segments, report.uploads), FREED);
    let after = raw::objects(&stage.storage);
    let failure = FaultAction::Fail(StorageError::Full);
    for step in (0..).step_by(stage.stride) {
        for action in [failure, FaultAction::Stop, FaultAction::StopAfter] {
            raw::reset(&stage.storage, &before);
            let hook = action_at(step, action);
            let (vault, _) = open_at(stage, time, hook);
            match vault.collect_garbage() {
                Err(Error::Storage(_) | Error::Journal(_) | Error::CommitUnknown) => {}
                Ok(_) if action == failure => {
                    assert!(step > 20, "{step}");
                    model.verify(&vault_at(stage, time));
                    return;
                }
                other => panic!("{other:?}"),
            }
            let left = collect_and_compare(stage, time);
            assert!(left.segments <= FREED.0 && left.uploads <= FREED.1);
            assert!(raw::objects(&stage.storage) == after);
        }
    }
}

/// Makes the outcome of deletes unknown: the report must count each applied delete once.
fn collection_with_unknown_outcomes_counts_each_delete_once(stage: &Stage) {
    every_kind_of_garbage(stage);
    let before = raw::objects(&stage.storage);
    let time = START + 8 * DAY;
    let mut commits = 0;
    let clean = vault_at(stage, time).collect_garbage().unwrap();
    for unknown_at in 0.. {
        for outcome in [
            FaultOutcome::Applied,
            FaultOutcome::Lost,
            FaultOutcome::Later,
        ] {
            raw::reset(&stage.storage, &before);
            let deletes = AtomicU64::new(0);
            let (vault, faulty) = open_at(stage, time, move |_, point| match point {
                FaultPoint::Commit(_) if deletes.fetch_add(1, Ordering::SeqCst) == unknown_at => {
                    FaultAction::Unknown(outcome)
                }
                _ => FaultAction::Proceed,
            });
            assert_eq!(vault.collect_garbage().unwrap(), clean);
            commits = commits.max(unknown_at);
            while faulty.land().is_some() {}
            let objects = raw::objects(&stage.storage);
            assert!(Garbage::find(stage, &objects, time).is_empty());
        }
        if unknown_at > FREED.0 + FREED.1 {
            break;
        }
    }
    assert_eq!((clean.segments, clean.uploads), FREED);
}
