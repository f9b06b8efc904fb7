//! Every interleaving of two processes at one vault, at the granularity of storage operations.
//!
//! The vault's real code runs; a schedule decides who takes the next step, and is replayed. See
//! `search` for what is left out because it cannot differ, and `model` for what must hold. Each line
//! that is printed says: what was explored; `op` or `tx`, for storage without and with transactions;
//! whether processes began with warm or cold caches; the most faults in one execution, `c`rashes,
//! `u`nknown outcomes or `o`utages for pages of the journal; how long a process may stall; the bound on
//! preemptions; then executions, executions cut off as seen before, most steps, executions with faults,
//! distinct operations, whether that is all or was cut at a limit, the time, and the violations.
//!
//! `CHARTLOCK_EXPLORE=long` goes on until all of most scenarios was seen; that takes a while.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod clock;
#[path = "../common/mod.rs"]
mod common;
mod footprint;
mod holds;
mod journaled;
mod model;
mod mutation;
mod report;
mod rules;
mod scenario;
mod scenarios;
mod search;
mod state;
mod sweeps;
mod tap;
mod told;
mod turns;
mod verbs;
mod verdict;

use chartlock::Journaling;
use holds::{HELD_TRIOS, HOLDS};
use journaled::{JOURNALED, JOURNALED_TRIOS};
use report::report;
use scenario::Scenario;
use scenarios::*;
use sweeps::{ABANDONED, HASTY, SWEEPS, SWEPT_TRIOS};

/// Most executions of one scenario in the short scope, and in the long one.
const SHORT: u64 = 100;
const LONG: u64 = 20_000;
/// Likewise where both faults and switches come at any moment, of which there is no end.
const DEEP: u64 = 2_000;

fn is_long() -> bool {
    std::env::var("CHARTLOCK_EXPLORE").is_ok_and(|scope| scope == "long")
}

/// Explores a family of scenarios under everything that may go wrong.
fn explore(base: impl Fn() -> Vec<Scenario>) {
    explore_up_to(SHORT, base);
}

/// Likewise, with fewer executions in the short scope.
fn explore_up_to(short: u64, base: impl Fn() -> Vec<Scenario>) {
    let most = if is_long() { LONG } else { short };
    let plain = || base().into_iter().map(move |scenario| scenario.most(most));
    let mut scope: Vec<Scenario> = plain().collect();
    for faults in [CRASH, UNKNOWN] {
        // A few switches at the wrong moment find most of what can be found, sooner.
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
    hold(scope);
}

fn hold(scope: Vec<Scenario>) {
    let mut stories = Vec::new();
    for scenario in scope {
        if let Some(story) = report(&scenario).violation {
            stories.push(format!("{}: {story}", scenario.name));
        }
    }
    assert!(stories.is_empty(), "{}", stories.join("\n\n"));
}

/// Explores scenarios in which every process keeps a journal.
fn explore_journaled(base: impl Fn() -> Vec<Scenario>) {
    let most = if is_long() { DEEP } else { SHORT / 4 };
    let with = |mode| {
        let scenarios = base().into_iter();
        scenarios.map(move |scenario| scenario.journaled(mode).bound(2).most(most))
    };
    let strict = || with(Journaling::Strict);
    let mut scope: Vec<Scenario> = strict().collect();
    // Some of what a crash may leave comes late in this order.
    scope
        .extend(strict().map(|scenario| scenario.faults(CRASH).bound(1).most(most.max(2 * SHORT))));
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
    hold(scope);
}

#[test]
fn journals() {
    explore_journaled(|| scenarios(JOURNALED));
}

#[test]
fn journals_with_transactions() {
    explore_journaled(|| {
        let journaled = scenarios(JOURNALED).into_iter();
        journaled.map(Scenario::transactional).collect()
    });
}

#[test]
fn three_journals_at_once() {
    let most = if is_long() { DEEP } else { SHORT / 2 };
    let mut scope = Vec::new();
    for scenario in scenarios(JOURNALED_TRIOS) {
        let scenario = scenario.journaled(Journaling::Strict).bound(1).most(most);
        let crash = scenario.faults(CRASH);
        scope.extend([scenario, scenario.transactional()]);
        scope.extend([crash, crash.transactional()]);
    }
    hold(scope);
}

/// A family without transactions, and with.
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
    writers, writers_with_transactions: scenarios(WRITERS);
    rotations, rotations_with_transactions: scenarios(ROTATIONS);
    masters, masters_with_transactions: scenarios(MASTERS);
    erasures, erasures_with_transactions: scenarios(ERASURES);
    walks, walks_with_transactions: scenarios(WALKS);
    holds, holds_with_transactions: scenarios(HOLDS);
}

#[test]
fn what_broke_off_before() {
    explore(|| {
        let leftovers = scenarios(LEFTOVERS).into_iter();
        leftovers
            .map(|scenario| scenario.broken(BEFORE_CURRENT))
            .collect()
    });
}

#[test]
fn three_at_once() {
    let most = if is_long() { LONG } else { SHORT / 2 };
    let mut scope = Vec::new();
    let trios = [TRIOS, SWEPT_TRIOS, HELD_TRIOS];
    for scenario in trios.into_iter().flat_map(scenarios) {
        let scenario = scenario.bound(2).most(most);
        scope.extend([scenario, scenario.endless(), scenario.transactional()]);
    }
    hold(scope);
}

#[test]
fn two_faults() {
    let most = if is_long() { LONG } else { SHORT / 4 };
    let mut scope = Vec::new();
    for family in [WRITERS, ROTATIONS, MASTERS, ERASURES, HOLDS] {
        for scenario in scenarios(family) {
            // Without a preemption, so that it is the faults that are seen whole.
            let scenario = scenario.faults(TWO).bound(0).most(most);
            scope.extend([scenario, scenario.endless(), scenario.transactional()]);
        }
    }
    hold(scope);
}

#[test]
fn what_broke_off_at_any_step() {
    let last = 24;
    let every = if is_long() { 1 } else { 3 };
    let most = if is_long() { DEEP } else { SHORT / 4 };
    let mut scope = Vec::new();
    for scenario in scenarios(RESUMED) {
        for after in (2..last).step_by(every) {
            let scenario = scenario.broken(after).most(most);
            scope.push(scenario);
            scope.push(scenario.transactional());
            if is_long() {
                scope.push(scenario.endless());
                scope.push(scenario.faults(CRASH).bound(1));
            }
        }
    }
    hold(scope);
}

#[test]
fn sweeps() {
    explore_up_to(SHORT / 4, || scenarios(SWEEPS));
}

#[test]
fn sweeps_with_transactions() {
    explore_up_to(SHORT / 4, || {
        let sweeps = scenarios(SWEEPS).into_iter();
        sweeps.map(Scenario::transactional).collect()
    });
}

/// A clock that is days ahead costs an upload, where a transaction is whole, and nothing else.
#[test]
fn hasty_sweeps_with_transactions() {
    explore_up_to(SHORT / 4, || {
        let hasty = scenarios(HASTY).into_iter();
        hasty.map(Scenario::transactional).collect()
    });
}

#[test]
fn uploads_that_broke_off_at_any_step() {
    let last = 18;
    let every = if is_long() { 1 } else { 2 };
    let most = if is_long() { DEEP } else { SHORT / 10 };
    let mut scope = Vec::new();
    for scenario in scenarios(ABANDONED) {
        for after in (2..last).step_by(every) {
            let scenario = scenario.broken(after).most(most);
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
    hold(scope);
}

#[test]
fn retirements() {
    explore(|| {
        let [single, whole] = BEFORE_REMOVAL;
        let single = scenarios(RETIREMENTS)
            .into_iter()
            .map(move |scenario| scenario.broken(single));
        let whole = scenarios(RETIREMENTS)
            .into_iter()
            .map(move |scenario| scenario.transactional().broken(whole));
        single.chain(whole).collect()
    });
}
