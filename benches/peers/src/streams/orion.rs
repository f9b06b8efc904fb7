//! Rival orion: its streaming AEAD, with chunks of chartlock's chunk size.

use anyhow::{Context, Result, ensure};
use orion::aead::SecretKey;
use orion::aead::streaming::{ABYTES, Nonce, StreamOpener, StreamSealer, StreamTag};

use super::stream::Stream;

const CHUNK: usize = 64 << 10;
const NONCE: usize = 24;

pub(super) struct Orion(SecretKey);

impl Orion {
    pub(super) fn new() -> Result<Self> {
        Ok(Self(SecretKey::generate()?))
    }
}

impl Stream for Orion {
    fn name(&self) -> String {
        "orion".to_owned()
    }

    fn seal(&self, content: &[u8]) -> Result<Vec<u8>> {
        let (mut sealer, nonce) = StreamSealer::new(&self.0)?;
        let chunks = content.chunks(CHUNK);
        let last = chunks.len().saturating_sub(1);
        let mut sealed = Vec::with_capacity(content.len() + (last + 1) * ABYTES + NONCE);
        sealed.extend_from_slice(nonce.as_ref());
        for (number, chunk) in chunks.enumerate() {
            let tag = match number == last {
                true => StreamTag::Finish,
                false => StreamTag::Message,
            };
            sealed.extend_from_slice(&sealer.seal_chunk(chunk, &tag)?);
        }
        Ok(sealed)
    }

    fn open(&self, sealed: Vec<u8>, then: &mut dyn FnMut(&[u8])) -> Result<()> {
        let (nonce, sealed) = sealed
            .split_at_checked(NONCE)
            .context("the nonce is missing")?;
        let mut opener = StreamOpener::new(&self.0, &Nonce::try_from(nonce)?)?;
        let mut end = StreamTag::Message;
        for chunk in sealed.chunks(CHUNK + ABYTES) {
            let (piece, tag) = opener.open_chunk(chunk)?;
            then(&piece);
            end = tag;
        }
        ensure!(end == StreamTag::Finish, "the stream was cut");
        Ok(())
    }
}
