//! A clinic's documents: sealed, stored, read back and compared, rotated, read back again.
//!
//! `cargo run --release --example clinic -- --help` tells what it can do.

mod documents;
mod options;
mod patients;
mod report;
mod scan;
mod steps;
mod table;
mod work;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use documents::Documents;
use options::{DEMONSTRATION, HELP, Options};
use steps::Steps;
use work::Clinic;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    let Some(options) = Options::from_environment()? else {
        println!("{HELP}");
        return Ok(());
    };
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
    let documents = steps.time("read and unpack, find the patients", "files", || {
        let documents = Documents::below(source)
            .map_err(|error| format!("{} cannot be read: {error}", source.display()))?;
        let (files, size) = (documents.files.len() as u64, documents.file_bytes());
        Ok((documents, files, Some(size)))
    })?;
    if documents.records.is_empty() {
        return Err(format!("there are no documents in {}", source.display()).into());
    }
    report::introduce(options.source.as_deref(), &documents);
    Ok(documents)
}
