//! Test vectors: archives that contain a description and the expected result. The tests read every
//! file in the vector directory; `format.md` defines the content.
//!
//! To write the vectors again, run the tests with `CHARTLOCK_VECTORS=write`, and then once more without
//! the variable.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub
)]

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod container;
mod coverage;
mod credentials;
mod formula;
mod key_files;
mod library_credential;
mod markers;
mod meta_extensions;
#[path = "../keys/mirror.rs"]
mod mirror;
mod page;
mod page_limits;
mod page_summaries;
mod pages;
mod pages_refused;
mod pages_verify;
mod reader;
mod refused;
mod slot_secrets;
mod text;
mod verify;
mod writer;
#[path = "../custody/shares/written.rs"]
mod written;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const ENDING: &str = "clarchive";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/files")
}

/// Reads all committed vectors, including vectors in subdirectories, and returns their bytes by
/// file name.
fn committed() -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![directory()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|ending| ending == ENDING) {
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Builds all vectors with the second writer, and adds the steps that the second reader records.
fn made() -> BTreeMap<String, Vec<u8>> {
    let opens = cases::all().into_iter().chain(pages::all());
    let opens = opens.chain(page_summaries::all()).chain(coverage::all());
    let opens = opens.map(|(name, archive)| {
        let vector = container::Vector::parse(&archive);
        let mut objects = container::read(&archive);
        for (step, value) in reader::read(&vector).steps {
            objects.insert(format!("#{step}").into_bytes(), value);
        }
        (name, container::write(&objects))
    });
    let mut made = BTreeMap::new();
    let refused = refused::all().into_iter().chain(pages_refused::all());
    let refused = refused.chain(page_summaries::refused());
    for (name, archive) in opens.chain(refused).chain(coverage::refused()) {
        assert!(made.insert(name, archive).is_none(), "duplicate name");
    }
    made
}

#[test]
fn committed_vectors_match_second_writer() {
    let made = made();
    if std::env::var_os("CHARTLOCK_VECTORS").is_some_and(|what| what == "write") {
        fs::create_dir_all(directory()).unwrap();
        for (name, archive) in &made {
            let path = directory().join(name).with_extension(ENDING);
            fs::write(path, archive).unwrap();
        }
    }
    let committed = committed();
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&committed), names(&made));
    for (name, archive) in made {
        assert!(committed[&name] == archive, "{name} differs");
    }
}
