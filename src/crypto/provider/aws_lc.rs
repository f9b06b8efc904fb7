//! Provider of the primitives that uses AWS-LC through the crate `aws-lc-rs`.

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};

use crate::crypto::report::{FipsBuild, Implementation, Provided};
use crate::crypto::{CipherSuite, TAG};
use crate::error::{Error, Result};

/// An AEAD cipher of one suite with its key.
///
/// AWS-LC keeps the cipher's state in one heap allocation, so moving this value copies no key.
/// `OPENSSL_free` overwrites the allocation before releasing it (crypto/mem.c).
pub struct Cipher(LessSafeKey);

impl Cipher {
    /// Creates the cipher of `suite` with `key`.
    ///
    /// # Errors
    /// [`Error::Malformed`] if memory for the state cannot be allocated; none in practice.
    pub fn new(suite: CipherSuite, key: &[u8; 32]) -> Result<Self> {
        let algorithm = match suite {
            CipherSuite::Aes256Gcm => &AES_256_GCM,
            CipherSuite::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        let key = UnboundKey::new(algorithm, key).map_err(|_| Error::Malformed)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Encrypts `buffer` in place and returns the tag.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if `buffer` exceeds the cipher's limit.
    pub fn seal(&self, nonce: &[u8; 12], buffer: &mut [u8]) -> Result<[u8; TAG]> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::empty(), buffer)
            .map_err(|_| Error::TooLarge)?;
        tag.as_ref().try_into().map_err(|_| Error::Malformed)
    }

    /// Decrypts `buffer` in place and verifies the tag.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] if the tag does not match. AWS-LC then fills `buffer` with zeros
    /// (`EVP_AEAD_CTX_open_gather`).
    pub fn open(&self, nonce: &[u8; 12], buffer: &mut [u8], tag: &[u8; TAG]) -> Result<()> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .open_in_place_separate_tag(nonce, Aad::empty(), tag, buffer)
            .map(|_| ())
            .map_err(|_| Error::NotAuthentic)
    }

    /// Decrypts `sealed` into `out`, which has the same length, and verifies the tag.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] if the tag does not match or the lengths differ. AWS-LC fills `out`
    /// with zeros in the first case and leaves `out` unchanged in the second.
    pub fn open_to(
        &self,
        nonce: &[u8; 12],
        sealed: &[u8],
        tag: &[u8; TAG],
        out: &mut [u8],
    ) -> Result<()> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .open_separate_gather(nonce, Aad::empty(), sealed, tag, out)
            .map_err(|_| Error::NotAuthentic)
    }
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher(..)")
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Computes HKDF-Expand-SHA-256 of `key` and the concatenated parts of `info`.
///
/// # Errors
/// [`Error::Malformed`] if `out` is longer than 255 blocks of 32 bytes.
pub fn expand(key: &[u8; 32], info: &[&[u8]], out: &mut [u8]) -> Result<()> {
    // No wiping is needed here, because `Prk` wipes its key copy on drop and `HKDF_expand` wipes
    // its state.
    expand_with(&Prk::new_less_safe(HKDF_SHA256, key), info, out)
}

fn expand_with(key: &Prk, info: &[&[u8]], out: &mut [u8]) -> Result<()> {
    let expanded = key.expand(info, Length(out.len()));
    let filled = expanded.and_then(|okm| okm.fill(out));
    filled.map_err(|_| Error::Malformed)
}

/// A key of HKDF-Expand-SHA-256 for many computations. It is boxed, because moving it would leave a copy of
/// the key on the stack.
pub struct ExpandKey(Box<Prk>);

impl ExpandKey {
    /// Prepares the key.
    ///
    /// # Errors
    /// None with this provider; other providers can fail.
    pub fn new(key: &[u8; 32]) -> Result<Self> {
        Ok(Self(Box::new(Prk::new_less_safe(HKDF_SHA256, key))))
    }

    /// Computes HKDF-Expand-SHA-256 of this key and the concatenated parts of `info`.
    ///
    /// # Errors
    /// [`Error::Malformed`] if `out` is longer than 255 blocks of 32 bytes.
    pub fn expand(&self, info: &[&[u8]], out: &mut [u8]) -> Result<()> {
        expand_with(&self.0, info, out)
    }
}

/// An incremental computation of a SHA-256 digest.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Sha256 {
    /// Hashes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest of all hashed bytes.
    pub fn finish(self) -> [u8; 32] {
        bytes(&self.0.finish())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self(digest::Context::new(&SHA256))
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha256(..)")
    }
}

/// Computes SHA-256 of the concatenated parts.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    if let [whole] = parts {
        // Hash a single part in one call, because this needs no context on the heap.
        return bytes(&digest::digest(&SHA256, whole));
    }
    let mut stream = Sha256::default();
    for part in parts {
        stream.update(part);
    }
    stream.finish()
}

fn bytes(digest: &digest::Digest) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

/// Returns the crate and library that implement each primitive.
pub fn provided() -> Provided {
    let implementation = Implementation {
        package: "aws-lc-rs",
        series: "1",
        library: Some(aws_lc_rs::awslc_version()),
    };
    Provided {
        aes_256_gcm: implementation,
        chacha20_poly1305: implementation,
        sha_256: implementation,
        hkdf_sha_256: implementation,
        fips_build: fips_build(),
    }
}

fn fips_build() -> FipsBuild {
    match aws_lc_rs::try_fips_mode() {
        Ok(()) => FipsBuild::Linked {
            module: aws_lc_rs::fips_version(),
            self_tests_pass: aws_lc_rs::try_fips_self_test().is_ok(),
        },
        Err(_) => FipsBuild::NotLinked,
    }
}
