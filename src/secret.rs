//! Secret bytes, wiped when dropped and never printed.
//!
//! Promises: no copy is made behind the caller's back, and `Debug` shows nothing.
//! May not know: what the bytes are for.

use std::fmt;
use std::ops::{Deref, DerefMut};

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Thirty-two secret bytes on the heap, so that moving the owner copies nothing.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Secret32(Box<[u8; 32]>);

impl Secret32 {
    /// Makes the secret in place: `fill` writes straight into its final memory.
    pub(crate) fn try_with<E>(
        fill: impl FnOnce(&mut [u8; 32]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut secret = Self(Box::new([0; 32]));
        fill(&mut secret.0)?;
        Ok(secret)
    }

    /// Copies 32 bytes that the caller wipes.
    pub(crate) fn copied(bytes: &[u8; 32]) -> Self {
        let mut secret = Self(Box::new([0; 32]));
        secret.0.copy_from_slice(bytes);
        secret
    }

    /// The bytes, for a derivation.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret32(..)")
    }
}

/// What one sealing takes of the stack, and more.
pub(crate) const A_SEALING: usize = 8 * 1024;
/// What a whole operation takes of the stack, as far as it handles keys, and more.
pub(crate) const AN_OPERATION: usize = 32 * 1024;

/// Wipes what calls that have returned left on this thread's stack, below the caller: the crates of
/// ciphers and derivations wipe what they hold, not what they spilled, and whatever is built there
/// next may carry that on into the heap, as padding.
///
/// For where a thread is done with keys, or hands over to somebody else's code. Whoever reads on
/// overwrites it by that.
#[inline(never)]
pub(crate) fn wipe_stack<const BYTES: usize>() {
    let below = [0_u8; BYTES];
    zeroize::optimization_barrier(&below);
}

/// A buffer that holds plaintext, at least for a while: all its capacity is wiped on drop.
///
/// It must be made with its full capacity: growing would leave an unwiped copy behind.
#[derive(Default)]
pub struct Plaintext(Vec<u8>);

impl Plaintext {
    /// Takes a buffer over, to be wiped.
    pub(crate) fn new(buffer: Vec<u8>) -> Self {
        Self(buffer)
    }

    /// Hands the buffer over, once it holds no plaintext any more.
    pub(crate) fn into_sealed(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// An empty plaintext buffer that can take `capacity` bytes without moving.
pub(crate) fn plaintext(capacity: usize) -> Plaintext {
    Plaintext(Vec::with_capacity(capacity))
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        // One memset that the optimiser must keep: `Zeroizing` writes byte by byte, which costs a
        // third of opening a record of 64 KiB. Within its capacity, `resize` does not move the buffer.
        let capacity = self.0.capacity();
        self.0.clear();
        self.0.resize(capacity, 0);
        zeroize::optimization_barrier(self.0.as_slice());
    }
}

impl ZeroizeOnDrop for Plaintext {}

/// Writes plaintext whose length nobody knows before: where it must move, what it leaves is wiped.
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
