//! Start of a new chain after a fork, or after a page with unknown outcome. The new chain records
//! the heads that the journal writer has seen, and no entry is lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chartlock::internals::journal::{
    Act, Context, Page, PageId, PageKeys, Stage as EntryStage, Target, WriteTime, Writer, writers,
};
use chartlock::storage::{Expect, FaultAction, FaultOutcome, StorageError, Transaction};
use chartlock::{Journaling, Operation, access::AccessOutcome};

use crate::stage::{NOON, Stage, record, session, writes_page};

everywhere! {
    foreign_page_at_next_position_starts_new_chain,
    forked_chain_loses_no_entry,
    delayed_page_is_last_page_of_its_chain,
}

/// Counts the puts that the journal records as done, and asserts that each version has exactly one
/// entry.
fn puts(stage: &Stage) -> usize {
    let lines = stage.settled();
    let done = lines
        .iter()
        .filter(|line| line.is(Operation::Put, AccessOutcome::Done));
    let digests: Vec<_> = done
        .map(|line| match line.entry.target {
            Target::Version { digest, .. } => digest,
            _ => panic!("a put without a version"),
        })
        .collect();
    assert_eq!(digests.iter().collect::<BTreeSet<_>>().len(), digests.len());
    digests.len()
}

/// Writes a page at this position under the same journal key, as a copy of the process would do.
fn take_position(stage: &Stage, position: PageId, previous: [u8; 32]) {
    let act = Act::new(Arc::new(Context::default()), Operation::Lock, "a copy");
    let draft = act.draft(NOON, Target::Vault, AccessOutcome::Done);
    let page = Page::new(previous, vec![], [(&draft, EntryStage::Done)].into_iter()).unwrap();
    let sealer = stage.sealer();
    let value = page.seal(&sealer, &position);
    let key = [b"j", &position.writer[..], &position.sequence.to_be_bytes()].concat();
    let put = Transaction::new().put(key, value.unwrap(), Expect::Absent);
    assert!(stage.storage.commit(&[put])[0].is_ok());
}

/// Returns the last page of the chain that began last, and its digest.
fn last_page(stage: &Stage) -> (PageId, [u8; 32]) {
    let writer = *writers(&*stage.storage, ..).unwrap().last().unwrap();
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

fn foreign_page_at_next_position_starts_new_chain(stage: &Stage) {
    let vault = stage.create_in(Journaling::Strict);
    let clinician = session(&vault);
    clinician.put(&record("MRN-1", "a"), b"a").unwrap();
    let before = writers(&*stage.storage, ..).unwrap().len();
    let (last, digest) = last_page(stage);
    let position = PageId {
        sequence: last.sequence + 1,
        ..last
    };
    take_position(stage, position, digest);
    clinician.put(&record("MRN-1", "b"), b"b").unwrap();
    clinician.get(&record("MRN-1", "b")).unwrap();
    clinician.put(&record("MRN-1", "c"), b"c").unwrap();
    drop((clinician, vault));
    assert_eq!(puts(stage), 3);
    // `journal` compares the heads that the new chain records with the stored pages, including the
    // foreign page.
    let chains = writers(&*stage.storage, ..).unwrap();
    assert_eq!(chains.len(), before + 1);
    let copied = stage.journal().into_iter();
    assert_eq!(
        copied
            .filter(|line| line.entry.note() == Some("a copy"))
            .count(),
        1
    );
}

/// A copy of the process takes the next position of the chain before each put.
fn forked_chain_loses_no_entry(stage: &Stage) {
    let vault = stage.create_in(Journaling::Strict);
    let clinician = session(&vault);
    clinician.put(&record("MRN-1", "a"), b"a").unwrap();
    for round in 0..4 {
        let (last, digest) = last_page(stage);
        let position = PageId {
            sequence: last.sequence + 1,
            ..last
        };
        take_position(stage, position, digest);
        let name = format!("b{round}");
        clinician.put(&record("MRN-1", &name), b"b").unwrap();
        assert!(clinician.get(&record("MRN-1", &name)).unwrap().is_some());
    }
    drop((clinician, vault));
    assert_eq!(puts(stage), 5);
    let reads = stage.settled().into_iter();
    assert_eq!(
        reads
            .filter(|line| line.is(Operation::Read, AccessOutcome::Done))
            .count(),
        4
    );
}

fn delayed_page_is_last_page_of_its_chain(stage: &Stage) {
    drop(stage.create_in(Journaling::Strict));
    let late = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&late);
    let faulty =
        stage.faulty(
            move |_, point| match switch.load(Ordering::SeqCst) && writes_page(point) {
                true => FaultAction::Unknown(FaultOutcome::Later),
                false => FaultAction::Proceed,
            },
        );
    let vault = stage.open_on(&faulty, Journaling::Strict);
    let clinician = session(&vault);
    let id = record("MRN-1", "a");
    clinician.put(&id, b"a").unwrap();
    late.store(true, Ordering::SeqCst);
    // The read released nothing; only the outcome of its page is unknown.
    assert_eq!(
        clinician.get(&id).unwrap_err(),
        chartlock::Error::Journal(StorageError::TimedOut)
    );
    late.store(false, Ordering::SeqCst);
    assert!(clinician.get(&id).unwrap().is_some());
    clinician.put(&id, b"b").unwrap();
    // Apply the delayed pages only now, after the new chain began.
    while faulty.land().is_some() {}
    clinician.put(&id, b"c").unwrap();
    drop((clinician, vault));
    assert_eq!(puts(stage), 3);
    let reads = stage.settled().into_iter();
    let reads = reads
        .filter(|line| line.is(Operation::Read, AccessOutcome::Done))
        .count();
    // One read was released. The read whose page had an unknown outcome may also have an entry.
    assert!((1..=2).contains(&reads), "{reads}");
}

#[test]
fn new_chain_pins_head_that_no_page_has_pinned() {
    let stage = Stage::memory();
    drop(stage.create_in(Journaling::Strict));
    let sealer = || stage.sealer();
    let fails = Arc::new(AtomicUsize::new(usize::MAX));
    let count = Arc::clone(&fails);
    let faulty = stage.faulty(move |_, point| {
        if writes_page(point) && count.load(Ordering::SeqCst) == 0 {
            return FaultAction::Unknown(FaultOutcome::Lost);
        }
        FaultAction::Proceed
    });
    let writer = Writer::new(faulty, sealer());
    let point = WriteTime {
        now: NOON,
        uptime: std::time::Duration::ZERO,
    };
    let note = || {
        let act = Act::new(Arc::new(Context::default()), Operation::Read, "");
        let draft = act.draft(NOON, Target::Vault, AccessOutcome::Done);
        writer.note(draft, std::time::Duration::ZERO).unwrap();
    };
    note();
    writer.flush_all(point).unwrap();
    let first = writer.tip().unwrap();
    fails.store(0, Ordering::SeqCst);
    note();
    assert!(writer.flush_all(point).is_err());
    assert_eq!(writer.tip(), None);
    fails.store(usize::MAX, Ordering::SeqCst);
    writer.flush_all(point).unwrap();
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
    let keys = PageKeys {
        vault: sealer.vault,
        key: &|_| Some(&sealer.key),
        authority: None,
        closed_pages: None,
    };
    let page = keys.open(&value, &second.page).unwrap();
    // The first chain has pinned the chain of the creation.
    assert_eq!(page.seen, [first]);
}
