//! Search for chain heads to pin: its storage calls, its order, and the walk that completes it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chartlock::internals::crypto::{AuthorityKey, sha256};
use chartlock::internals::journal::{
    AccessOutcome, Act, Authority, ChainHead, Context, EntryDraft, Page, PageId, Sealer,
    Stage as EntryStage, Target, WriteTime, Writer,
};
use chartlock::storage::{Expect, FaultAction, FaultPoint, Storage, Transaction};
use chartlock::{Journaling, Operation};

use crate::common::journal::pages;
use crate::common::objects::objects_of;
use crate::stage::{NOON, Shared, Stage};

const DAY: i64 = 24 * 60 * 60 * 1000;
const HOUR: Duration = Duration::from_secs(60 * 60);

fn at(now: i64) -> WriteTime {
    WriteTime {
        now,
        uptime: Duration::ZERO,
    }
}

fn draft() -> EntryDraft {
    let act = Act::new(Arc::new(Context::default()), Operation::ReadJournal, "");
    act.draft(NOON, Target::Vault, AccessOutcome::Done)
}

fn created() -> Stage {
    let stage = Stage::memory();
    drop(stage.create_in(Journaling::Strict));
    stage
}

fn writer(stage: &Stage) -> Writer {
    Writer::new(Arc::clone(&stage.storage), stage.sealer())
}

/// Writes a page with one entry.
fn write(writer: &Writer, time: WriteTime) -> ChainHead {
    writer.send_page(&[draft()], vec![], time).unwrap()
}

/// Stores the first page of a chain that began at `began`, under the keys of `sealer`.
fn chain(storage: &Shared, sealer: &Sealer, began: i64, number: u32) -> PageId {
    let mut writer = [3; 16];
    writer[..6].copy_from_slice(&began.to_be_bytes()[2..]);
    writer[12..].copy_from_slice(&number.to_be_bytes());
    let draft = draft();
    let entries = [(&draft, EntryStage::Done)].into_iter();
    let page = Page::new([0; 32], vec![], entries).unwrap();
    let id = PageId {
        writer,
        sequence: 0,
    };
    let key = [b"j", &writer[..], &[0; 8]].concat();
    put(storage, key, page.seal(sealer, &id).unwrap());
    id
}

fn put(storage: &Shared, key: Vec<u8>, value: Vec<u8>) {
    let put = Transaction::new().put(key, value, Expect::Any);
    assert!(storage.commit(&[put])[0].is_ok());
}

fn auditor(stage: &Stage) -> Sealer {
    Sealer {
        authority: None,
        ..stage.sealer()
    }
}

/// Returns the heads that the pages of a chain pin.
fn pinned_by(stage: &Stage, head: &ChainHead) -> Vec<PageId> {
    let pages = pages(&*stage.storage).into_iter();
    let own = pages.filter(|(id, _)| id.writer == head.page.writer);
    own.flat_map(|(_, page)| page.seen)
        .map(|seen| seen.page)
        .collect()
}

/// Begins a chain, and returns its head and the number of storage calls before its page.
fn begin_counted(stage: &Stage, now: i64) -> (ChainHead, usize) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let storage = stage.faulty(move |_, point| {
        if !matches!(point, FaultPoint::Commit(_)) {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        FaultAction::Proceed
    });
    let writer = Writer::new(storage, stage.sealer());
    let head = write(&writer, at(now));
    (head, calls.load(Ordering::SeqCst))
}

#[test]
fn start_of_chain_makes_at_most_four_calls() {
    for chains in [0, 10, 1_000, 3_000] {
        let stage = created();
        let sealer = stage.sealer();
        for number in 0..chains {
            let began = NOON - i64::from(number) * 60_000;
            chain(&stage.storage, &sealer, began, number);
        }
        // Without the object of covered heads, then with it, then after a walk of all chains.
        let (first, calls) = begin_counted(&stage, NOON + 1);
        assert!(calls <= 4, "{calls} calls for {chains} chains");
        let (second, calls) = begin_counted(&stage, NOON + 2);
        assert!(calls <= 4, "{calls} calls for {chains} chains");
        assert!(pinned_by(&stage, &second).contains(&first.page));
        let walker = writer(&stage);
        walker.pin_heads(NOON + 3, &|| false).unwrap();
        let third = write(&walker, at(NOON + 3));
        let (last, calls) = begin_counted(&stage, NOON + 4);
        assert!(calls <= 4, "{calls} calls for {chains} chains");
        let pinned = pinned_by(&stage, &last);
        assert!(pinned == [third.page], "{} pins", pinned.len());
    }
}

#[test]
fn walk_pins_each_head_that_the_start_missed() {
    let stage = created();
    let sealer = stage.sealer();
    // At intervals of one second, so that many of them share each period.
    let chains: Vec<_> = (0..2_500)
        .map(|number| {
            chain(
                &stage.storage,
                &sealer,
                NOON - i64::from(number) * 1_000,
                number,
            )
        })
        .collect();
    let writer = writer(&stage);
    write(&writer, at(NOON));
    assert!(writer.is_walk_due());
    writer.pin_heads(NOON, &|| true).unwrap();
    writer.pin_heads(NOON, &|| false).unwrap();
    assert!(!writer.is_walk_due());
    let head = write(&writer, at(NOON));
    let pinned: HashSet<_> = pinned_by(&stage, &head).into_iter().collect();
    assert!(chains.iter().all(|head| pinned.contains(head)));
    // Later walks find nothing to pin, also days later and for other writers.
    for day in [0, 3, 6] {
        let other = self::writer(&stage);
        other.pin_heads(NOON + day * DAY, &|| false).unwrap();
        let head = write(&other, at(NOON + day * DAY));
        assert!(pinned_by(&stage, &head).len() <= 3, "day {day}");
    }
}

#[test]
fn more_heads_than_one_page_pins_go_to_later_pages() {
    let stage = created();
    let sealer = stage.sealer();
    for number in 0..5_000 {
        chain(&stage.storage, &sealer, NOON - DAY * 9, number);
    }
    let writer = writer(&stage);
    writer.pin_heads(NOON, &|| false).unwrap();
    let first = write(&writer, at(NOON));
    assert!(pinned_by(&stage, &first).len() >= 4_096);
    let second = write(&writer, at(NOON));
    let pinned: HashSet<_> = pinned_by(&stage, &second).into_iter().collect();
    assert!(pinned.len() >= 5_000);
    let other = self::writer(&stage);
    other.pin_heads(NOON, &|| false).unwrap();
    let head = write(&other, at(NOON));
    let pinned = pinned_by(&stage, &head);
    assert!(pinned == [second.page], "{} pins", pinned.len());
}

#[test]
fn vaults_heads_are_pinned_before_auditors_and_forged_heads_never() {
    let stage = created();
    let forger = Sealer {
        authority: Some(Authority {
            number: stage.sealer().authority.unwrap().number,
            key: AuthorityKey::from_bytes(&[7; 32]),
        }),
        ..stage.sealer()
    };
    let forged = chain(&stage.storage, &forger, NOON + 1, 1);
    let auditors = chain(&stage.storage, &auditor(&stage), NOON + 2, 2);
    let vaults = chain(&stage.storage, &stage.sealer(), NOON + 3, 3);
    let writer = writer(&stage);
    write(&writer, at(NOON + 4));
    writer.pin_heads(NOON + 5, &|| false).unwrap();
    let head = write(&writer, at(NOON + 5)).page;
    let objects = objects_of(&*stage.storage, b"j");
    let key = [b"j", &head.writer[..], &[0; 8]].concat();
    let sealer = stage.sealer();
    let keys = chartlock::internals::journal::PageKeys {
        vault: sealer.vault,
        key: &|_| Some(&sealer.key),
        authority: None,
        closed_pages: None,
    };
    let first = PageId {
        sequence: 0,
        ..head
    };
    let page = keys.open(&objects[&key], &first).unwrap();
    let seen: Vec<_> = page.seen.iter().map(|seen| seen.page).collect();
    assert!(!seen.contains(&forged));
    assert_eq!(seen.last(), Some(&auditors));
    assert!(seen[..seen.len() - 1].contains(&vaults));
}

#[test]
fn auditors_page_pins_nothing() {
    let stage = created();
    let writer = Writer::new(Arc::clone(&stage.storage), auditor(&stage));
    let head = write(&writer, at(NOON));
    writer.pin_heads(NOON, &|| false).unwrap();
    write(&writer, at(NOON));
    assert_eq!(pinned_by(&stage, &head), []);
    assert!(objects_of(&*stage.storage, b"a").is_empty());
}

#[test]
fn writer_idle_for_an_hour_begins_chain_that_pins_the_former_one() {
    let stage = created();
    let writer = writer(&stage);
    let time = |uptime| WriteTime { now: NOON, uptime };
    let first = write(&writer, time(Duration::ZERO));
    let second = write(&writer, time(HOUR - Duration::from_secs(1)));
    assert_eq!(second.page.writer, first.page.writer);
    let third = write(&writer, time(HOUR * 3));
    assert_ne!(third.page.writer, first.page.writer);
    assert_eq!(pinned_by(&stage, &third), [second.page]);
    let fourth = write(&writer, time(HOUR * 3));
    assert_eq!(fourth.page.writer, third.page.writer);
}

/// A writer trusts its own memory on the end of its former chain, not the storage.
#[test]
fn idle_writer_pins_former_head_that_the_storage_lost() {
    let stage = created();
    let writer = writer(&stage);
    write(&writer, at(NOON));
    let last = write(&writer, at(NOON));
    let key = [b"j", &last.page.writer[..], &1_u64.to_be_bytes()].concat();
    assert!(stage.storage.commit(&[Transaction::new().delete(key)])[0].is_ok());
    let time = WriteTime {
        now: NOON,
        uptime: HOUR,
    };
    let head = write(&writer, time);
    assert!(pinned_by(&stage, &head).contains(&last.page));
}

/// A first page that is sealed again after a conflict pins the same heads.
#[test]
fn first_page_pins_heads_also_after_a_failed_commit() {
    let stage = created();
    let failed = Mutex::new(false);
    let storage = stage.faulty(move |_, point| {
        let is_first = matches!(point, FaultPoint::Commit(_))
            && !std::mem::replace(&mut *failed.lock().unwrap(), true);
        match is_first {
            true => FaultAction::Fail(chartlock::storage::StorageError::Full),
            false => FaultAction::Proceed,
        }
    });
    let writer = Writer::new(storage, stage.sealer());
    assert!(writer.send_page(&[draft()], vec![], at(NOON)).is_err());
    let head = write(&writer, at(NOON));
    assert_eq!(pinned_by(&stage, &head).len(), 1);
}

#[test]
fn object_of_covered_heads_names_the_page_that_pinned_last() {
    let stage = created();
    let head = write(&writer(&stage), at(NOON));
    let value = objects_of(&*stage.storage, b"a").remove(&b"a"[..]).unwrap();
    let sealer = stage.sealer();
    let coverage = chartlock::internals::journal::Coverage::open(&value, &sealer).unwrap();
    assert_eq!(coverage.page, head);
    let page = objects_of(&*stage.storage, b"j");
    let key = [b"j", &head.page.writer[..], &[0; 8]].concat();
    assert_eq!(coverage.page.digest, sha256(&[&page[&key]]));
}
