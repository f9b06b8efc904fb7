//! Direct access to the objects of a storage, without a vault.

use std::collections::BTreeMap;

use chartlock::storage::{Expect, Projection, Scan, Storage, Transaction};

/// Stored values, ordered by their storage keys.
pub(crate) type Objects = BTreeMap<Vec<u8>, Vec<u8>>;

/// Scans all objects under a prefix, page by page, and returns their keys and values in scan order.
pub(crate) fn scan_all(
    storage: &dyn Storage,
    prefix: &[u8],
    projection: Projection,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    loop {
        let after = found.last().map(|(key, _)| key.clone());
        let scan = Scan {
            prefix,
            after: after.as_deref(),
            limit: 1000,
            projection,
        };
        let page = storage.scan(scan).unwrap();
        let items = page.items.into_iter();
        found.extend(items.map(|item| (item.key, item.value.into())));
        if !page.more {
            return found;
        }
    }
}

/// Returns all objects under a prefix, as a map from storage key to value.
pub(crate) fn objects_of(storage: &dyn Storage, prefix: &[u8]) -> Objects {
    let found = scan_all(storage, prefix, Projection::Values).into_iter();
    found.collect()
}

/// Returns all objects of a storage.
pub(crate) fn all_objects(storage: &dyn Storage) -> Objects {
    objects_of(storage, b"")
}

/// Returns all keys under a prefix, in scan order.
pub(crate) fn keys_of(storage: &dyn Storage, prefix: &[u8]) -> Vec<Vec<u8>> {
    let found = scan_all(storage, prefix, Projection::Keys).into_iter();
    found.map(|(key, _)| key).collect()
}

/// Returns the value stored under a key; `None` if no such object exists.
pub(crate) fn value_of(storage: &dyn Storage, key: &[u8]) -> Option<Vec<u8>> {
    let stored = storage.read(&[key]).unwrap().pop().unwrap();
    stored.map(|stored| stored.value.into())
}

/// Replaces the content of a storage with exactly these objects.
pub(crate) fn reset(storage: &dyn Storage, to: &Objects) {
    let present = all_objects(storage);
    let gone = present.keys().filter(|key| !to.contains_key(*key));
    let deletes = gone.map(|key| Transaction::new().delete(&key[..]));
    let changed = to
        .iter()
        .filter(|(key, value)| present.get(*key) != Some(value));
    let puts =
        changed.map(|(key, value)| Transaction::new().put(&key[..], &value[..], Expect::Any));
    let transactions: Vec<_> = deletes.chain(puts).collect();
    for result in storage.commit(&transactions) {
        result.unwrap();
    }
}

/// Puts a value without a precondition.
pub(crate) fn put(storage: &dyn Storage, key: &[u8], value: &[u8]) {
    commit(storage, Transaction::new().put(key, value, Expect::Any));
}

/// Deletes an object.
pub(crate) fn delete(storage: &dyn Storage, key: &[u8]) {
    commit(storage, Transaction::new().delete(key));
}

fn commit(storage: &dyn Storage, transaction: Transaction) {
    storage.commit(&[transaction]).pop().unwrap().unwrap();
}
