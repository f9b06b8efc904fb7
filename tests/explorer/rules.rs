//! Tests of the explorer itself, which must detect each broken rule of the order of writes.

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
pub(crate) const ERASE_PUT: Scenario = Scenario::new("erase, put", ONE, &[&[Erase(0)], &[Put(Y)]]);
const ROTATE_PUT: Scenario = Scenario::new(
    "rotate subject, put",
    ONE,
    &[&[RotateSubject(0)], &[Put(Y)]],
);
const ERASE_ROTATE: Scenario = Scenario::new(
    "erase, rotate subject",
    ONE,
    &[&[Erase(0)], &[RotateSubject(0)]],
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
    "put, put rotate subject",
    ONE,
    &[&[Put(X)], &[Put(X), RotateSubject(0)]],
);
const PUT_AND_ROTATE: Scenario = Scenario::new(
    "put put, rotate subject",
    ONE,
    &[&[Put(X)], &[RotateSubject(0)]],
);

const LARGE: &[Verb] = &[PutLarge(X)];
const SWEEP_LARGE: Scenario = Scenario::new(
    "put large (next), collect",
    LARGE,
    &[&[PutLarge(X)], &[CollectGarbage]],
);
const SWEEP_AHEAD: Scenario = Scenario::new(
    "put large, collect ahead",
    ONE,
    &[&[PutLarge(X)], &[CollectGarbageAhead]],
);
const SWEEP_MOVED: Scenario = Scenario::new(
    "put over large, collect",
    LARGE,
    &[&[Put(X)], &[CollectGarbage]],
);

fn explore_mutated(mutation: Mutation, scenario: Scenario) -> Outcome {
    report(&scenario.mutation(mutation).most(50_000))
}

fn assert_detected(mutation: Mutation, scenario: Scenario) {
    assert_detected_as(mutation, scenario, "");
}

/// Asserts that the explorer detects a mutation by a violation whose first line contains `text`.
pub(crate) fn assert_detected_as(mutation: Mutation, scenario: Scenario, text: &str) {
    let violation = explore_mutated(mutation, scenario).violation;
    let violation = violation.unwrap_or_else(|| panic!("{mutation:?} is not detected"));
    assert!(
        violation.lines().next().unwrap().contains(text),
        "{mutation:?}: {violation}"
    );
}

#[test]
fn broken_entry_check_is_detected() {
    assert_detected(Mutation::EntryUnchecked, ERASE_PUT);
    assert_detected(Mutation::EntryUnchecked, ROTATE_PUT.transactional());
    assert_detected(Mutation::EntryCheckedFirst, ERASE_PUT);
}

/// With transactions there is no key removal delay, so only the check of the header ensures that a
/// new entry uses the header's keys.
#[test]
fn broken_header_check_with_transactions_is_detected() {
    assert_detected(Mutation::HeaderUnchecked, MASTER_NEW.transactional());
}

/// Without transactions, the key removal delay protects new entries even if the check of the header
/// is broken.
#[test]
fn broken_header_check_with_key_removal_delay_violates_no_rule() {
    for scenario in [MASTER_NEW, MASTER_MASTER] {
        assert_eq!(
            explore_mutated(Mutation::HeaderUnchecked, scenario).violation,
            None
        );
    }
}

#[test]
fn broken_move_to_history_is_detected() {
    assert_detected(Mutation::EarlierSkipped, PUT_PUT);
    assert_detected(Mutation::EarlierLast, PUT_PUT.faults(CRASH));
    assert_detected(Mutation::EarlierAny, PUT_ROTATE_PUT.endless());
    assert_detected(Mutation::HistoryUnlisted, PUT_AND_ROTATE);
}

#[test]
fn ignored_conflict_is_detected() {
    assert_detected(Mutation::CurrentAny, PUT_PUT);
    assert_detected(Mutation::EntryAny, ERASE_ROTATE);
    assert_detected(Mutation::EntryAny, HOLD_ERASE);
    assert_detected(Mutation::EntryAny, HOLD_MASTER.transactional());
    assert_detected(Mutation::HeaderAny, MASTER_MASTER);
    assert_detected(
        Mutation::UnknownIsConflict,
        PUT_PUT.transactional().faults(UNKNOWN),
    );
}

#[test]
fn missing_key_removal_delay_or_cache_expiry_is_detected() {
    // Crash the put, because a put that continues replaces the version that it wrote under a
    // destroyed key.
    assert_detected(Mutation::NoDelay, ROTATE_PUT.faults(CRASH));
    assert_detected(Mutation::CachesForEver, ROTATE_PUT.faults(CRASH));
}

#[test]
fn broken_collector_fence_is_detected() {
    let ahead = SWEEP_AHEAD.transactional();
    assert_eq!(
        explore_mutated(Mutation::None, ahead.most(200)).violation,
        None
    );
    assert_detected(Mutation::FenceSkipped, ahead);
    assert_detected(Mutation::IntentUnchecked, ahead);
    assert_detected(Mutation::ScansOnce, ahead);
}

#[test]
fn collector_listing_intents_first_is_detected() {
    assert_detected(Mutation::IntentsFirst, SWEEP_LARGE);
    assert_detected(Mutation::IntentsFirst, SWEEP_LARGE.transactional());
}

/// A second rule compensates for the broken rule. A version that both scans miss leaves a gap in
/// the history, and the collector frees nothing of such a history.
#[test]
fn collector_scanning_history_first_violates_no_rule() {
    for scenario in [SWEEP_MOVED, SWEEP_MOVED.transactional()] {
        assert_eq!(
            explore_mutated(Mutation::HistoryFirst, scenario).violation,
            None
        );
    }
}

/// Without transactions, the check of the upload intent and the write of the record are two steps.
/// Only the age of the intent shows that no writer is between these steps.
#[test]
fn collector_with_clock_ahead_without_transactions_violates_a_rule() {
    assert_detected(Mutation::None, SWEEP_AHEAD);
}

/// A transaction contains a journal page together with its changes. Without transactions, the page
/// is written first and announces the changes.
#[test]
fn skipped_or_misordered_journal_page_is_detected() {
    let journaled = |scenario: Scenario| scenario.journaled(Journaling::Strict).bound(1);
    let put_put = journaled(PUT_PUT);
    for kept in [put_put.faults(CRASH), put_put.transactional().faults(CRASH)] {
        assert_eq!(
            explore_mutated(Mutation::None, kept.most(200)).violation,
            None
        );
    }
    assert_detected(Mutation::PageSkipped, put_put);
    assert_detected(Mutation::PageSkipped, put_put.transactional());
    assert_detected(Mutation::PageLast, put_put.faults(CRASH));
    assert_detected(Mutation::PageLast, put_put.transactional().faults(CRASH));
    assert_detected(Mutation::PageFirst, put_put.transactional().faults(CRASH));
    let read = Scenario::new("get, get", &[Put(X), Put(Y)], &[&[Get(Y)], &[Get(Y)]]);
    assert_detected(Mutation::PageSkipped, journaled(read));
    assert_detected(Mutation::PageLast, journaled(read));
}

/// Sleep sets skip only equivalent schedules, so the search must find the same combinations of
/// results with and without sleep sets.
#[test]
fn sleep_sets_preserve_every_result() {
    let scenarios = [
        PUT_PUT,
        PUT_PUT.interrupted(BEFORE_CURRENT),
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
