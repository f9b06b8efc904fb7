//! Fault injection of [`Faulty`], which must inject exactly the faults that a test requests.

use std::io;
use std::sync::{Arc, Mutex, mpsc};

use chartlock::storage::{
    CommitError, Expect, FaultAction, FaultOutcome, FaultPoint, Faulty, MemoryStorage,
    PerOperation, Storage, StorageError, Transaction,
};

use crate::common::objects::keys_of;

fn put(key: &[u8]) -> Transaction {
    Transaction::new().put(key, b"value", Expect::Absent)
}

fn three() -> Transaction {
    put(b"1").put(b"2", b"", Expect::Any).delete(b"3")
}

#[test]
fn faulty_steps_count_transactions_or_operations() {
    let whole = Faulty::new(MemoryStorage::new(), |_, _| FaultAction::Proceed);
    whole.commit(&[three(), put(b"4")]);
    whole.read(&[b"1", b"2"]).unwrap();
    assert_eq!(whole.steps(), 3);
    let single = Faulty::new(PerOperation::new(MemoryStorage::new()), |_, _| {
        FaultAction::Proceed
    });
    single.commit(&[three(), put(b"4")]);
    single.read(&[b"1", b"2"]).unwrap();
    assert_eq!(single.steps(), 6);
}

#[test]
fn fault_stop_before_or_after_step_applies_expected_operations() {
    for (action, remaining) in [(FaultAction::Stop, 1), (FaultAction::StopAfter, 2)] {
        let inner = Arc::new(MemoryStorage::new());
        let faulty = Faulty::new(PerOperation::new(inner.clone()), move |step, _| {
            if step == 1 {
                action
            } else {
                FaultAction::Proceed
            }
        });
        assert!(faulty.commit(&[three()])[0].is_err());
        assert_eq!(keys_of(&inner, b"").len(), remaining);
        assert_eq!(faulty.read(&[b"1"]), Err(StorageError::Stopped));
        assert_eq!(
            faulty.commit(&[put(b"9")]),
            [Err(CommitError::Io(StorageError::Stopped))]
        );
    }
}

#[test]
fn injected_unknown_outcome_is_applied_lost_or_late() {
    for (outcome, at_once, later) in [
        (FaultOutcome::Applied, 1, 1),
        (FaultOutcome::Lost, 0, 0),
        (FaultOutcome::Later, 0, 1),
    ] {
        let faulty = Faulty::new(MemoryStorage::new(), move |_, point| match point {
            FaultPoint::Commit(_) => FaultAction::Unknown(outcome),
            _ => FaultAction::Proceed,
        });
        assert_eq!(faulty.commit(&[put(b"1")]), [Err(CommitError::Unknown)]);
        assert_eq!(keys_of(&faulty, b"").len(), at_once);
        assert_eq!(faulty.under_way(), later - at_once);
        faulty.stop();
        assert_eq!(faulty.land().is_some(), outcome == FaultOutcome::Later);
        assert_eq!(keys_of(faulty.inner(), b"").len(), later);
    }
}

#[test]
fn injected_late_commit_checks_its_precondition() {
    let faulty = Faulty::new(MemoryStorage::new(), |step, _| match step {
        0 => FaultAction::Unknown(FaultOutcome::Later),
        _ => FaultAction::Proceed,
    });
    faulty.commit(&[put(b"1")]);
    assert!(faulty.commit(&[put(b"1")])[0].is_ok());
    assert_eq!(
        faulty.land(),
        Some(Err(CommitError::Conflict { operation: 0 }))
    );
}

#[test]
fn injected_failure_and_timeout_are_returned() {
    let faulty = Faulty::new(MemoryStorage::new(), |step, _| match step {
        0 => FaultAction::Fail(StorageError::Full),
        1 => FaultAction::Unknown(FaultOutcome::Lost),
        _ => FaultAction::Proceed,
    });
    assert_eq!(
        faulty.commit(&[put(b"1")]),
        [Err(CommitError::Io(StorageError::Full))]
    );
    assert_eq!(
        faulty.read(&[b"1"]),
        Err(StorageError::Io(io::ErrorKind::TimedOut))
    );
    assert_eq!(faulty.read(&[b"1"]), Ok(vec![None]));
}

#[test]
fn injected_stalled_commit_conflicts_with_faster_commit() {
    let shared = Arc::new(MemoryStorage::new());
    let (release, stalled) = mpsc::channel::<()>();
    let stalled = Mutex::new(stalled);
    let slow = Faulty::new(shared.clone(), move |_, _| {
        stalled.lock().unwrap().recv().unwrap();
        FaultAction::Proceed
    });
    let quick = Faulty::new(shared, |_, _| FaultAction::Proceed);
    std::thread::scope(|scope| {
        let late = scope.spawn(|| slow.commit(&[put(b"1")]));
        assert!(quick.commit(&[put(b"1")])[0].is_ok());
        release.send(()).unwrap();
        assert_eq!(
            late.join().unwrap(),
            [Err(CommitError::Conflict { operation: 0 })]
        );
    });
}
