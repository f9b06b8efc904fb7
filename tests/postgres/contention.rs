//! Several vaults in one schema: contention for one record, different clocks, and round trips.

use std::io::Write;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use chartlock::access::SecurityEvent;
use chartlock::storage::{CommitError, Expect, Storage, Transaction};
use chartlock::{Error, Precondition, RecordId, Vault, VaultOptions};

use crate::common::brute_force::{brute_force, key_usage};
use crate::common::clock::{ManualClock, NOON};
use crate::common::faulty_proxy::FaultyProxy;
use crate::common::{Fixed, postgres_server, record, session, subject};
use crate::outages::through;

const THREADS: usize = 16;
const HOUR: i64 = 60 * 60 * 1000;

#[test]
fn sixteen_writers_of_one_record_have_one_winner_each_round() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let storage = Arc::new(server.storage());
    drop(Vault::create(Arc::clone(&storage), &Fixed(1)).unwrap());
    let vaults = [0; 4].map(|_| Vault::open(Arc::clone(&storage), &Fixed(1)).unwrap());
    let id = record("MRN-1", "Observation/1");
    session(&vaults[0]).put(&id, b"0").unwrap();
    let barrier = Barrier::new(THREADS);
    for version in 1..=20 {
        let outcomes: Vec<_> = thread::scope(|scope| {
            let writers: Vec<_> = (0..THREADS)
                .map(|writer| {
                    let session = session(&vaults[writer % vaults.len()]);
                    let (id, barrier) = (&id, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        session.put_if(id, Precondition::Version(version), &[writer as u8])
                    })
                })
                .collect();
            writers.into_iter().map(|it| it.join().unwrap()).collect()
        });
        let winners: Vec<_> = (0..THREADS).filter(|it| outcomes[*it].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        assert_eq!(outcomes[winners[0]], Ok(version + 1));
        let losers = outcomes.iter().filter(|outcome| outcome.is_err());
        assert!(losers.clone().all(|loser| *loser == Err(Error::Conflict)));
        for vault in &vaults {
            let stored = session(vault).get(&id).unwrap().unwrap();
            assert_eq!(stored[..], [winners[0] as u8]);
        }
    }
    assert_eq!(session(&vaults[1]).history(&id).unwrap().len(), 21);
    assert!(vaults[2].verify(None).unwrap().is_clean());
    assert_eq!(key_usage(&vaults[3]), brute_force(&*storage));
}

#[test]
fn clocks_that_differ_by_an_hour_cause_no_alarm_and_collect_nothing_early() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let storage: Arc<dyn Storage> = Arc::new(server.storage());
    let events = Arc::new(Mutex::new(Vec::new()));
    let clocks = [NOON, NOON + HOUR].map(|now| Arc::new(ManualClock::at(now)));
    let options = |clock: &Arc<ManualClock>| {
        let events = Arc::clone(&events);
        let options = VaultOptions::new().clock(Arc::clone(clock) as _);
        options
            .key_removal_delay(Duration::ZERO)
            .on_security_event(move |event: &SecurityEvent| {
                events.lock().unwrap().push(format!("{event:?}"));
            })
    };
    drop(options(&clocks[0]).create(Arc::clone(&storage), &Fixed(1)));
    let vaults: Vec<_> = clocks
        .iter()
        .map(|clock| {
            options(clock)
                .open(Arc::clone(&storage), &Fixed(1))
                .unwrap()
        })
        .collect();
    let large = vec![7; 3 << 20];
    for round in 0..6_usize {
        let (own, other) = (&vaults[round % 2], &vaults[(round + 1) % 2]);
        let id = record("MRN-1", "ImagingStudy/1");
        let mut writer = session(own).writer(&id);
        writer.write_all(&large).unwrap();
        let report = other.collect_garbage().unwrap();
        assert_eq!((report.uploads, report.uploads_under_way), (0, 1));
        other.rotate_master_key().unwrap();
        other.rotate_subject_key(&subject("MRN-1")).ok();
        assert_eq!(writer.finish(), Ok(round as u64 + 1));
        own.reencrypt().unwrap();
        assert!(session(other).get(&id).unwrap().unwrap()[..] == large[..]);
        for vault in &vaults {
            let report = vault.verify(None).unwrap();
            assert!(report.is_clean(), "{report:?}");
            let checkpoint = vault.checkpoint().unwrap();
            assert!(other.verify(Some(&checkpoint)).unwrap().is_clean());
        }
        for clock in &clocks {
            clock.advance(20_000);
        }
    }
    assert_eq!(*events.lock().unwrap(), [""; 0]);
    assert_eq!(key_usage(&vaults[0]), brute_force(&*storage));
}

/// Counts the round trips of a client to the server.
#[test]
fn put_makes_two_round_trips_and_get_one() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let proxy = FaultyProxy::delaying(server.port, Duration::ZERO);
    server.options_of("round_trips").migrate().unwrap();
    // One connection, so that its statements are prepared after the first operations.
    let storage = through(&proxy, "round_trips")
        .connections(1)
        .open()
        .unwrap();
    let vault = VaultOptions::new().without_background();
    let vault = vault.create(storage, &Fixed(1)).unwrap();
    let session = session(&vault);
    let id = |name: &str| RecordId::patient("MRN-1", name).unwrap();
    for name in ["a", "b"] {
        for _ in 0..3 {
            session.put(&id(name), b"120/80").unwrap();
            session.get(&id(name)).unwrap().unwrap();
        }
    }
    let trips_of = |work: &dyn Fn()| {
        let before = proxy.round_trips();
        work();
        proxy.round_trips() - before
    };
    assert_eq!(trips_of(&|| drop(session.get(&id("a")))), 1);
    assert_eq!(
        trips_of(&|| assert_eq!(session.put(&id("a"), b"x"), Ok(4))),
        2
    );
    assert_eq!(
        trips_of(&|| assert_eq!(session.put(&id("c"), b"x"), Ok(1))),
        2
    );
}

/// A conflict of one transaction costs the others more round trips, but not their commit.
#[test]
fn independent_transactions_of_one_call_share_a_round_trip() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let proxy = FaultyProxy::delaying(server.port, Duration::ZERO);
    server.options_of("batches").migrate().unwrap();
    let storage = through(&proxy, "batches").connections(1).open().unwrap();
    let put = |key: String| Transaction::new().put(key, b"1", Expect::Absent);
    let batch = |name: &str| -> Vec<_> { (0..200).map(|n| put(format!("{name}{n}"))).collect() };
    assert!(storage.commit(&batch("r")).iter().all(Result::is_ok));
    let before = proxy.round_trips();
    let results = storage.commit(&batch("h"));
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(proxy.round_trips() - before, 1);
    let mut mixed = batch("s");
    mixed[7] = put("h7".into());
    let results = storage.commit(&mixed);
    let failed: Vec<_> = (0..200).filter(|index| results[*index].is_err()).collect();
    assert_eq!(failed, [7]);
    let conflict = CommitError::Conflict { operation: 0 };
    assert_eq!(results[7], Err(conflict));
}
