//! Checks of the state of a storage as a whole: integrity, exclusive use, closing, and reopening.

use crate::storage::conformance::scanning::{LARGE_BYTES, walk, walk_by_end};
use crate::storage::conformance::{Check, Flaw, commit, ensure, value};
use crate::storage::{
    CommitError, Expect, Integrity, Projection, Scan, Storage, StorageError, Transaction,
};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("integrity", integrity),
    ("exclusive use", exclusive),
    ("close", close),
];

fn integrity(storage: &dyn Storage) -> Result<(), Flaw> {
    let clean = || match storage.integrity() {
        Ok(integrity) => ensure(
            integrity.is_clean(),
            "the integrity check of a storage without damage found faults",
        ),
        Err(StorageError::Unsupported) => Ok(()),
        Err(error) => Err(Flaw(format!("the integrity check failed: {error}"))),
    };
    clean()?;
    fill(storage)?;
    clean()
}

fn exclusive(storage: &dyn Storage) -> Result<(), Flaw> {
    let before = storage.is_exclusive();
    fill(storage)?;
    ensure(
        storage.is_exclusive() == before,
        "is_exclusive changes while the storage is open",
    )
}

/// Writes small and large objects, and replaces, deletes and destroys some.
fn fill(storage: &dyn Storage) -> Result<(), Flaw> {
    for key in [b"p1", b"r1", b"r2", b"r3", b"s1", b"s2"] {
        let bytes = if key.starts_with(b"s") {
            LARGE_BYTES
        } else {
            500
        };
        let put = Transaction::new().put(key, vec![1; bytes], Expect::Any);
        commit(storage, put)?;
    }
    let put = Transaction::new().put(b"r1", b"2", Expect::Any);
    commit(storage, put.delete(b"r2"))?;
    // Use one operation, because the vault changes a segment in a transaction of its own.
    commit(storage, Transaction::new().delete(b"s1"))?;
    let put = Transaction::new().put_destroying(b"p1", b"2", Expect::Any);
    commit(storage, put)?;
    Ok(())
}

/// Reaction of a closed storage to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closed {
    /// The storage needs no closing, so the call succeeded.
    Serves,
    /// The call was refused because the storage is closed.
    Refuses,
}

fn close(storage: &dyn Storage) -> Result<(), Flaw> {
    fill(storage)?;
    storage.close()?;
    ensure(
        storage.close().is_ok(),
        "closing a storage twice returns an error",
    )?;
    let read = closed(storage.read(&[b"r1"]), |results| {
        let results = results.iter().flatten();
        results.map(|stored| &*stored.value).eq([b"2"])
    })?;
    let scan = Scan {
        prefix: b"r",
        after: None,
        limit: 1,
        projection: Projection::Values,
    };
    let scan = closed(storage.scan(scan), |page| {
        page.items.iter().map(|item| &*item.key).eq([b"r1"])
    })?;
    let last = closed(storage.last(&[b"r"]), |keys| {
        *keys == [Some(b"r3".to_vec())]
    })?;
    let put = Transaction::new().put(b"r4", b"1", Expect::Absent);
    let committed = commit(storage, put).map_err(|error| match error {
        CommitError::Io(error) => error,
        // A closed storage must return neither of these errors.
        CommitError::Conflict { .. } | CommitError::Unknown => StorageError::Damaged,
    });
    let committed = closed(committed, |committed| committed.revisions.len() == 1)?;
    ensure(
        [scan, last, committed] == [read; 3],
        "a closed storage serves some calls and refuses others",
    )?;
    if committed == Closed::Serves {
        ensure(
            value(storage, b"r4")? == Some(b"1".to_vec()),
            "a storage that was closed acknowledged a commit without effect",
        )?;
    }
    after_close(storage, read)
}

/// Checks `snapshot` and `integrity` after closing. The default functions of [`Storage`] return the
/// same result before and after closing.
fn after_close(storage: &dyn Storage, state: Closed) -> Result<(), Flaw> {
    match (storage.snapshot(), state) {
        (Err(StorageError::Unsupported), _)
        | (Ok(_), Closed::Serves)
        | (Err(StorageError::Stopped), Closed::Refuses) => {}
        (Ok(_), Closed::Refuses) => {
            return Err(Flaw("a closed storage makes a snapshot".to_owned()));
        }
        (Err(error), _) => return Err(error.into()),
    }
    match storage.integrity() {
        Err(StorageError::Unsupported) => {}
        integrity => drop(closed(integrity, Integrity::is_clean)?),
    }
    storage.close()?;
    Ok(())
}

fn closed<T>(
    result: Result<T, StorageError>,
    is_right: impl Fn(&T) -> bool,
) -> Result<Closed, Flaw> {
    match result {
        Ok(result) => {
            ensure(
                is_right(&result),
                "a storage that was closed returns a wrong result instead of an error",
            )?;
            Ok(Closed::Serves)
        }
        Err(StorageError::Stopped) => Ok(Closed::Refuses),
        Err(error) => Err(Flaw(format!(
            "a closed storage does not return the error `Stopped`: {error}"
        ))),
    }
}

/// Compares the content after each reopening with the content before.
pub(super) fn reopening<S: Storage>(open: impl Fn() -> S) -> Result<(), Flaw> {
    let storage = open();
    ensure(
        walk(&storage, b"", None, 100)?.is_empty(),
        "the storage is not empty at the first opening",
    )?;
    fill(&storage)?;
    let mut expected = content(&storage)?;
    storage.close()?;
    drop(storage);
    for round in 0..4_u8 {
        let storage = open();
        ensure(
            content(&storage)? == expected,
            "a storage that was opened again does not contain what was acknowledged",
        )?;
        let put = Transaction::new().put([b'h', round], vec![round; 1000], Expect::Absent);
        commit(&storage, put)?;
        let put = Transaction::new().put(b"s2", vec![round; LARGE_BYTES], Expect::Any);
        commit(&storage, put)?;
        commit(
            &storage,
            Transaction::new().put(b"r1", [round], Expect::Any),
        )?;
        expected = content(&storage)?;
        // Close the storage in every second round only, because a dropped storage must also keep
        // its content.
        if round.is_multiple_of(2) {
            storage.close()?;
        }
    }
    ensure(
        content(&open())? == expected,
        "a storage that was opened again does not contain what was acknowledged",
    )
}

/// Keys and values of all objects. Revisions are omitted, because reopening may change them.
type Content = Vec<(Vec<u8>, Vec<u8>)>;

fn content(storage: &dyn Storage) -> Result<Content, Flaw> {
    let items = walk_by_end(|scan| storage.scan(scan), b"", 100, Projection::Values)?;
    Ok(items
        .into_iter()
        .map(|item| (item.key, item.value.into()))
        .collect())
}
