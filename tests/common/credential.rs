//! Credential without key stretching, for tests and benchmarks that do not measure key stretching.

use chartlock::Error;
use chartlock::keys::{Credential, SlotContext, SlotSecret};

/// Credential with a secret of 32 fixed bytes. The slot parameters identify the credential, as the
/// parameters of a key service do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fixed(pub(crate) u8);

impl Credential for Fixed {
    fn kind(&self) -> u16 {
        0x7001
    }

    fn name(&self) -> &str {
        "test"
    }

    fn enrol(&self, _: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
        Ok((vec![self.0; 3], SlotSecret::from_bytes(&[self.0; 32])))
    }

    fn secret(&self, _: &[u8], _: &SlotContext) -> Result<Option<SlotSecret>, Error> {
        Ok(Some(SlotSecret::from_bytes(&[self.0; 32])))
    }
}
