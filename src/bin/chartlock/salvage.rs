//! `salvage`: copies the readable objects of a damaged directory.

use std::path::PathBuf;

use chartlock::storage::{FileOptions, FileStorage, Storage};
use clap::Args;
use serde_json::json;

use super::context::Context;
use super::failure::{Exit, Failure};
use super::open::{require_content, require_new, require_outside};
use super::output::{self, Text};

#[derive(Debug, Args)]
pub(crate) struct SalvageArguments {
    /// Damaged directory, which stays as it is.
    directory: PathBuf,
    /// New or empty directory for the readable objects.
    target: PathBuf,
}

/// Needs no credential, because the objects stay sealed.
pub(crate) fn run(arguments: &SalvageArguments, context: &Context) -> Result<Exit, Failure> {
    require_content(&arguments.directory)?;
    require_new(&arguments.target, "chartlock salvage")?;
    require_outside(&arguments.target, &arguments.directory)?;
    let target = FileOptions::new().without_scrub().open(&arguments.target)?;
    let salvaged = FileStorage::salvage(&arguments.directory, &target);
    let closed = target.close();
    let report = salvaged?;
    closed?;
    let text = Text::new("salvage finished")
        .line("objects", report.objects)
        .line("unreadable objects", report.unreadable)
        .line("header taken from its second copy", report.used_header_copy)
        .note(
            "next: run `chartlock verify` on the new directory, put the lost records again, then \
             `chartlock restore accept`",
        );
    output::print(context.json, &json!({ "salvage": report }), text)?;
    Ok(if report.unreadable == 0 {
        Exit::Success
    } else {
        Exit::Findings
    })
}
