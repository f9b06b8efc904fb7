//! Baseline: the bare ciphers under a fresh key for each message, the minimum cost of sealing.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Tag};
use anyhow::{Context, Result};
use rand::TryRng;
use rand::rngs::SysRng;

use super::{Envelope, Sealed};

const KEY: usize = 32;
const TAG: usize = 16;

/// The bare cipher of `aes-gcm`. The key is stored in plaintext with the message, because this
/// baseline does not wrap keys.
pub(super) struct AesGcm;

impl Envelope for AesGcm {
    fn name(&self) -> String {
        "bare aes-gcm".to_owned()
    }

    fn seal(&self, content: &[u8]) -> Result<Sealed> {
        let mut key = Key::<Aes256Gcm>::default();
        SysRng.try_fill_bytes(&mut key)?;
        let mut sealed = with_room(content);
        let body = sealed.as_mut_slice().into();
        let tag = Aes256Gcm::new(&key).encrypt_inout_detached(&Default::default(), b"", body)?;
        sealed.extend_from_slice(&tag);
        sealed.extend_from_slice(&key);
        Ok(Sealed::Whole(sealed))
    }

    fn open(&self, sealed: Sealed, then: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut sealed = sealed.whole()?;
        let (sealed, key) = sealed
            .split_last_chunk_mut::<KEY>()
            .context("the key is missing")?;
        let (body, tag) = sealed
            .split_last_chunk_mut::<TAG>()
            .context("the tag is missing")?;
        let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key));
        let tag = Tag::from(*tag);
        cipher.decrypt_inout_detached(&Default::default(), b"", (&mut *body).into(), &tag)?;
        then(body);
        Ok(())
    }
}

/// Copies the content into a buffer that has capacity for the tag and the key.
fn with_room(content: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(content.len() + TAG + KEY);
    sealed.extend_from_slice(content);
    sealed
}

#[cfg(feature = "envelope")]
pub(super) use aws_lc::AwsLc;

#[cfg(feature = "envelope")]
mod aws_lc {
    use anyhow::{Context, Result};
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    use super::{Envelope, KEY, Sealed, with_room};

    /// The bare cipher of `aws-lc-rs`, with that crate's own random generator.
    pub(in crate::envelope) struct AwsLc;

    impl Envelope for AwsLc {
        fn name(&self) -> String {
            "bare aws-lc-rs".to_owned()
        }

        fn seal(&self, content: &[u8]) -> Result<Sealed> {
            let mut key = [0; KEY];
            aws_lc_rs::rand::fill(&mut key)?;
            let mut sealed = with_room(content);
            cipher(&key)?.seal_in_place_append_tag(nonce(), Aad::empty(), &mut sealed)?;
            sealed.extend_from_slice(&key);
            Ok(Sealed::Whole(sealed))
        }

        fn open(&self, sealed: Sealed, then: &mut dyn FnMut(&[u8])) -> Result<()> {
            let mut sealed = sealed.whole()?;
            let (sealed, key) = sealed
                .split_last_chunk_mut::<KEY>()
                .context("the key is missing")?;
            let opened = cipher(key)?.open_in_place(nonce(), Aad::empty(), sealed)?;
            then(opened);
            Ok(())
        }
    }

    fn cipher(key: &[u8; KEY]) -> Result<LessSafeKey> {
        Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?))
    }

    fn nonce() -> Nonce {
        Nonce::assume_unique_for_key([0; 12])
    }
}
