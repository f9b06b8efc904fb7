//! Cloned machine: two copies of one vault and process draw the same random bytes. Headers, patient
//! entries and journal pages with other content still get other salts, and so other keys. Records do
//! not: SECURITY.md says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use chartlock::internals::crypto::with_repeated_draws;
use chartlock::storage::{FaultAction, FaultPoint};
use chartlock::{RecordId, Vault, VaultOptions};

use crate::common::Fixed;
use crate::common::clock::{ManualClock, NOON};
use crate::key_reuse::{Sent, log_puts, ring_salt};
use crate::raw::{self, Objects};
use crate::stage::{Stage, record, session_on, subject};

/// Values of all puts, by class of the storage key.
type Values = BTreeMap<u8, Vec<(Vec<u8>, Vec<u8>)>>;

fn options(stage: &Stage) -> VaultOptions {
    let clock = Arc::new(ManualClock::at(NOON));
    stage.options().clock(clock)
}

fn id() -> RecordId {
    record("MRN-1", "Observation/1")
}

/// Lets one clone of the machine act on a copy of the storage, with the same random bytes as each
/// other clone.
fn on_clone(stage: &Stage, copy: &Objects, act: impl FnOnce(&Vault)) -> Values {
    raw::reset(&stage.storage, copy);
    let sent = Sent::default();
    with_repeated_draws(1, || {
        let log = Arc::clone(&sent);
        let hook = move |_, point: &FaultPoint<'_>| {
            log_puts(&log, point);
            FaultAction::Proceed
        };
        let (vault, _) = stage.open_faulty(options(stage), hook);
        act(&vault);
    });
    let mut values = Values::new();
    for (key, value) in sent.lock().unwrap().drain(..) {
        values.entry(key[0]).or_default().push((key, value));
    }
    values
}

fn prepared() -> (Stage, Objects) {
    let stage = Stage::memory();
    let vault = options(&stage).create(stage.shared(), &Fixed(1)).unwrap();
    session_on(&vault).put(&id(), b"before").unwrap();
    drop(vault);
    let copy = raw::all_objects(&stage.storage);
    (stage, copy)
}

/// Returns the salts of two values in one place, after checking that the values differ.
fn salts(one: &Values, other: &Values, class: u8) -> [[u8; 32]; 2] {
    let ((key, value), (other_key, other_value)) = (&one[&class][0], &other[&class][0]);
    assert_eq!(key, other_key, "the clones wrote to two places");
    assert!(value != other_value, "the clones wrote the same value");
    [value, other_value].map(|value| match class {
        b'v' => ring_salt(value).try_into().unwrap(),
        _ => value[8..40].try_into().unwrap(),
    })
}

#[test]
fn journal_pages_of_clones_have_different_salts() {
    let (stage, copy) = prepared();
    let put = |content: &'static [u8]| {
        on_clone(&stage, &copy, |vault| {
            session_on(vault).put(&id(), content).unwrap();
        })
    };
    let [one, other] = [put(b"one"), put(b"two")].map(|values| salts_of(&values, b'j'));
    assert_ne!(one, other);
    // The same act on both clones gives the same page.
    assert_eq!(one, salts_of(&put(b"one"), b'j'));
}

fn salts_of(values: &Values, class: u8) -> Vec<[u8; 32]> {
    let salts = values[&class].iter();
    let salts = salts.map(|(_, value)| value[8..40].try_into().unwrap());
    salts.collect()
}

#[test]
fn patient_entries_of_clones_have_different_salts() {
    let (stage, copy) = prepared();
    let hold = |reason: &'static str| {
        on_clone(&stage, &copy, |vault| {
            session_on(vault)
                .place_hold(&subject("MRN-1"), reason)
                .unwrap();
        })
    };
    let (one, other) = (hold("subpoena 1"), hold("subpoena 2"));
    for class in *b"pj" {
        let [salt, other_salt] = salts(&one, &other, class);
        assert_ne!(salt, other_salt);
    }
}

#[test]
fn headers_of_clones_have_different_salts() {
    let (stage, copy) = prepared();
    let value = &copy[&b"v"[..]];
    let (header, keyring) = raw::header(value, &Fixed(1));
    let root = header.unlock(&Fixed(1)).unwrap().root;
    let seal = |generation, keyring| {
        with_repeated_draws(1, || {
            header.sealed_with(&root, keyring, generation).unwrap()
        })
    };
    let other_keyring = {
        let vault = stage.open();
        vault.rotate_master_key().unwrap();
        raw::header(&raw::header_value(&stage.storage), &Fixed(1)).1
    };
    let salt = |value: Vec<u8>| ring_salt(&value);
    let first = salt(seal(7, &keyring));
    assert_eq!(first, salt(seal(7, &keyring)));
    assert_ne!(first, salt(seal(8, &keyring)));
    assert_ne!(first, salt(seal(7, &other_keyring)));
}

/// The data key of a record comes from the system's generator alone. A cloned machine that repeats
/// its random bytes seals two contents of one version under one key.
#[test]
fn records_of_clones_share_data_keys() {
    let (stage, copy) = prepared();
    let put = |content: &'static [u8]| {
        on_clone(&stage, &copy, |vault| {
            session_on(vault).put(&id(), content).unwrap();
        })
    };
    let commitment = |values: Values| {
        let values = &values[&b'r'];
        values[0].1[16..48].to_vec()
    };
    assert_eq!(commitment(put(b"one")), commitment(put(b"two")));
}
