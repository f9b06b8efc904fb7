//! Credential whose key service fails.

use chartlock::Error;
use chartlock::keys::{Credential, SlotContext, SlotSecret};

use super::credential::Fixed;

/// Credential like [`Fixed`] with this number, which fails with this error on the slots of others.
#[derive(Debug)]
pub(crate) struct Brittle(pub(crate) u8, pub(crate) Error);

impl Brittle {
    /// Returns the credential of a key service that cannot be reached.
    pub(crate) const fn unavailable(number: u8) -> Self {
        Self(number, Error::CredentialUnavailable)
    }
}

impl Credential for Brittle {
    fn kind(&self) -> u16 {
        Fixed(self.0).kind()
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
