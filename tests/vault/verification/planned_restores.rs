//! Planned restores: the plan lists what an acceptance does, and the acceptance does nothing else.

use std::sync::{Arc, Mutex};

use chartlock::access::{AccessOutcome, SecurityEvent};
use chartlock::internals::journal::Target;
use chartlock::verify::{JournalFault, RestoreItem, RestoreItemKind, RestorePlan};
use chartlock::{Error, Operation, Session, Vault};

use super::bounds::planted_page;
use super::{assert_clean, chains, clinic, faults, put_back, record_key, remove, verify};
use crate::common::journal::pages;
use crate::common::{Fixed, accept_restore, because};
use crate::raw::{self, Objects};
use crate::stage::{Stage, record, session_on, subject};

everywhere!(
    plan_lists_items_with_proof_and_changes_nothing,
    items_recorded_under_closed_keys_are_repeated,
    plan_with_other_findings_is_outdated,
    plan_stays_valid_after_journaled_changes,
    plan_shows_the_header_that_another_process_wrote,
    chart_written_after_restore_is_erased_only_if_named,
    expunge_of_record_written_after_restore_is_refused,
    gap_below_planted_page_stays_accepted_while_the_chain_grows,
    put_after_plan_makes_plan_outdated,
    item_left_out_is_journaled_and_planned_again,
    plan_with_checkpoint_lists_lost_page,
    refused_acceptance_accepts_nothing,
    accepted_restore_raises_event,
);

/// Erases MRN-1 and expunges a record of MRN-2, puts back the storage from before, and brings back the
/// journal.
fn restored(stage: &Stage) -> Vault {
    clinic(&stage.create());
    let snapshot = raw::all_objects(&stage.storage);
    let session = session_on(&stage.open());
    let (id, patient) = (record("MRN-2", "Allergy/1"), subject("MRN-1"));
    session.expunge(&id, "wrong patient").unwrap();
    session
        .erase_subject(&patient, "the patient asked")
        .unwrap();
    drop(session);
    bring_back(stage, &snapshot)
}

fn bring_back(stage: &Stage, snapshot: &Objects) -> Vault {
    let later = Stage::memory();
    raw::reset(&later.storage, &raw::all_objects(&stage.storage));
    raw::reset(&stage.storage, snapshot);
    let vault = stage.open();
    let session = session_on(&vault);
    let reason = because("the old disk");
    session
        .bring_journal_back(&*later.storage, None, reason)
        .unwrap();
    vault
}

fn plan(session: &Session) -> RestorePlan {
    session.plan_restore(None, None).unwrap()
}

fn item(plan: &RestorePlan, kind: RestoreItemKind) -> RestoreItem {
    let mut items = plan.items.iter().filter(|item| item.kind == kind);
    let item = items.next().unwrap().clone();
    assert!(items.next().is_none());
    item
}

fn is_erased(session: &Session) -> bool {
    session.get(&record("MRN-1", "Allergy/1")).err() == Some(Error::Erased)
}

fn plan_lists_items_with_proof_and_changes_nothing(stage: &Stage) {
    let vault = restored(stage);
    let session = session_on(&vault);
    let before = raw::objects(&stage.storage);
    let plan = plan(&session);
    assert!(raw::objects(&stage.storage) == before);
    let erase = item(&plan, RestoreItemKind::Erase);
    let expunge = item(&plan, RestoreItemKind::Expunge);
    assert_eq!(erase.subject, Some(subject("MRN-1")));
    assert_eq!(expunge.id(), Some(record("MRN-2", "Allergy/1")));
    assert!(!erase.contested && !expunge.contested);
    let pages = pages(&*stage.storage);
    for (item, operation) in [(&erase, Operation::Erase), (&expunge, Operation::Expunge)] {
        let (_, page) = (pages.iter())
            .find(|(id, _)| (id.writer, id.sequence) == (item.proof.writer, item.proof.page))
            .unwrap();
        let proves = page.entries.iter().any(|entry| {
            let subject = entry.target.subject();
            entry.operation == operation && subject.is_some_and(|of| of.chart == item.chart)
        });
        assert!(proves);
    }
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["items"][0]["kind"], "erase");
    assert_eq!(json["items"][0]["proof"]["page"], erase.proof.page);
    assert!(!format!("{plan:?}").contains("MRN"));
    let report = session.accept_restore(&plan, because("disk failure"));
    let report = report.unwrap();
    assert_eq!((report.erased_again, report.expunged_again), (1, 1));
    assert_eq!(report.left_out, 0);
    assert!(is_erased(&session));
    drop((session, vault));
    assert_clean(stage);
}

/// No page proves that the first erasure was before the repeated one, so that the numbers of both seem to
/// come from two copies of the vault.
fn items_recorded_under_closed_keys_are_repeated(stage: &Stage) {
    clinic(&stage.create());
    let snapshot = raw::all_objects(&stage.storage);
    let vault = stage.open();
    let session = session_on(&vault);
    let (id, patient) = (record("MRN-2", "Allergy/1"), subject("MRN-1"));
    session.expunge(&id, "wrong patient").unwrap();
    session
        .erase_subject(&patient, "the patient asked")
        .unwrap();
    vault.rotate_journal_keys(&[], &[]).unwrap();
    drop((session, vault));
    put_back(&stage.storage, &snapshot, |key| !b"jav".contains(&key[0]));
    let vault = stage.open();
    let session = session_on(&vault);
    let report = session.accept_restore(&plan(&session), because("disk failure"));
    let report = report.unwrap();
    assert_eq!((report.erased_again, report.expunged_again), (1, 1));
    assert!(is_erased(&session));
    drop((session, vault));
    assert_clean(stage);
}

/// The erasure is not repeated, because the operator has not seen the other finding.
fn plan_with_other_findings_is_outdated(stage: &Stage) {
    let vault = restored(stage);
    let session = session_on(&vault);
    let key = record_key(stage, "MRN-2", "Observation/1");
    let plan = plan(&session);
    raw::delete(&stage.storage, &key);
    let accepted = session.accept_restore(&plan, because("disk failure"));
    assert_eq!(accepted, Err(Error::PlanOutdated));
    assert!(!is_erased(&session));
    assert!(verify(stage).restores.is_empty());
}

fn plan_stays_valid_after_journaled_changes(stage: &Stage) {
    let vault = restored(stage);
    let session = session_on(&vault);
    let plan = plan(&session);
    let other = session_on(&stage.open());
    other.put(&record("MRN-3", "Allergy/1"), b"new").unwrap();
    other
        .put(&record("MRN-2", "Observation/9"), b"new")
        .unwrap();
    session
        .accept_restore(&plan, because("disk failure"))
        .unwrap();
    assert!(is_erased(&session));
    assert!(other.get(&record("MRN-3", "Allergy/1")).unwrap().is_some());
    drop((other, session, vault));
    assert_clean(stage);
}

fn plan_shows_the_header_that_another_process_wrote(stage: &Stage) {
    drop(restored(stage));
    let options = stage.options_under_load();
    let open = || options.clone().open(stage.shared(), &Fixed(1)).unwrap();
    let (session, other) = (session_on(&open()), open());
    session.get(&record("MRN-2", "Allergy/1")).unwrap();
    let slot = other.add_slot(&Fixed(2)).unwrap();
    other.rotate_journal_keys(&[], &[]).unwrap();
    let (header, _) = raw::header(&raw::header_value(&stage.storage), &Fixed(1));
    let generation = header.generation();
    let plan = plan(&session);
    assert!(plan.header.slots_back.iter().any(|it| it.id == slot));
    assert_eq!(plan.header.generation, generation);
    session
        .accept_restore(&plan, because("disk failure"))
        .unwrap();
    assert_clean(stage);
}

fn chart_written_after_restore_is_erased_only_if_named(stage: &Stage) {
    let vault = restored(stage);
    let session = session_on(&vault);
    let id = record("MRN-1", "Observation/new");
    session.put(&id, b"written since").unwrap();
    let first = plan(&session);
    let contested = item(&first, RestoreItemKind::Erase);
    assert!(contested.contested);
    assert!(!item(&first, RestoreItemKind::Expunge).contested);
    let report = session.accept_restore(&first, because("disk failure"));
    let report = report.unwrap();
    assert_eq!((report.erased_again, report.left_out), (0, 1));
    assert_eq!(&session.get(&id).unwrap().unwrap()[..], b"written since");
    let second = plan(&session);
    let contested = item(&second, RestoreItemKind::Erase);
    let second = second.with_contested(&contested);
    let report = session.accept_restore(&second, because("he asked again"));
    let report = report.unwrap();
    assert_eq!((report.erased_again, report.left_out), (1, 0));
    assert!(is_erased(&session));
    drop((session, vault));
    assert_clean(stage);
}

fn expunge_of_record_written_after_restore_is_refused(stage: &Stage) {
    for puts in [1, 4] {
        raw::reset(&stage.storage, &Objects::new());
        let vault = restored(stage);
        let session = session_on(&vault);
        let id = record("MRN-2", "Allergy/1");
        for _ in 0..puts {
            session.put(&id, b"written since").unwrap();
        }
        let first = plan(&session);
        let contested = item(&first, RestoreItemKind::Expunge);
        assert!(contested.contested);
        let report = session.accept_restore(&first, because("disk failure"));
        assert_eq!(report.unwrap().expunged_again, 0);
        assert_eq!(&session.get(&id).unwrap().unwrap()[..], b"written since");
        let second = plan(&session);
        let contested = item(&second, RestoreItemKind::Expunge);
        assert!(contested.contested && contested.left_out);
        let restores = verify(stage).restores.len();
        let named = second.with_contested(&contested);
        let refused = session.accept_restore(&named, because("disk failure"));
        assert_eq!(refused, Err(Error::RecordRewritten));
        assert_eq!(verify(stage).restores.len(), restores);
        assert_eq!(&session.get(&id).unwrap().unwrap()[..], b"written since");
        let left_out = named.without(&contested);
        session
            .accept_restore(&left_out, because("disk failure"))
            .unwrap();
    }
}

/// An object is planted at the last possible place of a chain that its writer extends.
fn gap_below_planted_page_stays_accepted_while_the_chain_grows(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    let session = session_on(&vault);
    let chain = chains(&stage.storage).remove(0);
    for sequence in [u64::MAX, 1 << 40] {
        let key = [&chain[0][..17], &sequence.to_be_bytes()].concat();
        raw::put(&stage.storage, &key, &planted_page(&stage.storage));
        let first = plan(&session);
        assert!(faults(&first.findings).contains(&JournalFault::Missing));
        session
            .put(&record("MRN-1", "Observation/1"), b"1")
            .unwrap();
        session
            .accept_restore(&first, because("a planted object"))
            .unwrap();
        for _ in 0..3 {
            session
                .put(&record("MRN-1", "Observation/1"), b"2")
                .unwrap();
            let report = vault.verify(None).unwrap();
            assert!(report.is_clean(), "{report:#?}");
        }
    }
    let seen = vault.checkpoint().unwrap();
    drop((session, vault));
    clinic(&stage.open());
    let chain = chains(&stage.storage).into_iter();
    let chain = chain.max_by_key(Vec::len).unwrap();
    remove(&stage.storage, &chain[chain.len() - 4..chain.len() - 2]);
    let report = stage.open().verify(Some(&seen)).unwrap();
    assert!(faults(&report).contains(&JournalFault::Cut), "{report:#?}");
}

fn put_after_plan_makes_plan_outdated(stage: &Stage) {
    let vault = restored(stage);
    let session = session_on(&vault);
    let plan = plan(&session);
    let id = record("MRN-1", "Observation/new");
    session.put(&id, b"written since").unwrap();
    let accepted = session.accept_restore(&plan, because("disk failure"));
    assert_eq!(accepted, Err(Error::PlanOutdated));
    assert!(session.get(&id).unwrap().is_some());
}

fn item_left_out_is_journaled_and_planned_again(stage: &Stage) {
    let vault = restored(stage);
    let session = session_on(&vault);
    let first = plan(&session);
    let kept = item(&first, RestoreItemKind::Erase);
    let first = first.without(&kept);
    assert!(!first.repeats(&kept));
    let report = session.accept_restore(&first, because("disk failure"));
    let report = report.unwrap();
    assert_eq!((report.erased_again, report.expunged_again), (0, 1));
    assert_eq!(report.left_out, 1);
    assert!(!is_erased(&session));
    let listed = pages(&*stage.storage)
        .into_iter()
        .flat_map(|(_, page)| page.entries);
    let listed = listed.filter(|entry| {
        entry.operation == Operation::AcceptRestore && entry.outcome == AccessOutcome::Refused
    });
    let listed: Vec<_> = listed.map(|entry| entry.target).collect();
    let [Target::Subject(listed)] = listed[..] else {
        panic!("{listed:?}");
    };
    assert_eq!(listed.chart, kept.chart);
    assert_eq!(
        item(&plan(&session), RestoreItemKind::Erase).chart,
        kept.chart
    );
}

fn plan_with_checkpoint_lists_lost_page(stage: &Stage) {
    clinic(&stage.create());
    let snapshot = raw::all_objects(&stage.storage);
    let checkpoint = stage.open().checkpoint().unwrap();
    raw::reset(&stage.storage, &snapshot);
    let vault = stage.open();
    let session = session_on(&vault);
    assert!(plan(&session).findings.is_clean());
    let plan = session.plan_restore(Some(&checkpoint), None).unwrap();
    assert!(!plan.findings.is_clean());
    session
        .accept_restore(&plan, because("disk failure"))
        .unwrap();
    let report = vault.verify(Some(&checkpoint)).unwrap();
    assert!(report.is_clean(), "{report:#?}");
}

fn refused_acceptance_accepts_nothing(stage: &Stage) {
    clinic(&stage.create());
    let snapshot = raw::all_objects(&stage.storage);
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let id = record("MRN-1", "Allergy/1");
    session_on(&stage.open()).put(&id, b"penicillin").unwrap();
    let vault = stage.open();
    let session = session_on(&vault);
    let clean = plan(&session);
    put_back(&stage.storage, &snapshot, |of| of == key);
    let accepted = session.accept_restore(&clean, because("disk failure"));
    assert_eq!(accepted, Err(Error::PlanOutdated));
    drop((session, vault));
    let report = verify(stage);
    assert!(report.restores.is_empty() && !report.is_clean());
}

fn accepted_restore_raises_event(stage: &Stage) {
    clinic(&stage.create());
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let options = stage.options();
    let options = options.on_security_event(move |event: &SecurityEvent| {
        seen.lock().unwrap().push(event.clone());
    });
    let vault = stage.open_by(options);
    accept_restore(&session_on(&vault), "disk failure").unwrap();
    let events = events.lock().unwrap();
    let [SecurityEvent::RestoreAccepted { actor, left_out: 0 }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(actor.name(), "dr.garcia");
}
