//! Arguments that name the sources of credentials.

use std::path::PathBuf;

use clap::Args;

use super::credential::{Asking, Secret, Source};
use super::failure::Failure;

/// Sources of the credential that opens the vault. Without one, the passphrase is asked on the terminal.
#[derive(Debug, Args)]
pub(crate) struct CredentialArguments {
    /// Key file.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// File with the passphrase, which only its owner can read.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Number of an open file descriptor from which the passphrase is read.
    #[arg(long, value_name = "N", conflicts_with = "passphrase_file")]
    passphrase_fd: Option<u32>,
    /// File with one recovery share. Repeat it for each share.
    #[arg(long, value_name = "FILE")]
    share_file: Vec<PathBuf>,
    /// Open with two factors: the key file and the passphrase together.
    #[arg(long, requires = "key_file")]
    two_factor: bool,
}

impl CredentialArguments {
    /// Reads the credential that opens a vault.
    pub(crate) fn read(&self) -> Result<Secret, Failure> {
        self.source().read(Asking::Once("Passphrase: "))
    }

    /// Reads the first credential of a new vault.
    pub(crate) fn read_new(&self) -> Result<Secret, Failure> {
        self.source().read(Asking::Twice("New passphrase: "))
    }

    fn source(&self) -> Source<'_> {
        Source {
            key_file: self.key_file.as_deref(),
            passphrase_file: self.passphrase_file.as_deref(),
            passphrase_fd: self.passphrase_fd,
            share_files: &self.share_file,
            two_factor: self.two_factor,
        }
    }
}

/// Sources of another credential than the one that opens the vault: a new one, or one to try.
#[derive(Debug, Args)]
pub(crate) struct OtherCredentialArguments {
    /// Key file of the other credential.
    #[arg(long, value_name = "FILE")]
    other_key_file: Option<PathBuf>,
    /// File with the other passphrase.
    #[arg(long, value_name = "FILE")]
    other_passphrase_file: Option<PathBuf>,
    /// Number of an open file descriptor from which the other passphrase is read.
    #[arg(long, value_name = "N", conflicts_with = "other_passphrase_file")]
    other_passphrase_fd: Option<u32>,
    /// File with one recovery share. Repeat it for each share.
    #[arg(long, value_name = "FILE")]
    other_share_file: Vec<PathBuf>,
    /// Use two factors: the other key file and the other passphrase together.
    #[arg(long, requires = "other_key_file")]
    other_two_factor: bool,
}

impl OtherCredentialArguments {
    /// Reads a credential for a new slot.
    pub(crate) fn read_new(&self) -> Result<Secret, Failure> {
        self.source().read(Asking::Twice("New passphrase: "))
    }

    /// Reads an existing credential.
    pub(crate) fn read(&self) -> Result<Secret, Failure> {
        self.source().read(Asking::Once("Passphrase to try: "))
    }

    fn source(&self) -> Source<'_> {
        Source {
            key_file: self.other_key_file.as_deref(),
            passphrase_file: self.other_passphrase_file.as_deref(),
            passphrase_fd: self.other_passphrase_fd,
            share_files: &self.other_share_file,
            two_factor: self.other_two_factor,
        }
    }
}

/// Slots that stay after a rotation of the root key or the journal keys, and slots that it drops.
#[derive(Debug, Args)]
pub(crate) struct KeepArguments {
    /// Key file of a slot that stays. Repeat it for each slot.
    #[arg(long, value_name = "FILE")]
    keep_key_file: Vec<PathBuf>,
    /// File with the passphrase of a slot that stays. Repeat it for each slot.
    #[arg(long, value_name = "FILE")]
    keep_passphrase_file: Vec<PathBuf>,
    /// Id of a slot to drop. Repeat it for each slot.
    #[arg(long, value_name = "ID")]
    pub(crate) drop: Vec<u16>,
}

impl KeepArguments {
    /// Reads the credentials of the slots that stay.
    pub(crate) fn read(&self) -> Result<Vec<Secret>, Failure> {
        let key_files = self.keep_key_file.iter().map(|path| Secret::key_file(path));
        let passphrases =
            (self.keep_passphrase_file.iter()).map(|path| Secret::passphrase_file(path));
        key_files.chain(passphrases).collect()
    }
}
