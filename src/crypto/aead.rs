//! The two AEAD cipher suites behind one interface.

use crate::crypto::provider::active::Cipher;
use crate::error::{Error, Result};

/// The length of an authentication tag, in bytes: 16 for both suites (NIST SP 800-38D, RFC 8439).
pub const TAG: usize = 16;

/// The longest message, in bytes: AES-GCM's bound (NIST SP 800-38D, 2^39 - 256 bits), held for both
/// suites and before any provider, which draw it differently.
pub const LONGEST: u64 = (1 << 36) - 32;

/// Which AEAD a vault writes with. Both derive with HKDF-SHA-256.
///
/// The suite is fixed when a vault is created; each stored value is read by its own suite byte.
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
    /// The suite's byte in every stored value.
    pub fn code(self) -> u8 {
        match self {
            Self::Aes256Gcm => 1,
            Self::ChaCha20Poly1305 => 2,
        }
    }

    /// The suite of a byte.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for any other byte than 1 and 2.
    pub fn from_code(code: u8) -> Result<Self> {
        match code {
            1 => Ok(Self::Aes256Gcm),
            2 => Ok(Self::ChaCha20Poly1305),
            _ => Err(Error::Unsupported),
        }
    }
}

/// A 96-bit nonce. There are two kinds only, so no caller can pick one.
#[derive(Debug, Clone, Copy)]
pub struct Nonce([u8; 12]);

impl Nonce {
    /// For a key that is derived for one message.
    pub const ZERO: Self = Self([0; 12]);

    /// For chunk `index` of the one stream that its key is derived for.
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
    /// The caller wipes `key`.
    pub(super) fn new(suite: CipherSuite, key: &[u8; 32]) -> Result<Self> {
        Ok(Self {
            cipher: Cipher::new(suite, key)?,
        })
    }

    /// AEAD-Seal(key, nonce, ad = "", buffer): the ciphertext replaces the plaintext in `buffer`.
    ///
    /// # Errors
    /// [`Error::TooLarge`] past [`LONGEST`]; nothing is sealed then.
    pub fn seal(&self, nonce: Nonce, buffer: &mut [u8]) -> Result<[u8; TAG]> {
        within_bound(buffer.len(), Error::TooLarge)?;
        self.cipher.seal(&nonce.0, buffer)
    }

    /// AEAD-Open(key, nonce, ad = "", buffer, tag): plaintext is in `buffer` only if the tag fits.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] when the tag does not fit: `buffer` then holds what was sealed, or
    /// zeros, and no plaintext.
    pub fn open(&self, nonce: Nonce, buffer: &mut [u8], tag: &[u8; TAG]) -> Result<()> {
        within_bound(buffer.len(), Error::NotAuthentic)?;
        self.cipher.open(&nonce.0, buffer, tag)
    }

    /// AEAD-Open(key, nonce, ad = "", sealed, tag), the plaintext going to `out`, which is as long as
    /// `sealed`, only if the tag fits.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] when the tag does not fit: `out` then holds what it held, or zeros.
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

fn within_bound(length: usize, beyond: Error) -> Result<()> {
    if length as u64 > LONGEST {
        return Err(beyond);
    }
    Ok(())
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(..)")
    }
}
