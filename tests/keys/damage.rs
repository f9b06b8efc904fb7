//! Headers and patient entries with damaged or exchanged bytes.

use chartlock::Error;
use chartlock::internals::crypto::MasterKey;
use chartlock::internals::keys::{EntryHead, Header, PatientEntry, open_entry, seal_entry};

use crate::fixtures::*;

/// Creates a vault with two `Fixed` slots and one `Unknown` slot.
fn header() -> Vault {
    let mut vault = vault(SUITES[0]);
    vault.header.add_slot(&vault.root, &Unknown, None).unwrap();
    vault.header.add_slot(&vault.root, &Fixed(2), None).unwrap();
    vault.store();
    vault
}

/// Byte ranges of the slots in [`header`]. A slot consists of a head of 8 bytes, its parameters,
/// and a tail of 112 bytes. With the name, the parameters have 8, 261 and 8 bytes.
const SLOTS: [std::ops::Range<usize>; 3] = [36..164, 164..545, 545..673];

#[test]
fn every_flipped_bit_of_header_returns_expected_error() {
    let vault = header();
    for (offset, value) in flips(&vault.value) {
        let error = match Header::parse(&value) {
            Ok(header) => header.unlock(&Fixed(1)).unwrap_err(),
            Err(error) => error,
        };
        let in_slot = SLOTS.iter().find(|slot| slot.contains(&offset));
        let expected: &[Error] = match (offset, in_slot) {
            (0..8, _) => &[Error::Malformed],
            (8..11, _) => &[Error::Unsupported],
            (11, _) => &[Error::Malformed],
            (12..28, _) => &[Error::WrongKey],
            (28..36, _) => &[Error::HeaderDamaged],
            (_, Some(slot)) if (4..8).contains(&(offset - slot.start)) => &[Error::Malformed],
            // The altered slot does not open. A credential of another slot would open the root key,
            // and the keyring's commitment would then detect the change.
            (36..164, _) => &[Error::WrongKey, Error::NoSlotOfKind],
            (_, Some(_)) => &[Error::HeaderDamaged],
            // The number of the active journal key, and the count of former keys.
            (673..677, _) => &[Error::HeaderDamaged],
            (677..679, _) => &[Error::Malformed],
            // The remaining bytes are the keyring's salt and commitment, its length, and its
            // ciphertext and tag.
            (679..743, _) => &[Error::HeaderDamaged],
            (743..747, _) => &[Error::Malformed],
            _ => &[Error::HeaderDamaged],
        };
        assert!(expected.contains(&error), "byte {offset}: {error:?}");
    }
}

#[test]
fn truncated_or_extended_header_is_malformed() {
    let vault = header();
    for length in 0..vault.value.len() {
        let cut = Header::parse(&vault.value[..length]);
        assert_eq!(cut.unwrap_err(), Error::Malformed, "{length}");
    }
    let grown = [vault.value.as_slice(), &[0]].concat();
    assert_eq!(Header::parse(&grown).unwrap_err(), Error::Malformed);
}

#[test]
fn header_with_out_of_bounds_fields_is_refused_by_parser() {
    let vault = header();
    let changed = |changes: &[(usize, &[u8])]| {
        let mut value = vault.value.clone();
        for (offset, bytes) in changes {
            value[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        Header::parse(&value).unwrap_err()
    };
    // A slot count must be between 1 and 16. With 17, the parser would read the keyring's bytes as
    // a slot.
    assert_eq!(changed(&[(11, &[0])]), Error::Malformed);
    assert_eq!(changed(&[(11, &[17])]), Error::Malformed);
    // A slot length must not be less than the tail, above 4,096, or beyond the end of the value.
    for length in [0, 111, 4097, u32::MAX] {
        assert_eq!(changed(&[(40, &length.to_le_bytes())]), Error::Malformed);
    }
    // A ciphertext length must not be above 1 MiB.
    for length in [1024 * 1024 + 1, u32::MAX] {
        assert_eq!(changed(&[(743, &length.to_le_bytes())]), Error::Malformed);
    }
    // A header has at most 1,024 former journal keys.
    assert_eq!(changed(&[(677, &[1, 4])]), Error::Malformed);
    // Two slots must not have the same id, even if their kinds differ.
    let id = vault.value[38..40].to_vec();
    assert_eq!(changed(&[(166, &id)]), Error::Malformed);
    assert_eq!(changed(&[(547, &id)]), Error::Malformed);
    // The parser must check the format version before the layout, so that a newer format is not
    // reported as damage.
    assert_eq!(changed(&[(8, &[2, 0]), (11, &[0])]), Error::Unsupported);
    assert_eq!(changed(&[(10, &[3])]), Error::Unsupported);
}

#[test]
fn header_with_17_slots_is_malformed() {
    let mut vault = vault(SUITES[0]);
    for n in 2..=16 {
        vault.header.add_slot(&vault.root, &Fixed(n), None).unwrap();
    }
    vault.store();
    let (frame, ring) = crate::mirror::split_header(&vault.value);
    let slots = &frame[36..];
    let mut extra = slots[..128].to_vec();
    let ids: Vec<u16> = vault.header.slots().iter().map(|slot| slot.id).collect();
    let free = (0..=u16::MAX).find(|id| !ids.contains(id)).unwrap();
    extra[2..4].copy_from_slice(&free.to_le_bytes());
    let mut value = [&frame[..36], slots, &extra, ring].concat();
    value[11] = 17;
    assert_eq!(Header::parse(&value).unwrap_err(), Error::Malformed);
}

#[test]
fn slot_from_another_header_is_refused() {
    let (one, other) = (vault(SUITES[0]), vault(SUITES[0]));
    let mut value = one.value.clone();
    value[36..164].copy_from_slice(&other.value[36..164]);
    let error = Header::parse(&value).unwrap().unlock(&Fixed(1));
    assert_eq!(error.unwrap_err(), Error::WrongKey);
}

#[test]
fn every_flipped_bit_of_entry_returns_expected_error() {
    for suite in SUITES {
        let vault = vault(suite);
        let value = vault.seal(&mut PatientEntry::new(subject(), NOW).unwrap());
        for (offset, flipped) in flips(&value) {
            let error = vault.open(&flipped, &subject()).unwrap_err();
            let expected = match offset {
                0..3 => Error::Unsupported,
                3 => Error::Malformed,
                4..8 => Error::UnknownMasterKey,
                _ => Error::NotAuthentic,
            };
            assert_eq!(error, expected, "byte {offset}");
        }
    }
}

#[test]
fn truncated_or_extended_entry_is_refused() {
    let vault = vault(SUITES[0]);
    let value = vault.seal(&mut PatientEntry::new(subject(), NOW).unwrap());
    for length in 0..value.len() {
        let error = vault.open(&value[..length], &subject()).unwrap_err();
        let expected = if length < 88 {
            Error::Malformed
        } else {
            Error::NotAuthentic
        };
        assert_eq!(error, expected, "{length}");
    }
    let grown = [value.as_slice(), &[0]].concat();
    let error = vault.open(&grown, &subject()).unwrap_err();
    assert_eq!(error, Error::NotAuthentic);
    let huge = [value.as_slice(), &vec![0; 1024 * 1024]].concat();
    let error = vault.open(&huge, &subject()).unwrap_err();
    assert_eq!(error, Error::Malformed);
}

#[test]
fn entry_under_another_tag_or_vault_is_not_authentic() {
    let vault = vault(SUITES[0]);
    let value = vault.seal(&mut PatientEntry::new(subject(), NOW).unwrap());
    let tag = vault.tag(&subject());
    open_entry(&value, &vault.keyring, vault.id(), &tag).unwrap();
    let elsewhere = [0; 16];
    for (id, tag) in [(vault.id(), &elsewhere), (&elsewhere, &tag)] {
        let error = open_entry(&value, &vault.keyring, id, tag).unwrap_err();
        assert_eq!(error, Error::NotAuthentic);
    }
}

#[test]
fn entry_under_another_key_of_same_number_is_not_authentic() {
    let vault = vault(SUITES[0]);
    let value = vault.seal(&mut PatientEntry::new(subject(), NOW).unwrap());
    let mut keyring = crate::mirror::keyring_body(&vault.value, &vault.root);
    // The master key follows the schema, count, role, count, number, state and creation time.
    keyring[2 + 8 + 2 + 8 + 4 + 4 + 8] ^= 1;
    let other = crate::reseal::with_keyring_body(&vault.value, &vault.root, &keyring);
    let keyring = (Header::parse(&other).unwrap())
        .open_keyring(&vault.root)
        .unwrap();
    let tag = vault.tag(&subject());
    let error = open_entry(&value, &keyring, vault.id(), &tag).unwrap_err();
    assert_eq!(error, Error::NotAuthentic);
}

#[test]
fn entry_about_another_subject_is_not_authentic() {
    let vault = vault(SUITES[0]);
    let mut entry = PatientEntry::new(subject(), NOW).unwrap();
    let asked = crate::common::subject("MRN-7");
    let (master, tag) = (vault.keyring.active_master(), vault.tag(&asked));
    let value = seal_entry(SUITES[0], master, vault.id(), &tag, 1, &mut entry).unwrap();
    let error = vault.open(&value, &asked).unwrap_err();
    assert_eq!(error, Error::NotAuthentic);
}

#[test]
fn entry_head_contains_suite_and_master_key_number() {
    let vault = vault(SUITES[1]);
    let value = vault.seal(&mut PatientEntry::new(subject(), NOW).unwrap());
    let head = EntryHead::parse(&value[..8]).unwrap();
    assert_eq!(head.suite, SUITES[1]);
    assert_eq!(head.master, vault.keyring.active_master().number);
    assert_eq!(EntryHead::parse(&value[..7]), Err(Error::Malformed));
    let stranger = chartlock::internals::keys::KeyVersion {
        number: head.master.wrapping_add(1),
        state: chartlock::internals::keys::KeyState::Active,
        created: NOW,
        key: MasterKey::random().unwrap(),
    };
    let tag = vault.tag(&subject());
    let mut entry = PatientEntry::new(subject(), NOW).unwrap();
    let value = seal_entry(SUITES[1], &stranger, vault.id(), &tag, 1, &mut entry).unwrap();
    let error = vault.open(&value, &subject()).unwrap_err();
    assert_eq!(error, Error::UnknownMasterKey);
}
