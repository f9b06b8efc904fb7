//! Checks with several threads: no lost updates, one winner in each race, no partly visible
//! transactions, complete scans, and consistent snapshots.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::storage::conformance::scanning::walk;
use crate::storage::conformance::views::{snapshot, view_of};
use crate::storage::conformance::{Check, Flaw, commit, ensure, present, value};
use crate::storage::{CommitError, Expect, Storage, Transaction};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("concurrent counter", counter),
    ("concurrent creation", creation),
    ("concurrent transactions", whole_transactions),
    ("concurrent scan", scan_while_writing),
    ("concurrent snapshots", snapshots_while_writing),
];

const THREADS: u8 = 4;
const TURNS: u64 = 15;

fn counter(storage: &dyn Storage) -> Result<(), Flaw> {
    let zero = Transaction::new().put(b"r1", 0_u64.to_be_bytes(), Expect::Absent);
    commit(storage, zero)?;
    in_threads(|_| (0..TURNS).try_for_each(|_| increment(storage)))?;
    let expected = u64::from(THREADS) * TURNS;
    ensure(
        present(storage, b"r1")?.value == expected.to_be_bytes(),
        "an update was lost or applied twice",
    )
}

fn increment(storage: &dyn Storage) -> Result<(), Flaw> {
    loop {
        let current = present(storage, b"r1")?;
        let count = <[u8; 8]>::try_from(current.value.as_slice())
            .map(u64::from_be_bytes)
            .map_err(|_| Flaw("a value was torn".to_owned()))?;
        let next = Transaction::new().put(
            b"r1",
            (count + 1).to_be_bytes(),
            Expect::Unchanged(current.revision),
        );
        match commit(storage, next) {
            Ok(_) => return Ok(()),
            Err(CommitError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn creation(storage: &dyn Storage) -> Result<(), Flaw> {
    for round in 0..TURNS {
        let key = [b"p".as_slice(), &round.to_be_bytes()].concat();
        let winners = in_threads(|number| {
            let put = Transaction::new().put(key.clone(), [number], Expect::Absent);
            match commit(storage, put) {
                Ok(_) => Ok(Some(number)),
                Err(CommitError::Conflict { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })?;
        let winners: Vec<_> = winners.into_iter().flatten().collect();
        ensure(
            winners.len() == 1,
            "of several threads that created one key, not exactly one succeeded",
        )?;
        ensure(
            value(storage, &key)? == Some(winners),
            "the stored value is not the winner's",
        )?;
    }
    Ok(())
}

fn whole_transactions(storage: &dyn Storage) -> Result<(), Flaw> {
    if !storage.is_transactional() {
        return Ok(());
    }
    commit(storage, pair([0; 9]))?;
    let equal = || {
        let results = storage.read(&[b"r1", b"p1"])?;
        let [Some(one), Some(other)] = results.as_slice() else {
            return Err(Flaw("a key that was written is absent".to_owned()));
        };
        ensure(
            one.value == other.value,
            "a read returned a partly applied transaction of another thread",
        )
    };
    in_threads(|number| {
        (0..TURNS).try_for_each(|turn| {
            commit(storage, pair(content(number, turn)))?;
            (0..5).try_for_each(|_| equal())
        })
    })?;
    equal()
}

fn pair(content: [u8; 9]) -> Transaction {
    Transaction::new()
        .put(b"r1", content, Expect::Any)
        .put(b"p1", content, Expect::Any)
}

fn content(thread: u8, turn: u64) -> [u8; 9] {
    let mut content = [thread; 9];
    content[1..].copy_from_slice(&turn.to_be_bytes());
    content
}

fn snapshots_while_writing(storage: &dyn Storage) -> Result<(), Flaw> {
    if !storage.is_transactional() || snapshot(storage)?.is_none() {
        return Ok(());
    }
    commit(storage, pair([0; 9]))?;
    in_threads(|number| {
        (0..TURNS).try_for_each(|turn| {
            commit(storage, pair(content(number, turn)))?;
            let Some(snapshot) = snapshot(storage)? else {
                return Err(Flaw("a storage sometimes has no snapshots".to_owned()));
            };
            let first = view_of(&*snapshot)?;
            ensure(
                first.len() == 2,
                "a snapshot lacks a key that was present throughout",
            )?;
            ensure(
                first.windows(2).all(|two| match two {
                    [one, other] => one.value == other.value,
                    _ => false,
                }),
                "a snapshot contains a partly applied transaction of another thread",
            )?;
            commit(storage, pair(content(number, turn + TURNS)))?;
            ensure(
                view_of(&*snapshot)? == first,
                "a snapshot changed when another thread wrote",
            )
        })
    })
    .map(drop)
}

fn scan_while_writing(storage: &dyn Storage) -> Result<(), Flaw> {
    let key = |kind: u8, number: u8| [b'r', number, kind];
    for number in 0..60 {
        let put = Transaction::new().put(key(b's', number), [number], Expect::Absent);
        commit(storage, put)?;
    }
    let done = AtomicBool::new(false);
    in_threads(|thread| {
        if thread == 0 {
            let result = (0..TURNS).try_for_each(|_| {
                let stable = walk(storage, b"r", None, 7)?
                    .iter()
                    .filter(|item| item.key.ends_with(b"s"))
                    .count();
                ensure(
                    stable == 60,
                    "a scan missed a key that was present throughout",
                )
            });
            done.store(true, Ordering::SeqCst);
            return result;
        }
        (0..60)
            .cycle()
            .try_for_each(|number| {
                if done.load(Ordering::SeqCst) {
                    return Err(None);
                }
                let put = Transaction::new().put(key(thread, number), [number], Expect::Any);
                let delete = Transaction::new().delete(key(thread, number));
                commit(storage, put).map_err(|error| Some(error.into()))?;
                commit(storage, delete).map_err(|error| Some(error.into()))?;
                Ok(())
            })
            .or_else(|stop: Option<Flaw>| stop.map_or(Ok(()), Err))
    })
    .map(drop)
}

/// Runs a closure in several threads, with the index of each thread. A barrier starts all threads
/// together. Otherwise, the first threads could finish before a race can occur.
fn in_threads<T: Send>(run: impl Fn(u8) -> Result<T, Flaw> + Sync) -> Result<Vec<T>, Flaw> {
    let start = Barrier::new(usize::from(THREADS));
    thread::scope(|scope| {
        let (run, start) = (&run, &start);
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                scope.spawn(move || {
                    start.wait();
                    run(number)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(Flaw("panicked".to_owned())))
            })
            .collect()
    })
}
