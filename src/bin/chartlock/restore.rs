//! `restore`: copies a backup, then plans and accepts the restore.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use chartlock::access::Reason;
use chartlock::storage::{FileOptions, FileStorage, Storage, archive};
use chartlock::verify::{LaterHeader, RestoreItemKind, RestorePlan, RestoreReport};
use chartlock::{Error, Purpose, Session};
use clap::{Args, Subcommand};
use serde_json::json;

use super::arguments::VaultArguments;
use super::backup::CopyReport;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::open::{OpenVault, require_content, require_new, require_outside, with_vault};
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
    require_new(directory, "chartlock restore copy")?;
    if kind.is_dir() {
        require_outside(directory, backup)?;
    }
    let report = match kind.is_dir() {
        true => copy_directory(backup, directory, context)?,
        false => copy_archive(backup, directory)?,
    };
    context.progress.finish();
    let text = report
        .add_to(Text::new("copied"))
        .note("next: run `chartlock restore plan` on the new directory")
        .note_if(
            !report.is_whole(),
            "next: search for an earlier backup with this content, because it is missing in the copy",
        );
    output::print(context.json, &json!({ "copy": report }), text)?;
    Ok(report.exit())
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
    Ok(report.into())
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
        missing_segment_files: 0,
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
    let repeated = plan.items.iter().filter(|item| plan.repeats(item)).count();
    let not_repeated = plan.items.len().saturating_sub(repeated);
    let question = format!(
        "Accepting repeats {repeated} erasures and expunges, and does not repeat {not_repeated}. \
         All findings of the plan count as accepted."
    );
    context.confirm_after(lines_of(&plan), &question)?;
    let report = session.accept_restore(&plan, reason)?;
    // Objects that do not open are not accepted. A later verification reports them.
    let is_clean = (open.vault.verification().finish()).is_ok_and(|found| found.is_clean());
    context.progress.finish();
    let is_whole = report.not_erased_again + report.not_expunged_again + report.left_out == 0;
    let document = json!({ "restore": report, "clean": is_clean });
    output::print(context.json, &document, text_of_restore(&report, is_clean))?;
    Ok(if is_whole && is_clean {
        Exit::Success
    } else {
        Exit::Findings
    })
}

fn text_of_restore(report: &RestoreReport, is_clean: bool) -> Text {
    Text::new("restore accepted")
        .line("subjects erased again", report.erased_again)
        .line("subjects not erased again", report.not_erased_again)
        .line("records expunged again", report.expunged_again)
        .line("records not expunged again", report.not_expunged_again)
        .line("erasures and expunges left out", report.left_out)
        .note_if(
            report.not_erased_again > 0,
            "next: lift the legal holds or wait for the retention dates, then erase these subjects in the app",
        )
        .note_if(
            report.not_expunged_again > 0,
            "next: remove the legal hold, the retention date or the damage, then expunge these records in the app",
        )
        .note_if(
            report.left_out > 0,
            "next: review the items that were left out, and erase or expunge them in the app if that is meant",
        )
        .note_if(
            !is_clean,
            "next: run `chartlock verify`, because differences remain that the restore could not accept",
        )
        .note_if(
            report.root_rotation_due,
            "next: run `chartlock rotate root`, because credentials of the backup's time are valid again, \
             then `chartlock rotate master`, and export a new kit",
        )
}

fn text_of(plan: &RestorePlan) -> Text {
    lines_of(plan).note("next: `chartlock restore accept` with the same options and a --reason")
}

fn lines_of(plan: &RestorePlan) -> Text {
    let mut text = super::verify::text_of(&plan.findings);
    for item in &plan.items {
        let who = (item.subject.as_ref()).map_or("unknown subject", |subject| subject.identifier());
        let name = item.name.as_deref().unwrap_or("all records");
        let repeated = if plan.repeats(item) {
            "will be repeated"
        } else {
            "will NOT be repeated"
        };
        let kind = match item.kind {
            RestoreItemKind::Erase => "erasure",
            _ => "expunge",
        };
        text.push(kind, format!("{who}, {name}: {repeated}"));
    }
    for slot in &plan.header.slots_back {
        text.push("credential valid again", super::slots::slot_line(slot));
    }
    text
}
