//! Credentials and vaults that several test modules share.

use std::sync::mpsc;

use chartlock::internals::crypto::{CipherSuite, JournalKey, RootKey, VaultId, patient_tag};
use chartlock::internals::keys::{Header, Keyring, PatientEntry, open_entry, seal_entry};
use chartlock::keys::{Credential, SlotContext, SlotSecret};
use chartlock::{Error, Subject};

pub(crate) use crate::common::{Brittle, Fixed};

pub const SUITES: [CipherSuite; 2] = [CipherSuite::Aes256Gcm, CipherSuite::ChaCha20Poly1305];
pub const NOW: i64 = 1_795_000_000_000;

/// Credential of a kind that no other credential in these tests has.
#[derive(Debug)]
pub struct Unknown;

impl Credential for Unknown {
    fn kind(&self) -> u16 {
        0x7fff
    }

    fn name(&self) -> &str {
        "test"
    }

    fn enrol(&self, _: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
        Ok(((0..=255).collect(), SlotSecret::random()?))
    }

    fn secret(&self, _: &[u8], _: &SlotContext) -> Result<Option<SlotSecret>, Error> {
        Ok(None)
    }
}

/// Credential like [`Fixed`]`(1)` that sends each received slot context to a channel.
#[derive(Debug)]
pub struct Asking(pub mpsc::Sender<SlotContext>);

impl Credential for Asking {
    fn kind(&self) -> u16 {
        0x7002
    }

    fn name(&self) -> &str {
        "test"
    }

    fn enrol(&self, context: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
        self.0.send(*context).unwrap();
        Fixed(1).enrol(context)
    }

    fn secret(&self, parameters: &[u8], at: &SlotContext) -> Result<Option<SlotSecret>, Error> {
        self.0.send(*at).unwrap();
        Fixed(1).secret(parameters, at)
    }
}

pub struct Vault {
    pub header: Header,
    pub value: Vec<u8>,
    pub root: RootKey,
    pub keyring: Keyring,
}

/// Creates a vault that `Fixed(1)` opens.
pub fn vault(suite: CipherSuite) -> Vault {
    let keyring = Keyring::new(NOW).unwrap();
    let (value, root) = Header::create(suite, &keyring, &Fixed(1)).unwrap();
    let header = Header::parse(&value).unwrap();
    Vault {
        header,
        value,
        root,
        keyring,
    }
}

impl Vault {
    /// Seals the header in its current state, and replaces the stored value with the sealed bytes.
    pub fn store(&mut self) {
        let next = self.header.generation() + 1;
        self.value = (self.header)
            .sealed_with(&self.root, &self.keyring, next)
            .unwrap();
        self.header = Header::parse(&self.value).unwrap();
    }

    pub fn id(&self) -> &VaultId {
        self.header.vault()
    }

    pub fn tag(&self, subject: &Subject) -> [u8; 16] {
        let key = &self.keyring.active_name_key().key;
        patient_tag(key, subject.kind(), subject.identifier()).unwrap()
    }

    pub fn seal(&self, entry: &mut PatientEntry) -> Vec<u8> {
        let tag = self.tag(entry.subject());
        let master = self.keyring.active_master();
        seal_entry(self.header.suite(), master, self.id(), &tag, 1, entry).unwrap()
    }

    pub fn open(&self, value: &[u8], subject: &Subject) -> Result<PatientEntry, Error> {
        open_entry(value, &self.keyring, self.id(), &self.tag(subject))
    }
}

/// Returns the journal key that a new auditor slot wraps.
pub fn journal(keyring: &Keyring) -> &JournalKey {
    &keyring.active_journal_key().key
}

/// Returns the patient of all entries in these tests.
pub fn subject() -> Subject {
    crate::common::subject("MRN-1042")
}

/// Returns each copy of `value` with one bit flipped, together with the index of the changed byte.
pub fn flips(value: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..value.len() * 8).map(|bit| {
        let mut flipped = value.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        (bit / 8, flipped)
    })
}
