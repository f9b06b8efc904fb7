//! The end of a vault: locking, closing and dropping, also while the journal cannot be written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use chartlock::access::SecurityEvent;
use chartlock::internals::clock::Clock;
use chartlock::internals::vault::cached_entries;
use chartlock::storage::{Expect, FaultAction, FaultPoint, Faulty, StorageError, Transaction};
use chartlock::{Error, Journaling, Operation, VaultOptions};

use super::deciding::{by, id, memory, outcomes_of};
use crate::common::clock::ManualClock;
use crate::common::{Fixed, Shared, record, subject};

/// Storage whose commits fail while the switch is on.
pub(super) fn full_when(storage: &Shared, full: &Arc<AtomicBool>) -> Faulty<Shared> {
    let full = Arc::clone(full);
    Faulty::new(
        Arc::clone(storage),
        move |_, point: &FaultPoint<'_>| match matches!(point, FaultPoint::Commit(_))
            && full.load(Ordering::SeqCst)
        {
            true => FaultAction::Fail(StorageError::Full),
            false => FaultAction::Proceed,
        },
    )
}

type Events = Arc<Mutex<Vec<SecurityEvent>>>;

pub(super) fn recording(options: VaultOptions) -> (VaultOptions, Events) {
    let events: Events = Arc::default();
    let kept = Arc::clone(&events);
    let handler = move |event: &SecurityEvent| kept.lock().unwrap().push(event.clone());
    (options.on_security_event(handler), events)
}

fn on_clock(clock: &Arc<ManualClock>) -> VaultOptions {
    VaultOptions::new().clock(Arc::<ManualClock>::clone(clock))
}

const FULL: Error = Error::Journal(StorageError::Full);

#[test]
fn open_handles_hand_out_nothing_while_journal_fails() {
    let (storage, full) = (memory(), Arc::new(AtomicBool::new(false)));
    let clock = Arc::new(ManualClock::default());
    let vault = on_clock(&clock).create(full_when(&storage, &full), &Fixed(1));
    let vault = vault.unwrap();
    let dr = by(&vault, "dr.garcia");
    dr.put_reader(&id("ct"), &vec![7; 5 << 20][..]).unwrap();
    for number in 0..3 {
        dr.put(&id(&format!("n{number}")), b"{}").unwrap();
        dr.put(&record(&format!("MRN-{number}"), "n"), b"{}")
            .unwrap();
    }
    dr.get(&id("n1")).unwrap();
    full.store(true, Ordering::SeqCst);
    let (patient, on) = (subject("MRN-1042"), &dr);
    let reader = on.reader(&id("ct")).unwrap().unwrap();
    let mut list = on.list(&patient).unwrap();
    let mut all = on.get_all(&patient).unwrap();
    let mut subjects = on.subjects().unwrap();
    let mut out = [0; 10];
    // Under grouped journaling, the entries of the last second may still be in memory.
    assert_eq!(reader.read_at(0, &mut out), Ok(10));
    assert!(list.next().unwrap().is_ok());
    clock.advance(1_000);
    assert_eq!(reader.read_at(0, &mut out), Err(FULL));
    assert_eq!(list.next().unwrap().unwrap_err(), FULL);
    assert_eq!(all.next().unwrap().unwrap_err(), FULL);
    assert_eq!(subjects.next().unwrap().unwrap_err(), FULL);
    assert!(list.next().is_none() && all.next().is_none() && subjects.next().is_none());
    assert_eq!(dr.get(&id("n1")).unwrap_err(), FULL);
    full.store(false, Ordering::SeqCst);
    assert_eq!(reader.read_at(0, &mut out), Ok(10));
}

#[test]
fn open_handles_end_after_lock() {
    let vault = VaultOptions::new().create(memory(), &Fixed(1)).unwrap();
    let dr = by(&vault, "dr.garcia");
    for number in 0..20 {
        dr.put(&record(&format!("MRN-{number}"), "n"), b"{}")
            .unwrap();
        dr.put(&id(&format!("n{number}")), b"{}").unwrap();
    }
    let mut subjects = dr.subjects().unwrap();
    let mut list = dr.list(&subject("MRN-1042")).unwrap();
    let mut all = dr.get_all(&subject("MRN-1042")).unwrap();
    let mut entries = dr.audit().unwrap().entries(..).unwrap();
    let reader = dr.reader(&id("n1")).unwrap().unwrap();
    subjects.next().unwrap().unwrap();
    list.next().unwrap().unwrap();
    all.next().unwrap().unwrap();
    entries.next().unwrap().unwrap();
    vault.lock();
    assert_eq!(subjects.next().unwrap().unwrap_err(), Error::Locked);
    assert_eq!(list.next().unwrap().unwrap_err(), Error::Locked);
    assert_eq!(all.next().unwrap().unwrap_err(), Error::Locked);
    assert_eq!(entries.next().unwrap().unwrap_err(), Error::Locked);
    assert_eq!(reader.read_at(0, &mut [0; 2]), Err(Error::Locked));
    assert!(subjects.next().is_none() && list.next().is_none());
    assert!(all.next().is_none() && entries.next().is_none());
}

#[test]
fn lock_wipes_keys_before_it_waits_for_the_storage() {
    for mode in [Journaling::Grouped, Journaling::Strict] {
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let closed = Arc::clone(&gate);
        let stalling = Faulty::new(memory(), move |_, point: &FaultPoint<'_>| {
            let mut shut = closed.0.lock().unwrap();
            while matches!(point, FaultPoint::Commit(_)) && *shut {
                shut = closed.1.wait(shut).unwrap();
            }
            FaultAction::Proceed
        });
        let options = VaultOptions::new().journaling(mode).without_background();
        let vault = options.create(stalling, &Fixed(1)).unwrap();
        by(&vault, "dr").put(&id("note"), b"{}").unwrap();
        let reader = by(&vault, "dr").reader(&id("note")).unwrap().unwrap();
        assert_eq!(cached_entries(&vault), 1);
        *gate.0.lock().unwrap() = true;
        let locking = vault.clone();
        let locking = thread::spawn(move || locking.lock());
        let begun = Instant::now();
        while reader.read_at(0, &mut [0; 2]) != Err(Error::Locked) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{mode:?}");
            thread::yield_now();
        }
        while cached_entries(&vault) != 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "{mode:?}");
            thread::yield_now();
        }
        assert!(!locking.is_finished());
        *gate.0.lock().unwrap() = false;
        gate.1.notify_all();
        locking.join().unwrap();
    }
}

#[test]
fn close_reports_entries_that_cannot_be_written_and_writes_them_later() {
    let (storage, full) = (memory(), Arc::new(AtomicBool::new(false)));
    let options = VaultOptions::new().without_background();
    let vault = options
        .create(full_when(&storage, &full), &Fixed(1))
        .unwrap();
    let dr = by(&vault, "dr.garcia");
    dr.put(&id("note"), b"{}").unwrap();
    dr.get(&id("note")).unwrap();
    full.store(true, Ordering::SeqCst);
    let reader = dr.reader(&id("note")).unwrap().unwrap();
    assert_eq!(vault.close(), Err(FULL));
    assert_eq!(reader.read_at(0, &mut [0; 2]), Err(Error::Locked));
    assert_eq!(dr.get(&id("note")).unwrap_err(), Error::Locked);
    full.store(false, Ordering::SeqCst);
    assert_eq!(vault.close(), Ok(()));
    assert_eq!(vault.close(), Ok(()));
    let reads = outcomes_of(&storage, "dr.garcia").into_iter();
    let reads = reads.filter(|(operation, _)| *operation == Operation::Read);
    assert_eq!(reads.count(), 2);
}

/// Drops a vault with the entries of two reads while its storage is full.
fn drop_with_unwritten_entries(options: VaultOptions) {
    let (storage, full) = (memory(), Arc::new(AtomicBool::new(false)));
    let vault = options
        .create(full_when(&storage, &full), &Fixed(1))
        .unwrap();
    by(&vault, "dr").put(&id("note"), b"{}").unwrap();
    by(&vault, "dr").get(&id("note")).unwrap();
    full.store(true, Ordering::SeqCst);
    by(&vault, "dr").get(&id("note")).unwrap();
    drop(vault);
}

#[test]
fn drop_with_unwritten_entries_raises_event() {
    let (options, events) = recording(VaultOptions::new().without_background());
    drop_with_unwritten_entries(options);
    let lost = SecurityEvent::JournalEntriesLost { count: 2 };
    assert_eq!(
        *events.lock().unwrap(),
        [SecurityEvent::JournalFailing, lost]
    );
}

#[test]
fn panic_of_handler_while_vault_is_dropped_is_caught() {
    let options = VaultOptions::new().without_background();
    let options = options.on_security_event(|_: &SecurityEvent| panic!("the handler panics"));
    drop_with_unwritten_entries(options);
}

/// Waits until the condition holds.
fn wait_until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(30), "waited too long");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn panicking_handler_does_not_end_the_background_thread() {
    let (storage, full) = (memory(), Arc::new(AtomicBool::new(false)));
    let panics = Arc::new(AtomicBool::new(false));
    let panicked = Arc::clone(&panics);
    let options = VaultOptions::new().on_security_event(move |event: &SecurityEvent| {
        if *event == SecurityEvent::JournalFailing {
            panicked.store(true, Ordering::SeqCst);
            panic!("the handler panics");
        }
    });
    let vault = options
        .create(full_when(&storage, &full), &Fixed(1))
        .unwrap();
    let dr = by(&vault, "dr.garcia");
    dr.put(&id("note"), b"{}").unwrap();
    full.store(true, Ordering::SeqCst);
    dr.get(&id("note")).unwrap();
    wait_until(|| panics.load(Ordering::SeqCst));
    full.store(false, Ordering::SeqCst);
    let reads = || {
        let all = outcomes_of(&storage, "dr.garcia").into_iter();
        all.filter(|(operation, _)| *operation == Operation::Read)
            .count()
    };
    wait_until(|| reads() == 1);
    dr.get(&id("note")).unwrap();
    wait_until(|| reads() == 2);
}

#[test]
fn keys_of_cached_entries_are_evicted_after_sixty_seconds() {
    let clock = Arc::new(ManualClock::default());
    let options = on_clock(&clock).with_background();
    let vault = options.create(memory(), &Fixed(1)).unwrap();
    let dr = by(&vault, "dr.garcia");
    dr.put(&record("MRN-1", "note"), b"{}").unwrap();
    clock.advance(59_000);
    dr.put(&record("MRN-2", "note"), b"{}").unwrap();
    assert_eq!(cached_entries(&vault), 2);
    clock.advance(1_000);
    // Any entry wakes the thread, which otherwise sleeps until the first key expires.
    dr.get(&record("MRN-2", "note")).unwrap();
    wait_until(|| cached_entries(&vault) == 1);
}

#[test]
fn clock_set_back_raises_event() {
    let clock = Arc::new(ManualClock::default());
    let (options, events) = recording(on_clock(&clock).journaling(Journaling::Strict));
    let storage = memory();
    let vault = options.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    let dr = by(&vault, "dr.garcia");
    dr.put(&id("note"), b"{}").unwrap();
    clock.shift_calendar(-1_000);
    dr.put(&id("note"), b"{}").unwrap();
    assert!(events.lock().unwrap().is_empty(), "a leap second is normal");
    clock.shift_calendar(-3_600_000);
    dr.put(&id("note"), b"{}").unwrap();
    dr.put(&id("note"), b"{}").unwrap();
    let by = Duration::from_secs(3601);
    assert_eq!(
        *events.lock().unwrap(),
        [SecurityEvent::ClockSetBack { by }]
    );
    drop((dr, vault));
    // The next process begins a chain before the last one began.
    clock.shift_calendar(-3_600_000);
    let (options, events) = recording(on_clock(&clock).journaling(Journaling::Strict));
    let vault = options.open(storage, &Fixed(1)).unwrap();
    super::deciding::by(&vault, "dr.garcia")
        .get(&id("note"))
        .unwrap();
    let found = events.lock().unwrap().clone();
    assert!(
        matches!(found[..], [SecurityEvent::ClockSetBack { by }] if by.as_secs() >= 7_200),
        "{found:?}"
    );
}

/// A chain that began under a clock a year ahead is reported by the next process, and never again. A
/// planted object is no chain.
#[test]
fn chain_from_the_future_raises_one_event_and_planted_page_none() {
    const YEAR: i64 = 365 * 24 * 60 * 60 * 1000;
    let clock = Arc::new(ManualClock::default());
    let storage = memory();
    let options = || on_clock(&clock).journaling(Journaling::Strict);
    drop(options().create(Arc::clone(&storage), &Fixed(1)).unwrap());
    let ahead = &(clock.now() + YEAR).to_be_bytes()[2..];
    let key = [b"j", ahead, &[7; 10], &[0; 8]].concat();
    let planted = Transaction::new().put(key, &[0x55; 120][..], Expect::Absent);
    assert!(storage.commit(&[planted])[0].is_ok());
    let reopen = || {
        let (options, events) = recording(options());
        drop(options.open(Arc::clone(&storage), &Fixed(1)).unwrap());
        let events = events.lock().unwrap();
        let is_clock = |event: &&SecurityEvent| matches!(event, SecurityEvent::ClockSetBack { .. });
        events.iter().filter(is_clock).count()
    };
    assert_eq!([reopen(), reopen()], [0, 0]);
    clock.shift_calendar(YEAR);
    assert_eq!(reopen(), 0);
    clock.shift_calendar(-YEAR);
    assert_eq!([reopen(), reopen(), reopen()], [1, 0, 0]);
}
