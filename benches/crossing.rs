//! Program with one put and one get, for a call tracer: `.ci/crossing` counts the source files that
//! each call passes through.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use chartlock::keys::Passphrase;
use chartlock::{Actor, MemoryStorage, Purpose, RecordId, Vault};

#[inline(never)]
fn measured_put(put: &dyn Fn()) {
    put();
    black_box(());
}

#[inline(never)]
fn measured_get(get: &dyn Fn()) {
    get();
    black_box(());
}

fn main() {
    let storage = MemoryStorage::new();
    let vault = Vault::create(storage, &Passphrase::new("correct horse battery staple")).unwrap();
    let session = vault.session(Actor::new("dr.garcia").unwrap(), Purpose::Treatment);
    let id = RecordId::patient("MRN-1042", "Observation/bp").unwrap();
    // The first put creates the patient entry; the measured put writes the next version.
    session.put(&id, b"{}").unwrap();
    measured_put(&|| assert_eq!(session.put(&id, b"{}").unwrap(), 2));
    measured_get(&|| assert!(session.get(&id).unwrap().is_some()));
}
