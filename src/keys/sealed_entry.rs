//! A patient entry as it is stored: 88 bytes beside the body.

use super::entry::PatientEntry;
use super::keyring::Keyring;
use super::ring::Numbered;
use crate::codec::{self, take, take_slice};
use crate::crypto::{
    self, MasterKey, Nonce, PatientTag, Salt, Suite, TAG, VaultId, entry_key, patient_tag,
};
use crate::error::{Error, Result};
use crate::secret::plaintext;

/// The one format of entries.
const FORMAT: u8 = 1;
/// The kind byte of entries.
const KIND: u8 = 16;
/// Head 8, salt 32 and commitment 32, before the body.
const BEFORE: usize = 72;

/// The first 8 bytes of an entry: what tells which master key it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryHead {
    /// The suite that the entry is sealed with.
    pub suite: Suite,
    /// The number of the master key that it is sealed under.
    pub master: u32,
}

impl EntryHead {
    /// The head of an entry's value, or of its first bytes.
    ///
    /// # Errors
    /// In the order of checks: [`Error::Malformed`] for fewer than 8 bytes, [`Error::Unsupported`]
    /// for another format, [`Error::Malformed`] for a zero byte that is none, and
    /// [`Error::Unsupported`] for another suite or kind.
    pub fn parse(value: &[u8]) -> Result<Self> {
        let mut value = value;
        let rest = &mut value;
        let [format, suite, kind, zero] = *take(rest)?;
        let master = u32::from_le_bytes(*take(rest)?);
        match (format, zero, kind) {
            (FORMAT, 0, KIND) => Suite::from_code(suite).map(|suite| Self { suite, master }),
            (FORMAT, 1.., _) => Err(Error::Malformed),
            _ => Err(Error::Unsupported),
        }
    }

    fn encode(self) -> [u8; 8] {
        let [a, b, c, d] = self.master.to_le_bytes();
        [FORMAT, self.suite.code(), KIND, 0, a, b, c, d]
    }
}

/// Seals an entry into its value, under a salt of its own: so each sealing has its own entry key.
///
/// The entry's sequence goes up by one and `generation` becomes that of the header at hand.
///
/// # Errors
/// [`Error::TooLarge`] for a body above 1 MiB; [`Error::Randomness`].
pub fn seal_entry(
    suite: Suite,
    master: &Numbered<MasterKey>,
    vault: &VaultId,
    patient: &PatientTag,
    generation: u64,
    entry: &mut PatientEntry,
) -> Result<Vec<u8>> {
    entry.sequence = entry.sequence.checked_add(1).ok_or(Error::TooLarge)?;
    entry.generation = generation;
    let head = EntryHead {
        suite,
        master: master.number,
    };
    let head = head.encode();
    let salt: Salt = crypto::fresh()?;
    let (sealing, commitment) = entry_key(suite, &master.key, &salt, vault, patient, &head)?;
    let mut value = codec::encode(entry, BEFORE, TAG)?;
    let (before, sealed) = value.split_at_mut_checked(BEFORE).ok_or(Error::Malformed)?;
    let (body, tag) = sealed
        .split_last_chunk_mut::<TAG>()
        .ok_or(Error::Malformed)?;
    *tag = sealing.seal(Nonce::ZERO, body)?;
    before.copy_from_slice(&[head.as_slice(), &salt, &commitment].concat());
    Ok(value.into_sealed())
}

/// Opens the entry that is stored under `patient`.
///
/// The subject inside must give `patient` again under one of the keyring's name keys. Comparing the
/// entry's generation with the header's is left to the caller, who can load the header again.
///
/// # Errors
/// In the order of checks: those of [`EntryHead::parse`]; [`Error::Malformed`] for less than 88
/// bytes or a body above 1 MiB; [`Error::UnknownMasterKey`]; [`Error::NotAuthentic`];
/// [`Error::Unsupported`] or [`Error::Malformed`] from what was sealed; [`Error::NotAuthentic`]
/// when it is another subject's.
pub fn open_entry(
    value: &[u8],
    keyring: &Keyring,
    vault: &VaultId,
    patient: &PatientTag,
) -> Result<PatientEntry> {
    let EntryHead { suite, master } = EntryHead::parse(value)?;
    let mut value = value;
    let rest = &mut value;
    let head = take(rest)?;
    let salt = take(rest)?;
    let commitment: &[u8; 32] = take(rest)?;
    let length = rest.len().checked_sub(TAG).ok_or(Error::Malformed)?;
    let ciphertext = take_slice(rest, length, codec::BODY_MAX)?;
    let tag = take(rest)?;

    let master = keyring.master(master).ok_or(Error::UnknownMasterKey)?;
    let (sealing, derived) = entry_key(suite, &master.key, salt, vault, patient, head)?;
    if !crypto::equal(&derived, commitment) {
        return Err(Error::NotAuthentic);
    }
    let mut body = plaintext(ciphertext.len());
    body.extend_from_slice(ciphertext);
    sealing.open(Nonce::ZERO, &mut body, tag)?;
    let entry: PatientEntry = codec::decode(&body)?;
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
