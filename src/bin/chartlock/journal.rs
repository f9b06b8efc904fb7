//! `journal`: pages of a spool.

use std::path::{Path, PathBuf};

use chartlock::Purpose;
use chartlock::access::Reason;
use chartlock::storage::FileStorage;
use clap::Subcommand;
use serde_json::json;

use super::arguments::VaultArguments;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::open::{require_content, with_vault};
use super::output::{self, Text};
use super::restore::later_header;

#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Add the journal entries of a spool, which commands with --spool wrote.
    BringHome {
        #[command(flatten)]
        vault: VaultArguments,
        /// Directory of the spool, which stays as it is.
        #[arg(long, value_name = "DIRECTORY")]
        spool: PathBuf,
        /// Reason for the journal.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Add the journal pages of the storage that a restore replaced. Run it before `chartlock restore plan`.
    BringBack {
        #[command(flatten)]
        vault: VaultArguments,
        /// Directory that the restore replaced, which stays as it is.
        #[arg(long, value_name = "DIRECTORY")]
        replaces: PathBuf,
        /// Reason for the journal.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

pub(crate) fn run(command: &JournalCommand, context: &Context) -> Result<Exit, Failure> {
    match command {
        JournalCommand::BringHome {
            vault,
            spool,
            reason,
        } => bring_home(vault, spool, reason, context),
        JournalCommand::BringBack {
            vault,
            replaces,
            reason,
        } => bring_back(vault, replaces, reason, context),
    }
}

fn bring_home(
    vault: &VaultArguments,
    spool: &Path,
    reason: &str,
    context: &Context,
) -> Result<Exit, Failure> {
    require_content(spool)?;
    with_vault(vault, context, |open| {
        let spool = FileStorage::open_read_only(spool)?;
        let session = open.session(context, Purpose::SystemAdministration);
        let report = session.bring_journal_home(reason, &spool)?;
        let text = Text::new("journal entries added")
            .line("pages added", report.pages)
            .line("pages known before", report.known);
        output::print(context.json, &json!({ "journal": report }), text)?;
        Ok(Exit::Success)
    })
}

fn bring_back(
    vault: &VaultArguments,
    replaces: &Path,
    reason: &str,
    context: &Context,
) -> Result<Exit, Failure> {
    let reason = Reason::new(reason)?;
    with_vault(vault, context, |open| {
        let header = later_header(replaces, open)?;
        let storage = FileStorage::open_read_only(replaces)?;
        let session = open.session(context, Purpose::SystemAdministration);
        let report = session.bring_journal_back(&storage, Some(&header), reason)?;
        let is_whole = report.pages_passed_over == 0;
        let text = Text::new("journal pages added")
            .line("pages added", report.pages_put_back)
            .line("pages passed over", report.pages_passed_over)
            .note_if(
                !is_whole,
                "next: keep the replaced directory, and run `chartlock verify`, because pages do not open or differ",
            )
            .note("next: run `chartlock restore plan` with the same --replaces");
        output::print(context.json, &json!({ "journal": report }), text)?;
        Ok(if is_whole {
            Exit::Success
        } else {
            Exit::Findings
        })
    })
}
