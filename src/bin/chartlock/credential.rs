//! Credentials from files, file descriptors and the terminal.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use chartlock::Error;
use chartlock::keys::{Both, Credential, KeyFile, Passphrase, Shares};
use zeroize::Zeroizing;

use super::failure::{Exit, Failure};

/// Maximum length of a passphrase in bytes, as in the library.
const PASSPHRASE_MAX: usize = 1024;
/// Maximum length of a file with a share in bytes.
const SHARE_MAX: u64 = 4096;

/// Where a credential comes from.
pub(crate) struct Source<'a> {
    pub(crate) key_file: Option<&'a Path>,
    pub(crate) passphrase_file: Option<&'a Path>,
    pub(crate) passphrase_fd: Option<u32>,
    pub(crate) share_files: &'a [PathBuf],
    pub(crate) two_factor: bool,
}

/// How a passphrase is asked on the terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asking {
    Once(&'static str),
    /// For a new passphrase, because a typing error would lock the operator out.
    Twice(&'static str),
}

/// Credential in memory, wiped when it is dropped.
#[derive(Debug)]
pub(crate) enum Secret {
    Passphrase(Passphrase),
    KeyFile(KeyFile),
    Shares(Shares),
    Two(KeyFile, Passphrase),
}

impl Source<'_> {
    pub(crate) fn read(&self, asking: Asking) -> Result<Secret, Failure> {
        let has_passphrase = self.passphrase_file.is_some() || self.passphrase_fd.is_some();
        let kinds = [
            self.key_file.is_some(),
            has_passphrase,
            !self.share_files.is_empty(),
        ];
        let count = kinds.into_iter().filter(|is_given| *is_given).count();
        let allowed = if self.two_factor && has_passphrase {
            2
        } else {
            1
        };
        if count > allowed || (self.two_factor && !self.share_files.is_empty()) {
            return Err(Failure::usage(
                "several credentials were given for one slot",
                "pass one of them; for a key file together with a passphrase, pass --two-factor",
            ));
        }
        match self.key_file {
            Some(path) if self.two_factor => {
                let key = KeyFile::open(path)?;
                Ok(Secret::Two(key, self.passphrase(asking)?))
            }
            Some(path) => Secret::key_file(path),
            None if !self.share_files.is_empty() => self.shares(),
            None => self.passphrase(asking).map(Secret::Passphrase),
        }
    }

    fn passphrase(&self, asking: Asking) -> Result<Passphrase, Failure> {
        match (self.passphrase_file, self.passphrase_fd) {
            (Some(path), _) => Ok(Passphrase::from_file(path)?),
            (None, Some(number)) => from_descriptor(number),
            (None, None) => asking.ask(),
        }
    }

    fn shares(&self) -> Result<Secret, Failure> {
        let mut texts = Vec::new();
        for path in self.share_files {
            let mut text = Zeroizing::new(String::with_capacity(SHARE_MAX as usize));
            let file = File::open(path).map_err(|error| Error::KeyFile(error.kind()))?;
            require_owner_only(&file)?;
            let read = file.take(SHARE_MAX).read_to_string(&mut text);
            read.map_err(|error| Error::KeyFile(error.kind()))?;
            texts.push(text);
        }
        let texts: Vec<&str> = texts.iter().map(|text| text.trim()).collect();
        Ok(Secret::Shares(Shares::from_texts(&texts)?))
    }
}

impl Secret {
    pub(crate) fn key_file(path: &Path) -> Result<Self, Failure> {
        Ok(Self::KeyFile(KeyFile::open(path)?))
    }

    pub(crate) fn passphrase_file(path: &Path) -> Result<Self, Failure> {
        Ok(Self::Passphrase(Passphrase::from_file(path)?))
    }

    /// Calls `use_it` with the credential.
    pub(crate) fn with<T>(&self, use_it: impl FnOnce(&dyn Credential) -> T) -> T {
        match self {
            Self::Passphrase(passphrase) => use_it(passphrase),
            Self::KeyFile(key) => use_it(key),
            Self::Shares(shares) => use_it(shares),
            Self::Two(key, passphrase) => use_it(&Both::new(key, passphrase)),
        }
    }
}

/// Calls `use_them` with all credentials.
pub(crate) fn with_all<T>(
    secrets: &[&Secret],
    use_them: impl FnOnce(&[&dyn Credential]) -> T,
) -> T {
    let boths: Vec<Option<Both<'_>>> = (secrets.iter())
        .map(|secret| match *secret {
            Secret::Two(key, passphrase) => Some(Both::new(key, passphrase)),
            _ => None,
        })
        .collect();
    let credentials: Vec<&dyn Credential> = (secrets.iter().zip(&boths))
        .filter_map(|(secret, both)| match (*secret, both) {
            (Secret::Passphrase(passphrase), _) => Some(passphrase as &dyn Credential),
            (Secret::KeyFile(key), _) => Some(key),
            (Secret::Shares(shares), _) => Some(shares),
            (Secret::Two(..), both) => both.as_ref().map(|both| both as &dyn Credential),
        })
        .collect();
    use_them(&credentials)
}

impl Asking {
    fn ask(self) -> Result<Passphrase, Failure> {
        match self {
            Self::Once(prompt) => Ok(Passphrase::new(ask_line(prompt)?)),
            Self::Twice(prompt) => {
                let first = Zeroizing::new(ask_line(prompt)?);
                let second = Zeroizing::new(ask_line("Repeat the passphrase: ")?);
                match *first == *second {
                    true => Ok(Passphrase::new(first.as_bytes())),
                    false => Err(Failure::new(
                        Exit::Credential,
                        "the two passphrases differ, so nothing was changed",
                        "run the command again",
                    )),
                }
            }
        }
    }
}

fn ask_line(prompt: &str) -> Result<String, Failure> {
    rpassword::prompt_password(prompt).map_err(|_| {
        Failure::new(
            Exit::Credential,
            "no credential was given, and there is no terminal to ask for a passphrase",
            "pass --key-file, --passphrase-file or --passphrase-fd",
        )
    })
}

/// Refuses a file that users other than its owner can read, as the library does for key files.
#[cfg(unix)]
fn require_owner_only(file: &File) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;

    let metadata = file
        .metadata()
        .map_err(|error| Error::KeyFile(error.kind()))?;
    match metadata.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => Err(Error::KeyFileExposed.into()),
    }
}

#[cfg(not(unix))]
fn require_owner_only(_: &File) -> Result<(), Failure> {
    Ok(())
}

/// Reads a passphrase from an open file descriptor. One trailing newline is not part of the passphrase.
fn from_descriptor(number: u32) -> Result<Passphrase, Failure> {
    let unreadable = |error: io::Error| {
        Failure::new(
            Exit::Credential,
            format!(
                "the file descriptor of the passphrase cannot be read ({})",
                error.kind()
            ),
            "open the file descriptor in the shell, for example with 3<FILE, and pass its number",
        )
    };
    // The system names the file descriptors of a process as files, so that no unsafe code is needed.
    let path = Path::new("/dev/fd").join(number.to_string());
    let limit = PASSPHRASE_MAX + 3;
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit));
    let file = File::open(path).map_err(unreadable)?;
    (file.take(limit as u64).read_to_end(&mut bytes)).map_err(unreadable)?;
    let end = match bytes.as_slice() {
        [.., b'\r', b'\n'] => 2,
        [.., b'\n'] => 1,
        _ => 0,
    };
    let length = bytes.len().saturating_sub(end);
    bytes.truncate(length);
    match (1..=PASSPHRASE_MAX).contains(&length) {
        true => Ok(Passphrase::new(bytes.as_slice())),
        false => Err(Error::InvalidPassphrase.into()),
    }
}

/// Creates a key file.
pub(crate) fn create_key_file(path: &Path) -> Result<(), Failure> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(Failure::usage(
            "the key file already exists",
            "choose another name; a key file is never replaced",
        ));
    }
    KeyFile::create(path)?;
    Ok(())
}
