//! False alarms: verify reports no finding after any operation and any interruption.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chartlock::storage::{FaultAction, FaultOutcome, FaultPoint};
use chartlock::{
    Document, Error, Vault,
    progress::{Phase, ProgressUpdate},
    verify::VerifyPosition,
};

use super::{assert_clean, clinic, verify};
use crate::model::small_clinic;
use crate::raw;
use crate::stage::{Stage, content, record, session_on, subject};

everywhere!(
    verify_after_every_operation_is_clean,
    verify_after_crash_at_any_step_is_clean,
    verify_after_lost_replies_is_clean,
    verify_after_lost_commits_is_clean,
    verify_in_steps_resumes_from_any_position,
);

fn verify_after_every_operation_is_clean(stage: &Stage) {
    let vault = stage.create();
    assert!(vault.verify(None).unwrap().is_clean());
    small_clinic(&vault);
    assert_clean(stage);
    every_operation(&vault).unwrap();
    let report = vault.verify(None).unwrap();
    assert!(
        report.is_clean() && report.leftovers.is_empty(),
        "{report:#?}"
    );
    drop(vault);
    let pages = raw::objects_of(&stage.storage, b"j").len() as u64;
    let report = verify(stage);
    assert!(report.is_clean(), "{report:#?}");
    let usage = stage.open().key_usage().unwrap();
    let visited = report.counts;
    assert_eq!(
        (visited.subjects, visited.erased),
        (usage.subjects, usage.erased)
    );
    assert_eq!(visited.records, usage.records);
    assert_eq!(visited.earlier_versions, usage.earlier_versions);
    assert!(visited.pages >= pages && visited.entries >= visited.pages);
    assert_eq!(
        visited.segments,
        raw::objects_of(&stage.storage, b"s").len() as u64
    );
}

/// Runs every operation that changes a vault.
fn every_operation(vault: &Vault) -> Result<(), Error> {
    let session = session_on(vault);
    session.put(&record("MRN-1", "Allergy/1"), b"penicillin")?;
    session.put(&record("MRN-8", "Allergy/1"), b"none")?;
    session.put(&record("MRN-1", "CT/2"), &content(5, 70_000))?;
    session.retract(&record("MRN-2", "Allergy/1"))?;
    let ids = [record("MRN-1", "Allergy/1"), record("MRN-1", "Batch/2")];
    let batch = ids.iter().map(|id| (id, Document::new(b"batch")));
    session
        .put_many(batch)?
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    session.expunge(&record("MRN-1", "CT/2"), "of another patient")?;
    session.put(&record("MRN-1", "CT/2"), &content(6, 70_000))?;
    vault.rotate_subject_key(&subject("MRN-1"))?;
    vault.rotate_master_key()?;
    session.put(&record("MRN-1", "Allergy/1"), b"penicillin, latex")?;
    vault.reencrypt_subject(&subject("MRN-1"))?;
    let hold = session.place_hold(&subject("MRN-2"), "subpoena")?;
    session.lift_hold(&subject("MRN-2"), hold)?;
    session.erase_subject(&subject("MRN-2"), "the patient asked")?;
    session.reopen_chart(&subject("MRN-2"))?;
    session.put(&record("MRN-2", "Allergy/1"), b"latex")?;
    vault.collect_garbage()?;
    vault.checkpoint()?;
    Ok(())
}

/// Runs every operation in a process with a fault at each step in turn. Another process verifies,
/// repeats the operations and verifies again.
fn verify_after_faults(
    stage: &Stage,
    stride: usize,
    action: impl Fn(&FaultPoint<'_>) -> FaultAction + Copy + Send + Sync + 'static,
) {
    clinic(&stage.create());
    let before = raw::all_objects(&stage.storage);
    let (vault, faulty) = stage.open_with(|_, _| FaultAction::Proceed);
    every_operation(&vault).unwrap();
    drop(vault);
    let steps = faulty.steps();
    for fault_step in (1..steps).step_by(stride * stage.stride) {
        raw::reset(&stage.storage, &before);
        let (vault, _) = stage.open_with(move |step, point| match step == fault_step {
            true => action(point),
            false => FaultAction::Proceed,
        });
        let _ = every_operation(&vault);
        drop(vault);
        let report = verify(stage);
        assert!(report.is_clean(), "at step {fault_step}: {report:#?}");
        let again = stage.open();
        let _ = every_operation(&again);
        let report = again.verify(None).unwrap();
        assert!(report.is_clean(), "after step {fault_step}: {report:#?}");
    }
}

fn verify_after_crash_at_any_step_is_clean(stage: &Stage) {
    verify_after_faults(stage, 5, |_| FaultAction::Stop);
    raw::reset(&stage.storage, &raw::Objects::new());
    verify_after_faults(stage, 7, |_| FaultAction::StopAfter);
}

fn verify_after_lost_replies_is_clean(stage: &Stage) {
    verify_after_faults(stage, 7, |point| match point {
        FaultPoint::Commit(_) => FaultAction::Unknown(FaultOutcome::Applied),
        _ => FaultAction::Proceed,
    });
}

fn verify_after_lost_commits_is_clean(stage: &Stage) {
    verify_after_faults(stage, 7, |point| match point {
        FaultPoint::Commit(_) => FaultAction::Unknown(FaultOutcome::Lost),
        _ => FaultAction::Proceed,
    });
}

/// Resumes verification from every recorded position. The resumed verification must cover exactly
/// the remaining records.
fn verify_in_steps_resumes_from_any_position(stage: &Stage) {
    let vault = stage.create();
    small_clinic(&vault);
    let last_done = Arc::new(AtomicU64::new(0));
    let watcher = Arc::clone(&last_done);
    let vault = vault.with_progress(move |step: ProgressUpdate| {
        assert_eq!(step.phase, Phase::Verifying);
        assert!(watcher.swap(step.done, Ordering::SeqCst) <= step.done);
    });
    let mut steps = vault.verification().max_facts(1);
    let mut visited = vec![(steps.position(), 0)];
    while steps.step().unwrap() {
        visited.push((steps.position(), steps.report().counts.records));
    }
    assert!(steps.report().is_clean());
    assert!(last_done.load(Ordering::SeqCst) > 0);
    last_done.store(0, Ordering::SeqCst);
    let records = steps.report().counts.records;
    assert!(records > 0 && visited.len() > 6, "{visited:?}");
    for (position, before) in &visited {
        let kept: VerifyPosition = position.to_string().parse().unwrap();
        assert_eq!(kept, *position);
        let rest = vault.verification().from(kept).finish().unwrap();
        assert!(rest.is_clean());
        assert_eq!(rest.counts.records + before, records);
        last_done.store(0, Ordering::SeqCst);
    }
    assert_eq!(steps.position().to_string(), "end");
    assert_eq!(
        "charts-12345".parse::<VerifyPosition>(),
        Err(Error::BadCheckpoint)
    );
}
