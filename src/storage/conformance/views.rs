//! Checks of snapshots: a snapshot shows the state at its creation, and no later commit.

use crate::storage::conformance::scanning::{LARGE_BYTES, walk_by_end};
use crate::storage::conformance::{Check, Flaw, commit, ensure};
use crate::storage::{
    Expect, Projection, ScanItem, Snapshot, Storage, StorageError, Stored, Transaction,
};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("snapshots", snapshots),
    ("snapshots and destroying puts", destroying),
];

fn snapshots(storage: &dyn Storage) -> Result<(), Flaw> {
    let Some(empty) = snapshot(storage)? else {
        fill(storage)?;
        return ensure(
            snapshot(storage)?.is_none(),
            "a storage without snapshots made one later",
        );
    };
    fill(storage)?;
    let before = live(storage)?;
    let first = required(storage)?;
    change(storage)?;
    let after = live(storage)?;
    let second = required(storage)?;
    commit(storage, Transaction::new().delete(b"r6"))?;
    commit(storage, Transaction::new().put(b"s1", b"4", Expect::Any))?;
    for _ in 0..2 {
        compare(&*empty, &[])?;
        compare(&*first, &before)?;
        compare(&*second, &after)?;
    }
    drop((empty, first));
    compare(&*second, &after)?;
    ensure(
        live(storage)? != after,
        "a commit does not take effect while a snapshot exists",
    )
}

fn destroying(storage: &dyn Storage) -> Result<(), Flaw> {
    for key in [b"v".as_slice(), b"p1", b"r1", b"s1"] {
        commit(storage, Transaction::new().put(key, b"1", Expect::Any))?;
        let Some(snapshot) = snapshot(storage)? else {
            return Ok(());
        };
        let before = live(storage)?;
        let put = Transaction::new().put_destroying(key, b"2", Expect::Any);
        ensure(
            commit(storage, put)?.deferred,
            "a destroying put of an object that a snapshot sees does not report `deferred`",
        )?;
        compare(&*snapshot, &before)?;
    }
    Ok(())
}

/// Returns a snapshot; `None` if the storage does not support snapshots.
pub(super) fn snapshot(storage: &dyn Storage) -> Result<Option<Box<dyn Snapshot>>, Flaw> {
    match storage.snapshot() {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(StorageError::Unsupported) => Ok(None),
        Err(error) => Err(Flaw(format!("no snapshot was made: {error}"))),
    }
}

fn required(storage: &dyn Storage) -> Result<Box<dyn Snapshot>, Flaw> {
    snapshot(storage)?.ok_or_else(|| Flaw("a storage sometimes has no snapshots".to_owned()))
}

fn fill(storage: &dyn Storage) -> Result<(), Flaw> {
    for (key, bytes) in [
        (b"p1", 400),
        (b"r1", 10),
        (b"r2", 0),
        (b"r3", 20_000),
        (b"r4", 10),
        (b"s1", LARGE_BYTES),
        (b"s2", LARGE_BYTES),
    ] {
        let put = Transaction::new().put(key, vec![key[1]; bytes], Expect::Absent);
        commit(storage, put)?;
    }
    Ok(())
}

/// Replaces, deletes, creates and destroys objects.
fn change(storage: &dyn Storage) -> Result<(), Flaw> {
    let large = vec![3; LARGE_BYTES];
    let transaction = Transaction::new()
        .put(b"r1", b"3", Expect::Any)
        .delete(b"r2")
        .delete(b"r3")
        .put(b"r5", b"3", Expect::Absent)
        .put(b"r6", b"3", Expect::Absent);
    commit(storage, transaction)?;
    commit(storage, Transaction::new().put(b"r3", b"", Expect::Absent))?;
    let put = |key: &[u8]| Transaction::new().put_destroying(key, b"3", Expect::Any);
    commit(storage, put(b"p1"))?;
    commit(storage, put(b"r4"))?;
    commit(storage, Transaction::new().put(b"s1", large, Expect::Any))?;
    commit(storage, Transaction::new().delete(b"s2"))?;
    Ok(())
}

fn live(storage: &dyn Storage) -> Result<Vec<ScanItem>, Flaw> {
    walk_by_end(|scan| storage.scan(scan), b"", 100, Projection::Values)
}

/// Returns all objects in a snapshot.
pub(super) fn view_of(snapshot: &dyn Snapshot) -> Result<Vec<ScanItem>, Flaw> {
    walk_by_end(|scan| snapshot.scan(scan), b"", 3, Projection::Values)
}

/// Compares a snapshot with the objects at the time of its creation.
fn compare(snapshot: &dyn Snapshot, objects: &[ScanItem]) -> Result<(), Flaw> {
    ensure(
        view_of(snapshot)? == objects,
        "a scan of a snapshot does not return the objects at its creation",
    )?;
    let keys = walk_by_end(|scan| snapshot.scan(scan), b"r", 2, Projection::Head(0))?;
    let expected = objects.iter().filter(|item| item.key.starts_with(b"r"));
    ensure(
        keys.iter()
            .map(|item| (&item.key, item.length, &item.revision))
            .eq(expected.map(|item| (&item.key, item.length, &item.revision))),
        "a scan of a snapshot depends on its prefix or projection",
    )?;
    let keys: [&[u8]; 11] = [
        b"s2", b"s1", b"r7", b"r6", b"r5", b"r4", b"r3", b"r2", b"r1", b"p1", b"v",
    ];
    let expected = keys.map(|key| {
        let item = objects.iter().find(|item| item.key == key)?;
        Some(Stored {
            value: item.value.clone(),
            revision: item.revision.clone(),
        })
    });
    ensure(
        snapshot.read(&keys)? == expected,
        "a read of a snapshot does not return the objects at its creation",
    )
}
