//! Stored form of a patient entry: a frame of 88 bytes and the sealed body.

use crate::crypto::{
    self, CipherSuite, FrameKey, MasterKey, PatientTag, VaultId, entry_key, patient_tag,
};
use crate::error::{Error, Result};
use crate::format::sealed::{self, FrameHead, SealingPlace};
use crate::format::storage_keys;
use crate::keys::entry::PatientEntry;
use crate::keys::keyring::Keyring;
use crate::keys::ring::KeyVersion;

/// The kind byte of patient entries.
const KIND: u8 = 16;

/// The first 8 bytes of a patient entry, which identify the master key that opens the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryHead {
    /// The cipher suite that seals the entry.
    pub suite: CipherSuite,
    /// The number of the master key that seals the entry.
    pub master: u32,
}

impl EntryHead {
    /// Parses the head of an entry from its stored value, or from the first bytes of the value.
    ///
    /// # Errors
    /// In the order of checks: [`Error::Malformed`] for fewer than 8 bytes; [`Error::Unsupported`]
    /// for another format; [`Error::Malformed`] for a reserved byte that is not zero;
    /// [`Error::Unsupported`] for another suite or kind.
    pub fn parse(value: &[u8]) -> Result<Self> {
        let FrameHead { suite, number } = FrameHead::parse(KIND, value)?;
        Ok(Self {
            suite,
            master: number,
        })
    }
}

/// Seals an entry into its value under a fresh salt, so that each sealed value has its own entry
/// key.
///
/// Increments the entry's sequence and sets its generation to `generation`, the generation of the
/// current header.
///
/// # Errors
/// [`Error::CounterExhausted`] after sequence 2^64-1; [`Error::TooLarge`] for a body above 1 MiB;
/// [`Error::Randomness`] if the system provides no random bytes.
pub fn seal_entry(
    suite: CipherSuite,
    master: &KeyVersion<MasterKey>,
    vault: &VaultId,
    patient: &PatientTag,
    generation: u64,
    entry: &mut PatientEntry,
) -> Result<Vec<u8>> {
    let next = entry.sequence.checked_add(1);
    entry.sequence = next.ok_or(Error::CounterExhausted)?;
    entry.generation = generation;
    let number = master.number;
    let head = FrameHead { suite, number }.encode(KIND);
    let place = SealingPlace {
        key: FrameKey::Master(&master.key),
        storage_key: &storage_keys::entry(patient),
        version: entry.sequence,
    };
    sealed::seal(&head, &place, entry, |salt| {
        entry_key(suite, &master.key, salt, vault, patient, &head)
    })
}

/// Opens the entry that is stored under `patient`.
///
/// Verifies that a name key of the keyring derives `patient` from the sealed subject. The caller must
/// compare the entry's generation with the header's, because only the caller can load the header
/// again.
///
/// # Errors
/// In the order of checks: errors of [`EntryHead::parse`]; [`Error::Malformed`] for fewer than 88
/// bytes or a body above 1 MiB; [`Error::UnknownMasterKey`] if the keyring does not contain the
/// master key; [`Error::NotAuthentic`] if commitment or tag does not match; [`Error::Unsupported`]
/// or [`Error::Malformed`] from the decoded body; [`Error::NotAuthentic`] if the entry belongs to
/// another subject.
pub fn open_entry(
    value: &[u8],
    keyring: &Keyring,
    vault: &VaultId,
    patient: &PatientTag,
) -> Result<PatientEntry> {
    let EntryHead { suite, master } = EntryHead::parse(value)?;
    let entry: PatientEntry = sealed::open(value, |head, salt| {
        let master = keyring.master(master).ok_or(Error::UnknownMasterKey)?;
        entry_key(suite, &master.key, salt, vault, patient, head)
    })?;
    is_named(&entry, keyring, patient)?
        .then_some(entry)
        .ok_or(Error::NotAuthentic)
}

fn is_named(entry: &PatientEntry, keyring: &Keyring, patient: &PatientTag) -> Result<bool> {
    let subject = entry.subject();
    let mut named = false;
    for name_key in keyring.name_keys() {
        let tag = patient_tag(&name_key.key, subject.kind(), subject.identifier())?;
        named |= crypto::equal(&tag, patient);
    }
    Ok(named)
}
