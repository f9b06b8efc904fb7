//! Reports with a time range: they read only the chains that can contain entries of the range.

use std::sync::Arc;

use chartlock::audit::{AccessReport, Auditor, FaultKind, TimeRange, Timestamp};
use chartlock::internals::journal::{Entry, EntryDraft, Target, Writer};
use chartlock::{Operation, Purpose};

use crate::common::Stage;
use crate::common::counting::Counting;
use crate::stage::*;

const DAYS: i64 = 40;
const HOUR: i64 = 60 * MINUTE;

fn read(stage: &JournalStage, at: i64, version: u64) -> EntryDraft {
    done(
        garcia(Operation::Read),
        at,
        stage.record("MRN-1", "a", version),
    )
}

/// Writes a page every second hour for 40 days with one writer. Entry `n` has version `n + 1`.
fn write_forty_days(stage: &JournalStage) -> Writer {
    let writer = stage.writer();
    for step in 0..DAYS * 12 {
        let at = NOON + step * 2 * HOUR;
        write_page(&writer, at, [read(stage, at, step as u64 + 1)]);
    }
    writer
}

fn range(from: i64, until: i64) -> TimeRange {
    TimeRange::from(Timestamp::from_millis(from)..Timestamp::from_millis(until))
}

fn day(day: i64) -> TimeRange {
    range(NOON + day * DAY, NOON + (day + 1) * DAY)
}

fn report(auditor: &Auditor, between: TimeRange) -> AccessReport {
    let trail = auditor.trail();
    trail.accesses(&subject("MRN-1"), between).unwrap()
}

fn versions(report: &AccessReport) -> Vec<u64> {
    let mut versions: Vec<_> = (report.accesses.iter())
        .filter_map(|access| access.version)
        .collect();
    versions.sort_unstable();
    versions
}

/// Returns the start in the name of a chain, from the key of a page.
fn start_of(key: &[u8]) -> i64 {
    let mut start = [0; 8];
    start[2..].copy_from_slice(&key[1..7]);
    i64::from_be_bytes(start)
}

#[test]
fn report_on_a_day_reads_the_chains_of_that_day() {
    let stage = JournalStage::new();
    write_forty_days(&stage);
    let storage = Arc::new(Counting::new(Arc::clone(&stage.storage)));
    let auditor = stage.try_open(storage.clone()).unwrap();
    let whole = storage.cost_of(|| {
        assert_eq!(versions(&report(&auditor, (..).into())).len(), 480);
    });
    let one = storage.cost_of(|| {
        let found = report(&auditor, day(20));
        assert!(found.unreadable.is_empty());
        assert_eq!(versions(&found), (241..=252).collect::<Vec<_>>());
    });
    assert!(whole.objects >= 480);
    // Nearly all objects are keys of one scan, which lists the chains.
    assert!(one.objects * 3 < whole.objects, "{one:?} {whole:?}");
    assert!(one.calls <= 8 && whole.calls > 80, "{one:?} {whole:?}");
}

#[test]
fn chain_of_a_busy_writer_covers_at_most_a_day() {
    let stage = JournalStage::new();
    write_forty_days(&stage);
    let mut starts: Vec<_> = keys_of(&*stage.storage, b"j")
        .iter()
        .map(|key| start_of(key))
        .collect();
    starts.dedup();
    let expected: Vec<_> = (0..DAYS).map(|day| NOON + day * DAY).collect();
    assert_eq!(starts, expected);
}

#[test]
fn windows_together_return_each_entry_once() {
    let stage = JournalStage::new();
    write_forty_days(&stage);
    let auditor = stage.open();
    let each = (0..DAYS).flat_map(|at| versions(&report(&auditor, day(at))));
    assert!(each.eq(1..=480));
}

#[test]
fn page_with_entries_of_more_than_a_day_is_in_each_window() {
    let stage = JournalStage::new();
    let writer = stage.writer();
    // The storage could not be written for ten days.
    let last = NOON + 10 * DAY;
    let queued = [read(&stage, NOON, 1), read(&stage, last, 2)];
    write_page(&writer, last, queued);
    write_page(&writer, last + MINUTE, [read(&stage, last + MINUTE, 3)]);
    let undated = keys_of(&*stage.storage, b"j");
    assert_eq!(undated.iter().filter(|key| key[1] >= 0x80).count(), 1);
    let auditor = stage.open();
    assert_eq!(versions(&report(&auditor, day(0))), [1]);
    assert!(versions(&report(&auditor, day(5))).is_empty());
    assert_eq!(versions(&report(&auditor, day(10))), [2, 3]);
}

#[test]
fn window_names_a_removed_chain_of_its_day() {
    let stage = JournalStage::new();
    write_forty_days(&stage);
    let start = NOON + 20 * DAY;
    let keys = keys_of(&*stage.storage, b"j");
    let removed: Vec<_> = keys.iter().filter(|key| start_of(key) == start).collect();
    for key in &removed {
        objects::delete(&*stage.storage, key);
    }
    let auditor = stage.open();
    let unreadable = report(&auditor, day(20)).unreadable;
    assert_eq!(unreadable.count, 1);
    assert_eq!(unreadable.first[0].what, FaultKind::Cut);
    assert_eq!(unreadable.first[0].writer.0[..], removed[0][1..17]);
    assert!(report(&auditor, day(30)).unreadable.is_empty());
    assert_eq!(report(&auditor, (..).into()).unreadable.count, 1);
}

#[test]
fn window_names_altered_pages_of_its_chains_only() {
    let stage = JournalStage::new();
    write_forty_days(&stage);
    let start = NOON + 20 * DAY;
    let keys = keys_of(&*stage.storage, b"j");
    let key = keys.iter().find(|key| start_of(key) == start).unwrap();
    let mut value = value_of(&*stage.storage, key).unwrap();
    *value.last_mut().unwrap() ^= 1;
    objects::put(&*stage.storage, key, &value);
    let auditor = stage.open();
    // The altered page, and the page after it, which does not continue the altered page.
    assert_eq!(report(&auditor, day(20)).unreadable.count, 2);
    assert!(report(&auditor, day(30)).unreadable.is_empty());
    assert_eq!(report(&auditor, (..).into()).unreadable.count, 2);
}

#[test]
fn change_settled_after_the_window_is_settled_in_the_window() {
    let stage = JournalStage::per_operation();
    let writer = stage.writer();
    let write = |at, version: u64| {
        let target = stage.version("MRN-1", "a", version);
        let put = done(garcia(Operation::Put), at, target);
        let key = format!("r{version}");
        let changes = vec![change(key.as_bytes(), vec![put])];
        assert!(writer.commit(changes, moment(at)).unwrap()[0].is_ok());
    };
    write(NOON, 1);
    // The page that settles the first change is written three days later, with the second change.
    write(NOON + 3 * DAY, 2);
    writer.flush_all(moment(NOON + 3 * DAY)).unwrap();
    let auditor = stage.open();
    for (at, version) in [(0, 1), (3, 2)] {
        let found = report(&auditor, day(at));
        assert_eq!(versions(&found), [version]);
        assert!(found.accesses[0].certain);
    }
}

#[test]
fn settling_entry_has_the_time_of_its_change() {
    let stage = JournalStage::per_operation();
    let writer = stage.writer();
    let target = stage.version("MRN-1", "a", 1);
    let put = done(garcia(Operation::Put), NOON, target);
    writer
        .commit(vec![change(b"r", vec![put])], moment(NOON))
        .unwrap();
    writer.flush_all(moment(NOON + 2 * DAY)).unwrap();
    let keys = keys_of(&*stage.storage, b"j");
    assert_eq!(keys.len(), 2);
    assert!(keys.iter().all(|key| start_of(key) == NOON));
    let pages = crate::common::journal::pages(&*stage.storage);
    let settles = |entry: &Entry| matches!(entry.target, Target::Settled(..));
    assert!(pages[1].1.entries.iter().all(settles));
}

/// Two processes for ten days, the clock of one of them two hours ahead, on each kind of storage.
#[test]
fn open_vaults_with_different_clocks_are_read_by_day() {
    for stage in [Stage::memory(), Stage::per_operation()] {
        let ahead = Arc::new(ManualClock::at(NOON + 2 * HOUR));
        stage.clock.set_calendar(NOON);
        let first = stage.options_on_clock().create(stage.shared(), &Fixed(1));
        let second = stage.options().clock(ahead.clone());
        let vaults = [
            first.unwrap(),
            second.open(stage.shared(), &Fixed(1)).unwrap(),
        ];
        let id = record("MRN-1", "Observation/1");
        session(&vaults[0]).put(&id, b"120/80").unwrap();
        for _ in 0..40 {
            for (vault, clock) in vaults.iter().zip([&stage.clock, &ahead]) {
                session(vault).get(&id).unwrap().unwrap();
                clock.advance(6 * HOUR as u64);
            }
        }
        session(&vaults[1]).put(&id, b"125/85").unwrap();
        let office = session_as(&vaults[0], "privacy.office", Purpose::Operations);
        let trail = office.audit().unwrap();
        let places = |between: TimeRange| -> Vec<_> {
            let report = trail.accesses(id.subject(), between).unwrap();
            assert!(report.unreadable.is_empty());
            let records = report.accesses.into_iter().filter(|it| it.record.is_some());
            // An entry whose clock seemed to be behind is also in later windows.
            let own = records.filter(|it| between.contains(it.at));
            let mut places: Vec<_> = own.map(|it| (it.at, it.position)).collect();
            places.sort_unstable_by_key(|(at, place)| (*at, place.writer, place.page, place.index));
            places
        };
        let all = places((..).into());
        assert_eq!(all.len(), 82);
        let mut each: Vec<_> = (-1..12).flat_map(|at| places(day(at))).collect();
        each.sort_unstable_by_key(|(at, place)| (*at, place.writer, place.page, place.index));
        assert_eq!(each, all);
        assert!(vaults[0].verify(None).unwrap().is_clean());
    }
}
