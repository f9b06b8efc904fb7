//! Where it is not certain what is garbage, nothing is freed.

use chartlock::internals::envelope::{INLINE_MAX, SEGMENT};
use chartlock::{Error, RecordId, report::GarbageReport};

use super::{DAY, THEN, at, before_the_record, changes_nothing, collects_exactly, open_at};
use crate::raw::{self, Objects};
use crate::stage::{Stage, content, record, session};

everywhere!(
    an_entry_that_is_gone,
    versions_that_do_not_open,
    versions_that_are_missing,
    names_that_were_altered,
    intents_that_cannot_be_read,
    a_locked_or_a_read_only_vault,
);

const LATER: i64 = THEN + 100 * DAY;
const PATIENTS: [&str; 2] = ["MRN-1", "MRN-2"];
/// Segments and intents of an upload that broke off, for each patient.
const UPLOAD: (u64, u64) = (2, 1);

fn large() -> RecordId {
    record("MRN-1", "CT/1")
}

/// Two patients, each with three versions of a large record, one small one, and an upload that broke
/// off.
fn two_patients(stage: &Stage) -> Objects {
    drop(stage.create());
    for patient in PATIENTS {
        let id = record(patient, "CT/1");
        for version in 1..=3 {
            let vault = at(stage, THEN);
            let body = content(version, INLINE_MAX + version as usize);
            session(&vault).put(&id, &body).unwrap();
        }
        let vault = at(stage, THEN);
        let small = record(patient, "Observation/1");
        session(&vault).put(&small, b"120/80").unwrap();
        let (vault, _) = open_at(stage, THEN, before_the_record);
        session(&vault)
            .put(&id, &content(9, SEGMENT + 1))
            .unwrap_err();
    }
    raw::objects(&stage.storage)
}

/// The objects of a class that are the first patient's, in order.
fn of_the_first(stage: &Stage, class: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    let objects = raw::objects_of(&stage.storage, &[class]).into_iter();
    objects
        .filter(|(key, _)| raw::is_of(stage, key, PATIENTS[0]))
        .collect()
}

/// Damages the first patient's chart: the other one's garbage goes, and nothing else.
fn damaged(stage: &Stage, before: &Objects, damage: impl Fn()) -> GarbageReport {
    raw::reset(&stage.storage, before);
    damage();
    let damaged = raw::objects(&stage.storage);
    let report = at(stage, LATER).collect_garbage().unwrap();
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
    let again = changes_nothing(stage, LATER);
    assert_eq!(again.unreadable_versions, report.unreadable_versions);
    // Mended, it is a chart like any other.
    let mut mended = before.clone();
    mended.retain(|key, _| !gone.contains(&key));
    raw::reset(&stage.storage, &mended);
    let mended = collects_exactly(stage, LATER);
    assert_eq!((mended.segments, mended.uploads), UPLOAD);
    let vault = at(stage, LATER);
    for version in 1..=3 {
        let found = session(&vault).get_version(&large(), version).unwrap();
        assert!(found.unwrap()[..] == content(version, INLINE_MAX + version as usize));
    }
    report
}

fn an_entry_that_is_gone(stage: &Stage) {
    let before = two_patients(stage);
    let [(entry, value)] = &of_the_first(stage, b'p')[..] else {
        panic!("one entry");
    };
    let report = damaged(stage, &before, || raw::delete(&stage.storage, entry));
    assert_eq!((report.charts, report.charts_passed_over), (2, 0));
    assert_eq!((report.unknown_charts, report.unreadable_entries), (1, 0));
    // Its own three, and the upload.
    assert_eq!(report.unknown_objects, 3 + UPLOAD.0 + UPLOAD.1);
    let mut altered = value.clone();
    *altered.last_mut().unwrap() ^= 1;
    let report = damaged(stage, &before, || raw::put(&stage.storage, entry, &altered));
    assert_eq!((report.unknown_charts, report.unreadable_entries), (1, 1));
}

fn versions_that_do_not_open(stage: &Stage) {
    let before = two_patients(stage);
    let versions = [of_the_first(stage, b'r'), of_the_first(stage, b'h')].concat();
    assert_eq!(versions.len(), 4);
    for (key, value) in versions {
        // Format, kind, key number, version, commitment, wrapped key.
        for byte in [0, 2, 4, 8, 16, 50] {
            let mut altered = value.clone();
            altered[byte] ^= 2;
            let report = damaged(stage, &before, || raw::put(&stage.storage, &key, &altered));
            assert_eq!((report.charts_passed_over, report.unknown_charts), (1, 0));
            assert_eq!(
                (report.unreadable_versions, report.misnamed_streams),
                (1, 0)
            );
        }
        // Only what is segmented is looked at beyond its head: the other names nothing.
        if value[2] == 2 {
            let mut altered = value.clone();
            *altered.last_mut().unwrap() ^= 1;
            for altered in [&altered[..], &value[..100]] {
                let report = damaged(stage, &before, || raw::put(&stage.storage, &key, altered));
                assert_eq!(
                    (report.charts_passed_over, report.unreadable_versions),
                    (1, 1)
                );
            }
        }
        let stray = [&key[..], b"?"].concat();
        let report = damaged(stage, &before, || raw::put(&stage.storage, &stray, &value));
        assert_eq!(
            (report.charts_passed_over, report.unreadable_versions),
            (1, 1)
        );
    }
}

fn versions_that_are_missing(stage: &Stage) {
    let before = two_patients(stage);
    let earlier = of_the_first(stage, b'h');
    let current = of_the_first(stage, b'r');
    let current = current.iter().find(|(_, value)| value[2] == 2).unwrap();
    for (key, _) in earlier.iter().chain([current]) {
        let report = damaged(stage, &before, || raw::delete(&stage.storage, key));
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
    let report = damaged(stage, &before, all);
    assert_eq!(
        (report.charts_passed_over, report.unreadable_versions),
        (1, 2)
    );
}

/// Nothing authenticates the name of a stream until a chunk opens. So a name alone costs nobody's
/// content: not a name of nothing, nor one of another record's, nor one of what is garbage.
fn names_that_were_altered(stage: &Stage) {
    let before = two_patients(stage);
    let current = of_the_first(stage, b'r');
    let current = current.into_iter().find(|(_, value)| value[2] == 2);
    let versions = [of_the_first(stage, b'h'), current.into_iter().collect()].concat();
    let intents = of_the_first(stage, b'w');
    let abandoned = &intents[0].0[17..33];
    let another = &versions[0].1[96..112];
    for (key, value) in &versions[1..] {
        for name in [&[7; 16], another, abandoned] {
            raw::reset(&stage.storage, &before);
            let altered = [&value[..96], name, &value[112..]].concat();
            raw::put(&stage.storage, key, &altered);
            let report = at(stage, LATER).collect_garbage().unwrap();
            // What a name points to is left, whosever name it is; of the intents none.
            let own = if name == abandoned { 0 } else { UPLOAD.0 };
            assert_eq!(
                (report.segments, report.uploads),
                (UPLOAD.0 + own, 2 * UPLOAD.1)
            );
            assert_eq!((report.misnamed_streams, report.charts_passed_over), (1, 0));
            assert_eq!(changes_nothing(stage, LATER).misnamed_streams, 1);
            // The record is mended, and its content is there.
            raw::put(&stage.storage, key, value);
            let vault = at(stage, LATER);
            for version in 1..=3 {
                let found = session(&vault).get_version(&large(), version).unwrap();
                assert!(found.unwrap()[..] == content(version, INLINE_MAX + version as usize));
            }
            let left = collects_exactly(stage, LATER);
            assert_eq!((left.segments, left.misnamed_streams), (UPLOAD.0 - own, 0));
        }
    }
}

/// An intent that cannot be read says nothing of its age: it protects its segments for good.
fn intents_that_cannot_be_read(stage: &Stage) {
    let before = two_patients(stage);
    let (key, value) = of_the_first(stage, b'w').remove(0);
    for altered in [&value[..31], &[&[9], &value[1..]].concat()[..], &[]] {
        let report = damaged(stage, &before, || raw::put(&stage.storage, &key, altered));
        assert_eq!(
            (report.uploads_under_way, report.charts_passed_over),
            (1, 0)
        );
    }
    // So does one from a clock that was ahead.
    let ahead = [&value[..8], &(LATER + DAY).to_le_bytes(), &value[16..]].concat();
    let report = damaged(stage, &before, || raw::put(&stage.storage, &key, &ahead));
    assert_eq!(report.uploads_under_way, 1);
}

fn a_locked_or_a_read_only_vault(stage: &Stage) {
    let before = two_patients(stage);
    let vault = at(stage, LATER);
    vault.lock();
    assert_eq!(vault.collect_garbage(), Err(Error::Locked));
    let options = stage.options();
    let vault = options
        .open_rolled_back(stage.shared(), &crate::common::Fixed(1))
        .unwrap();
    assert_eq!(vault.collect_garbage(), Err(Error::ReadOnly));
    assert!(raw::objects(&stage.storage) == before);
}
