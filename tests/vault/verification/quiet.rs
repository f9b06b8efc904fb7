//! No false alarm: whatever was done, and wherever it broke off.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chartlock::storage::{FaultAction, FaultOutcome, FaultPoint};
use chartlock::{
    Document, Error, Vault,
    progress::{Phase, ProgressUpdate},
    verify::VerifyPosition,
};

use super::{clinic, is_clean, verify};
use crate::model::small_clinic;
use crate::raw;
use crate::stage::{Stage, content, record, session, subject};

everywhere!(
    after_everything_that_can_be_done,
    after_a_crash_anywhere,
    after_answers_that_were_lost,
    after_commits_that_were_lost,
    step_by_step,
);

fn after_everything_that_can_be_done(stage: &Stage) {
    let vault = stage.create();
    assert!(vault.verify(None).unwrap().is_clean());
    small_clinic(&vault);
    is_clean(stage);
    everything(&vault).unwrap();
    let report = vault.verify(None).unwrap();
    assert!(
        report.is_clean() && report.leftovers.is_empty(),
        "{report:#?}"
    );
    drop(vault);
    let pages = raw::objects_of(&stage.storage, b"j").len() as u64;
    let report = verify(stage);
    assert!(report.is_clean(), "{report:#?}");
    let census = stage.open().key_usage().unwrap();
    let walked = report.counts;
    assert_eq!(
        (walked.subjects, walked.erased),
        (census.subjects, census.erased)
    );
    assert_eq!(walked.records, census.records);
    assert_eq!(walked.earlier_versions, census.earlier_versions);
    assert!(walked.pages >= pages && walked.entries >= walked.pages);
    assert_eq!(
        walked.segments,
        raw::objects_of(&stage.storage, b"s").len() as u64
    );
}

/// Every kind of change.
fn everything(vault: &Vault) -> Result<(), Error> {
    let chart = session(vault);
    chart.put(&record("MRN-1", "Allergy/1"), b"penicillin")?;
    chart.put(&record("MRN-8", "Allergy/1"), b"none")?;
    chart.put(&record("MRN-1", "CT/2"), &content(5, 70_000))?;
    chart.retract(&record("MRN-2", "Allergy/1"))?;
    let ids = [record("MRN-1", "Allergy/1"), record("MRN-1", "Batch/2")];
    let batch = ids.iter().map(|id| (id, Document::new(b"batch")));
    chart
        .put_many(batch)?
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    chart.expunge(&record("MRN-1", "CT/2"), "of another patient")?;
    chart.put(&record("MRN-1", "CT/2"), &content(6, 70_000))?;
    vault.rotate_subject_key(&subject("MRN-1"))?;
    vault.rotate_master_key()?;
    chart.put(&record("MRN-1", "Allergy/1"), b"penicillin, latex")?;
    vault.reencrypt_subject(&subject("MRN-1"))?;
    let hold = chart.place_hold(&subject("MRN-2"), "subpoena")?;
    chart.lift_hold(&subject("MRN-2"), hold)?;
    chart.erase_subject(&subject("MRN-2"), "the patient asked")?;
    chart.reopen_chart(&subject("MRN-2"))?;
    chart.put(&record("MRN-2", "Allergy/1"), b"latex")?;
    vault.collect_garbage()?;
    vault.checkpoint()?;
    Ok(())
}

/// Does everything in a process in which `verdict` strikes at each step in turn; then another process
/// verifies, goes on, and verifies again.
fn struck(
    stage: &Stage,
    stride: usize,
    verdict: impl Fn(&FaultPoint<'_>) -> FaultAction + Copy + Send + Sync + 'static,
) {
    clinic(&stage.create());
    let before = raw::everything(&stage.storage);
    let (vault, faulty) = stage.open_with(|_, _| FaultAction::Proceed);
    everything(&vault).unwrap();
    drop(vault);
    let steps = faulty.steps();
    for strike in (1..steps).step_by(stride * stage.stride) {
        raw::reset(&stage.storage, &before);
        let (vault, _) = stage.open_with(move |step, moment| match step == strike {
            true => verdict(moment),
            false => FaultAction::Proceed,
        });
        let _ = everything(&vault);
        drop(vault);
        let report = verify(stage);
        assert!(report.is_clean(), "at step {strike}: {report:#?}");
        let again = stage.open();
        let _ = everything(&again);
        let report = again.verify(None).unwrap();
        assert!(report.is_clean(), "after step {strike}: {report:#?}");
    }
}

fn after_a_crash_anywhere(stage: &Stage) {
    struck(stage, 5, |_| FaultAction::Stop);
    raw::reset(&stage.storage, &raw::Objects::new());
    struck(stage, 7, |_| FaultAction::StopAfter);
}

fn after_answers_that_were_lost(stage: &Stage) {
    struck(stage, 7, |moment| match moment {
        FaultPoint::Commit(_) => FaultAction::Unknown(FaultOutcome::Applied),
        _ => FaultAction::Proceed,
    });
}

fn after_commits_that_were_lost(stage: &Stage) {
    struck(stage, 7, |moment| match moment {
        FaultPoint::Commit(_) => FaultAction::Unknown(FaultOutcome::Lost),
        _ => FaultAction::Proceed,
    });
}

/// One that goes on where another stood finds what is behind that.
fn step_by_step(stage: &Stage) {
    let vault = stage.create();
    small_clinic(&vault);
    let told = Arc::new(AtomicU64::new(0));
    let watcher = Arc::clone(&told);
    let vault = vault.with_progress(move |step: ProgressUpdate| {
        assert_eq!(step.phase, Phase::Verifying);
        assert!(watcher.swap(step.done, Ordering::SeqCst) <= step.done);
    });
    let mut steps = vault.verification().max_facts(1);
    let mut walked = vec![(steps.position(), 0)];
    while steps.step().unwrap() {
        walked.push((steps.position(), steps.report().counts.records));
    }
    assert!(steps.report().is_clean());
    assert!(told.load(Ordering::SeqCst) > 0);
    told.store(0, Ordering::SeqCst);
    let records = steps.report().counts.records;
    assert!(records > 0 && walked.len() > 6, "{walked:?}");
    for (position, before) in &walked {
        let kept: VerifyPosition = position.to_string().parse().unwrap();
        assert_eq!(kept, *position);
        let rest = vault.verification().from(kept).finish().unwrap();
        assert!(rest.is_clean());
        assert_eq!(rest.counts.records + before, records);
        told.store(0, Ordering::SeqCst);
    }
    assert_eq!(steps.position().to_string(), "end");
    assert_eq!(
        "charts-12345".parse::<VerifyPosition>(),
        Err(Error::BadCheckpoint)
    );
}
