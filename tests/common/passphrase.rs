//! Passphrase credentials with the lowest cost of key stretching, so that tests are fast.

use chartlock::keys::{Cost, Passphrase};

/// Lowest cost that the crate accepts.
pub(crate) const LEAST: Cost = Cost {
    memory_kib: 8 * 1024,
    passes: 1,
    lanes: 1,
};

/// Returns a passphrase credential with the lowest cost, which may be weak.
pub(crate) fn passphrase(words: impl Into<Vec<u8>>) -> Passphrase {
    Passphrase::new(words).with_cost(LEAST).allow_weak()
}
