//! Many threads on one vault, and many vaults on one storage: no entry is lost, answers are right, and
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
    threads_of_one_vault_strict,
    threads_of_one_vault_grouped,
    vaults_on_one_storage,
}

fn threads_of_one_vault_strict(stage: &Stage) {
    let vaults = [stage.create_in(Journaling::Strict)];
    all_at_once(stage, &vaults);
}

fn threads_of_one_vault_grouped(stage: &Stage) {
    let vaults = [stage.create_in(Journaling::Grouped)];
    all_at_once(stage, &vaults);
}

fn vaults_on_one_storage(stage: &Stage) {
    let vaults = [
        stage.create_in(Journaling::Strict),
        stage.open_in(Journaling::Grouped),
        stage.open_in(Journaling::Grouped),
    ];
    all_at_once(stage, &vaults);
}

/// What one thread was answered.
#[derive(Default)]
struct Heard {
    put: usize,
    read: usize,
}

/// Each thread acts under a name of its own: puts and reads records of its own and one of all.
fn work(vault: &Vault, name: &str) -> Heard {
    let chart = session_as(vault, name, Purpose::Treatment);
    let shared = record("MRN-1", "of all");
    let mut heard = Heard::default();
    for round in 0..ROUNDS {
        let own = record("MRN-1", &format!("{name} {round}"));
        let content = format!("{name} {round}");
        assert_eq!(chart.put(&own, content.as_bytes()), Ok(1));
        heard.put += 1;
        let ids = [own.clone(), shared.clone(), record("MRN-2", name)];
        let many = ids.iter().map(|id| (id, Document::new(content.as_bytes())));
        for (outcome, id) in chart.put_many(many).unwrap().into_iter().zip(&ids) {
            match outcome {
                Ok(version) => {
                    heard.put += 1;
                    let there = chart.get_version(id, version).unwrap().unwrap();
                    assert_eq!(&there[..], content.as_bytes());
                    heard.read += 1;
                }
                Err(Error::Contended) => assert_eq!(*id, shared),
                Err(error) => panic!("{error:?}"),
            }
        }
    }
    heard
}

fn all_at_once(stage: &Stage, vaults: &[Vault]) {
    let barrier = Barrier::new(THREADS);
    let heard: BTreeMap<String, Heard> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let (vault, barrier) = (&vaults[number % vaults.len()], &barrier);
                scope.spawn(move || {
                    let name = format!("dr.{number}");
                    barrier.wait();
                    let heard = work(vault, &name);
                    (name, heard)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    // What waits is written when a vault is locked.
    vaults.iter().for_each(Vault::lock);
    let lines = stage.settled();
    let of = |name: &str, operation| {
        let is_one = |line: &&Line| &*line.actor == name && line.is(operation, AccessOutcome::Done);
        lines.iter().filter(is_one).count()
    };
    for (name, heard) in &heard {
        assert_eq!(of(name, Operation::Put), heard.put, "{name}");
        assert_eq!(of(name, Operation::Read), heard.read, "{name}");
    }
    let told: Vec<_> = (lines.iter())
        .filter_map(|line| match line.entry.target {
            Target::Version { digest, .. } => Some(digest),
            _ => None,
        })
        .collect();
    let objects = stage.objects();
    let versions = objects
        .iter()
        .filter(|(key, _)| matches!(key[0], b'r' | b'h'));
    let standing: BTreeSet<_> = versions.map(|(_, value)| digest(value)).collect();
    assert_eq!(told.len(), standing.len());
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), standing);
}

#[test]
fn strict_reads_of_many_threads_share_pages() {
    let stage = Stage::memory();
    let id = record("MRN-1", "a");
    let vault = stage.create_in(Journaling::Strict);
    let chart = session_as(&vault, "dr.0", Purpose::Treatment);
    chart.put(&id, b"a").unwrap();
    drop(vault);
    let pages = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&pages);
    // A disk that takes its time: whoever comes meanwhile waits for the next page together.
    let faulty = stage.faulty(move |_, moment| {
        if writes_page(moment) {
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
                let chart = session_as(vault, &name, Purpose::Treatment);
                barrier.wait();
                for _ in 0..ROUNDS {
                    assert!(chart.get(id).unwrap().is_some());
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
