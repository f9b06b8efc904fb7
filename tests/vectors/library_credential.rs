//! Credentials of the library for the vectors.

use chartlock::Error;
use chartlock::keys::{
    Both, Credential, CredentialFailure, KeyFile, Shares, SlotContext, SlotSecret,
};

use crate::common;
use crate::container::Vector;

/// Returns the credential of a vector.
pub fn credential(vector: &Vector) -> Result<Box<dyn Credential>, Error> {
    if let Some(texts) = vector.text("credential shares") {
        let texts: Vec<_> = texts.split("\n\n").collect();
        return Ok(Box::new(Shares::from_texts(&texts)?));
    }
    if let Some(device) = vector.about.get("credential device") {
        return Ok(Box::new(Device::of(device)));
    }
    let passphrase = vector.text("credential passphrase").map(common::passphrase);
    let key_file = vector.text("credential key file").map(KeyFile::from_text);
    Ok(match (passphrase, key_file.transpose()?) {
        (Some(passphrase), None) => Box::new(passphrase),
        (None, Some(key_file)) => Box::new(key_file),
        (Some(passphrase), Some(key_file)) => {
            // The vectors of a test process are few, so these two may stay in memory.
            let (first, second) = (
                Box::leak(Box::new(key_file)),
                Box::leak(Box::new(passphrase)),
            );
            Box::new(Both::new(first, second))
        }
        (None, None) => panic!("no credential"),
    })
}

/// Test double of a device, a service or an app, which knows the secret of one slot.
#[derive(Debug)]
struct Device {
    kind: u16,
    secret: [u8; 32],
    name: String,
    parameters: Vec<u8>,
}

impl Device {
    fn of(bytes: &[u8]) -> Self {
        let (kind, rest) = bytes.split_first_chunk().unwrap();
        let (secret, parameters) = rest.split_first_chunk().unwrap();
        let kind = u16::from_le_bytes(*kind);
        let (name, parameters) = match kind {
            0x7000.. => parameters[1..].split_at(parameters[0].into()),
            _ => parameters.split_at(0),
        };
        Self {
            kind,
            secret: *secret,
            name: String::from_utf8(name.to_vec()).unwrap(),
            parameters: parameters.to_vec(),
        }
    }
}

impl Credential for Device {
    fn kind(&self) -> u16 {
        self.kind
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn enrol(&self, _: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
        Err(Error::Credential(CredentialFailure::Denied))
    }

    fn secret(&self, parameters: &[u8], _: &SlotContext) -> Result<Option<SlotSecret>, Error> {
        let is_own = parameters == self.parameters;
        Ok(is_own.then(|| SlotSecret::from_bytes(&self.secret)))
    }
}
