//! Password-based derivation with Argon2id.

use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::error::{Error, Result};

/// What stretching a passphrase costs.
///
/// The default is the second recommended choice of RFC 9106, section 4, for constrained memory:
/// 64 MiB, 3 passes, 4 lanes.
///
/// ```
/// # use chartlock::keys::Cost;
/// assert_eq!(Cost::default().memory_kib, 64 * 1024);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory, in KiB: 8 MiB to 1 GiB.
    pub memory_kib: u32,
    /// Passes over the memory: 1 to 16.
    pub passes: u32,
    /// Lanes: 1 to 16.
    pub lanes: u32,
}

impl Default for Cost {
    fn default() -> Self {
        Self {
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 4,
        }
    }
}

impl Cost {
    /// The cost itself, if it is within what this crate reads back: planted parameters must neither
    /// exhaust the machine nor make guessing cheap.
    ///
    /// # Errors
    /// [`Error::Malformed`] when memory, passes, lanes, or memory times passes (at most 4 GiB) are
    /// out of bounds.
    pub fn checked(self) -> Result<Self> {
        let work = u64::from(self.memory_kib) * u64::from(self.passes);
        let fits = (8 * 1024..=1024 * 1024).contains(&self.memory_kib)
            && (1..=16).contains(&self.passes)
            && (1..=16).contains(&self.lanes)
            && work <= 4 * 1024 * 1024;
        fits.then_some(self).ok_or(Error::Malformed)
    }
}

/// Argon2id version 0x13 (RFC 9106) of `passphrase` under `salt`, into `out`.
///
/// # Errors
/// [`Error::Malformed`] for a cost out of bounds, [`Error::Stretching`] when it cannot be carried
/// out.
pub fn argon2id(passphrase: &[u8], salt: &[u8; 32], cost: Cost, out: &mut [u8; 32]) -> Result<()> {
    let cost = cost.checked()?;
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(out.len()))
        .map_err(|_| Error::Malformed)?;
    let mut memory = Memory::new(params.block_count())?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(passphrase, salt, out, memory.0.as_mut_slice())
        .map_err(|_| Error::Stretching)
}

/// Working memory, wiped on drop: whoever finds its last blocks has the secret without the passphrase.
/// The `argon2` crate hands its own back to the allocator as it is.
struct Memory(Vec<Block>);

impl Memory {
    fn new(blocks: usize) -> Result<Self> {
        let mut memory = Vec::new();
        (memory.try_reserve_exact(blocks)).map_err(|_| Error::Stretching)?;
        memory.resize(blocks, Block::new());
        Ok(Self(memory))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.0.fill(Block::new());
        zeroize::optimization_barrier(self.0.as_slice());
    }
}
