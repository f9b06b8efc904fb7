//! A cheap credential, and what several tests build.

use chartlock::internals::crypto::{Suite, VaultId, patient_tag};
use chartlock::internals::keys::{Header, Keyring, PatientEntry, seal_entry};
use chartlock::keys::{Credential, SlotContext, SlotSecret};
use chartlock::{Error, Subject};

pub(crate) const SUITES: [Suite; 2] = [Suite::Aes256Gcm, Suite::ChaCha20Poly1305];
pub(crate) const NOW: i64 = 1_795_000_000_000;

/// Thirty-two fixed bytes as a credential; its parameters name it, as a key service's would.
#[derive(Debug)]
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

/// A service that is down when a slot is opened, and up when one is made.
#[derive(Debug)]
pub(crate) struct Down;

impl Credential for Down {
    fn kind(&self) -> u16 {
        0x7001
    }

    fn enrol(&self, context: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
        Fixed(0xdd).enrol(context)
    }

    fn secret(&self, _: &[u8], _: &SlotContext) -> Result<Option<SlotSecret>, Error> {
        Err(Error::CredentialUnavailable)
    }
}

pub(crate) struct Vault {
    pub(crate) header: Header,
    pub(crate) value: Vec<u8>,
    pub(crate) keyring: Keyring,
}

/// A vault that `Fixed(1)` opens.
pub(crate) fn vault(suite: Suite) -> Vault {
    let keyring = Keyring::new(NOW).unwrap();
    let (value, _) = Header::create(suite, &keyring, &Fixed(1)).unwrap();
    let header = Header::parse(&value).unwrap();
    Vault {
        header,
        value,
        keyring,
    }
}

impl Vault {
    pub(crate) fn id(&self) -> &VaultId {
        self.header.vault()
    }

    pub(crate) fn tag(&self, subject: &Subject) -> [u8; 16] {
        let key = &self.keyring.active_name_key().key;
        patient_tag(key, subject.kind(), subject.identifier()).unwrap()
    }

    pub(crate) fn seal(&self, entry: &mut PatientEntry) -> Vec<u8> {
        let tag = self.tag(entry.subject());
        let master = self.keyring.active_master();
        seal_entry(self.header.suite(), master, self.id(), &tag, 1, entry).unwrap()
    }
}
