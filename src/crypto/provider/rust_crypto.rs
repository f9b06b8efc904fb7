//! The crates of the RustCrypto project: `aes-gcm`, `chacha20poly1305`, `hkdf` and `sha2`.

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

/// GCM never runs the block cipher backwards, so that half of the key schedule is left out: a key
/// serves one message as a rule.
type Aes256Gcm = AesGcm<Aes256Enc, U12>;

/// A suite's cipher with its key.
///
/// Both wipe their own state on drop; boxed, so that moving the owner leaves no copy behind.
pub enum Cipher {
    /// AES-256-GCM.
    Aes256Gcm(Box<Aes256Gcm>),
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305(Box<ChaCha20Poly1305>),
}

impl Cipher {
    /// A cipher under `key`.
    ///
    /// # Errors
    /// None; another provider may.
    pub fn new(suite: CipherSuite, key: &[u8; 32]) -> Result<Self> {
        let key = key.into();
        Ok(match suite {
            CipherSuite::Aes256Gcm => Self::Aes256Gcm(Box::new(Aes256Gcm::new(key))),
            CipherSuite::ChaCha20Poly1305 => {
                Self::ChaCha20Poly1305(Box::new(ChaCha20Poly1305::new(key)))
            }
        })
    }

    /// Encrypts `buffer` in place; the tag.
    ///
    /// # Errors
    /// [`Error::TooLarge`] past the cipher's own bound.
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

    /// Decrypts `buffer` in place, after its tag was found right.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`]; `buffer` is as it was.
    pub fn open(&self, nonce: &[u8; 12], buffer: &mut [u8], tag: &[u8; TAG]) -> Result<()> {
        self.open_inout(nonce, buffer.into(), tag)
    }

    /// Decrypts `sealed` into `out`, which is as long, after its tag was found right.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`]; `out` is as it was.
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

/// HKDF-Expand-SHA-256 of `key` and the parts of the info, one after the other.
///
/// # Errors
/// [`Error::Malformed`] for an output beyond 255 blocks.
pub fn expand(key: &[u8; 32], info: &[&[u8]], out: &mut [u8]) -> Result<()> {
    Hkdf::<sha2::Sha256>::from_prk(key)
        .map_err(|_| Error::Malformed)?
        .expand_multi_info(info, out)
        .map_err(|_| Error::Malformed)
}

/// SHA-256 of bytes that come in pieces.
#[derive(Debug, Clone, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// Takes the next bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was taken in.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// SHA-256 of the parts, one after the other.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut stream = Sha256::default();
    for part in parts {
        stream.update(part);
    }
    stream.finish()
}

/// Which crates these are.
pub fn provided() -> Provided {
    Provided {
        aes_256_gcm: Implementation::of("aes-gcm", "0.11"),
        chacha20_poly1305: Implementation::of("chacha20poly1305", "0.11"),
        sha_256: Implementation::of("sha2", "0.11"),
        hkdf_sha_256: Implementation::of("hkdf", "0.13"),
        fips_build: FipsBuild::NotLinked,
    }
}
