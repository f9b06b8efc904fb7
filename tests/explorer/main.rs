//! Model checker that runs every interleaving of two or three processes on one vault, storage
//! operation by storage operation.
//!
//! The processes run the vault's own code. A schedule decides which process takes the next step, and
//! each execution replays a schedule from its start. The module `search` skips schedules whose results
//! cannot differ from those of earlier schedules. The module `model` defines which results are allowed.
//!
//! The explorer prints one line for each scenario, with these columns:
//!
//! | column | meaning |
//! |---|---|
//! | name | operations of each process, after the operations of an interrupted setup |
//! | `op`, `tx` | `op`: a storage without transactions; `tx`: a storage with transactions |
//! | `warm`, `cold` | `warm`: each process starts with cached header and patient entries; `cold`: each process starts with empty caches |
//! | faults | maximum number of faults in an execution, and their kinds: `c` for a crash, `u` for an unknown commit outcome, `o` for a journal outage |
//! | `bounded`, `endless` | `bounded`: no process stalls longer than the key removal delay; `endless`: a process may stall longer |
//! | preemptions | maximum number of preemptions in an execution; `-` for no bound |
//! | executions | executions that ran to their end |
//! | pruned | executions stopped because an equivalent execution was explored |
//! | steps | maximum number of steps in an execution |
//! | faulty | executions with at least one fault |
//! | operations | distinct pairs of storage operation and key class |
//! | `all`, `cut` | `all`: every schedule was explored; `cut`: the exploration stopped at its limit |
//! | time | seconds |
//! | result | `0` if no rule was violated, otherwise `VIOLATION` |
//!
//! `CHARTLOCK_EXPLORE=long` explores most scenarios completely, which takes hours.
//! `CHARTLOCK_EXPLORE_ONLY=NAME` explores only the scenarios whose name contains NAME.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod attacker;
mod clock;
#[path = "../common/mod.rs"]
mod common;
mod equipment;
mod fallback_scenarios;
mod final_state;
mod footprint;
mod garbage_scenarios;
mod hold_scenarios;
mod journal_check;
mod journal_key_scenarios;
mod journal_rules;
mod journal_scenarios;
mod model;
mod mutation;
mod outdated;
mod report;
mod restore_scenarios;
mod rules;
mod scenario;
mod scenarios;
mod scheduler;
mod search;
mod start_state;
mod state;
mod tap;
mod verbs;

use chartlock::Journaling;
use fallback_scenarios::{FALLBACK_AND_ROTATION, FALLBACKS};
use garbage_scenarios::{ABANDONED_UPLOADS, CLOCK_AHEAD, GARBAGE, GARBAGE_TRIOS};
use hold_scenarios::{HOLD_TRIOS, HOLDS};
use journal_key_scenarios::{
    ATTACKED_KEYS, INTERRUPTED_JOURNAL_KEYS, JOURNAL_KEY_TRIOS, JOURNAL_KEYS,
    ROTATION_AND_VERIFICATION,
};
use journal_scenarios::{JOURNALED, JOURNALED_TRIOS};
use report::report;
use restore_scenarios::{RESTORE_AND_PUT, RESTORES};
use scenario::Scenario;
use scenarios::*;

/// Maximum numbers of executions of one scenario, in the short scope and in the long scope.
const SHORT: u64 = 50;
const LONG: u64 = 20_000;
/// Maximum number of executions of a scenario that has too many schedules to complete.
const DEEP: u64 = 2_000;

fn is_long() -> bool {
    std::env::var("CHARTLOCK_EXPLORE").is_ok_and(|scope| scope == "long")
}

/// Explores a family of scenarios: without faults, with crashes, with unknown commit outcomes and
/// with stalls.
fn explore(base: impl Fn() -> Vec<Scenario>) {
    explore_up_to(SHORT, base);
}

/// Explores like [`explore`], with at most `short` executions of each scenario in the short scope.
fn explore_up_to(short: u64, base: impl Fn() -> Vec<Scenario>) {
    let most = if is_long() { LONG } else { short };
    let plain = || base().into_iter().map(move |scenario| scenario.most(most));
    let mut scope: Vec<Scenario> = plain().collect();
    for faults in [CRASH, UNKNOWN] {
        // Allow one preemption only, because this bound finds most violations in far fewer
        // executions.
        scope.extend(plain().map(|scenario| scenario.faults(faults).bound(1)));
    }
    scope.extend(plain().map(|scenario| scenario.endless().bound(2)));
    if is_long() {
        scope.extend(plain().map(Scenario::cold));
        scope.extend(plain().map(Scenario::endless));
        for faults in [CRASH, UNKNOWN] {
            let deep = || plain().map(|scenario| scenario.faults(faults).most(DEEP));
            scope.extend(deep());
            scope.extend(deep().map(Scenario::endless));
        }
    }
    assert_no_violations(scope);
}

fn assert_no_violations(scope: Vec<Scenario>) {
    let mut violations = Vec::new();
    let only = std::env::var("CHARTLOCK_EXPLORE_ONLY").unwrap_or_default();
    for scenario in scope.iter().filter(|it| it.name.contains(&only)) {
        if let Some(violation) = report(scenario).violation {
            violations.push(format!("{}: {violation}", scenario.name));
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n\n"));
}

/// Explores scenarios in which every process writes a journal.
fn explore_journaled(base: impl Fn() -> Vec<Scenario>) {
    let most = if is_long() { DEEP } else { SHORT / 4 };
    let with = |mode| {
        let scenarios = base().into_iter();
        scenarios.map(move |scenario| scenario.journaled(mode).bound(2).most(most))
    };
    let strict = || with(Journaling::Strict);
    let mut scope: Vec<Scenario> = strict().collect();
    // Allow more executions, because the search reaches some states after a crash late.
    scope
        .extend(strict().map(|scenario| scenario.faults(CRASH).bound(1).most(most.max(3 * SHORT))));
    for faults in [UNKNOWN, OUTAGE] {
        scope.extend(strict().map(|scenario| scenario.faults(faults).bound(1)));
    }
    scope.extend(strict().map(|scenario| scenario.cold().faults(CRASH).bound(1)));
    scope.extend(strict().map(Scenario::endless));
    scope.extend(with(Journaling::Grouped).map(|scenario| scenario.faults(CRASH)));
    if is_long() {
        scope.extend(strict().map(|scenario| scenario.faults(TWO)));
        scope.extend(strict().map(|scenario| scenario.cold().faults(OUTAGE)));
        scope.extend(strict().map(|scenario| scenario.endless().faults(CRASH)));
    }
    assert_no_violations(scope);
}

#[test]
fn two_journaled_processes_without_transactions_keep_invariants() {
    explore_journaled(|| scenarios(JOURNALED));
}

#[test]
fn two_journaled_processes_with_transactions_keep_invariants() {
    explore_journaled(|| {
        let journaled = scenarios(JOURNALED).into_iter();
        journaled.map(Scenario::transactional).collect()
    });
}

/// Explores scenarios of the journal itself: its keys, fallbacks, restores and attackers.
fn explore_journal(pairs: &[Pair]) {
    explore_journal_up_to(SHORT / 10, pairs);
}

/// Explores like [`explore_journal`], with at most `short` executions of each scenario without faults in
/// the short scope.
fn explore_journal_up_to(short: u64, pairs: &[Pair]) {
    let most = if is_long() { DEEP } else { short };
    let mut scope = Vec::new();
    for scenario in scenarios(pairs) {
        let scenario = scenario.journaled(Journaling::Strict).bound(2).most(most);
        for scenario in [scenario, scenario.transactional()] {
            scope.push(scenario);
            scope.push(scenario.faults(CRASH).bound(1).most(3 * most));
            if is_long() {
                scope.push(scenario.cold());
                scope.push(scenario.faults(UNKNOWN).bound(1));
                scope.push(scenario.faults(OUTAGE).bound(1));
                scope.push(scenario.faults(TWO).bound(1));
            }
        }
    }
    assert_no_violations(scope);
}

#[test]
fn journal_key_rotations_keep_invariants() {
    explore_journal(JOURNAL_KEYS);
}

#[test]
fn journal_key_rotations_of_three_processes_keep_invariants() {
    explore_journal(JOURNAL_KEY_TRIOS);
}

#[test]
fn planted_pages_are_found_and_have_no_consequence() {
    explore_journal(ATTACKED_KEYS);
}

#[test]
fn journal_fallbacks_keep_invariants() {
    explore_journal(FALLBACKS);
}

#[test]
fn end_of_a_fallback_beside_a_rotation_keeps_invariants() {
    explore_journal_up_to(SHORT, FALLBACK_AND_ROTATION);
}

#[test]
fn verification_beside_a_rotation_of_journal_keys_finds_nothing() {
    explore_journal_up_to(SHORT, ROTATION_AND_VERIFICATION);
}

#[test]
fn accepted_restores_keep_invariants() {
    explore_journal(RESTORES);
}

#[test]
fn acceptance_beside_a_put_of_the_undone_version_keeps_invariants() {
    explore_journal_up_to(2 * SHORT, RESTORE_AND_PUT);
}

/// Crashes after each step of a rotation of the journal keys, between both headers included.
#[test]
fn journal_key_rotation_interrupted_at_any_step_is_resumed() {
    let every = if is_long() { 1 } else { 2 };
    let most = if is_long() { DEEP } else { SHORT / 20 };
    let mut scope = Vec::new();
    for scenario in scenarios(INTERRUPTED_JOURNAL_KEYS) {
        let scenario = scenario.journaled(Journaling::Strict).bound(1).most(most);
        for after in (2..30).step_by(every) {
            let scenario = scenario.interrupted(after);
            scope.extend([scenario, scenario.transactional()]);
        }
    }
    assert_no_violations(scope);
}

#[test]
fn three_journaled_processes_keep_invariants() {
    let most = if is_long() { DEEP } else { SHORT / 2 };
    let mut scope = Vec::new();
    for scenario in scenarios(JOURNALED_TRIOS) {
        let scenario = scenario.journaled(Journaling::Strict).bound(1).most(most);
        let crash = scenario.faults(CRASH);
        scope.extend([scenario, scenario.transactional()]);
        scope.extend([crash, crash.transactional()]);
    }
    assert_no_violations(scope);
}

/// Declares two tests for each family of scenarios: without and with transactions.
macro_rules! families {
    ($($name:ident, $transactional:ident: $scenarios:expr;)*) => {$(
        #[test]
        fn $name() {
            explore(|| $scenarios);
        }

        #[test]
        fn $transactional() {
            let transactional = || $scenarios.into_iter().map(Scenario::transactional).collect();
            explore(transactional);
        }
    )*};
}

families! {
    writers_without_transactions_keep_invariants,
        writers_with_transactions_keep_invariants: scenarios(WRITERS);
    subject_rotations_without_transactions_keep_invariants,
        subject_rotations_with_transactions_keep_invariants: scenarios(ROTATIONS);
    master_rotations_without_transactions_keep_invariants,
        master_rotations_with_transactions_keep_invariants: scenarios(MASTER_ROTATIONS);
    erasures_without_transactions_keep_invariants,
        erasures_with_transactions_keep_invariants: scenarios(ERASURES);
    concurrent_rotations_without_transactions_keep_invariants,
        concurrent_rotations_with_transactions_keep_invariants: scenarios(CONCURRENT_ROTATIONS);
    legal_holds_without_transactions_keep_invariants,
        legal_holds_with_transactions_keep_invariants: scenarios(HOLDS);
}

#[test]
fn operations_after_interrupted_put_keep_invariants() {
    explore(|| {
        let leftovers = scenarios(LEFTOVERS).into_iter();
        leftovers
            .map(|scenario| scenario.interrupted(BEFORE_CURRENT))
            .collect()
    });
}

#[test]
fn three_processes_keep_invariants() {
    let most = if is_long() { LONG } else { SHORT / 2 };
    let mut scope = Vec::new();
    let trios = [TRIOS, GARBAGE_TRIOS, HOLD_TRIOS];
    for scenario in trios.into_iter().flat_map(scenarios) {
        let scenario = scenario.bound(2).most(most);
        scope.extend([scenario, scenario.endless(), scenario.transactional()]);
    }
    assert_no_violations(scope);
}

#[test]
fn two_processes_with_two_faults_keep_invariants() {
    let most = if is_long() { LONG } else { SHORT / 4 };
    let mut scope = Vec::new();
    for family in [WRITERS, ROTATIONS, MASTER_ROTATIONS, ERASURES, HOLDS] {
        for scenario in scenarios(family) {
            // Allow no preemptions, so that the limit covers all combinations of faults.
            let scenario = scenario.faults(TWO).bound(0).most(most);
            scope.extend([scenario, scenario.endless(), scenario.transactional()]);
        }
    }
    assert_no_violations(scope);
}

#[test]
fn operations_interrupted_at_any_step_are_resumed() {
    let last = 24;
    let every = if is_long() { 1 } else { 3 };
    let most = if is_long() { DEEP } else { SHORT / 4 };
    let mut scope = Vec::new();
    for scenario in scenarios(RESUMED) {
        for after in (2..last).step_by(every) {
            let scenario = scenario.interrupted(after).most(most);
            scope.push(scenario);
            scope.push(scenario.transactional());
            if is_long() {
                scope.push(scenario.endless());
                scope.push(scenario.faults(CRASH).bound(1));
            }
        }
    }
    assert_no_violations(scope);
}

#[test]
fn garbage_collection_without_transactions_violates_no_rule() {
    explore_up_to(SHORT / 4, || scenarios(GARBAGE));
}

#[test]
fn garbage_collection_with_transactions_violates_no_rule() {
    explore_up_to(SHORT / 4, || {
        let collections = scenarios(GARBAGE).into_iter();
        collections.map(Scenario::transactional).collect()
    });
}

/// Collects garbage with a clock that is days ahead. On transactional storage, the collector may
/// remove running uploads, but no acknowledged versions.
#[test]
fn garbage_collection_with_clock_ahead_loses_only_uploads() {
    explore_up_to(SHORT / 4, || {
        let ahead = scenarios(CLOCK_AHEAD).into_iter();
        ahead.map(Scenario::transactional).collect()
    });
}

#[test]
fn uploads_interrupted_at_any_step_are_collected() {
    let last = 18;
    let every = if is_long() { 1 } else { 2 };
    let most = if is_long() { DEEP } else { SHORT / 10 };
    let mut scope = Vec::new();
    for scenario in scenarios(ABANDONED_UPLOADS) {
        for after in (2..last).step_by(every) {
            let scenario = scenario.interrupted(after).most(most);
            for scenario in [scenario, scenario.transactional()] {
                scope.push(scenario.days_later());
                if is_long() {
                    scope.extend([scenario, scenario.days_later().endless()]);
                    scope.push(scenario.days_later().faults(CRASH).bound(1));
                    scope.push(scenario.days_later().faults(UNKNOWN).bound(1));
                }
            }
        }
    }
    assert_no_violations(scope);
}

#[test]
fn master_destruction_after_interrupted_rotation_violates_no_rule() {
    explore(|| {
        let [single, whole] = BEFORE_DESTRUCTION;
        let single = scenarios(DESTROYED_MASTERS)
            .into_iter()
            .map(move |scenario| scenario.interrupted(single));
        let whole = scenarios(DESTROYED_MASTERS)
            .into_iter()
            .map(move |scenario| scenario.transactional().interrupted(whole));
        single.chain(whole).collect()
    });
}
