//! Restores that fuzzing found to be refused, or to leave a finding.

use chartlock::Operation;
use chartlock::access::AccessOutcome;
use chartlock::internals::crypto::name_tag;
use chartlock::internals::journal::{Target, page_of};
use chartlock::verify::RestoreItemKind;

use super::{assert_clean, put_back, verify};
use crate::common::accept_restore;
use crate::common::because;
use crate::common::journal::{pages, unlocked};
use crate::raw;
use crate::stage::{Stage, record, session_on, subject};

/// The order of findings must not vary, because an acceptance compares them one by one.
#[test]
fn restore_of_many_patient_entries_is_accepted() {
    let stage = Stage::memory();
    let vault = stage.create();
    for patient in 0..6 {
        let id = record(&format!("MRN-{patient}"), "Note/1");
        session_on(&vault).put(&id, b"a note").unwrap();
    }
    let earlier = raw::all_objects(&stage.storage);
    for patient in 0..6 {
        let subject = subject(&format!("MRN-{patient}"));
        session_on(&vault).place_hold(&subject, "a suit").unwrap();
    }
    drop(vault);
    put_back(&stage.storage, &earlier, |key| key[0] == b'p');
    let vault = stage.open();
    accept_restore(&session_on(&vault), "disk failure").unwrap();
    drop(vault);
    assert_clean(&stage);
}

/// A restore accepts the header too if only the missing pages named it.
#[test]
fn header_that_missing_pages_named_is_accepted() {
    let stage = Stage::memory();
    let vault = stage.create();
    session_on(&vault)
        .put(&record("MRN-1", "Note/1"), b"a note")
        .unwrap();
    vault.rotate_master_key().unwrap();
    vault.checkpoint().unwrap();
    vault.rotate_master_key().unwrap();
    vault.checkpoint().unwrap();
    drop(vault);
    let named: Vec<_> = pages(&*stage.storage)
        .into_iter()
        .filter(|(_, page)| {
            let mut entries = page.entries.iter();
            entries.any(|entry| {
                entry.operation == Operation::RotateMaster
                    && matches!(entry.target, Target::Header { .. })
            })
        })
        .map(|(id, _)| id)
        .collect();
    let mut objects = raw::all_objects(&stage.storage);
    objects.retain(|key, _| page_of(key).is_none_or(|id| !named.contains(&id)));
    raw::reset(&stage.storage, &objects);
    assert!(!verify(&stage).is_clean());
    let vault = stage.open();
    accept_restore(&session_on(&vault), "disk failure").unwrap();
    drop(vault);
    assert_clean(&stage);
}

/// The journal names all records by tags under the first journal key.
#[test]
fn item_left_out_after_rotation_has_tag_of_first_journal_key() {
    let stage = Stage::memory();
    let vault = stage.create();
    let id = record("MRN-1", "Note/1");
    session_on(&vault).put(&id, b"a note").unwrap();
    vault.rotate_journal_keys(&[], &[]).unwrap();
    let earlier = raw::all_objects(&stage.storage);
    session_on(&vault).expunge(&id, "wrong patient").unwrap();
    drop(vault);
    put_back(&stage.storage, &earlier, |key| b"rhs".contains(&key[0]));
    let vault = stage.open();
    let session = session_on(&vault);
    let plan = session.plan_restore(None, None).unwrap();
    let item = plan.items[0].clone();
    assert_eq!(item.kind, RestoreItemKind::Expunge);
    let plan = plan.without(&item);
    session
        .accept_restore(&plan, because("disk failure"))
        .unwrap();
    let (_, unlocked) = unlocked(&*stage.storage);
    let tag = name_tag(unlocked.keyring.first_journal_key(), "Note/1").unwrap();
    let pages = pages(&*stage.storage);
    let mut entries = pages.iter().flat_map(|(_, page)| &page.entries);
    let listed = entries.find(|entry| {
        entry.operation == Operation::AcceptRestore && entry.outcome == AccessOutcome::Refused
    });
    assert_eq!(listed.unwrap().target.record().unwrap().name, tag);
}
