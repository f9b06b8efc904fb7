//! Background work on a thread of the app.

use std::fs;
use std::sync::Arc;

use chartlock::internals::vault::cached_entries;
use chartlock::storage::{Projection, Scan, Storage};
use chartlock::{FileStorage, MemoryStorage, Vault, VaultOptions, storage::FileOptions};

use crate::common::child::{assert_success, child, directory_from_parent};
use crate::common::clock::ManualClock;
use crate::common::{Fixed, record, session};

fn pages(storage: &MemoryStorage) -> usize {
    let scan = Scan {
        prefix: b"j",
        after: None,
        limit: 1000,
        projection: Projection::Keys,
    };
    storage.scan(scan).unwrap().items.len()
}

#[test]
fn upkeep_by_app_writes_entries_and_evicts_keys() {
    let storage = Arc::new(MemoryStorage::new());
    let clock = Arc::new(ManualClock::default());
    let options = VaultOptions::new().clock(Arc::<ManualClock>::clone(&clock));
    let options = options.upkeep_by_app();
    let vault = options.create(Arc::clone(&storage), &Fixed(1)).unwrap();
    let id = record("MRN-1042", "note");
    session(&vault).put(&id, b"one").unwrap();
    vault.run_upkeep();
    let before = pages(&storage);
    session(&vault).get(&id).unwrap();
    assert_eq!(pages(&storage), before, "the entry of the read waits");
    vault.run_upkeep();
    assert_eq!(pages(&storage), before + 1);
    vault.run_upkeep();
    assert_eq!(pages(&storage), before + 1, "nothing is due");

    assert_eq!(cached_entries(&vault), 1);
    clock.advance(61_000);
    vault.run_upkeep();
    assert_eq!(cached_entries(&vault), 0);
    vault.close().unwrap();
    vault.run_upkeep();
}

/// Returns the number of threads of this process.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

#[cfg(target_os = "linux")]
#[test]
fn many_vaults_with_upkeep_by_app_start_no_thread() {
    let Some(directory) = directory_from_parent() else {
        let scratch = crate::common::scratch::quick();
        let name = "upkeep::many_vaults_with_upkeep_by_app_start_no_thread";
        return assert_success(child(name, scratch.path()));
    };
    let before = threads();
    let vaults: Vec<Vault> = (0..50)
        .map(|tenant| {
            let storage = FileOptions::new().without_scrub();
            let storage = storage.open(directory.join(tenant.to_string())).unwrap();
            let options = VaultOptions::new().upkeep_by_app();
            options.create(storage, &Fixed(1)).unwrap()
        })
        .collect();
    for vault in &vaults {
        let id = record("MRN-1042", "note");
        session(vault).put(&id, b"one").unwrap();
        session(vault).get(&id).unwrap();
    }
    vaults.iter().for_each(Vault::run_upkeep);
    assert_eq!(threads(), before);

    // By default a vault has one thread, and a `FileStorage` another one.
    let storage = FileStorage::open(directory.join("other")).unwrap();
    let vault = Vault::create(storage, &Fixed(1)).unwrap();
    session(&vault).get(&record("MRN-1042", "note")).unwrap();
    assert_eq!(threads(), before + 2);
    for vault in &vaults {
        vault.close().unwrap();
    }
}
