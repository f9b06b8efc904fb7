//! Cost of a verification in storage calls and objects. The cost grows in proportion to the stored
//! objects and the journal entries, whatever an attacker stores.

use std::sync::Arc;

use chartlock::storage::{Expect, Storage, Transaction};
use chartlock::verify::JournalFault;
use chartlock::{Document, Journaling, Vault};

use super::bounds::planted_page;
use super::{clinic, faults};
use crate::common::counting::{Cost, Counting};
use crate::common::{Fixed, Shared, accept_restore};
use crate::raw;
use crate::stage::{Stage, record, session_on};

/// Returns 16 bytes that depend on a number, in no order.
fn scattered(number: u64) -> [u8; 16] {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mixed.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn put_all(storage: &Shared, keys: impl Iterator<Item = Vec<u8>>) {
    let value = planted_page(storage);
    let puts = keys.map(|key| Transaction::new().put(key, &value[..], Expect::Any));
    for outcome in storage.commit(&puts.collect::<Vec<_>>()) {
        outcome.unwrap();
    }
}

/// Stores pages that open under no key, each in a chain of its own.
fn plant_chains(storage: &Shared, pages: u64) {
    let keys = (0..pages).map(|page| [b"j", &scattered(page)[..], &[0; 8]].concat());
    put_all(storage, keys);
}

/// Stores current versions in charts of no patient entry.
fn plant_records(storage: &Shared, records: u64) {
    let keys = (0..records).map(|n| [b"r", &scattered(n)[..], &scattered(n)[..]].concat());
    put_all(storage, keys);
}

/// Stores patient entries that do not open, half of them under a master key that the vault does not have.
fn plant_entries(storage: &Shared, entries: u64) {
    let puts = (0..entries).map(|n| {
        let key = [b"p", &scattered(n)[..]].concat();
        let value = [
            &[1, 1, 16, 0, 1 + 8 * (n % 2) as u8, 0, 0, 0],
            &[7; 192][..],
        ]
        .concat();
        Transaction::new().put(key, value, Expect::Any)
    });
    for outcome in storage.commit(&puts.collect::<Vec<_>>()) {
        outcome.unwrap();
    }
}

/// Returns the costs of a verification and of an accepted restore, of a vault opened anew.
fn costs(stage: &Stage) -> [Cost; 2] {
    let counting = Arc::new(Counting::new(stage.shared()));
    let vault = stage.options().open(Arc::clone(&counting), &Fixed(1));
    let vault = vault.unwrap();
    let verify = counting.cost_of(|| drop(vault.verify(None).unwrap()));
    let accept = counting.cost_of(|| {
        let session = session_on(&vault);
        accept_restore(&session, "disk failure").unwrap();
    });
    [verify, accept]
}

/// Alters a record, so that verification reads some objects again.
fn alter_record(stage: &Stage) {
    let (key, mut value) = raw::objects_of(&stage.storage, b"r").pop_first().unwrap();
    *value.last_mut().unwrap() ^= 1;
    raw::put(&stage.storage, &key, &value);
}

#[test]
fn planted_chains_cost_at_most_twice_as_much_as_honest_pages() {
    const PAGES: u64 = 3000;
    let honest = Stage::memory();
    let vault = honest.create_by(honest.options().journaling(Journaling::Strict));
    clinic(&vault);
    for _ in 0..PAGES {
        session_on(&vault)
            .get(&record("MRN-1", "Allergy/1"))
            .unwrap();
    }
    drop(vault);
    let planted = Stage::memory();
    clinic(&planted.create());
    plant_chains(&planted.storage, PAGES);
    [&honest, &planted].into_iter().for_each(alter_record);
    let honest = costs(&honest);
    for (honest, planted) in honest.iter().zip(&costs(&planted)) {
        assert!(planted.is_within(2.0, honest), "{planted:?} {honest:?}");
    }
}

#[test]
fn planted_pages_are_accepted_with_restore() {
    // More findings than one page can accept.
    const PAGES: u64 = 12_000;
    let stage = Stage::memory();
    let vault = stage.create();
    clinic(&vault);
    plant_chains(&stage.storage, PAGES);
    let session = session_on(&vault);
    let report = accept_restore(&session, "disk failure").unwrap();
    assert_eq!(report.differed.journal.len() as u64, PAGES);
    drop(vault);
    let report = stage.open().verify(None).unwrap();
    assert!(report.is_clean(), "{:?}", report.journal.first());
    plant_chains(&stage.storage, PAGES + 1);
    let report = stage.open().verify(None).unwrap();
    assert_eq!(faults(&report), [JournalFault::Altered]);
}

/// Planted objects share storage calls, and a planted entry is read in one scan and in one recheck.
#[test]
fn planted_objects_share_storage_calls() {
    const OBJECTS: u64 = 3000;
    type Plant = fn(&Shared, u64);
    let plants: [(Plant, usize); 3] = [(plant_chains, 10), (plant_records, 10), (plant_entries, 4)];
    for (plant, readings) in plants {
        let stage = Stage::memory();
        clinic(&stage.create());
        plant(&stage.storage, OBJECTS);
        let counting = Arc::new(Counting::new(stage.shared()));
        let vault = stage.options().open(Arc::clone(&counting), &Fixed(1));
        let vault = vault.unwrap();
        let mut findings = 0;
        let cost = counting.cost_of(|| {
            let report = vault.verify(None).unwrap();
            findings = report.journal.len() + report.records.len() + report.unattested.len();
            findings += report.entries.len();
        });
        assert!(findings as u64 >= OBJECTS);
        assert!(cost.calls < OBJECTS as usize / 5, "{cost:?}");
        assert!(
            cost.objects < readings * OBJECTS as usize + 1000,
            "{cost:?}"
        );
    }
}

/// Stores `records` records in each of 50 charts, and as many journal entries.
fn records_in_charts(stage: &Stage, records: u64) {
    put_in_charts(&stage.create(), records);
}

fn put_in_charts(vault: &Vault, records: u64) {
    for chart in 0..50 {
        let ids: Vec<_> = (0..records / 50)
            .map(|n| record(&format!("MRN-{chart}"), &format!("Observation/{n}")))
            .collect();
        let documents = ids.iter().map(|id| (id, Document::from(b"120/80")));
        session_on(vault).put_many(documents).unwrap();
    }
}

/// Each object of an altered record is read twice, and some keys of the journal are listed again.
#[test]
fn altered_records_cost_about_twice_as_much_as_honest_ones() {
    for versions in 1..=2 {
        let [honest, altered] = [(), ()].map(|()| {
            let stage = Stage::memory();
            records_in_charts(&stage, 2000);
            for _ in 1..versions {
                put_in_charts(&stage.open(), 2000);
            }
            stage
        });
        for (key, mut value) in raw::objects_of(&altered.storage, b"r") {
            *value.last_mut().unwrap() ^= 1;
            raw::put(&altered.storage, &key, &value);
        }
        let [honest, altered] = [honest, altered].map(|stage| {
            let [verify, _] = costs(&stage);
            verify
        });
        assert!(altered.is_within(2.2, &honest), "{altered:?} {honest:?}");
    }
}

/// Compares the cost of twice as many objects with the cost of `objects`.
#[track_caller]
fn assert_in_proportion(objects: u64, stage_of: impl Fn(u64) -> Stage) {
    let once = costs(&stage_of(objects));
    for (once, twice) in once.iter().zip(&costs(&stage_of(2 * objects))) {
        assert!(twice.is_within(2.2, once), "{twice:?} {once:?}");
    }
}

#[test]
fn cost_of_planted_records_is_in_proportion() {
    assert_in_proportion(2000, |records| {
        let stage = Stage::memory();
        records_in_charts(&stage, records);
        plant_records(&stage.storage, records);
        plant_chains(&stage.storage, records);
        stage
    });
}

#[test]
fn cost_of_removed_records_is_in_proportion() {
    assert_in_proportion(2000, |records| {
        let stage = Stage::memory();
        records_in_charts(&stage, records);
        let mut objects = raw::all_objects(&stage.storage);
        objects.retain(|key, _| key[0] != b'r');
        raw::reset(&stage.storage, &objects);
        stage
    });
}

#[test]
fn cost_of_removed_versions_is_in_proportion() {
    assert_in_proportion(500, |versions| {
        let stage = Stage::memory();
        let vault = stage.create();
        for _ in 0..versions {
            let id = record("MRN-1", "Observation/1");
            session_on(&vault).put(&id, b"120/80").unwrap();
        }
        drop(vault);
        let mut objects = raw::all_objects(&stage.storage);
        objects.retain(|key, _| key[0] != b'h');
        raw::reset(&stage.storage, &objects);
        stage
    });
}
