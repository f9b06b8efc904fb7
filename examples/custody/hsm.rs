//! Simulated HSM, which shows how an app implements a credential.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use chartlock::Error;
use chartlock::keys::{Credential, CredentialFailure, SlotContext, SlotSecret};

/// A device that keeps the secrets of slots. A real one would keep a key, and wrap the secrets.
#[derive(Default)]
pub(crate) struct Hsm {
    secrets: Mutex<Vec<(SlotContext, SlotSecret)>>,
    is_broken: AtomicBool,
}

impl Hsm {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn set_broken(&mut self) {
        self.is_broken.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), Error> {
        match self.is_broken.load(Ordering::Relaxed) {
            true => Err(Error::Credential(CredentialFailure::Unreachable)),
            false => Ok(()),
        }
    }
}

impl Credential for Hsm {
    fn kind(&self) -> u16 {
        0x7001
    }

    fn name(&self) -> &str {
        "com.example.hsm"
    }

    fn enrol(&self, slot: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
        self.check()?;
        let secret = SlotSecret::random()?;
        let kept = SlotSecret::from_bytes(secret.expose());
        let mut secrets = self.secrets.lock().map_err(|_| failed())?;
        // Name each secret, because a slot can be enrolled again, and then its former secret may stay in use.
        let number = secrets.len().to_le_bytes();
        secrets.push((*slot, kept));
        Ok((number.to_vec(), secret))
    }

    fn secret(&self, number: &[u8], slot: &SlotContext) -> Result<Option<SlotSecret>, Error> {
        self.check()?;
        let secrets = self.secrets.lock().map_err(|_| failed())?;
        let number = number.try_into().map(usize::from_le_bytes);
        let found = number.ok().and_then(|number| secrets.get(number));
        let found = found.filter(|(of, _)| of == slot);
        Ok(found.map(|(_, secret)| SlotSecret::from_bytes(secret.expose())))
    }
}

impl std::fmt::Debug for Hsm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hsm(..)")
    }
}

fn failed() -> Error {
    Error::Credential(CredentialFailure::Other)
}
