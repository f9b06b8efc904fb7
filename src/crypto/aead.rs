//! The two suites behind one pair of verbs.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit};
use chacha20poly1305::ChaCha20Poly1305;

use crate::error::{Error, Result};
use crate::secret::Secret32;

/// The length of an authentication tag, in bytes: 16 for both suites (NIST SP 800-38D, RFC 8439).
pub const TAG: usize = 16;

/// Which AEAD a vault writes with. Both derive with HKDF-SHA-256.
///
/// The suite is fixed when a vault is created; each stored value is read by its own suite byte.
///
/// ```
/// # use chartlock::Suite;
/// assert_eq!(Suite::default(), Suite::Aes256Gcm);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Suite {
    /// AES-256-GCM (NIST SP 800-38D): the default.
    #[default]
    Aes256Gcm,
    /// ChaCha20-Poly1305 (RFC 8439), for machines without AES instructions.
    ChaCha20Poly1305,
}

impl Suite {
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

/// Both ciphers wipe their own state on drop; boxed, so that moving the owner leaves no copy behind.
enum Cipher {
    Aes256Gcm(Box<Aes256Gcm>),
    ChaCha20Poly1305(Box<ChaCha20Poly1305>),
}

impl SealingKey {
    pub(super) fn new(suite: Suite, key: &Secret32) -> Self {
        let key = key.expose().into();
        let cipher = match suite {
            Suite::Aes256Gcm => Cipher::Aes256Gcm(Box::new(Aes256Gcm::new(key))),
            Suite::ChaCha20Poly1305 => {
                Cipher::ChaCha20Poly1305(Box::new(ChaCha20Poly1305::new(key)))
            }
        };
        Self { cipher }
    }

    /// AEAD-Seal(key, nonce, ad = "", buffer): the ciphertext replaces the plaintext in `buffer`.
    ///
    /// # Errors
    /// [`Error::TooLarge`] past the cipher's own bound of 64 GiB.
    pub fn seal(&self, nonce: Nonce, buffer: &mut [u8]) -> Result<[u8; TAG]> {
        let nonce = &nonce.0.into();
        let tag = match &self.cipher {
            Cipher::Aes256Gcm(cipher) => cipher.encrypt_inout_detached(nonce, &[], buffer.into()),
            Cipher::ChaCha20Poly1305(cipher) => {
                cipher.encrypt_inout_detached(nonce, &[], buffer.into())
            }
        };
        tag.map(Into::into).map_err(|_| Error::TooLarge)
    }

    /// AEAD-Open(key, nonce, ad = "", buffer, tag): the tag is checked before a byte is decrypted.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] when the tag does not fit.
    pub fn open(&self, nonce: Nonce, buffer: &mut [u8], tag: &[u8; TAG]) -> Result<()> {
        self.open_inout(nonce, buffer.into(), tag)
    }

    /// AEAD-Open(key, nonce, ad = "", sealed, tag), the plaintext going to `out`, which is as long as
    /// `sealed`: the tag is checked before a byte is written.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] when the tag does not fit.
    pub fn open_to(
        &self,
        nonce: Nonce,
        sealed: &[u8],
        tag: &[u8; TAG],
        out: &mut [u8],
    ) -> Result<()> {
        let buffer = InOutBuf::new(sealed, out).map_err(|_| Error::NotAuthentic)?;
        self.open_inout(nonce, buffer, tag)
    }

    fn open_inout(
        &self,
        nonce: Nonce,
        buffer: InOutBuf<'_, '_, u8>,
        tag: &[u8; TAG],
    ) -> Result<()> {
        let nonce = &nonce.0.into();
        let tag = tag.into();
        let opened = match &self.cipher {
            Cipher::Aes256Gcm(cipher) => cipher.decrypt_inout_detached(nonce, &[], buffer, tag),
            Cipher::ChaCha20Poly1305(cipher) => {
                cipher.decrypt_inout_detached(nonce, &[], buffer, tag)
            }
        };
        opened.map_err(|_| Error::NotAuthentic)
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(..)")
    }
}
