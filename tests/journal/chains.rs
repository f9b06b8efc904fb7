//! A chain whose next place is taken, or whose last page may still land, is given up: another one goes
//! on, says what it has seen, and nothing is lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chartlock::internals::journal::{
    Act, Context, Page, PageId, Stage as Told, Target, WriteTime as When, Writer, writers,
};
use chartlock::storage::{Expect, FaultAction, FaultOutcome, Transaction};
use chartlock::{Journaling, Operation, access::AccessOutcome};

use crate::stage::{NOON, Stage, record, session, writes_page};

everywhere! {
    a_foreign_page_in_the_next_place_begins_another_chain,
    two_writers_that_believe_in_one_chain_lose_nothing,
    a_page_that_lands_late_is_followed_by_nothing,
}

/// The names of what was put, as far as the journal holds it to be done: one entry each.
fn puts(stage: &Stage) -> usize {
    let lines = stage.settled();
    let done = lines
        .iter()
        .filter(|line| line.is(Operation::Put, AccessOutcome::Done));
    let digests: Vec<_> = done
        .map(|line| match line.entry.target {
            Target::Version { digest, .. } => digest,
            _ => panic!("a put that is of no version"),
        })
        .collect();
    assert_eq!(digests.iter().collect::<BTreeSet<_>>().len(), digests.len());
    digests.len()
}

/// Puts a page of the same journal key in a place, as a copy of the process would have written it.
fn take_place(stage: &Stage, place: PageId, previous: [u8; 32]) {
    let act = Act {
        context: Arc::new(Context::default()),
        operation: Operation::Lock,
        note: "a copy".into(),
    };
    let draft = act.draft(NOON, Target::Vault, AccessOutcome::Done);
    let page = Page::new(previous, vec![], [(&draft, Told::Done)].into_iter()).unwrap();
    let sealer = stage.sealer();
    let value = page.seal(
        sealer.suite,
        &sealer.vault,
        (sealer.number, &sealer.key),
        &place,
    );
    let key = [b"j", &place.writer[..], &place.sequence.to_be_bytes()].concat();
    let put = Transaction::new().put(key, value.unwrap(), Expect::Absent);
    assert!(stage.storage.commit(&[put])[0].is_ok());
}

/// The last page of the chain that began last, and its digest.
fn last_page(stage: &Stage) -> (PageId, [u8; 32]) {
    let writer = *writers(&*stage.storage, None).unwrap().last().unwrap();
    let mut pages = stage.objects().into_iter().filter_map(|(key, value)| {
        let sequence = key.strip_prefix(&[b"j", &writer[..]].concat()[..])?;
        let sequence = u64::from_be_bytes(sequence.try_into().unwrap());
        Some((
            PageId { writer, sequence },
            chartlock::internals::crypto::sha256(&[&value]),
        ))
    });
    pages.next_back().unwrap()
}

fn a_foreign_page_in_the_next_place_begins_another_chain(stage: &Stage) {
    let vault = stage.create_in(Journaling::Strict);
    let chart = session(&vault);
    chart.put(&record("MRN-1", "a"), b"a").unwrap();
    let before = writers(&*stage.storage, None).unwrap().len();
    let (last, digest) = last_page(stage);
    let place = PageId {
        sequence: last.sequence + 1,
        ..last
    };
    take_place(stage, place, digest);
    chart.put(&record("MRN-1", "b"), b"b").unwrap();
    chart.get(&record("MRN-1", "b")).unwrap();
    chart.put(&record("MRN-1", "c"), b"c").unwrap();
    drop((chart, vault));
    assert_eq!(puts(stage), 3);
    // `journal` has compared what the new chain saw with what stands, the foreign page included.
    let chains = writers(&*stage.storage, None).unwrap();
    assert_eq!(chains.len(), before + 1);
    let copied = stage.journal().into_iter();
    assert_eq!(
        copied.filter(|line| &*line.entry.note == "a copy").count(),
        1
    );
}

/// As after a fork: both hold the same chain, and what waited for the next page stands in both.
fn two_writers_that_believe_in_one_chain_lose_nothing(stage: &Stage) {
    let vault = stage.create_in(Journaling::Strict);
    let chart = session(&vault);
    chart.put(&record("MRN-1", "a"), b"a").unwrap();
    for round in 0..4 {
        let (last, digest) = last_page(stage);
        let place = PageId {
            sequence: last.sequence + 1,
            ..last
        };
        take_place(stage, place, digest);
        let name = format!("b{round}");
        chart.put(&record("MRN-1", &name), b"b").unwrap();
        assert!(chart.get(&record("MRN-1", &name)).unwrap().is_some());
    }
    drop((chart, vault));
    assert_eq!(puts(stage), 5);
    let reads = stage.settled().into_iter();
    assert_eq!(
        reads
            .filter(|line| line.is(Operation::Read, AccessOutcome::Done))
            .count(),
        4
    );
}

fn a_page_that_lands_late_is_followed_by_nothing(stage: &Stage) {
    drop(stage.create_in(Journaling::Strict));
    let late = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&late);
    let faulty =
        stage.faulty(
            move |_, moment| match switch.load(Ordering::SeqCst) && writes_page(moment) {
                true => FaultAction::Unknown(FaultOutcome::Later),
                false => FaultAction::Proceed,
            },
        );
    let vault = stage.open_on(&faulty, Journaling::Strict);
    let chart = session(&vault);
    let id = record("MRN-1", "a");
    chart.put(&id, b"a").unwrap();
    late.store(true, Ordering::SeqCst);
    assert_eq!(chart.get(&id).unwrap_err(), chartlock::Error::CommitUnknown);
    late.store(false, Ordering::SeqCst);
    assert!(chart.get(&id).unwrap().is_some());
    chart.put(&id, b"b").unwrap();
    // All that is under way lands now, behind the new chain.
    while faulty.land().is_some() {}
    chart.put(&id, b"c").unwrap();
    drop((chart, vault));
    assert_eq!(puts(stage), 3);
    let reads = stage.settled().into_iter();
    let reads = reads
        .filter(|line| line.is(Operation::Read, AccessOutcome::Done))
        .count();
    // The one that was handed out, and the one of which nobody knew whether it was written.
    assert!((1..=2).contains(&reads), "{reads}");
}

#[test]
fn a_chain_that_is_begun_anew_says_where_the_others_end() {
    let stage = Stage::memory();
    drop(stage.create_in(Journaling::Strict));
    let sealer = || stage.sealer();
    let fails = Arc::new(AtomicUsize::new(usize::MAX));
    let count = Arc::clone(&fails);
    let faulty = stage.faulty(move |_, moment| {
        if writes_page(moment) && count.load(Ordering::SeqCst) == 0 {
            return FaultAction::Unknown(FaultOutcome::Lost);
        }
        FaultAction::Proceed
    });
    let writer = Writer::new(faulty, sealer());
    let moment = When {
        now: NOON,
        uptime: std::time::Duration::ZERO,
    };
    let note = || {
        let act = Act {
            context: Arc::new(Context::default()),
            operation: Operation::Read,
            note: "".into(),
        };
        let draft = act.draft(NOON, Target::Vault, AccessOutcome::Done);
        writer.note(draft, std::time::Duration::ZERO).unwrap();
    };
    note();
    writer.flush_all(moment).unwrap();
    let first = writer.tip().unwrap();
    fails.store(0, Ordering::SeqCst);
    note();
    assert!(writer.flush_all(moment).is_err());
    assert_eq!(writer.tip(), None);
    fails.store(usize::MAX, Ordering::SeqCst);
    writer.flush_all(moment).unwrap();
    let second = writer.tip().unwrap();
    assert_ne!(second.page.writer, first.page.writer);
    assert_eq!(second.page.sequence, 0);
    let key = [b"j", &second.page.writer[..], &[0; 8]].concat();
    let value = stage
        .storage
        .read(&[&key])
        .unwrap()
        .pop()
        .unwrap()
        .unwrap()
        .value;
    let sealer = sealer();
    let page = Page::open(&value, &sealer.vault, &sealer.key, &second.page).unwrap();
    assert!(page.seen.contains(&first));
    assert_eq!(page.seen.len(), 2);
}
