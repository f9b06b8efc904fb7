//! Reproducible, incompressible test data of any length, with random access.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use sha2::{Digest as _, Sha256};

use crate::Outcome;

const BLOCK: usize = 64 << 10;

/// A keystream: the encryption of zeros under a fixed public key.
pub(crate) struct Generated {
    cipher: Aes256Gcm,
    pub(crate) seed: u8,
    pub(crate) length: u64,
}

impl Generated {
    pub(crate) fn new(seed: u8, length: u64) -> Self {
        Self {
            cipher: Aes256Gcm::new(&[seed; 32].into()),
            seed,
            length,
        }
    }

    /// Fills `out` with the bytes from `offset` on.
    pub(crate) fn fill(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (mut number, mut within) = (offset / BLOCK as u64, (offset % BLOCK as u64) as usize);
        let mut rest = out;
        let mut spare = Vec::new();
        while !rest.is_empty() {
            let (part, after) = rest.split_at_mut(rest.len().min(BLOCK - within));
            if part.len() == BLOCK {
                self.block(number, part)?;
            } else {
                spare.resize(BLOCK, 0);
                self.block(number, &mut spare)?;
                let bytes = spare.get(within..within + part.len());
                part.copy_from_slice(bytes.unwrap_or_default());
            }
            (number, within, rest) = (number + 1, 0, after);
        }
        Ok(())
    }

    fn block(&self, number: u64, block: &mut [u8]) -> io::Result<()> {
        block.fill(0);
        let mut nonce = [0; 12];
        if let Some(counter) = nonce.first_chunk_mut() {
            *counter = number.to_le_bytes();
        }
        let sealed = self
            .cipher
            .encrypt_inout_detached(&nonce.into(), b"", block.into());
        sealed.map(drop).map_err(io::Error::other)
    }

    /// Returns a reader of all bytes, which also computes their digest.
    pub(crate) fn source(&self) -> Source<'_> {
        Source {
            generated: self,
            position: 0,
            hash: Sha256::new(),
            time: Duration::ZERO,
        }
    }
}

pub(crate) struct Source<'a> {
    generated: &'a Generated,
    position: u64,
    hash: Sha256,
    /// The time spent on generating and hashing.
    pub(crate) time: Duration,
}

impl Source<'_> {
    pub(crate) fn digest(self) -> String {
        hexadecimal(self.hash)
    }
}

impl Read for Source<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let started = Instant::now();
        let left = self.generated.length - self.position;
        let bytes = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let (part, _) = out.split_at_mut(bytes);
        self.generated.fill(self.position, part)?;
        self.hash.update(part);
        self.position += bytes as u64;
        self.time += started.elapsed();
        Ok(bytes)
    }
}

/// Returns the SHA-256 of `content`, and the time spent on hashing.
pub(crate) fn digest_of(mut content: impl Read, mut read: impl FnMut(u64)) -> Outcome<Digest> {
    let mut hash = Sha256::new();
    let mut part = vec![0; 4 * BLOCK];
    let mut time = Duration::ZERO;
    loop {
        let bytes = content.read(&mut part)?;
        if bytes == 0 {
            return Ok((hexadecimal(hash), time));
        }
        let started = Instant::now();
        hash.update(part.get(..bytes).unwrap_or_default());
        time += started.elapsed();
        read(bytes as u64);
    }
}

pub(crate) type Digest = (String, Duration);

fn hexadecimal(hash: Sha256) -> String {
    let digest = hash.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
