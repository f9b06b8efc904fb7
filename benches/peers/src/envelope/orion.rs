//! Envelope with orion: two AEAD calls, one for the content and one for the content's key.

use anyhow::{Context, Result};
use orion::aead::{SecretKey, open, seal};

use super::{Envelope, Sealed};

/// The size of a sealed 32-byte key, in bytes: a 24-byte nonce, the encrypted key, and a 16-byte
/// tag.
const WRAPPED: usize = 24 + 32 + 16;

pub(super) struct Orion(SecretKey);

impl Orion {
    pub(super) fn new() -> Result<Self> {
        Ok(Self(SecretKey::generate()?))
    }
}

impl Envelope for Orion {
    fn name(&self) -> String {
        "orion".to_owned()
    }

    fn seal(&self, content: &[u8]) -> Result<Sealed> {
        let key = SecretKey::generate()?;
        let mut sealed = seal(&key, content)?;
        sealed.extend_from_slice(&seal(&self.0, key.unprotected_as_ref())?);
        Ok(Sealed::Whole(sealed))
    }

    fn open(&self, sealed: Sealed, then: &mut dyn FnMut(&[u8])) -> Result<()> {
        let sealed = sealed.whole()?;
        let (body, wrapped) = sealed
            .split_last_chunk::<WRAPPED>()
            .context("the key is missing")?;
        let key = SecretKey::try_from(&open(&self.0, wrapped)?[..])?;
        then(&open(&key, body)?);
        Ok(())
    }
}
