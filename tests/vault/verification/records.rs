//! Records that were put back, removed, exchanged, or brought back.

use chartlock::internals::envelope::INLINE_MAX;
use chartlock::verify::{FindingKind, VerifyReport};

use super::{clinic, entries, faults, is_clean, put_back, record_key, records, remove, verify};
use crate::raw;
use crate::stage::{Stage, content, record, session, subject};

everywhere!(
    one_record_is_rolled_back,
    one_record_is_rolled_back_with_its_history,
    a_retraction_is_undone,
    what_was_put_back_was_then_amended,
    an_older_sealing_is_put_back,
    a_current_version_is_removed,
    a_record_is_removed,
    an_earlier_version_is_removed,
    two_records_are_exchanged,
    content_is_removed,
    content_is_altered,
    a_record_of_a_copy_is_mixed_in,
);

fn only_record(report: &VerifyReport, name: &str, version: u64, kind: FindingKind) {
    assert_eq!(
        records(report),
        [(name.to_owned(), version, kind)],
        "{report:#?}"
    );
    assert!(report.header.is_none() && report.entries.is_empty());
    assert!(faults(report).is_empty(), "{report:#?}");
    assert!(!report.is_clean());
}

fn one_record_is_rolled_back(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let then = raw::everything(&stage.storage);
    session(&stage.open())
        .put(&record("MRN-1", "Allergy/1"), b"penicillin")
        .unwrap();
    is_clean(stage);
    put_back(&stage.storage, &then, |of| of == key);
    only_record(
        &verify(stage),
        "MRN-1 Allergy/1",
        5,
        FindingKind::RolledBack,
    );
}

fn one_record_is_rolled_back_with_its_history(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let then = raw::everything(&stage.storage);
    let vault = stage.open();
    for _ in 0..3 {
        session(&vault)
            .put(&record("MRN-1", "Allergy/1"), b"penicillin")
            .unwrap();
    }
    drop(vault);
    put_back(&stage.storage, &then, |of| {
        matches!(of[0], b'r' | b'h') && of[1..33] == key[1..33]
    });
    let report = verify(stage);
    only_record(&report, "MRN-1 Allergy/1", 7, FindingKind::RolledBack);
    assert_eq!(report.records[0].standing, Some(4));
    assert_eq!(report.records[0].id(), Some(record("MRN-1", "Allergy/1")));
}

fn a_retraction_is_undone(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-2", "Observation/1");
    let then = raw::everything(&stage.storage);
    session(&stage.open())
        .retract(&record("MRN-2", "Observation/1"))
        .unwrap();
    is_clean(stage);
    put_back(&stage.storage, &then, |of| {
        matches!(of[0], b'r' | b'h') && of[1..33] == key[1..33]
    });
    only_record(
        &verify(stage),
        "MRN-2 Observation/1",
        3,
        FindingKind::RolledBack,
    );
}

/// Nothing that stands is older than it should be, but versions were lost: the journal tells of two
/// under one number.
fn what_was_put_back_was_then_amended(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let then = raw::everything(&stage.storage);
    let id = record("MRN-1", "Allergy/1");
    session(&stage.open()).put(&id, b"penicillin").unwrap();
    put_back(&stage.storage, &then, |of| {
        matches!(of[0], b'r' | b'h') && of[1..33] == key[1..33]
    });
    let vault = stage.open();
    for version in [5, 6] {
        assert_eq!(session(&vault).put(&id, b"none known"), Ok(version));
    }
    drop(vault);
    only_record(
        &verify(stage),
        "MRN-1 Allergy/1",
        5,
        FindingKind::RolledBack,
    );
}

/// The same version and content, under the data key of before: what an incident was answered with is
/// undone.
fn an_older_sealing_is_put_back(stage: &Stage) {
    clinic(&stage.create());
    let then = raw::everything(&stage.storage);
    stage.open().reencrypt_subject(&subject("MRN-1")).unwrap();
    is_clean(stage);
    let now = raw::everything(&stage.storage);
    let key = then
        .iter()
        .find(|(key, value)| key[0] == b'h' && now.get(*key) != Some(value));
    let (key, _) = key.unwrap();
    put_back(&stage.storage, &then, |of| of == key);
    let version = u64::from_be_bytes(key[33..].try_into().unwrap());
    only_record(
        &verify(stage),
        "MRN-1 Allergy/1",
        version,
        FindingKind::RolledBack,
    );
}

fn a_current_version_is_removed(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    remove(&stage.storage, &[key]);
    only_record(&verify(stage), "MRN-1 Allergy/1", 4, FindingKind::Missing);
}

fn a_record_is_removed(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    put_back(&stage.storage, &raw::Objects::new(), |of| {
        matches!(of[0], b'r' | b'h') && of[1..33] == key[1..33]
    });
    let report = verify(stage);
    let missing = |version| ("MRN-1 ?".to_owned(), version, FindingKind::Missing);
    assert_eq!(records(&report), [1, 2, 3, 4].map(missing), "{report:#?}");
    assert!(
        report
            .records
            .iter()
            .all(|found| found.record[..] == key[17..])
    );
}

fn an_earlier_version_is_removed(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let second = [b"h", &key[1..], &2_u64.to_be_bytes()].concat();
    remove(&stage.storage, &[second]);
    only_record(&verify(stage), "MRN-1 Allergy/1", 2, FindingKind::Missing);
}

fn two_records_are_exchanged(stage: &Stage) {
    clinic(&stage.create());
    let one = record_key(stage, "MRN-1", "Allergy/1");
    let other = record_key(stage, "MRN-2", "Allergy/1");
    let mut objects = raw::everything(&stage.storage);
    let value = objects
        .insert(one.clone(), objects[&other].clone())
        .unwrap();
    objects.insert(other, value);
    raw::reset(&stage.storage, &objects);
    let report = verify(stage);
    let altered = |name: &str| (format!("{name} Allergy/1"), 4, FindingKind::Altered);
    assert_eq!(records(&report), ["MRN-1", "MRN-2"].map(altered));
}

fn content_is_removed(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    let large = content(1, 20 * INLINE_MAX);
    session(&vault)
        .put(&record("MRN-1", "CT/1"), &large)
        .unwrap();
    drop(vault);
    is_clean(stage);
    let segments = raw::objects_of(&stage.storage, b"s");
    assert!(segments.len() > 1);
    for segment in segments.keys() {
        let then = raw::everything(&stage.storage);
        remove(&stage.storage, std::slice::from_ref(segment));
        only_record(&verify(stage), "MRN-1 CT/1", 1, FindingKind::ContentMissing);
        put_back(&stage.storage, &then, |of| of[0] == b's');
    }
}

/// Only who opens it can tell.
fn content_is_altered(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    session(&vault)
        .put(&record("MRN-1", "CT/1"), &content(1, 20 * INLINE_MAX))
        .unwrap();
    drop(vault);
    for (segment, mut value) in raw::objects_of(&stage.storage, b"s") {
        let then = raw::everything(&stage.storage);
        value[100] ^= 1;
        raw::put(&stage.storage, &segment, &value);
        is_clean(stage);
        let report = stage.open().verification().with_content().finish().unwrap();
        only_record(&report, "MRN-1 CT/1", 1, FindingKind::ContentAltered);
        put_back(&stage.storage, &then, |of| of[0] == b's');
    }
}

/// A copy went on by itself; its version of a record is put in the place of the vault's own.
fn a_record_of_a_copy_is_mixed_in(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let fork = raw::everything(&stage.storage);
    session(&stage.open())
        .put(&record("MRN-1", "Allergy/1"), b"of the copy")
        .unwrap();
    let copy = raw::everything(&stage.storage);
    raw::reset(&stage.storage, &fork);
    session(&stage.open())
        .put(&record("MRN-1", "Allergy/1"), b"of the vault")
        .unwrap();
    is_clean(stage);
    put_back(&stage.storage, &copy, |of| of == key);
    let report = verify(stage);
    assert_eq!(
        records(&report),
        [("MRN-1 Allergy/1".to_owned(), 5, FindingKind::Unexpected)]
    );
    assert!(entries(&report).is_empty());
    // With the copy's pages beside the vault's own, two histories tell of one version.
    let mut objects = raw::everything(&stage.storage);
    objects.extend(copy.into_iter().filter(|(key, _)| key[0] == b'j'));
    raw::reset(&stage.storage, &objects);
    let report = verify(stage);
    assert_eq!(
        records(&report),
        [("MRN-1 Allergy/1".to_owned(), 5, FindingKind::Forked)]
    );
    assert!(faults(&report).contains(&chartlock::verify::JournalFault::Forked));
}

/// Whoever keeps logs keeps no names by it; whoever keeps reports does.
#[test]
fn the_report_names_only_when_it_is_serialized() {
    let stage = Stage::memory();
    clinic(&stage.create());
    let key = record_key(&stage, "MRN-1", "Allergy/1");
    let entry = raw::objects_of(&stage.storage, b"p").into_keys().next();
    remove(&stage.storage, &[key.clone(), entry.unwrap()]);
    let vault = stage.open();
    let chart = session(&vault);
    chart.accept_restore("a reason with a name", None).unwrap();
    let report = vault.verify(None).unwrap();
    assert_eq!(report.restores.len(), 1);
    stage.open().rotate_master_key().unwrap();
    let mut report = verify(&stage);
    report.restores = vault.verify(None).unwrap().restores;
    let hidden = format!("{report:?} {report:#?}");
    for name in ["MRN", "Allergy", "dr.garcia", "a reason"] {
        assert!(!hidden.contains(name), "{hidden}");
    }
    let told = serde_json::to_string(&report).unwrap();
    assert!(told.contains("dr.garcia") && told.contains("a reason with a name"));
}
