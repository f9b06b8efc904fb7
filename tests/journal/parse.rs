//! The public operations, as the sources declare them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The types through which a vault is used.
const DOORS: [&str; 8] = [
    "Auditor",
    "AuditTrail",
    "RecordReader",
    "RecordWriter",
    "RecoveryKit",
    "Session",
    "Vault",
    "Verification",
];

/// `Type::name` of each `pub fn` in an inherent `impl` of a door.
pub(crate) fn operations() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    in_folder(&root.join("src"), &mut found);
    found
}

fn in_folder(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            in_folder(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            in_source(&fs::read_to_string(&path).unwrap(), found);
        }
    }
}

fn in_source(source: &str, found: &mut BTreeSet<String>) {
    let mut door = None;
    for line in source.lines() {
        if line.starts_with("impl") {
            door = DOORS.into_iter().find(|door| is_impl_of(line, door));
        } else if line.starts_with('}') {
            door = None;
        } else if let Some(door) = door
            && let Some(function) = line.strip_prefix("    pub fn ")
        {
            let end = function.find(['(', '<']).unwrap();
            found.insert(format!("{door}::{}", &function[..end]));
        }
    }
}

/// `impl Door {`, `impl Door<'_> {` or `impl<'a> Door<'a> {`.
fn is_impl_of(line: &str, door: &str) -> bool {
    let rest = line.trim_start_matches("impl").trim_start_matches("<'a>");
    rest.trim_start()
        .strip_prefix(door)
        .is_some_and(|rest| rest.starts_with([' ', '<']) && !rest.contains(" for "))
}

#[test]
fn what_the_parser_finds_is_what_is_there() {
    let found = operations();
    for known in [
        "Vault::create",
        "Vault::rotate_root_key",
        "Vault::collect_garbage",
        "Session::put_json",
        "Session::place_hold",
        "RecordWriter::finish",
        "RecordReader::read_at",
        "Auditor::open",
        "AuditTrail::accesses",
    ] {
        assert!(found.contains(known), "{known}");
    }
    let mut in_one = BTreeSet::new();
    in_source(
        "impl<'a> Session {\n    pub fn new_one<T>(&self) {}\n    fn own() {}\n}\n\
         impl Read for Vault {\n    pub fn not_this() {}\n}\n",
        &mut in_one,
    );
    assert_eq!(in_one, BTreeSet::from(["Session::new_one".to_owned()]));
}
