//! Envelope of age: a file key for each message, wrapped for an X25519 recipient.

use age::x25519::Identity;
use anyhow::Result;

use super::{Envelope, Sealed};

pub(super) struct Age(Identity);

impl Age {
    pub(super) fn new() -> Self {
        Self(Identity::generate())
    }
}

impl Envelope for Age {
    fn name(&self) -> String {
        "age".to_owned()
    }

    fn seal(&self, content: &[u8]) -> Result<Sealed> {
        Ok(Sealed::Whole(age::encrypt(&self.0.to_public(), content)?))
    }

    fn open(&self, sealed: Sealed, then: &mut dyn FnMut(&[u8])) -> Result<()> {
        then(&age::decrypt(&self.0, &sealed.whole()?)?);
        Ok(())
    }
}
