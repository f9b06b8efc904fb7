//! Random bytes, from the operating system only, because a generator in user space can repeat its
//! output after `fork`.

use rand::TryRng;
use rand::rngs::SysRng;

use crate::error::{Error, Result};

/// Fills `bytes` with random bytes from the operating system.
///
/// # Errors
/// [`Error::Randomness`] if the operating system returns no random bytes.
pub fn fill(bytes: &mut [u8]) -> Result<()> {
    #[cfg(feature = "internals")]
    if crate::crypto::repeated::fill(bytes) {
        return Ok(());
    }
    SysRng.try_fill_bytes(bytes).map_err(|_| Error::Randomness)
}

/// Generates public random bytes, for a salt or an id.
///
/// # Errors
/// [`Error::Randomness`] if the operating system returns no random bytes.
pub fn fresh<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// Generates a key number for which `taken` returns `false`.
///
/// The number is random, because after a restore two copies of the vault can diverge; counters
/// would then assign the same number to two different keys.
///
/// # Errors
/// [`Error::Randomness`] if the operating system returns no random bytes.
pub fn number(taken: impl Fn(u32) -> bool) -> Result<u32> {
    loop {
        let number = u32::from_le_bytes(fresh()?);
        if !taken(number) {
            return Ok(number);
        }
    }
}
