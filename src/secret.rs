//! Bytes that are wiped when dropped and never printed.
//!
//! Promises: no copy is made behind the caller's back, and `Debug` shows nothing.
//! May not know: what the bytes are for.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

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

/// A buffer of plaintext, wiped on drop.
///
/// It must be made with its full capacity: growing would leave an unwiped copy behind.
pub(crate) type Plaintext = Zeroizing<Vec<u8>>;

/// An empty plaintext buffer that can take `capacity` bytes without moving.
pub(crate) fn plaintext(capacity: usize) -> Plaintext {
    Zeroizing::new(Vec::with_capacity(capacity))
}
