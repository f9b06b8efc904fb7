//! Each kind of leftover is made, and freed.

use std::sync::atomic::{AtomicU64, Ordering};

use chartlock::internals::envelope::{INLINE_MAX, SEGMENT};
use chartlock::storage::{FaultAction, FaultOutcome, FaultPoint, StorageError};
use chartlock::{Error, Vault};

use super::{
    DAY, Garbage, THEN, at, before_the_record, changes_nothing, collects_exactly, limit, open_at,
};
use crate::model::{Model, small_clinic, smaller_clinic};
use crate::raw::{self, Objects};
use crate::stage::{Stage, content, record, session, subject, verdict_at};

everywhere!(
    nothing_to_free,
    uploads_broken_off_anywhere,
    reencryptions_broken_off_anywhere,
    late_segments_of_the_erased,
    an_erasure_under_way,
    broken_off_itself_anywhere,
    told_nothing_anywhere,
);

fn nothing_to_free(stage: &Stage) {
    drop(stage.create());
    let vault = at(stage, THEN);
    assert_eq!(vault.collect_garbage(), Ok(Default::default()));
    let model = small_clinic(&vault);
    let report = changes_nothing(stage, THEN + 100 * DAY);
    // Of four subjects three have content in segments.
    assert_eq!((report.charts, report.uploads_under_way), (3, 0));
    assert_eq!(report.charts_passed_over + report.unknown_charts, 0);
    model.verify(&vault);
}

const BREAKS: [FaultAction; 2] = [FaultAction::Stop, FaultAction::StopAfter];

/// Lets `verb` break off at each of its steps, and has what it left collected while it is young and
/// when it is old.
fn broken_off_anywhere(
    stage: &Stage,
    stride: usize,
    verb: impl Fn(&Vault) -> Result<(), Error>,
    check: impl Fn(&Vault),
) {
    let before = raw::objects(&stage.storage);
    let (mut young, mut old) = (0, 0);
    for step in (0..).step_by(stride) {
        for verdict in BREAKS {
            raw::reset(&stage.storage, &before);
            let hook = verdict_at(step, verdict);
            let (vault, _) = open_at(stage, THEN, hook);
            if verb(&vault).is_ok() && verdict == FaultAction::Stop {
                assert!(step >= 6 && young > 0 && old > 0);
                return;
            }
            drop(vault);
            young += collects_exactly(stage, THEN + limit(stage)).uploads_under_way;
            check(&at(stage, THEN));
            old += collects_exactly(stage, THEN + limit(stage) + 1).uploads;
            check(&at(stage, THEN));
            let objects = raw::objects(&stage.storage);
            let left = Garbage::find(stage, &objects, i64::MAX);
            assert!(left.is_empty() && left.under_way == 0, "{left:?}");
        }
    }
}

fn uploads_broken_off_anywhere(stage: &Stage) {
    let id = record("MRN-1", "CT/1");
    let old = content(1, INLINE_MAX + 1);
    session(&stage.create()).put(&id, &old).unwrap();
    let new = content(2, SEGMENT + 1);
    let put = |vault: &Vault| session(vault).put(&id, &new).map(drop);
    broken_off_anywhere(stage, 1, put, |vault| {
        let chart = session(vault);
        let current = chart.get(&id).unwrap().unwrap();
        let first = chart.get_version(&id, 1).unwrap().unwrap();
        assert!(*first == old && (*current == old || *current == new));
    });
}

fn reencryptions_broken_off_anywhere(stage: &Stage) {
    let model = smaller_clinic(&stage.create());
    let patient = subject("MRN-1");
    let reencrypt = |vault: &Vault| vault.reencrypt_subject(&patient).map(drop);
    broken_off_anywhere(stage, stage.stride, reencrypt, |vault| model.verify(vault));
    // Whatever it left, the next one begins afresh, and nothing of it is left either.
    let vault = at(stage, THEN);
    assert_eq!(vault.reencrypt_subject(&patient).unwrap().blocking, 0);
    changes_nothing(stage, THEN + 100 * DAY);
    model.verify(&vault);
}

/// Segments and intents of one patient, as they stand.
fn content_of(stage: &Stage, identifier: &str) -> Objects {
    let mut objects = raw::objects(&stage.storage);
    objects.retain(|key, _| b"sw".contains(&key[0]) && raw::is_of(stage, key, identifier));
    objects
}

fn with_an_upload_of(stage: &Stage, identifier: &str) {
    let (vault, _) = open_at(stage, THEN, before_the_record);
    let id = record(identifier, "CT/upload");
    session(&vault)
        .put(&id, &content(9, SEGMENT + 1))
        .unwrap_err();
}

fn late_segments_of_the_erased(stage: &Stage) {
    drop(stage.create());
    let vault = at(stage, THEN);
    let mut model = small_clinic(&vault);
    with_an_upload_of(stage, "MRN-1");
    let late = content_of(stage, "MRN-1");
    assert_eq!(late.len(), 2 + 2 + 1);
    let patient = subject("MRN-1");
    session(&vault)
        .erase_subject(&patient, "asked for")
        .unwrap();
    session(&vault).reopen_chart(&patient).unwrap();
    model.0.retain(|id, _| *id.subject() != patient);
    let id = record("MRN-1", "CT/large");
    model.put(&session(&vault), &id, &content(5, INLINE_MAX + 1));
    let before = raw::objects(&stage.storage);
    for (key, value) in &late {
        raw::put(&stage.storage, key, value);
    }
    // Of a dead chart all goes, however young.
    let report = at(stage, THEN).collect_garbage().unwrap();
    assert_eq!((report.segments, report.uploads), (4, 1));
    assert_eq!((report.charts, report.uploads_under_way), (4, 0));
    assert!(raw::objects(&stage.storage) == before);
    model.verify(&vault);
}

fn an_erasure_under_way(stage: &Stage) {
    drop(stage.create());
    let mut model = small_clinic(&at(stage, THEN));
    with_an_upload_of(stage, "MRN-1");
    let (vault, _) = open_at(stage, THEN, |_, moment| match moment {
        FaultPoint::Scan(scan) if scan.prefix.len() == 17 => FaultAction::Stop,
        _ => FaultAction::Proceed,
    });
    let patient = subject("MRN-1");
    session(&vault)
        .erase_subject(&patient, "asked for")
        .unwrap_err();
    let report = at(stage, THEN).collect_garbage().unwrap();
    assert_eq!((report.segments, report.uploads), (4, 1));
    let vault = at(stage, THEN);
    let erasure = session(&vault)
        .erase_subject(&patient, "asked for")
        .unwrap();
    assert_eq!((erasure.segments, erasure.uploads), (0, 0));
    model.0.retain(|id, _| *id.subject() != patient);
    model.verify(&vault);
}

/// Garbage of every kind, old: an upload that broke off, another of which only segments are left, an
/// intent beside the record that it names, an intent alone.
fn every_kind(stage: &Stage) -> Model {
    drop(stage.create());
    let vault = at(stage, THEN);
    let model = small_clinic(&vault);
    for patient in ["MRN-1", "MRN-2"] {
        with_an_upload_of(stage, patient);
        let content = content_of(stage, patient);
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

fn broken_off_itself_anywhere(stage: &Stage) {
    let model = every_kind(stage);
    let before = raw::objects(&stage.storage);
    let time = THEN + 8 * DAY;
    let report = collects_exactly(stage, time);
    assert_eq!((report.segments, report.uploads), FREED);
    let after = raw::objects(&stage.storage);
    let failure = FaultAction::Fail(StorageError::Full);
    for step in (0..).step_by(stage.stride) {
        for verdict in [failure, FaultAction::Stop, FaultAction::StopAfter] {
            raw::reset(&stage.storage, &before);
            let hook = verdict_at(step, verdict);
            let (vault, _) = open_at(stage, time, hook);
            match vault.collect_garbage() {
                Err(Error::Storage(_) | Error::CommitUnknown) => {}
                Ok(_) if verdict == failure => {
                    assert!(step > 20, "{step}");
                    model.verify(&at(stage, time));
                    return;
                }
                other => panic!("{other:?}"),
            }
            let left = collects_exactly(stage, time);
            assert!(left.segments <= FREED.0 && left.uploads <= FREED.1);
            assert!(raw::objects(&stage.storage) == after);
        }
    }
}

/// A removal of which nobody says whether it happened is counted once, if it did.
fn told_nothing_anywhere(stage: &Stage) {
    every_kind(stage);
    let before = raw::objects(&stage.storage);
    let time = THEN + 8 * DAY;
    let mut commits = 0;
    let clean = at(stage, time).collect_garbage().unwrap();
    for unsure in 0.. {
        for landing in [
            FaultOutcome::Applied,
            FaultOutcome::Lost,
            FaultOutcome::Later,
        ] {
            raw::reset(&stage.storage, &before);
            let removals = AtomicU64::new(0);
            let (vault, faulty) = open_at(stage, time, move |_, moment| match moment {
                FaultPoint::Commit(_) if removals.fetch_add(1, Ordering::SeqCst) == unsure => {
                    FaultAction::Unknown(landing)
                }
                _ => FaultAction::Proceed,
            });
            assert_eq!(vault.collect_garbage().unwrap(), clean);
            commits = commits.max(unsure);
            while faulty.land().is_some() {}
            let objects = raw::objects(&stage.storage);
            assert!(Garbage::find(stage, &objects, time).is_empty());
        }
        if unsure > FREED.0 + FREED.1 {
            break;
        }
    }
    assert_eq!((clean.segments, clean.uploads), FREED);
}
