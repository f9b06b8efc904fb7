//! Recovery kits.

use std::fs;

use chartlock::storage::{Expect, FileStorage, Storage, Transaction};

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
    tool.create_kit();
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
    tool.assert_clean("vault");
}

#[test]
fn stale_kit_is_refused_unless_asked_for() {
    let tool = Tool::new();
    tool.fill(1);
    tool.create_kit();
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

/// Replaces the header, and returns the former one.
fn put_header(tool: &Tool, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let storage = FileStorage::open(tool.path("vault")).unwrap();
    let former = storage.read(&[b"v"]).unwrap().remove(0).unwrap().value;
    let mut header = former.to_vec();
    change(&mut header);
    let put = Transaction::new().put(b"v", &header[..], Expect::Any);
    assert!(storage.commit(&[put])[0].is_ok());
    storage.close().unwrap();
    former.to_vec()
}

/// Creates a vault with a passphrase and a kit, whose header is newer than the kit and does not open.
fn with_damaged_header() -> Tool {
    let tool = Tool::empty();
    let open = ["vault", "--passphrase-file", "passphrase"];
    tool.ok(&[&["init"], &open[..], &["--kit", "kit"]].concat());
    tool.ok(&[&["slots", "add"], &open[..], &["--other-key-file", "key"]].concat());
    put_header(&tool, |header| *header.last_mut().unwrap() ^= 1);
    tool
}

const RESTORE_STALE: [&str; 9] = [
    "kit",
    "restore",
    "vault",
    "--kit",
    "kit",
    "--even-if-stale",
    "--replaced",
    "replaced",
    "--yes",
];

#[test]
fn stale_kit_without_a_written_copy_of_the_header_changes_nothing() {
    let tool = with_damaged_header();
    let before = tool.state();
    let run = tool.while_waiting(&RESTORE_STALE, "replaced", || {
        fs::write(tool.path("replaced"), "other").unwrap();
    });
    assert_eq!(run.code, 2, "{run:?}");
    fs::remove_file(tool.path("replaced")).unwrap();
    assert!(tool.state() == before, "the header was replaced");
}

#[test]
fn stale_kit_keeps_the_replaced_header_in_a_file() {
    let tool = with_damaged_header();
    let open = ["--passphrase-file", "passphrase"];
    tool.ok(&[&RESTORE_STALE[..], &open].concat());
    let replaced = fs::read(tool.path("replaced")).unwrap();
    let mut intact = replaced.clone();
    *intact.last_mut().unwrap() ^= 1;
    put_header(&tool, |header| *header = intact);
    tool.ok(&["status", "vault", "--key-file", "key"]);
    fs::remove_file(tool.path("replaced")).unwrap();
    // The header opens, so it stays, and no copy is left.
    tool.fails(6, &[&RESTORE_STALE[..], &open].concat());
}

#[test]
fn repair_without_an_intact_copy_is_a_finding() {
    let tool = Tool::new();
    let intact = tool.ok(&["kit", "repair", "vault"]);
    assert!(
        intact.contains("both copies of the header are intact"),
        "{intact}"
    );
    let header = put_header(&tool, |_| {});
    let path = tool.path("vault/vault.db");
    let mut database = fs::read(&path).unwrap();
    let places: Vec<_> = (database.windows(header.len()).enumerate())
        .filter(|(_, bytes)| *bytes == header)
        .map(|(place, _)| place)
        .collect();
    for place in places {
        database[place + 100] ^= 1;
    }
    fs::write(&path, database).unwrap();
    let run = tool.run(&["kit", "repair", "vault"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.out.contains("are damaged") && run.out.contains("next: "),
        "{run:?}"
    );
    assert_eq!(tool.run(&["kit", "repair", "vault", "--json"]).code, 1);
}

#[test]
fn unwritten_kit_of_a_new_vault_states_that_the_vault_exists() {
    let tool = Tool::empty();
    let init = ["init", "vault", "--kit", "kit"];
    let run = tool.while_waiting(&init, "kit", || {
        fs::write(tool.path("kit"), "other").unwrap();
    });
    assert_eq!(run.code, 7, "{run:?}");
    assert!(run.err.contains("the vault was created"), "{run:?}");
    assert!(run.err.contains("chartlock kit create"), "{run:?}");
    tool.ok(&["status", "vault", "--passphrase-file", "passphrase"]);
}

#[test]
fn init_continues_a_storage_without_objects() {
    let tool = Tool::empty();
    let storage = FileStorage::open(tool.path("vault")).unwrap();
    storage.close().unwrap();
    tool.ok(&["init", "vault", "--key-file", "key"]);
    tool.fails(6, &["init", "vault", "--key-file", "key"]);
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
    tool.assert_clean("vault");
    tool.fails(6, &["kit", "repair", "nowhere"]);
}

#[test]
fn header_older_than_the_data_is_not_a_case_for_a_kit() {
    let tool = Tool::new();
    let header = put_header(&tool, |_| {});
    let add = ["slots", "add", "vault", "--key-file", "key"];
    tool.ok(&[&add[..], &["--other-passphrase-file", "passphrase"]].concat());
    tool.fill(1);
    put_header(&tool, |stored| *stored = header);
    let rotate = ["rotate", "subject", "vault", "--key-file", "key", "--yes"];
    let run = tool.run(&[&rotate[..], &["MRN-0"]].concat());
    assert_ne!(run.code, 0, "{run:?}");
    assert!(run.err.contains("restore a newer backup"), "{run:?}");
    assert!(run.err.contains("Vault::open_rolled_back"), "{run:?}");
}
