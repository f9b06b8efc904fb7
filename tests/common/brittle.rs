//! Credential whose key service fails, for tests of unlocking.

use chartlock::Error;
use chartlock::keys::{Credential, CredentialFailure, SlotContext, SlotSecret};

use super::credential::Fixed;

/// Credential that opens the slots of [`Fixed`] with the same number, and fails with the given
/// error on all other slots.
#[derive(Debug)]
pub(crate) struct Brittle(pub(crate) u8, pub(crate) Error);

impl Brittle {
    /// Returns a credential whose key service fails.
    pub(crate) const fn unavailable(number: u8) -> Self {
        Self(number, Error::Credential(CredentialFailure::Other))
    }
}

impl Credential for Brittle {
    fn kind(&self) -> u16 {
        Fixed(self.0).kind()
    }

    fn name(&self) -> &str {
        "test"
    }

    fn enrol(&self, at: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
        Fixed(self.0).enrol(at)
    }

    fn secret(&self, parameters: &[u8], at: &SlotContext) -> Result<Option<SlotSecret>, Error> {
        match parameters == [self.0; 3] {
            true => Fixed(self.0).secret(parameters, at),
            false => Err(self.1.clone()),
        }
    }
}
