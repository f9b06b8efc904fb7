//! Sources of the token that the service asks for.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::CredentialFailure;
use crate::keys::credentials::secret_source::{self, LINE_END_MAX, Readers};

/// The maximum length of a token, in bytes. Batch tokens, the longest, have several hundred.
const TOKEN_MAX: usize = 8192;

/// Source of the token. A file or variable is read for each request, so that a renewed token is used.
pub(super) enum TokenSource {
    Value(Zeroizing<String>),
    File(PathBuf),
    Variable(String),
}

impl TokenSource {
    /// Returns `false` for a fixed value that is not a valid token.
    pub(super) fn is_valid(&self) -> bool {
        match self {
            Self::Value(token) => is_token(token),
            Self::File(_) | Self::Variable(_) => true,
        }
    }

    /// Reads the current token.
    pub(super) fn read(&self) -> Result<Zeroizing<String>, CredentialFailure> {
        let token = match self {
            Self::Value(token) => Some(token.clone()),
            Self::File(path) => read_file(path),
            Self::Variable(name) => secret_source::variable(name).ok(),
        };
        token
            .filter(|token| is_token(token))
            .ok_or(CredentialFailure::Denied)
    }
}

fn read_file(path: &Path) -> Option<Zeroizing<String>> {
    let line = secret_source::read_line::<{ TOKEN_MAX + LINE_END_MAX + 1 }>(path, Readers::Anyone);
    let token = std::str::from_utf8(&line.ok()?).ok()?.to_owned();
    Some(Zeroizing::new(token))
}

fn is_token(token: &str) -> bool {
    (1..=TOKEN_MAX).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
}
