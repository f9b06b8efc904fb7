//! Rival age: its streaming writer and reader.

use std::io::{Read, Write};
use std::iter;

use age::x25519::Identity;
use age::{Decryptor, Encryptor};
use anyhow::Result;

use super::stream::Stream;

/// The size of the read buffer, in bytes.
const BUFFER: usize = 128 << 10;
/// The space for age's header and tags, in bytes, in addition to 1/4096 of the content's size.
const HEADER: usize = 1 << 10;

pub(super) struct Age(Identity);

impl Age {
    pub(super) fn new() -> Self {
        Self(Identity::generate())
    }
}

impl Stream for Age {
    fn name(&self) -> String {
        "age".to_owned()
    }

    fn seal(&self, content: &[u8]) -> Result<Vec<u8>> {
        let to = self.0.to_public();
        let encryptor = Encryptor::with_recipients(iter::once(&to as _))?;
        let mut sealed = Vec::with_capacity(content.len() + content.len() / 4096 + HEADER);
        let mut writer = encryptor.wrap_output(&mut sealed)?;
        writer.write_all(content)?;
        writer.finish()?;
        Ok(sealed)
    }

    fn open(&self, sealed: Vec<u8>, then: &mut dyn FnMut(&[u8])) -> Result<()> {
        let decryptor = Decryptor::new_buffered(&sealed[..])?;
        let mut reader = decryptor.decrypt(iter::once(&self.0 as _))?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let bytes = reader.read(&mut buffer)?;
            match buffer.get(..bytes) {
                Some(piece) if !piece.is_empty() => then(piece),
                _ => return Ok(()),
            }
        }
    }
}
