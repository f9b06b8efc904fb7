//! Failures: exit codes, next steps, and no change.

use std::fs;

use crate::tool::Tool;

#[test]
fn usage_errors_have_code_2() {
    let tool = Tool::new();
    let open = ["--key-file", "key"];
    for arguments in [
        &["unknown"][..],
        &["status"],
        &["status", "vault", "--unknown"],
        &["rotate"],
        &["backup", "vault", "--to", "copy"],
        &[
            "backup",
            "vault",
            "--to",
            "copy",
            "--reason",
            "x",
            "--purpose",
            "FUN",
        ],
        &["status", "vault", "--purpose", "HOPERAT"],
        &[
            "backup",
            "vault",
            "--to",
            "vault/absent/copy",
            "--reason",
            "x",
        ],
        &[
            "backup",
            "vault",
            "--to",
            "absent/../vault/copy",
            "--reason",
            "x",
        ],
        &["status", "vault", "--actor", ""],
        &["status", "vault", "--passphrase-fd", "x"],
        &["report", "access", "vault", "MRN-0", "--from", "2026-02-30"],
        &["report", "access", "vault", ""],
        &["report", "exposure", "vault"],
        &["verify", "vault", "--checkpoint", "absent"],
        &["verify", "vault", "--checkpoint", "passphrase"],
        &["rotate", "master", "vault"],
        &["checkpoint", "vault", "--output", "key"],
        &["checkpoint", "vault", "--output", "vault/checkpoint"],
        &["kit", "create", "vault", "--output", "key"],
        &["backup", "vault", "--to", "vault/copy", "--reason", "x"],
        &["verify", "vault", "--spool", "vault"],
        &["kit", "restore", "vault", "--kit", "absent"],
    ] {
        tool.fails(2, &[arguments, &open].concat());
    }
}

#[test]
fn credential_errors_have_code_3() {
    let tool = Tool::new();
    tool.ok(&["key-file", "stranger"]);
    fs::write(tool.path("empty"), "").unwrap();
    #[cfg(unix)]
    crate::common::scratch::set_mode(&tool.path("empty"), 0o600);
    for credential in [
        &["--key-file", "stranger"][..],
        &["--key-file", "absent"],
        &["--key-file", "passphrase"],
        &["--passphrase-file", "passphrase"],
        &["--passphrase-file", "empty"],
        &["--passphrase-fd", "99"],
        &["--share-file", "passphrase"],
        &[],
    ] {
        tool.fails(3, &[&["status", "vault"], credential].concat());
    }
    #[cfg(unix)]
    {
        crate::common::scratch::set_mode(&tool.path("key"), 0o644);
        let exposed = tool.fails(3, &["status", "vault", "--key-file", "key"]);
        assert!(exposed.err.contains("chmod 600"), "{exposed:?}");
    }
}

#[test]
fn weak_first_passphrase_leaves_no_directory() {
    let tool = Tool::empty();
    fs::write(tool.path("passphrase"), "short\n").unwrap();
    tool.fails(3, &["init", "vault", "--passphrase-file", "passphrase"]);
    assert!(!tool.path("vault").exists());
}

#[test]
fn vault_in_use_has_code_4() {
    let tool = Tool::new();
    let vault = tool.vault();
    let run = tool.run(&["status", "vault", "--key-file", "key"]);
    assert_eq!(run.code, 4, "{run:?}");
    assert!(run.err.contains("--spool"), "{run:?}");
    vault.close().unwrap();
}

#[test]
fn damaged_storage_has_code_5() {
    let tool = Tool::new();
    fs::write(tool.path("vault/vault.db"), "no database").unwrap();
    for command in ["status", "verify", "health"] {
        let run = tool.run(&[command, "vault", "--key-file", "key"]);
        assert_eq!(run.code, 5, "{run:?}");
        assert!(run.err.contains("next: "), "{run:?}");
    }
    let foreign = tool.run(&["status", ".", "--key-file", "key"]);
    assert_eq!(foreign.code, 5, "{foreign:?}");
}

#[test]
fn refused_operations_have_code_6() {
    let tool = Tool::new();
    let open = ["--key-file", "key", "--yes"];
    let only =
        tool.json(&["slots", "list", "vault", "--key-file", "key"])["slots"][0]["id"].to_string();
    tool.create_kit();
    fs::create_dir(tool.path("filled")).unwrap();
    fs::write(tool.path("filled/file"), "").unwrap();
    for arguments in [
        &["init", "vault"][..],
        &["status", "nowhere"],
        &["salvage", "nowhere", "new"],
        &["slots", "remove", "vault", "--id", &only],
        &["slots", "remove", "vault", "--id", "1"],
        &["rotate", "subject", "vault", "MRN-0"],
        &["rotate", "root", "vault", "--drop", "1"],
        &["kit", "restore", "vault", "--kit", "kit"],
        &["restore", "copy", "vault", "vault"],
        &["salvage", "vault", "filled"],
        &["restore", "copy", "vault", "filled"],
        &["rotate", "root", "vault", "--drop", &only],
    ] {
        let arguments = match arguments[0] {
            "salvage" | "restore" => arguments.to_vec(),
            _ => [arguments, &open].concat(),
        };
        tool.fails(6, &arguments);
    }
}

#[test]
fn output_file_is_replaced_only_with_force() {
    let tool = Tool::new();
    let write = [
        "checkpoint",
        "vault",
        "--key-file",
        "key",
        "--output",
        "checkpoint",
    ];
    tool.ok(&write);
    let first = fs::read_to_string(tool.path("checkpoint")).unwrap();
    tool.fails(2, &write);
    assert_eq!(fs::read_to_string(tool.path("checkpoint")).unwrap(), first);
    tool.ok(&[&write[..], &["--force"]].concat());
    assert_ne!(fs::read_to_string(tool.path("checkpoint")).unwrap(), first);
}

#[test]
fn failed_command_leaves_no_output_file() {
    let tool = Tool::new();
    tool.ok(&["key-file", "stranger"]);
    tool.fails(
        3,
        &[
            "kit",
            "create",
            "vault",
            "--key-file",
            "stranger",
            "--output",
            "kit",
        ],
    );
    tool.fails(
        2,
        &[
            "export",
            "archive",
            "vault",
            "--key-file",
            "key",
            "--output",
            "a",
            "--reason",
            "",
        ],
    );
}

#[test]
fn left_temporary_file_does_not_block_a_later_run() {
    let tool = Tool::new();
    let write = ["checkpoint", "vault", "--key-file", "key"];
    for name in [".checkpoint.00000000.tmp", ".checkpoint.1.draft"] {
        fs::write(tool.path(name), "left").unwrap();
    }
    tool.ok(&[&write[..], &["--output", "checkpoint"]].concat());
    let files = tool.state().1;
    let left = files.iter().filter(|name| name.starts_with(".checkpoint."));
    assert_eq!(left.count(), 2, "{files:?}");
}

#[test]
fn own_slot_cannot_be_dropped() {
    let tool = Tool::new();
    let open = ["vault", "--key-file", "key"];
    let id = tool.json(&[&["slots", "list"], &open[..]].concat())["slots"][0]["id"].to_string();
    let drop = ["--yes", "--drop", &id];
    let run = tool.fails(6, &[&["rotate", "root"], &open[..], &drop].concat());
    assert!(
        run.err.contains("the slot of the credential that opened"),
        "{run:?}"
    );
}
