//! Concurrent threads on one vault, and concurrent vaults on one storage: no entry is lost, and
//! pages are shared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use chartlock::internals::journal::Target;
use chartlock::storage::FaultAction;
use chartlock::{Document, Error, Journaling, Operation, Purpose, Vault, access::AccessOutcome};

use crate::stage::{Line, Stage, digest, record, session_as, writes_page};

const THREADS: usize = 8;
const ROUNDS: usize = 6;

everywhere! {
    concurrent_threads_with_strict_journaling_lose_no_entry,
    concurrent_threads_with_grouped_journaling_lose_no_entry,
    concurrent_vaults_on_one_storage_lose_no_entry,
}

fn concurrent_threads_with_strict_journaling_lose_no_entry(stage: &Stage) {
    let vaults = [stage.create_in(Journaling::Strict)];
    run_concurrently(stage, &vaults);
}

fn concurrent_threads_with_grouped_journaling_lose_no_entry(stage: &Stage) {
    let vaults = [stage.create_in(Journaling::Grouped)];
    run_concurrently(stage, &vaults);
}

fn concurrent_vaults_on_one_storage_lose_no_entry(stage: &Stage) {
    let vaults = [
        stage.create_in(Journaling::Strict),
        stage.open_in(Journaling::Grouped),
        stage.open_in(Journaling::Grouped),
    ];
    run_concurrently(stage, &vaults);
}

/// Numbers of successful puts and reads of one thread.
#[derive(Default)]
struct Counts {
    put: usize,
    read: usize,
}

/// Puts and reads this actor's own records, and one record that all threads share.
fn work(vault: &Vault, name: &str) -> Counts {
    let clinician = session_as(vault, name, Purpose::Treatment);
    let shared = record("MRN-1", "shared by all");
    let mut counts = Counts::default();
    for round in 0..ROUNDS {
        let own = record("MRN-1", &format!("{name} {round}"));
        let content = format!("{name} {round}");
        assert_eq!(clinician.put(&own, content.as_bytes()), Ok(1));
        counts.put += 1;
        let ids = [own.clone(), shared.clone(), record("MRN-2", name)];
        let many = ids.iter().map(|id| (id, Document::new(content.as_bytes())));
        for (outcome, id) in clinician.put_many(many).unwrap().into_iter().zip(&ids) {
            match outcome {
                Ok(version) => {
                    counts.put += 1;
                    let found = clinician.get_version(id, version).unwrap().unwrap();
                    assert_eq!(&found[..], content.as_bytes());
                    counts.read += 1;
                }
                Err(Error::Contended) => assert_eq!(*id, shared),
                Err(error) => panic!("{error:?}"),
            }
        }
    }
    counts
}

fn run_concurrently(stage: &Stage, vaults: &[Vault]) {
    let barrier = Barrier::new(THREADS);
    let counts: BTreeMap<String, Counts> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let (vault, barrier) = (&vaults[number % vaults.len()], &barrier);
                scope.spawn(move || {
                    let name = format!("dr.{number}");
                    barrier.wait();
                    let counts = work(vault, &name);
                    (name, counts)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    // Locking the vault writes the queued entries.
    vaults.iter().for_each(Vault::lock);
    let lines = stage.settled();
    let count_of = |name: &str, operation| {
        let matches =
            |line: &&Line| &*line.actor == name && line.is(operation, AccessOutcome::Done);
        lines.iter().filter(matches).count()
    };
    for (name, counts) in &counts {
        assert_eq!(count_of(name, Operation::Put), counts.put, "{name}");
        assert_eq!(count_of(name, Operation::Read), counts.read, "{name}");
    }
    let journaled: Vec<_> = (lines.iter())
        .filter_map(|line| match line.entry.target {
            Target::Version { digest, .. } => Some(digest),
            _ => None,
        })
        .collect();
    let objects = stage.objects();
    let versions = objects
        .iter()
        .filter(|(key, _)| matches!(key[0], b'r' | b'h'));
    let stored: BTreeSet<_> = versions.map(|(_, value)| digest(value)).collect();
    assert_eq!(journaled.len(), stored.len());
    assert_eq!(journaled.into_iter().collect::<BTreeSet<_>>(), stored);
}

#[test]
fn strict_reads_of_concurrent_threads_share_pages() {
    let stage = Stage::memory();
    let id = record("MRN-1", "a");
    let vault = stage.create_in(Journaling::Strict);
    let clinician = session_as(&vault, "dr.0", Purpose::Treatment);
    clinician.put(&id, b"a").unwrap();
    drop(vault);
    let pages = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&pages);
    // The storage is slow, so that reads that arrive during a write share the next page.
    let faulty = stage.faulty(move |_, point| {
        if writes_page(point) {
            counter.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(20));
        }
        FaultAction::Proceed
    });
    let vault = stage.open_on(&faulty, Journaling::Strict);
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (vault, barrier, id) = (&vault, &barrier, &id);
            scope.spawn(move || {
                let name = format!("dr.{number}");
                let clinician = session_as(vault, &name, Purpose::Treatment);
                barrier.wait();
                for _ in 0..ROUNDS {
                    assert!(clinician.get(id).unwrap().is_some());
                }
            });
        }
    });
    drop(vault);
    let lines = stage.settled().into_iter();
    let reads = lines.filter(|line| line.is(Operation::Read, AccessOutcome::Done));
    assert_eq!(reads.count(), THREADS * ROUNDS);
    let pages = pages.load(Ordering::SeqCst);
    assert!(pages <= THREADS * ROUNDS / 2, "{pages} pages");
}
