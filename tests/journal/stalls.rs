//! Journaling on storage that stalls, and the background flusher of queued entries.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use chartlock::storage::{FaultAction, StorageError};
use chartlock::{Journaling, Operation, Vault, VaultOptions, access::AccessOutcome};

use crate::common::Fixed;
use crate::stage::{Stage, record, session, writes_page};

/// Gate that blocks each write of a journal page while it is closed.
#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
    blocked: AtomicBool,
}

impl Gate {
    fn pass(&self) {
        let mut closed = self.closed.lock().unwrap();
        while *closed {
            self.blocked.store(true, Ordering::SeqCst);
            closed = self.opened.wait(closed).unwrap();
        }
    }

    fn set(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.opened.notify_all();
    }

    /// Waits until the gate blocks a write.
    fn wait(&self) {
        while !self.blocked.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Returns a vault with one record, and an open gate through which the vault writes journal pages.
fn vault_with_gate(stage: &Stage, mode: Journaling) -> (Vault, Arc<Gate>) {
    let id = record("MRN-1", "a");
    session(&stage.create_in(mode)).put(&id, b"a").unwrap();
    let gate = Arc::new(Gate::default());
    let hook = Arc::clone(&gate);
    let faulty = stage.faulty(move |_, point| {
        if writes_page(point) {
            hook.pass();
        }
        FaultAction::Proceed
    });
    (stage.open_on(&faulty, mode), gate)
}

fn reads(stage: &Stage) -> usize {
    let lines = stage.settled().into_iter();
    let read = lines.filter(|line| line.is(Operation::Read, AccessOutcome::Done));
    read.count()
}

#[test]
fn grouped_reads_on_stalled_storage_wait_after_one_second() {
    let stage = Stage::memory();
    let (vault, gate) = vault_with_gate(&stage, Journaling::Grouped);
    let id = record("MRN-1", "a");
    // The first entry of an opening is written before the read is released.
    assert!(session(&vault).get(&id).unwrap().is_some());
    gate.set(true);
    // A put stalls, and reads continue.
    thread::scope(|scope| {
        let put = scope.spawn(|| session(&vault).put(&id, b"b"));
        gate.wait();
        for _ in 0..10 {
            assert!(session(&vault).get(&id).unwrap().is_some());
        }
        // After one second, reads wait as well.
        stage.clock.advance(1_000);
        let read = scope.spawn(|| session(&vault).get(&id).unwrap().is_some());
        thread::sleep(Duration::from_millis(100));
        assert!(!read.is_finished() && !put.is_finished());
        assert_eq!(reads(&stage), 1);
        gate.set(false);
        assert_eq!(put.join().unwrap(), Ok(2));
        assert!(read.join().unwrap());
    });
    assert_eq!(reads(&stage), 12);
}

#[test]
fn strict_reads_on_stalled_storage_wait_at_once() {
    let stage = Stage::memory();
    let (vault, gate) = vault_with_gate(&stage, Journaling::Strict);
    let id = record("MRN-1", "a");
    gate.set(true);
    thread::scope(|scope| {
        let read = scope.spawn(|| session(&vault).get(&id).unwrap().is_some());
        gate.wait();
        assert!(!read.is_finished());
        gate.set(false);
        assert!(read.join().unwrap());
    });
    assert_eq!(reads(&stage), 1);
}

/// Returns a vault with the background flusher, on the system's clock.
fn with_background(stage: &Stage, mode: Journaling, fails: &Arc<AtomicBool>) -> Vault {
    let switch = Arc::clone(fails);
    let faulty = stage.faulty(move |_, point| {
        if switch.load(Ordering::SeqCst) && writes_page(point) {
            return FaultAction::Fail(StorageError::Full);
        }
        FaultAction::Proceed
    });
    let options = VaultOptions::new().journaling(mode);
    options.open(faulty, &Fixed(1)).unwrap()
}

/// Waits for a background event, without a time limit because the machine may be slow.
fn eventually(happened: impl Fn() -> bool) {
    while !happened() {
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn background_flusher_writes_queued_entries() {
    let stage = Stage::memory();
    let id = record("MRN-1", "a");
    session(&stage.create_in(Journaling::Grouped))
        .put(&id, b"a")
        .unwrap();
    let fails = Arc::default();
    let vault = with_background(&stage, Journaling::Grouped, &fails);
    assert!(session(&vault).get(&id).unwrap().is_some());
    eventually(|| reads(&stage) == 1);
    // The same thread must write entries again after a failed write.
    fails.store(true, Ordering::SeqCst);
    assert!(session(&vault).get(&id).unwrap().is_some());
    eventually(|| session(&vault).get(&id).is_err());
    fails.store(false, Ordering::SeqCst);
    eventually(|| reads(&stage) >= 2);
}

#[test]
fn background_flusher_writes_strict_entries_of_refused_puts() {
    let stage = Stage::memory();
    let id = record("MRN-1", "a");
    session(&stage.create_in(Journaling::Strict))
        .put(&id, b"a")
        .unwrap();
    let vault = with_background(&stage, Journaling::Strict, &Arc::default());
    let unlikely = chartlock::Precondition::Version(9);
    assert!(session(&vault).put_if(&id, unlikely, b"b").is_err());
    let refused = || {
        let lines = stage.settled().into_iter();
        lines
            .filter(|line| line.is(Operation::Put, AccessOutcome::Refused))
            .count()
    };
    eventually(|| refused() == 1);
}

#[test]
fn vault_lock_on_stalled_storage_wipes_keys() {
    let stage = Stage::memory();
    let id = record("MRN-1", "a");
    let (vault, gate) = vault_with_gate(&stage, Journaling::Grouped);
    assert!(session(&vault).get(&id).unwrap().is_some());
    gate.set(true);
    thread::scope(|scope| {
        let lock = scope.spawn(|| vault.lock());
        gate.wait();
        assert!(!lock.is_finished());
        assert_eq!(
            session(&vault).get(&id).unwrap_err(),
            chartlock::Error::Locked
        );
        gate.set(false);
    });
    // The queued entry was written although the vault was locked.
    assert_eq!(reads(&stage), 1);
}
