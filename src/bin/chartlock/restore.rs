//! `restore`: copies a backup, then plans and accepts the restore.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use chartlock::access::Reason;
use chartlock::storage::{FileOptions, FileStorage, Storage, StorageError, archive};
use chartlock::verify::{LaterHeader, RestorePlan};
use chartlock::{Error, Purpose, Session};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::arguments::VaultArguments;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::open::{OpenVault, is_absent_or_empty, require_content, with_vault};
use super::output::{self, Text};
use super::verify::read_checkpoint;

#[derive(Debug, Subcommand)]
pub(crate) enum RestoreCommand {
    /// Copy a backup directory or an archive into a new directory. The backup stays as it is.
    Copy {
        /// Directory of `chartlock backup`, or file of `chartlock export archive`.
        backup: PathBuf,
        /// New or empty directory.
        directory: PathBuf,
    },
    /// Show what accepting the restore would accept, erase again and expunge again. Exit code 1 means findings.
    Plan(PlanArguments),
    /// Accept the restore, and repeat the erasures and expunges that it undid.
    Accept {
        #[command(flatten)]
        plan: PlanArguments,
        /// Reason for the journal. Every later verification shows it.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    vault: VaultArguments,
    /// File with the newest checkpoint that was kept outside the storage.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Directory that the restore replaces, if its header can still be read with the same credential.
    #[arg(long, value_name = "DIRECTORY")]
    replaces: Option<PathBuf>,
}

pub(crate) fn run(command: &RestoreCommand, context: &Context) -> Result<Exit, Failure> {
    match command {
        RestoreCommand::Copy { backup, directory } => copy(backup, directory, context),
        RestoreCommand::Plan(arguments) => with_vault(&arguments.vault, context, |open| {
            let session = open.session(context, Purpose::SystemAdministration);
            let plan = plan(&session, open, arguments)?;
            context.progress.finish();
            output::print(context.json, &json!({ "plan": plan }), text_of(&plan))?;
            let is_empty = plan.findings.is_clean() && plan.items.is_empty();
            Ok(if is_empty {
                Exit::Success
            } else {
                Exit::Findings
            })
        }),
        RestoreCommand::Accept { plan, reason } => {
            let reason = Reason::new(reason)?;
            with_vault(&plan.vault, context, |open| {
                accept(open, plan, reason, context)
            })
        }
    }
}

fn copy(backup: &Path, directory: &Path, context: &Context) -> Result<Exit, Failure> {
    let kind = fs::metadata(backup).map_err(|error| Error::Storage(error.into()))?;
    if !is_absent_or_empty(directory)? {
        return Err(Error::Storage(StorageError::NotEmpty).into());
    }
    let report = match kind.is_dir() {
        true => copy_directory(backup, directory, context)?,
        false => copy_archive(backup, directory)?,
    };
    context.progress.finish();
    let text = Text::new("copied")
        .line("objects", report.objects)
        .line("bytes", report.bytes)
        .note("next: run `chartlock restore plan` on the new directory");
    output::print(context.json, &json!({ "copy": report }), text)?;
    Ok(Exit::Success)
}

/// Size of the copy of a backup.
#[derive(Serialize)]
struct CopyReport {
    objects: u64,
    bytes: u64,
}

fn copy_directory(
    backup: &Path,
    directory: &Path,
    context: &Context,
) -> Result<CopyReport, Failure> {
    require_content(backup)?;
    let source = FileStorage::open_read_only(backup)?;
    let report = source.backup(directory, |copied, total| {
        context.progress.bytes("copying", copied, total);
    })?;
    Ok(CopyReport {
        objects: report.objects,
        bytes: report.bytes,
    })
}

fn copy_archive(backup: &Path, directory: &Path) -> Result<CopyReport, Failure> {
    let open = || File::open(backup).map_err(|error| Error::Storage(error.into()));
    // Check the archive before the directory is created.
    archive::verify(std::io::BufReader::new(open()?))?;
    let storage = FileOptions::new().without_scrub().open(directory)?;
    let report = archive::read(std::io::BufReader::new(open()?), &storage)?;
    storage.close()?;
    Ok(CopyReport {
        objects: report.objects,
        bytes: report.bytes,
    })
}

fn plan(
    session: &Session,
    open: &OpenVault,
    arguments: &PlanArguments,
) -> Result<RestorePlan, Failure> {
    let checkpoint = (arguments.checkpoint.as_deref())
        .map(read_checkpoint)
        .transpose()?;
    let later = (arguments.replaces.as_deref())
        .map(|directory| later_header(directory, open))
        .transpose()?;
    Ok(session.plan_restore(checkpoint.as_ref(), later.as_ref())?)
}

/// Reads the header of the storage that a restore replaces.
pub(crate) fn later_header(directory: &Path, open: &OpenVault) -> Result<LaterHeader, Failure> {
    require_content(directory)?;
    let storage = FileStorage::open_read_only(directory)?;
    let header = (open.secret).with(|credential| LaterHeader::read(&storage, credential));
    Ok(header?)
}

fn accept(
    open: &OpenVault,
    arguments: &PlanArguments,
    reason: Reason,
    context: &Context,
) -> Result<Exit, Failure> {
    let session = open.session(context, Purpose::SystemAdministration);
    let plan = plan(&session, open, arguments)?;
    context.progress.finish();
    let items = plan.items.iter().filter(|item| plan.repeats(item)).count();
    context.confirm(&format!(
        "Accepting repeats {items} erasures and expunges, and all findings of the plan count as accepted."
    ))?;
    let report = session.accept_restore(&plan, reason)?;
    let text = Text::new("restore accepted")
        .line("subjects erased again", report.erased_again)
        .line("subjects not erased again", report.not_erased_again)
        .line("records expunged again", report.expunged_again)
        .line("records not expunged again", report.not_expunged_again)
        .line("left out", report.left_out)
        .note_if(
            report.root_rotation_due,
            "next: run `chartlock rotate root`, because credentials of the backup's time are valid again, \
             then `chartlock rotate master`, and export a new kit",
        );
    output::print(context.json, &json!({ "restore": report }), text)?;
    Ok(Exit::Success)
}

fn text_of(plan: &RestorePlan) -> Text {
    let mut text = super::verify::text_of(&plan.findings);
    for item in &plan.items {
        let who = (item.subject.as_ref()).map_or("unknown subject", |subject| subject.identifier());
        let name = item.name.as_deref().unwrap_or("all records");
        let repeated = if plan.repeats(item) {
            "is repeated"
        } else {
            "is NOT repeated"
        };
        text.push(
            &format!("{:?}", item.kind),
            format!("{who}, {name}: {repeated}"),
        );
    }
    for slot in &plan.header.slots_back {
        text.push("credential valid again", super::slots::slot_line(slot));
    }
    text.note("next: `chartlock restore accept` with the same options and a --reason")
}
