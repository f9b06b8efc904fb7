//! Passphrases with the least cost of key stretching.

use chartlock::keys::{Cost, Passphrase};

/// The least cost that the crate accepts.
pub(crate) const LEAST: Cost = Cost {
    memory_kib: 8 * 1024,
    passes: 1,
    lanes: 1,
};

/// Returns a passphrase with the least cost.
pub(crate) fn passphrase(words: impl Into<Vec<u8>>) -> Passphrase {
    Passphrase::new(words).with_cost(LEAST)
}
