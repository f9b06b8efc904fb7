//! Records that were rolled back, removed, exchanged or restored.

use chartlock::internals::envelope::INLINE_MAX;
use chartlock::verify::{FindingKind, VerifyReport};

use super::{assert_clean, clinic, entries, faults, put_back, record_key, records, remove, verify};
use crate::common::accept_restore;
use crate::raw;
use crate::stage::{Stage, content, record, session_on, subject};

everywhere!(
    record_rollback_is_found,
    record_rollback_with_history_is_found,
    undone_retraction_is_found,
    rollback_followed_by_put_is_found,
    rollback_of_reencryption_is_found,
    removed_current_version_is_found,
    removed_record_is_found,
    removed_earlier_version_is_found,
    exchanged_records_are_found,
    removed_content_is_found,
    altered_content_is_found_with_content_check,
    record_from_forked_copy_is_found,
);

fn assert_only_record(report: &VerifyReport, name: &str, version: u64, kind: FindingKind) {
    assert_eq!(
        records(report),
        [(name.to_owned(), version, kind)],
        "{report:#?}"
    );
    assert!(report.header.is_none() && report.entries.is_empty());
    assert!(faults(report).is_empty(), "{report:#?}");
    assert!(!report.is_clean());
}

fn record_rollback_is_found(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let snapshot = raw::all_objects(&stage.storage);
    session_on(&stage.open())
        .put(&record("MRN-1", "Allergy/1"), b"penicillin")
        .unwrap();
    assert_clean(stage);
    put_back(&stage.storage, &snapshot, |of| of == key);
    assert_only_record(
        &verify(stage),
        "MRN-1 Allergy/1",
        5,
        FindingKind::RolledBack,
    );
}

fn record_rollback_with_history_is_found(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let snapshot = raw::all_objects(&stage.storage);
    let vault = stage.open();
    for _ in 0..3 {
        session_on(&vault)
            .put(&record("MRN-1", "Allergy/1"), b"penicillin")
            .unwrap();
    }
    drop(vault);
    put_back(&stage.storage, &snapshot, |of| {
        matches!(of[0], b'r' | b'h') && of[1..33] == key[1..33]
    });
    let report = verify(stage);
    assert_only_record(&report, "MRN-1 Allergy/1", 7, FindingKind::RolledBack);
    assert_eq!(report.records[0].stored, Some(4));
    assert_eq!(report.records[0].id(), Some(record("MRN-1", "Allergy/1")));
}

fn undone_retraction_is_found(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-2", "Observation/1");
    let snapshot = raw::all_objects(&stage.storage);
    session_on(&stage.open())
        .retract(&record("MRN-2", "Observation/1"))
        .unwrap();
    assert_clean(stage);
    put_back(&stage.storage, &snapshot, |of| {
        matches!(of[0], b'r' | b'h') && of[1..33] == key[1..33]
    });
    assert_only_record(
        &verify(stage),
        "MRN-2 Observation/1",
        3,
        FindingKind::RolledBack,
    );
}

/// Rolls a record back and puts until its version number matches the journal. Two journal entries
/// then contain the same version number.
fn rollback_followed_by_put_is_found(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let snapshot = raw::all_objects(&stage.storage);
    let id = record("MRN-1", "Allergy/1");
    session_on(&stage.open()).put(&id, b"penicillin").unwrap();
    put_back(&stage.storage, &snapshot, |of| {
        matches!(of[0], b'r' | b'h') && of[1..33] == key[1..33]
    });
    let vault = stage.open();
    for version in [5, 6] {
        assert_eq!(session_on(&vault).put(&id, b"none known"), Ok(version));
    }
    drop(vault);
    assert_only_record(
        &verify(stage),
        "MRN-1 Allergy/1",
        5,
        FindingKind::RolledBack,
    );
}

/// Restores the same version and content under the former data key, which undoes the response to an
/// incident.
fn rollback_of_reencryption_is_found(stage: &Stage) {
    clinic(&stage.create());
    let snapshot = raw::all_objects(&stage.storage);
    stage.open().reencrypt_subject(&subject("MRN-1")).unwrap();
    assert_clean(stage);
    let now = raw::all_objects(&stage.storage);
    let key = snapshot
        .iter()
        .find(|(key, value)| key[0] == b'h' && now.get(*key) != Some(value));
    let (key, _) = key.unwrap();
    put_back(&stage.storage, &snapshot, |of| of == key);
    let version = u64::from_be_bytes(key[33..].try_into().unwrap());
    assert_only_record(
        &verify(stage),
        "MRN-1 Allergy/1",
        version,
        FindingKind::RolledBack,
    );
}

fn removed_current_version_is_found(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    remove(&stage.storage, &[key]);
    assert_only_record(&verify(stage), "MRN-1 Allergy/1", 4, FindingKind::Missing);
}

fn removed_record_is_found(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    put_back(&stage.storage, &raw::Objects::new(), |of| {
        matches!(of[0], b'r' | b'h') && of[1..33] == key[1..33]
    });
    let report = verify(stage);
    let missing = |version| ("MRN-1 ?".to_owned(), version, FindingKind::Missing);
    assert_eq!(records(&report), [1, 4].map(missing), "{report:#?}");
    // Expect a finding on the current version, and another on the run of all earlier versions.
    let versions = report.records.iter().map(|found| found.versions);
    assert_eq!(versions.collect::<Vec<_>>(), [1, 3]);
    assert!(
        report
            .records
            .iter()
            .all(|found| found.record[..] == key[17..])
    );
}

fn removed_earlier_version_is_found(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let second = [b"h", &key[1..], &2_u64.to_be_bytes()].concat();
    remove(&stage.storage, &[second]);
    assert_only_record(&verify(stage), "MRN-1 Allergy/1", 2, FindingKind::Missing);
}

fn exchanged_records_are_found(stage: &Stage) {
    clinic(&stage.create());
    let one = record_key(stage, "MRN-1", "Allergy/1");
    let other = record_key(stage, "MRN-2", "Allergy/1");
    let mut objects = raw::all_objects(&stage.storage);
    let value = objects
        .insert(one.clone(), objects[&other].clone())
        .unwrap();
    objects.insert(other, value);
    raw::reset(&stage.storage, &objects);
    let report = verify(stage);
    let altered = |name: &str| (format!("{name} Allergy/1"), 4, FindingKind::Altered);
    assert_eq!(records(&report), ["MRN-1", "MRN-2"].map(altered));
}

fn removed_content_is_found(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    let large = content(1, 20 * INLINE_MAX);
    session_on(&vault)
        .put(&record("MRN-1", "CT/1"), &large)
        .unwrap();
    drop(vault);
    assert_clean(stage);
    let segments = raw::objects_of(&stage.storage, b"s");
    assert!(segments.len() > 1);
    for segment in segments.keys() {
        let snapshot = raw::all_objects(&stage.storage);
        remove(&stage.storage, std::slice::from_ref(segment));
        assert_only_record(&verify(stage), "MRN-1 CT/1", 1, FindingKind::ContentMissing);
        put_back(&stage.storage, &snapshot, |of| of[0] == b's');
    }
}

/// Alters content, which only a verification with content can find.
fn altered_content_is_found_with_content_check(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    session_on(&vault)
        .put(&record("MRN-1", "CT/1"), &content(1, 20 * INLINE_MAX))
        .unwrap();
    drop(vault);
    for (segment, mut value) in raw::objects_of(&stage.storage, b"s") {
        let snapshot = raw::all_objects(&stage.storage);
        value[100] ^= 1;
        raw::put(&stage.storage, &segment, &value);
        assert_clean(stage);
        let report = stage.open().verification().with_content().finish().unwrap();
        assert_only_record(&report, "MRN-1 CT/1", 1, FindingKind::ContentAltered);
        put_back(&stage.storage, &snapshot, |of| of[0] == b's');
    }
}

/// Forks a copy of the vault and replaces a record by the copy's version of that record.
fn record_from_forked_copy_is_found(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let fork = raw::all_objects(&stage.storage);
    session_on(&stage.open())
        .put(&record("MRN-1", "Allergy/1"), b"of the copy")
        .unwrap();
    let copy = raw::all_objects(&stage.storage);
    raw::reset(&stage.storage, &fork);
    session_on(&stage.open())
        .put(&record("MRN-1", "Allergy/1"), b"of the vault")
        .unwrap();
    assert_clean(stage);
    put_back(&stage.storage, &copy, |of| of == key);
    let report = verify(stage);
    assert_eq!(
        records(&report),
        [("MRN-1 Allergy/1".to_owned(), 5, FindingKind::Unexpected)]
    );
    assert!(entries(&report).is_empty());
    // With the copy's journal pages in the storage, two chains contain the same version.
    let mut objects = raw::all_objects(&stage.storage);
    objects.extend(copy.into_iter().filter(|(key, _)| key[0] == b'j'));
    raw::reset(&stage.storage, &objects);
    let report = verify(stage);
    assert_eq!(
        records(&report),
        [("MRN-1 Allergy/1".to_owned(), 5, FindingKind::Forked)]
    );
    assert!(faults(&report).contains(&chartlock::verify::JournalFault::Forked));
}

/// Debug output goes to logs and must reveal no names. The serialized report includes the names.
#[test]
fn report_contains_names_only_when_serialized() {
    let stage = Stage::memory();
    clinic(&stage.create());
    let key = record_key(&stage, "MRN-1", "Allergy/1");
    let entry = raw::objects_of(&stage.storage, b"p").into_keys().next();
    remove(&stage.storage, &[key.clone(), entry.unwrap()]);
    let vault = stage.open();
    let session = session_on(&vault);
    accept_restore(&session, "a reason with a name").unwrap();
    let report = vault.verify(None).unwrap();
    assert_eq!(report.restores.len(), 1);
    stage.open().rotate_master_key().unwrap();
    let mut report = verify(&stage);
    report.restores = vault.verify(None).unwrap().restores;
    let hidden = format!("{report:?} {report:#?}");
    for name in ["MRN", "Allergy", "dr.garcia", "a reason"] {
        assert!(!hidden.contains(name), "{hidden}");
    }
    let json = serde_json::to_string(&report).unwrap();
    assert!(json.contains("dr.garcia") && json.contains("a reason with a name"));
}
