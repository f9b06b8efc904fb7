//! `kit`: the recovery kit, a copy of the vault's header.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use chartlock::report::RecoveryReport;
use chartlock::storage::{FileOptions, FileStorage, Storage, StorageError};
use chartlock::{Error, RecoveryKit};
use clap::Subcommand;
use serde_json::json;
use std::sync::Arc;

use super::arguments::VaultArguments;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::open::{open_storage, require_content, stored_header, with_vault};
use super::output::{self, Text};
use super::output_file::OutputFile;

/// Maximum length of a kit in bytes, above that of every header.
const KIT_MAX: u64 = 4 << 20;

#[derive(Debug, Subcommand)]
pub(crate) enum KitCommand {
    /// Write a recovery kit. It opens only with a credential of the vault; keep it away from the storage.
    Create {
        #[command(flatten)]
        vault: VaultArguments,
        /// File for the kit.
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
        /// Replace the file if it exists.
        #[arg(long)]
        force: bool,
    },
    /// Replace a damaged copy of the header with the other copy in the storage. Needs no kit and no credential.
    Repair {
        /// Directory of the vault.
        directory: PathBuf,
    },
    /// Restore the header from a kit, if the header is lost or does not open.
    Restore {
        #[command(flatten)]
        vault: VaultArguments,
        /// File with the kit.
        #[arg(long, value_name = "FILE")]
        kit: PathBuf,
        /// Restore a stale kit. Removed credentials are valid again, and newer master keys are lost with the
        /// records under them. The replaced header is written to --replaced.
        #[arg(long, requires = "replaced")]
        even_if_stale: bool,
        /// New file for the header that a stale kit replaces.
        #[arg(long, value_name = "FILE")]
        replaced: Option<PathBuf>,
    },
}

pub(crate) fn run(command: &KitCommand, context: &Context) -> Result<Exit, Failure> {
    match command {
        KitCommand::Create {
            vault,
            output,
            force,
        } => create(vault, output, *force, context),
        KitCommand::Repair { directory } => repair(directory, context),
        KitCommand::Restore {
            vault,
            kit,
            even_if_stale,
            replaced,
        } => {
            let stale = replaced.as_deref().filter(|_| *even_if_stale);
            restore(vault, kit, stale, context)
        }
    }
}

fn create(
    vault: &VaultArguments,
    path: &Path,
    force: bool,
    context: &Context,
) -> Result<Exit, Failure> {
    let out = OutputFile::create(path, &vault.directory, force)?;
    with_vault(vault, context, |open| {
        let kit = open.vault.recovery_kit()?;
        out.publish_with(kit.as_bytes())?;
        let text = Text::new("recovery kit written")
            .note("next: keep it away from the storage, and destroy earlier kits");
        output::print(
            context.json,
            &json!({ "kit": { "bytes": kit.as_bytes().len() } }),
            text,
        )?;
        Ok(Exit::Success)
    })
}

fn repair(directory: &Path, context: &Context) -> Result<Exit, Failure> {
    require_content(directory)?;
    let storage = FileOptions::new().without_scrub().open(directory)?;
    let is_repaired = storage.repair_header()?;
    let is_intact = is_repaired || is_header_intact(&storage)?;
    storage.close()?;
    let text = match (is_repaired, is_intact) {
        (true, _) => Text::new("a damaged copy of the header was replaced with the other copy")
            .note("next: run `chartlock verify`"),
        (false, true) => Text::new("nothing was repaired: both copies of the header are intact"),
        (false, false) => Text::new(
            "nothing was repaired: both copies of the header are damaged, or the damage is elsewhere in the storage",
        )
        .note("next: run `chartlock status`; if the vault does not open, run `chartlock kit restore`"),
    };
    let document = json!({ "repaired": is_repaired, "intact": is_intact });
    output::print(context.json, &document, text)?;
    Ok(if is_intact {
        Exit::Success
    } else {
        Exit::Findings
    })
}

/// Returns `true` if the storage has no fault, and thus both copies of the header are intact.
fn is_header_intact(storage: &FileStorage) -> Result<bool, Failure> {
    match storage.integrity() {
        Ok(found) if found.structure_faults == 0 => match stored_header(storage)? {
            Some(_) => Ok(true),
            None => Err(Error::NoVault.into()),
        },
        Ok(_) | Err(StorageError::Damaged) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn restore(
    vault: &VaultArguments,
    path: &Path,
    stale: Option<&Path>,
    context: &Context,
) -> Result<Exit, Failure> {
    let kit = read_kit(path)?;
    let replaced = stale
        .map(|path| OutputFile::create(path, &vault.directory, false))
        .transpose()?;
    let storage = Arc::new(open_storage(vault)?);
    let secret = vault.credential.read()?;
    let is_stale = replaced.is_some();
    context.confirm(match is_stale {
        true => "Records under newer master keys will be lost, and removed credentials will be valid again.",
        false => "The kit will become the header of the vault.",
    })?;
    let own = Arc::clone(&storage);
    match (replaced, stale) {
        (Some(out), Some(path)) => {
            let copy = HeaderCopy::publish(&storage, out)?;
            let report = secret.with(|credential| kit.restore_anyway(own, credential));
            copy.compare(report, path, &vault.directory)?;
        }
        _ => secret.with(|credential| kit.restore(own, credential))?,
    }
    storage.close()?;
    let text = Text::new("header restored from the kit")
        .note("next: run `chartlock verify`")
        .note_if(
            is_stale,
            "next: run `chartlock rotate root` with the credentials that are to stay",
        );
    output::print(
        context.json,
        &json!({ "restored": true, "root_rotation_due": is_stale }),
        text,
    )?;
    Ok(Exit::Success)
}

/// Copy of the stored header, in a file.
struct HeaderCopy(Vec<u8>);

impl HeaderCopy {
    /// Writes the stored header to a file. The file is durable before a kit overwrites the header, because no
    /// other copy of its master keys may exist. The file is empty if no header is stored.
    fn publish(storage: &FileStorage, out: OutputFile) -> Result<Self, Failure> {
        let stored = stored_header(storage)?.unwrap_or_default();
        out.publish_with(&stored)?;
        Ok(Self(stored))
    }

    /// Compares the copy with the header that the kit replaced, and writes that header to the file if another
    /// process changed it. Deletes the file if the header is unchanged.
    fn compare(
        self,
        report: Result<RecoveryReport, Error>,
        path: &Path,
        vault: &Path,
    ) -> Result<(), Failure> {
        let report = report.inspect_err(|error| {
            if *error != Error::CommitUnknown {
                // The header is still stored, so the copy is of no use.
                let _ = fs::remove_file(path);
            }
        })?;
        let replaced = report.replaced.unwrap_or_default();
        match replaced == self.0 {
            true => Ok(()),
            false => OutputFile::create(path, vault, true)?.publish_with(&replaced),
        }
    }
}

fn read_kit(path: &Path) -> Result<RecoveryKit, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(KIT_MAX).read_to_end(&mut bytes));
    read.map_err(|error| {
        let message = format!("the kit cannot be read ({})", error.kind());
        Failure::usage(
            message,
            "check the path; `chartlock kit create` writes a kit",
        )
    })?;
    Ok(RecoveryKit::from_bytes(&bytes)?)
}
