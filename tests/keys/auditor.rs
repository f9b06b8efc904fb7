//! Auditor slots, whose credentials open the journal key only.

use std::sync::Mutex;

use chartlock::Error;
use chartlock::internals::crypto::JournalKey;
use chartlock::internals::keys::Header;
use chartlock::keys::{Credential, SlotContext, SlotInfo, SlotSecret};

use crate::fixtures::*;
use crate::mirror::split_header;

/// Creates a vault with slots for `Fixed(1)`, the auditor `Fixed(2)`, and `Fixed(3)`.
fn audited() -> (Vault, [u16; 3]) {
    let mut vault = vault(SUITES[0]);
    (vault.header)
        .add_auditor_slot(journal(&vault.keyring), &Fixed(2))
        .unwrap();
    vault.header.add_slot(&vault.root, &Fixed(3)).unwrap();
    vault.store();
    let ids = ids(&vault.header).try_into().unwrap();
    (vault, ids)
}

fn ids(header: &Header) -> Vec<u16> {
    header.slots().iter().map(|slot| slot.id).collect()
}

/// Returns the bytes of each slot. A slot of [`Fixed`] has 123 bytes.
fn slots(value: &[u8]) -> Vec<Vec<u8>> {
    let (frame, _) = split_header(value);
    frame[36..].chunks(123).map(<[u8]>::to_vec).collect()
}

fn journal_of(header: &Header, credential: &dyn Credential) -> Result<([u8; 32], u16), Error> {
    let unlocked = header.unlock_journal(credential);
    unlocked.map(|(key, slot)| (*key.expose(), slot))
}

#[test]
fn auditor_slot_opens_journal_key_only() {
    for suite in SUITES {
        let mut vault = vault(suite);
        let journal_key = *journal(&vault.keyring).expose();
        let slot = (vault.header)
            .add_auditor_slot(journal(&vault.keyring), &Fixed(2))
            .unwrap();
        vault.store();
        assert_eq!(
            journal_of(&vault.header, &Fixed(2)),
            Ok((journal_key, slot))
        );
        let opened = vault.header.unlock(&Fixed(2));
        assert_eq!(opened.unwrap_err(), Error::WrongKey);
        for other in [1, 3] {
            let opened = journal_of(&vault.header, &Fixed(other));
            assert_eq!(opened, Err(Error::WrongKey));
        }
        vault.header.unlock(&Fixed(1)).unwrap();
    }
}

#[test]
fn slot_list_marks_auditor_slots() {
    let (vault, _) = audited();
    let shown = |slot: &SlotInfo| (slot.kind, slot.journal_only);
    let shown: Vec<_> = vault.header.slots().iter().map(shown).collect();
    assert_eq!(shown, [(0x7001, false), (0x7001, true), (0x7001, false)]);
    assert_eq!(slots(&vault.value)[1][..2], 0xf001_u16.to_le_bytes());
    assert_eq!(slots(&vault.value)[2][..2], 0x7001_u16.to_le_bytes());
}

#[test]
fn credential_with_vault_and_auditor_slots_opens_both() {
    let (mut vault, [first, ..]) = audited();
    let both = (vault.header)
        .add_auditor_slot(journal(&vault.keyring), &Fixed(1))
        .unwrap();
    vault.store();
    assert_eq!(vault.header.unlock(&Fixed(1)).unwrap().slot, first);
    let journal_key = *journal(&vault.keyring).expose();
    assert_eq!(
        journal_of(&vault.header, &Fixed(1)),
        Ok((journal_key, both))
    );
}

#[test]
fn slot_with_flipped_auditor_bit_is_refused() {
    let (vault, _) = audited();
    for slot in [0, 1, 2] {
        let mut value = vault.value.clone();
        value[36 + 123 * slot + 1] ^= 0x80;
        let header = Header::parse(&value).unwrap();
        let credential = Fixed(slot as u8 + 1);
        let refused = header.unlock(&credential).unwrap_err();
        assert_eq!(refused, Error::WrongKey);
        assert_eq!(journal_of(&header, &credential), Err(Error::WrongKey));
    }
}

#[test]
fn damaged_auditor_slot_does_not_block_later_slot() {
    let (mut vault, [_, damaged, _]) = audited();
    let good = (vault.header)
        .add_auditor_slot(journal(&vault.keyring), &Fixed(2))
        .unwrap();
    vault.store();
    let journal_key = *journal(&vault.keyring).expose();
    assert_eq!(
        journal_of(&vault.header, &Fixed(2)),
        Ok((journal_key, damaged))
    );
    // The salt, commitment and wrapped key follow the slot's head and parameters.
    for field in [11, 43, 75, 107] {
        let mut value = vault.value.clone();
        value[36 + 123 + field] ^= 1;
        let header = Header::parse(&value).unwrap();
        assert_eq!(journal_of(&header, &Fixed(2)), Ok((journal_key, good)));
        let mut both = value.clone();
        both[36 + 3 * 123 + field] ^= 1;
        let header = Header::parse(&both).unwrap();
        assert_eq!(journal_of(&header, &Fixed(2)), Err(Error::WrongKey));
    }
}

#[test]
fn unavailable_auditor_slot_does_not_block_later_slot() {
    let (mut vault, _) = audited();
    let down = journal_of(&vault.header, &Brittle::unavailable(4));
    assert_eq!(down, Err(Error::CredentialUnavailable));
    let slot = (vault.header)
        .add_auditor_slot(journal(&vault.keyring), &Brittle::unavailable(4))
        .unwrap();
    vault.store();
    assert_eq!(
        journal_of(&vault.header, &Brittle::unavailable(4))
            .unwrap()
            .1,
        slot
    );
}

/// Credential that opens none of these slots, like [`Fixed`]`(9)`, and records the slots that the
/// header offers.
#[derive(Debug, Default)]
struct RecordingCredential(Mutex<Vec<(u16, u16)>>);

impl Credential for RecordingCredential {
    fn kind(&self) -> u16 {
        0x7001
    }

    fn enrol(&self, context: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
        Fixed(9).enrol(context)
    }

    fn secret(&self, parameters: &[u8], at: &SlotContext) -> Result<Option<SlotSecret>, Error> {
        self.0.lock().unwrap().push((at.kind(), at.slot()));
        Fixed(9).secret(parameters, at)
    }
}

#[test]
fn unlock_offers_credential_only_slots_of_its_kind() {
    let (vault, [first, auditor, third]) = audited();
    let asked = RecordingCredential::default();
    vault.header.unlock(&asked).unwrap_err();
    let about = std::mem::take(&mut *asked.0.lock().unwrap());
    assert_eq!(about, [(0x7001, first), (0x7001, third)]);
    vault.header.unlock_journal(&asked).unwrap_err();
    let about = std::mem::take(&mut *asked.0.lock().unwrap());
    assert_eq!(about, [(0x7001, auditor)]);
}

/// Credential whose kind has the high bit set, which the header reserves for auditor slots.
#[derive(Debug)]
struct HighBitKind;

impl Credential for HighBitKind {
    fn kind(&self) -> u16 {
        0xf001
    }

    fn enrol(&self, context: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
        Fixed(2).enrol(context)
    }

    fn secret(&self, parameters: &[u8], at: &SlotContext) -> Result<Option<SlotSecret>, Error> {
        Fixed(2).secret(parameters, at)
    }
}

#[test]
fn credential_kind_with_high_bit_is_refused() {
    let (mut vault, [first, auditor, _]) = audited();
    let refused = Error::CredentialUnavailable;
    let key = journal(&vault.keyring);
    let created = Header::create(SUITES[0], &vault.keyring, &HighBitKind);
    assert_eq!(created.unwrap_err(), refused);
    assert_eq!(vault.header.unlock(&HighBitKind).unwrap_err(), refused);
    assert_eq!(
        journal_of(&vault.header, &HighBitKind).unwrap_err(),
        refused
    );
    let header = &mut vault.header;
    assert_eq!(
        header.add_slot(&vault.root, &HighBitKind),
        Err(refused.clone())
    );
    let added = header.add_auditor_slot(key, &HighBitKind);
    assert_eq!(added, Err(refused.clone()));
    for slot in [first, auditor] {
        let replaced = header.replace_slot(&vault.root, key, slot, &HighBitKind);
        assert_eq!(replaced, Err(refused.clone()));
    }
    let before = vault.value.clone();
    vault.store();
    assert_eq!(slots(&vault.value), slots(&before));
}

#[test]
fn removal_of_last_vault_slot_is_refused() {
    let (mut vault, [first, auditor, third]) = audited();
    vault.header.remove_slot(first).unwrap();
    assert_eq!(vault.header.remove_slot(third), Err(Error::LastSlot));
    vault.header.remove_slot(auditor).unwrap();
    assert_eq!(vault.header.remove_slot(auditor), Err(Error::NoSuchSlot));
    assert_eq!(vault.header.remove_slot(third), Err(Error::LastSlot));
    vault.store();
    assert_eq!(ids(&vault.header), [third]);
    let gone = journal_of(&vault.header, &Fixed(2));
    assert_eq!(gone, Err(Error::WrongKey));
}

#[test]
fn auditor_slots_count_toward_16_slots() {
    let (mut vault, _) = audited();
    for n in 4..=16 {
        let key = journal(&vault.keyring);
        vault.header.add_auditor_slot(key, &Fixed(n)).unwrap();
    }
    let key = journal(&vault.keyring);
    let full = vault.header.add_auditor_slot(key, &Fixed(17));
    assert_eq!(full, Err(Error::TooManySlots));
    let full = vault.header.add_slot(&vault.root, &Fixed(17));
    assert_eq!(full, Err(Error::TooManySlots));
}

#[test]
fn replaced_slot_stays_vault_or_auditor_slot() {
    let (mut vault, [first, auditor, third]) = audited();
    let today = JournalKey::random().unwrap();
    let mut replace = |slot, credential| {
        let replaced = (vault.header).replace_slot(&vault.root, &today, slot, credential);
        replaced.unwrap();
    };
    replace(auditor, &Fixed(5));
    replace(first, &Fixed(6));
    vault.store();
    assert_eq!(ids(&vault.header), [first, auditor, third]);
    let opened = journal_of(&vault.header, &Fixed(5));
    assert_eq!(opened, Ok((*today.expose(), auditor)));
    let shut = journal_of(&vault.header, &Fixed(2));
    assert_eq!(shut, Err(Error::WrongKey));
    let no_record = vault.header.unlock(&Fixed(5)).unwrap_err();
    assert_eq!(no_record, Error::WrongKey);
    assert_eq!(vault.header.unlock(&Fixed(6)).unwrap().slot, first);
    let no_journal = journal_of(&vault.header, &Fixed(6));
    assert_eq!(no_journal, Err(Error::WrongKey));
}

#[test]
fn root_rotation_keeps_auditor_slots_byte_for_byte() {
    let (mut vault, all) = audited();
    let before = slots(&vault.value);
    vault.root = (vault.header)
        .rotate_root(&[&Fixed(1), &Fixed(3)], &[])
        .unwrap();
    vault.store();
    assert_eq!(ids(&vault.header), all);
    let after = slots(&vault.value);
    assert_eq!(after[1], before[1]);
    assert!(after[0] != before[0] && after[2] != before[2]);
    let journal_key = *journal(&vault.keyring).expose();
    assert_eq!(
        journal_of(&vault.header, &Fixed(2)),
        Ok((journal_key, all[1]))
    );

    vault.root = (vault.header)
        .rotate_root(&[&Fixed(1), &Fixed(3)], &[all[1]])
        .unwrap();
    vault.store();
    assert_eq!(ids(&vault.header), [all[0], all[2]]);
    let gone = journal_of(&vault.header, &Fixed(2));
    assert_eq!(gone, Err(Error::WrongKey));
}

#[test]
fn root_rotation_refuses_auditor_credentials() {
    let (mut vault, [first, _, third]) = audited();
    let header = &mut vault.header;
    let lost = header.rotate_root(&[&Fixed(1)], &[]);
    assert_eq!(lost.unwrap_err(), Error::SlotsWouldBeLost);
    // `Fixed(2)` opens an auditor slot only. Accepting the credential would suggest that its slot
    // still opens the vault after the rotation.
    let none = header.rotate_root(&[&Fixed(1), &Fixed(3), &Fixed(2)], &[]);
    assert_eq!(none.unwrap_err(), Error::WrongKey);
    let last = header.rotate_root(&[], &[first, third]);
    assert_eq!(last.unwrap_err(), Error::LastSlot);
    let before = vault.value.clone();
    vault.store();
    assert_eq!(slots(&vault.value), slots(&before));
}

/// Removing an auditor's slot does not revoke the journal key, because old copies of the header
/// contain it.
#[test]
fn removed_auditor_opens_journal_key_in_old_header() {
    let (mut vault, [_, auditor, _]) = audited();
    let copied = vault.value.clone();
    vault.header.remove_slot(auditor).unwrap();
    vault.store();
    let shut = journal_of(&vault.header, &Fixed(2));
    assert_eq!(shut, Err(Error::WrongKey));
    let (key, _) = journal_of(&Header::parse(&copied).unwrap(), &Fixed(2)).unwrap();
    assert_eq!(&key, journal(&vault.keyring).expose());
}
