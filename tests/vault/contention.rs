//! Concurrent writers and readers: every put is kept, and the loser of a race gets a conflict.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use chartlock::internals::envelope::INLINE_MAX;
use chartlock::{Document, Error, Precondition, Record, Session, Vault};

use crate::common::Fixed;
use crate::raw;
use crate::stage::{Stage, content, record, session_on};

const THREADS: usize = 6;

everywhere!(
    concurrent_puts_all_become_versions,
    concurrent_conditional_puts_have_one_winner,
    concurrent_first_puts_create_one_chart,
    concurrent_large_puts_all_become_versions,
    overlapping_batches_all_become_versions,
);

#[test]
fn vault_and_session_are_send_and_sync() {
    fn shared<T: Send + Sync>() {}
    shared::<Vault>();
    shared::<Session>();
    shared::<Record>();
    shared::<Error>();
    shared::<Document<'static>>();
}

/// Opens two vaults on one storage, like two processes. The threads share both vaults.
fn open_two(stage: &Stage) -> [Vault; 2] {
    let options = stage.options_under_load();
    let first = options.clone().create(stage.shared(), &Fixed(1)).unwrap();
    let second = stage.open_by(options);
    [first, second]
}

/// Runs `work` concurrently on all threads and returns the results in thread order.
fn run_at_once<T: Send>(vaults: &[Vault; 2], work: impl Fn(&Session, usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    work(&session_on(&vaults[thread % 2]), thread)
                })
            })
            .collect();
        let results = threads.into_iter().map(|thread| thread.join().unwrap());
        results.collect()
    })
}

fn concurrent_puts_all_become_versions(stage: &Stage) {
    let vaults = open_two(stage);
    let id = record("MRN-1", "Observation/1");
    let body = |thread: usize, turn: usize| format!("by {thread} in turn {turn}");
    let versions = run_at_once(&vaults, |session, thread| {
        let puts = (0..12).map(|turn| session.put(&id, body(thread, turn).as_str()).unwrap());
        puts.collect::<Vec<_>>()
    });
    let session = session_on(&vaults[0]);
    let all: BTreeSet<u64> = versions.iter().flatten().copied().collect();
    assert_eq!(all, (1..=THREADS as u64 * 12).collect());
    for (thread, versions) in versions.iter().enumerate() {
        assert!(versions.is_sorted());
        for (turn, version) in versions.iter().enumerate() {
            let stored = session.get_version(&id, *version).unwrap().unwrap();
            assert_eq!(stored[..], *body(thread, turn).as_bytes());
        }
    }
    assert_eq!(session.history(&id).unwrap().len(), THREADS * 12);
    assert_eq!(raw::brute_force(&stage.storage), raw::key_usage(&vaults[1]));
}

fn concurrent_conditional_puts_have_one_winner(stage: &Stage) {
    let vaults = open_two(stage);
    let id = record("MRN-1", "Observation/1");
    for version in 0..8 {
        let expected = match version {
            0 => Precondition::Absent,
            version => Precondition::Version(version),
        };
        let outcomes = run_at_once(&vaults, |session, thread| {
            session.put_if(&id, expected, &[thread as u8])
        });
        let mut winners = outcomes
            .iter()
            .enumerate()
            .filter(|(_, outcome)| outcome.is_ok());
        let (winner, outcome) = winners.next().unwrap();
        assert_eq!(*outcome, Ok(version + 1));
        assert_eq!(winners.count(), 0);
        let losers = outcomes.iter().filter(|outcome| outcome.is_err());
        assert!(
            losers
                .into_iter()
                .all(|loser| *loser == Err(Error::Conflict))
        );
        let stored = session_on(&vaults[0]).get(&id).unwrap().unwrap();
        assert_eq!(stored[..], [winner as u8]);
    }
}

fn concurrent_first_puts_create_one_chart(stage: &Stage) {
    let vaults = open_two(stage);
    for patient in 0..6 {
        let patient = format!("MRN-{patient}");
        let outcomes = run_at_once(&vaults, |session, thread| {
            session.put(&record(&patient, &format!("by {thread}")), b"x")
        });
        assert!(outcomes.iter().all(|outcome| *outcome == Ok(1)));
        let listed = session_on(&vaults[0]).list(record(&patient, "x").subject());
        assert_eq!(listed.unwrap().map(Result::unwrap).count(), THREADS);
    }
    assert_eq!(raw::counts(&stage.storage)[1], 6);
}

fn concurrent_large_puts_all_become_versions(stage: &Stage) {
    let vaults = open_two(stage);
    let id = record("MRN-1", "CT/1");
    let body = |thread: usize| content(thread as u64, INLINE_MAX + 1 + thread);
    let versions = run_at_once(&vaults, |session, thread| {
        session.put(&id, &body(thread)).unwrap()
    });
    for (thread, version) in versions.into_iter().enumerate() {
        let stored = session_on(&vaults[1]).get_version(&id, version).unwrap();
        assert!(stored.unwrap()[..] == body(thread)[..]);
    }
    // The storage contains one stream per put and no upload intent.
    assert_eq!(
        raw::counts(&stage.storage),
        [1, 1, 1, THREADS - 1, THREADS, 0]
    );
}

fn overlapping_batches_all_become_versions(stage: &Stage) {
    let vaults = open_two(stage);
    let ids: Vec<_> = (0..25)
        .map(|index| record(&format!("MRN-{}", index % 4), &format!("record {index}")))
        .collect();
    let versions = run_at_once(&vaults, |session, thread| {
        let bodies: Vec<_> = (0..25).map(|index| [thread as u8, index as u8]).collect();
        let documents = bodies.iter().map(Document::from);
        let outcomes = session.put_many(ids.iter().zip(documents)).unwrap();
        let versions = outcomes.into_iter().collect::<Result<Vec<_>, _>>();
        versions.unwrap()
    });
    let session = session_on(&vaults[0]);
    for (index, id) in ids.iter().enumerate() {
        let mut seen = BTreeSet::new();
        for (thread, versions) in versions.iter().enumerate() {
            let stored = session.get_version(id, versions[index]).unwrap().unwrap();
            assert_eq!(stored[..], [thread as u8, index as u8]);
            seen.insert(versions[index]);
        }
        assert_eq!(seen, (1..=THREADS as u64).collect());
    }
}
