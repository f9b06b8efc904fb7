//! Parser that lists the public operations that the sources declare.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Types whose public methods are operations.
const TYPES: [&str; 8] = [
    "Auditor",
    "AuditTrail",
    "RecordReader",
    "RecordWriter",
    "RecoveryKit",
    "Session",
    "Vault",
    "Verification",
];

/// Returns `Type::name` of each `pub fn` in an inherent `impl` of these types.
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
    let mut owner = None;
    for line in source.lines() {
        if line.starts_with("impl") {
            owner = TYPES.into_iter().find(|owner| is_impl_of(line, owner));
        } else if line.starts_with('}') {
            owner = None;
        } else if let Some(owner) = owner
            && let Some(function) = line.strip_prefix("    pub fn ")
        {
            let end = function.find(['(', '<']).unwrap();
            found.insert(format!("{owner}::{}", &function[..end]));
        }
    }
}

/// Returns `true` if a line is `impl Type {`, `impl Type<'_> {` or `impl<'a> Type<'a> {`.
fn is_impl_of(line: &str, owner: &str) -> bool {
    let rest = line.trim_start_matches("impl").trim_start_matches("<'a>");
    rest.trim_start()
        .strip_prefix(owner)
        .is_some_and(|rest| rest.starts_with([' ', '<']) && !rest.contains(" for "))
}

#[test]
fn source_parser_finds_public_methods_only() {
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
