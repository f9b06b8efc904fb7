//! Table of all public operations with the journal entries that they write.
//!
//! A new public operation needs a row here, or a reason why it writes no entry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use chartlock::audit::{Auditor, Exposed, Timestamp};
use chartlock::internals::journal::{Stage as EntryStage, Target};
use chartlock::lists::{HistoryQuery, ListQuery};
use chartlock::storage::{MemoryStorage, StorageError};
use chartlock::{
    Actor, Document, Error, ImportItem, Journaling, Precondition, Purpose, RecordId, RecoveryKit,
    Session, Vault,
};

use crate::common::objects::delete;
use crate::common::{Fixed, because};
use crate::parse;
use crate::stage::{Line, Stage, record, session, subject};

/// Vault on which a row's operation runs.
///
/// One patient has two records, of which the second has two versions. Another patient is erased. An
/// auditor has a slot.
pub(crate) struct Scene<'a> {
    stage: &'a Stage,
    vault: &'a Vault,
    clinician: Session,
    id: RecordId,
    auditor_slot: u16,
    second_slot: u16,
    /// Kit of the current header.
    kit: RecoveryKit,
}

/// Table row: an operation, and its entries in journal order, each as `operation, outcome, target`.
///
/// `writes` contains the classes of the storage keys that the operation writes, except `j` and `a`.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    writes: &'static str,
    pub(crate) entries: &'static [&'static str],
    run: fn(&Scene<'_>),
}

macro_rules! rows {
    ($($name:literal $writes:literal [$($entries:literal),*] $run:expr;)*) => {
        &[$(Row { name: $name, writes: $writes, entries: &[$($entries),*], run: $run },)*]
    };
}

pub(crate) const ROWS: &[Row] = rows! {
    "Vault::create" "v" [
        "create the vault, done, slot", "create the vault, done, master key",
        "create the vault, done, header"
    ] |_| {
        let storage = Arc::new(MemoryStorage::new());
        drop(Vault::create(storage, &Fixed(1)).unwrap());
    };
    "Vault::open" "" ["open the vault, done, slot"] |at| {
        drop(Vault::open(Arc::clone(&at.stage.storage), &Fixed(1)).unwrap());
    };
    "Vault::open_any" "" ["open the vault, done, slot"] |at| {
        drop(Vault::open_any(Arc::clone(&at.stage.storage), &[&Fixed(1)]).unwrap());
    };
    "Vault::open_rolled_back" "" ["open the vault, done, slot"] |at| {
        drop(Vault::open_rolled_back(Arc::clone(&at.stage.storage), &Fixed(1)).unwrap());
    };
    "Vault::make_writable" "" ["make the vault writable, done, vault"] |at| {
        at.vault.make_writable().unwrap();
    };
    "Vault::lock" "" ["lock the vault, done, vault"] |at| at.vault.lock();
    "Vault::close" "" ["lock the vault, done, vault"] |at| at.vault.close().unwrap();
    "Vault::slots" "" ["list the slots, done, vault"] |at| drop(at.vault.slots().unwrap());
    "Vault::try_credential" "" ["try a credential, done, slot"]
        |at| assert!(at.vault.try_credential(&Fixed(1)).is_ok());
    "Vault::add_slot" "v" ["add a slot, done, header", "add a slot, done, slot"] |at| {
        at.vault.add_slot(&Fixed(3)).unwrap();
    };
    "Vault::add_auditor_slot" "v" ["add a slot, done, header", "add a slot, done, slot"] |at| {
        at.vault.add_auditor_slot(&Fixed(3)).unwrap();
    };
    "Vault::replace_slot" "v" ["replace a slot, done, header", "replace a slot, done, slot"] |at| {
        at.vault.replace_slot(at.second_slot, &Fixed(4)).unwrap();
    };
    "Vault::remove_slot" "v" ["remove a slot, done, header", "remove a slot, done, slot"] |at| {
        at.vault.remove_slot(at.second_slot).unwrap();
    };
    "Vault::rotate_journal_keys" "v" [
        "rotate the journal keys, done, header", "close former journal keys, done, header",
        "rotate the journal keys, done, vault"
    ] |at| { at.vault.rotate_journal_keys(&[&Fixed(2)], &[]).unwrap(); };
    "Vault::rotate_root_key" "v" [
        "rotate the root key, done, header", "close former journal keys, done, header",
        "rotate the root key, done, vault"
    ] |at| {
        at.vault.rotate_root_key(&[&Fixed(1), &Fixed(2), &Fixed(5)], &[]).unwrap();
    };
    "Vault::rotate_master_key" "vp" [
        "rotate the master key, done, header", "rotate the master key, done, master key",
        "rotate the master key, done, entry", "rotate the master key, done, entry",
        "rotate the master key, done, header", "destroy a master key, done, master key",
        "rotate the master key, done, vault"
    ] |at| { at.vault.rotate_master_key().unwrap(); };
    "Vault::destroy_master_key" "" ["destroy a master key, refused, master key"] |at| {
        assert_eq!(at.vault.destroy_master_key(1), Err(Error::NoSuchKey));
    };
    "Vault::rotate_subject_key" "prh" [
        "rotate a patient key, done, entry", "rotate a patient key, done, entry",
        "rotate a patient key, done, subject"
    ] |at| { at.vault.rotate_subject_key(at.id.subject()).unwrap(); };
    "Vault::reencrypt_subject" "prh" [
        "re-encrypt, done, entry", "re-encrypt, done, re-encrypted version", "re-encrypt, done, re-encrypted version",
        "re-encrypt, done, re-encrypted version", "re-encrypt, done, entry", "re-encrypt, done, subject"
    ] |at| { at.vault.reencrypt_subject(at.id.subject()).unwrap(); };
    "Vault::reencrypt" "prh" [
        "re-encrypt, done, entry", "re-encrypt, done, re-encrypted version", "re-encrypt, done, re-encrypted version",
        "re-encrypt, done, re-encrypted version", "re-encrypt, done, entry", "re-encrypt, done, subject",
        "re-encrypt, done, vault"
    ] |at| { at.vault.reencrypt().unwrap(); };
    "Vault::key_usage" "" ["count the objects under each key, done, vault"] |at| {
        at.vault.key_usage().unwrap();
    };
    "Vault::subject_key_usage" "" ["count the objects under each key, done, subject"] |at| {
        at.vault.subject_key_usage(at.id.subject()).unwrap();
    };
    "Vault::collect_garbage" "" ["collect garbage, done, vault"] |at| {
        at.vault.collect_garbage().unwrap();
    };
    "Vault::recovery_kit" "" ["export a recovery kit, done, vault"] |at| {
        at.vault.recovery_kit().unwrap();
    };
    "RecoveryKit::restore" "v" [
        "restore a recovery kit, done, header", "restore a recovery kit, done, slot",
        "restore a recovery kit, done, slot", "restore a recovery kit, done, slot"
    ] |at| {
        at.kit.restore(at.stage.shared(), &Fixed(1)).unwrap();
    };
    "RecoveryKit::restore_anyway" "v" [
        "restore a recovery kit, done, header", "restore a recovery kit, done, slot",
        "restore a recovery kit, done, slot", "restore a recovery kit, done, slot"
    ] |at| {
        at.kit.restore_anyway(at.stage.shared(), &Fixed(1)).unwrap();
    };
    "Vault::checkpoint" "" ["make a checkpoint, done, vault"] |at| {
        at.vault.checkpoint().unwrap();
    };
    "Vault::verify" "" ["verify the vault, done, vault"] |at| {
        assert!(at.vault.verify(None).unwrap().is_clean());
    };
    "Verification::step" "" ["verify the vault, done, vault"] |at| {
        at.vault.verification().step().unwrap();
    };
    "Verification::finish" "" ["verify the vault, done, vault"] |at| {
        at.vault.verification().finish().unwrap();
    };
    "Vault::break_glass" "" ["break the glass, done, subject"] |at| {
        let hour = Duration::from_secs(3600);
        let actor = Actor::new("dr.house").unwrap();
        at.vault.break_glass(actor, at.id.subject(), "unconscious", hour).unwrap();
    };
    "Session::begin_journal_fallback" "" ["begin a journal fallback, refused, vault"] |at| {
        // The storage can be written.
        let begun = at.clinician.begin_journal_fallback("disk full", MemoryStorage::new());
        assert_eq!(begun, Err(Error::NoFallback));
    };
    "Session::end_journal_fallback" "" ["end a journal fallback, refused, vault"] |at| {
        assert_eq!(at.clinician.end_journal_fallback("replaced"), Err(Error::NoFallback));
    };
    "Session::abandon_journal_fallback" "" ["end a journal fallback, refused, vault"] |at| {
        assert_eq!(at.clinician.abandon_journal_fallback("lost"), Err(Error::NoFallback));
    };
    "Session::bring_journal_home" "" ["bring journal pages home, done, vault"] |at| {
        at.clinician.bring_journal_home("restarted", &MemoryStorage::new()).unwrap();
    };
    "Session::bring_journal_back" "" ["bring journal pages home, done, vault"] |at| {
        at.clinician.bring_journal_back(&MemoryStorage::new(), None, because("meant")).unwrap();
    };
    "Session::archive_journal" "" [
        "verify the vault, done, vault", "archive journal pages, done, vault"
    ] |at| {
        let before = Timestamp::from_millis(0);
        at.clinician.archive_journal(before, &MemoryStorage::new(), because("meant")).unwrap();
    };
    "Session::plan_restore" "" ["verify the vault, done, vault", "plan a restore, done, vault"] |at| {
        at.clinician.plan_restore(None, None).unwrap();
    };
    "Session::accept_restore" "" [
        "verify the vault, done, vault", "plan a restore, done, vault",
        "verify the vault, done, vault", "verify the vault, done, vault",
        "accept a restore, done, vault"
    ] |at| {
        let plan = at.clinician.plan_restore(None, None).unwrap();
        at.clinician.accept_restore(&plan, because("meant")).unwrap();
    };
    "Session::archive" "" ["begin a backup, done, vault", "end a backup, done, vault"] |at| {
        assert!(at.clinician.archive("nightly", Vec::new()).unwrap().objects > 0);
    };
    "Session::backup" "" ["begin a backup, done, vault", "end a backup, failed, vault"] |at| {
        let failed = at.clinician.backup("nightly", || Err::<(), _>(StorageError::Full));
        assert_eq!(failed, Err(Error::Storage(StorageError::Full)));
    };
    "Session::put" "rh" ["write a record, done, version"] |at| {
        at.clinician.put(&at.id, b"{}").unwrap();
    };
    "Session::put_if" "" ["write a record, refused, record"] |at| {
        let refused = at.clinician.put_if(&at.id, Precondition::Version(9), b"{}");
        assert_eq!(refused, Err(Error::Conflict));
    };
    "Session::put_many" "rp" [
        "prepare a subject's entry, done, entry", "write a record, done, version",
        "write a record, done, version"
    ] |at| {
        let ids = [record("MRN-9", "a"), record("MRN-9", "b")];
        let records = ids.iter().map(|id| (id, Document::new(b"{}")));
        at.clinician.put_many(records).unwrap();
    };
    "Session::import" "rp" [
        "prepare a subject's entry, done, entry", "write a record, done, version",
        "write a record, refused, record"
    ] |at| {
        let item = || ImportItem::new(record("MRN-9", "a"), Document::owned(&b"{}"[..]));
        let items = || [Ok::<_, std::io::Error>(item())];
        at.clinician.import(items(), |_, _| ()).unwrap();
        let again = at.clinician.import(items(), |_, _| ()).unwrap();
        assert_eq!((again.stored, again.already_stored), (0, 1));
    };
    "Session::put_json" "r" ["write a record, done, version"] |at| {
        at.clinician.put_json(&record("MRN-1", "json"), &1).unwrap();
    };
    "Session::put_reader" "rs" ["write a record, done, version"] |at| {
        at.clinician.put_reader(&record("MRN-1", "large"), &[7; 100_000][..]).unwrap();
    };
    "RecordWriter::finish" "r" ["write a record, done, version"] |at| {
        at.clinician.writer(&record("MRN-1", "empty")).finish().unwrap();
    };
    "Session::get" "" ["read a record, done, record"] |at| drop(at.clinician.get(&at.id).unwrap());
    "Session::get_version" "" ["read a record, nothing there, record"] |at| {
        assert!(at.clinician.get_version(&at.id, 7).unwrap().is_none());
    };
    "Session::get_json" "" ["read a record, done, record"] |at| {
        at.clinician.get_json::<u8>(&at.id).unwrap();
    };
    "Session::reader" "" ["read a record, done, record"] |at| drop(at.clinician.reader(&at.id).unwrap());
    "Session::reader_of_version" "" ["read a record, done, record"] |at| {
        at.clinician.reader_of_version(&at.id, 1).unwrap();
    };
    "Session::history" "" ["list the versions of a record, done, record"] |at| {
        at.clinician.history(&at.id).unwrap();
    };
    "Session::list" "" ["list a subject's records, done, subject"] |at| {
        assert_eq!(at.clinician.list(at.id.subject()).unwrap().count(), 2);
    };
    "Session::list_page" "" ["list a subject's records, done, subject"] |at| {
        let page = at.clinician.list_page(at.id.subject(), &ListQuery::new().by_name());
        assert_eq!(page.unwrap().len(), 2);
    };
    "Session::history_page" "" ["list the versions of a record, done, record"] |at| {
        let page = at.clinician.history_page(&at.id, &HistoryQuery::new());
        assert_eq!(page.unwrap().len(), 2);
    };
    "Session::count_records" "" ["list a subject's records, done, subject"] |at| {
        assert_eq!(at.clinician.count_records(at.id.subject()).unwrap().current, 2);
    };
    "Session::get_all" "" ["list a subject's records, done, subject", "read a record, done, record",
        "read a record, done, record"] |at| {
        assert_eq!(at.clinician.get_all(at.id.subject()).unwrap().count(), 2);
    };
    "Session::subjects" "" ["list the subjects, done, vault"] |at| {
        assert_eq!(at.clinician.subjects().unwrap().count(), 1);
    };
    "Session::retract" "rh" ["retract a record, done, version"] |at| {
        at.clinician.retract(&at.id).unwrap();
    };
    "Session::retract_if" "" ["retract a record, nothing there, record"] |at| {
        let none = record("MRN-1", "never written");
        assert_eq!(at.clinician.retract_if(&none, Precondition::Any), Ok(None));
    };
    "Session::expunge" "rh" ["expunge a record, done, version"] |at| {
        at.clinician.expunge(&at.id, "filed under the wrong patient").unwrap();
    };
    "Session::erase_subject" "prh" ["erase a subject, done, entry", "erase a subject, done, entry"] |at| {
        at.clinician.erase_subject(at.id.subject(), "asked for it").unwrap();
    };
    "Session::reopen_chart" "p" ["reopen a chart, done, entry"] |at| {
        at.clinician.reopen_chart(&subject("MRN-2")).unwrap();
    };
    "Session::place_hold" "p" ["place a legal hold, done, hold"] |at| {
        at.clinician.place_hold(at.id.subject(), "subpoena").unwrap();
    };
    "Session::lift_hold" "" ["lift a legal hold, refused, hold"] |at| {
        assert_eq!(at.clinician.lift_hold(at.id.subject(), 7), Err(Error::NoSuchHold));
    };
    "Session::holds" "" ["inspect holds and retention, done, subject"] |at| {
        at.clinician.holds(at.id.subject()).unwrap();
    };
    "Session::retain_until" "p" ["set a retention, done, retention"] |at| {
        let until = UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        at.clinician.retain_until(at.id.subject(), Some(until)).unwrap();
    };
    "Session::retained_until" "" ["inspect holds and retention, done, subject"] |at| {
        at.clinician.retained_until(at.id.subject()).unwrap();
    };
    "Session::disclose" "" ["disclose records, done, subject"] |at| {
        at.clinician.disclose(at.id.subject(), "insurer", "summary").unwrap();
    };
    "Session::disclose_record" "" ["disclose records, done, record"] |at| {
        at.clinician.disclose_record(&at.id, "insurer", "summary").unwrap();
    };
    "Auditor::open" "" ["read the journal, done, slot"] |at| drop(auditor(at));
    "Auditor::open_read_only" "" ["read the journal, done, slot", "bring journal pages home, done, vault"] |at| {
        // The entry stays in the spool until it is brought home. Its time comes from the system's
        // clock.
        let (storage, spool) = (Arc::clone(&at.stage.storage), Arc::new(MemoryStorage::new()));
        let actor = Actor::new("privacy.office").unwrap();
        drop(Auditor::open_read_only(storage, Arc::clone(&spool), &Fixed(2), actor, Purpose::Legal));
        at.stage.clock.advance(100 * 365 * 24 * 3_600_000);
        at.clinician.bring_journal_home("brought home", &spool).unwrap();
    };
    "AuditTrail::entries" "" ["read the journal, done, slot", "read the journal, done, vault"] |at| {
        assert!(auditor(at).trail().entries(..).unwrap().count() > 0);
    };
    "AuditTrail::accesses" "" ["read the journal, done, slot", "read the journal, done, subject"] |at| {
        auditor(at).trail().accesses(at.id.subject(), ..).unwrap();
    };
    "AuditTrail::entries_about" "" ["read the journal, done, slot", "read the journal, done, subject"] |at| {
        auditor(at).trail().entries_about(at.id.subject(), ..).unwrap();
    };
    "AuditTrail::disclosures" "" ["read the journal, done, slot", "read the journal, done, subject"] |at| {
        auditor(at).trail().disclosures(at.id.subject()).unwrap();
    };
    "AuditTrail::activity" "" ["read the journal, done, slot", "read the journal, done, vault"] |at| {
        let actor = Actor::new("dr.garcia").unwrap();
        auditor(at).trail().activity(&actor, ..).unwrap();
    };
    "AuditTrail::exposure" "" ["read the journal, done, vault"] |at| {
        at.clinician.audit().unwrap().exposure(&Exposed::Slot(at.auditor_slot), ..).unwrap();
    };
    "AuditTrail::evidence" "" ["read the journal, done, subject"] |at| {
        at.clinician.audit().unwrap().evidence(&at.id, 1).unwrap();
    };
};

/// Operations that write no entry, each with the reason.
const WITHOUT: &[(&str, &str)] = &[
    (
        "Vault::run_upkeep",
        "writes waiting entries and evicts keys, as the background thread does",
    ),
    ("Vault::session", "sets the actor; reads nothing"),
    (
        "Vault::set_policy",
        "sets the policy of this process; the app gives it when it opens the vault, too",
    ),
    ("Vault::with_cancel", "sets the cancel token"),
    (
        "Vault::with_progress",
        "sets the listener of progress updates",
    ),
    ("Session::actor", "returns the session's actor"),
    ("Session::purpose", "returns the session's purpose"),
    (
        "Session::with_request_id",
        "sets the request of the session's entries",
    ),
    (
        "Session::on_behalf_of",
        "sets the organization of the session's entries",
    ),
    (
        "Session::audit",
        "reads nothing until a report is requested",
    ),
    ("Session::writer", "writes no record before `finish`"),
    ("RecordWriter::content_type", "sets metadata for `finish`"),
    ("RecordWriter::label", "sets metadata for `finish`"),
    ("RecordWriter::honeytoken", "sets metadata for `finish`"),
    ("RecordWriter::original_time", "sets metadata for `finish`"),
    (
        "RecordWriter::original_author",
        "sets metadata for `finish`",
    ),
    (
        "RecordWriter::expecting",
        "sets the precondition of `finish`",
    ),
    (
        "RecordWriter::read_from",
        "writes no record before `finish`, which is journaled",
    ),
    (
        "RecordReader::info",
        "the read was journaled when the reader was made",
    ),
    (
        "RecordReader::len",
        "the read was journaled when the reader was made",
    ),
    (
        "RecordReader::is_empty",
        "the read was journaled when the reader was made",
    ),
    (
        "RecordReader::read_at",
        "the read was journaled when the reader was made",
    ),
    ("RecoveryKit::from_bytes", "reads bytes that the app has"),
    (
        "RecoveryKit::as_bytes",
        "the export of the kit was journaled",
    ),
    (
        "Auditor::trail",
        "reads nothing until a report is requested",
    ),
    ("Auditor::slot", "returns the slot; `open` was journaled"),
    ("Vault::verification", "reads nothing until its first step"),
    (
        "Verification::with_checkpoint",
        "sets the checkpoint to compare with",
    ),
    (
        "Verification::with_content",
        "sets whether contents are opened",
    ),
    ("Verification::from", "sets the position to continue from"),
    (
        "Verification::max_facts",
        "sets how many facts are held in memory",
    ),
    (
        "Verification::position",
        "returns the position; the verification was journaled when it began",
    ),
    (
        "Verification::report",
        "returns the findings; the verification was journaled when it began",
    ),
    (
        "AuditTrail::with_archive",
        "adds a storage that later queries read; each query is journaled",
    ),
    (
        "AuditTrail::authority",
        "returns whether forged pages are recognized; reads nothing",
    ),
    (
        "AuditTrail::resolve_all",
        "resolves names inside the vault; releases nothing",
    ),
    (
        "AuditTrail::confirm",
        "returns only whether evidence of the caller still holds",
    ),
    (
        "AuditTrail::resolve_subject",
        "resolves a name that the caller has",
    ),
    (
        "AuditTrail::resolve_record",
        "resolves a name that the caller has",
    ),
];

fn auditor(at: &Scene<'_>) -> Auditor {
    let actor = Actor::new("privacy.office").unwrap();
    let options = at.stage.options_in(Journaling::Strict);
    let storage = Arc::clone(&at.stage.storage);
    options
        .open_journal(storage, &Fixed(2), actor, Purpose::Operations)
        .unwrap()
}

fn target(line: &Line) -> &'static str {
    match line.entry.target {
        Target::Vault => "vault",
        Target::Header { .. } => "header",
        Target::Subject(_) => "subject",
        Target::Entry { .. } => "entry",
        Target::Record { .. } => "record",
        Target::Version { .. } => "version",
        Target::Reencrypted { .. } => "re-encrypted version",
        Target::Records { .. } => "records",
        Target::Retention { .. } => "retention",
        Target::Hold { .. } => "hold",
        Target::Finding(_) => "finding",
        Target::Slot(_) => "slot",
        Target::MasterKey(_) => "master key",
        Target::Settled(..) => panic!("no settled entries on this storage"),
    }
}

/// Returns the classes of the storage keys whose values changed, except `j` and `a`.
fn written(
    before: &BTreeMap<Vec<u8>, Vec<u8>>,
    after: &BTreeMap<Vec<u8>, Vec<u8>>,
) -> BTreeSet<char> {
    let keys = before.keys().chain(after.keys());
    let changed = keys.filter(|key| before.get(*key) != after.get(*key));
    let mut classes: BTreeSet<char> = changed.map(|key| char::from(key[0])).collect();
    classes.remove(&'j');
    classes.remove(&'a');
    classes
}

fn scene(stage: &Stage) -> (Vault, u16, u16) {
    let vault = stage.create_in(Journaling::Strict);
    let second = vault.add_slot(&Fixed(5)).unwrap();
    let slot = vault.add_auditor_slot(&Fixed(2)).unwrap();
    let clinician = session(&vault);
    clinician
        .put(&record("MRN-1", "Observation/1"), b"1")
        .unwrap();
    for version in [b"1", b"2"] {
        clinician
            .put(&record("MRN-1", "Observation/2"), version)
            .unwrap();
    }
    clinician
        .put(&record("MRN-2", "Observation/1"), b"1")
        .unwrap();
    clinician
        .erase_subject(&subject("MRN-2"), "asked for it")
        .unwrap();
    drop(vault);
    (stage.open_in(Journaling::Strict), slot, second)
}

/// Runs the operation of one row. Returns the operation's journal entries, and the classes of the
/// storage keys that the operation wrote.
///
/// The operation that creates a vault runs on an empty storage, and that of a recovery kit on a
/// storage without a header.
fn run_row(row: &Row) -> (Vec<String>, BTreeSet<char>) {
    run_row_within(row, &mut |run| run())
}

/// Runs the operation of one row like [`run_row`], inside `within`, which must call its argument.
pub(crate) fn run_row_within(
    row: &Row,
    within: &mut dyn FnMut(&mut dyn FnMut()),
) -> (Vec<String>, BTreeSet<char>) {
    if row.name == "Vault::create" {
        let stage = Stage::memory();
        within(&mut || drop(stage.create_in(Journaling::Strict)));
        return (
            stage.journal().iter().map(entry_text).collect(),
            written(&BTreeMap::new(), &stage.objects()),
        );
    }
    let stage = Stage::memory();
    let (vault, auditor_slot, second_slot) = scene(&stage);
    // Write the queued entry of `open` first, so that all later entries belong to the operation
    // under test.
    let kit = vault.recovery_kit().unwrap();
    let positions = || {
        stage
            .journal()
            .into_iter()
            .map(|line| (line.page, line.index))
    };
    let before: BTreeSet<_> = positions().collect();
    if row.name.starts_with("RecoveryKit::") {
        delete(&stage.storage, b"v");
    }
    let objects = stage.objects();
    let scene = Scene {
        stage: &stage,
        vault: &vault,
        clinician: session(&vault),
        id: record("MRN-1", "Observation/2"),
        auditor_slot,
        second_slot,
        kit,
    };
    within(&mut || (row.run)(&scene));
    drop(scene);
    drop(vault);
    let mut own = stage.journal();
    own.retain(|line| !before.contains(&(line.page, line.index)));
    // Sort by time, because the entries may be in several chains.
    own.sort_by_key(|line| line.at);
    let left = own.iter().map(entry_text).collect();
    (left, written(&objects, &stage.objects()))
}

fn entry_text(line: &Line) -> String {
    assert_eq!(line.entry.stage, EntryStage::Done);
    let (operation, outcome) = (line.entry.operation, line.entry.outcome);
    format!("{operation}, {outcome}, {}", target(line))
}

/// Sorts entries, because entries of one millisecond can be in different chains.
fn sorted<T: AsRef<str>>(entries: &[T]) -> Vec<&str> {
    let mut entries: Vec<_> = entries.iter().map(AsRef::as_ref).collect();
    entries.sort_unstable();
    entries
}

#[test]
fn every_public_operation_writes_entries_of_its_row() {
    let wrong: Vec<_> = (ROWS.iter())
        .map(|row| (row, run_row(row)))
        .filter(|(row, (left, classes))| {
            sorted(left) != sorted(row.entries) || *classes != row.writes.chars().collect()
        })
        .map(|(row, found)| (row.name, found))
        .collect();
    assert!(
        wrong.is_empty(),
        "these operations write other entries: {wrong:#?}"
    );
}

#[test]
fn every_public_operation_has_a_row_or_a_reason() {
    let rows = ROWS.iter().map(|row| row.name);
    let listed: Vec<_> = rows.chain(WITHOUT.iter().map(|(name, _)| *name)).collect();
    let unique: BTreeSet<String> = listed.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(unique.len(), listed.len(), "a name is listed twice");
    let there = parse::operations();
    let new: Vec<_> = there.difference(&unique).collect();
    assert!(
        new.is_empty(),
        "add a row or a reason for these operations: {new:?}"
    );
    let gone: Vec<_> = unique.difference(&there).collect();
    assert!(
        gone.is_empty(),
        "remove these, which are no longer public operations: {gone:?}"
    );
}

/// Returns the table in Markdown.
fn as_markdown() -> String {
    let mut text = String::from(
        "| operation | writes | entries: operation, outcome, target |\n|---|---|---|\n",
    );
    for row in ROWS {
        let keys: Vec<_> = row
            .writes
            .chars()
            .map(|class| format!("`{class}`"))
            .collect();
        let entries = row.entries.join(" · ");
        text += &format!("| `{}` | {} | {entries} |\n", row.name, keys.join(" "));
    }
    text += "\n| operation without an entry | why |\n|---|---|\n";
    for (name, why) in WITHOUT {
        text += &format!("| `{name}` | {why} |\n");
    }
    text
}

#[test]
fn operations_page_ends_with_operations_table() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/vault/journaling/operations.md"
    );
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    let made = as_markdown();
    assert!(
        kept.ends_with(&made),
        "src/vault/journaling/operations.md should end with:\n{made}"
    );
}
