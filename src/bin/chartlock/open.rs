//! Opening and closing of storage and vault around a command.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use chartlock::storage::{FileOptions, FileStorage};
use chartlock::{Error, Purpose, Session, Vault, VaultOptions};

use super::arguments::{ReadArguments, VaultArguments};
use super::context::Context;
use super::credential::Secret;
use super::failure::Failure;

/// Open vault of one command.
pub(crate) struct OpenVault {
    pub(crate) vault: Vault,
    pub(crate) storage: Arc<FileStorage>,
    pub(crate) secret: Secret,
}

impl OpenVault {
    pub(crate) fn session(&self, context: &Context, purpose: Purpose) -> Session {
        let purpose = context.purpose(purpose);
        self.vault.session(context.actor.clone(), purpose)
    }
}

/// Opens the vault, runs the command, and closes the vault.
pub(crate) fn with_vault<T>(
    arguments: &VaultArguments,
    context: &Context,
    run: impl FnOnce(&OpenVault) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let storage = Arc::new(open_storage(arguments)?);
    let secret = arguments.credential.read()?;
    let own = Arc::clone(&storage);
    let vault = secret.with(|credential| options(context).open(own, credential))?;
    run_and_close(vault, storage, secret, context, run)
}

/// Opens the vault for reading: beside the app if the arguments name a spool.
pub(crate) fn with_readable_vault<T>(
    arguments: &ReadArguments,
    context: &Context,
    run: impl FnOnce(&OpenVault) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let Some(spool) = &arguments.spool else {
        return with_vault(&arguments.vault, context, run);
    };
    require_content(&arguments.vault.directory)?;
    require_outside(spool, &arguments.vault.directory)?;
    let storage = Arc::new(FileStorage::open_read_only(&arguments.vault.directory)?);
    let secret = arguments.vault.credential.read()?;
    let spool = FileStorage::open(spool)?;
    let own = Arc::clone(&storage);
    let vault =
        secret.with(|credential| options(context).open_read_only(own, credential, spool))?;
    run_and_close(vault, storage, secret, context, run)
}

fn run_and_close<T>(
    vault: Vault,
    storage: Arc<FileStorage>,
    secret: Secret,
    context: &Context,
    run: impl FnOnce(&OpenVault) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let progress = context.progress.clone();
    let open = OpenVault {
        vault: vault.with_progress(move |update| progress.update(update)),
        storage,
        secret,
    };
    let result = run(&open);
    context.progress.finish();
    // Close also after a failure, so that the entry of the failure becomes durable. The first failure counts.
    let closed = open.vault.close();
    let value = result?;
    closed?;
    Ok(value)
}

/// Returns the options under which the tool opens a vault.
pub(crate) fn options(context: &Context) -> VaultOptions {
    VaultOptions::new().system_actor(context.actor.clone())
}

pub(crate) fn open_storage(arguments: &VaultArguments) -> Result<FileStorage, Failure> {
    require_content(&arguments.directory)?;
    let options = FileOptions::new().without_scrub();
    let options = if arguments.shared {
        options.shared()
    } else {
        options
    };
    Ok(options.open(&arguments.directory)?)
}

/// Refuses an absent or empty directory, in which `FileStorage::open` would create a storage.
pub(crate) fn require_content(directory: &Path) -> Result<(), Failure> {
    if is_absent_or_empty(directory)? {
        return Err(Error::NoVault.into());
    }
    Ok(())
}

/// Refuses a new directory in the vault's directory, where it would prevent the vault from being opened.
pub(crate) fn require_outside(new: &Path, vault: &Path) -> Result<(), Failure> {
    let place = |path: &Path| fs::canonicalize(path).ok();
    let parent = match new.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let vault = place(vault);
    let is_inside = [place(new), place(parent)]
        .iter()
        .flatten()
        .any(|new| vault.as_ref().is_some_and(|vault| new.starts_with(vault)));
    match is_inside {
        true => Err(Failure::usage(
            "the new directory would be inside the vault's directory",
            "choose a place outside the vault",
        )),
        false => Ok(()),
    }
}

/// Returns `true` for an absent directory, and for one that contains at most `lost+found`.
pub(crate) fn is_absent_or_empty(directory: &Path) -> Result<bool, Failure> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        entries => entries.map_err(|error| Error::Storage(error.into()))?,
    };
    for entry in entries {
        let entry = entry.map_err(|error| Error::Storage(error.into()))?;
        if entry.file_name() != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}
