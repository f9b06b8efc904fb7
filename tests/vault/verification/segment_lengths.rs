//! Segments whose length differs from that of their record's content: verification finds them without
//! opening them.

use chartlock::internals::envelope::INLINE_MAX;
use chartlock::verify::{FindingKind, VerifyReport};

use super::{assert_clean, clinic, put_back, records, verify};
use crate::raw;
use crate::stage::{Stage, content, record, session_on};

everywhere!(
    segment_of_another_length_is_found_without_content,
    exchanged_segments_are_found_without_content,
    object_beside_segments_is_left_alone,
    flipped_byte_is_found_only_with_content,
);

/// Stores a record of two segments of different lengths, and returns them.
fn segments(stage: &Stage) -> raw::Objects {
    let vault = stage.create();
    clinic(&vault);
    let large = content(1, 20 * INLINE_MAX);
    session_on(&vault)
        .put(&record("MRN-1", "CT/1"), &large)
        .unwrap();
    drop(vault);
    assert_clean(stage);
    let segments = raw::objects_of(&stage.storage, b"s");
    assert_eq!(segments.len(), 2);
    segments
}

#[track_caller]
fn assert_content_altered(report: &VerifyReport) {
    let altered = ("MRN-1 CT/1".to_owned(), 1, FindingKind::ContentAltered);
    assert_eq!(records(report), [altered], "{report:#?}");
    assert!(report.journal.is_empty());
}

fn segment_of_another_length_is_found_without_content(stage: &Stage) {
    for (key, value) in segments(stage) {
        let longer = [&value[..], &[0]].concat();
        let shorter = &value[..value.len() - 1];
        for other in [&[][..], &[1], shorter, &longer, &value[..65_552]] {
            raw::put(&stage.storage, &key, other);
            let report = verify(stage);
            assert_content_altered(&report);
            assert!(!report.content_opened);
        }
        raw::put(&stage.storage, &key, &value);
    }
    assert_clean(stage);
}

fn exchanged_segments_are_found_without_content(stage: &Stage) {
    let segments = segments(stage);
    let (keys, values): (Vec<_>, Vec<_>) = segments.into_iter().unzip();
    raw::put(&stage.storage, &keys[0], &values[1]);
    raw::put(&stage.storage, &keys[1], &values[0]);
    assert_content_altered(&verify(stage));
}

/// A key of another length belongs to no segment.
fn object_beside_segments_is_left_alone(stage: &Stage) {
    let (key, _) = segments(stage).pop_first().unwrap();
    for other in [&key[..36], &key[..33], &[&key[..], &[1]].concat()] {
        raw::put(&stage.storage, other, b"no segment");
    }
    assert_clean(stage);
    let report = stage.open().verification().with_content().finish().unwrap();
    assert!(report.is_clean(), "{report:#?}");
}

fn flipped_byte_is_found_only_with_content(stage: &Stage) {
    for (key, value) in segments(stage) {
        let snapshot = raw::all_objects(&stage.storage);
        let mut altered = value;
        altered[100] ^= 1;
        raw::put(&stage.storage, &key, &altered);
        assert_clean(stage);
        let report = stage.open().verification().with_content().finish().unwrap();
        assert_content_altered(&report);
        assert!(report.content_opened);
        put_back(&stage.storage, &snapshot, |of| of[0] == b's');
    }
}
