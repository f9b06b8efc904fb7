//! Command line of the tool. Help, completions and the manual page come from this definition.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::backup::BackupArguments;
use super::completions::CompletionArguments;
use super::credential_arguments::CredentialArguments;
use super::export::ExportCommand;
use super::init::InitArguments;
use super::journal::JournalCommand;
use super::kit::KitCommand;
use super::report::ReportCommand;
use super::restore::RestoreCommand;
use super::rotate::RotateCommand;
use super::salvage::SalvageArguments;
use super::slots::SlotsCommand;
use super::verify::VerifyArguments;

/// Maintains a chartlock vault in a directory.
///
/// The passphrase or key comes from a file, a file descriptor or the terminal, never from an argument or an
/// environment variable.
#[derive(Debug, Parser)]
#[command(
    name = "chartlock",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit codes: 0 success, 1 findings, 2 usage or invalid input, 3 credential, \
    4 in use or unavailable for now, 5 storage, 6 refused in this state, 7 incomplete or outcome unknown."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: CommonArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct CommonArguments {
    /// Print one JSON document on standard output, and errors as JSON on standard error.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Do not ask for confirmation.
    #[arg(long, global = true)]
    pub(crate) yes: bool,
    /// Actor for the journal. The default is the login name, with the prefix `os-login:`.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) actor: Option<String>,
    /// Purpose for the journal, a code of HL7 v3 PurposeOfUse, for backup, restore plan, restore accept, journal,
    /// report and export. The default is HSYSADMIN, or HOPERAT for report and export audit-events.
    #[arg(long, global = true, value_name = "CODE")]
    pub(crate) purpose: Option<String>,
}

/// Directory of a vault, and how to open it.
#[derive(Debug, Args)]
pub(crate) struct VaultArguments {
    /// Directory of the vault.
    pub(crate) directory: PathBuf,
    /// Open the directory beside other processes that also open it as shared.
    #[arg(long)]
    pub(crate) shared: bool,
    #[command(flatten)]
    pub(crate) credential: CredentialArguments,
}

/// Directory of a vault that can also be read beside the app.
#[derive(Debug, Args)]
pub(crate) struct ReadArguments {
    #[command(flatten)]
    pub(crate) vault: VaultArguments,
    /// Read beside the app that has the vault open, and write the journal entries of this run into another
    /// directory. Add them to the vault later with `chartlock journal bring-home`.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "shared")]
    pub(crate) spool: Option<PathBuf>,
}

/// Output file of a command.
#[derive(Debug, Args)]
pub(crate) struct OutputArguments {
    /// Write the result to this file, which appears only when it is complete.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Replace the output file if it exists.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a vault in an absent or empty directory.
    Init(InitArguments),
    /// Create a key file, for use as a credential.
    KeyFile {
        /// Path of the new file, outside every vault.
        path: PathBuf,
    },
    /// Show the slots, and the number of subjects, records and keys.
    Status(ReadArguments),
    /// Compare the storage with the journal. Exit code 1 means findings.
    Verify(VerifyArguments),
    /// Make a checkpoint of the journal, to be kept outside the storage.
    Checkpoint {
        #[command(flatten)]
        vault: VaultArguments,
        #[command(flatten)]
        output: OutputArguments,
    },
    /// Make a checkpoint, and copy the vault into a new directory.
    Backup(BackupArguments),
    /// Copy a backup into a new directory, then plan and accept the restore.
    #[command(subcommand)]
    Restore(RestoreCommand),
    /// Copy everything readable from a damaged directory into a new one.
    Salvage(SalvageArguments),
    /// Rotate keys. Each rotation can be run again after an interruption.
    #[command(subcommand)]
    Rotate(RotateCommand),
    /// List, add, replace, remove and try the credentials of the vault.
    #[command(subcommand)]
    Slots(SlotsCommand),
    /// Export or restore a recovery kit, a copy of the vault's header, or repair the header.
    #[command(subcommand)]
    Kit(KitCommand),
    /// Bring journal pages of a spool into the vault.
    #[command(subcommand)]
    Journal(JournalCommand),
    /// Check the integrity of the storage, whether the journal can be written, and the free space.
    Health(ReadArguments),
    /// Reports from the journal.
    #[command(subcommand)]
    Report(ReportCommand),
    /// Export the whole vault, or its journal.
    #[command(subcommand)]
    Export(ExportCommand),
    /// Print the completions for a shell.
    Completions(CompletionArguments),
    /// Print the manual page.
    Man,
}
