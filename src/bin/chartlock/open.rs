//! Opening and closing of storage and vault around a command.

use std::fs;
use std::io;
use std::path::{self, Component, Path};
use std::sync::Arc;

use chartlock::storage::{FileOptions, FileStorage, Storage, StorageError};
use chartlock::{Error, Purpose, Session, Vault, VaultOptions};

use super::arguments::{ReadArguments, VaultArguments};
use super::context::Context;
use super::credential::Secret;
use super::failure::{Exit, Failure};

/// Storage key of the header.
const HEADER: &[u8] = b"v";

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
    let spool = open_spool(spool)?;
    let own = Arc::clone(&storage);
    let vault =
        secret.with(|credential| options(context).open_read_only(own, credential, spool))?;
    run_and_close(vault, storage, secret, context, run)
}

/// Opens the storage for the journal entries of a run. Refuses a directory that contains a vault, such as the
/// directory of another vault, whose journal does not accept these entries.
fn open_spool(directory: &Path) -> Result<FileStorage, Failure> {
    let spool = FileStorage::open(directory)?;
    if stored_header(&spool)?.is_none() {
        return Ok(spool);
    }
    spool.close()?;
    Err(Failure::usage(
        "the directory of --spool contains a vault",
        "choose a new directory, or one that an earlier --spool created",
    ))
}

/// Returns the stored header of a vault, sealed.
pub(crate) fn stored_header(storage: &FileStorage) -> Result<Option<Vec<u8>>, Failure> {
    let stored = storage.read(&[HEADER])?.pop().flatten();
    Ok(stored.map(|stored| stored.value.to_vec()))
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

/// Refuses a new directory in the directory of a vault or backup, where it would prevent the vault from being
/// opened.
pub(crate) fn require_outside(new: &Path, vault: &Path) -> Result<(), Failure> {
    let io = |error: io::Error| Failure::from(Error::Storage(error.into()));
    let new = path::absolute(new).map_err(io)?;
    // The new directory does not exist yet, so the nearest directory above it that exists decides.
    let above = new.ancestors().find(|path| path.exists());
    let above = above.unwrap_or(Path::new("/"));
    let rest = new.strip_prefix(above).unwrap_or(&new);
    let is_plain = !rest.components().any(|part| part == Component::ParentDir);
    let above = fs::canonicalize(above).map_err(io)?;
    let is_inside = fs::canonicalize(vault).is_ok_and(|vault| above.starts_with(vault));
    match is_plain && !is_inside {
        true => Ok(()),
        false => Err(Failure::usage(
            "the new directory would be inside the directory of the vault or backup",
            "choose a place outside that directory",
        )),
    }
}

/// Refuses a directory that contains anything as the target of `command`.
pub(crate) fn require_new(directory: &Path, command: &str) -> Result<(), Failure> {
    if is_absent_or_empty(directory)? {
        return Ok(());
    }
    let next = format!("delete only this directory, not the original, then run `{command}` again");
    Err(match FileStorage::open_read_only(directory) {
        Err(StorageError::UnfinishedBackup) => Failure::new(
            Exit::Refused,
            "the target is an unfinished copy of an interrupted run",
            next,
        ),
        _ => Failure::new(
            Exit::Refused,
            "the target is not an empty directory",
            format!("choose a new directory; if an interrupted `{command}` left this one, {next}"),
        ),
    })
}

/// Returns `true` for an absent directory, and for one that contains at most `lost+found`.
pub(crate) fn is_absent_or_empty(directory: &Path) -> Result<bool, Failure> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
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
