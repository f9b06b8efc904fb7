//! The explorer can fail: each rule of the order of writes is left out once, and missed.

use chartlock::Journaling;

use crate::mutation::Mutation;
use crate::report::report;
use crate::scenario::{Outcome, Scenario, explore};
use crate::scenarios::{BEFORE_CURRENT, CRASH, UNKNOWN};
use crate::verbs::{Record, Verb, Verb::*};

const X: Record = (0, 0);
const Y: Record = (0, 1);
const NEW: Record = (1, 0);
const ONE: &[Verb] = &[Put(X)];

const PUT_PUT: Scenario = Scenario::new("put, put", ONE, &[&[Put(X)], &[Put(X)]]);
const ERASE_PUT: Scenario = Scenario::new("erase, put", ONE, &[&[Erase(0)], &[Put(Y)]]);
const ROTATE_PUT: Scenario = Scenario::new(
    "rotate patient, put",
    ONE,
    &[&[RotatePatient(0)], &[Put(Y)]],
);
const ERASE_ROTATE: Scenario = Scenario::new(
    "erase, rotate patient",
    ONE,
    &[&[Erase(0)], &[RotatePatient(0)]],
);
const HOLD_ERASE: Scenario = Scenario::new("hold, erase", ONE, &[&[Hold(0)], &[Erase(0)]]);
const HOLD_MASTER: Scenario =
    Scenario::new("hold, rotate master", ONE, &[&[Hold(0)], &[RotateMaster]]);
const MASTER_NEW: Scenario = Scenario::new(
    "rotate master, put (new)",
    ONE,
    &[&[RotateMaster], &[Put(NEW)]],
);
const MASTER_MASTER: Scenario = Scenario::new(
    "rotate master, rotate master",
    ONE,
    &[&[RotateMaster], &[RotateMaster]],
);
const PUT_ROTATE_PUT: Scenario = Scenario::new(
    "put, put rotate patient",
    ONE,
    &[&[Put(X)], &[Put(X), RotatePatient(0)]],
);
const PUT_AND_ROTATE: Scenario = Scenario::new(
    "put put, rotate patient",
    ONE,
    &[&[Put(X)], &[RotatePatient(0)]],
);

const LARGE: &[Verb] = &[PutLarge(X)];
const SWEEP_LARGE: Scenario = Scenario::new(
    "put large (next), sweep",
    LARGE,
    &[&[PutLarge(X)], &[Sweep]],
);
const SWEEP_AHEAD: Scenario = Scenario::new(
    "put large, sweep ahead",
    ONE,
    &[&[PutLarge(X)], &[SweepAhead]],
);
const SWEEP_MOVED: Scenario = Scenario::new("put over large, sweep", LARGE, &[&[Put(X)], &[Sweep]]);

fn without(mutation: Mutation, scenario: Scenario) -> Outcome {
    report(&scenario.mutation(mutation).most(50_000))
}

fn is_missed(mutation: Mutation, scenario: Scenario) {
    let outcome = without(mutation, scenario);
    assert!(outcome.violation.is_some(), "{mutation:?} goes unnoticed");
}

#[test]
fn the_check_of_the_entry() {
    is_missed(Mutation::EntryUnchecked, ERASE_PUT);
    is_missed(Mutation::EntryUnchecked, ROTATE_PUT.transactional());
    is_missed(Mutation::EntryCheckedFirst, ERASE_PUT);
}

/// With transactions there is no grace, so nothing else holds a new entry to the header's keys.
#[test]
fn the_check_of_the_header() {
    is_missed(Mutation::HeaderUnchecked, MASTER_NEW.transactional());
}

/// Without transactions the grace does what `?v` does: it is a second line only.
#[test]
fn the_check_of_the_header_beside_a_grace() {
    for scenario in [MASTER_NEW, MASTER_MASTER] {
        assert_eq!(without(Mutation::HeaderUnchecked, scenario).violation, None);
    }
}

#[test]
fn the_version_that_moves_aside() {
    is_missed(Mutation::EarlierSkipped, PUT_PUT);
    is_missed(Mutation::EarlierLast, PUT_PUT.faults(CRASH));
    is_missed(Mutation::EarlierAny, PUT_ROTATE_PUT.endless());
    is_missed(Mutation::HistoryUnlisted, PUT_AND_ROTATE);
}

#[test]
fn conflicts() {
    is_missed(Mutation::CurrentAny, PUT_PUT);
    is_missed(Mutation::EntryAny, ERASE_ROTATE);
    is_missed(Mutation::EntryAny, HOLD_ERASE);
    is_missed(Mutation::EntryAny, HOLD_MASTER.transactional());
    is_missed(Mutation::HeaderAny, MASTER_MASTER);
    is_missed(
        Mutation::UnknownIsConflict,
        PUT_PUT.transactional().faults(UNKNOWN),
    );
}

#[test]
fn time() {
    // A put that goes on replaces what it left under a key that is gone; one that dies does not.
    is_missed(Mutation::NoGrace, ROTATE_PUT.faults(CRASH));
    is_missed(Mutation::CachesForEver, ROTATE_PUT.faults(CRASH));
}

#[test]
fn the_fence_of_a_sweep() {
    let ahead = SWEEP_AHEAD.transactional();
    assert_eq!(without(Mutation::None, ahead.most(200)).violation, None);
    is_missed(Mutation::FenceSkipped, ahead);
    is_missed(Mutation::IntentUnchecked, ahead);
    is_missed(Mutation::LooksOnce, ahead);
}

#[test]
fn the_order_in_which_a_sweep_looks() {
    is_missed(Mutation::IntentsFirst, SWEEP_LARGE);
    is_missed(Mutation::IntentsFirst, SWEEP_LARGE.transactional());
}

/// Records before history is held twice: a version that is met in neither leaves a gap, and a sweep
/// frees nothing beside a gap.
#[test]
fn records_before_history_beside_the_gaps() {
    for scenario in [SWEEP_MOVED, SWEEP_MOVED.transactional()] {
        assert_eq!(without(Mutation::HistoryFirst, scenario).violation, None);
    }
}

/// Where finding the intent and naming the content are two steps, only age tells that nobody is
/// between them.
#[test]
fn the_age_of_intents() {
    is_missed(Mutation::None, SWEEP_AHEAD);
}

/// What is told and what is done are one transaction; elsewhere what is told goes first.
#[test]
fn the_page_beside_the_change() {
    let journaled = |scenario: Scenario| scenario.journaled(Journaling::Strict).bound(1);
    let put_put = journaled(PUT_PUT);
    for kept in [put_put.faults(CRASH), put_put.transactional().faults(CRASH)] {
        assert_eq!(without(Mutation::None, kept.most(200)).violation, None);
    }
    is_missed(Mutation::PageSkipped, put_put);
    is_missed(Mutation::PageSkipped, put_put.transactional());
    is_missed(Mutation::PageLast, put_put.faults(CRASH));
    is_missed(Mutation::PageLast, put_put.transactional().faults(CRASH));
    is_missed(Mutation::PageFirst, put_put.transactional().faults(CRASH));
    let read = Scenario::new("get, get", &[Put(X), Put(Y)], &[&[Get(Y)], &[Get(Y)]]);
    is_missed(Mutation::PageSkipped, journaled(read));
    is_missed(Mutation::PageLast, journaled(read));
}

/// What sleep sets leave out cannot differ: every combination of answers is seen with them too.
#[test]
fn the_reduction_loses_nothing() {
    let scenarios = [
        PUT_PUT,
        PUT_PUT.broken(BEFORE_CURRENT),
        PUT_PUT.transactional().faults(UNKNOWN),
        Scenario::new("put, get", ONE, &[&[Put(X)], &[Get(X)]]),
        Scenario::new("put, history", ONE, &[&[Put(X)], &[History(X)]]).faults(CRASH),
    ];
    for scenario in scenarios {
        let reduced = explore(&scenario);
        let whole = explore(&scenario.bound(u32::MAX));
        assert!(reduced.figures.complete && whole.figures.complete);
        assert!(reduced.figures.executions <= whole.figures.executions);
        assert_eq!(reduced.answers, whole.answers);
    }
}
