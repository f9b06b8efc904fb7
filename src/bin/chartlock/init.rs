//! `init`: creates a vault.

use std::path::PathBuf;

use chartlock::storage::{FileOptions, MemoryStorage, StorageError};
use chartlock::{CipherSuite, Error};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::context::Context;
use super::credential_arguments::CredentialArguments;
use super::failure::{Exit, Failure};
use super::open::{is_absent_or_empty, options};
use super::output::{self, Text};
use super::output_file;

#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// Directory of the new vault, absent or empty.
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
    if !is_absent_or_empty(directory)? {
        return Err(Error::Storage(StorageError::NotEmpty).into());
    }
    let secret = arguments.credential.read_new()?;
    let options = options(context).cipher_suite(arguments.suite.into());
    // Try the credential in memory first, so that a refused one leaves no directory.
    secret.with(|credential| options.clone().create(MemoryStorage::new(), credential))?;
    let out = (arguments.kit.as_deref())
        .map(|path| output_file::OutputFile::create(path, directory, false))
        .transpose()?;
    let storage = FileOptions::new().without_scrub().open(directory)?;
    let vault = secret.with(|credential| options.create(storage, credential))?;
    if let Some(out) = out {
        let kit = vault.recovery_kit()?;
        out.publish_with(kit.as_bytes())?;
    }
    let slots = vault.slots()?;
    vault.close()?;
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
