//! `verify` and `checkpoint`: comparison of the storage with the journal.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use chartlock::Checkpoint;
use chartlock::verify::VerifyReport;
use clap::Args;
use serde_json::json;

use super::arguments::{OutputArguments, ReadArguments, VaultArguments};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::finding_text::{checkpoint_text, fault_text, kind_text};
use super::open::{with_readable_vault, with_vault};
use super::output::{self, Text};
use super::output_file;

/// Maximum length of a checkpoint file in bytes.
const CHECKPOINT_MAX: u64 = 4096;

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    #[command(flatten)]
    read: ReadArguments,
    /// File with a checkpoint that was kept outside the storage.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Open all content above 64 KiB too, which reads the whole storage.
    #[arg(long)]
    content: bool,
}

pub(crate) fn run(arguments: &VerifyArguments, context: &Context) -> Result<Exit, Failure> {
    let checkpoint = (arguments.checkpoint.as_deref())
        .map(read_checkpoint)
        .transpose()?;
    with_readable_vault(&arguments.read, context, |open| {
        let mut verification = open.vault.verification();
        if let Some(checkpoint) = &checkpoint {
            verification = verification.with_checkpoint(checkpoint);
        }
        if arguments.content {
            verification = verification.with_content();
        }
        let report = verification.finish()?;
        context.progress.finish();
        let is_clean = report.is_clean();
        let document = json!({ "clean": is_clean, "report": report });
        output::print(context.json, &document, text_of(&report))?;
        Ok(if is_clean {
            Exit::Success
        } else {
            Exit::Findings
        })
    })
}

/// Reads a checkpoint from a file.
pub(crate) fn read_checkpoint(path: &Path) -> Result<Checkpoint, Failure> {
    let mut text = String::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(CHECKPOINT_MAX).read_to_string(&mut text));
    read.map_err(|error| {
        Failure::usage(
            format!("the checkpoint file cannot be read ({})", error.kind()),
            "check its path; `chartlock checkpoint` writes such a file",
        )
    })?;
    Ok(text.parse::<Checkpoint>()?)
}

/// Returns the text of a verification report: counts, then one line for each finding.
pub(crate) fn text_of(report: &VerifyReport) -> Text {
    let counts = &report.counts;
    let title = match report.is_clean() {
        true => "no findings",
        false => "FINDINGS: the storage and the journal differ",
    };
    let mut text = Text::new(title)
        .line("subjects", counts.subjects)
        .line("records", counts.records)
        .line("earlier versions", counts.earlier_versions)
        .line("journal pages", counts.pages)
        .line("content above 64 KiB opened", report.content_opened);
    if let Some(state) = report.checkpoint {
        text.push("checkpoint", checkpoint_text(state));
    }
    if !report.storage.is_clean() {
        let found = &report.storage;
        text.push(
            "faults in the structure of the storage",
            found.structure_faults,
        );
        text.push("missing values", found.missing_values);
        text.push("unreadable ranges", found.unreadable_ranges);
    }
    add_findings(report, &mut text);
    text.note_if(
        report.journal_keys_closing,
        "next: a rotation of the journal keys did not end; run `chartlock rotate journal` again",
    )
    .note_if(
        !report.is_clean(),
        "next: keep the storage and all backups as they are, then find out who wrote to the storage; \
         `chartlock restore copy` restores a backup",
    )
}

fn add_findings(report: &VerifyReport, text: &mut Text) {
    if let Some(found) = &report.header {
        text.push("header", kind_text(found.kind));
    }
    for found in &report.journal {
        let pages = format!(
            "{}, {} pages from page {}",
            fault_text(found.fault),
            found.pages,
            found.page
        );
        text.push("journal", pages);
    }
    for found in report.entries.iter().chain(&report.unattested_entries) {
        let who =
            (found.subject.as_ref()).map_or("unknown subject", |subject| subject.identifier());
        text.push("patient entry", format!("{}, {who}", kind_text(found.kind)));
    }
    for found in report.records.iter().chain(&report.unattested) {
        let who =
            (found.subject.as_ref()).map_or("unknown subject", |subject| subject.identifier());
        let name = found.name.as_deref().unwrap_or("unknown name");
        let versions = format!("{} versions from version {}", found.versions, found.version);
        text.push(
            "record",
            format!("{}, {who}, {name}, {versions}", kind_text(found.kind)),
        );
    }
    for restore in &report.restores {
        text.push(
            "accepted restore",
            format!("{} by {}", restore.reason, restore.actor),
        );
    }
}

pub(crate) fn run_checkpoint(
    arguments: &VaultArguments,
    out: &OutputArguments,
    context: &Context,
) -> Result<Exit, Failure> {
    let file = (out.output.as_deref())
        .map(|path| output_file::OutputFile::create(path, &arguments.directory, out.force))
        .transpose()?;
    with_vault(arguments, context, |open| {
        let checkpoint = open.vault.checkpoint()?.to_string();
        let mut text = Text::new(&checkpoint);
        if let Some(file) = file {
            let line = format!("{checkpoint}\n");
            file.publish_with(line.as_bytes())?;
            text = Text::new("checkpoint written").note("next: keep it outside the storage");
        }
        output::print(context.json, &json!({ "checkpoint": checkpoint }), text)?;
        Ok(Exit::Success)
    })
}
