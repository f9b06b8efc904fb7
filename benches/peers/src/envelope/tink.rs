//! Envelope of Tink: a fresh key for each message, wrapped by a key service. Here, a key in this
//! process replaces the service.

use anyhow::{Result, anyhow};
use tink_aead::{KmsEnvelopeAead, aes256_gcm_key_template, subtle::AesGcm};
use tink_core::{Aead, TinkError};

use super::{CONTEXT, Envelope, Sealed};

pub(super) struct Tink(KmsEnvelopeAead);

impl Tink {
    pub(super) fn new() -> Result<Self> {
        tink_aead::init();
        let service =
            AesGcm::new(&tink_core::subtle::random::get_random_bytes(32)).map_err(convert)?;
        let template = aes256_gcm_key_template();
        Ok(Self(KmsEnvelopeAead::new(template, Box::new(service))))
    }
}

fn convert(error: TinkError) -> anyhow::Error {
    anyhow!("{error}")
}

impl Envelope for Tink {
    fn name(&self) -> String {
        "tink envelope".to_owned()
    }

    fn seal(&self, content: &[u8]) -> Result<Sealed> {
        let sealed = self.0.encrypt(content, CONTEXT.as_bytes());
        sealed.map(Sealed::Whole).map_err(convert)
    }

    fn open(&self, sealed: Sealed, then: &mut dyn FnMut(&[u8])) -> Result<()> {
        let opened = self.0.decrypt(&sealed.whole()?, CONTEXT.as_bytes());
        then(&opened.map_err(convert)?);
        Ok(())
    }
}
