//! Auditor slots, whose credentials open the journal key only.

use std::sync::Mutex;

use chartlock::Error;
use chartlock::internals::crypto::JournalKey;
use chartlock::internals::keys::Header;
use chartlock::keys::{Credential, CredentialFailure, SlotContext, SlotInfo, SlotSecret};

use crate::fixtures::*;
use crate::mirror::split_header;

/// Creates a vault with slots for `Fixed(1)`, the auditor `Fixed(2)`, and `Fixed(3)`.
fn audited() -> (Vault, [u16; 3]) {
    let mut vault = vault(SUITES[0]);
    (vault.header)
        .add_auditor_slot(journal(&vault.keyring), &Fixed(2), None)
        .unwrap();
    vault.header.add_slot(&vault.root, &Fixed(3), None).unwrap();
    vault.store();
    let ids = ids(&vault.header).try_into().unwrap();
    (vault, ids)
}

fn ids(header: &Header) -> Vec<u16> {
    header.slots().iter().map(|slot| slot.id).collect()
}

/// Returns the bytes of each slot. A slot of [`Fixed`] has 128 bytes.
fn slots(value: &[u8]) -> Vec<Vec<u8>> {
    let (frame, _) = split_header(value);
    let slots = &frame[36..36 + 128 * usize::from(value[11])];
    slots.chunks(128).map(<[u8]>::to_vec).collect()
}

fn journal_of(header: &Header, credential: &dyn Credential) -> Result<([u8; 32], u16), Error> {
    let unlocked = header.unlock_journal(credential);
    unlocked.map(|(keys, slot)| (*keys.active().1.expose(), slot))
}

#[test]
fn auditor_slot_opens_journal_key_only() {
    for suite in SUITES {
        let mut vault = vault(suite);
        let journal_key = *journal(&vault.keyring).expose();
        let slot = (vault.header)
            .add_auditor_slot(journal(&vault.keyring), &Fixed(2), None)
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
        .add_auditor_slot(journal(&vault.keyring), &Fixed(1), None)
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
        value[36 + 128 * slot + 1] ^= 0x80;
        let header = Header::parse(&value).unwrap();
        let credential = Fixed(slot as u8 + 1);
        let refused = header.unlock(&credential).unwrap_err();
        assert_eq!(refused, Error::WrongKey);
        let refused = journal_of(&header, &credential).unwrap_err();
        assert!(matches!(refused, Error::WrongKey | Error::NoSlotOfKind));
    }
}

#[test]
fn damaged_auditor_slot_does_not_block_later_slot() {
    let (mut vault, [_, damaged, _]) = audited();
    let good = (vault.header)
        .add_auditor_slot(journal(&vault.keyring), &Fixed(2), None)
        .unwrap();
    vault.store();
    let journal_key = *journal(&vault.keyring).expose();
    assert_eq!(
        journal_of(&vault.header, &Fixed(2)),
        Ok((journal_key, damaged))
    );
    // The salt, commitment and wrapped key follow the slot's head and parameters.
    for field in [16, 48, 80, 112] {
        let mut value = vault.value.clone();
        value[36 + 128 + field] ^= 1;
        let header = Header::parse(&value).unwrap();
        assert_eq!(journal_of(&header, &Fixed(2)), Ok((journal_key, good)));
        let mut both = value.clone();
        both[36 + 3 * 128 + field] ^= 1;
        let header = Header::parse(&both).unwrap();
        assert_eq!(journal_of(&header, &Fixed(2)), Err(Error::WrongKey));
    }
}

#[test]
fn unavailable_auditor_slot_does_not_block_later_slot() {
    let (mut vault, _) = audited();
    let down = journal_of(&vault.header, &Brittle::unavailable(4));
    assert_eq!(down, Err(Error::Credential(CredentialFailure::Other)));
    let slot = (vault.header)
        .add_auditor_slot(journal(&vault.keyring), &Brittle::unavailable(4), None)
        .unwrap();
    vault.store();
    assert_eq!(
        journal_of(&vault.header, &Brittle::unavailable(4))
            .unwrap()
            .1,
        slot
    );
}

/// Credential that opens none of these slots, and records the slots that the header offers.
#[derive(Debug, Default)]
struct RecordingCredential(Mutex<Vec<(u16, u16)>>);

impl Credential for RecordingCredential {
    fn kind(&self) -> u16 {
        0x7001
    }

    fn name(&self) -> &str {
        "test"
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
    let (mut vault, [first, ..]) = audited();
    let refused = Error::InvalidCredential;
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
        header.add_slot(&vault.root, &HighBitKind, None),
        Err(refused.clone())
    );
    let added = header.add_auditor_slot(key, &HighBitKind, None);
    assert_eq!(added, Err(refused.clone()));
    let replaced = header.replace_slot(&vault.root, first, &HighBitKind);
    assert_eq!(replaced, Err(refused.clone()));
    let rotated = header.rotate_journal(&[&HighBitKind], &[], key);
    assert_eq!(rotated, Err(refused));
    let before = vault.value.clone();
    vault.store();
    assert_eq!(slots(&vault.value), slots(&before));
}

#[test]
fn removal_of_last_vault_slot_and_of_auditor_slots_is_refused() {
    let (mut vault, [first, auditor, third]) = audited();
    vault.header.remove_slot(first).unwrap();
    assert_eq!(vault.header.remove_slot(third), Err(Error::LastSlot));
    let header = &mut vault.header;
    assert_eq!(header.remove_slot(auditor), Err(Error::AuditorSlot));
    let replaced = header.replace_slot(&vault.root, auditor, &Fixed(5));
    assert_eq!(replaced, Err(Error::AuditorSlot));
    vault.store();
    assert_eq!(ids(&vault.header), [auditor, third]);
    journal_of(&vault.header, &Fixed(2)).unwrap();
}

#[test]
fn auditor_slots_count_toward_limit_of_16_slots() {
    let (mut vault, _) = audited();
    for n in 4..=16 {
        let key = journal(&vault.keyring);
        vault.header.add_auditor_slot(key, &Fixed(n), None).unwrap();
    }
    let key = journal(&vault.keyring);
    let full = vault.header.add_auditor_slot(key, &Fixed(17), None);
    assert_eq!(full, Err(Error::TooManySlots));
    let full = vault.header.add_slot(&vault.root, &Fixed(17), None);
    assert_eq!(full, Err(Error::TooManySlots));
}

/// Rotates the journal keys of the keyring and of the auditor slots.
fn rotate_journal(vault: &mut Vault, keep: &[&dyn Credential], drop: &[u16]) -> Result<(), Error> {
    vault.keyring.rotate_journal_keys(NOW).unwrap();
    vault.keyring.close_journal_keys(Vec::new()).unwrap();
    let key = journal(&vault.keyring);
    vault.header.rotate_journal(keep, drop, key)?;
    vault.store();
    Ok(())
}

#[test]
fn journal_rotation_renews_auditor_slots_and_keeps_vault_slots() {
    let (mut vault, all) = audited();
    let (before, former) = (slots(&vault.value), *journal(&vault.keyring).expose());
    rotate_journal(&mut vault, &[&Fixed(2)], &[]).unwrap();
    assert_eq!(ids(&vault.header), all);
    let after = slots(&vault.value);
    assert!(after[1] != before[1]);
    assert_eq!((&after[0], &after[2]), (&before[0], &before[2]));
    let today = *journal(&vault.keyring).expose();
    assert_ne!(today, former);
    let opened = journal_of(&vault.header, &Fixed(2));
    assert_eq!(opened, Ok((today, all[1])));
    rotate_journal(&mut vault, &[], &[all[1]]).unwrap();
    assert_eq!(ids(&vault.header), [all[0], all[2]]);
    let gone = journal_of(&vault.header, &Fixed(2));
    assert_eq!(gone, Err(Error::NoSlotOfKind));
}

#[test]
fn journal_rotation_refuses_unlisted_auditors_and_other_slots() {
    let (vault, [first, auditor, _]) = audited();
    let key = JournalKey::random().unwrap();
    let refused = |keep: &[&dyn Credential], drop: &[u16]| {
        let mut header = vault.header.clone();
        header.rotate_journal(keep, drop, &key).unwrap_err()
    };
    assert_eq!(refused(&[], &[]), Error::SlotsWouldBeLost);
    assert_eq!(refused(&[&Fixed(1)], &[]), Error::SlotsWouldBeLost);
    assert_eq!(refused(&[&Fixed(2)], &[first]), Error::NoSuchSlot);
    assert_eq!(refused(&[&Fixed(2), &Fixed(1)], &[]), Error::WrongKey);
    assert_eq!(refused(&[&Fixed(2)], &[auditor]), Error::WrongKey);
}

#[test]
fn auditor_slot_opens_all_former_journal_keys() {
    for suite in SUITES {
        let mut vault = vault(suite);
        let mut keys = vec![*journal(&vault.keyring).expose()];
        let mut numbers = vec![vault.keyring.active_journal_key().number];
        (vault.header)
            .add_auditor_slot(journal(&vault.keyring), &Fixed(2), None)
            .unwrap();
        vault.store();
        for _ in 0..5 {
            rotate_journal(&mut vault, &[&Fixed(2)], &[]).unwrap();
            keys.push(*journal(&vault.keyring).expose());
            numbers.push(vault.keyring.active_journal_key().number);
            let (opened, _) = vault.header.unlock_journal(&Fixed(2)).unwrap();
            for (number, key) in numbers.iter().zip(&keys) {
                assert_eq!(opened.find(*number).unwrap().expose(), key);
            }
            assert_eq!(opened.first().expose(), &keys[0]);
            let (number, active) = opened.active();
            assert_eq!(
                (Some(&number), Some(active.expose())),
                (numbers.last(), keys.last())
            );
        }
    }
}

#[test]
fn former_auditor_opens_no_later_journal_key() {
    let (mut vault, [_, auditor, _]) = audited();
    let copied = vault.header.clone();
    let former = *journal(&vault.keyring).expose();
    rotate_journal(&mut vault, &[], &[auditor]).unwrap();
    let today = vault.keyring.active_journal_key().number;
    let (keys, _) = copied.unlock_journal(&Fixed(2)).unwrap();
    assert_eq!(keys.active().1.expose(), &former);
    assert!(keys.find(today).is_none());
    assert_ne!(journal(&vault.keyring).expose(), &former);
}

#[test]
fn altered_former_journal_key_is_refused() {
    let (mut vault, [_, auditor, _]) = audited();
    rotate_journal(&mut vault, &[&Fixed(2)], &[]).unwrap();
    rotate_journal(&mut vault, &[&Fixed(2)], &[]).unwrap();
    let (frame, _) = split_header(&vault.value);
    // The former keys end the frame: the active number, a count, and two numbers with wrapped keys.
    let start = frame.len() - 6 - 2 * 52;
    for byte in (start..frame.len()).filter(|byte| !(4..6).contains(&(byte - start))) {
        let mut value = vault.value.clone();
        value[byte] ^= 1;
        let header = Header::parse(&value).unwrap();
        let refused = header.unlock_journal(&Fixed(2)).unwrap_err();
        assert_eq!(
            refused,
            Error::HeaderDamaged,
            "byte {byte} of slot {auditor}"
        );
        assert_eq!(header.unlock(&Fixed(1)).unwrap_err(), Error::HeaderDamaged);
    }
}

#[test]
fn root_rotation_renews_auditor_slots() {
    let (mut vault, all) = audited();
    let before = slots(&vault.value);
    let today = JournalKey::random().unwrap();
    let lost = vault
        .header
        .rotate_root(&[&Fixed(1), &Fixed(3)], &[], &today);
    assert_eq!(lost.unwrap_err(), Error::SlotsWouldBeLost);
    let last = vault
        .header
        .rotate_root(&[&Fixed(2)], &[all[0], all[2]], &today);
    assert_eq!(last.unwrap_err(), Error::LastSlot);
    vault.store();
    assert_eq!(slots(&vault.value), before);
    vault.keyring.rotate_journal_keys(NOW).unwrap();
    let key = journal(&vault.keyring);
    let keep: [&dyn Credential; 3] = [&Fixed(1), &Fixed(2), &Fixed(3)];
    vault.root = vault.header.rotate_root(&keep, &[], key).unwrap();
    vault.store();
    assert_eq!(ids(&vault.header), all);
    let changed = slots(&vault.value).into_iter().zip(before);
    assert!(changed.into_iter().all(|(after, before)| after != before));
    let opened = journal_of(&vault.header, &Fixed(2));
    assert_eq!(opened, Ok((*journal(&vault.keyring).expose(), all[1])));
}
