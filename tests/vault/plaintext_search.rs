//! Plaintext search: no stored byte sequence may equal one of thousands of known strings.

use std::collections::HashSet;
use std::io::{ErrorKind, Read};
use std::path::Path;

use chartlock::Document;
use chartlock::internals::envelope::INLINE_MAX;
use flate2::read::MultiGzDecoder;

use crate::raw;
use crate::stage::{Stage, record, session_on, subject};

/// Length in bytes of a run that is too long to occur by chance.
const WINDOW: usize = 12;

everywhere!(storage_contains_no_plaintext);

/// Every run of `WINDOW` bytes in the plaintexts that the test put.
#[derive(Default)]
struct Known(HashSet<[u8; WINDOW]>);

/// Source of the database schema, whose text a file storage contains.
const SCHEMA: &[u8] = include_bytes!("../../src/storage/file/schema.rs");
/// Source of the text that a file storage contains for people.
const README: &[u8] = include_bytes!("../../src/storage/file/readme.rs");

impl Known {
    fn add(&mut self, bytes: &[u8]) {
        let schema: HashSet<_> = runs(SCHEMA).chain(runs(README)).collect();
        let known = runs(bytes).filter(|run| is_distinctive(run) && !schema.contains(run));
        self.0.extend(known);
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        runs(bytes).any(|run| self.0.contains(run))
    }
}

fn runs(bytes: &[u8]) -> impl Iterator<Item = &[u8; WINDOW]> {
    let windows = bytes.windows(WINDOW);
    windows.filter_map(|window| window.try_into().ok())
}

/// Tests whether a run has enough different bytes. Images and the database also
/// contain runs of few different bytes.
fn is_distinctive(run: &[u8; WINDOW]) -> bool {
    run.iter().collect::<HashSet<_>>().len() > 4
}

/// Returns the real documents of `tests/data`.
fn documents() -> Vec<(String, Vec<u8>)> {
    fn collect(directory: &Path, found: &mut Vec<(String, Vec<u8>)>) {
        let mut entries: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        entries.sort_by_key(std::fs::DirEntry::path);
        for entry in entries {
            let path = entry.path();
            if path.is_dir() {
                collect(&path, found);
            } else {
                let name = entry.file_name().into_string().unwrap();
                let mut bytes = std::fs::read(path).unwrap();
                if name.ends_with(".gz") {
                    let packed = std::mem::take(&mut bytes);
                    let mut reader = MultiGzDecoder::new(&packed[..]);
                    reader.read_to_end(&mut bytes).unwrap();
                }
                found.push((name, bytes));
            }
        }
    }
    let mut found = Vec::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data"),
        &mut found,
    );
    found
}

fn storage_contains_no_plaintext(stage: &Stage) {
    let mut known = Known::default();
    let vault = stage.create();
    let session = session_on(&vault);
    let documents = documents();
    assert!(documents.len() > 5);
    let large = documents
        .iter()
        .flat_map(|(_, bytes)| bytes)
        .copied()
        .collect::<Vec<_>>();
    assert!(large.len() > INLINE_MAX);
    let mut put = |patient: &str, name: &str, bytes: &[u8]| {
        let label = format!("label of {name}");
        let content_type = format!("application/x-of-{}", name.len());
        for text in [patient, name, &label, &content_type] {
            assert!(text.len() >= WINDOW);
            known.add(text.as_bytes());
        }
        known.add(bytes);
        let id = record(patient, name);
        let document = Document::new(bytes)
            .content_type(&content_type)
            .label(&label);
        session.put(&id, document).unwrap();
    };
    for (index, (file, bytes)) in documents.iter().enumerate() {
        put(
            &format!("patient number {}", index % 5),
            &format!("document {file}"),
            bytes,
        );
        // Each line also becomes a separate record.
        let lines = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| line.len() > WINDOW);
        for (line, bytes) in lines.take(40).enumerate() {
            let name = format!("line {line} of {file}");
            put(
                "patient of many lines",
                &name,
                &bytes[..bytes.len().min(60_000)],
            );
        }
    }
    put("patient number 0", "all documents at once", &large);
    put("patient number 0", "all documents at once", &large[1..]);
    assert!(known.0.len() > 5_000, "{} strings", known.0.len());
    assert_no_plaintext(stage, &known);
    vault.rotate_master_key().unwrap();
    vault
        .rotate_subject_key(&subject("patient number 0"))
        .unwrap();
    assert_no_plaintext(stage, &known);
    vault
        .reencrypt_subject(&subject("patient number 0"))
        .unwrap();
    let reason = "a reason that is never stored in plaintext";
    known.add(reason.as_bytes());
    session_on(&vault)
        .place_hold(&subject("patient number 0"), reason)
        .unwrap();
    session_on(&vault)
        .erase_subject(&subject("patient number 1"), reason)
        .unwrap();
    assert_no_plaintext(stage, &known);
}

fn assert_no_plaintext(stage: &Stage, known: &Known) {
    for (key, value) in raw::all_objects(&stage.storage) {
        assert!(
            !known.is_in(&key) && !known.is_in(&value),
            "plaintext in an object of class {}",
            key[0] as char
        );
    }
    if let Some(directory) = &stage.directory {
        let bytes = assert_no_plaintext_in_directory(directory.path(), known);
        assert!(
            bytes > INLINE_MAX as u64,
            "the files are too small to contain the records"
        );
    }
}

fn assert_no_plaintext_in_directory(directory: &Path, known: &Known) -> u64 {
    let mut searched = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        assert!(!known.is_in(path.file_name().unwrap().as_encoded_bytes()));
        searched += if path.is_dir() {
            assert_no_plaintext_in_directory(&path, known)
        } else {
            let bytes = match std::fs::read(&path) {
                // A commit may delete segment files during the search.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                bytes => bytes.unwrap(),
            };
            let found = runs(&bytes).find(|run| known.0.contains(*run));
            let found = found.map(|run| String::from_utf8_lossy(run));
            assert_eq!(found, None, "plaintext in {}", path.display());
            bytes.len() as u64
        };
    }
    searched
}

#[test]
fn plaintext_search_finds_known_strings() {
    let mut known = Known::default();
    known.add(b"a known string");
    assert!(known.is_in(b"\0\0a known string\0") && known.is_in(b" known string"));
    assert!(!known.is_in(b"a known strin") || b"a known strin".len() >= WINDOW);
    assert!(!known.is_in(b"another thing altogether"));
}
