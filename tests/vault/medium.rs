//! Nothing readable reaches the medium: thousands of known strings, searched in every stored byte.

use std::collections::HashSet;
use std::io::{ErrorKind, Read};
use std::path::Path;

use chartlock::Document;
use chartlock::internals::envelope::INLINE_MAX;
use flate2::read::MultiGzDecoder;

use crate::raw;
use crate::stage::{Stage, record, session, subject};

/// So many bytes in a row are no coincidence.
const WINDOW: usize = 12;

everywhere!(nothing_is_readable);

/// Every run of bytes of that length in what was put.
#[derive(Default)]
struct Known(HashSet<[u8; WINDOW]>);

impl Known {
    fn learn(&mut self, bytes: &[u8]) {
        self.0.extend(runs(bytes).filter(|run| tells(run)));
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        runs(bytes).any(|run| self.0.contains(run))
    }
}

fn runs(bytes: &[u8]) -> impl Iterator<Item = &[u8; WINDOW]> {
    let windows = bytes.windows(WINDOW);
    windows.filter_map(|window| window.try_into().ok())
}

/// Images have long runs of one byte, and so has every file of an engine.
fn tells(run: &[u8; WINDOW]) -> bool {
    run.iter().collect::<HashSet<_>>().len() > 4
}

/// The real documents that the project carries.
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

fn nothing_is_readable(stage: &Stage) {
    let mut known = Known::default();
    let vault = stage.create();
    let chart = session(&vault);
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
            known.learn(text.as_bytes());
        }
        known.learn(bytes);
        let id = record(patient, name);
        let document = Document::new(bytes)
            .content_type(&content_type)
            .label(&label);
        chart.put(&id, document).unwrap();
    };
    for (index, (file, bytes)) in documents.iter().enumerate() {
        put(
            &format!("patient number {}", index % 5),
            &format!("document {file}"),
            bytes,
        );
        // Each line, as a record of its own.
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
    searched(stage, &known);
    vault.rotate_master_key().unwrap();
    vault
        .rotate_subject_key(&subject("patient number 0"))
        .unwrap();
    searched(stage, &known);
    vault
        .reencrypt_subject(&subject("patient number 0"))
        .unwrap();
    let reason = "a reason that stands nowhere in clear";
    known.learn(reason.as_bytes());
    session(&vault)
        .place_hold(&subject("patient number 0"), reason)
        .unwrap();
    session(&vault)
        .erase_subject(&subject("patient number 1"), reason)
        .unwrap();
    searched(stage, &known);
}

fn searched(stage: &Stage, known: &Known) {
    for (key, value) in raw::everything(&stage.storage) {
        assert!(
            !known.is_in(&key) && !known.is_in(&value),
            "in a {}",
            key[0] as char
        );
    }
    if let Some(directory) = &stage.directory {
        let bytes = searched_directory(directory.path(), known);
        assert!(bytes > INLINE_MAX as u64, "the files hold what was put");
    }
}

fn searched_directory(directory: &Path, known: &Known) -> u64 {
    let mut searched = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        assert!(!known.is_in(path.file_name().unwrap().as_encoded_bytes()));
        searched += if path.is_dir() {
            searched_directory(&path, known)
        } else {
            let bytes = match std::fs::read(&path) {
                // The engine's own threads may remove a file of theirs meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                bytes => bytes.unwrap(),
            };
            assert!(!known.is_in(&bytes), "in a file");
            bytes.len() as u64
        };
    }
    searched
}

#[test]
fn the_search_finds_what_is_there() {
    let mut known = Known::default();
    known.learn(b"a known string");
    assert!(known.is_in(b"\0\0a known string\0") && known.is_in(b" known string"));
    assert!(!known.is_in(b"a known strin") || b"a known strin".len() >= WINDOW);
    assert!(!known.is_in(b"another thing altogether"));
}
