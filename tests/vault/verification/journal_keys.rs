//! Rotation of the journal keys: pages under closed keys are believed only if a closing covers them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chartlock::access::AccessOutcome;
use chartlock::audit::{AuditItem, Auditor, FaultKind};
use chartlock::internals::journal::{
    Act, Context, Page, PageHead, PageId, Sealer, Stage as EntryStage, SubjectRef, Target, page_of,
};
use chartlock::internals::keys::Keyring;
use chartlock::internals::vault;
use chartlock::storage::{FaultAction, FaultPoint, Storage, StorageError};
use chartlock::verify::{FindingKind, JournalFault};
use chartlock::{Actor, Error, Operation, Purpose, Vault};

use super::{assert_clean, chains, clinic, faults, remove, verify};
use crate::common::journal::{pages, unlocked};
use crate::common::{Fixed, accept_restore};
use crate::raw;
use crate::stage::{Shared, Stage, record, session_on};

everywhere!(
    rotation_causes_no_finding,
    other_process_continues_under_the_new_keys,
    page_under_closed_keys_is_late_and_has_no_consequence,
    missing_page_after_the_rotation_leaves_pages_unproven,
    missing_page_before_the_rotation_leaves_all_other_pages_believed,
    cut_chain_of_former_keys_is_found,
    interrupted_rotation_is_reported_and_finished,
    many_chains_are_closed_by_pages_under_the_new_keys,
    later_chains_pin_no_head_under_closed_keys,
    header_from_before_the_rotation_is_rolled_back,
    spool_from_before_the_rotation_is_believed_when_brought_home,
    former_auditor_reads_nothing_new_and_current_auditor_reads_all,
);

/// Returns the keys that a person has who opened the vault now.
pub(super) fn keys_of(storage: &Shared) -> (Sealer, Keyring) {
    let (header, unlocked) = unlocked(&**storage);
    let keyring = unlocked.keyring;
    let sealer = vault::sealer(header.suite(), header.vault(), &keyring);
    (sealer, keyring)
}

/// Stores a page about the erasure of a live chart, sealed and signed with all former keys. The page
/// continues the chain of `after`, or begins a chain.
pub(super) fn forge(storage: &Shared, sealer: &Sealer, after: Option<&[u8]>) {
    let context = Context {
        actor: "dr.garcia".into(),
        purpose: "TREAT".into(),
        ..Context::default()
    };
    let records = raw::objects_of(storage, b"r");
    let (key, _) = records.first_key_value().unwrap();
    let target = Target::Entry {
        subject: SubjectRef {
            chart: key[1..17].try_into().unwrap(),
            tag: [9; 16],
        },
        sequence: 2,
        digest: [1; 32],
    };
    let act = Act::new(Arc::new(context), Operation::Erase, "");
    let draft = act.draft(1_800_000_000_000, target, AccessOutcome::Done);
    let pages = raw::objects_of(storage, b"j");
    let previous = after.map(|key| chartlock::internals::crypto::sha256(&[&pages[key]]));
    let staged = [(&draft, EntryStage::Done)].into_iter();
    let page = Page::new(previous.unwrap_or_default(), vec![], staged).unwrap();
    let id = match after.and_then(page_of) {
        Some(last) => PageId {
            sequence: last.sequence + 1,
            ..last
        },
        None => PageId {
            writer: [9; 16],
            sequence: 0,
        },
    };
    let value = page.seal(sealer, &id).unwrap();
    raw::put(storage, &journal_key(&id), &value);
}

fn rotate(stage: &Stage) -> u64 {
    let report = stage.open().rotate_journal_keys(&[], &[]).unwrap();
    report.pages.unwrap()
}

/// Returns the storage keys of the pages that `sealer` can have sealed, chain by chain.
pub(super) fn chains_under(storage: &Shared, sealer: &Sealer) -> Vec<Vec<Vec<u8>>> {
    let pages = raw::objects_of(storage, b"j");
    let mut chains = chains(storage);
    for chain in &mut chains {
        chain.retain(|key| PageHead::parse(&pages[key]).unwrap().number == sealer.number);
    }
    chains.retain(|chain| !chain.is_empty());
    chains
}

fn rotation_causes_no_finding(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    let before = vault.checkpoint().unwrap();
    for round in 0..3 {
        assert!(vault.rotate_journal_keys(&[], &[]).unwrap().pages.unwrap() > 0);
        clinic(&vault);
        assert!(vault.verify(Some(&before)).unwrap().is_clean(), "{round}");
        assert_clean(stage);
    }
    vault.rotate_root_key(&[&Fixed(1)], &[]).unwrap();
    session_on(&vault)
        .erase_subject(&crate::stage::subject("MRN-1"), "x")
        .unwrap();
    vault.rotate_master_key().unwrap();
    drop(vault);
    assert_eq!(
        verify(stage).counts.chains as usize,
        chains(&stage.storage).len()
    );
    let report = stage.open().verify(Some(&before)).unwrap();
    assert!(
        report.is_clean() && !report.journal_keys_closing,
        "{report:#?}"
    );
}

fn other_process_continues_under_the_new_keys(stage: &Stage) {
    let vault = stage.create_by(stage.options_on_clock().without_background());
    clinic(&vault);
    let other = stage.open_by(stage.options_on_clock().without_background());
    clinic(&other);
    let (former, _) = keys_of(&stage.storage);
    vault.rotate_journal_keys(&[], &[]).unwrap();
    let under_former: usize = chains_under(&stage.storage, &former)
        .iter()
        .map(Vec::len)
        .sum();
    // Storage without transactions keeps the former keys for at most 60 seconds.
    stage.clock.advance(61_000);
    clinic(&other);
    clinic(&vault);
    drop((other, vault));
    let now: usize = chains_under(&stage.storage, &former)
        .iter()
        .map(Vec::len)
        .sum();
    assert_eq!(now, under_former);
    assert_clean(stage);
}

fn page_under_closed_keys_is_late_and_has_no_consequence(stage: &Stage) {
    clinic(&stage.create());
    let (former, _) = keys_of(&stage.storage);
    rotate(stage);
    let longest = super::journals::longest(&stage.storage);
    for after in [None, longest.last().map(Vec::as_slice)] {
        let before = raw::all_objects(&stage.storage);
        forge(&stage.storage, &former, after);
        let report = verify(stage);
        assert_eq!(faults(&report), [JournalFault::Late], "{report:#?}");
        assert!(report.records.is_empty() && report.entries.is_empty());
        let records = raw::objects_of(&stage.storage, b"r");
        let vault = stage.open();
        let restored = accept_restore(&session_on(&vault), "last night's copy");
        assert_eq!(restored.unwrap().erased_again, 0);
        drop(vault);
        assert_eq!(raw::objects_of(&stage.storage, b"r"), records);
        raw::reset(&stage.storage, &before);
    }
}

fn missing_page_after_the_rotation_leaves_pages_unproven(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    let (former, _) = keys_of(&stage.storage);
    drop(vault);
    rotate(stage);
    let chain = chains_under(&stage.storage, &former).into_iter();
    let chain = chain.max_by_key(Vec::len).unwrap();
    remove(&stage.storage, &chain[2..3]);
    let report = verify(stage);
    assert_eq!(
        faults(&report),
        [JournalFault::Unproven, JournalFault::Missing],
        "{report:#?}"
    );
    let unproven = &report.journal[0];
    assert_eq!((unproven.writer, unproven.pages), (None, 2));
}

fn missing_page_before_the_rotation_leaves_all_other_pages_believed(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    drop(vault);
    let chain = super::journals::longest(&stage.storage);
    remove(&stage.storage, &chain[2..3]);
    rotate(stage);
    let report = verify(stage);
    assert!(faults(&report).contains(&JournalFault::Missing));
    assert!(
        !faults(&report).contains(&JournalFault::Unproven),
        "{report:#?}"
    );
    assert!(
        !faults(&report).contains(&JournalFault::Late),
        "{report:#?}"
    );
}

fn cut_chain_of_former_keys_is_found(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    let (former, _) = keys_of(&stage.storage);
    drop(vault);
    rotate(stage);
    for chain in chains_under(&stage.storage, &former) {
        let before = raw::all_objects(&stage.storage);
        for from in [0, chain.len() - 1] {
            remove(&stage.storage, &chain[from..]);
            let report = verify(stage);
            let expected = [JournalFault::Cut, JournalFault::Missing];
            let found = faults(&report);
            assert!(
                expected.iter().any(|fault| found.contains(fault)),
                "{report:#?}"
            );
            raw::reset(&stage.storage, &before);
        }
    }
}

/// Fails the commits of a rotation, one after another. After each failure, the vault is clean. The next
/// opening finishes the rotation; on storage that is not transactional, the next rotation does.
fn interrupted_rotation_is_reported_and_finished(stage: &Stage) {
    clinic(&stage.create());
    for failing in 0.. {
        let before = raw::all_objects(&stage.storage);
        let commits = AtomicU64::new(0);
        let faulty = stage.faulty(move |_, point| match point {
            FaultPoint::Commit(_) if commits.fetch_add(1, Ordering::SeqCst) >= failing => {
                FaultAction::Fail(StorageError::Io(std::io::ErrorKind::Other))
            }
            _ => FaultAction::Proceed,
        });
        let vault = stage.options().open(faulty, &Fixed(1)).unwrap();
        let rotated = vault.rotate_journal_keys(&[], &[]);
        drop(vault);
        let (_, keyring) = keys_of(&stage.storage);
        let is_unfinished = keyring.is_closing();
        let unfinished = read_only(stage).verify(None).unwrap();
        assert!(unfinished.is_clean(), "{failing}: {unfinished:#?}");
        assert_eq!(unfinished.journal_keys_closing, is_unfinished);
        if is_unfinished {
            assert!(rotated.is_ok_and(|report| report.pages.is_none()));
            let vault = stage.open();
            clinic(&vault);
            if !stage.storage.is_transactional() {
                vault.rotate_journal_keys(&[], &[]).unwrap();
            }
            drop(vault);
            let report = verify(stage);
            assert!(
                report.is_clean() && !report.journal_keys_closing,
                "{report:#?}"
            );
        } else if rotated.is_ok_and(|report| report.pages.is_some()) {
            assert!(failing > 1);
            return;
        }
        raw::reset(&stage.storage, &before);
    }
}

fn read_only(stage: &Stage) -> Vault {
    let spool = chartlock::MemoryStorage::new();
    let opened = (stage.options()).open_read_only(Arc::clone(&stage.storage), &Fixed(1), spool);
    opened.unwrap()
}

fn many_chains_are_closed_by_pages_under_the_new_keys(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    let vaults: Vec<_> = (0..70).map(|_| stage.open()).collect();
    for round in ["1", "2"] {
        for (number, vault) in vaults.iter().enumerate() {
            let id = record(&format!("MRN-{number}"), "Observation/1");
            session_on(vault).put(&id, round.as_bytes()).unwrap();
        }
    }
    let (former, _) = keys_of(&stage.storage);
    drop(vaults);
    vault.rotate_journal_keys(&[], &[]).unwrap();
    let (_, keyring) = keys_of(&stage.storage);
    assert_eq!(keyring.closed_heads().count(), 1);
    drop(vault);
    assert_clean(stage);
    forge(&stage.storage, &former, None);
    assert_eq!(faults(&verify(stage)), [JournalFault::Late]);
}

fn later_chains_pin_no_head_under_closed_keys(stage: &Stage) {
    clinic(&stage.create());
    let (former, _) = keys_of(&stage.storage);
    rotate(stage);
    for _ in 0..3 {
        let vault = stage.open();
        clinic(&vault);
        vault.checkpoint().unwrap();
    }
    let closed: Vec<_> = chains_under(&stage.storage, &former).concat();
    let values = raw::objects_of(&stage.storage, b"j");
    let mut later = 0;
    for (id, page) in pages(&*stage.storage) {
        let key = journal_key(&id);
        if PageHead::parse(&values[&key]).unwrap().number != former.number {
            later += page.seen.len();
            let mut seen = page.seen.iter();
            assert!(seen.all(|seen| !closed.contains(&journal_key(&seen.page))));
        }
    }
    assert!(later > 0);
}

fn journal_key(id: &PageId) -> Vec<u8> {
    [b"j", &id.writer[..], &id.sequence.to_be_bytes()].concat()
}

fn header_from_before_the_rotation_is_rolled_back(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    let former = raw::header_value(&stage.storage);
    vault.rotate_journal_keys(&[], &[]).unwrap();
    clinic(&vault);
    drop(vault);
    raw::put(&stage.storage, b"v", &former);
    let report = read_only(stage).verify(None).unwrap();
    let header = report.header.unwrap();
    assert_eq!(header.kind, FindingKind::RolledBack, "{report:#?}");
    let unknown = report.journal.iter();
    let unknown: Vec<_> = unknown
        .filter(|found| found.fault == JournalFault::UnknownJournalKey)
        .collect();
    assert_eq!(unknown.len(), 1);
    assert!(unknown[0].pages > 1);
    assert!(
        !faults(&report).contains(&JournalFault::Altered),
        "{report:#?}"
    );
}

fn spool_from_before_the_rotation_is_believed_when_brought_home(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    let spool = Arc::new(chartlock::MemoryStorage::new());
    let (storage, own) = (Arc::clone(&stage.storage), Arc::clone(&spool));
    let standby = stage.options().open_read_only(storage, &Fixed(1), own);
    let standby = standby.unwrap();
    let id = record("MRN-1", "Allergy/1");
    assert!(session_on(&standby).get(&id).unwrap().is_some());
    drop(standby);
    for _ in 0..2 {
        vault.rotate_journal_keys(&[], &[]).unwrap();
    }
    let pages = raw::objects_of(&*spool, b"j");
    let officer = session_on(&vault);
    let report = officer.bring_journal_home("reads of the standby", &spool);
    assert_eq!(report.unwrap().pages, pages.len() as u64);
    let again = officer.bring_journal_home("once more", &spool).unwrap();
    assert_eq!((again.pages, again.known), (0, pages.len() as u64));
    drop((officer, vault));
    assert_clean(stage);
}

fn auditor(storage: impl Storage + 'static, credential: u8) -> Result<Auditor, Error> {
    let actor = Actor::new("privacy.office").unwrap();
    let spool = chartlock::MemoryStorage::new();
    Auditor::open_read_only(
        storage,
        spool,
        &Fixed(credential),
        actor,
        Purpose::Operations,
    )
}

/// Returns the numbers of entries and of faults that an auditor reads.
fn read_by(auditor: &Auditor) -> (usize, Vec<FaultKind>) {
    let items: Vec<_> = auditor
        .trail()
        .entries(..)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let faults = items.iter().filter_map(|item| match item {
        AuditItem::Fault(fault) => Some(fault.what),
        AuditItem::Entry(_) => None,
    });
    let faults: Vec<_> = faults.collect();
    (items.len() - faults.len(), faults)
}

fn former_auditor_reads_nothing_new_and_current_auditor_reads_all(stage: &Stage) {
    let vault = stage.create();
    let dismissed = vault.add_auditor_slot(&Fixed(2)).unwrap();
    vault.add_auditor_slot(&Fixed(3)).unwrap();
    clinic(&vault);
    let copied = raw::header_value(&stage.storage);
    let (before, _) = read_by(&auditor(Arc::clone(&stage.storage), 2).unwrap());
    let open = stage.options_on_clock().open_journal(
        Arc::clone(&stage.storage),
        &Fixed(3),
        Actor::new("privacy.office").unwrap(),
        Purpose::Operations,
    );
    let open = open.unwrap();
    vault
        .rotate_journal_keys(&[&Fixed(3)], &[dismissed])
        .unwrap();
    clinic(&vault);
    drop(vault);
    // An open auditor cannot continue, because only the credential opens the new slot.
    stage.clock.advance(61_000);
    assert_eq!(open.trail().entries(..).err(), Some(Error::RootKeyChanged));
    let refused = auditor(Arc::clone(&stage.storage), 2);
    assert_eq!(refused.err(), Some(Error::WrongKey));
    let (all, faults) = read_by(&auditor(Arc::clone(&stage.storage), 3).unwrap());
    assert!(all > before && faults.is_empty(), "{faults:?}");
    assert_clean(stage);
    raw::put(&stage.storage, b"v", &copied);
    let (old, faults) = read_by(&auditor(Arc::clone(&stage.storage), 2).unwrap());
    assert!(
        old <= before + 10 && old < all,
        "{old} of {before} and {all}"
    );
    assert!(!faults.is_empty());
    assert!(faults.iter().all(|fault| *fault == FaultKind::UnknownKey));
}
