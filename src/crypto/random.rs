//! Random bytes from the operating system only: a generator in user space repeats after `fork`.

use rand::TryRng;
use rand::rngs::SysRng;

use crate::error::{Error, Result};

/// Fills `bytes` from the operating system.
///
/// # Errors
/// [`Error::Randomness`] when the system gives none.
pub fn fill(bytes: &mut [u8]) -> Result<()> {
    SysRng.try_fill_bytes(bytes).map_err(|_| Error::Randomness)
}

/// Fresh public bytes: a salt or an id.
///
/// # Errors
/// [`Error::Randomness`] when the system gives none.
pub fn fresh<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// A key number that is not `taken`. Random, so that two timelines after a restore do not give one
/// number to two keys.
///
/// # Errors
/// [`Error::Randomness`] when the system gives none.
pub fn number(taken: impl Fn(u32) -> bool) -> Result<u32> {
    loop {
        let number = u32::from_le_bytes(fresh()?);
        if !taken(number) {
            return Ok(number);
        }
    }
}
