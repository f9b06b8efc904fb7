//! Tests of the explorer itself, which must detect each broken rule of journal keys, fallbacks, erasures
//! and restores.

use chartlock::Journaling;

use crate::fallback_scenarios::FALLBACKS;
use crate::journal_key_scenarios::{ATTACKED_KEYS, JOURNAL_KEYS};
use crate::mutation::Mutation;
use crate::restore_scenarios::RESTORES;
use crate::rules::{ERASE_PUT, assert_detected, explore_mutated};
use crate::scenario::Scenario;
use crate::scenarios::{Pair, scenarios};

/// Returns a journaled scenario by its name.
fn named(pairs: &[Pair], name: &str) -> Scenario {
    let mut scenarios = scenarios(pairs).into_iter();
    let scenario = scenarios.find(|scenario| scenario.name == name).unwrap();
    scenario.journaled(Journaling::Strict).bound(2)
}

/// Asserts that the scenario violates no rule, but for the mutation.
fn assert_only_mutation_violates(mutation: Mutation, scenario: Scenario) {
    let whole = explore_mutated(Mutation::None, scenario.most(20));
    assert_eq!(whole.violation, None);
    assert_detected(mutation, scenario);
}

/// With transactions there is no delay, so only the check of the header keeps a page under former keys
/// from being written after the closing.
#[test]
fn page_without_header_check_is_detected() {
    let scenario = named(JOURNAL_KEYS, "rotate journal, put (next)").transactional();
    assert_only_mutation_violates(Mutation::PageHeaderUnchecked, scenario);
    let scenario = named(JOURNAL_KEYS, "rotate journal put, get").transactional();
    assert_only_mutation_violates(Mutation::PageHeaderUnchecked, scenario);
}

/// Without transactions, the key removal delay protects the pages.
#[test]
fn page_without_header_check_but_with_delay_violates_no_rule() {
    let scenario = named(JOURNAL_KEYS, "rotate journal, put (next)");
    let outcome = explore_mutated(Mutation::PageHeaderUnchecked, scenario.most(200));
    assert_eq!(outcome.violation, None);
    assert_detected(Mutation::NoDelay, scenario);
}

#[test]
fn closing_before_the_walk_is_detected() {
    let scenario = named(JOURNAL_KEYS, "rotate journal, put (next)");
    assert_detected(Mutation::WalkFirst, scenario);
    assert_detected(Mutation::WalkFirst, scenario.transactional());
}

#[test]
fn header_of_journal_keys_without_precondition_is_detected() {
    let scenario = named(JOURNAL_KEYS, "rotate journal, rotate journal");
    assert_detected(Mutation::HeaderAny, scenario);
    assert_detected(Mutation::HeaderAny, scenario.transactional());
    let scenario = named(JOURNAL_KEYS, "rotate journal, rotate master");
    assert_detected(Mutation::HeaderAny, scenario.transactional());
}

#[test]
fn closing_that_names_a_late_page_is_detected() {
    let scenario = named(ATTACKED_KEYS, "rotate journal put, plant late");
    assert_only_mutation_violates(Mutation::LateNamed, scenario);
    assert_only_mutation_violates(Mutation::LateNamed, scenario.transactional());
}

/// The authority tag is a second rule: a page that no vault wrote stays forged, whatever names it.
#[test]
fn closing_that_names_a_forged_page_violates_no_rule() {
    let scenario = named(ATTACKED_KEYS, "rotate journal put, plant forged");
    let outcome = explore_mutated(Mutation::LateNamed, scenario.transactional().most(200));
    assert_eq!(outcome.violation, None);
}

#[test]
fn fallback_on_healthy_vault_is_detected() {
    let scenario = named(FALLBACKS, "fallback: on healthy vault, put");
    assert_only_mutation_violates(Mutation::FallbackOnHealthy, scenario);
    assert_only_mutation_violates(Mutation::FallbackOnHealthy, scenario.transactional());
}

#[test]
fn fallback_that_forgets_its_spool_is_detected() {
    let scenario = named(FALLBACKS, "fallback: read end, put");
    assert_only_mutation_violates(Mutation::SpoolForgotten, scenario);
    assert_only_mutation_violates(Mutation::SpoolForgotten, scenario.transactional());
}

#[test]
fn tombstone_after_the_listing_is_detected() {
    assert_detected(Mutation::ListedFirst, ERASE_PUT);
    assert_detected(Mutation::ListedFirst, ERASE_PUT.transactional());
}

#[test]
fn acceptance_without_a_new_plan_is_detected() {
    for name in [
        "restore erasure: accept, put (next)",
        "restore put: accept, delete record",
    ] {
        let scenario = named(RESTORES, name);
        assert_only_mutation_violates(Mutation::PlanNotRepeated, scenario);
        assert_only_mutation_violates(Mutation::PlanNotRepeated, scenario.transactional());
    }
}
