//! The two AEAD cipher suites behind one interface.

use crate::crypto::provider::active::Cipher;
use crate::error::{Error, Result};

/// The length of an authentication tag, in bytes: 16 for both suites (NIST SP 800-38D, RFC 8439).
pub const TAG: usize = 16;

/// The longest message, in bytes: AES-GCM's limit (NIST SP 800-38D, 2^39 - 256 bits).
///
/// The limit is checked for both suites before the provider is called, because providers differ in
/// their own limits.
pub const LONGEST: u64 = (1 << 36) - 32;

/// The AEAD cipher suite that a vault writes with. Both suites derive keys with HKDF-SHA-256.
///
/// The suite is set when the vault is created. Each stored value records its suite in one byte, and
/// is read with that suite.
///
/// ```
/// # use chartlock::CipherSuite;
/// assert_eq!(CipherSuite::default(), CipherSuite::Aes256Gcm);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CipherSuite {
    /// AES-256-GCM (NIST SP 800-38D): the default.
    #[default]
    Aes256Gcm,
    /// ChaCha20-Poly1305 (RFC 8439), for machines without AES instructions.
    ChaCha20Poly1305,
}

impl CipherSuite {
    /// Returns the byte that identifies this suite in stored values.
    pub fn code(self) -> u8 {
        match self {
            Self::Aes256Gcm => 1,
            Self::ChaCha20Poly1305 => 2,
        }
    }

    /// Returns the suite that `code` identifies.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if `code` is neither 1 nor 2.
    pub fn from_code(code: u8) -> Result<Self> {
        match code {
            1 => Ok(Self::Aes256Gcm),
            2 => Ok(Self::ChaCha20Poly1305),
            _ => Err(Error::Unsupported),
        }
    }
}

/// A 96-bit nonce: zero or a chunk number. Callers cannot construct any other nonce.
#[derive(Debug, Clone, Copy)]
pub struct Nonce([u8; 12]);

impl Nonce {
    /// The nonce for a derived key that seals exactly one message.
    pub const ZERO: Self = Self([0; 12]);

    /// Returns the nonce of chunk `index`, for a derived key that seals exactly one stream.
    pub fn chunk(index: u64) -> Self {
        let mut nonce = [0; 12];
        if let Some(counter) = nonce.last_chunk_mut::<8>() {
            *counter = index.to_be_bytes();
        }
        Self(nonce)
    }
}

/// A derived AEAD key, for one message or one stream.
pub struct SealingKey {
    cipher: Cipher,
}

impl SealingKey {
    // The caller wipes `key`, because the cipher copies it.
    pub(super) fn new(suite: CipherSuite, key: &[u8; 32]) -> Result<Self> {
        Ok(Self {
            cipher: Cipher::new(suite, key)?,
        })
    }

    /// Encrypts `buffer` in place and returns the tag: AEAD-Seal(key, nonce, ad = "", buffer).
    ///
    /// # Errors
    /// [`Error::TooLarge`] if `buffer` is longer than [`LONGEST`]; `buffer` is unchanged.
    pub fn seal(&self, nonce: Nonce, buffer: &mut [u8]) -> Result<[u8; TAG]> {
        within_bound(buffer.len(), Error::TooLarge)?;
        self.cipher.seal(&nonce.0, buffer)
    }

    /// Verifies the tag and decrypts `buffer` in place: AEAD-Open(key, nonce, ad = "", buffer,
    /// tag).
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] if the tag does not match. `buffer` then contains the ciphertext
    /// or zeros, never plaintext.
    pub fn open(&self, nonce: Nonce, buffer: &mut [u8], tag: &[u8; TAG]) -> Result<()> {
        within_bound(buffer.len(), Error::NotAuthentic)?;
        self.cipher.open(&nonce.0, buffer, tag)
    }

    /// Verifies the tag and decrypts `sealed` into `out`, which has the same length: AEAD-Open(key,
    /// nonce, ad = "", sealed, tag).
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] if the tag does not match. `out` is then unchanged or
    /// contains zeros, never plaintext.
    pub fn open_to(
        &self,
        nonce: Nonce,
        sealed: &[u8],
        tag: &[u8; TAG],
        out: &mut [u8],
    ) -> Result<()> {
        within_bound(sealed.len(), Error::NotAuthentic)?;
        self.cipher.open_to(&nonce.0, sealed, tag, out)
    }
}

fn within_bound(length: usize, error: Error) -> Result<()> {
    if length as u64 > LONGEST {
        return Err(error);
    }
    Ok(())
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(..)")
    }
}
