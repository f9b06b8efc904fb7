//! `backup`: a copy of the vault in a new directory.

use std::path::PathBuf;
use std::sync::Arc;

use chartlock::Purpose;
use clap::Args;
use serde_json::json;

use super::arguments::VaultArguments;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::open::{require_outside, with_vault};
use super::output::{self, Text};

#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    #[command(flatten)]
    vault: VaultArguments,
    /// New or empty directory for the copy.
    #[arg(long, value_name = "DIRECTORY")]
    to: PathBuf,
    /// Reason for the journal, for example `nightly, to the NAS`.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(crate) fn run(arguments: &BackupArguments, context: &Context) -> Result<Exit, Failure> {
    require_outside(&arguments.to, &arguments.vault.directory)?;
    with_vault(&arguments.vault, context, |open| {
        let checkpoint = open.vault.checkpoint()?.to_string();
        let session = open.session(context, Purpose::SystemAdministration);
        let storage = Arc::clone(&open.storage);
        let report = session.backup(&arguments.reason, || {
            storage.backup(&arguments.to, |copied, total| {
                context.progress.bytes("copying", copied, total);
            })
        })?;
        context.progress.finish();
        let is_whole = report.missing_segment_files == 0;
        let text = Text::new("backup finished")
            .line("objects", report.objects)
            .line("bytes", report.bytes)
            .line("missing segment files", report.missing_segment_files)
            .note(&checkpoint)
            .note("next: keep the checkpoint outside the storage and the backup, and restore for practice")
            .note_if(
                !is_whole,
                "next: the vault lacks content, so keep earlier backups and run `chartlock verify`",
            );
        let document = json!({ "backup": report, "checkpoint": checkpoint });
        output::print(context.json, &document, text)?;
        Ok(if is_whole {
            Exit::Success
        } else {
            Exit::Findings
        })
    })
}
