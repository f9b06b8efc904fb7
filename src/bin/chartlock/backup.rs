//! `backup`: a copy of the vault in a new directory.

use std::path::PathBuf;
use std::sync::Arc;

use chartlock::Purpose;
use chartlock::storage::BackupReport;
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::arguments::VaultArguments;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::open::{require_new, require_outside, with_vault};
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
    require_new(&arguments.to, "chartlock backup")?;
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
        let document = json!({ "backup": report, "checkpoint": checkpoint });
        let copy = CopyReport::from(report);
        let text = copy
            .add_to(Text::new("backup finished"))
            .note(&checkpoint)
            .note("next: keep the checkpoint outside the storage and the backup, and test a restore")
            .note_if(
                !copy.is_whole(),
                "next: keep earlier backups and run `chartlock verify`, because content is missing in the vault",
            );
        output::print(context.json, &document, text)?;
        Ok(copy.exit())
    })
}

/// Size of a copy, and what it lacks.
#[derive(Debug, Serialize)]
pub(crate) struct CopyReport {
    /// Number of objects; 0 if damage prevents the count.
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    pub(crate) missing_segment_files: u64,
}

impl From<BackupReport> for CopyReport {
    fn from(report: BackupReport) -> Self {
        Self {
            objects: report.objects,
            bytes: report.bytes,
            missing_segment_files: report.missing_segment_files,
        }
    }
}

impl CopyReport {
    pub(crate) fn is_whole(&self) -> bool {
        self.objects > 0 && self.missing_segment_files == 0
    }

    pub(crate) fn exit(&self) -> Exit {
        match self.is_whole() {
            true => Exit::Success,
            false => Exit::Findings,
        }
    }

    pub(crate) fn add_to(&self, text: Text) -> Text {
        let objects = match self.objects {
            0 => "not counted, because the database is damaged".to_owned(),
            count => count.to_string(),
        };
        text.line("objects", objects)
            .line("bytes", self.bytes)
            .line("missing segment files", self.missing_segment_files)
    }
}
