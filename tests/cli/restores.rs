//! Backup, archive, salvage and restore.

use std::fs;

use chartlock::storage::{Expect, FileStorage, Projection, Scan, Storage, Transaction};
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
        plan.out.contains("MRN-0, all records: will be repeated"),
        "{}",
        plan.out
    );

    let accept = [&["restore", "accept"], &later[..], &["--reason", "drill"]].concat();
    tool.fails(2, &accept);
    let report = tool.json(&[&accept[..], &["--yes"]].concat());
    assert_eq!(report["restore"]["erased_again"], 1);
    tool.assert_clean("copy");
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

const BACKUP: [&str; 8] = [
    "backup",
    "vault",
    "--key-file",
    "key",
    "--to",
    "backup",
    "--reason",
    "nightly",
];

#[test]
fn erasure_that_a_legal_hold_prevents_is_a_finding() {
    let tool = Tool::new();
    tool.fill(2);
    let subject = Subject::patient("MRN-0").unwrap();
    let mut hold = 0;
    tool.app(|_, session| hold = session.place_hold(&subject, "court order").unwrap());
    tool.ok(&BACKUP);
    tool.app(|_, session| {
        session.lift_hold(&subject, hold).unwrap();
        session.erase_subject(&subject, "objection").unwrap();
    });
    tool.ok(&["restore", "copy", "backup", "copy"]);
    let later = ["copy", "--key-file", "key", "--replaces", "vault"];
    let back = ["journal", "bring-back"];
    let back = tool.json(&[&back, &later[..], &["--reason", "drill"]].concat());
    assert_eq!(back["journal"]["pages_passed_over"], 0);
    let accept = ["restore", "accept", "--yes", "--reason", "drill"];
    let run = tool.run(&[&accept[..], &later].concat());
    assert_eq!(run.code, 1, "{run:?}");
    for part in ["subjects not erased again: 1", "next: lift the legal holds"] {
        assert!(run.out.contains(part), "{part}: {run:?}");
    }
}

#[test]
fn missing_content_of_a_backup_is_a_finding_of_its_copy() {
    let tool = Tool::new();
    tool.app(|_, session| {
        let id = RecordId::patient("MRN-0", "Binary/scan").unwrap();
        session.put(&id, &vec![7; 600_000][..]).unwrap();
    });
    tool.ok(&BACKUP);
    for file in fs::read_dir(tool.path("backup/segments")).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    let run = tool.run(&["restore", "copy", "backup", "copy"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.out.contains("missing segment files: 1"), "{run:?}");
    tool.fails(2, &["restore", "copy", "backup", "backup/inside"]);
}

#[test]
fn unfinished_copy_is_named_as_such() {
    let tool = Tool::new();
    tool.ok(&BACKUP);
    tool.ok(&["restore", "copy", "backup", "copy"]);
    // A killed copy has this marker.
    let marker = tool.path("copy/marker");
    let mut bytes = fs::read(&marker).unwrap();
    bytes[..20].copy_from_slice(b"chartlock  backup 2\n");
    fs::write(&marker, bytes).unwrap();
    for (code, arguments) in [
        (6, &["restore", "copy", "backup", "copy"][..]),
        (5, &["restore", "plan", "copy", "--key-file", "key"]),
    ] {
        let run = tool.fails(code, arguments);
        for part in ["unfinished", "delete only this directory", "restore copy"] {
            assert!(run.err.contains(part), "{part}: {run:?}");
        }
    }
}

/// Returns the storage keys of all journal pages.
fn pages(storage: &FileStorage) -> Vec<Vec<u8>> {
    let scan = Scan {
        prefix: b"j",
        after: None,
        limit: 1000,
        projection: Projection::Keys,
    };
    let items = storage.scan(scan).unwrap().items;
    items.into_iter().map(|item| item.key.to_vec()).collect()
}

#[test]
fn journal_page_that_does_not_open_is_a_finding() {
    let tool = Tool::new();
    tool.fill(1);
    tool.ok(&BACKUP);
    tool.fill(1);
    tool.ok(&["restore", "copy", "backup", "copy"]);
    let copied = pages(&FileStorage::open(tool.path("copy")).unwrap());
    let storage = FileStorage::open(tool.path("vault")).unwrap();
    let mut later = pages(&storage);
    later.retain(|key| !copied.contains(key));
    let last = later.pop().unwrap();
    let put = Transaction::new().put(last, b"altered".as_slice(), Expect::Any);
    assert!(storage.commit(&[put])[0].is_ok());
    storage.close().unwrap();
    let back = ["journal", "bring-back", "copy", "--key-file", "key"];
    let options = ["--replaces", "vault", "--reason", "drill"];
    let run = tool.run(&[&back[..], &options].concat());
    assert_eq!(run.code, 1, "{run:?}");
    for part in ["pages added: ", "pages passed over: 1", "chartlock verify"] {
        assert!(run.out.contains(part), "{part}: {run:?}");
    }
}
