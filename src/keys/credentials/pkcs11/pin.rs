//! PIN of a token.

use std::path::Path;

use cryptoki::types::RawAuthPin;
use zeroize::Zeroizing;

use crate::crypto;
use crate::error::{Error, Result};
use crate::keys::credentials::secret_source::{self, LINE_END_MAX, Readers};

/// The maximum length of a PIN, in bytes. Tokens accept at most 255.
const MAX: usize = 255;

/// A PIN, which is wiped on drop.
#[derive(Clone)]
pub(super) struct Pin(Zeroizing<Vec<u8>>);

impl Pin {
    pub(super) fn new(pin: Zeroizing<Vec<u8>>) -> Result<Self> {
        (1..=MAX)
            .contains(&pin.len())
            .then_some(Self(pin))
            .ok_or(Error::InvalidCredentialSetting)
    }

    /// Reads a PIN from a file, which may end with one line end.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let pin = secret_source::read_line::<{ MAX + LINE_END_MAX + 1 }>(path, Readers::Anyone);
        Self::new(pin?)
    }

    pub(super) fn equals(&self, other: &Self) -> bool {
        crypto::equal(&self.0, &other.0)
    }

    /// Returns a copy for the login call, which is wiped on drop.
    pub(super) fn for_login(&self) -> RawAuthPin {
        RawAuthPin::new(Box::new(self.0.to_vec()))
    }
}
