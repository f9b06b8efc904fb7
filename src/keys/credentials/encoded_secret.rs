//! Slot secret in base64, as key services send it.

use base64ct::{Base64, Encoding};

use crate::crypto::SlotSecret;
use crate::error::CredentialFailure;

/// Decodes a secret of 32 bytes, in constant time.
///
/// # Errors
/// [`CredentialFailure::Other`] for any other text.
pub(super) fn decode(text: &str) -> Result<SlotSecret, CredentialFailure> {
    SlotSecret::try_with(|secret| {
        let length = Base64::decode(text, secret).map(|decoded| decoded.len());
        (length == Ok(32))
            .then_some(())
            .ok_or(crate::Error::Malformed)
    })
    .map_err(|_| CredentialFailure::Other)
}
