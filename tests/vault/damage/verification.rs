//! Verification of a vault with unreadable objects, or on a storage that reports faults.

use chartlock::verify::{CheckpointState, FindingKind, RecordFinding, VerifyReport};

use chartlock::Error;
use chartlock::storage::{Integrity, StorageError, UnreadableRange};

use super::unreadable::WithRange;
use super::{NAMES, PATIENTS, Scene};
use crate::common::{Fixed, because};
use crate::raw;
use crate::stage::{Stage, session_on, subject};

everywhere!(
    verify_reports_each_unreadable_version,
    verify_reports_unreadable_segment,
    verify_reports_unreadable_entry_and_header,
    verify_reports_unreadable_page_of_checkpoint,
    verify_reports_faults_of_storage,
    verify_reports_name_of_record_with_missing_value,
    verify_goes_on_behind_unreadable_range,
);

/// Asserts that all findings on records concern the first patient, and returns their kinds and
/// record names.
#[track_caller]
fn found(report: &VerifyReport) -> Vec<(FindingKind, Option<&str>)> {
    assert!(!report.is_clean() && report.journal.is_empty());
    let first = Some(subject(PATIENTS[0]));
    assert!(report.records.iter().all(|found| found.subject == first));
    let found = report.records.iter();
    found
        .map(|found| (found.kind, found.name.as_deref()))
        .collect()
}

fn verify_reports_each_unreadable_version(stage: &Stage) {
    let scene = Scene::new(stage);
    for class in *b"rh" {
        // A finding contains the record's name only if another version is readable, because each
        // version contains the name.
        let name = Some(NAMES[0]).filter(|_| class == b'h');
        for key in scene.keys(class) {
            scene.damage(&key);
            let report = scene.open().verify(None).unwrap();
            let [(kind, known)] = found(&report)[..] else {
                panic!("{report:#?}");
            };
            assert_eq!(kind, FindingKind::Altered);
            assert!(known == name || class == b'r' && known == Some(NAMES[0]));
            assert_eq!(report.counts.records, 6);
        }
    }
    scene.assert_whole();
}

fn verify_reports_unreadable_segment(stage: &Stage) {
    let scene = Scene::new(stage);
    for key in scene.keys(b's') {
        scene.damage(&key);
        let default = scene.open().verify(None).unwrap();
        let with_content = scene.open().verification().with_content();
        for report in [default, with_content.finish().unwrap()] {
            let altered = (FindingKind::ContentAltered, Some(NAMES[1]));
            assert_eq!(found(&report), [altered]);
        }
    }
    scene.assert_whole();
}

fn verify_reports_unreadable_entry_and_header(stage: &Stage) {
    let scene = Scene::new(stage);
    let entry = scene.keys(b'p').remove(0);
    scene.damage(&entry);
    let report = scene.vault.verify(None).unwrap();
    let [finding] = &report.entries[..] else {
        panic!("{report:#?}");
    };
    assert_eq!(finding.kind, FindingKind::Altered);
    assert!(report.records.is_empty() && report.journal.is_empty());
    scene.damage(&b"v".to_vec());
    let report = scene.vault.verify(None).unwrap();
    let header = report.header.unwrap();
    assert_eq!((header.kind, header.stored), (FindingKind::Altered, None));
    assert!(report.records.is_empty() && report.journal.is_empty());
    scene.assert_whole();
}

fn verify_reports_unreadable_page_of_checkpoint(stage: &Stage) {
    let scene = Scene::new(stage);
    let checkpoint = scene.vault.checkpoint().unwrap();
    let pages = raw::objects_of(&stage.storage, b"j");
    let page = pages.last_key_value().unwrap().0;
    scene.damage(page);
    let report = scene.vault.verify(Some(&checkpoint)).unwrap();
    assert_eq!(report.checkpoint, Some(CheckpointState::Replaced));
    assert_eq!(report.journal.len(), 1);
    scene.assert_whole();
}

fn verify_reports_faults_of_storage(stage: &Stage) {
    let scene = Scene::new(stage);
    scene.storage.set_integrity(Integrity {
        structure_faults: 2,
        missing_values: vec![b"s1".to_vec()],
    });
    let report = scene.vault.verify(None).unwrap();
    assert!(!report.is_clean());
    let json = serde_json::to_value(&report).unwrap();
    let storage =
        serde_json::json!({ "structure_faults": 2, "missing_values": 1, "unreadable_ranges": 0 });
    assert_eq!(json["storage"], storage);
    scene.storage.set_integrity(Integrity::default());
    scene.assert_whole();
}

fn verify_reports_name_of_record_with_missing_value(stage: &Stage) {
    let scene = Scene::new(stage);
    scene.storage.set_integrity(Integrity {
        structure_faults: 0,
        missing_values: scene.keys(b's'),
    });
    let report = scene.vault.verify(None).unwrap();
    assert_eq!(report.storage.missing_values, 1);
    assert_eq!(
        found(&report),
        [(FindingKind::ContentMissing, Some(NAMES[1]))]
    );
    scene.storage.set_integrity(Integrity::default());
    scene.assert_whole();
}

/// The structures of the storage hide a range of keys of each class. Nothing in it is taken for absent.
fn verify_goes_on_behind_unreadable_range(stage: &Stage) {
    let scene = Scene::new(stage);
    let other = raw::objects_of(&stage.storage, b"r")
        .into_keys()
        .last()
        .unwrap();
    for class in *b"prhsj" {
        let keys: Vec<_> = raw::objects_of(&stage.storage, &[class])
            .into_keys()
            .collect();
        let (first, last) = (keys[0].clone(), keys[keys.len().min(3) - 1].clone());
        if first == last {
            continue;
        }
        let before = raw::all_objects(&stage.storage);
        // A record behind the range is damaged too.
        raw::put(&stage.storage, &other, &[1; 200]);
        let storage = WithRange {
            inner: stage.shared(),
            range: UnreadableRange { first, last },
        };
        let vault = stage.options().open(storage, &Fixed(1)).unwrap();
        let report = vault.verify(None).unwrap();
        let class = char::from(class);
        assert_eq!(report.storage.unreadable_ranges, 1, "{class}: {report:#?}");
        assert!(!report.is_clean());
        let damaged = |found: &RecordFinding| found.record[..] == other[17..33];
        assert!(report.records.iter().any(damaged), "{class}: {report:#?}");
        assert!(
            report
                .records
                .iter()
                .all(|found| found.kind != FindingKind::Missing)
        );
        assert!(
            report
                .entries
                .iter()
                .all(|found| found.kind != FindingKind::Missing)
        );
        let session = session_on(&vault);
        let accepted = session
            .plan_restore(None, None)
            .and_then(|plan| session.accept_restore(&plan, because("a damaged disk")));
        assert_eq!(
            accepted,
            Err(Error::Storage(StorageError::Damaged)),
            "{class}"
        );
        drop((session, vault));
        raw::reset(&stage.storage, &before);
    }
    scene.assert_whole();
}
