//! Key rotation, re-encryption and key usage with unreadable objects. The vault keeps the keys that
//! such an object may need.

use chartlock::Error;
use chartlock::report::ReencryptionReport;

use super::{PATIENTS, Scene};
use crate::raw;
use crate::stage::{Stage, subject};

everywhere!(
    master_rotation_with_unreadable_entry_keeps_former_key,
    subject_rotation_with_unreadable_version_keeps_former_key,
    reencryption_with_unreadable_version_or_segment_keeps_former_key,
    reencryption_of_all_skips_and_counts_unreadable_entry,
    key_usage_counts_unreadable_objects,
);

fn blocking(report: &ReencryptionReport) -> (u64, u64) {
    (report.blocking, report.patient_keys_destroyed)
}

fn master_rotation_with_unreadable_entry_keeps_former_key(stage: &Stage) {
    let scene = Scene::new(stage);
    let former = scene.vault.key_usage().unwrap().masters[0].number;
    let entry = scene.keys(b'p').remove(0);
    scene.damage(&entry);
    let report = scene.vault.rotate_master_key().unwrap();
    let kept = (report.entries_blocking, report.master_keys_destroyed);
    assert_eq!((report.entries_resealed, kept), (1, (1, 0)));
    let destroyed = scene.vault.destroy_master_key(former);
    assert_eq!(destroyed, Err(Error::KeyInUse));
    scene.repair();
    let report = scene.vault.rotate_master_key().unwrap();
    assert_eq!(report.master_keys_destroyed, 2);
    scene.assert_whole();
}

fn subject_rotation_with_unreadable_version_keeps_former_key(stage: &Stage) {
    let scene = Scene::new(stage);
    for key in [scene.keys(b'r'), scene.keys(b'h')].concat() {
        scene.damage(&key);
        let report = scene.vault.rotate_subject_key(&subject(PATIENTS[0]));
        assert_eq!(blocking(&report.unwrap()), (1, 0));
    }
    scene.repair();
    let report = scene.vault.rotate_subject_key(&subject(PATIENTS[0]));
    assert_eq!(blocking(&report.unwrap()), (0, 6));
    scene.assert_whole();
}

fn reencryption_with_unreadable_version_or_segment_keeps_former_key(stage: &Stage) {
    let scene = Scene::new(stage);
    for class in *b"rhs" {
        for position in 0..scene.keys(class).len() {
            // List the storage keys again, because a re-encryption stores content under new storage
            // keys.
            let key = scene.keys(class).swap_remove(position);
            scene.damage(&key);
            let report = scene.vault.reencrypt_subject(&subject(PATIENTS[0]));
            let (blocking, destroyed) = blocking(&report.unwrap());
            assert!(blocking >= 1 && destroyed == 0);
            assert!(raw::objects(&stage.storage).contains_key(&key));
        }
        scene.repair();
        let report = scene.vault.reencrypt_subject(&subject(PATIENTS[0]));
        assert_eq!(report.unwrap().blocking, 0);
    }
    scene.assert_whole();
}

fn reencryption_of_all_skips_and_counts_unreadable_entry(stage: &Stage) {
    let scene = Scene::new(stage);
    let entry = scene.keys(b'p').remove(0);
    scene.damage(&entry);
    let report = scene.vault.reencrypt().unwrap();
    assert_eq!((report.subjects, report.unreadable_entries), (1, 1));
    scene.assert_whole();
}

fn key_usage_counts_unreadable_objects(stage: &Stage) {
    let scene = Scene::new(stage);
    for key in [scene.keys(b'r'), scene.keys(b'h')].concat() {
        scene.damage(&key);
        let usage = scene.vault.key_usage().unwrap();
        assert_eq!(
            (usage.unreadable_versions, usage.unreadable_entries),
            (1, 0)
        );
        assert_eq!((usage.records, usage.earlier_versions), (6, 4));
    }
    let entry = scene.keys(b'p').remove(0);
    scene.damage(&entry);
    let usage = scene.open().key_usage().unwrap();
    assert_eq!(
        (usage.unreadable_versions, usage.unreadable_entries),
        (0, 1)
    );
}
