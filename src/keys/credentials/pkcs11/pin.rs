//! PIN of a token.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use cryptoki::types::RawAuthPin;
use zeroize::Zeroizing;

use crate::crypto;
use crate::error::{Error, Result};

/// The maximum length of a PIN, in bytes. Tokens accept at most 255.
const MAX: usize = 255;
/// The line end after a PIN in a file.
const LINE_END_MAX: usize = 2;

/// A PIN, which is wiped on drop.
#[derive(Clone)]
pub(super) struct Pin(Zeroizing<Vec<u8>>);

impl Pin {
    pub(super) fn new(pin: Zeroizing<Vec<u8>>) -> Result<Self> {
        (1..=MAX)
            .contains(&pin.len())
            .then_some(Self(pin))
            .ok_or(Error::InvalidPkcs11)
    }

    /// Reads a PIN from a file, which may end with one line end.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let mut text = Zeroizing::new(Vec::with_capacity(MAX + LINE_END_MAX + 1));
        read_start(path, &mut text).map_err(|error| Error::PinFile(error.kind()))?;
        if text.last() == Some(&b'\n') {
            text.pop();
            if text.last() == Some(&b'\r') {
                text.pop();
            }
        }
        Self::new(text)
    }

    pub(super) fn equals(&self, other: &Self) -> bool {
        crypto::equal(&self.0, &other.0)
    }

    /// Returns a copy for the login call, which is wiped on drop.
    pub(super) fn for_login(&self) -> RawAuthPin {
        RawAuthPin::new(Box::new(self.0.to_vec()))
    }
}

/// Reads one byte more than a PIN can have, but not more, so that the buffer never moves.
fn read_start(path: &Path, text: &mut Vec<u8>) -> io::Result<()> {
    // Refuse pipes and devices, because reading them could wait forever.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    text.resize(MAX + LINE_END_MAX + 1, 0);
    let mut file = File::open(path)?;
    let mut length = 0;
    while let Some(rest) = text.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    text.truncate(length);
    Ok(())
}
