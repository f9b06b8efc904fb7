//! A credential that costs nothing.

use chartlock::Error;
use chartlock::keys::{Credential, SlotContext, SlotSecret};

/// Thirty-two fixed bytes.
#[derive(Debug)]
pub(crate) struct Fixed;

impl Credential for Fixed {
    fn kind(&self) -> u16 {
        0x7001
    }

    fn enrol(&self, _: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
        Ok((Vec::new(), SlotSecret::from_bytes(&[7; 32])))
    }

    fn secret(&self, _: &[u8], _: &SlotContext) -> Result<Option<SlotSecret>, Error> {
        Ok(Some(SlotSecret::from_bytes(&[7; 32])))
    }
}
