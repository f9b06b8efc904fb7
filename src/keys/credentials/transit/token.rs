//! Sources of the token that the service asks for.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::CredentialFailure;

/// The maximum length of a token, in bytes. Batch tokens, the longest, have several hundred.
const TOKEN_MAX: usize = 8192;

/// A token, or where to read it for each request, so that a renewed token is used.
pub(super) enum Token {
    Value(Zeroizing<String>),
    File(PathBuf),
    Variable(String),
}

impl Token {
    /// Returns `false` for a value that is no token.
    pub(super) fn is_valid(&self) -> bool {
        match self {
            Self::Value(token) => is_token(token),
            Self::File(_) | Self::Variable(_) => true,
        }
    }

    /// Returns the token of this moment.
    pub(super) fn read(&self) -> Result<Zeroizing<String>, CredentialFailure> {
        let token = match self {
            Self::Value(token) => Some(token.clone()),
            Self::File(path) => read_file(path),
            Self::Variable(name) => std::env::var(name).ok().map(Zeroizing::new),
        };
        token
            .filter(|token| is_token(token))
            .ok_or(CredentialFailure::Denied)
    }
}

/// Reads a file with a token, and a line end after it.
fn read_file(path: &Path) -> Option<Zeroizing<String>> {
    // Refuse pipes, because opening a pipe would wait for a writer.
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let limit = TOKEN_MAX + 3;
    // The text is read into its place, because a buffer that grows leaves copies.
    let mut token = Zeroizing::new(String::with_capacity(2 * limit));
    let file = File::open(path).ok()?;
    file.take(limit as u64).read_to_string(&mut token).ok()?;
    for end in ['\n', '\r'] {
        if token.ends_with(end) {
            token.pop();
        }
    }
    Some(token)
}

fn is_token(token: &str) -> bool {
    (1..=TOKEN_MAX).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
}
