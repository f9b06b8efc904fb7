//! Each command once, with its text and its JSON document.

use std::fs;

use crate::tool::Tool;

#[test]
fn init_creates_a_vault_and_a_kit() {
    let tool = Tool::empty();
    let out = tool.json(&["init", "vault", "--key-file", "key", "--kit", "kit"]);
    assert_eq!(out["created"], true);
    assert_eq!(out["slots"][0]["kind"], 2);
    assert!(fs::metadata(tool.path("kit")).unwrap().len() > 100);
    assert!(
        tool.ok(&["status", "vault", "--key-file", "key"])
            .contains("subjects: 0")
    );
}

#[test]
fn key_file_creates_a_credential_once() {
    let tool = Tool::new();
    tool.ok(&["key-file", "spare"]);
    tool.fails(2, &["key-file", "spare"]);
    let added = tool.json(&[
        "slots",
        "add",
        "vault",
        "--key-file",
        "key",
        "--other-key-file",
        "spare",
    ]);
    assert!(added["added"].is_u64());
    tool.ok(&["status", "vault", "--key-file", "spare"]);
}

#[test]
fn status_counts_subjects_records_and_keys() {
    let tool = Tool::new();
    tool.fill(3);
    let status = tool.json(&["status", "vault", "--key-file", "key"]);
    assert_eq!(status["key_usage"]["subjects"], 3);
    assert_eq!(status["key_usage"]["masters"][0]["objects"], 3);
    assert_eq!(status["slots"].as_array().unwrap().len(), 1);
}

#[test]
fn verify_accepts_a_checkpoint_and_finds_damage() {
    let tool = Tool::new();
    tool.fill(2);
    tool.ok(&[
        "checkpoint",
        "vault",
        "--key-file",
        "key",
        "--output",
        "checkpoint",
    ]);
    let verify = [
        "verify",
        "vault",
        "--key-file",
        "key",
        "--checkpoint",
        "checkpoint",
        "--content",
    ];
    let report = tool.json(&verify);
    assert_eq!(
        (&report["clean"], &report["report"]["checkpoint"]),
        (&true.into(), &"intact".into())
    );

    // The storage goes back to the state before the checkpoint.
    let other = Tool::empty();
    other.ok(&["init", "vault", "--key-file", "key"]);
    fs::copy(tool.path("checkpoint"), other.path("checkpoint")).unwrap();
    other.fails(5, &verify);

    remove_records(&tool);
    let found = tool.run(&verify);
    assert_eq!(found.code, 1, "{found:?}");
    assert!(found.out.starts_with("FINDINGS"), "{}", found.out);
    assert!(
        found.out.contains("record: missing") && found.out.contains("next: "),
        "{}",
        found.out
    );
    let json = tool.run(&[&verify[..], &["--json"]].concat());
    assert_eq!(json.code, 1);
    let report: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(report["clean"], false);
}

/// Deletes the objects of all records.
fn remove_records(tool: &Tool) {
    use chartlock::storage::{FileStorage, Projection, Scan, Storage, Transaction};

    let storage = FileStorage::open(tool.path("vault")).unwrap();
    let scan = Scan {
        prefix: b"r",
        after: None,
        limit: 100,
        projection: Projection::Keys,
    };
    for item in storage.scan(scan).unwrap().items {
        let deleted = storage.commit(&[Transaction::new().delete(item.key)]);
        assert!(deleted.iter().all(Result::is_ok));
    }
    storage.close().unwrap();
}

#[test]
fn health_reports_storage_journal_and_space() {
    let tool = Tool::new();
    let health = tool.json(&["health", "vault", "--key-file", "key"]);
    assert_eq!(health["journal_writable"], true);
    assert_eq!(health["storage"]["structure_faults"], 0);
    assert!(health["used_bytes"].as_u64().unwrap() > 0);
}

/// A program `df` of the test supplies the measurement.
#[cfg(unix)]
#[test]
fn health_finds_the_free_space_in_any_output_of_df() {
    let tool = Tool::new();
    fs::create_dir(tool.path("bin")).unwrap();
    for (line, space, code) in [
        (
            "//nas/ward 3 100 50% 9000000 1000000 8000000 12% /mnt/ward 3",
            "enough",
            0,
        ),
        ("/dev/sda1 9000000 8999000 1000 100% /", "low", 1),
        ("/dev/sda1 9000000 - - - /", "unknown", 0),
        ("", "unknown", 0),
    ] {
        let script = format!("#!/bin/sh\necho Filesystem\necho '{line}'\n");
        fs::write(tool.path("bin/df"), script).unwrap();
        crate::common::scratch::set_mode(&tool.path("bin/df"), 0o700);
        let run = |form: &[&str]| {
            let health = ["health", "vault", "--key-file", "key"];
            let mut command = tool.command(&[&health, form].concat());
            command.env(
                "PATH",
                format!("{}:/usr/bin:/bin", tool.path("bin").display()),
            );
            crate::tool::run(command)
        };
        let json = run(&["--json"]);
        assert_eq!(json.code, code, "{line}: {json:?}");
        let health: serde_json::Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(health["space"], space, "{line}");
        let text = run(&[]).out;
        assert_eq!(text.contains("unknown"), space == "unknown", "{text}");
    }
}

#[test]
fn slots_are_labelled_tried_replaced_and_removed() {
    let tool = Tool::new();
    let open = ["--key-file", "key"];
    let other = ["--other-passphrase-file", "passphrase"];
    let add = ["slots", "add", "vault", "--label", "Ms. Okafor"];
    let id = tool.json(&[&add, &open[..], &other].concat())["added"].to_string();
    let tried = tool.json(&[&["slots", "try", "vault"], &open[..], &other].concat());
    assert_eq!(tried["slot"]["id"].to_string(), id);
    assert!(
        tool.ok(&[&["slots", "list", "vault"], &open[..]].concat())
            .contains("passphrase, Ms. Okafor")
    );

    tool.ok(&["key-file", "spare"]);
    let replace = [
        "slots",
        "replace",
        "vault",
        "--id",
        &id,
        "--other-key-file",
        "spare",
    ];
    tool.fails(2, &[&replace, &open[..]].concat());
    tool.ok(&[&replace, &open[..], &["--yes"]].concat());
    tool.fails(3, &["status", "vault", "--passphrase-file", "passphrase"]);
    let remove = ["slots", "remove", "vault", "--id", &id];
    tool.fails(2, &[&remove, &open[..]].concat());
    tool.ok(&[&remove, &open[..], &["--yes"]].concat());
    tool.fails(3, &["status", "vault", "--key-file", "spare"]);
}

#[test]
fn two_factors_open_only_together() {
    let tool = Tool::empty();
    let both = [
        "--key-file",
        "key",
        "--passphrase-file",
        "passphrase",
        "--two-factor",
    ];
    tool.ok(&[&["init", "vault"], &both[..]].concat());
    tool.ok(&[&["status", "vault"], &both[..]].concat());
    tool.fails(3, &["status", "vault", "--key-file", "key"]);
    tool.fails(
        2,
        &[
            "status",
            "vault",
            "--key-file",
            "key",
            "--passphrase-file",
            "passphrase",
        ],
    );
}

#[test]
fn recovery_shares_open_and_exposed_ones_are_refused() {
    use chartlock::keys::Shares;

    let tool = Tool::new();
    let shares = Shares::split(2, 3).unwrap();
    tool.app(|vault, _| {
        vault.add_slot(&shares).unwrap();
    });
    for (share, name) in shares.all().iter().zip(["one", "two"]) {
        fs::write(tool.path(name), share.to_text().as_bytes()).unwrap();
        #[cfg(unix)]
        crate::common::scratch::set_mode(&tool.path(name), 0o600);
    }
    let one = ["status", "vault", "--share-file", "one"];
    let two = ["--share-file", "two"];
    assert!(
        tool.ok(&[&one[..], &two].concat())
            .contains("recovery shares")
    );
    tool.fails(3, &one);
    #[cfg(unix)]
    {
        crate::common::scratch::set_mode(&tool.path("two"), 0o640);
        tool.fails(3, &[&one[..], &two].concat());
    }
}

#[test]
fn journal_contains_actor_mark_and_purpose() {
    let tool = Tool::new();
    tool.ok(&[
        "backup",
        "vault",
        "--key-file",
        "key",
        "--to",
        "backup",
        "--reason",
        "court order",
        "--actor",
        "ms.okafor",
        "--purpose",
        "HLEGAL",
    ]);
    let read = ["report", "activity", "vault", "--key-file", "key"];
    let report = tool.json(&[&read[..], &["ms.okafor"]].concat());
    assert!(report["entries"].as_array().unwrap().len() >= 2);
    let out = tool.ok(&[
        "export",
        "audit-events",
        "vault",
        "--key-file",
        "key",
        "--output",
        "events",
    ]);
    assert!(out.contains("next: "), "{out}");
    let events = fs::read_to_string(tool.path("events")).unwrap();
    assert!(events.contains("os-login:"), "a default actor has a prefix");
    assert!(events.contains("HLEGAL"), "the purpose is journaled");
    for line in events.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["resourceType"], "AuditEvent");
    }
}

#[test]
fn spool_reads_beside_the_app_and_comes_home() {
    let tool = Tool::new();
    tool.app(|_, _| {
        let beside = [
            "--key-file",
            "key",
            "--spool",
            "spool",
            "--actor",
            "ms.okafor",
        ];
        tool.ok(&[&["verify", "vault"], &beside[..]].concat());
        tool.ok(&[&["report", "access", "vault", "MRN-0"], &beside[..]].concat());
    });
    // The directory of another vault is no spool.
    let other = ["init", "other", "--passphrase-file", "passphrase"];
    tool.ok(&other);
    let wrong = ["verify", "vault", "--key-file", "key", "--spool", "other"];
    tool.fails(2, &wrong);
    let home = [
        "journal",
        "bring-home",
        "vault",
        "--key-file",
        "key",
        "--spool",
        "spool",
    ];
    let brought = tool.json(&[&home[..], &["--reason", "night shift"]].concat());
    assert!(brought["journal"]["pages"].as_u64().unwrap() > 0);
    let report = tool.json(&[
        "report",
        "activity",
        "vault",
        "--key-file",
        "key",
        "ms.okafor",
    ]);
    assert!(report["entries"].as_array().unwrap().len() > 1);
    tool.assert_clean("vault");
}

#[test]
fn completions_and_manual_page_name_every_command() {
    let tool = Tool::empty();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(
            tool.ok(&["completions", shell]).contains("checkpoint"),
            "{shell}"
        );
    }
    let (man, help) = (tool.ok(&["man"]), tool.ok(&["help"]));
    assert!(man.starts_with(".ie") && man.contains("bring"), "{man}");
    for command in [
        "init",
        "status",
        "verify",
        "checkpoint",
        "backup",
        "restore",
        "salvage",
        "rotate",
        "slots",
        "kit",
        "health",
        "report",
        "export",
    ] {
        assert!(help.contains(command) && man.contains(command), "{command}");
    }
    assert!(help.contains("Exit codes: 0 success, 1 findings, 2 usage"));
}
