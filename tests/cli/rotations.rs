//! Rotations, whole and killed.

use std::process::Command;

use crate::tool::{Tool, program, run};

#[test]
fn each_rotation_reports_its_counts() {
    let tool = Tool::new();
    tool.fill(3);
    let open = ["vault", "--key-file", "key", "--yes"];
    let master = tool.json(&[&["rotate", "master"], &open[..]].concat());
    assert_eq!(master["rotation"]["entries_resealed"], 3);
    let subject = tool.json(&[&["rotate", "subject"], &open[..], &["MRN-1"]].concat());
    assert_eq!(subject["rotation"]["rewrapped"], 1);
    let all = tool.json(&[&["rotate", "reencrypt"], &open[..]].concat());
    assert_eq!(all["rotation"]["reencrypted"], 3);
    let one = ["rotate", "reencrypt", "--subject", "MRN-1"];
    assert_eq!(
        tool.json(&[&one, &open[..]].concat())["rotation"]["subjects"],
        1
    );
    tool.assert_clean("vault");
}

#[test]
fn root_rotation_keeps_named_slots_and_drops_listed_ones() {
    let tool = Tool::new();
    let open = ["vault", "--key-file", "key"];
    let add = [
        &["slots", "add"],
        &open[..],
        &["--other-passphrase-file", "passphrase"],
    ]
    .concat();
    let id = tool.json(&add)["added"].to_string();
    tool.ok(&["key-file", "auditor"]);
    let auditor = [
        &["slots", "add"],
        &open[..],
        &["--other-key-file", "auditor", "--auditor"],
    ]
    .concat();
    let auditor = tool.json(&auditor)["added"].to_string();
    let rotate = [&["rotate", "root"], &open[..], &["--yes"]].concat();
    tool.fails(6, &rotate);
    let keep = [
        "--keep-passphrase-file",
        "passphrase",
        "--keep-key-file",
        "auditor",
    ];
    let kept = tool.json(&[&rotate[..], &keep].concat());
    assert_eq!(kept["rotation"]["slots_kept"], 2);
    assert_eq!(kept["rotation"]["auditor_slots_kept"], 1);

    let journal = [
        &["rotate", "journal"],
        &open[..],
        &["--yes", "--drop", &auditor],
    ]
    .concat();
    assert_eq!(tool.json(&journal)["rotation"]["slots_dropped"], 1);
    let dropped = tool.json(&[&rotate[..], &["--drop", &id]].concat());
    assert_eq!(dropped["rotation"]["slots_dropped"], 1);
    tool.fails(3, &["status", "vault", "--passphrase-file", "passphrase"]);
}

/// A rotation is killed at several of its syncs. The same command then finishes it.
#[test]
fn killed_rotation_continues_when_it_is_run_again() {
    if !can_kill() {
        eprintln!("skipped: strace cannot kill at a sync here");
        return;
    }
    let tool = Tool::new();
    tool.fill(300);
    let rotate = ["rotate", "master", "vault", "--key-file", "key", "--yes"];
    let mut halves = 0;
    for sync in 1..=6 {
        let fault = format!("inject=fsync,fdatasync:signal=SIGKILL:when={sync}");
        let mut command = Command::new("strace");
        command.args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=fsync,fdatasync",
            "-e",
            &fault,
        ]);
        command
            .current_dir(tool.path(""))
            .arg(program())
            .args(rotate);
        run(command);
        let status = tool.json(&["status", "vault", "--key-file", "key"]);
        halves += usize::from(status["key_usage"]["masters"].as_array().unwrap().len() > 1);
    }
    assert!(halves > 0, "no kill was within the rotation");
    let report = tool.json(&rotate);
    assert_eq!(report["rotation"]["entries_blocking"], 0);
    let status = tool.json(&["status", "vault", "--key-file", "key"]);
    assert_eq!(status["key_usage"]["masters"].as_array().unwrap().len(), 1);
    assert_eq!(status["key_usage"]["subjects"], 300);
    tool.assert_clean("vault");
}

fn can_kill() -> bool {
    let mut probe = Command::new("strace");
    probe.args(["-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e"]);
    probe.args(["inject=fdatasync:signal=SIGKILL:when=1000", "true"]);
    probe.status().is_ok_and(|status| status.success())
}
