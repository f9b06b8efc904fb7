//! Conditions of policy rules, and the order in which rules are checked.

use std::sync::Arc;

use chartlock::input::{InputFault, InputField};
use chartlock::{
    Error, Operation, Purpose, Subject, SubjectKind,
    access::{
        AccessPolicy, AccessRequest, AllowAll, ConsentReference, Decision, OperationGroup, Rule,
        RulePolicy,
    },
};

use super::permits;
use crate::common::invalid::{invalid_id, invalid_id_text, invalid_metadata, invalid_text};
use crate::common::{actor, subject};

#[test]
fn allow_all_permits_every_operation() {
    let anybody = actor("anybody");
    for operation in Operation::ALL {
        let request = AccessRequest::new(&anybody, Purpose::Marketing, *operation);
        assert_eq!(AllowAll.decide(&request), Decision::Permit);
        assert_eq!(
            AllowAll.decide(&request.labels(&["secret"])),
            Decision::Permit
        );
    }
}

#[test]
fn policy_without_rules_denies_every_operation() {
    for operation in Operation::ALL {
        assert!(!permits([], *operation, |request| request), "{operation}");
    }
}

#[test]
fn first_matching_policy_rule_decides() {
    let read = Operation::Read;
    let (permit, deny) = (Rule::permit().reading(), Rule::deny().actor("dr.garcia"));
    assert!(permits([permit.clone(), deny.clone()], read, |request| {
        request
    }));
    assert!(!permits([deny, permit.clone()], read, |request| request));
    let other = Rule::deny().actor("dr.lopez");
    assert!(permits([other, permit], read, |request| request));
}

#[test]
fn policy_in_arc_decides_like_wrapped_policy() {
    let kim = actor("nurse.kim");
    let request = AccessRequest::new(&kim, Purpose::Treatment, Operation::Read);
    let shared: Arc<dyn AccessPolicy> = Arc::new(RulePolicy::new([]).unwrap());
    assert_eq!(shared.decide(&request), Decision::Deny);
    assert_eq!(Arc::new(AllowAll).decide(&request), Decision::Permit);
}

#[test]
fn actor_patterns_match_whole_names_or_prefixes() {
    let matches = |pattern| {
        let rule = Rule::permit().actor(pattern);
        permits([rule], Operation::Put, |request| request)
    };
    for pattern in ["dr.garcia", "dr.*", "dr.garcia*", "*"] {
        assert!(matches(pattern), "{pattern}");
    }
    for pattern in ["dr.garci", "dr.garcia2", "garcia", "Dr.*", "dr.garcia2*"] {
        assert!(!matches(pattern), "{pattern}");
    }
    let several = Rule::permit().actor("nurse.*").actor("dr.*");
    assert!(permits([several], Operation::Put, |request| request));
}

#[test]
fn rule_with_invalid_condition_is_refused() {
    let refused = |rule: Rule| RulePolicy::new([Rule::permit(), rule]).unwrap_err();
    let long = "a".repeat(256);
    for pattern in [
        "",
        "dr.*.garcia",
        "*.garcia",
        "**",
        "a\nb",
        "a\u{7f}*",
        &long,
    ] {
        let refused = refused(Rule::deny().actor(pattern));
        assert_eq!(refused, pattern_error(InputField::ActorPattern, pattern));
    }
    for pattern in ["", "*/1", "a\nb", &"a".repeat(1025)] {
        let refused = refused(Rule::deny().record(pattern));
        assert_eq!(refused, pattern_error(InputField::RecordPattern, pattern));
    }
    for label in ["", "a\nb", &long] {
        let invalid = invalid_text(InputField::Label, label);
        assert_eq!(refused(Rule::deny().label(label)), invalid);
        let without = Rule::permit().without_label(label);
        assert_eq!(refused(without), invalid);
    }
    RulePolicy::new([Rule::deny().actor(&"a".repeat(255)).record(&long)]).unwrap();
}

#[test]
fn purpose_condition_matches_only_its_purpose() {
    let rule = Rule::deny().purpose(Purpose::Marketing);
    let policy = RulePolicy::new([rule, Rule::permit()]).unwrap();
    let actor = actor("dr.garcia");
    let of = |purpose| AccessRequest::new(&actor, purpose, Operation::Read);
    assert!(!policy.decide(&of(Purpose::Marketing)).is_permitted());
    assert!(policy.decide(&of(Purpose::Research)).is_permitted());
}

#[test]
fn group_rule_matches_operations_of_its_group() {
    use Operation::*;
    let reading = [Read, History, List, ListSubjects];
    let writing = [Put, Retract, Prepare];
    let auditing = [
        Inspect,
        ListSlots,
        TryCredential,
        CountKeys,
        Verify,
        PlanRestore,
        Checkpoint,
        ReadJournal,
    ];
    for operation in Operation::ALL {
        let group = match operation {
            _ if reading.contains(operation) => OperationGroup::Reading,
            _ if writing.contains(operation) => OperationGroup::Writing,
            _ if auditing.contains(operation) => OperationGroup::Auditing,
            _ => OperationGroup::Governing,
        };
        assert_eq!(OperationGroup::of(*operation), group, "{operation}");
        let permitted = |rule| permits([rule], *operation, |request| request);
        assert!(permitted(Rule::permit().group(group)), "{operation}");
        assert!(permitted(Rule::permit().operation(*operation)));
        let others = Operation::ALL.iter().filter(|other| *other != operation);
        let others = others.fold(Rule::permit(), |rule, other| rule.operation(*other));
        assert!(!permitted(others), "{operation}");
    }
}

#[test]
fn every_operation_belongs_to_one_group() {
    let in_group = |rule: Rule| {
        let all = Operation::ALL.iter();
        all.filter(|operation| permits([rule.clone()], **operation, |request| request))
            .count()
    };
    let groups = [
        in_group(Rule::permit().reading()),
        in_group(Rule::permit().writing()),
        in_group(Rule::permit().auditing()),
        in_group(Rule::permit().governing()),
    ];
    assert_eq!(groups.iter().sum::<usize>(), Operation::ALL.len());
    let only_reads = Rule::permit().reading().operation(Operation::Read);
    assert_eq!(in_group(only_reads), 1);
}

#[test]
fn rule_matches_only_where_all_conditions_match() {
    let own = subject("MRN-1");
    let portal = || {
        let rule = Rule::permit().subject_kind(SubjectKind::Patient);
        rule.subject(own.clone()).reading()
    };
    let permits_list_of =
        |subject: &Subject| permits([portal()], Operation::List, |list| list.subject(subject));
    assert!(permits_list_of(&own));
    assert!(!permits_list_of(&subject("MRN-2")));
    assert!(!permits([portal()], Operation::Put, |put| put.subject(&own)));
    let only_reads = || Rule::permit().reading().operation(Operation::Read);
    assert!(permits([only_reads()], Operation::Read, |read| read));
    assert!(!permits([only_reads()], Operation::List, |list| list));
}

fn pattern_error(field: InputField, pattern: &str) -> Error {
    let part = pattern.strip_suffix('*').unwrap_or(pattern);
    match part.find('*') {
        Some(position) => invalid_id(field, InputFault::InnerAsterisk { position }),
        None => invalid_id_text(field, part),
    }
}

#[test]
fn rule_whose_conditions_contradict_each_other_is_refused() {
    let refused = |rule: Rule| RulePolicy::new([rule]).unwrap_err();
    let reading_and_put = Rule::permit().reading().operation(Operation::Put);
    let invalid = invalid_metadata(InputField::Rule, InputFault::NeverMatches);
    assert_eq!(refused(reading_and_put), invalid);
    let patient_of_another_kind = Rule::deny()
        .subject_kind(SubjectKind::Organization)
        .subject(subject("MRN-1"));
    assert_eq!(refused(patient_of_another_kind), invalid);
}

#[test]
fn subject_conditions_match_by_kind_or_exactly() {
    let maria = subject("MRN-1042");
    let other = subject("MRN-1043");
    let formulary = Subject::organization("formulary").unwrap();
    let on = |rule: &Rule, subject| {
        permits([rule.clone()], Operation::List, |request| match subject {
            Some(subject) => request.subject(subject),
            None => request,
        })
    };
    let patients = Rule::permit().subject_kind(SubjectKind::Patient);
    assert!(on(&patients, Some(&maria)) && on(&patients, Some(&other)));
    assert!(!on(&patients, Some(&formulary)) && !on(&patients, None));
    let exact = Rule::permit().subject(maria.clone());
    assert!(on(&exact, Some(&maria)) && !on(&exact, Some(&other)) && !on(&exact, None));
    let several = exact.subject(formulary.clone());
    assert!(on(&several, Some(&maria)) && on(&several, Some(&formulary)));
    assert!(!on(&several, Some(&other)));
}

#[test]
fn record_patterns_match_names_or_prefixes() {
    let on = |pattern, name| {
        let rule = Rule::permit().record(pattern);
        permits([rule], Operation::Read, |request| match name {
            Some(name) => request.record(name),
            None => request,
        })
    };
    assert!(on("Appointment/*", Some("Appointment/7")));
    assert!(on("Appointment/7", Some("Appointment/7")));
    assert!(!on("Appointment/7", Some("Appointment/70")));
    assert!(!on("Appointment/*", Some("Condition/7")));
    assert!(!on("*", None));
}

#[test]
fn rule_matches_only_if_all_conditions_match() {
    let patient = subject("MRN-1042");
    let rule = |purpose, operation| {
        Rule::permit()
            .actor("dr.*")
            .purpose(purpose)
            .operation(operation)
            .subject(patient.clone())
    };
    let on = |rule| permits([rule], Operation::Read, |request| request.subject(&patient));
    assert!(on(rule(Purpose::Treatment, Operation::Read)));
    assert!(!on(rule(Purpose::Payment, Operation::Read)));
    assert!(!on(rule(Purpose::Treatment, Operation::Put)));
    assert!(!on(rule(Purpose::Treatment, Operation::Read)
        .actor("x")
        .record("y")));
}

#[test]
fn consent_of_rule_is_returned_unchanged() {
    let consent = ConsentReference::new("Consent/2024-117").unwrap();
    let rule = Rule::permit_under(consent.clone()).purpose(Purpose::Research);
    let policy = RulePolicy::new([rule, Rule::permit()]).unwrap();
    let actor = actor("study.7");
    let research = AccessRequest::new(&actor, Purpose::Research, Operation::Read);
    let decision = policy.decide(&research);
    assert_eq!(decision.consent().unwrap().text(), "Consent/2024-117");
    assert_eq!(decision, Decision::PermitUnder(consent));
    let treatment = AccessRequest::new(&actor, Purpose::Treatment, Operation::Read);
    assert_eq!(policy.decide(&treatment).consent(), None);
}

#[test]
fn consent_with_invalid_text_is_refused() {
    for text in ["", "a\nb", &"a".repeat(256)] {
        let refused = ConsentReference::new(text);
        assert_eq!(
            refused.unwrap_err(),
            invalid_text(InputField::ConsentReference, text)
        );
    }
    ConsentReference::new(&"a".repeat(255)).unwrap();
}

#[test]
fn policy_debug_output_contains_no_identifier() {
    let (actor, subject) = (actor("dr.garcia"), subject("MRN-1042"));
    let labels = ["psychiatry"];
    let request = AccessRequest::new(&actor, Purpose::Treatment, Operation::Read)
        .subject(&subject)
        .record("Observation/bp")
        .labels(&labels)
        .request_id("request-99")
        .organization("north clinic");
    let consent = ConsentReference::new("Consent/2024-117").unwrap();
    let rule = Rule::permit_under(consent)
        .actor("dr.garcia")
        .subject(subject.clone())
        .record("Observation/bp")
        .label("psychiatry");
    let policy = RulePolicy::new([rule.clone()]).unwrap();
    let decision = policy.decide(&request);
    let printed = format!("{request:?} {rule:?} {policy:?} {decision:?}");
    assert_eq!(
        printed,
        "AccessRequest(Read, ..) Rule(PermitUnder(ConsentReference(..)), ..) RulePolicy(1 rules) \
         PermitUnder(ConsentReference(..))"
    );
}
