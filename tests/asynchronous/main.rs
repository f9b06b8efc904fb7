//! The async façade: operations, readers and writers, dropped futures, and runtimes.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod cancellation;
#[path = "../common/mod.rs"]
mod common;
mod gated;
mod operations;
mod readers;
mod runtimes;
#[cfg(feature = "tracing")]
mod spans;
mod writers;

use bytes::Bytes;
use chartlock::asynchronous::{AsyncSession, AsyncVault};
use chartlock::storage::{Projection, Scan, Storage};
use chartlock::{MemoryStorage, Purpose, RecordId, Vault};
use common::{Fixed, actor};

fn vault_in(storage: impl Storage + 'static) -> AsyncVault {
    Vault::create(storage, &Fixed(1)).unwrap().into()
}

fn vault() -> AsyncVault {
    vault_in(MemoryStorage::new())
}

fn session(vault: &AsyncVault) -> AsyncSession {
    vault.session(actor("dr.garcia"), Purpose::Treatment)
}

fn id(name: &str) -> RecordId {
    common::record("MRN-1042", name)
}

/// Returns content of a length, in which each part differs from the others.
fn content(length: usize) -> Bytes {
    (0..length).map(|at| (at / 7 % 251) as u8).collect()
}

/// Returns the number of objects whose storage keys begin with a prefix.
fn count(storage: &impl Storage, prefix: &[u8]) -> usize {
    let scan = Scan {
        prefix,
        after: None,
        limit: 1000,
        projection: Projection::Head(0),
    };
    storage.scan(scan).unwrap().items.len()
}
