//! Writers and readers at once: nothing is lost, and who was second is told.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use chartlock::internals::envelope::INLINE_MAX;
use chartlock::{Document, Error, Precondition, Record, Session, Vault};

use crate::common::Fixed;
use crate::raw;
use crate::stage::{Stage, content, record, session};

const THREADS: usize = 6;

everywhere!(
    puts_all_become_versions,
    one_conditional_put_wins,
    new_subjects_begin_once,
    large_puts_race,
    batches_overlap,
);

#[test]
fn a_vault_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Vault>();
    shared::<Session>();
    shared::<Record>();
    shared::<Error>();
    shared::<Document<'static>>();
}

/// Two vaults on one storage, as two processes have, to be shared by the threads.
fn two(stage: &Stage) -> [Vault; 2] {
    let options = stage.options_under_load();
    let first = options.clone().create(stage.shared(), &Fixed(1)).unwrap();
    let second = stage.open_by(options);
    [first, second]
}

/// Runs `work` on each thread at once; the answers come in the order of threads.
fn at_once<T: Send>(vaults: &[Vault; 2], work: impl Fn(&Session, usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    work(&session(&vaults[thread % 2]), thread)
                })
            })
            .collect();
        let answers = threads.into_iter().map(|thread| thread.join().unwrap());
        answers.collect()
    })
}

fn puts_all_become_versions(stage: &Stage) {
    let vaults = two(stage);
    let id = record("MRN-1", "Observation/1");
    let body = |thread: usize, turn: usize| format!("by {thread} in turn {turn}");
    let versions = at_once(&vaults, |chart, thread| {
        let puts = (0..12).map(|turn| chart.put(&id, body(thread, turn).as_str()).unwrap());
        puts.collect::<Vec<_>>()
    });
    let chart = session(&vaults[0]);
    let all: BTreeSet<u64> = versions.iter().flatten().copied().collect();
    assert_eq!(all, (1..=THREADS as u64 * 12).collect());
    for (thread, versions) in versions.iter().enumerate() {
        assert!(versions.is_sorted());
        for (turn, version) in versions.iter().enumerate() {
            let stored = chart.get_version(&id, *version).unwrap().unwrap();
            assert_eq!(stored[..], *body(thread, turn).as_bytes());
        }
    }
    assert_eq!(chart.history(&id).unwrap().len(), THREADS * 12);
    assert_eq!(raw::brute_force(&stage.storage), raw::census(&vaults[1]));
}

fn one_conditional_put_wins(stage: &Stage) {
    let vaults = two(stage);
    let id = record("MRN-1", "Observation/1");
    for version in 0..8 {
        let expected = match version {
            0 => Precondition::Absent,
            version => Precondition::Version(version),
        };
        let outcomes = at_once(&vaults, |chart, thread| {
            chart.put_if(&id, expected, &[thread as u8])
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
        let stored = session(&vaults[0]).get(&id).unwrap().unwrap();
        assert_eq!(stored[..], [winner as u8]);
    }
}

fn new_subjects_begin_once(stage: &Stage) {
    let vaults = two(stage);
    for patient in 0..6 {
        let patient = format!("MRN-{patient}");
        let outcomes = at_once(&vaults, |chart, thread| {
            chart.put(&record(&patient, &format!("by {thread}")), b"x")
        });
        assert!(outcomes.iter().all(|outcome| *outcome == Ok(1)));
        let listed = session(&vaults[0]).list(record(&patient, "x").subject());
        assert_eq!(listed.unwrap().map(Result::unwrap).count(), THREADS);
    }
    assert_eq!(raw::counts(&stage.storage)[1], 6);
}

fn large_puts_race(stage: &Stage) {
    let vaults = two(stage);
    let id = record("MRN-1", "CT/1");
    let body = |thread: usize| content(thread as u64, INLINE_MAX + 1 + thread);
    let versions = at_once(&vaults, |chart, thread| {
        chart.put(&id, &body(thread)).unwrap()
    });
    for (thread, version) in versions.into_iter().enumerate() {
        let stored = session(&vaults[1]).get_version(&id, version).unwrap();
        assert!(stored.unwrap()[..] == body(thread)[..]);
    }
    // A stream for each, and no upload left.
    assert_eq!(
        raw::counts(&stage.storage),
        [1, 1, 1, THREADS - 1, THREADS, 0]
    );
}

fn batches_overlap(stage: &Stage) {
    let vaults = two(stage);
    let ids: Vec<_> = (0..25)
        .map(|index| record(&format!("MRN-{}", index % 4), &format!("record {index}")))
        .collect();
    let versions = at_once(&vaults, |chart, thread| {
        let bodies: Vec<_> = (0..25).map(|index| [thread as u8, index as u8]).collect();
        let documents = bodies.iter().map(Document::from);
        let outcomes = chart.put_many(ids.iter().zip(documents)).unwrap();
        let versions = outcomes.into_iter().collect::<Result<Vec<_>, _>>();
        versions.unwrap()
    });
    let chart = session(&vaults[0]);
    for (index, id) in ids.iter().enumerate() {
        let mut seen = BTreeSet::new();
        for (thread, versions) in versions.iter().enumerate() {
            let stored = chart.get_version(id, versions[index]).unwrap().unwrap();
            assert_eq!(stored[..], [thread as u8, index as u8]);
            seen.insert(versions[index]);
        }
        assert_eq!(seen, (1..=THREADS as u64).collect());
    }
}
