//! Vaults for the independent reader in Python, with the results that the reader must find in them.
//!
//! This build writes archives and directories with every kind of object, so that a difference
//! between the library and format.md or directory.md becomes visible. The test needs no Python; CI
//! runs `python3 tests/independent fresh` on its output, then `python3 tests/independent attack`, and
//! verifies the attacked vaults.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod attacked;
#[path = "../common/mod.rs"]
mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chartlock::audit::{AuditEntry, AuditItem};
use chartlock::internals::journal::writers;
use chartlock::keys::{KeyFile, Passphrase};
use chartlock::storage::{MemoryStorage, PerOperation, Storage, archive};
use chartlock::{
    CipherSuite, Document, FileStorage, Operation, Purpose, RecordId, RecordInfo, Session, Subject,
    Vault, VaultOptions, access::AccessOutcome,
};
use common::{record, session, session_as, subject};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Environment variable that makes `child_writes_directory_and_aborts` act.
const CHILD: &str = "CHARTLOCK_INDEPENDENT_CHILD";
const PASSPHRASE: &str = "Köder 7, correct horse";

/// Returns bytes of a fixed pattern.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 251) as u8 ^ n as u8).collect()
}

struct Credentials {
    key_file: KeyFile,
    passphrase: Passphrase,
    auditor: KeyFile,
}

impl Credentials {
    fn new() -> Self {
        Self {
            key_file: KeyFile::random().unwrap(),
            passphrase: common::passphrase(PASSPHRASE),
            auditor: KeyFile::random().unwrap(),
        }
    }
}

/// Stores every kind of object in the vault.
fn fill(vault: &Vault, credentials: &Credentials) {
    vault.add_slot(&credentials.passphrase).unwrap();
    let leaves = vault.add_slot(&KeyFile::random().unwrap()).unwrap();
    vault.add_auditor_slot(&credentials.auditor).unwrap();
    records(vault);
    subjects(vault);
    vault.rotate_master_key().unwrap();
    vault.rotate_subject_key(&subject("MRN-1")).unwrap();
    vault.reencrypt_subject(&subject("MRN-2")).unwrap();
    let stay: [&dyn chartlock::keys::Credential; 3] = [
        &credentials.key_file,
        &credentials.passphrase,
        &credentials.auditor,
    ];
    vault.rotate_root_key(&stay, &[leaves]).unwrap();
    vault.checkpoint().unwrap();
}

/// Changes objects of each kind, so that earlier ones differ.
fn change(vault: &Vault, credentials: &Credentials) {
    let session = session(vault);
    session
        .put(&record("MRN-4", "Note/2"), "back again, amended")
        .unwrap();
    session.place_hold(&subject("MRN-1"), "audit").unwrap();
    let stay: [&dyn chartlock::keys::Credential; 1] = [&credentials.auditor];
    vault.rotate_journal_keys(&stay, &[]).unwrap();
}

fn records(vault: &Vault) {
    let session = session(vault);
    let session = session.with_request_id("req-7").unwrap();
    let session = session.on_behalf_of("Clínica Sol").unwrap();
    let note = record("MRN-1", "Note/é");
    let labelled = Document::new("{\"v\":1}")
        .content_type("application/fhir+json")
        .label("lab")
        .label("vitals");
    session.put(&note, labelled).unwrap();
    session
        .put(
            &note,
            Document::new("spelled out").content_type("model/gltf+json"),
        )
        .unwrap();
    session.put(&note, "third").unwrap();
    session.put(&record("MRN-1", "Empty/1"), "").unwrap();
    session
        .put(
            &record("MRN-1", "Poison/1"),
            Document::new("bait").honeytoken(),
        )
        .unwrap();
    session
        .put(&record("MRN-1", "Inline/65536"), &bytes(65_536))
        .unwrap();
    for length in [65_537, 1_048_577] {
        let image = record("MRN-1", &format!("Image/{length}"));
        session.put(&image, &bytes(length)).unwrap();
        session.put(&image, &bytes(length + 1)).unwrap();
    }
    let retracted = record("MRN-1", "Retracted/1");
    session.put(&retracted, "no more").unwrap();
    session.retract(&retracted).unwrap();
    for name in ["Expunged/1", "Expunged/2"] {
        let expunged = record("MRN-1", name);
        session
            .put(&expunged, "should never have been here")
            .unwrap();
        session.put(&expunged, &bytes(70_000)).unwrap();
        session.expunge(&expunged, "wrong patient").unwrap();
    }
    let again = record("MRN-1", "Expunged/2");
    session.put(&again, "after it was expunged").unwrap();
    session.put(&again, "and once more").unwrap();
    let formulary = RecordId::organization("formulary", "2026").unwrap();
    session.put(&formulary, "aspirin").unwrap();
    assert!(session.get(&record("MRN-1", "never")).unwrap().is_none());
    session.get_version(&note, 1).unwrap().unwrap();
    assert!(session.get_all(&subject("MRN-1")).unwrap().count() > 3);
}

fn subjects(vault: &Vault) {
    let session = session(vault);
    for identifier in ["MRN-2", "MRN-3", "MRN-4"] {
        session
            .put(&record(identifier, "Note/1"), "a note")
            .unwrap();
        session
            .put(&record(identifier, "Image/1"), &bytes(100_000))
            .unwrap();
    }
    session
        .place_hold(&subject("MRN-2"), "subpoena 4711")
        .unwrap();
    let released = session.place_hold(&subject("MRN-2"), "by mistake").unwrap();
    session.lift_hold(&subject("MRN-2"), released).unwrap();
    let until = SystemTime::now() + Duration::from_secs(86_400);
    session
        .retain_until(&subject("MRN-2"), Some(until))
        .unwrap();
    for erased in ["MRN-3", "MRN-4"] {
        session
            .erase_subject(&subject(erased), "asked for it")
            .unwrap();
    }
    session.reopen_chart(&subject("MRN-4")).unwrap();
    session
        .put(&record("MRN-4", "Note/2"), "back again")
        .unwrap();
}

/// Computes the results that a reader of the archive must find, by reading a copy with the library.
fn expected(archived: &[u8], credentials: &Credentials) -> Value {
    let copy: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    archive::read(std::io::Cursor::new(archived), &copy).unwrap();
    let before: BTreeSet<_> = writers(&*copy, ..).unwrap().into_iter().collect();
    let vault = Vault::open(Arc::clone(&copy), &credentials.key_file).unwrap();
    let session = session(&vault);
    let of = |subject: Subject, state: &str, dead_charts: u32| {
        let holds = session.holds(&subject).unwrap_or_default();
        json!({
            "identifier": subject.identifier(),
            "state": state,
            "dead_charts": dead_charts,
            "holds": holds.iter().map(|hold| json!({ "id": hold.id, "reason": hold.reason })).collect::<Value>(),
            "records": match state {
                "live" => records_of(&session, &subject),
                _ => json!([]),
            },
            "in_journal": true,
        })
    };
    let patients = [
        of(subject("MRN-1"), "live", 0),
        of(subject("MRN-2"), "live", 0),
        of(subject("MRN-3"), "erased", 1),
        of(subject("MRN-4"), "live", 1),
        of(Subject::organization("formulary").unwrap(), "live", 0),
    ];
    let session = session_as(&vault, "privacy.office", Purpose::Operations);
    let trail = session.audit().unwrap();
    let entries = trail.entries(..).unwrap().map(Result::unwrap);
    let mut entries: Vec<_> = entries
        .map(|item| match item {
            AuditItem::Entry(entry) => entry,
            AuditItem::Fault(fault) => unreachable!("{fault:?}"),
        })
        .filter(|entry| before.contains(&entry.position.writer.0))
        .collect();
    entries.sort_by_key(|entry| entry.position);
    let unsettled = entries.iter().filter(|entry| !entry.settled).count();
    json!({
        "vault": {
            "in_journal": true,
            "slot_kinds": [2, 1, 0x8002],
            "slot_names": slot_names(&vault),
        },
        "patients": patients,
        "journal": {
            "chains": before.len(),
            "unsettled": unsettled,
            "entries": entries.iter().map(entry_json).collect::<Value>(),
        },
    })
}

fn slot_names(vault: &Vault) -> Value {
    let mut slots = vault.slots().unwrap();
    slots.sort_by_key(|slot| slot.id);
    let names = slots.iter().map(
        |slot| json!({ "id": slot.id, "created": slot.created().unwrap(), "label": slot.label() }),
    );
    names.collect()
}

fn records_of(session: &Session, subject: &Subject) -> Value {
    let listed = session.list(subject).unwrap().map(Result::unwrap);
    let mut names: Vec<String> = listed.map(|info| info.name().to_owned()).collect();
    // `list` omits retracted and expunged records, so add their names.
    if subject.identifier() == "MRN-1" {
        names.extend(["Retracted/1".into(), "Expunged/1".into()]);
    }
    names.sort();
    let records = names.iter().map(|name| {
        let id = RecordId::new(subject.clone(), name).unwrap();
        let history = session.history(&id).unwrap();
        let versions = history.iter().map(|info| version(session, &id, info));
        json!({ "name": name, "versions": versions.collect::<Value>() })
    });
    records.collect()
}

fn version(session: &Session, id: &RecordId, info: &RecordInfo) -> Value {
    let since = info.written_at().duration_since(SystemTime::UNIX_EPOCH);
    let mut fields = json!({
        "version": info.version(),
        "written_at": since.unwrap().as_millis() as u64,
        "content_type": info.content_type(),
        "labels": info.labels().collect::<Vec<_>>(),
        "marker": info.is_expunged(),
        "in_journal": true,
    });
    if info.is_retraction() {
        fields["kind"] = "retraction".into();
    } else {
        let content = session.get_version(id, info.version()).unwrap().unwrap();
        fields["length"] = content.len().into();
        fields["sha256"] = hex(&Sha256::digest(&*content)).into();
        fields["kind"] = match content.len() {
            ..=65_536 => "inline",
            _ => "segmented",
        }
        .into();
    }
    fields
}

fn entry_json(entry: &AuditEntry) -> Value {
    let operation = (Operation::ALL.iter()).position(|operation| *operation == entry.operation);
    let outcome = (AccessOutcome::ALL.iter()).position(|outcome| *outcome == entry.outcome);
    let subject = entry.subject.as_ref();
    json!({
        "page_writer": entry.position.writer.to_string(),
        "page": entry.position.page,
        "index": entry.position.index,
        "at": entry.at.millis(),
        "actor": entry.actor,
        "purpose": entry.purpose,
        "request": entry.request.as_deref().unwrap_or_default(),
        "organisation": entry.organization.as_deref().unwrap_or_default(),
        "broke_glass": entry.under_break_glass,
        "operation": operation.unwrap() + 1,
        "outcome": outcome.unwrap(),
        "reason": entry.reason,
        "consent": entry.consent,
        "note": entry.note,
        "jsub": subject.map(|subject| subject.tag.to_string()),
        "jnam": entry.record.as_ref().map(|record| record.tag.to_string()),
        "generation": entry.generation,
        "sequence": entry.sequence,
        "digest": entry.digest.map(|digest| digest.to_string()),
        "digest_before": entry.digest_before.map(|digest| digest.to_string()),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the output directory of a vault.
fn output(name: &str) -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tmp.join("independent").join(name)
}

/// Writes an archive and its expected results, and asserts that the library verifies the vault
/// without findings.
fn write(name: &str, suite: CipherSuite, storage: Arc<dyn Storage>) {
    let credentials = Credentials::new();
    let options = VaultOptions::new()
        .cipher_suite(suite)
        .key_removal_delay(Duration::ZERO);
    let vault = options
        .create(Arc::clone(&storage), &credentials.key_file)
        .unwrap();
    fill(&vault, &credentials);
    let mut earlier = Vec::new();
    archive::write(&storage, &mut earlier).unwrap();
    change(&vault, &credentials);
    drop(vault);
    // Open the vault again to start a second chain, whose first page records the head of the first
    // chain.
    let vault = Vault::open(Arc::clone(&storage), &credentials.passphrase).unwrap();
    assert!(vault.verify(None).unwrap().is_clean());
    drop(vault);

    let mut archived = Vec::new();
    archive::write(&storage, &mut archived).unwrap();
    let expected = expected(&archived, &credentials);
    let expected_json = expected.to_string();
    let directory = output(name);
    fs::create_dir_all(&directory).unwrap();
    let key_file = credentials.key_file.to_text();
    let auditor = credentials.auditor.to_text();
    let files: [(&str, &[u8]); 6] = [
        ("vault.clarchive", &archived),
        ("earlier.clarchive", &earlier),
        ("key file", key_file.as_bytes()),
        ("auditor", auditor.as_bytes()),
        ("passphrase", PASSPHRASE.as_bytes()),
        ("expected.json", expected_json.as_bytes()),
    ];
    for (name, content) in files {
        fs::write(directory.join(name), content).unwrap();
    }
    assert_eq!(expected["journal"]["unsettled"], 0);
    assert!(expected["journal"]["entries"].as_array().unwrap().len() > 60);
}

#[test]
fn aes_vault_with_every_object_kind_is_archived_for_independent_reader() {
    let storage = Arc::new(MemoryStorage::new());
    write("aes", CipherSuite::Aes256Gcm, storage);
}

/// Uses a storage without transactions, so that the journal announces and settles entries.
#[test]
fn chacha20_vault_on_plain_storage_is_archived_for_independent_reader() {
    let storage = Arc::new(PerOperation::new(MemoryStorage::new()));
    write("chacha", CipherSuite::ChaCha20Poly1305, storage);
}

/// Creates a storage in the directory `vault` of an output directory.
fn create_directory(name: &str) -> Arc<FileStorage> {
    let directory = output(name).join("vault");
    let _absent_in_the_first_run = fs::remove_dir_all(&directory);
    Arc::new(FileStorage::open(directory).unwrap())
}

fn log_length(name: &str) -> Option<u64> {
    let log = output(name).join("vault/vault.db-wal");
    fs::metadata(log).ok().map(|log| log.len())
}

#[test]
fn closed_directory_is_left_for_independent_reader() {
    let storage = create_directory("closed");
    write("closed", CipherSuite::Aes256Gcm, storage.clone());
    storage.close().unwrap();
    assert_eq!(log_length("closed"), None);
}

#[test]
fn killed_directory_is_left_with_its_log_for_independent_reader() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["child_writes_directory_and_aborts", "--exact"]);
    let expected = output("killed").join("expected.json");
    let _absent_in_the_first_run = fs::remove_file(&expected);
    let result = child.env(CHILD, "1").output().unwrap();
    assert!(!result.status.success());
    // The child writes this file last.
    assert!(expected.exists());
    assert!(log_length("killed").unwrap() > 0);
}

#[test]
fn child_writes_directory_and_aborts() {
    if std::env::var_os(CHILD).is_some() {
        let storage = create_directory("killed");
        write("killed", CipherSuite::ChaCha20Poly1305, storage.clone());
        std::process::abort();
    }
}
