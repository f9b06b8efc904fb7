//! Backups with the tools of PostgreSQL and with archives, and restores from them.

use std::io::Cursor;

use chartlock::Vault;
use chartlock::storage::archive;
use chartlock::verify::CheckpointState;

use crate::common::postgres_server::{Server, shared};
use crate::common::{Fixed, accept_restore, record, session};

fn put(vault: &Vault, name: &str) {
    let id = record("MRN-1", name);
    session(vault).put(&id, name.as_bytes()).unwrap();
}

fn get(vault: &Vault, name: &str) -> Option<Vec<u8>> {
    let found = session(vault).get(&record("MRN-1", name)).unwrap();
    found.map(|record| record.to_vec())
}

/// Opens the vault in a schema, and creates it first if needed.
fn vault(server: &Server, schema: &str, is_new: bool) -> Vault {
    let options = server.options_of(schema);
    if is_new {
        options.migrate().unwrap();
        return Vault::create(options.open().unwrap(), &Fixed(1)).unwrap();
    }
    Vault::open(options.open().unwrap(), &Fixed(1)).unwrap()
}

/// A restored dump is a rollback, which a checkpoint reveals until the restore is accepted.
#[test]
fn restored_dump_is_clean_once_it_is_accepted() {
    let Some(server) = shared() else {
        return;
    };
    let first = vault(server, "dumped", true);
    put(&first, "Observation/1");
    drop(first);
    let dump = server.dump("dumped");
    let later = vault(server, "dumped", false);
    put(&later, "Observation/2");
    let checkpoint = later.checkpoint().unwrap();
    drop(later);
    assert!(server.psql("drop schema dumped cascade").0);
    assert!(server.psql(&dump).0);
    let restored = vault(server, "dumped", false);
    assert!(get(&restored, "Observation/1").is_some());
    assert_eq!(get(&restored, "Observation/2"), None);
    let report = restored.verify(Some(&checkpoint)).unwrap();
    assert!(!report.is_clean());
    accept_restore(&session(&restored), "point in time of yesterday").unwrap();
    put(&restored, "Observation/2");
    let report = restored.verify(Some(&checkpoint)).unwrap();
    assert_eq!(report.checkpoint, Some(CheckpointState::BeforeRestore));
    assert!(restored.verify(None).unwrap().is_clean());
}

/// An archive restores a vault into another schema, or into another kind of storage.
#[test]
fn archive_moves_a_vault_to_another_schema() {
    let Some(server) = shared() else {
        return;
    };
    let options = server.options_of("archived");
    let first = vault(server, "archived", true);
    put(&first, "Observation/1");
    drop(first);
    let mut bytes = Vec::new();
    archive::write(&options.open().unwrap(), &mut bytes).unwrap();
    let copy = server.storage();
    archive::read(Cursor::new(bytes), &copy).unwrap();
    let moved = Vault::open(copy, &Fixed(1)).unwrap();
    assert_eq!(get(&moved, "Observation/1").unwrap(), b"Observation/1");
    assert!(moved.verify(None).unwrap().is_clean());
}
