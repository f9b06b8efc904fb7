//! Policy rules about labels. A read request contains the record's labels only at the second policy
//! decision.

use chartlock::{
    Operation, Purpose,
    access::{AccessPolicy, AccessRequest, Decision, Rule, RulePolicy},
};
use proptest::prelude::*;

use super::permits;
use crate::common::actor;

fn first_and_second(rules: &[Rule], labels: &[&str]) -> (bool, bool) {
    let actor = actor("dr.garcia");
    let read = AccessRequest::new(&actor, Purpose::Treatment, Operation::Read);
    let policy = RulePolicy::new(rules.iter().cloned()).unwrap();
    let permits = |request: &AccessRequest<'_>| policy.decide(request).is_permitted();
    (permits(&read), permits(&read.labels(labels)))
}

#[test]
fn denial_by_label_applies_at_second_decision() {
    let rules = [Rule::deny().label("psychiatry"), Rule::permit()];
    assert_eq!(first_and_second(&rules, &["lab"]), (true, true));
    assert_eq!(first_and_second(&rules, &[]), (true, true));
    assert_eq!(
        first_and_second(&rules, &["lab", "psychiatry"]),
        (true, false)
    );
}

#[test]
fn permission_by_label_is_checked_at_second_decision() {
    let rules = [Rule::permit().label("administration").label("billing")];
    assert_eq!(first_and_second(&rules, &["administration"]), (true, true));
    assert_eq!(first_and_second(&rules, &["billing", "x"]), (true, true));
    assert_eq!(first_and_second(&rules, &["lab"]), (true, false));
    assert_eq!(first_and_second(&rules, &[]), (true, false));
}

#[test]
fn rule_excluding_labels_matches_only_records_without_these_labels() {
    let rules = [Rule::permit()
        .without_label("psychiatry")
        .without_label("hiv")];
    assert_eq!(first_and_second(&rules, &[]), (true, true));
    assert_eq!(first_and_second(&rules, &["hiv"]), (true, false));
    let both = [Rule::permit().label("lab").without_label("hiv")];
    assert_eq!(first_and_second(&both, &["lab"]), (true, true));
    assert_eq!(first_and_second(&both, &["hiv", "lab"]), (true, false));
    assert_eq!(first_and_second(&both, &["x"]), (true, false));
}

#[test]
fn read_that_no_labels_permit_is_denied_at_first_decision() {
    let rules = [Rule::deny().label("psychiatry"), Rule::deny().actor("dr.*")];
    assert_eq!(first_and_second(&rules, &["lab"]), (false, false));
    let not_his = [
        Rule::deny().actor("dr.garcia"),
        Rule::permit().label("administration"),
    ];
    assert_eq!(
        first_and_second(&not_his, &["administration"]),
        (false, false)
    );
}

#[test]
fn put_is_decided_by_labels_of_new_version() {
    let rules = [Rule::deny().label("psychiatry"), Rule::permit()];
    let put = |labels| permits(rules.clone(), Operation::Put, |put| put.labels(labels));
    assert!(put(&["lab"]));
    assert!(!put(&["psychiatry"]));
}

#[test]
fn label_rules_do_not_match_operations_without_labels() {
    for operation in Operation::ALL {
        if matches!(operation, Operation::Read | Operation::Retract) {
            continue;
        }
        let permitted = |rules: [Rule; 2]| permits(rules, *operation, |request| request);
        let permit = [Rule::permit().label("x"), Rule::deny()];
        let without = [Rule::permit().without_label("x"), Rule::deny()];
        let deny = [Rule::deny().without_label("x"), Rule::permit()];
        assert!(!permitted(permit) && !permitted(without) && permitted(deny));
    }
}

#[derive(Debug, Clone)]
struct Shape {
    permits: bool,
    actor: Option<bool>,
    labels: Vec<usize>,
    without: Vec<usize>,
}

const LABELS: [&str; 3] = ["a", "b", "c"];

fn labels(numbers: &[usize]) -> impl Iterator<Item = &'static str> {
    numbers
        .iter()
        .filter_map(|number| LABELS.get(*number))
        .copied()
}

impl Shape {
    fn rule(&self) -> Rule {
        let rule = match self.permits {
            true => Rule::permit(),
            false => Rule::deny(),
        };
        let rule = match self.actor {
            Some(true) => rule.actor("dr.*"),
            Some(false) => rule.actor("desk.*"),
            None => rule,
        };
        let rule = labels(&self.labels).fold(rule, Rule::label);
        labels(&self.without).fold(rule, Rule::without_label)
    }

    /// Returns `true` if the rule matches a record with these labels, according to the
    /// documentation of `Rule`.
    fn matches(&self, present: &[&str]) -> bool {
        let wanted = self.labels.is_empty() || labels(&self.labels).any(|l| present.contains(&l));
        let without = labels(&self.without).all(|label| !present.contains(&label));
        self.actor != Some(false) && wanted && without
    }
}

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let some = || prop::collection::vec(0..LABELS.len(), 0..2);
    let shape = (any::<bool>(), any::<Option<bool>>(), some(), some());
    let shape = shape.prop_map(|(permits, actor, labels, without)| Shape {
        permits,
        actor,
        labels,
        without,
    });
    prop::collection::vec(shape, 0..6)
}

proptest! {
    #[test]
    fn permission_at_second_decision_implies_permission_at_first(shapes in shapes()) {
        let rules: Vec<Rule> = shapes.iter().map(Shape::rule).collect();
        for subset in 0..1 << LABELS.len() {
            let numbers: Vec<_> = (0..LABELS.len()).filter(|n| subset >> n & 1 == 1).collect();
            let present: Vec<_> = labels(&numbers).collect();
            let (first, second) = first_and_second(&rules, &present);
            let decider = shapes.iter().find(|shape| shape.matches(&present));
            prop_assert_eq!(second, decider.is_some_and(|shape| shape.permits));
            prop_assert!(first || !second);
        }
    }
}

#[test]
fn read_under_two_consents_returns_consent_of_second_decision() {
    let consent = |text| chartlock::access::ConsentReference::new(text).unwrap();
    let policy = RulePolicy::new([
        Rule::permit_under(consent("Consent/special")).label("special"),
        Rule::permit_under(consent("Consent/general")),
    ])
    .unwrap();
    let actor = actor("dr.garcia");
    let read = AccessRequest::new(&actor, Purpose::Treatment, Operation::Read);
    assert!(policy.decide(&read).is_permitted());
    let general = Decision::PermitUnder(consent("Consent/general"));
    assert_eq!(policy.decide(&read.labels(&["lab"])), general);
}
