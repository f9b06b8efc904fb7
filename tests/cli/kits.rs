//! Recovery kits.

use std::fs;

use chartlock::storage::{FileStorage, Storage, Transaction};

use crate::tool::Tool;

/// Deletes the header, as damage would.
fn lose_header(tool: &Tool) {
    let storage = FileStorage::open(tool.path("vault")).unwrap();
    assert!(storage.commit(&[Transaction::new().delete(b"v")])[0].is_ok());
    storage.close().unwrap();
}

#[test]
fn kit_restores_a_lost_header() {
    let tool = Tool::new();
    tool.fill(1);
    tool.ok(&[
        "kit",
        "create",
        "vault",
        "--key-file",
        "key",
        "--output",
        "kit",
    ]);
    lose_header(&tool);
    tool.fails(6, &["status", "vault", "--key-file", "key"]);
    let restore = [
        "kit",
        "restore",
        "vault",
        "--kit",
        "kit",
        "--key-file",
        "key",
    ];
    tool.fails(2, &restore);
    tool.ok(&[&restore[..], &["--yes"]].concat());
    assert_eq!(
        tool.json(&["verify", "vault", "--key-file", "key"])["clean"],
        true
    );
}

#[test]
fn stale_kit_is_refused_unless_asked_for() {
    let tool = Tool::new();
    tool.fill(1);
    tool.ok(&[
        "kit",
        "create",
        "vault",
        "--key-file",
        "key",
        "--output",
        "kit",
    ]);
    tool.ok(&[
        "slots",
        "add",
        "vault",
        "--key-file",
        "key",
        "--other-passphrase-file",
        "passphrase",
    ]);
    lose_header(&tool);
    let restore = [
        "kit",
        "restore",
        "vault",
        "--kit",
        "kit",
        "--key-file",
        "key",
        "--yes",
    ];
    let refused = tool.fails(6, &restore);
    assert!(refused.err.contains("--even-if-stale"), "{refused:?}");
    let stale = ["--even-if-stale", "--replaced", "replaced"];
    let out = tool.json(&[&restore[..], &stale].concat());
    assert_eq!(out["root_rotation_due"], true);
    assert_eq!(
        fs::read(tool.path("replaced")).unwrap(),
        b"",
        "no header was stored"
    );
}

#[test]
fn repair_replaces_a_damaged_copy_of_the_header() {
    let tool = Tool::new();
    assert_eq!(tool.json(&["kit", "repair", "vault"])["repaired"], false);
    let storage = FileStorage::open(tool.path("vault")).unwrap();
    let header = storage.read(&[b"v"]).unwrap().remove(0).unwrap().value;
    storage.close().unwrap();
    let path = tool.path("vault/vault.db");
    let mut database = fs::read(&path).unwrap();
    let mut places = database.windows(header.len()).enumerate();
    let (first, _) = places.find(|(_, bytes)| **bytes == *header).unwrap();
    database[first + 100] ^= 1;
    fs::write(&path, database).unwrap();

    // Damage of the copy that an opening reads looks like a wrong credential.
    let run = tool.run(&["health", "vault", "--key-file", "key"]);
    assert!(run.code == 1 || run.err.contains("kit repair"), "{run:?}");
    assert_eq!(tool.json(&["kit", "repair", "vault"])["repaired"], true);
    assert_eq!(
        tool.json(&["verify", "vault", "--key-file", "key"])["clean"],
        true
    );
    tool.fails(6, &["kit", "repair", "nowhere"]);
}
