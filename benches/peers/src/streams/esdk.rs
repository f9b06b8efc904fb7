//! Rival AWS Encryption SDK for Rust, which accepts a message only as a whole, not as a stream.

use anyhow::Result;

use super::stream::Stream;
use crate::envelope::{Envelope, Esdk, Sealed, Signing};

pub(super) struct InOnePiece(Esdk);

impl InOnePiece {
    pub(super) fn new() -> Result<Self> {
        Ok(Self(Esdk::new(Signing::No)?))
    }
}

impl Stream for InOnePiece {
    fn name(&self) -> String {
        self.0.name()
    }

    fn seal(&self, content: &[u8]) -> Result<Vec<u8>> {
        self.0.seal(content)?.whole()
    }

    fn open(&self, sealed: Vec<u8>, then: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.0.open(Sealed::Whole(sealed), then)
    }
}
