//! Garbage collection during concurrent writes, and in charts that span many scan pages.

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

use super::{DAY, START, assert_collects_nothing, collect_and_compare, limit, vault_at};
use crate::common::clock::ManualClock;
use crate::raw;
use crate::stage::{Stage, content, record, session_on};

everywhere!(
    collection_during_upload_spares_its_segments,
    upload_older_than_limit_returns_upload_expired,
    collection_during_puts_frees_nothing,
    collection_of_chart_with_many_pages_is_exact,
    collection_of_many_charts_is_exact,
);

/// Opens a single-threaded vault, which uploads segments early.
fn single_threaded_vault(stage: &Stage) -> Vault {
    let clock = Arc::new(ManualClock::at(START));
    let options = stage.options().clock(clock).threads(NonZeroUsize::MIN);
    stage.open_by(options)
}

fn collection_during_upload_spares_its_segments(stage: &Stage) {
    drop(stage.create());
    let vault = single_threaded_vault(stage);
    let session = session_on(&vault);
    let id = record("MRN-1", "CT/1");
    session.put(&id, b"before").unwrap();
    let body = content(1, 9 * SEGMENT + 1);
    let mut writer = session.writer(&id);
    for part in body.chunks(3 * SEGMENT) {
        writer.write_all(part).unwrap();
        let report = assert_collects_nothing(stage, START + limit(stage));
        assert_eq!(report.uploads_under_way, 1);
        // For a collector whose clock is behind, the intent's time is in the future.
        assert_eq!(
            assert_collects_nothing(stage, START - DAY).uploads_under_way,
            1
        );
    }
    assert!(raw::counts(&stage.storage)[4] > 0);
    assert_eq!(writer.finish(), Ok(2));
    assert_eq!(
        assert_collects_nothing(stage, i64::MAX).uploads_under_way,
        0
    );
    assert!(session.get(&id).unwrap().unwrap()[..] == body);
}

/// The collector removes an upload beyond the age limit. The writer gets an error, and no other
/// data is lost.
fn upload_older_than_limit_returns_upload_expired(stage: &Stage) {
    drop(stage.create());
    let vault = single_threaded_vault(stage);
    let session = session_on(&vault);
    let id = record("MRN-1", "CT/1");
    session.put(&id, &content(2, INLINE_MAX + 1)).unwrap();
    let mut writer = session.writer(&id);
    writer.write_all(&content(1, 9 * SEGMENT + 1)).unwrap();
    let sent = raw::counts(&stage.storage)[4] as u64 - 1;
    let report = collect_and_compare(stage, START + limit(stage) + 1);
    assert_eq!((report.segments, report.uploads), (sent, 1));
    // The writer detects the removal of its upload only in `finish`.
    writer.write_all(&content(1, 9 * SEGMENT + 1)).unwrap();
    assert_eq!(writer.finish(), Err(Error::UploadExpired));
    assert_eq!(raw::counts(&stage.storage), [1, 1, 1, 0, 1, 0]);
    assert!(session.get(&id).unwrap().unwrap()[..] == content(2, INLINE_MAX + 1));
    // A put from memory repeats its upload instead of failing.
    assert_eq!(session.put(&id, &content(3, INLINE_MAX + 1)), Ok(2));
}

fn collection_during_puts_frees_nothing(stage: &Stage) {
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
                    let session = session_on(vault);
                    for put in 0..PUTS {
                        let seed = writer * PUTS + put;
                        let body = content(seed, INLINE_MAX + 1 + seed as usize);
                        session.put(&record("MRN-1", "CT/1"), &body).unwrap();
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
    let session = session_on(&vault);
    let id = record("MRN-1", "CT/1");
    let mut lengths = Vec::new();
    for version in 1..=2 * PUTS {
        let found = session.get_version(&id, version).unwrap().unwrap();
        let seed = (found.len() - INLINE_MAX - 1) as u64;
        assert!(found[..] == content(seed, found.len()));
        lengths.push(seed);
    }
    lengths.sort_unstable();
    assert!(lengths.into_iter().eq(0..2 * PUTS));
    assert_eq!(raw::counts(&stage.storage)[4..], [2 * PUTS as usize, 0]);
}

/// Uses more records, versions, streams and segments than fit on one scan page.
fn collection_of_chart_with_many_pages_is_exact(stage: &Stage) {
    drop(stage.create());
    let vault = vault_at(stage, START);
    let session = session_on(&vault);
    let large = record("MRN-1", "CT/1");
    for version in 1..=3 {
        let body = content(version, INLINE_MAX + 1);
        session.put(&large, &body).unwrap();
    }
    let ids: Vec<_> = (0..600)
        .map(|number| record("MRN-1", &format!("Observation/{number}")))
        .collect();
    for _ in 0..2 {
        let documents = ids.iter().map(|id| (id, Document::new(b"x")));
        let outcomes = session.put_many(documents).unwrap();
        assert!(outcomes.into_iter().all(|outcome| outcome.is_ok()));
    }
    // Add two streams of many segments without an intent, and many streams of one segment with an
    // intent.
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
    intent.extend(START.to_le_bytes());
    intent.extend([5; 16]);
    for stream in 0..300 {
        raw::put(&stage.storage, &stray(b'w', stream * 200 + 1, 0), &intent);
    }
    let young = collect_and_compare(stage, START);
    assert_eq!((young.segments, young.uploads_under_way), (1200, 300));
    let updates = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&updates);
    let vault = vault_at(stage, START + limit(stage) + 1);
    let vault = vault.with_progress(move |step: ProgressUpdate| log.lock().unwrap().push(step));
    let report = vault.collect_garbage().unwrap();
    assert_eq!((report.segments, report.uploads), (300, 300));
    let updates = updates.lock().unwrap();
    let mut phases = updates.iter().map(|step| step.phase);
    assert!(phases.all(|phase| phase == Phase::Collecting));
    // The collector processed every segment, intent, current version and earlier version at least
    // once.
    assert!(updates.last().unwrap().done >= 303 + 300 + 601 + 602);
    assert!(raw::objects_of(&stage.storage, b"s") == segments);
    for version in 1..=3 {
        let found = session_on(&vault).get_version(&large, version).unwrap();
        assert!(found.unwrap()[..] == content(version, INLINE_MAX + 1));
    }
    // The collector must detect a missing version on every scan page.
    raw::put(&stage.storage, &stray(b's', 3, 0), b"sealed");
    let earlier = raw::objects_of(&stage.storage, b"h");
    for key in earlier.keys().step_by(97) {
        raw::delete(&stage.storage, key);
        let report = assert_collects_nothing(stage, START);
        assert_eq!(
            (report.charts_passed_over, report.unreadable_versions),
            (1, 1)
        );
        raw::put(&stage.storage, key, &earlier[key]);
    }
    assert_eq!(collect_and_compare(stage, START).segments, 1);
}

/// Uses more charts than the collector looks up in one batch.
fn collection_of_many_charts_is_exact(stage: &Stage) {
    drop(stage.create());
    let vault = vault_at(stage, START);
    for patient in 0..20 {
        let id = record(&format!("MRN-{patient}"), "CT/1");
        let body = content(patient, INLINE_MAX + 1);
        session_on(&vault).put(&id, &body).unwrap();
    }
    for segment in raw::objects_of(&stage.storage, b"s").keys() {
        let stray = [&segment[..17], &[0xab; 16], &[0; 4][..]].concat();
        raw::put(&stage.storage, &stray, b"sealed");
    }
    let before = raw::counts(&stage.storage);
    let unknown: u32 = 4200;
    for number in 0..unknown {
        let spread = number.wrapping_mul(0x9e37_79b9).to_be_bytes();
        let key = [b"w", &spread[..], &[1; 12], &[2; 16]].concat();
        raw::put(&stage.storage, &key, b"unreadable");
    }
    let report = vault_at(stage, START).collect_garbage().unwrap();
    assert_eq!(report.charts, u64::from(unknown) + 20);
    assert_eq!(report.unknown_charts, u64::from(unknown));
    assert_eq!(report.unknown_objects, u64::from(unknown));
    assert_eq!((report.segments, report.uploads), (20, 0));
    let [.., segments, intents] = raw::counts(&stage.storage);
    assert_eq!((segments, intents), (before[4] - 20, unknown as usize));
}
