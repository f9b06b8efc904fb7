//! Password-based key derivation with Argon2id.

use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::error::{Error, Result};

/// The Argon2id cost parameters for stretching a passphrase.
///
/// The default is the second recommended option of RFC 9106, section 4, for memory-constrained
/// machines: 64 MiB, 3 passes, 4 lanes.
///
/// ```
/// # use chartlock::keys::Cost;
/// assert_eq!(Cost::default().memory_kib, 64 * 1024);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// The memory size in KiB, from 8,192 (8 MiB) to 1,048,576 (1 GiB).
    pub memory_kib: u32,
    /// The number of passes over the memory, from 1 to 16.
    pub passes: u32,
    /// The number of lanes, from 1 to 16.
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
    /// Returns these parameters if they are within bounds.
    ///
    /// The bounds also apply to stored parameters, because an attacker can replace these. A forged
    /// cost must neither exhaust the machine nor make guessing cheap.
    ///
    /// # Errors
    /// [`Error::Malformed`] if memory, passes or lanes are out of bounds, or memory times passes
    /// exceeds 4 GiB.
    pub fn checked(self) -> Result<Self> {
        let work = u64::from(self.memory_kib) * u64::from(self.passes);
        let is_within_bounds = (8 * 1024..=1024 * 1024).contains(&self.memory_kib)
            && (1..=16).contains(&self.passes)
            && (1..=16).contains(&self.lanes)
            && work <= 4 * 1024 * 1024;
        is_within_bounds.then_some(self).ok_or(Error::Malformed)
    }
}

/// Derives 32 bytes from `passphrase` and `salt` with Argon2id version 0x13 (RFC 9106).
///
/// # Errors
/// [`Error::Malformed`] if the cost parameters are out of bounds; [`Error::Stretching`] if the
/// memory cannot be allocated or the computation fails.
pub fn argon2id(passphrase: &[u8], salt: &[u8; 32], cost: Cost, out: &mut [u8; 32]) -> Result<()> {
    let cost = cost.checked()?;
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(out.len()))
        .map_err(|_| Error::Malformed)?;
    let mut memory = Memory::new(params.block_count())?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(passphrase, salt, out, memory.0.as_mut_slice())
        .map_err(|_| Error::Stretching)
}

/// Argon2id working memory, wiped on drop, because its last blocks suffice to compute the secret
/// without the passphrase. The `argon2` crate does not wipe the memory that it allocates itself.
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
