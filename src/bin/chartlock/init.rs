//! `init`: creates a vault.

use std::path::{Path, PathBuf};

use chartlock::storage::{FileOptions, FileStorage, MemoryStorage, Projection, Scan, Storage};
use chartlock::{CipherSuite, Error, Vault};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::context::Context;
use super::credential_arguments::CredentialArguments;
use super::failure::{Exit, Failure};
use super::open::{is_absent_or_empty, options};
use super::output::{self, Text};
use super::output_file::OutputFile;

#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// Directory of the new vault: absent, empty, or that of an interrupted `chartlock init`.
    directory: PathBuf,
    /// Cipher suite, which cannot be changed later.
    #[arg(long, value_enum, default_value = "aes-256-gcm")]
    suite: Suite,
    /// Also write a recovery kit to this file.
    #[arg(long, value_name = "FILE")]
    kit: Option<PathBuf>,
    #[command(flatten)]
    credential: CredentialArguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Suite {
    #[value(name = "aes-256-gcm")]
    Aes256Gcm,
    #[value(name = "chacha20-poly1305")]
    ChaCha20Poly1305,
}

impl From<Suite> for CipherSuite {
    fn from(suite: Suite) -> Self {
        match suite {
            Suite::Aes256Gcm => Self::Aes256Gcm,
            Suite::ChaCha20Poly1305 => Self::ChaCha20Poly1305,
        }
    }
}

pub(crate) fn run(arguments: &InitArguments, context: &Context) -> Result<Exit, Failure> {
    let directory = &arguments.directory;
    let started = match is_absent_or_empty(directory)? {
        true => None,
        false => Some(open_without_objects(directory)?),
    };
    let out = (arguments.kit.as_deref())
        .map(|path| OutputFile::create(path, directory, false))
        .transpose()?;
    let secret = arguments.credential.read_new()?;
    let options = options(context).cipher_suite(arguments.suite.into());
    // Try the credential in memory first, so that a refused one leaves no directory.
    secret.with(|credential| options.clone().create(MemoryStorage::new(), credential))?;
    let storage = match started {
        Some(storage) => storage,
        None => open(directory)?,
    };
    let vault = secret.with(|credential| options.create(storage, credential))?;
    let written = out.map_or(Ok(()), |out| write_kit(&vault, out));
    let slots = vault.slots()?;
    vault.close()?;
    written?;
    let text = Text::new("vault created")
        .note_if(
            arguments.kit.is_none(),
            "next: export a recovery kit with `chartlock kit create`, and keep it away from the storage",
        )
        .note("next: add a second credential with `chartlock slots add`");
    output::print(
        context.json,
        &json!({ "created": true, "slots": slots }),
        text,
    )?;
    Ok(Exit::Success)
}

fn open(directory: &Path) -> Result<FileStorage, Failure> {
    Ok(FileOptions::new().without_scrub().open(directory)?)
}

/// Opens the storage that an interrupted creation left. Refuses a storage that contains an object.
fn open_without_objects(directory: &Path) -> Result<FileStorage, Failure> {
    let storage = open(directory)?;
    let first = storage.scan(Scan {
        prefix: b"",
        after: None,
        limit: 1,
        projection: Projection::Keys,
    })?;
    if first.items.is_empty() && !first.more {
        return Ok(storage);
    }
    storage.close()?;
    Err(Error::NotEmpty.into())
}

/// Writes the recovery kit of the new vault. A failure states that the vault exists.
fn write_kit(vault: &Vault, out: OutputFile) -> Result<(), Failure> {
    let kit = vault.recovery_kit().map_err(Failure::from);
    let written = kit.and_then(|kit| out.publish_with(kit.as_bytes()));
    written.map_err(|failure| {
        Failure::new(
            Exit::Incomplete,
            format!(
                "the vault was created, but its recovery kit was not written: {}",
                failure.message()
            ),
            "run `chartlock kit create` on the new vault",
        )
    })
}
