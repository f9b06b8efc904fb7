//! A clinic's documents, stored in a vault. The example reads every record back and compares its
//! bytes with the documents, before and after a key rotation.
//!
//! `cargo run --release --example clinic -- --help` describes the options.

#[macro_use]
#[path = "../common/mod.rs"]
mod common;
mod documents;
mod options;
mod patients;
mod report;
mod scan;
mod steps;
mod table;
mod work;

use std::path::Path;
use std::process::ExitCode;

use common::Arguments;
pub(crate) use common::Outcome;
use documents::Documents;
use options::{DEMONSTRATION, Options, USAGE};
use steps::Steps;
use work::Clinic;

fn main() -> ExitCode {
    common::main(USAGE, run)
}

fn run(arguments: &mut Arguments) -> Outcome<()> {
    let options = Options::read(arguments)?;
    let scratch = tempfile::tempdir()?;
    let place = match &options.keep {
        Some(directory) => directory.clone(),
        None => scratch.path().join("vault"),
    };
    let passphrase = options.passphrase.as_deref().unwrap_or(DEMONSTRATION);

    let mut steps = Steps::new();
    let documents = read(&options, &mut steps)?;
    let clinic = Clinic::new(&documents, &place, passphrase, options.suite);
    let result = clinic.run(&mut steps)?;
    steps.print();
    report::print(&documents, &result);
    if options.scan {
        let empty = scratch.path().join("empty");
        clinic.create_at(&empty)?;
        report::print_scan(&scan::search(&documents, passphrase, &place, &empty)?)?;
    }
    report::print_place(&options, &place);
    Ok(())
}

fn read(options: &Options, steps: &mut Steps) -> Outcome<Documents> {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let source = options.source.as_deref().unwrap_or(&sample);
    let documents = steps.time("read and unpack, find patients", "files", || {
        let documents = Documents::below(source)
            .map_err(|error| format!("{} cannot be read: {error}", source.display()))?;
        let (files, size) = (documents.files.len() as u64, documents.file_bytes());
        Ok((documents, files, Some(size)))
    })?;
    if documents.records.is_empty() {
        return Err(format!("there are no documents in {}", source.display()).into());
    }
    report::print_source(options.source.as_deref(), &documents);
    Ok(documents)
}
