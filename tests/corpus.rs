//! Replay of the fuzz targets' corpora, without a fuzzer.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub
)]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use fuzz::{
    archive, auditor_page, coverage, entry, header, intent, journal, key_file, parameters, record,
    restore, seek, segment, share, vault, verify,
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
    assert!(!inputs.is_empty(), "no corpus for {target}");
    for input in inputs {
        let name = input.file_name().unwrap().to_owned();
        // The test runner prints this line only if the test fails.
        println!("{target}/{}", name.display());
        run(&fs::read(input).unwrap());
    }
}

#[test]
fn record_fuzz_corpus_runs_without_failure() {
    replay("record", record::run);
}

#[test]
fn header_fuzz_corpus_runs_without_failure() {
    replay("header", header::run);
}

#[test]
fn patient_entry_fuzz_corpus_runs_without_failure() {
    replay("entry", entry::run);
}

#[test]
fn archive_fuzz_corpus_runs_without_failure() {
    replay("archive", archive::run);
}

#[test]
fn upload_intent_fuzz_corpus_runs_without_failure() {
    replay("intent", intent::run);
}

#[test]
fn vault_fuzz_corpus_runs_without_failure() {
    replay("vault", vault::run);
}

#[test]
fn segment_fuzz_corpus_runs_without_failure() {
    replay("segment", segment::run);
}

#[test]
fn seek_fuzz_corpus_runs_without_failure() {
    replay("seek", seek::run);
}

#[test]
fn journal_fuzz_corpus_runs_without_failure() {
    replay("journal", journal::run);
}

#[test]
fn verify_fuzz_corpus_runs_without_failure() {
    replay("verify", verify::run);
}

#[test]
fn key_file_fuzz_corpus_runs_without_failure() {
    replay("key_file", key_file::run);
}

#[test]
fn parameters_fuzz_corpus_runs_without_failure() {
    replay("parameters", parameters::run);
}

#[test]
fn share_fuzz_corpus_runs_without_failure() {
    replay("share", share::run);
}

#[test]
fn coverage_fuzz_corpus_runs_without_failure() {
    replay("coverage", coverage::run);
}

#[test]
fn restore_fuzz_corpus_runs_without_failure() {
    replay("restore", restore::run);
}

#[test]
fn auditor_page_fuzz_corpus_runs_without_failure() {
    replay("auditor_page", auditor_page::run);
}
