//! Secret bytes that are wiped when dropped and never printed.
//!
//! Guarantees: no hidden copy is made, and `Debug` shows no secret.
//! Must not know: the purpose of the bytes.

use std::fmt;
use std::ops::{Deref, DerefMut};

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Thirty-two secret bytes on the heap, so that moving the owner copies no secret.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Secret32(Box<[u8; 32]>);

impl Secret32 {
    /// Creates a secret that `fill` writes directly into its final memory.
    pub(crate) fn try_with<E>(
        fill: impl FnOnce(&mut [u8; 32]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut secret = Self(Box::new([0; 32]));
        fill(&mut secret.0)?;
        Ok(secret)
    }

    /// Creates a secret from a copy of 32 bytes. The caller wipes the original.
    pub(crate) fn copied(bytes: &[u8; 32]) -> Self {
        let mut secret = Self(Box::new([0; 32]));
        secret.0.copy_from_slice(bytes);
        secret
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret32(..)")
    }
}

/// Upper bound, in bytes, of the stack space that deriving one tag uses.
pub(crate) const A_TAG: usize = 4 * 1024;
/// Upper bound, in bytes, of the stack space that sealing one value uses.
pub(crate) const A_SEALING: usize = 8 * 1024;
/// Upper bound, in bytes, of the stack space that the key-handling part of one operation uses.
pub(crate) const AN_OPERATION: usize = 32 * 1024;

/// Wipes the stack below the caller, where calls that have returned may have left key material.
///
/// Cipher and key-derivation crates wipe their own buffers, but not the registers that they spilled
/// to the stack. A value that is later built on that stack could copy these bytes to the heap in
/// its padding.
///
/// Call this function when a thread no longer needs keys, or before the thread calls code of
/// another crate, such as a storage backend. A thread that opens more values need not call it,
/// because opening the next value overwrites the same stack.
#[inline(never)]
pub(crate) fn wipe_stack<const BYTES: usize>() {
    let below = [0_u8; BYTES];
    zeroize::optimization_barrier(&below);
}

/// Buffer for plaintext, whose whole capacity is wiped on drop.
///
/// Create the buffer with its full capacity, because growing would leave an unwiped copy behind.
#[derive(Default)]
pub struct Plaintext(Vec<u8>);

impl Plaintext {
    /// Takes ownership of a buffer that must be wiped.
    pub(crate) fn new(buffer: Vec<u8>) -> Self {
        Self(buffer)
    }

    /// Returns the buffer without wiping it. The caller must ensure that the buffer contains only
    /// ciphertext.
    pub(crate) fn into_sealed(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// Creates an empty plaintext buffer that stores up to `capacity` bytes without reallocation.
pub(crate) fn plaintext(capacity: usize) -> Plaintext {
    Plaintext(Vec::with_capacity(capacity))
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        // Wipe with one memset that the optimizer must keep. `Zeroizing` writes byte by byte, which
        // takes a third of the time to open a record of 64 KiB. `resize` does not move the buffer,
        // because the new length does not exceed the capacity.
        let capacity = self.0.capacity();
        self.0.clear();
        self.0.resize(capacity, 0);
        zeroize::optimization_barrier(self.0.as_slice());
    }
}

impl ZeroizeOnDrop for Plaintext {}

/// Writer for plaintext of unknown length, which wipes the old memory when the buffer grows.
#[cfg(feature = "json")]
#[derive(Default)]
pub(crate) struct PlaintextWriter(Plaintext);

#[cfg(feature = "json")]
impl PlaintextWriter {
    pub(crate) fn finish(self) -> Plaintext {
        self.0
    }
}

#[cfg(feature = "json")]
impl std::io::Write for PlaintextWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let mut larger = plaintext(needed.max(2 * self.0.capacity()).max(1024));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Deref for Plaintext {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Plaintext {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plaintext(..)")
    }
}
