//! Beside writers, and in charts of many pages.

use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use chartlock::internals::envelope::{INLINE_MAX, SEGMENT};
use chartlock::{
    Document, Error, Vault,
    progress::{Phase, ProgressUpdate},
};

use super::{DAY, THEN, at, changes_nothing, collects_exactly, limit};
use crate::common::clock::ManualClock;
use crate::raw;
use crate::stage::{Stage, content, record, session};

everywhere!(
    a_writer_in_progress,
    a_writer_who_was_swept,
    beside_writers,
    charts_of_many_pages,
    many_charts,
);

/// A vault that sends segments as soon as there are a few.
fn with_one_thread(stage: &Stage) -> Vault {
    let clock = Arc::new(ManualClock::at(THEN));
    let options = stage.options().clock(clock).threads(NonZeroUsize::MIN);
    stage.open_by(options)
}

fn a_writer_in_progress(stage: &Stage) {
    drop(stage.create());
    let vault = with_one_thread(stage);
    let chart = session(&vault);
    let id = record("MRN-1", "CT/1");
    chart.put(&id, b"before").unwrap();
    let body = content(1, 9 * SEGMENT + 1);
    let mut writer = chart.writer(&id);
    for part in body.chunks(3 * SEGMENT) {
        writer.write_all(part).unwrap();
        let report = changes_nothing(stage, THEN + limit(stage));
        assert_eq!(report.uploads_under_way, 1);
        // A clock that is behind sees an intent of the future.
        assert_eq!(changes_nothing(stage, THEN - DAY).uploads_under_way, 1);
    }
    assert!(raw::counts(&stage.storage)[4] > 0);
    assert_eq!(writer.finish(), Ok(2));
    assert_eq!(changes_nothing(stage, i64::MAX).uploads_under_way, 0);
    assert!(chart.get(&id).unwrap().unwrap()[..] == body);
}

/// Its upload is lost, and it says so; nothing else is.
fn a_writer_who_was_swept(stage: &Stage) {
    drop(stage.create());
    let vault = with_one_thread(stage);
    let chart = session(&vault);
    let id = record("MRN-1", "CT/1");
    chart.put(&id, &content(2, INLINE_MAX + 1)).unwrap();
    let mut writer = chart.writer(&id);
    writer.write_all(&content(1, 9 * SEGMENT + 1)).unwrap();
    let sent = raw::counts(&stage.storage)[4] as u64 - 1;
    let report = collects_exactly(stage, THEN + limit(stage) + 1);
    assert_eq!((report.segments, report.uploads), (sent, 1));
    // It goes on without knowing.
    writer.write_all(&content(1, 9 * SEGMENT + 1)).unwrap();
    assert_eq!(writer.finish(), Err(Error::UploadExpired));
    assert_eq!(raw::counts(&stage.storage), [1, 1, 1, 0, 1, 0]);
    assert!(chart.get(&id).unwrap().unwrap()[..] == content(2, INLINE_MAX + 1));
    // Content that is in memory still is stored once more.
    assert_eq!(chart.put(&id, &content(3, INLINE_MAX + 1)), Ok(2));
}

fn beside_writers(stage: &Stage) {
    const PUTS: u64 = 6;
    let vault = stage.create();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let collecting = scope.spawn(|| {
            let vault = stage.open();
            while !ended.load(Ordering::SeqCst) {
                let report = vault.collect_garbage().unwrap();
                assert_eq!((report.segments, report.uploads), (0, 0));
                assert_eq!(report.charts_passed_over + report.unknown_charts, 0);
            }
        });
        let writing: Vec<_> = (0..2)
            .map(|writer| {
                let vault = &vault;
                scope.spawn(move || {
                    let chart = session(vault);
                    for put in 0..PUTS {
                        let seed = writer * PUTS + put;
                        let body = content(seed, INLINE_MAX + 1 + seed as usize);
                        chart.put(&record("MRN-1", "CT/1"), &body).unwrap();
                    }
                })
            })
            .collect();
        for writing in writing {
            writing.join().unwrap();
        }
        ended.store(true, Ordering::SeqCst);
        collecting.join().unwrap();
    });
    let chart = session(&vault);
    let id = record("MRN-1", "CT/1");
    let mut lengths = Vec::new();
    for version in 1..=2 * PUTS {
        let found = chart.get_version(&id, version).unwrap().unwrap();
        let seed = (found.len() - INLINE_MAX - 1) as u64;
        assert!(found[..] == content(seed, found.len()));
        lengths.push(seed);
    }
    lengths.sort_unstable();
    assert!(lengths.into_iter().eq(0..2 * PUTS));
    assert_eq!(raw::counts(&stage.storage)[4..], [2 * PUTS as usize, 0]);
}

/// More records, versions, streams and segments than are fetched at a time.
fn charts_of_many_pages(stage: &Stage) {
    drop(stage.create());
    let vault = at(stage, THEN);
    let chart = session(&vault);
    let large = record("MRN-1", "CT/1");
    for version in 1..=3 {
        let body = content(version, INLINE_MAX + 1);
        chart.put(&large, &body).unwrap();
    }
    let ids: Vec<_> = (0..600)
        .map(|number| record("MRN-1", &format!("Observation/{number}")))
        .collect();
    for _ in 0..2 {
        let documents = ids.iter().map(|id| (id, Document::new(b"x")));
        let outcomes = chart.put_many(documents).unwrap();
        assert!(outcomes.into_iter().all(|outcome| outcome.is_ok()));
    }
    // Two streams of many segments and many streams of one, some with intents beside them.
    let segments = raw::objects_of(&stage.storage, b"s");
    let prefix = segments.keys().next().unwrap()[1..17].to_vec();
    let stray = |class: u8, stream: u16, index: u32| {
        let stream = [&stream.to_be_bytes()[..], &[0xab; 14]].concat();
        let index = index.to_be_bytes();
        let index = if class == b's' { &index[..] } else { &[] };
        [&[class], &prefix[..], &stream, index].concat()
    };
    let mut keys = Vec::new();
    for stream in [0x2000, 0xffff] {
        keys.extend((0..600).map(|index| stray(b's', stream, index)));
    }
    keys.extend((0..300).map(|stream| stray(b's', stream * 200 + 1, 7)));
    for key in &keys {
        raw::put(&stage.storage, key, b"sealed");
    }
    let mut intent = vec![1, 1, 17, 0, 0, 0, 0, 0];
    intent.extend(THEN.to_le_bytes());
    intent.extend([5; 16]);
    for stream in 0..300 {
        raw::put(&stage.storage, &stray(b'w', stream * 200 + 1, 0), &intent);
    }
    let young = collects_exactly(stage, THEN);
    assert_eq!((young.segments, young.uploads_under_way), (1200, 300));
    let looked_at = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&looked_at);
    let vault = at(stage, THEN + limit(stage) + 1);
    let vault = vault.with_progress(move |step: ProgressUpdate| log.lock().unwrap().push(step));
    let report = vault.collect_garbage().unwrap();
    assert_eq!((report.segments, report.uploads), (300, 300));
    let looked_at = looked_at.lock().unwrap();
    let mut activities = looked_at.iter().map(|step| step.phase);
    assert!(activities.all(|activity| activity == Phase::Collecting));
    // All segments, intents, records and earlier versions, at least once.
    assert!(looked_at.last().unwrap().done >= 303 + 300 + 601 + 602);
    assert!(raw::objects_of(&stage.storage, b"s") == segments);
    for version in 1..=3 {
        let found = session(&vault).get_version(&large, version).unwrap();
        assert!(found.unwrap()[..] == content(version, INLINE_MAX + 1));
    }
    // A version that is missing anywhere in all that is missed.
    raw::put(&stage.storage, &stray(b's', 3, 0), b"sealed");
    let earlier = raw::objects_of(&stage.storage, b"h");
    for key in earlier.keys().step_by(97) {
        raw::delete(&stage.storage, key);
        let report = changes_nothing(stage, THEN);
        assert_eq!(
            (report.charts_passed_over, report.unreadable_versions),
            (1, 1)
        );
        raw::put(&stage.storage, key, &earlier[key]);
    }
    assert_eq!(collects_exactly(stage, THEN).segments, 1);
}

/// More charts than are looked for at a time.
fn many_charts(stage: &Stage) {
    drop(stage.create());
    let vault = at(stage, THEN);
    for patient in 0..20 {
        let id = record(&format!("MRN-{patient}"), "CT/1");
        let body = content(patient, INLINE_MAX + 1);
        session(&vault).put(&id, &body).unwrap();
    }
    for chart in raw::objects_of(&stage.storage, b"s").keys() {
        let stray = [&chart[..17], &[0xab; 16], &[0; 4][..]].concat();
        raw::put(&stage.storage, &stray, b"sealed");
    }
    let before = raw::counts(&stage.storage);
    let unknown: u32 = 4200;
    for number in 0..unknown {
        let spread = number.wrapping_mul(0x9e37_79b9).to_be_bytes();
        let key = [b"w", &spread[..], &[1; 12], &[2; 16]].concat();
        raw::put(&stage.storage, &key, b"unreadable");
    }
    let report = at(stage, THEN).collect_garbage().unwrap();
    assert_eq!(report.charts, u64::from(unknown) + 20);
    assert_eq!(report.unknown_charts, u64::from(unknown));
    assert_eq!(report.unknown_objects, u64::from(unknown));
    assert_eq!((report.segments, report.uploads), (20, 0));
    let [.., segments, intents] = raw::counts(&stage.storage);
    assert_eq!((segments, intents), (before[4] - 20, unknown as usize));
}
