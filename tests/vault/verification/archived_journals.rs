//! Archived journal pages: verification finds the same differences as before, and reports say what they lack.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chartlock::audit::Timestamp;
use chartlock::progress::{CancelToken, ProgressUpdate};
use chartlock::report::JournalArchiveReport;
use chartlock::storage::{FaultAction, FaultPoint, Faulty, MemoryStorage, Storage};
use chartlock::verify::{FindingKind, JournalFault};
use chartlock::{Error, Vault};

use super::{faults, put_back, records};
use crate::common::{Fixed, because};
use crate::model::{Model, small_clinic};
use crate::raw::{self, Objects};
use crate::stage::{ACTIONS, Stage, record, session_on, subject};

everywhere!(
    archived_journal_leaves_a_clean_vault,
    second_call_moves_only_later_chains,
    changes_on_archived_pages_are_still_found,
    vault_with_findings_is_not_archived,
    interrupted_archiving_is_finished_by_the_next_call,
    cancelled_archiving_is_finished_by_the_next_call,
    vault_is_clean_between_all_steps_of_archiving,
    verification_during_archiving_is_clean,
    archiving_by_two_processes_loses_nothing,
    archive_with_another_page_is_refused,
    loss_of_summaries_is_reported,
    pages_brought_back_cause_no_finding,
    journal_key_rotation_after_archiving_is_clean,
    archiving_after_a_journal_key_rotation_is_clean,
    restore_of_an_older_backup_repeats_archived_erasures,
    chain_with_an_accepted_restore_stays,
    recovery_kit_from_before_an_archived_header_is_stale,
    own_storage_is_refused_as_archive,
    keys_closed_during_archiving_end_it,
);

pub(super) const DAY: u64 = 24 * 60 * 60 * 1000;

pub(super) fn options(stage: &Stage) -> chartlock::VaultOptions {
    stage.options_on_clock().without_background()
}

/// Returns a function that opens the vault as another process does, for hooks of a storage.
fn opener(stage: &Stage) -> impl Fn() -> Vault + Send + Sync + 'static {
    let (options, storage) = (options(stage), stage.shared());
    move || {
        let options = options.clone();
        options.open(Arc::clone(&storage), &Fixed(1)).unwrap()
    }
}

pub(super) fn open(stage: &Stage) -> Vault {
    stage.open_by(options(stage))
}

/// Writes on three days, with one process for each day, and lets a week pass.
pub(super) fn old_vault(stage: &Stage) -> Model {
    let vault = stage.create_by(options(stage));
    let mut model = small_clinic(&vault);
    drop(vault);
    stage.clock.advance(DAY);
    let vault = open(stage);
    let session = session_on(&vault);
    model.put(&session, &record("MRN-1", "Allergy/1"), b"penicillin");
    session
        .put(&record("MRN-8", "Note/1"), b"expunge me")
        .unwrap();
    session
        .expunge(&record("MRN-8", "Note/1"), "wrong patient")
        .unwrap();
    session
        .put(&record("MRN-9", "Note/1"), b"erase me")
        .unwrap();
    session.erase_subject(&subject("MRN-9"), "request").unwrap();
    drop(session);
    drop(vault);
    stage.clock.advance(DAY);
    let vault = open(stage);
    vault.rotate_master_key().unwrap();
    vault.reencrypt_subject(&subject("MRN-1")).unwrap();
    assert_reads(&vault, &model);
    drop(vault);
    stage.clock.advance(7 * DAY);
    model
}

pub(super) fn now(stage: &Stage) -> Timestamp {
    use chartlock::internals::clock::Clock;
    Timestamp::from_millis(stage.clock.now())
}

pub(super) fn try_archive(
    vault: &Vault,
    stage: &Stage,
    archive: &dyn Storage,
) -> Result<JournalArchiveReport, Error> {
    session_on(vault).archive_journal(now(stage), archive, because("kept on tape 7"))
}

pub(super) fn archive(stage: &Stage, archive: &dyn Storage) -> JournalArchiveReport {
    try_archive(&open(stage), stage, archive).unwrap()
}

pub(super) fn pages(storage: &dyn Storage) -> Objects {
    raw::objects_of(storage, b"j")
}

/// Reads every version of every record of the model.
fn assert_reads(vault: &Vault, model: &Model) {
    let session = session_on(vault);
    for (id, versions) in &model.0 {
        for (version, body) in (1..).zip(versions) {
            let read = session.get_version(id, version).unwrap();
            assert!(read.as_deref() == body.as_deref());
        }
    }
}

#[track_caller]
fn assert_whole(stage: &Stage, model: &Model) {
    let vault = open(stage);
    assert_reads(&vault, model);
    let report = vault.verify(None).unwrap();
    assert!(report.is_clean(), "{report:#?}");
    drop(vault);
}

fn archived_journal_leaves_a_clean_vault(stage: &Stage) {
    let model = old_vault(stage);
    let vault = open(stage);
    let checkpoint = vault.checkpoint().unwrap();
    let before = pages(&stage.storage);
    let counted = vault.verify(None).unwrap().counts;
    let target = MemoryStorage::new();
    let report = try_archive(&vault, stage, &target).unwrap();
    let moved = pages(&target);
    assert!(report.chains >= 3 && report.chains_kept == 0, "{report:?}");
    assert_eq!(report.pages, moved.len() as u64);
    assert_eq!(
        report.bytes,
        moved.values().map(|page| page.len() as u64).sum::<u64>()
    );
    let after = pages(&stage.storage);
    for (key, value) in &before {
        let holder = if moved.contains_key(key) {
            &moved
        } else {
            &after
        };
        assert_eq!(holder.get(key), Some(value));
        assert!(!(moved.contains_key(key) && after.contains_key(key)));
    }
    let verified = vault.verify(Some(&checkpoint)).unwrap();
    assert!(verified.is_clean(), "{verified:#?}");
    assert_eq!(verified.counts.archived_pages, report.pages);
    assert_eq!(verified.counts.records, counted.records);
    drop(vault);
    assert_whole(stage, &model);
}

fn second_call_moves_only_later_chains(stage: &Stage) {
    let model = old_vault(stage);
    let target = MemoryStorage::new();
    let first = archive(stage, &target);
    assert!(first.pages > 0);
    let again = archive(stage, &target);
    assert_eq!((again.chains, again.pages), (0, 0), "{again:?}");
    stage.clock.advance(7 * DAY);
    let second = archive(stage, &target);
    assert!(second.pages > 0);
    assert_eq!(pages(&target).len() as u64, first.pages + second.pages);
    assert_whole(stage, &model);
}

fn changes_on_archived_pages_are_still_found(stage: &Stage) {
    let model = old_vault(stage);
    archive(stage, &MemoryStorage::new());
    let whole = raw::all_objects(&stage.storage);
    // Only archived pages record each stored version and each patient entry.
    for key in whole.keys().filter(|key| b"prh".contains(&key[0])) {
        put_back(&stage.storage, &Objects::new(), |other| other == key);
        let report = open(stage).verify(None).unwrap();
        assert!(
            !report.is_clean(),
            "a lost object of class {}",
            key[0] as char
        );
        raw::reset(&stage.storage, &whole);
    }
    // A record that was put back to an earlier state.
    let vault = open(stage);
    let session = session_on(&vault);
    let id = record("MRN-1", "Allergy/1");
    let before = raw::all_objects(&stage.storage);
    session.put(&id, b"penicillin and latex").unwrap();
    drop((session, vault));
    stage.clock.advance(7 * DAY);
    archive(stage, &MemoryStorage::new());
    put_back(&stage.storage, &before, |key| {
        key[0] == b'r' || key[0] == b'h'
    });
    let report = open(stage).verify(None).unwrap();
    let expected = ("MRN-1 Allergy/1".to_owned(), 2, FindingKind::RolledBack);
    assert_eq!(records(&report), [expected]);
    raw::reset(&stage.storage, &whole);
    assert_whole(stage, &model);
}

fn vault_with_findings_is_not_archived(stage: &Stage) {
    let model = old_vault(stage);
    let whole = raw::all_objects(&stage.storage);
    let lost = whole.keys().find(|key| key[0] == b'r').unwrap();
    put_back(&stage.storage, &Objects::new(), |key| key == lost);
    let target = MemoryStorage::new();
    let refused = try_archive(&open(stage), stage, &target);
    assert_eq!(refused, Err(Error::HasFindings));
    assert!(pages(&target).is_empty());
    raw::reset(&stage.storage, &whole);
    assert_whole(stage, &model);
}

/// Returns a hook that takes `action` at one commit.
fn at_commit(
    at: u64,
    action: FaultAction,
) -> impl Fn(u64, &FaultPoint<'_>) -> FaultAction + Send + Sync + 'static {
    let commits = AtomicU64::new(0);
    move |_, point| match point {
        FaultPoint::Commit(_) if commits.fetch_add(1, Ordering::SeqCst) == at => action,
        _ => FaultAction::Proceed,
    }
}

fn interrupted_archiving_is_finished_by_the_next_call(stage: &Stage) {
    let model = old_vault(stage);
    let whole = raw::all_objects(&stage.storage);
    for action in ACTIONS {
        for at in (0..).step_by(stage.stride) {
            let target = MemoryStorage::new();
            let faulty = stage.faulty(at_commit(at, action));
            let opened = options(stage).open(Arc::clone(&faulty), &Fixed(1));
            let archived = opened.and_then(|vault| try_archive(&vault, stage, &target));
            let moved = pages(&target).len();
            assert_whole(stage, &model);
            archive(stage, &target);
            assert_whole(stage, &model);
            assert!(pages(&target).len() > 3.max(moved.saturating_sub(1)));
            let is_done = archived.is_ok() && at > 30;
            raw::reset(&stage.storage, &whole);
            if is_done {
                break;
            }
        }
    }
}

fn cancelled_archiving_is_finished_by_the_next_call(stage: &Stage) {
    let model = old_vault(stage);
    let target = MemoryStorage::new();
    let mut cancelled = 0;
    loop {
        let vault = open(stage);
        let token = CancelToken::new();
        let (counter, cancel) = (AtomicU64::new(0), token.clone());
        let listener = move |_: ProgressUpdate| {
            if counter.fetch_add(1, Ordering::SeqCst) == cancelled {
                cancel.cancel();
            }
        };
        let handle = vault.with_cancel(&token).with_progress(listener);
        match try_archive(&handle, stage, &target) {
            Err(error) => assert_eq!(error, Error::Cancelled),
            Ok(_) => break,
        }
        drop((handle, vault));
        assert_whole(stage, &model);
        cancelled += 1;
    }
    assert!(cancelled > 3);
    assert!(pages(&target).len() > 3);
    assert_whole(stage, &model);
}

/// Returns a hook that calls `act` before each commit, or before each step.
fn before_each(
    commits_only: bool,
    act: impl Fn(u64) + Send + Sync + 'static,
) -> impl Fn(u64, &FaultPoint<'_>) -> FaultAction + Send + Sync + 'static {
    let steps = AtomicU64::new(0);
    move |_, point| {
        if !commits_only || matches!(point, FaultPoint::Commit(_)) {
            act(steps.fetch_add(1, Ordering::SeqCst));
        }
        FaultAction::Proceed
    }
}

fn vault_is_clean_between_all_steps_of_archiving(stage: &Stage) {
    let model = old_vault(stage);
    let open_other = opener(stage);
    let verify = move |_| {
        let vault = open_other();
        let report = vault.verify(None).unwrap();
        assert!(report.is_clean(), "{report:#?}");
    };
    let faulty = stage.faulty(before_each(true, verify));
    let vault = options(stage).open(faulty, &Fixed(1)).unwrap();
    assert!(
        try_archive(&vault, stage, &MemoryStorage::new())
            .unwrap()
            .pages
            > 3
    );
    drop(vault);
    assert_whole(stage, &model);
}

fn verification_during_archiving_is_clean(stage: &Stage) {
    let model = old_vault(stage);
    let whole = raw::all_objects(&stage.storage);
    for at in (0..).step_by(stage.stride) {
        let (open_other, until) = (opener(stage), now(stage));
        let reached = Arc::new(AtomicU64::new(0));
        let steps = Arc::clone(&reached);
        let archive = move |step| {
            steps.store(step, Ordering::SeqCst);
            if step == at {
                let vault = open_other();
                let session = session_on(&vault);
                let report = session.archive_journal(until, &MemoryStorage::new(), because("tape"));
                assert!(report.unwrap().pages > 3);
            }
        };
        let faulty = stage.faulty(before_each(false, archive));
        let vault = options(stage).open(faulty, &Fixed(1)).unwrap();
        let report = vault.verify(None).unwrap();
        assert!(report.is_clean(), "step {at}: {report:#?}");
        drop(vault);
        assert_whole(stage, &model);
        raw::reset(&stage.storage, &whole);
        if reached.load(Ordering::SeqCst) < at {
            break;
        }
    }
}

fn archiving_by_two_processes_loses_nothing(stage: &Stage) {
    let model = old_vault(stage);
    let whole = raw::all_objects(&stage.storage);
    for at in 0..12 {
        let target = Arc::new(MemoryStorage::new());
        let (open_other, until) = (opener(stage), now(stage));
        let same = Arc::clone(&target);
        let archive = move |step| {
            if step == at {
                let vault = open_other();
                let session = session_on(&vault);
                let _ = session.archive_journal(until, &*same, because("the other process"));
            }
        };
        let faulty = stage.faulty(before_each(true, archive));
        let vault = options(stage).open(faulty, &Fixed(1)).unwrap();
        let archived = try_archive(&vault, stage, &*target);
        assert!(
            matches!(archived, Ok(_) | Err(Error::Contended)),
            "{archived:?}"
        );
        drop(vault);
        assert_whole(stage, &model);
        archive_again(stage, &target);
        assert_whole(stage, &model);
        raw::reset(&stage.storage, &whole);
    }
}

fn archive_again(stage: &Stage, target: &MemoryStorage) {
    archive(stage, target);
    assert!(pages(target).len() > 3);
}

fn archive_with_another_page_is_refused(stage: &Stage) {
    let model = old_vault(stage);
    let stored = pages(&stage.storage);
    let first = stored.keys().next().unwrap();
    let target = MemoryStorage::new();
    let planted = chartlock::storage::Transaction::new().put(
        &first[..],
        &b"another page"[..],
        chartlock::storage::Expect::Absent,
    );
    assert!(target.commit(&[planted])[0].is_ok());
    let refused = try_archive(&open(stage), stage, &target);
    assert_eq!(refused, Err(Error::ArchiveDiffers));
    let after = pages(&stage.storage);
    assert!(
        stored
            .iter()
            .all(|(key, value)| after.get(key) == Some(value))
    );
    assert_whole(stage, &model);
}

pub(super) fn is_of_summaries(key: &[u8]) -> bool {
    key[0] == b'j' && key[1] >= 0xc0
}

fn loss_of_summaries_is_reported(stage: &Stage) {
    old_vault(stage);
    archive(stage, &MemoryStorage::new());
    put_back(&stage.storage, &Objects::new(), is_of_summaries);
    let report = open(stage).verify(None).unwrap();
    assert!(faults(&report).contains(&JournalFault::Cut), "{report:#?}");
    assert!(!report.unattested.is_empty());
}

fn pages_brought_back_cause_no_finding(stage: &Stage) {
    let model = old_vault(stage);
    let target = MemoryStorage::new();
    let report = archive(stage, &target);
    let vault = open(stage);
    let session = session_on(&vault);
    let back = session.bring_journal_back(&target, None, because("the old pages are needed"));
    assert_eq!(back.unwrap().pages_put_back, report.pages);
    drop((session, vault));
    assert_whole(stage, &model);
    let again = archive(stage, &target);
    assert_eq!(again.pages, report.pages);
    assert_whole(stage, &model);
}

fn journal_key_rotation_after_archiving_is_clean(stage: &Stage) {
    let model = old_vault(stage);
    archive(stage, &MemoryStorage::new());
    for _ in 0..2 {
        let vault = open(stage);
        vault.rotate_root_key(&[&Fixed(1)], &[]).unwrap();
        drop(vault);
        assert_whole(stage, &model);
        stage.clock.advance(7 * DAY);
        archive(stage, &MemoryStorage::new());
        assert_whole(stage, &model);
    }
}

fn archiving_after_a_journal_key_rotation_is_clean(stage: &Stage) {
    let model = old_vault(stage);
    let vault = open(stage);
    vault.rotate_root_key(&[&Fixed(1)], &[]).unwrap();
    drop(vault);
    stage.clock.advance(7 * DAY);
    assert_whole(stage, &model);
    archive(stage, &MemoryStorage::new());
    assert_whole(stage, &model);
}

fn restore_of_an_older_backup_repeats_archived_erasures(stage: &Stage) {
    let vault = stage.create_by(options(stage));
    let mut model = small_clinic(&vault);
    let session = session_on(&vault);
    session
        .put(&record("MRN-9", "Note/1"), b"erase me")
        .unwrap();
    session
        .put(&record("MRN-8", "Note/1"), b"expunge me")
        .unwrap();
    let backup = raw::all_objects(&stage.storage);
    session.erase_subject(&subject("MRN-9"), "request").unwrap();
    session
        .expunge(&record("MRN-8", "Note/1"), "wrong patient")
        .unwrap();
    drop((session, vault));
    stage.clock.advance(7 * DAY);
    archive(stage, &MemoryStorage::new());
    let later = MemoryStorage::new();
    for (key, value) in raw::all_objects(&stage.storage) {
        let put = chartlock::storage::Transaction::new();
        let put = put.put(key, value, chartlock::storage::Expect::Absent);
        assert!(later.commit(&[put])[0].is_ok());
    }
    raw::reset(&stage.storage, &backup);
    let vault = open(stage);
    let session = session_on(&vault);
    session
        .bring_journal_back(&later, None, because("the old disk"))
        .unwrap();
    let plan = session.plan_restore(None, None).unwrap();
    let report = session
        .accept_restore(&plan, because("disk failure"))
        .unwrap();
    assert_eq!(
        (report.erased_again, report.expunged_again),
        (1, 1),
        "{report:#?}"
    );
    model.put(&session, &record("MRN-1", "Allergy/1"), b"penicillin");
    drop((session, vault));
    assert_whole(stage, &model);
}

fn chain_with_an_accepted_restore_stays(stage: &Stage) {
    let model = old_vault(stage);
    let vault = open(stage);
    crate::common::accept_restore(&session_on(&vault), "a drill").unwrap();
    drop(vault);
    stage.clock.advance(7 * DAY);
    let report = archive(stage, &MemoryStorage::new());
    assert_eq!(report.chains_kept, 1, "{report:?}");
    let vault = open(stage);
    assert_eq!(vault.verify(None).unwrap().restores.len(), 1);
    drop(vault);
    assert_whole(stage, &model);
}

fn recovery_kit_from_before_an_archived_header_is_stale(stage: &Stage) {
    let vault = stage.create_by(options(stage));
    let slot = vault.add_slot(&Fixed(2)).unwrap();
    let kit = vault.recovery_kit().unwrap();
    vault.remove_slot(slot).unwrap();
    drop(vault);
    stage.clock.advance(7 * DAY);
    assert!(archive(stage, &MemoryStorage::new()).pages > 0);
    put_back(&stage.storage, &Objects::new(), |key| key == b"v");
    let restored = kit.restore(stage.shared(), &Fixed(1));
    assert_eq!(restored.err(), Some(Error::StaleKit));
}

fn own_storage_is_refused_as_archive(stage: &Stage) {
    let model = old_vault(stage);
    let vault = open(stage);
    let before = pages(&stage.storage);
    let refused = try_archive(&vault, stage, &stage.shared());
    assert_eq!(refused, Err(Error::ArchiveDiffers));
    let after = pages(&stage.storage);
    assert!(before.keys().all(|key| after.contains_key(key)));
    drop(vault);
    assert_whole(stage, &model);
}

/// Closes the journal keys between the reading of the chains and the write of their summaries.
fn keys_closed_during_archiving_end_it(stage: &Stage) {
    let model = old_vault(stage);
    let vault = open(stage);
    let open_other = opener(stage);
    let target = Faulty::new(
        MemoryStorage::new(),
        before_each(true, move |step| {
            if step == 0 {
                let vault = open_other();
                vault.rotate_journal_keys(&[], &[]).unwrap();
            }
        }),
    );
    assert_eq!(try_archive(&vault, stage, &target), Err(Error::Contended));
    drop(vault);
    if !stage.storage.is_transactional() {
        // Without a key removal delay, the entry of the refusal is late here.
        return;
    }
    assert_whole(stage, &model);
    archive(stage, &MemoryStorage::new());
    assert_whole(stage, &model);
}
