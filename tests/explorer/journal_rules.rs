//! Tests of the explorer itself, which must detect each broken rule of journal keys, fallbacks, erasures
//! and restores.

use chartlock::Journaling;

use crate::fallback_scenarios::{FALLBACK_AND_ROTATION, FALLBACKS};
use crate::journal_key_scenarios::{ATTACKED_KEYS, JOURNAL_KEYS};
use crate::mutation::Mutation;
use crate::report::report;
use crate::restore_scenarios::RESTORES;
use crate::rules::{ERASE_PUT, assert_detected_as};
use crate::scenario::Scenario;
use crate::scenarios::{Pair, scenarios};

/// Returns a journaled scenario by its name.
fn named(pairs: &[Pair], name: &str) -> Scenario {
    let mut scenarios = scenarios(pairs).into_iter();
    let scenario = scenarios.find(|scenario| scenario.name == name).unwrap();
    scenario.journaled(Journaling::Strict).bound(2)
}

/// Asserts that the scenario violates no rule, but for the mutation.
fn assert_only_mutation_violates(mutation: Mutation, scenario: Scenario, text: &str) {
    let whole = report(&scenario.most(20));
    assert_eq!(whole.violation, None);
    assert_detected_as(mutation, scenario, text);
}

/// Start of the finding on a page that no closing covers.
const LATE: &str = "fault: Late";

/// With transactions there is no delay, so only the check of the header keeps a page under former keys
/// from being written after the closing.
#[test]
fn page_without_header_check_is_detected() {
    let scenario = named(JOURNAL_KEYS, "rotate journal, put (next)").transactional();
    assert_only_mutation_violates(Mutation::PageHeaderUnchecked, scenario, LATE);
    let scenario = named(JOURNAL_KEYS, "rotate journal put, get").transactional();
    assert_only_mutation_violates(Mutation::PageHeaderUnchecked, scenario, LATE);
}

/// Without transactions, the key removal delay protects the pages.
#[test]
fn page_without_header_check_but_with_delay_violates_no_rule() {
    let scenario = named(JOURNAL_KEYS, "rotate journal, put (next)");
    let outcome = report(&scenario.mutation(Mutation::PageHeaderUnchecked).most(200));
    assert_eq!(outcome.violation, None);
    assert_detected_as(Mutation::NoDelay, scenario, LATE);
}

#[test]
fn closing_before_the_walk_is_detected() {
    let scenario = named(JOURNAL_KEYS, "rotate journal, put (next)");
    assert_detected_as(Mutation::WalkFirst, scenario, LATE);
    assert_detected_as(Mutation::WalkFirst, scenario.transactional(), LATE);
}

#[test]
fn header_of_journal_keys_without_precondition_is_detected() {
    let scenario = named(JOURNAL_KEYS, "rotate journal, rotate journal");
    assert_detected_as(Mutation::HeaderAny, scenario, "kind: Forked");
    let scenario = scenario.transactional();
    assert_detected_as(Mutation::HeaderAny, scenario, "UnknownKey");
    let scenario = named(JOURNAL_KEYS, "rotate journal, rotate master").transactional();
    assert_detected_as(Mutation::HeaderAny, scenario, "kind: RolledBack");
}

/// The process that ends a fallback replaces the header while keys are closing, so that the closing walks
/// again.
#[test]
fn closing_without_precondition_beside_the_end_of_a_fallback_is_detected() {
    let scenario = named(FALLBACK_AND_ROTATION, "fallback: read end, rotate journal");
    assert_detected_as(Mutation::HeaderAny, scenario, LATE);
    // In one transaction, the page of the header that was overwritten is stored, too.
    let scenario = scenario.transactional();
    assert_detected_as(Mutation::HeaderAny, scenario, "kind: Forked");
}

#[test]
fn closing_that_names_a_late_page_is_detected() {
    let scenario = named(ATTACKED_KEYS, "rotate journal put, plant late");
    assert_only_mutation_violates(Mutation::LateNamed, scenario, "has no finding");
    assert_only_mutation_violates(
        Mutation::LateNamed,
        scenario.transactional(),
        "has no finding",
    );
}

/// The authority tag is a second rule: a page that no vault wrote stays forged, whatever names it.
#[test]
fn closing_that_names_a_forged_page_violates_no_rule() {
    let scenario = named(ATTACKED_KEYS, "rotate journal put, plant forged");
    let scenario = scenario.transactional().most(200);
    let outcome = report(&scenario.mutation(Mutation::LateNamed));
    assert_eq!(outcome.violation, None);
}

#[test]
fn fallback_on_healthy_vault_is_detected() {
    let scenario = named(FALLBACKS, "fallback: on healthy vault, put");
    assert_only_mutation_violates(
        Mutation::FallbackOnHealthy,
        scenario,
        "a fallback begins on a healthy vault",
    );
    assert_only_mutation_violates(
        Mutation::FallbackOnHealthy,
        scenario.transactional(),
        "a fallback begins on a healthy vault",
    );
}

#[test]
fn fallback_that_forgets_its_spool_is_detected() {
    let scenario = named(FALLBACKS, "fallback: read end, put");
    assert_only_mutation_violates(
        Mutation::SpoolForgotten,
        scenario,
        "no journal entry for Get",
    );
    assert_only_mutation_violates(
        Mutation::SpoolForgotten,
        scenario.transactional(),
        "no journal entry for Get",
    );
}

#[test]
fn tombstone_after_the_listing_is_detected() {
    let left = "objects of erased charts are left";
    assert_detected_as(Mutation::ListedFirst, ERASE_PUT, left);
    assert_detected_as(Mutation::ListedFirst, ERASE_PUT.transactional(), left);
}

#[test]
fn acceptance_without_a_new_plan_is_detected() {
    let scenario = named(RESTORES, "restore erasure: accept, put (next)").transactional();
    let lost = "erased, but Attempt";
    assert_only_mutation_violates(Mutation::PlanNotRepeated, scenario, lost);
    let outdated = "a plan from before a new finding is accepted";
    let scenario = named(RESTORES, "restore put: accept, delete record");
    for scenario in [scenario, scenario.transactional()] {
        assert_only_mutation_violates(Mutation::PlanNotRepeated, scenario, outdated);
    }
}
