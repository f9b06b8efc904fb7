//! The DICOM files of a directory, stored as streams. The example compares every file with its
//! record, and reads slices and ranges. With `--generate`, it also stores a large record in bounded
//! memory.
//!
//! `cargo run --release --example imaging -- --help` describes the options.

#[macro_use]
#[path = "../common/mod.rs"]
mod common;
mod archive;
mod generated;
mod memory;
mod options;
mod ranges;
mod report;
mod steps;
mod study;
#[path = "../clinic/table.rs"]
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use archive::Archive;
use common::Arguments;
pub(crate) use common::Outcome;
use options::{Options, USAGE};
use steps::Steps;
use study::Study;

fn main() -> ExitCode {
    common::main(USAGE, run)
}

fn run(arguments: &mut Arguments) -> Outcome<()> {
    let options = Options::read(arguments)?;
    let scratch = tempfile::tempdir()?;
    let place = match &options.keep {
        Some(directory) => empty(directory)?,
        None => scratch.path().join("vault"),
    };
    let mut steps = Steps::new();
    let study = read(&options, &mut steps)?;
    let archive = Archive::create(&place, &mut steps)?;
    let segments = archive.seal(&study, &mut steps)?;
    archive.compare(&study, &mut steps)?;
    let slice = archive.slice(&study, &mut steps)?;
    let range = archive.range(&study, &mut steps)?;
    let sizes = archive.sizes(segments)?;
    let times = match options.generate {
        Some(size) => Some(ranges::run(&archive, size, &mut steps)?),
        None => None,
    };
    drop(archive);

    steps.print();
    report::print_study(&study, &sizes, slice.as_ref(), &range);
    if let Some(times) = &times {
        report::print_ranges(times);
    }
    report::print_memory();
    report::print_place(options.keep.as_deref())
}

fn empty(directory: &Path) -> Outcome<PathBuf> {
    if fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(format!(
            "{} is not empty; name a new or empty directory",
            directory.display()
        )
        .into());
    }
    Ok(directory.to_owned())
}

fn read(options: &Options, steps: &mut Steps) -> Outcome<Study> {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let source = options.source.as_deref().unwrap_or(&sample);
    let study = steps.time("read DICOM headers", || {
        let study = Study::below(source)
            .map_err(|error| format!("{} cannot be read: {error}", source.display()))?;
        let work = (study.instances.len() as u64, None);
        Ok((study, Some(work)))
    })?;
    if study.instances.is_empty() {
        return Err(format!("there are no DICOM files in {}", source.display()).into());
    }
    report::print_source(options.source.as_deref(), &study);
    Ok(study)
}
