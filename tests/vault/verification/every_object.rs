//! Alteration or removal of each stored object: verify reports that object, and nothing else.

use chartlock::verify::{JournalFault, VerifyReport};

use super::{assert_clean, faults, verify};
use crate::model::smaller_clinic;
use crate::raw;
use crate::stage::Stage;

everywhere!(
    altered_object_is_the_only_finding,
    altered_version_number_is_the_only_finding,
    removed_object_is_the_only_finding
);

/// Counts the findings of a report.
fn finding_count(report: &VerifyReport) -> usize {
    report.records.len()
        + report.entries.len()
        + report.journal.len()
        + usize::from(report.header.is_some())
}

fn is_reported(key: &[u8], report: &VerifyReport) -> bool {
    match key[0] {
        b'v' => report.header.is_some(),
        b'p' => report.entries.len() == 1,
        b'r' | b'h' => {
            report
                .records
                .iter()
                .all(|found| found.record[..] == key[17..33] && found.chart[..] == key[1..17])
                && !report.records.is_empty()
        }
        b's' => report.records.len() == 1,
        // The object of covered heads saves work, and its loss costs nothing else.
        b'a' => report.is_clean(),
        _ => report.journal.len() == 1,
    }
}

/// Creates a clinic. Returns all objects, and separately the journal pages that another chain
/// pins.
fn clinic(stage: &Stage) -> (raw::Objects, raw::Objects) {
    let vault = stage.create();
    smaller_clinic(&vault);
    vault.rotate_master_key().unwrap();
    drop(vault);
    let pages = raw::objects_of(&stage.storage, b"j");
    assert_clean(stage);
    (raw::all_objects(&stage.storage), pages)
}

fn altered_object_is_the_only_finding(stage: &Stage) {
    let (before, _) = clinic(stage);
    for (place, key) in before.keys().step_by(stage.stride).enumerate() {
        let mut value = before[key].clone();
        let at = (place * 7919) % value.len();
        value[at] ^= 0x40;
        raw::put(&stage.storage, key, &value);
        let vault = stage
            .options()
            .open(stage.shared(), &crate::common::Fixed(1));
        if let Ok(vault) = vault {
            let report = vault.verification().with_content().finish().unwrap();
            assert!(
                is_reported(key, &report),
                "{} {at}: {report:#?}",
                key[0] as char
            );
            assert!(
                key[0] == b'j' || finding_count(&report) == usize::from(key[0] != b'a'),
                "{} {at}: {report:#?}",
                key[0] as char
            );
        } else {
            assert_eq!(key, b"v");
        }
        raw::reset(&stage.storage, &before);
    }
}

/// Alters each byte of the version number of each current record. The digest of a version does not
/// cover its number.
fn altered_version_number_is_the_only_finding(stage: &Stage) {
    let (before, _) = clinic(stage);
    let records = before.iter().filter(|(key, _)| key[0] == b'r');
    for (key, value) in records.step_by(stage.stride) {
        for at in 8..16 {
            let mut value = value.clone();
            value[at] ^= 0x40;
            raw::put(&stage.storage, key, &value);
            let vault = stage.open();
            let report = vault.verification().with_content().finish().unwrap();
            assert!(is_reported(key, &report), "{at}: {report:#?}");
            assert_eq!(finding_count(&report), 1, "{at}: {report:#?}");
            raw::reset(&stage.storage, &before);
        }
    }
}

fn removed_object_is_the_only_finding(stage: &Stage) {
    let (before, pages) = clinic(stage);
    let vault = stage.open();
    let of = |key: &&Vec<u8>| key[0] != b'j' || pages.contains_key(*key);
    for key in before.keys().filter(of).step_by(stage.stride) {
        let mut objects = before.clone();
        objects.remove(key);
        raw::reset(&stage.storage, &objects);
        let report = match key[0] {
            b'v' => vault.verify(None).unwrap(),
            _ => verify(stage),
        };
        assert!(is_reported(key, &report), "{}: {report:#?}", key[0] as char);
        let expected = usize::from(key[0] != b'a');
        assert_eq!(
            finding_count(&report),
            expected,
            "{}: {report:#?}",
            key[0] as char
        );
        if key[0] == b'j' {
            let fault = faults(&report)[0];
            assert!(
                matches!(fault, JournalFault::Missing | JournalFault::Cut),
                "{fault:?}"
            );
        }
        raw::reset(&stage.storage, &before);
    }
}
