//! Journal entries of denials, failures and abandoned writers.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chartlock::access::{
    AccessOutcome, AccessPolicy, AccessRequest, ConsentReference, Decision, Denial, Reason,
};
use chartlock::input::InputField;
use chartlock::internals::journal::Target;
use chartlock::storage::{Expect, StorageError, Transaction};
use chartlock::{Error, Operation, Precondition, VaultOptions};

use super::closing::{full_when, recording};
use super::deciding::{by, entries_of, id, memory, options, outcomes_of};
use crate::common::invalid::invalid_text;
use crate::common::journal::pages;
use crate::common::objects::objects_of;
use crate::common::{Fixed, accept_restore, record, subject};

/// Policy that denies one actor, with a reason.
#[derive(Debug)]
struct DeniesNosy;

impl AccessPolicy for DeniesNosy {
    fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        let reason = Reason::new(&"w".repeat(255)).unwrap();
        match request.actor.name() {
            "nosy" => Decision::DenyWith(Denial::new().because(reason)),
            _ => Decision::Permit,
        }
    }
}

#[test]
fn invalid_reason_is_refused_before_the_policy_is_asked() {
    let storage = memory();
    let vault = options().policy(DeniesNosy);
    let vault = vault.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    by(&vault, "dr.garcia").put(&id("note"), b"{}").unwrap();
    let nosy = by(&vault, "nosy");
    let long = "x".repeat(700_000);
    for reason in [&*long, "evil\nforged line", "", &"x".repeat(256)] {
        let (patient, invalid) = (
            subject("MRN-1042"),
            invalid_text(InputField::Reason, reason),
        );
        assert_eq!(nosy.erase_subject(&patient, reason), Err(invalid.clone()));
        assert_eq!(nosy.place_hold(&patient, reason), Err(invalid.clone()));
        assert_eq!(nosy.expunge(&id("note"), reason), Err(invalid.clone()));
        assert_eq!(Reason::new(reason), Err(invalid.clone()));
        assert_eq!(nosy.archive(reason, Vec::new()), Err(invalid.clone()));
        let spool = memory();
        let begun = nosy.begin_journal_fallback(reason, spool);
        assert_eq!(begun, Err(invalid.clone()));
    }
    assert!(outcomes_of(&storage, "nosy").is_empty());
}

#[test]
fn denial_with_longest_reason_leaves_an_entry_with_both_reasons() {
    let storage = memory();
    let vault = options().policy(DeniesNosy);
    let vault = vault.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    by(&vault, "dr.garcia").put(&id("note"), b"{}").unwrap();
    let nosy = by(&vault, "nosy");
    let reason = "r".repeat(255);
    let patient = subject("MRN-1042");
    assert_eq!(nosy.erase_subject(&patient, &reason), Err(Error::Denied));
    assert_eq!(nosy.expunge(&id("note"), &reason), Err(Error::Denied));
    let expected = format!("{}; {reason}", "w".repeat(255));
    let denied = AccessOutcome::Denied;
    assert_eq!(
        entries_of(&storage, "nosy"),
        [
            (Operation::Erase, denied, expected.clone()),
            (Operation::Expunge, denied, expected)
        ]
    );
}

/// Policy that permits everything under a consent.
#[derive(Debug)]
struct UnderConsent;

impl AccessPolicy for UnderConsent {
    fn decide(&self, _: &AccessRequest<'_>) -> Decision {
        Decision::PermitUnder(ConsentReference::new("Consent/2024-117-long-enough").unwrap())
    }
}

#[test]
fn restore_under_consent_erases_again_with_longest_reason() {
    let storage = memory();
    let options = || options().policy(UnderConsent);
    let vault = options().create(Arc::clone(&storage), &Fixed(1)).unwrap();
    by(&vault, "dr").put(&id("note"), b"{}").unwrap();
    let before = objects_of(&*storage, b"");
    by(&vault, "dr")
        .erase_subject(&subject("MRN-1042"), "asked")
        .unwrap();
    drop(vault);
    for (key, value) in before {
        if matches!(key[0], b'p' | b'r') {
            let put = Transaction::new().put(key, value, Expect::Any);
            storage.commit(&[put]).remove(0).unwrap();
        }
    }
    let vault = options().open(Arc::clone(&storage), &Fixed(1)).unwrap();
    let restored = accept_restore(&by(&vault, "dr"), &"r".repeat(255));
    assert_eq!(restored.unwrap().erased_again, 1);
}

#[test]
fn abandoned_and_failed_writers_leave_one_entry_each() {
    let storage = memory();
    let vault = options().create(Arc::clone(&storage), &Fixed(1)).unwrap();
    for _ in 0..3 {
        by(&vault, "dr.garcia").put(&id("note"), b"{}").unwrap();
    }
    let prober = by(&vault, "prober");
    let probe = |expected| {
        let mut writer = prober.writer(&id("note")).expecting(expected);
        writer.read_from(&[7; 70_000][..]).map(drop)
    };
    assert_eq!(probe(Precondition::Absent), Err(Error::Conflict));
    assert_eq!(probe(Precondition::Version(2)), Err(Error::Conflict));
    assert_eq!(probe(Precondition::Version(3)), Ok(()));
    let mut failing = prober.writer(&id("note"));
    failing.write_all(&[7; 70_000]).unwrap();
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
    }
    assert!(failing.read_from(Broken).is_err());
    assert!(failing.write_all(b"more").is_err());
    assert!(failing.finish().is_err());
    let refused = (Operation::Put, AccessOutcome::Refused);
    assert_eq!(outcomes_of(&storage, "prober"), [refused; 4]);
    let entries = entries_of(&storage, "prober");
    assert_eq!(entries[2].2, "abandoned before its end");
    assert_eq!(
        by(&vault, "dr.garcia").history(&id("note")).unwrap().len(),
        3
    );
}

#[test]
fn denials_while_journal_fails_are_bounded_and_none_is_lost() {
    let (storage, full) = (memory(), Arc::new(AtomicBool::new(false)));
    let (options, events) = recording(VaultOptions::new().without_background());
    let vault = options.policy(DeniesNosy);
    let vault = vault.create(full_when(&storage, &full), &Fixed(1)).unwrap();
    by(&vault, "dr.garcia").put(&id("note"), b"{}").unwrap();
    by(&vault, "dr.garcia").get(&id("note")).unwrap();
    full.store(true, Ordering::SeqCst);
    let nosy = by(&vault, "nosy");
    let answers: Vec<_> = (0..4_200)
        .map(|_| nosy.get(&id("note")).unwrap_err())
        .collect();
    let denied = answers
        .iter()
        .filter(|answer| **answer == Error::Denied)
        .count();
    // At the limit, the vault refuses to decide. A denial without an entry is never answered.
    let refused = Error::Journal(StorageError::Full);
    assert!(answers[denied..].iter().all(|answer| *answer == refused));
    assert!((4_000..4_200).contains(&denied), "{denied}");
    assert_eq!(nosy.put(&id("note"), b"!"), Err(refused.clone()));
    assert_eq!(nosy.history(&id("note")).unwrap_err(), refused);
    full.store(false, Ordering::SeqCst);
    assert_eq!(nosy.get(&id("note")).unwrap_err(), Error::Denied);
    drop((nosy, vault));
    assert_eq!(outcomes_of(&storage, "nosy").len(), denied + 1);
    assert!(!events.lock().unwrap().is_empty());
}

#[test]
fn list_of_subjects_journals_entries_that_do_not_open() {
    let storage = memory();
    let (options, events) = recording(options());
    let vault = options.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    for number in 0..6 {
        let id = record(&format!("MRN-{number}"), "note");
        by(&vault, "dr.garcia").put(&id, b"{}").unwrap();
    }
    for (key, mut value) in objects_of(&*storage, b"p") {
        *value.last_mut().unwrap() ^= 1;
        let put = Transaction::new().put(key, value, Expect::Any);
        storage.commit(&[put]).remove(0).unwrap();
    }
    let found = by(&vault, "dr.later").subjects().unwrap();
    assert_eq!(found.filter(Result::is_err).count(), 6);
    let listed = (Operation::ListSubjects, AccessOutcome::Done);
    let altered = (Operation::ListSubjects, AccessOutcome::NotAuthentic);
    let entries = outcomes_of(&storage, "dr.later");
    assert_eq!(
        entries,
        [listed, altered, altered, altered, altered, altered, altered]
    );
    assert_eq!(events.lock().unwrap().len(), 1, "repeated failures");
}

#[test]
fn retention_set_and_removed_differ_in_the_journal() {
    let storage = memory();
    let vault = options().create(Arc::clone(&storage), &Fixed(1)).unwrap();
    let (legal, patient) = (by(&vault, "legal"), subject("MRN-1042"));
    legal.put(&id("note"), b"{}").unwrap();
    let until = std::time::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
    legal.retain_until(&patient, Some(until)).unwrap();
    legal.retain_until(&patient, None).unwrap();
    let retentions: Vec<_> = pages(&*storage)
        .iter()
        .flat_map(|(_, page)| &page.entries)
        .filter_map(|entry| match entry.target {
            Target::Retention { until, .. } => Some(until),
            _ => None,
        })
        .collect();
    assert_eq!(retentions, [Some(4_000_000_000_000), None]);
}
