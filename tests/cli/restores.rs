//! Backup, archive, salvage and restore.

use std::fs;

use chartlock::{RecordId, Subject};

use crate::tool::Tool;

#[test]
fn backup_is_restored_and_an_erasure_is_repeated() {
    let tool = Tool::new();
    tool.fill(2);
    let backup = [
        "backup",
        "vault",
        "--key-file",
        "key",
        "--to",
        "backup",
        "--reason",
        "nightly",
    ];
    assert!(
        tool.json(&backup)["checkpoint"]
            .as_str()
            .unwrap()
            .starts_with("chartlock checkpoint 1 ")
    );
    tool.app(|_, session| {
        let subject = Subject::patient("MRN-0").unwrap();
        session.erase_subject(&subject, "objection").unwrap();
    });
    tool.ok(&["restore", "copy", "backup", "copy"]);
    tool.fails(6, &["restore", "copy", "backup", "copy"]);
    let later = ["copy", "--key-file", "key", "--replaces", "vault"];
    tool.ok(&[
        &["journal", "bring-back"],
        &later[..],
        &["--reason", "drill"],
    ]
    .concat());
    let plan = tool.run(&[&["restore", "plan"], &later[..]].concat());
    assert_eq!(plan.code, 1, "{plan:?}");
    assert!(
        plan.out.contains("MRN-0, all records: is repeated"),
        "{}",
        plan.out
    );

    let accept = [&["restore", "accept"], &later[..], &["--reason", "drill"]].concat();
    tool.fails(2, &accept);
    let report = tool.json(&[&accept[..], &["--yes"]].concat());
    assert_eq!(report["restore"]["erased_again"], 1);
    assert_eq!(
        tool.json(&["verify", "copy", "--key-file", "key"])["clean"],
        true
    );
}

#[test]
fn archive_is_restored_and_a_damaged_one_creates_nothing() {
    let tool = Tool::new();
    tool.fill(2);
    let export = [
        "export",
        "archive",
        "vault",
        "--key-file",
        "key",
        "--output",
        "archive",
    ];
    let report = tool.json(&[&export[..], &["--reason", "to tape 7"]].concat());
    assert_eq!(report["archive"]["unreadable"], 0);
    tool.ok(&["restore", "copy", "archive", "copy"]);
    let status = tool.json(&["status", "copy", "--key-file", "key"]);
    assert_eq!(status["key_usage"]["records"], 2);

    let mut bytes = fs::read(tool.path("archive")).unwrap();
    bytes.pop();
    fs::write(tool.path("damaged"), bytes).unwrap();
    tool.fails(5, &["restore", "copy", "damaged", "other"]);
    assert!(!tool.path("other").exists());
}

#[test]
fn salvage_copies_what_is_readable() {
    let tool = Tool::new();
    tool.app(|_, session| {
        let id = RecordId::patient("MRN-0", "Binary/scan").unwrap();
        session.put(&id, &vec![7; 600_000][..]).unwrap();
    });
    let report = tool.json(&["salvage", "vault", "salvaged"]);
    assert_eq!(report["salvage"]["unreadable"], 0);
    assert_eq!(
        tool.json(&["verify", "salvaged", "--key-file", "key", "--content"])["clean"],
        true
    );

    // Without a segment file, the record is lost, and the tool reports a finding.
    fs::remove_dir_all(tool.path("salvaged")).unwrap();
    let mut removed = 0;
    for file in fs::read_dir(tool.path("vault/segments")).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
        removed += 1;
    }
    assert!(removed > 0);
    let run = tool.run(&["salvage", "vault", "salvaged"]);
    assert_eq!(run.code, 1, "{run:?}");
}
