//! Passphrases that take little time to stretch.

use chartlock::keys::{Cost, Passphrase};

/// The least cost that a passphrase may have.
pub(crate) const LEAST: Cost = Cost {
    memory_kib: 8 * 1024,
    passes: 1,
    lanes: 1,
};

/// Returns a passphrase of the least cost.
pub(crate) fn passphrase(words: impl Into<Vec<u8>>) -> Passphrase {
    Passphrase::new(words).with_cost(LEAST)
}
