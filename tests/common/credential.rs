//! A credential that costs nothing, for tests and benches that are about something else.

use chartlock::Error;
use chartlock::keys::{Credential, SlotContext, SlotSecret};

/// Thirty-two fixed bytes as a credential; its parameters name it, as a key service's would.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fixed(pub(crate) u8);

impl Credential for Fixed {
    fn kind(&self) -> u16 {
        0x7001
    }

    fn enrol(&self, _: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
        Ok((vec![self.0; 3], SlotSecret::from_bytes(&[self.0; 32])))
    }

    fn secret(&self, _: &[u8], _: &SlotContext) -> Result<Option<SlotSecret>, Error> {
        Ok(Some(SlotSecret::from_bytes(&[self.0; 32])))
    }
}
