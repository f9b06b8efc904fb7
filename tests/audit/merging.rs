//! All chains as one sequence.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chartlock::Operation;
use chartlock::audit::{AuditItem, TimeRange, Timestamp};
use chartlock::storage::{FaultAction, FaultPoint, Faulty, Projection};

use crate::stage::*;

#[test]
fn chains_are_merged_in_the_order_of_time() {
    let stage = JournalStage::new();
    let writers = [stage.writer(), stage.writer(), stage.writer()];
    // Three chains that take turns, in pages of three entries, over two days.
    for step in 0..96 {
        let at = NOON + step * 30 * MINUTE;
        let writer = &writers[(step * 7 % 3) as usize];
        let version = step as u64 + 1;
        // On the page they stand the wrong way round.
        tell(
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
fn entries_that_waited_for_their_page_come_in_their_place() {
    let stage = JournalStage::new();
    let (first, second) = (stage.writer(), stage.writer());
    let read = |at, version| {
        done(
            garcia(Operation::Read),
            at,
            stage.record("MRN-1", "a", version),
        )
    };
    tell(&first, NOON, [read(NOON, 1)]);
    // Its chain begins half an hour after what it tells.
    tell(&second, NOON + 32 * MINUTE, [read(NOON + 2 * MINUTE, 2)]);
    tell(&first, NOON + 3 * MINUTE, [read(NOON + 3 * MINUTE, 3)]);
    let auditor = stage.open();
    let versions: Vec<_> = entries(&auditor.trail())
        .iter()
        .map(|entry| entry.version.unwrap())
        .collect();
    assert_eq!(versions, [1, 2, 3]);
}

#[test]
fn a_window_begins_with_its_first_moment_and_ends_before_its_last() {
    let stage = JournalStage::new();
    let writer = stage.writer();
    for day in 0..5 {
        let at = NOON + day * DAY;
        let target = stage.record("MRN-1", "a", day as u64 + 1);
        tell(&writer, at, [done(garcia(Operation::Read), at, target)]);
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
fn a_clock_that_was_ahead_hides_nothing() {
    let stage = JournalStage::new();
    let (first, second) = (stage.writer(), stage.writer());
    let read = |at, version| {
        let target = stage.record("MRN-1", "a", version);
        [done(garcia(Operation::Read), at, target)]
    };
    tell(&first, NOON, read(NOON, 1));
    tell(&first, NOON + 30 * DAY, read(NOON + 30 * DAY, 2));
    tell(&first, NOON + MINUTE, read(NOON + MINUTE, 3));
    // This one began by a clock that was ahead.
    tell(&second, NOON + 30 * DAY, read(NOON + 2 * MINUTE, 4));
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
fn little_of_the_journal_is_fetched_at_a_time() {
    let stage = JournalStage::new();
    // Chains of 40 pages, a day each, one after the other.
    for day in 0..4 {
        let writer = stage.writer();
        for step in 0..40 {
            let at = NOON + day * DAY + step * MINUTE;
            let target = stage.record("MRN-1", "a", 1);
            tell(&writer, at, [done(garcia(Operation::Read), at, target)]);
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
    // Of one chain, not of four; a page at a time or a few, not forty.
    assert!(fetched.load(Ordering::SeqCst) <= 8);
    let rest = entries.map(Result::unwrap).count();
    assert!(rest >= 157 && fetched.load(Ordering::SeqCst) >= 160);
}
