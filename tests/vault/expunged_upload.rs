//! A large put and an expunge of the same record, where operations land one by one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use chartlock::internals::envelope::INLINE_MAX;
use chartlock::storage::{FaultAction, FaultPoint, Faulty, Operation, PerOperation};

use crate::common::Fixed;
use crate::expunge::{WHY, assert_goes_on};
use crate::model::smaller_clinic;
use crate::stage::{Stage, content, record, session};

/// Holds up whoever comes first to a step of a kind, until let go.
struct Gate {
    reached: Barrier,
    released: Barrier,
    done: AtomicBool,
}

impl Gate {
    fn new() -> Self {
        Self {
            reached: Barrier::new(2),
            released: Barrier::new(2),
            done: AtomicBool::new(false),
        }
    }

    fn hold_up(&self) {
        if !self.done.swap(true, Ordering::SeqCst) {
            self.reached.wait();
            self.released.wait();
        }
    }
}

/// A put whose version stood for a moment, and was expunged before
/// its last check failed, must not name what goes with it, though all of it may still be there.
#[test]
fn an_upload_that_was_expunged_is_not_named_again() {
    let stage = Stage::per_operation();
    smaller_clinic(&stage.create());
    let id = record("MRN-1", "CT/large");
    let large = content(5, INLINE_MAX + 100);
    let (putting, sweeping) = (Arc::new(Gate::new()), Arc::new(Gate::new()));
    let gate = Arc::clone(&putting);
    let landed = AtomicBool::new(false);
    // Each operation is a commit of its own here.
    let storage = PerOperation::new(Faulty::new(stage.shared(), move |_, moment| {
        match moment {
            FaultPoint::Commit([Operation::Put { key, .. }]) if key[0] == b'r' => {
                landed.store(true, Ordering::SeqCst);
            }
            FaultPoint::Commit([Operation::Check { key, .. }])
                if key[0] == b'p' && landed.load(Ordering::SeqCst) =>
            {
                gate.hold_up();
            }
            _ => {}
        }
        FaultAction::Proceed
    }));
    let options = stage.options().without_journal();
    let slow = options.open(storage, &Fixed(1)).unwrap();
    let gate = Arc::clone(&sweeping);
    let (sweeper, _) = stage.open_with(move |_, moment| {
        if matches!(moment, FaultPoint::Commit([Operation::Delete { .. }])) {
            gate.hold_up();
        }
        FaultAction::Proceed
    });
    let (id, large) = (&id, &large);
    thread::scope(|scope| {
        let put = scope.spawn(move || session(&slow).put(id, large));
        putting.reached.wait();
        let vault = stage.open();
        assert_eq!(session(&vault).get(id).unwrap().unwrap().version(), 3);
        let sweep = scope.spawn(move || session(&sweeper).expunge(id, WHY));
        sweeping.reached.wait();
        // The writer's last check fails; the marker stands, and nothing is swept yet.
        vault.rotate_subject_key(id.subject()).unwrap();
        putting.released.wait();
        assert_eq!(put.join().unwrap(), Ok(5));
        sweeping.released.wait();
        sweep.join().unwrap().unwrap();
    });
    assert_goes_on(&stage.open(), id, 4, &[large]);
}
