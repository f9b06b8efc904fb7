//! Race between a large put and an expunge of the same record, on a storage without transactions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use chartlock::internals::envelope::INLINE_MAX;
use chartlock::storage::{FaultAction, FaultPoint, Faulty, Operation, PerOperation};

use crate::common::Fixed;
use crate::expunge::{WHY, assert_follows_marker};
use crate::model::smaller_clinic;
use crate::stage::{Stage, content, record, session_on};

/// Blocks the first caller of `block` until the test releases it.
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

    fn block(&self) {
        if !self.done.swap(true, Ordering::SeqCst) {
            self.reached.wait();
            self.released.wait();
        }
    }
}

/// Expunges the put's version before the put's last check fails. The put must not reference the
/// expunged segments again, even if the storage still contains them.
#[test]
fn upload_expunged_before_last_check_is_not_referenced_again() {
    let stage = Stage::per_operation();
    smaller_clinic(&stage.create());
    let id = record("MRN-1", "CT/large");
    let large = content(5, INLINE_MAX + 100);
    let (putting, deleting) = (Arc::new(Gate::new()), Arc::new(Gate::new()));
    let gate = Arc::clone(&putting);
    let landed = AtomicBool::new(false);
    // On this storage, each operation is a separate commit.
    let storage = PerOperation::new(Faulty::new(stage.shared(), move |_, point| {
        match point {
            FaultPoint::Commit([Operation::Put { key, .. }]) if key[0] == b'r' => {
                landed.store(true, Ordering::SeqCst);
            }
            FaultPoint::Commit([Operation::Check { key, .. }])
                if key[0] == b'p' && landed.load(Ordering::SeqCst) =>
            {
                gate.block();
            }
            _ => {}
        }
        FaultAction::Proceed
    }));
    let options = stage.options().without_journal();
    let slow = options.open(storage, &Fixed(1)).unwrap();
    let gate = Arc::clone(&deleting);
    let (expunger, _) = stage.open_with(move |_, point| {
        if matches!(point, FaultPoint::Commit([Operation::Delete { .. }])) {
            gate.block();
        }
        FaultAction::Proceed
    });
    let (id, large) = (&id, &large);
    thread::scope(|scope| {
        let put = scope.spawn(move || session_on(&slow).put(id, large));
        putting.reached.wait();
        let vault = stage.open();
        assert_eq!(session_on(&vault).get(id).unwrap().unwrap().version(), 3);
        let expunge = scope.spawn(move || session_on(&expunger).expunge(id, WHY));
        deleting.reached.wait();
        // The writer's last check fails while the marker is stored and no segment is deleted yet.
        vault.rotate_subject_key(id.subject()).unwrap();
        putting.released.wait();
        assert_eq!(put.join().unwrap(), Ok(5));
        deleting.released.wait();
        expunge.join().unwrap().unwrap();
    });
    assert_follows_marker(&stage.open(), id, 4, &[large]);
}
