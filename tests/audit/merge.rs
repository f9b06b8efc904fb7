//! Merge of the entries of all journal chains into one sequence.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chartlock::Operation;
use chartlock::audit::{AuditItem, TimeRange, Timestamp};
use chartlock::storage::{FaultAction, FaultPoint, Faulty, Projection};

use crate::stage::*;

#[test]
fn chains_are_merged_in_order_of_time() {
    let stage = JournalStage::new();
    let writers = [stage.writer(), stage.writer(), stage.writer()];
    // Write three interleaved chains, with pages of three entries, over two days.
    for step in 0..96 {
        let at = NOON + step * 30 * MINUTE;
        let writer = &writers[(step * 7 % 3) as usize];
        let version = step as u64 + 1;
        // The entries on each page are in reverse order of time.
        write_page(
            writer,
            at + 2,
            [2, 1, 0].map(|later| {
                let target = stage.record("MRN-1", "a", 3 * version - 2 + later as u64);
                done(garcia(Operation::Read), at + later, target)
            }),
        );
    }
    let auditor = stage.open();
    let versions: Vec<_> = entries(&auditor.trail())
        .iter()
        .map(|entry| entry.version.unwrap())
        .collect();
    assert_eq!(versions, (1..=288).collect::<Vec<_>>());
}

#[test]
fn entries_queued_before_their_page_are_in_order_of_time() {
    let stage = JournalStage::new();
    let (first, second) = (stage.writer(), stage.writer());
    let read = |at, version| {
        done(
            garcia(Operation::Read),
            at,
            stage.record("MRN-1", "a", version),
        )
    };
    write_page(&first, NOON, [read(NOON, 1)]);
    // The chain begins half an hour after its first entry.
    write_page(&second, NOON + 32 * MINUTE, [read(NOON + 2 * MINUTE, 2)]);
    write_page(&first, NOON + 3 * MINUTE, [read(NOON + 3 * MINUTE, 3)]);
    let auditor = stage.open();
    let versions: Vec<_> = entries(&auditor.trail())
        .iter()
        .map(|entry| entry.version.unwrap())
        .collect();
    assert_eq!(versions, [1, 2, 3]);
}

#[test]
fn audit_time_range_includes_its_start_and_excludes_its_end() {
    let stage = JournalStage::new();
    let writer = stage.writer();
    for day in 0..5 {
        let at = NOON + day * DAY;
        let target = stage.record("MRN-1", "a", day as u64 + 1);
        write_page(&writer, at, [done(garcia(Operation::Read), at, target)]);
    }
    let auditor = stage.open();
    let trail = auditor.trail();
    let versions = |between: TimeRange| -> Vec<_> {
        let entries = trail.entries(between).unwrap().map(Result::unwrap);
        let read = entries.filter_map(|item| match item {
            AuditItem::Entry(entry) => entry.version,
            AuditItem::Fault(fault) => panic!("{fault:?}"),
        });
        read.collect()
    };
    let day = |day: i64| Timestamp::from_millis(NOON + day * DAY);
    assert_eq!(versions((day(1)..day(3)).into()), [2, 3]);
    assert_eq!(versions((day(3)..).into()), [4, 5]);
    assert_eq!(versions((..day(1)).into()), [1]);
    assert_eq!(versions((..).into()), [1, 2, 3, 4, 5]);
}

#[test]
fn entries_of_chain_begun_with_clock_ahead_are_listed() {
    let stage = JournalStage::new();
    let (first, second) = (stage.writer(), stage.writer());
    let read = |at, version| {
        let target = stage.record("MRN-1", "a", version);
        [done(garcia(Operation::Read), at, target)]
    };
    write_page(&first, NOON, read(NOON, 1));
    write_page(&first, NOON + 30 * DAY, read(NOON + 30 * DAY, 2));
    write_page(&first, NOON + MINUTE, read(NOON + MINUTE, 3));
    // The clock was ahead of the true time when this chain began.
    write_page(&second, NOON + 30 * DAY, read(NOON + 2 * MINUTE, 4));
    let auditor = stage.open();
    let trail = auditor.trail();
    let window = Timestamp::from_millis(NOON)..Timestamp::from_millis(NOON + DAY);
    let report = trail.accesses(&subject("MRN-1"), window).unwrap();
    let mut versions: Vec<_> = report
        .accesses
        .iter()
        .map(|access| access.version)
        .collect();
    versions.sort_unstable();
    assert_eq!(versions, [Some(1), Some(3), Some(4)]);
}

#[test]
fn merged_trail_fetches_few_pages_at_a_time() {
    let stage = JournalStage::new();
    // Write one chain after the other; each has 40 pages and covers one day.
    for day in 0..4 {
        let writer = stage.writer();
        for step in 0..40 {
            let at = NOON + day * DAY + step * MINUTE;
            let target = stage.record("MRN-1", "a", 1);
            write_page(&writer, at, [done(garcia(Operation::Read), at, target)]);
        }
    }
    let fetched = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&fetched);
    let counting = Faulty::new(Arc::clone(&stage.storage), move |_, moment| {
        if let FaultPoint::Scan(scan) = moment
            && scan.projection == Projection::Values
        {
            counter.fetch_add(scan.limit, Ordering::SeqCst);
        }
        FaultAction::Proceed
    });
    let auditor = stage.try_open(Arc::new(counting)).unwrap();
    let trail = auditor.trail();
    let mut entries = trail.entries(..).unwrap();
    fetched.store(0, Ordering::SeqCst);
    for _ in 0..3 {
        entries.next().unwrap().unwrap();
    }
    // The iterator fetches only a few pages of one chain, because the other chains begin later.
    assert!(fetched.load(Ordering::SeqCst) <= 8);
    let rest = entries.map(Result::unwrap).count();
    assert!(rest >= 157 && fetched.load(Ordering::SeqCst) >= 160);
}

#[test]
fn entries_under_a_clock_set_back_are_in_the_time_range_of_their_chain() {
    let stage = JournalStage::new();
    let writer = stage.writer();
    let read = |at, version| {
        let target = stage.record("MRN-1", "a", version);
        done(garcia(Operation::Read), at, target)
    };
    write_page(&writer, NOON, [read(NOON, 1)]);
    // The clock is set back by a year, on the same chain and for a new process.
    let year = 365 * DAY;
    let back = NOON - year;
    write_page(&writer, back, [read(back, 2), read(back + MINUTE, 3)]);
    write_page(&stage.writer(), back, [read(back + 2 * MINUTE, 4)]);
    // The clock is right again.
    write_page(&stage.writer(), NOON + DAY, [read(NOON + DAY, 5)]);
    let auditor = stage.open();
    let trail = auditor.trail();
    let at = Timestamp::from_millis;
    let versions = |range: TimeRange| -> Vec<_> {
        let entries = trail.entries(range).unwrap().map(Result::unwrap);
        let read = entries.filter_map(|item| match item {
            AuditItem::Entry(entry) => Some((entry.version?, entry.not_before)),
            AuditItem::Fault(_) => None,
        });
        let mut read: Vec<_> = read.collect();
        read.sort();
        read
    };
    let known = Some(at(NOON));
    let week = TimeRange::from(at(NOON - 7 * DAY)..at(NOON + 2 * DAY));
    let expected = [(1, None), (2, known), (3, known), (4, known), (5, None)];
    assert_eq!(versions(week), expected);
    let of_last_year = TimeRange::from(at(back)..at(back + DAY));
    assert_eq!(versions(of_last_year), [(2, known), (3, known), (4, known)]);
    let before = TimeRange::from(at(NOON - 30 * DAY)..at(NOON));
    assert!(versions(before).is_empty());
    let report = trail.accesses(&subject("MRN-1"), week).unwrap();
    assert_eq!(report.accesses.len(), 5);
    assert_eq!(report.accesses[0].not_before, known);
}
