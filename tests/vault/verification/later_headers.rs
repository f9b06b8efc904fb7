//! Restores of a backup from before a rotation of keys, planned with the header of the later storage.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chartlock::internals::keys::Header;
use chartlock::storage::{FaultAction, FaultPoint};
use chartlock::verify::{
    FindingKind, JournalFault, LaterHeader, RestoreItem, RestoreItemKind, RestorePlan,
};
use chartlock::{Error, Session, Vault};

use super::journal_keys::{chains_under, forge, keys_of};
use super::{assert_clean, clinic, faults, remove, verify};
use crate::common::because;
use crate::raw::{self, Objects};
use crate::stage::{Fixed, Stage, record, session_on, subject};

everywhere!(
    erasures_under_rotated_keys_are_repeated,
    late_page_of_later_storage_is_not_brought_back,
    accepted_header_has_keys_of_both_sides,
    page_under_restored_keys_has_no_consequence,
    lost_heads_are_replaced,
    erasure_of_unproven_page_is_repeated_only_if_named,
    unproven_pages_are_believed_on_request,
    record_written_after_restore_contests_the_erasure,
    interrupted_acceptance_is_finished,
    later_slots_keep_former_credentials_out,
    auditors_of_the_later_header_read_on,
    keys_rotated_after_restore_are_joined,
    many_lost_heads_are_named_by_pages,
    header_with_other_master_keys_is_replaced,
    plan_without_later_header_names_what_is_back,
    unusable_later_header_is_refused,
    later_header_is_joined_once,
);

/// Credential of the insider, whose slot is in the backup only.
const INSIDER: Fixed = Fixed(4);
const REASON: &str = "disk failure on ward 3";

/// A vault whose backup was put back, and the storage that the backup replaced.
struct Incident {
    later: Stage,
    backup: Objects,
}

impl Incident {
    /// Backs up a vault, rotates its keys without the insider's slot, erases MRN-1, expunges a record of
    /// MRN-2, and puts the backup back.
    fn new(stage: &Stage) -> Self {
        Self::with_rotations(stage, 1)
    }

    fn with_rotations(stage: &Stage, rotations: usize) -> Self {
        let vault = stage.create();
        clinic(&vault);
        let slot = vault.add_slot(&INSIDER).unwrap();
        drop(vault);
        let backup = raw::all_objects(&stage.storage);
        let vault = stage.open();
        let session = session_on(&vault);
        session
            .put(&record("MRN-2", "Observation/1"), b"130/90")
            .unwrap();
        vault.rotate_root_key(&[&Fixed(1)], &[slot]).unwrap();
        for _ in 1..rotations {
            vault.rotate_journal_keys(&[], &[]).unwrap();
        }
        vault.rotate_master_key().unwrap();
        let (id, patient) = (record("MRN-2", "Allergy/1"), subject("MRN-1"));
        session.expunge(&id, "wrong patient").unwrap();
        session
            .erase_subject(&patient, "the patient asked")
            .unwrap();
        drop((session, vault));
        let later = Stage::memory();
        raw::reset(&later.storage, &raw::all_objects(&stage.storage));
        raw::reset(&stage.storage, &backup);
        Self { later, backup }
    }

    fn header(&self) -> LaterHeader {
        LaterHeader::read(&*self.later.storage, &Fixed(1)).unwrap()
    }

    /// Copies the later journal pages into the vault.
    fn bring_back(&self, stage: &Stage) {
        let session = session_on(&stage.open());
        let header = self.header();
        let reason = because("the old disk");
        let report = session.bring_journal_back(&*self.later.storage, Some(&header), reason);
        let report = report.unwrap();
        assert!(report.pages_put_back > 0);
        assert_eq!(report.pages_passed_over, 0);
    }
}

fn plan(session: &Session, incident: &Incident) -> RestorePlan {
    session
        .plan_restore(None, Some(&incident.header()))
        .unwrap()
}

fn kinds(plan: &RestorePlan) -> Vec<RestoreItemKind> {
    plan.items.iter().map(|item| item.kind).collect()
}

fn accept(session: &Session, plan: &RestorePlan) {
    let report = session.accept_restore(plan, because(REASON)).unwrap();
    assert_eq!(report.root_rotation_due, plan.header.root_rotation_due);
}

fn is_erased(vault: &Vault) -> bool {
    let found = session_on(vault).get(&record("MRN-1", "Allergy/1"));
    found.err() == Some(Error::Erased)
}

fn erasures_under_rotated_keys_are_repeated(stage: &Stage) {
    let incident = Incident::new(stage);
    incident.bring_back(stage);
    let vault = stage.open();
    let session = session_on(&vault);
    let without = session.plan_restore(None, None).unwrap();
    assert!(without.items.is_empty());
    assert!(faults(&without.findings).contains(&JournalFault::UnknownJournalKey));
    let plan = plan(&session, &incident);
    assert_eq!(
        kinds(&plan),
        [RestoreItemKind::Erase, RestoreItemKind::Expunge]
    );
    assert!(
        plan.items.iter().all(|item| plan.repeats(item)),
        "{plan:#?}"
    );
    assert!(plan.header.heads_lost.is_empty() && plan.header.heads_named.is_empty());
    let report = session.accept_restore(&plan, because(REASON)).unwrap();
    assert_eq!((report.erased_again, report.expunged_again), (1, 1));
    assert!(report.root_rotation_due);
    assert!(is_erased(&vault));
    let expunged = session.get(&record("MRN-2", "Allergy/1")).unwrap();
    assert!(expunged.is_none());
    drop((session, vault));
    assert_clean(stage);
    let vault = stage.open();
    clinic_of_others(&vault);
    vault
        .rotate_root_key(&[&Fixed(1)], &[insider_slot(&vault)])
        .unwrap();
    vault.rotate_master_key().unwrap();
    drop(vault);
    assert_clean(stage);
}

/// The insider plants a page into the later storage, after the keys were closed.
fn late_page_of_later_storage_is_not_brought_back(stage: &Stage) {
    let incident = Incident::new(stage);
    let (former, _) = keys_of(&stage.storage);
    let all = raw::objects_of(&incident.later.storage, b"j").len() as u64;
    let copied = raw::objects_of(&stage.storage, b"j").len() as u64;
    forge(&stage.storage, &former, None);
    let planted = [&b"j"[..], &[9; 16], &[0; 8]].concat();
    let page = raw::objects_of(&stage.storage, &planted).remove(&planted);
    raw::put(&incident.later.storage, &planted, &page.unwrap());
    remove(&stage.storage, &[planted]);
    let session = session_on(&stage.open());
    let later = &*incident.later.storage;
    let header = incident.header();
    let report = session.bring_journal_back(later, Some(&header), because("the old disk"));
    let report = report.unwrap();
    assert_eq!(report.pages_passed_over, 1);
    assert!(report.pages_put_back > 0 && report.pages_put_back <= all - copied);
}

fn clinic_of_others(vault: &Vault) {
    let session = session_on(vault);
    session.put(&record("MRN-3", "Allergy/1"), b"none").unwrap();
    session
        .put(&record("MRN-2", "Observation/1"), b"140/90")
        .unwrap();
}

fn insider_slot(vault: &Vault) -> u16 {
    vault.slots().unwrap().last().unwrap().id
}

fn accepted_header_has_keys_of_both_sides(stage: &Stage) {
    let incident = Incident::new(stage);
    let restored = keys_of(&stage.storage).1;
    let later = keys_of(&incident.later.storage).1;
    incident.bring_back(stage);
    let vault = stage.open();
    let session = session_on(&vault);
    let plan = plan(&session, &incident);
    let before = Header::parse(&raw::header_value(&stage.storage))
        .unwrap()
        .generation();
    let other = Header::parse(&raw::header_value(&incident.later.storage))
        .unwrap()
        .generation();
    assert_eq!(
        (plan.header.generation, plan.header.later_generation),
        (before, Some(other))
    );
    assert!(plan.header.writes_header);
    assert_eq!(plan.header.slots_back, vault.slots().unwrap());
    let masters: Vec<_> = restored.masters().map(|master| master.number).collect();
    assert_eq!(plan.header.master_keys_back, masters);
    accept(&session, &plan);
    let value = raw::header_value(&stage.storage);
    let (header, joined) = raw::header(&value, &Fixed(1));
    assert_eq!(header.generation(), before.max(other) + (1 << 32));
    assert_eq!(
        joined.active_journal_key().number,
        later.active_journal_key().number
    );
    assert_eq!(
        joined.active_authority_key().number,
        later.active_authority_key().number
    );
    let former: Vec<_> = joined.former_journal_keys().map(|key| key.number).collect();
    assert_eq!(former, [restored.active_journal_key().number]);
    assert!(joined.closed_heads().eq(later.closed_heads()));
    let now: Vec<_> = joined.masters().map(|master| master.number).collect();
    assert_eq!(now, masters);
    assert_eq!(vault.slots().unwrap().len(), 2);
}

/// A former insider plants a page that erases a patient, before the restore is planned and after it is
/// accepted.
fn page_under_restored_keys_has_no_consequence(stage: &Stage) {
    let incident = Incident::new(stage);
    let (former, _) = keys_of(&stage.storage);
    incident.bring_back(stage);
    forge(&stage.storage, &former, None);
    let vault = stage.open();
    let session = session_on(&vault);
    let first = plan(&session, &incident);
    assert_eq!(first.items.len(), 2);
    assert!(
        first
            .items
            .iter()
            .all(|item| !item.unproven && !item.contested)
    );
    let planted: Vec<_> = (first.findings.journal.iter())
        .filter(|found| found.writer == Some([9; 16]))
        .map(|found| found.fault)
        .collect();
    assert_eq!(planted, [JournalFault::Late]);
    accept(&session, &first);
    drop((session, vault));
    assert_clean(stage);
    remove(&stage.storage, &[[&b"j"[..], &[9; 16], &[0; 8]].concat()]);
    let records = raw::objects_of(&stage.storage, b"r");
    forge(&stage.storage, &former, None);
    let chain = chains_under(&stage.storage, &former).into_iter();
    let chain = chain.max_by_key(Vec::len).unwrap();
    forge(&stage.storage, &former, chain.last().map(Vec::as_slice));
    let report = verify(stage);
    assert!(report.records.is_empty() && report.entries.is_empty());
    assert!(
        faults(&report)
            .iter()
            .all(|fault| *fault == JournalFault::Late)
    );
    assert!(!report.is_clean());
    let vault = stage.open();
    let again = session_on(&vault).plan_restore(None, None).unwrap();
    assert!(again.items.is_empty());
    session_on(&vault)
        .accept_restore(&again, because(REASON))
        .unwrap();
    assert_eq!(raw::objects_of(&stage.storage, b"r"), records);
}

/// Only the header of the later storage is left.
fn lost_heads_are_replaced(stage: &Stage) {
    let incident = Incident::new(stage);
    let (former, _) = keys_of(&stage.storage);
    let vault = stage.open();
    let session = session_on(&vault);
    let plan = plan(&session, &incident);
    assert!(plan.items.is_empty());
    assert!(!plan.header.heads_lost.is_empty() && !plan.header.heads_named.is_empty());
    let found = faults(&plan.findings);
    assert!(!found.contains(&JournalFault::Unproven), "{found:?}");
    accept(&session, &plan);
    drop((session, vault));
    assert_clean(stage);
    forge(&stage.storage, &former, None);
    assert_eq!(faults(&verify(stage)), [JournalFault::Late]);
}

fn erasure_of_unproven_page_is_repeated_only_if_named(stage: &Stage) {
    let incident = Incident::new(stage);
    let (former, _) = keys_of(&stage.storage);
    forge(&stage.storage, &former, None);
    let records = raw::objects_of(&stage.storage, b"r");
    let vault = stage.open();
    let session = session_on(&vault);
    for _ in 0..2 {
        let plan = plan(&session, &incident);
        let [item] = &plan.items[..] else {
            panic!("{plan:#?}");
        };
        assert_eq!(
            (item.kind, item.proof.writer),
            (RestoreItemKind::Erase, [9; 16])
        );
        assert!(item.unproven || item.contested);
        assert!(!plan.repeats(item));
        let report = session.accept_restore(&plan, because(REASON)).unwrap();
        assert_eq!((report.erased_again, report.left_out), (0, 1));
        assert_eq!(raw::objects_of(&stage.storage, b"r"), records);
    }
    let plan = plan(&session, &incident);
    let item: RestoreItem = plan.items[0].clone();
    let report = session.accept_restore(&plan.with_contested(&item), because(REASON));
    assert_eq!(report.unwrap().erased_again, 1);
}

fn unproven_pages_are_believed_on_request(stage: &Stage) {
    let incident = Incident::new(stage);
    incident.bring_back(stage);
    let session = session_on(&stage.open());
    session
        .put(&record("MRN-3", "Allergy/1"), b"since the restore")
        .unwrap();
    drop(session);
    let vault = stage.open();
    let session = session_on(&vault);
    let strict = plan(&session, &incident);
    assert!(faults(&strict.findings).contains(&JournalFault::Late));
    assert!(!strict.findings.unattested.is_empty());
    let header = incident.header().with_unproven_pages();
    let plan = session.plan_restore(None, Some(&header)).unwrap();
    assert!(
        !faults(&plan.findings).contains(&JournalFault::Late),
        "{plan:#?}"
    );
    assert!(plan.findings.unattested.is_empty(), "{plan:#?}");
    assert!(!plan.header.heads_named.is_empty());
    accept(&session, &plan);
    assert!(is_erased(&vault));
    drop((session, vault));
    assert_clean(stage);
}

fn record_written_after_restore_contests_the_erasure(stage: &Stage) {
    let incident = Incident::new(stage);
    incident.bring_back(stage);
    let id = record("MRN-1", "Observation/new");
    session_on(&stage.open())
        .put(&id, b"since the restore")
        .unwrap();
    let vault = stage.open();
    let session = session_on(&vault);
    let plan = plan(&session, &incident);
    let erase = plan
        .items
        .iter()
        .find(|item| item.kind == RestoreItemKind::Erase);
    assert!(erase.unwrap().contested);
    accept(&session, &plan);
    assert_eq!(
        &session.get(&id).unwrap().unwrap()[..],
        b"since the restore"
    );
}

/// Ends the process before and after each commit of an acceptance. The next plan and acceptance finish
/// it.
fn interrupted_acceptance_is_finished(stage: &Stage) {
    let incident = Incident::new(stage);
    incident.bring_back(stage);
    let restored = raw::all_objects(&stage.storage);
    let mut wrote_header = false;
    for (failing, action) in (0..).flat_map(|at| {
        [FaultAction::Stop, FaultAction::StopAfter].map(|action| (at * stage.stride as u64, action))
    }) {
        raw::reset(&stage.storage, &restored);
        let commits = Arc::new(AtomicU64::new(u64::MAX));
        let counter = Arc::clone(&commits);
        let (vault, _) = stage.open_with(move |_, point| match point {
            FaultPoint::Commit(_) if counter.fetch_sub(1, Ordering::SeqCst) == 0 => action,
            _ => FaultAction::Proceed,
        });
        let session = session_on(&vault);
        let first = plan(&session, &incident);
        commits.store(failing, Ordering::SeqCst);
        let accepted = session.accept_restore(&first, because(REASON));
        commits.store(u64::MAX, Ordering::SeqCst);
        drop((session, vault));
        let has_header = raw::header_value(&stage.storage) != restored[&b"v"[..]];
        let vault = stage.open();
        let session = session_on(&vault);
        if accepted.is_err() {
            wrote_header |= has_header;
            assert!(session.plan_restore(None, None).is_ok());
            let second = plan(&session, &incident);
            assert_eq!(
                second.header.writes_header, !has_header,
                "{failing} {action:?}"
            );
            session.accept_restore(&second, because(REASON)).unwrap();
        }
        assert!(is_erased(&vault), "{failing} {action:?}");
        drop((session, vault));
        assert_clean(stage);
        if accepted.is_ok() {
            assert!(wrote_header && failing > 0);
            return;
        }
    }
}

fn later_slots_keep_former_credentials_out(stage: &Stage) {
    let incident = Incident::new(stage);
    incident.bring_back(stage);
    assert!(stage.options().open(stage.shared(), &INSIDER).is_ok());
    let vault = stage.open();
    let other = stage.open_by(stage.options().without_journal());
    let session = session_on(&vault);
    let plan = plan(&session, &incident).with_later_slots();
    accept(&session, &plan);
    let later = stage
        .options()
        .open(incident.later.shared(), &Fixed(1))
        .unwrap();
    assert_eq!(vault.slots().unwrap(), later.slots().unwrap());
    clinic_of_others(&vault);
    let refused = stage.options().open(stage.shared(), &INSIDER);
    assert_eq!(refused.err(), Some(Error::WrongKey));
    assert_eq!(other.recovery_kit().err(), Some(Error::RootKeyChanged));
    drop((other, session, vault));
    assert_clean(stage);
    assert!(is_erased(&stage.open()));
}

fn auditors_of_the_later_header_read_on(stage: &Stage) {
    let (former_auditor, auditor, later_auditor) = (Fixed(2), Fixed(3), Fixed(5));
    let vault = stage.create();
    let dropped = vault.add_auditor_slot(&former_auditor).unwrap();
    vault.add_auditor_slot(&auditor).unwrap();
    clinic(&vault);
    let backup = raw::all_objects(&stage.storage);
    vault.rotate_journal_keys(&[&auditor], &[dropped]).unwrap();
    vault.add_auditor_slot(&later_auditor).unwrap();
    drop(vault);
    let later = Stage::memory();
    raw::reset(&later.storage, &raw::all_objects(&stage.storage));
    raw::reset(&stage.storage, &backup);
    let incident = Incident { later, backup };
    let vault = stage.open();
    let session = session_on(&vault);
    let plan = plan(&session, &incident);
    assert_eq!(plan.header.slots_dropped.len(), 2);
    accept(&session, &plan);
    assert_eq!(vault.slots().unwrap().len(), 3);
    let header = Header::parse(&raw::header_value(&stage.storage)).unwrap();
    for current in [&auditor, &later_auditor] {
        let (keys, _) = header.unlock_journal(current).unwrap();
        let (number, _) = keys.active();
        assert_eq!(number, keys_of(&stage.storage).0.number);
    }
    assert_eq!(
        header.unlock_journal(&former_auditor).err(),
        Some(Error::WrongKey)
    );
}

/// The keys of the restored vault were rotated before anybody planned the restore.
fn keys_rotated_after_restore_are_joined(stage: &Stage) {
    for rotations in [1, 2] {
        raw::reset(&stage.storage, &Objects::new());
        let incident = Incident::with_rotations(stage, rotations);
        incident.bring_back(stage);
        let vault = stage.open();
        vault
            .rotate_root_key(&[&Fixed(1)], &[insider_slot(&vault)])
            .unwrap();
        clinic_of_others(&vault);
        let restored = keys_of(&stage.storage).0.number;
        let later = keys_of(&incident.later.storage).0.number;
        let session = session_on(&vault);
        let plan = plan(&session, &incident);
        assert_eq!(plan.items.len(), 2, "{plan:#?}");
        accept(&session, &plan);
        let (_, joined) = keys_of(&stage.storage);
        assert_eq!(joined.active_journal_key().number, later);
        assert!(
            joined
                .former_journal_keys()
                .any(|key| key.number == restored)
        );
        assert_eq!(joined.former_journal_keys().count(), rotations + 1);
        assert!(!joined.is_closing());
        drop((session, vault));
        assert_clean(stage);
        assert!(is_erased(&stage.open()));
    }
}

fn many_lost_heads_are_named_by_pages(stage: &Stage) {
    let incident = Incident::new(stage);
    // This chain begins first, so that its pages name none of the others.
    let vault = stage.open();
    clinic_of_others(&vault);
    let vaults: Vec<_> = (0..70).map(|_| stage.open()).collect();
    for round in ["1", "2"] {
        for (number, vault) in vaults.iter().enumerate() {
            let id = record(&format!("MRN-1{number}"), "Observation/1");
            session_on(vault).put(&id, round.as_bytes()).unwrap();
        }
    }
    drop(vaults);
    let session = session_on(&vault);
    let plan = plan(&session, &incident);
    assert!(plan.header.heads_named.len() > 64);
    accept(&session, &plan);
    assert_eq!(keys_of(&stage.storage).1.closed_heads().count(), 1);
    drop((session, vault));
    assert_clean(stage);
}

/// The journal keys are those of the backup, but a later header was written.
fn header_with_other_master_keys_is_replaced(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    let backup = raw::all_objects(&stage.storage);
    vault.rotate_master_key().unwrap();
    session_on(&vault)
        .erase_subject(&subject("MRN-1"), "asked")
        .unwrap();
    drop(vault);
    let later = Stage::memory();
    raw::reset(&later.storage, &raw::all_objects(&stage.storage));
    raw::reset(&stage.storage, &backup);
    let incident = Incident { later, backup };
    incident.bring_back(stage);
    let vault = stage.open();
    let session = session_on(&vault);
    let plan = plan(&session, &incident);
    assert_eq!(plan.findings.header.unwrap().kind, FindingKind::RolledBack);
    assert!(!plan.header.root_rotation_due);
    accept(&session, &plan);
    drop((session, vault));
    assert_clean(stage);
    assert!(is_erased(&stage.open()));
}

fn plan_without_later_header_names_what_is_back(stage: &Stage) {
    let incident = Incident::new(stage);
    let vault = stage.open();
    let plan = session_on(&vault).plan_restore(None, None).unwrap();
    assert_eq!(plan.header.later_generation, None);
    assert!(!plan.header.writes_header && plan.header.root_rotation_due);
    assert_eq!(plan.header.slots_back, vault.slots().unwrap());
    let masters = keys_of(&stage.storage).1;
    let masters: Vec<_> = masters.masters().map(|master| master.number).collect();
    assert_eq!(plan.header.master_keys_back, masters);
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["header"]["slots_back"].as_array().unwrap().len(), 2);
    assert!(json.get("later").is_none());
    let report = session_on(&vault)
        .accept_restore(&plan, because(REASON))
        .unwrap();
    assert!(report.root_rotation_due);
    assert_eq!(
        raw::header_value(&stage.storage),
        incident.backup[&b"v"[..]]
    );
}

/// Each header is refused with its own error, and changes nothing.
fn unusable_later_header_is_refused(stage: &Stage) {
    let incident = Incident::new(stage);
    let vault = stage.open();
    let session = session_on(&vault);
    let before = raw::objects(&stage.storage);
    let bytes = raw::header_value(&incident.later.storage);
    let read = |bytes: &[u8], credential| LaterHeader::from_bytes(bytes, &credential).err();
    assert_eq!(read(&bytes, INSIDER), Some(Error::WrongKey));
    for length in (0..bytes.len()).step_by(stage.stride * 20) {
        let refused = read(&bytes[..length], Fixed(1));
        assert_eq!(refused, Some(Error::Malformed), "{length}");
    }
    let empty = Stage::memory();
    let none = LaterHeader::read(&*empty.storage, &Fixed(1));
    assert_eq!(none.err(), Some(Error::NoVault));
    clinic(&empty.create_by(stage.options()));
    let foreign = LaterHeader::read(&*empty.storage, &Fixed(1)).unwrap();
    let (header, keyring) = raw::header(&bytes, &Fixed(1));
    let root = header.unlock(&Fixed(1)).unwrap().root;
    let refused = [
        (foreign, Error::ForeignHeader),
        (
            at(&header, &root, &keyring, u64::MAX),
            Error::CounterExhausted,
        ),
        (
            at(&header, &root, &keyring, (1 << 63) - 1),
            Error::CounterExhausted,
        ),
        (
            at(&header, &root, &keyring, (1 << 63) - (1 << 32)),
            Error::CounterExhausted,
        ),
    ];
    for (later, error) in refused {
        let plan = session.plan_restore(None, Some(&later));
        assert_eq!(plan.err(), Some(error.clone()));
        let reason = because("the old disk");
        let storage = &*incident.later.storage;
        let brought = session.bring_journal_back(storage, Some(&later), reason);
        assert_eq!(brought.err(), Some(error));
        assert!(raw::objects(&stage.storage) == before);
    }
    let highest = at(&header, &root, &keyring, (1 << 63) - (1 << 32) - 1);
    assert!(session.plan_restore(None, Some(&highest)).is_ok());
}

/// Seals a header with another generation.
fn at(
    header: &Header,
    root: &chartlock::internals::crypto::RootKey,
    keyring: &chartlock::internals::keys::Keyring,
    generation: u64,
) -> LaterHeader {
    let bytes = header.sealed_with(root, keyring, generation).unwrap();
    LaterHeader::from_bytes(&bytes, &Fixed(1)).unwrap()
}

/// The later header, and one from before the backup, are no longer joined afterwards.
fn later_header_is_joined_once(stage: &Stage) {
    let incident = Incident::new(stage);
    let old = LaterHeader::from_bytes(&incident.backup[&b"v"[..]], &Fixed(1)).unwrap();
    let vault = stage.open();
    let session = session_on(&vault);
    let plan = plan(&session, &incident);
    accept(&session, &plan);
    let written = raw::header_value(&stage.storage);
    let (header, keyring) = raw::header(&incident.backup[&b"v"[..]], &Fixed(1));
    let root = header.unlock(&Fixed(1)).unwrap().root;
    let inflated = at(&header, &root, &keyring, 1 << 50);
    for later in [incident.header(), old, inflated] {
        let plan = session.plan_restore(None, Some(&later)).unwrap();
        assert!(plan.findings.is_clean() && !plan.header.writes_header);
        accept(&session, &plan);
        assert_eq!(raw::header_value(&stage.storage), written);
    }
}
