//! Provider of the primitives that uses the RustCrypto crates `aes-gcm`, `chacha20poly1305`, `hkdf` and `sha2`.

use aes_gcm::AesGcm;
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::aes::Aes256Enc;
use chacha20poly1305::ChaCha20Poly1305;
use hkdf::Hkdf;
use sha2::Digest as _;

use crate::crypto::report::{FipsBuild, Implementation, Provided};
use crate::crypto::{CipherSuite, TAG};
use crate::error::{Error, Result};

/// AES-256-GCM without the key schedule for block decryption. GCM only encrypts blocks, so that
/// schedule would be wasted work for each key, and most keys seal only one message.
type Aes256Gcm = AesGcm<Aes256Enc, U12>;

/// An AEAD cipher of one suite with its key.
///
/// Both ciphers wipe their state on drop. They are boxed, because moving an unboxed cipher would
/// leave a copy of the key schedule on the stack.
pub enum Cipher {
    /// AES-256-GCM.
    Aes256Gcm(Box<Aes256Gcm>),
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305(Box<ChaCha20Poly1305>),
}

impl Cipher {
    /// Creates the cipher of `suite` with `key`.
    ///
    /// # Errors
    /// None with this provider; other providers can fail.
    pub fn new(suite: CipherSuite, key: &[u8; 32]) -> Result<Self> {
        let key = key.into();
        Ok(match suite {
            CipherSuite::Aes256Gcm => Self::Aes256Gcm(Box::new(Aes256Gcm::new(key))),
            CipherSuite::ChaCha20Poly1305 => {
                Self::ChaCha20Poly1305(Box::new(ChaCha20Poly1305::new(key)))
            }
        })
    }

    /// Encrypts `buffer` in place and returns the tag.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if `buffer` exceeds the cipher's limit.
    pub fn seal(&self, nonce: &[u8; 12], buffer: &mut [u8]) -> Result<[u8; TAG]> {
        let nonce = nonce.into();
        let tag = match self {
            Self::Aes256Gcm(cipher) => cipher.encrypt_inout_detached(nonce, &[], buffer.into()),
            Self::ChaCha20Poly1305(cipher) => {
                cipher.encrypt_inout_detached(nonce, &[], buffer.into())
            }
        };
        tag.map(Into::into).map_err(|_| Error::TooLarge)
    }

    /// Verifies the tag, then decrypts `buffer` in place.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] if the tag does not match; `buffer` is unchanged.
    pub fn open(&self, nonce: &[u8; 12], buffer: &mut [u8], tag: &[u8; TAG]) -> Result<()> {
        self.open_inout(nonce, buffer.into(), tag)
    }

    /// Verifies the tag, then decrypts `sealed` into `out`, which has the same length.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] if the tag does not match or the lengths differ; `out` is unchanged.
    pub fn open_to(
        &self,
        nonce: &[u8; 12],
        sealed: &[u8],
        tag: &[u8; TAG],
        out: &mut [u8],
    ) -> Result<()> {
        let buffer = InOutBuf::new(sealed, out).map_err(|_| Error::NotAuthentic)?;
        self.open_inout(nonce, buffer, tag)
    }

    fn open_inout(
        &self,
        nonce: &[u8; 12],
        buffer: InOutBuf<'_, '_, u8>,
        tag: &[u8; TAG],
    ) -> Result<()> {
        let (nonce, tag) = (nonce.into(), tag.into());
        let opened = match self {
            Self::Aes256Gcm(cipher) => cipher.decrypt_inout_detached(nonce, &[], buffer, tag),
            Self::ChaCha20Poly1305(cipher) => {
                cipher.decrypt_inout_detached(nonce, &[], buffer, tag)
            }
        };
        opened.map_err(|_| Error::NotAuthentic)
    }
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher(..)")
    }
}

/// Computes HKDF-Expand-SHA-256 of `key` and the concatenated parts of `info`.
///
/// # Errors
/// [`Error::Malformed`] if `out` is longer than 255 blocks of 32 bytes.
pub fn expand(key: &[u8; 32], info: &[&[u8]], out: &mut [u8]) -> Result<()> {
    let state = Hkdf::<sha2::Sha256>::from_prk(key).map_err(|_| Error::Malformed)?;
    let expanded = state.expand_multi_info(info, out);
    expanded.map_err(|_| Error::Malformed)
}

/// A key of HKDF-Expand-SHA-256 for many computations. It is boxed for the reason for which ciphers
/// are, and wipes its state on drop.
pub struct ExpandKey(Box<Hkdf<sha2::Sha256>>);

impl ExpandKey {
    /// Prepares the key.
    ///
    /// # Errors
    /// None with this provider; other providers can fail.
    pub fn new(key: &[u8; 32]) -> Result<Self> {
        let state = Hkdf::from_prk(key).map_err(|_| Error::Malformed)?;
        Ok(Self(Box::new(state)))
    }

    /// Computes HKDF-Expand-SHA-256 of this key and the concatenated parts of `info`.
    ///
    /// # Errors
    /// [`Error::Malformed`] if `out` is longer than 255 blocks of 32 bytes.
    pub fn expand(&self, info: &[&[u8]], out: &mut [u8]) -> Result<()> {
        let expanded = self.0.expand_multi_info(info, out);
        expanded.map_err(|_| Error::Malformed)
    }
}

/// An incremental computation of a SHA-256 digest.
#[derive(Debug, Clone, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// Hashes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest of all hashed bytes.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Computes SHA-256 of the concatenated parts.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut stream = Sha256::default();
    for part in parts {
        stream.update(part);
    }
    stream.finish()
}

/// Returns the crate that implements each primitive.
pub fn provided() -> Provided {
    Provided {
        aes_256_gcm: Implementation::of("aes-gcm", "0.11"),
        chacha20_poly1305: Implementation::of("chacha20poly1305", "0.11"),
        sha_256: Implementation::of("sha2", "0.11"),
        hkdf_sha_256: Implementation::of("hkdf", "0.13"),
        fips_build: FipsBuild::NotLinked,
    }
}
