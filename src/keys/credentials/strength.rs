//! Estimate of how easy a passphrase is to guess.

use zxcvbn::{Score, zxcvbn};

/// Returns `true` for a passphrase that zxcvbn expects to be found within 10^10 guesses, its limit between
/// "safely unguessable" and "very unguessable".
pub(super) fn is_easy_to_guess(passphrase: &str) -> bool {
    zxcvbn(passphrase, &[]).score() < Score::Four
}
