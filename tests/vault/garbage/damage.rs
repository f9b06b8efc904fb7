//! Garbage collection in damaged charts: the collector frees an object only if the object is
//! certainly garbage.

use chartlock::internals::envelope::{INLINE_MAX, SEGMENT};
use chartlock::{Error, RecordId, report::GarbageReport};

use super::{
    DAY, START, assert_collects_nothing, collect_and_compare, open_at, stop_before_record, vault_at,
};
use crate::raw::{self, Objects};
use crate::stage::{Stage, content, record, session_on};

everywhere!(
    collection_with_missing_entry_spares_the_chart,
    collection_with_unreadable_version_spares_the_chart,
    collection_with_missing_version_spares_the_chart,
    collection_with_altered_stream_id_spares_content,
    collection_with_unreadable_intent_spares_its_segments,
    collection_on_locked_or_read_only_vault_is_refused,
);

const LATER: i64 = START + 100 * DAY;
const PATIENTS: [&str; 2] = ["MRN-1", "MRN-2"];
/// Numbers of segments and of intents in each patient's abandoned upload.
const UPLOAD: (u64, u64) = (2, 1);

fn large() -> RecordId {
    record("MRN-1", "CT/1")
}

/// Creates two patients, each with three versions of a large record, a small record and an
/// abandoned upload.
fn two_patients(stage: &Stage) -> Objects {
    drop(stage.create());
    for patient in PATIENTS {
        let id = record(patient, "CT/1");
        for version in 1..=3 {
            let vault = vault_at(stage, START);
            let body = content(version, INLINE_MAX + version as usize);
            session_on(&vault).put(&id, &body).unwrap();
        }
        let vault = vault_at(stage, START);
        let small = record(patient, "Observation/1");
        session_on(&vault).put(&small, b"120/80").unwrap();
        let (vault, _) = open_at(stage, START, stop_before_record);
        session_on(&vault)
            .put(&id, &content(9, SEGMENT + 1))
            .unwrap_err();
    }
    raw::objects(&stage.storage)
}

/// Returns the first patient's objects of a class, in order.
fn objects_of_first(stage: &Stage, class: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    let objects = raw::objects_of(&stage.storage, &[class]).into_iter();
    objects
        .filter(|(key, _)| raw::belongs_to(stage, key, PATIENTS[0]))
        .collect()
}

/// Damages the first patient's chart and asserts that the collector frees only the second patient's
/// garbage.
fn collect_with_damage(stage: &Stage, before: &Objects, damage: impl Fn()) -> GarbageReport {
    raw::reset(&stage.storage, before);
    damage();
    let damaged = raw::objects(&stage.storage);
    let report = vault_at(stage, LATER).collect_garbage().unwrap();
    assert_eq!((report.segments, report.uploads), UPLOAD);
    let after = raw::objects(&stage.storage);
    let gone: Vec<_> = damaged
        .keys()
        .filter(|key| !after.contains_key(*key))
        .collect();
    assert_eq!(gone.len() as u64, UPLOAD.0 + UPLOAD.1);
    assert!(
        after
            .iter()
            .all(|(key, value)| damaged.get(key) == Some(value))
    );
    let again = assert_collects_nothing(stage, LATER);
    assert_eq!(again.unreadable_versions, report.unreadable_versions);
    // After the repair, the collector treats the chart like any other.
    let mut repaired = before.clone();
    repaired.retain(|key, _| !gone.contains(&key));
    raw::reset(&stage.storage, &repaired);
    let repaired = collect_and_compare(stage, LATER);
    assert_eq!((repaired.segments, repaired.uploads), UPLOAD);
    let vault = vault_at(stage, LATER);
    for version in 1..=3 {
        let found = session_on(&vault).get_version(&large(), version).unwrap();
        assert!(found.unwrap()[..] == content(version, INLINE_MAX + version as usize));
    }
    report
}

fn collection_with_missing_entry_spares_the_chart(stage: &Stage) {
    let before = two_patients(stage);
    let [(entry, value)] = &objects_of_first(stage, b'p')[..] else {
        panic!("one entry");
    };
    let report = collect_with_damage(stage, &before, || raw::delete(&stage.storage, entry));
    assert_eq!((report.charts, report.charts_passed_over), (2, 0));
    assert_eq!((report.unknown_charts, report.unreadable_entries), (1, 0));
    // The unknown objects are the three streams of the versions and the abandoned upload.
    assert_eq!(report.unknown_objects, 3 + UPLOAD.0 + UPLOAD.1);
    let mut altered = value.clone();
    *altered.last_mut().unwrap() ^= 1;
    let report = collect_with_damage(stage, &before, || raw::put(&stage.storage, entry, &altered));
    assert_eq!((report.unknown_charts, report.unreadable_entries), (1, 1));
}

fn collection_with_unreadable_version_spares_the_chart(stage: &Stage) {
    let before = two_patients(stage);
    let versions = [objects_of_first(stage, b'r'), objects_of_first(stage, b'h')].concat();
    assert_eq!(versions.len(), 4);
    for (key, value) in versions {
        // Offsets of format, kind, key number, version, commitment and wrapped key.
        for byte in [0, 2, 4, 8, 16, 50] {
            let mut altered = value.clone();
            altered[byte] ^= 2;
            let report =
                collect_with_damage(stage, &before, || raw::put(&stage.storage, &key, &altered));
            assert_eq!((report.charts_passed_over, report.unknown_charts), (1, 0));
            assert_eq!(
                (report.unreadable_versions, report.misnamed_streams),
                (1, 0)
            );
        }
        // The collector opens only segmented versions, because inline versions reference no stream.
        if value[2] == 2 {
            let mut altered = value.clone();
            *altered.last_mut().unwrap() ^= 1;
            for altered in [&altered[..], &value[..100]] {
                let report =
                    collect_with_damage(stage, &before, || raw::put(&stage.storage, &key, altered));
                assert_eq!(
                    (report.charts_passed_over, report.unreadable_versions),
                    (1, 1)
                );
            }
        }
        let stray = [&key[..], b"?"].concat();
        let report =
            collect_with_damage(stage, &before, || raw::put(&stage.storage, &stray, &value));
        assert_eq!(
            (report.charts_passed_over, report.unreadable_versions),
            (1, 1)
        );
    }
}

fn collection_with_missing_version_spares_the_chart(stage: &Stage) {
    let before = two_patients(stage);
    let earlier = objects_of_first(stage, b'h');
    let current = objects_of_first(stage, b'r');
    let current = current.iter().find(|(_, value)| value[2] == 2).unwrap();
    for (key, _) in earlier.iter().chain([current]) {
        let report = collect_with_damage(stage, &before, || raw::delete(&stage.storage, key));
        assert_eq!(
            (report.charts_passed_over, report.unreadable_versions),
            (1, 1)
        );
    }
    let all = || {
        for (key, _) in &earlier {
            raw::delete(&stage.storage, key);
        }
    };
    let report = collect_with_damage(stage, &before, all);
    assert_eq!(
        (report.charts_passed_over, report.unreadable_versions),
        (1, 2)
    );
}

/// A stream id is not authenticated until a chunk opens. Therefore, the collector must spare all
/// content, even if a stored id is unused or belongs to another version or to garbage.
fn collection_with_altered_stream_id_spares_content(stage: &Stage) {
    let before = two_patients(stage);
    let current = objects_of_first(stage, b'r');
    let current = current.into_iter().find(|(_, value)| value[2] == 2);
    let versions = [objects_of_first(stage, b'h'), current.into_iter().collect()].concat();
    let intents = objects_of_first(stage, b'w');
    let abandoned = &intents[0].0[17..33];
    let another = &versions[0].1[96..112];
    for (key, value) in &versions[1..] {
        for name in [&[7; 16], another, abandoned] {
            raw::reset(&stage.storage, &before);
            let altered = [&value[..96], name, &value[112..]].concat();
            raw::put(&stage.storage, key, &altered);
            let report = vault_at(stage, LATER).collect_garbage().unwrap();
            // The collector keeps every stream that a version references, even if the version is
            // altered. The collector removes every abandoned intent.
            let own = if name == abandoned { 0 } else { UPLOAD.0 };
            assert_eq!(
                (report.segments, report.uploads),
                (UPLOAD.0 + own, 2 * UPLOAD.1)
            );
            assert_eq!((report.misnamed_streams, report.charts_passed_over), (1, 0));
            assert_eq!(assert_collects_nothing(stage, LATER).misnamed_streams, 1);
            // After the repair, the content is still complete.
            raw::put(&stage.storage, key, value);
            let vault = vault_at(stage, LATER);
            for version in 1..=3 {
                let found = session_on(&vault).get_version(&large(), version).unwrap();
                assert!(found.unwrap()[..] == content(version, INLINE_MAX + version as usize));
            }
            let left = collect_and_compare(stage, LATER);
            assert_eq!((left.segments, left.misnamed_streams), (UPLOAD.0 - own, 0));
        }
    }
}

/// The age of an unreadable intent is unknown, so the collector never frees its segments.
fn collection_with_unreadable_intent_spares_its_segments(stage: &Stage) {
    let before = two_patients(stage);
    let (key, value) = objects_of_first(stage, b'w').remove(0);
    for altered in [&value[..31], &[&[9], &value[1..]].concat()[..], &[]] {
        let report =
            collect_with_damage(stage, &before, || raw::put(&stage.storage, &key, altered));
        assert_eq!(
            (report.uploads_under_way, report.charts_passed_over),
            (1, 0)
        );
    }
    // The collector also keeps the segments of an intent whose time is in the future.
    let ahead = [&value[..8], &(LATER + DAY).to_le_bytes(), &value[16..]].concat();
    let report = collect_with_damage(stage, &before, || raw::put(&stage.storage, &key, &ahead));
    assert_eq!(report.uploads_under_way, 1);
}

fn collection_on_locked_or_read_only_vault_is_refused(stage: &Stage) {
    let before = two_patients(stage);
    let vault = vault_at(stage, LATER);
    vault.lock();
    assert_eq!(vault.collect_garbage(), Err(Error::Locked));
    let options = stage.options();
    let vault = options
        .open_rolled_back(stage.shared(), &crate::common::Fixed(1))
        .unwrap();
    assert_eq!(vault.collect_garbage(), Err(Error::ReadOnly));
    assert!(raw::objects(&stage.storage) == before);
}
