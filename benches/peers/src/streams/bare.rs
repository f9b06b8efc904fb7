//! Baseline: the bare ciphers, which seal chunk after chunk under one key.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use anyhow::{Context, Result};

use super::stream::Stream;

const CHUNK: usize = 64 << 10;
const TAG: usize = 16;
const KEY: [u8; 32] = [7; 32];

/// The bare cipher of `aes-gcm`.
pub(super) struct AesGcm;

impl Stream for AesGcm {
    fn name(&self) -> String {
        "bare aes-gcm".to_owned()
    }

    fn seal(&self, content: &[u8]) -> Result<Vec<u8>> {
        let cipher = Aes256Gcm::new(&KEY.into());
        let mut sealed = with_room(content);
        for (chunk, number) in content.chunks(CHUNK).zip(0..) {
            let start = sealed.len();
            sealed.extend_from_slice(chunk);
            let body = sealed.split_at_mut(start).1.into();
            let nonce = Nonce::from(nonce(number));
            let tag = cipher.encrypt_inout_detached(&nonce, b"", body)?;
            sealed.extend_from_slice(&tag);
        }
        Ok(sealed)
    }

    fn open(&self, mut sealed: Vec<u8>, then: &mut dyn FnMut(&[u8])) -> Result<()> {
        let cipher = Aes256Gcm::new(&KEY.into());
        for (chunk, number) in sealed.chunks_mut(CHUNK + TAG).zip(0..) {
            let (body, tag) = chunk
                .split_last_chunk_mut::<TAG>()
                .context("the tag is missing")?;
            let (nonce, tag) = (Nonce::from(nonce(number)), Tag::from(*tag));
            cipher.decrypt_inout_detached(&nonce, b"", (&mut *body).into(), &tag)?;
            then(body);
        }
        Ok(())
    }
}

/// Creates a buffer with capacity for the sealed chunks of `content`.
fn with_room(content: &[u8]) -> Vec<u8> {
    Vec::with_capacity(content.len() + content.len().div_ceil(CHUNK) * TAG)
}

fn nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    if let Some(end) = nonce.last_chunk_mut() {
        *end = number.to_be_bytes();
    }
    nonce
}

#[cfg(feature = "envelope")]
pub(super) use aws_lc::AwsLc;

#[cfg(feature = "envelope")]
mod aws_lc {
    use anyhow::Result;
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    use super::{CHUNK, KEY, Stream, TAG, nonce, with_room};

    /// The bare cipher of `aws-lc-rs`.
    pub(in crate::streams) struct AwsLc;

    impl Stream for AwsLc {
        fn name(&self) -> String {
            "bare aws-lc-rs".to_owned()
        }

        fn seal(&self, content: &[u8]) -> Result<Vec<u8>> {
            let cipher = cipher()?;
            let mut sealed = with_room(content);
            for (chunk, number) in content.chunks(CHUNK).zip(0..) {
                let start = sealed.len();
                sealed.extend_from_slice(chunk);
                let nonce = Nonce::assume_unique_for_key(nonce(number));
                let body = sealed.split_at_mut(start).1;
                let tag = cipher.seal_in_place_separate_tag(nonce, Aad::empty(), body)?;
                sealed.extend_from_slice(tag.as_ref());
            }
            Ok(sealed)
        }

        fn open(&self, mut sealed: Vec<u8>, then: &mut dyn FnMut(&[u8])) -> Result<()> {
            let cipher = cipher()?;
            for (chunk, number) in sealed.chunks_mut(CHUNK + TAG).zip(0..) {
                let nonce = Nonce::assume_unique_for_key(nonce(number));
                then(cipher.open_in_place(nonce, Aad::empty(), chunk)?);
            }
            Ok(())
        }
    }

    fn cipher() -> Result<LessSafeKey> {
        Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY)?))
    }
}
