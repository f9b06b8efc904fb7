//! Replays the corpora of the fuzz targets without a fuzzer.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub
)]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use fuzz::{
    archive, entry, header, intent, journal, key_file, record, seek, segment, vault, verify,
};

use std::fs;
use std::path::Path;

fn replay(target: &str, run: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut inputs: Vec<_> = (fs::read_dir(corpus).unwrap())
        .map(|input| input.unwrap().path())
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "no corpus of {target}");
    for input in inputs {
        let name = input.file_name().unwrap().to_owned();
        // The test runner prints this line only if the test fails.
        println!("{target}/{}", name.display());
        run(&fs::read(input).unwrap());
    }
}

#[test]
fn records() {
    replay("record", record::run);
}

#[test]
fn headers() {
    replay("header", header::run);
}

#[test]
fn entries() {
    replay("entry", entry::run);
}

#[test]
fn archives() {
    replay("archive", archive::run);
}

#[test]
fn intents() {
    replay("intent", intent::run);
}

#[test]
fn vaults() {
    replay("vault", vault::run);
}

#[test]
fn segments() {
    replay("segment", segment::run);
}

#[test]
fn seeks() {
    replay("seek", seek::run);
}

#[test]
fn journals() {
    replay("journal", journal::run);
}

#[test]
fn verifications() {
    replay("verify", verify::run);
}

#[test]
fn key_files() {
    replay("key_file", key_file::run);
}
