//! Random source that repeats its output, as a cloned machine can. Only tests use it.

use std::cell::Cell;

thread_local! {
    /// Seed of the source that replaces the operating system's on this thread, and the number of
    /// blocks drawn from it.
    static SOURCE: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

/// Restores the operating system's random source, also after a panic.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        SOURCE.set(None);
    }
}

/// Runs `run` while every random draw of this thread comes from `seed` only. Two runs with the same
/// seed draw the same bytes.
pub fn with_repeated_draws<T>(seed: u64, run: impl FnOnce() -> T) -> T {
    let _restore = Restore;
    SOURCE.set(Some((seed, 0)));
    run()
}

/// Fills `bytes` from the repeated source; returns `false` if this thread has none.
pub(super) fn fill(bytes: &mut [u8]) -> bool {
    let Some((seed, mut blocks)) = SOURCE.get() else {
        return false;
    };
    for part in bytes.chunks_mut(32) {
        let block = super::sha256(&[&seed.to_le_bytes(), &blocks.to_le_bytes()]);
        part.copy_from_slice(block.get(..part.len()).unwrap_or_default());
        blocks += 1;
    }
    SOURCE.set(Some((seed, blocks)));
    true
}
