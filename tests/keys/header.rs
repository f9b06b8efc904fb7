//! Vault headers: credentials, and the addition, replacement and removal of their slots.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use chartlock::Error;
use chartlock::internals::crypto::RootKey;
use chartlock::internals::keys::{Header, Keyring};
use chartlock::keys::{Cost, Credential, CredentialFailure, Passphrase, SlotContext, SlotSecret};

use crate::fixtures::*;
use crate::mirror::split_header;

#[test]
fn header_opens_only_with_its_credential() {
    for suite in SUITES {
        let vault = vault(suite);
        let unlocked = vault.header.unlock(&Fixed(1)).unwrap();
        assert_eq!(unlocked.slot, vault.header.slots()[0].id);
        assert_eq!(unlocked.root.expose(), vault.root.expose());
        let (master, expected) = (
            unlocked.keyring.active_master(),
            vault.keyring.active_master(),
        );
        assert_eq!(master.number, expected.number);
        assert_eq!(master.key.expose(), expected.key.expose());
        assert_eq!(vault.header.unlock(&Fixed(2)).unwrap_err(), Error::WrongKey);
        let refused = vault.header.unlock(&Unknown).unwrap_err();
        assert_eq!(refused, Error::NoSlotOfKind);
    }
}

#[test]
fn credential_receives_context_of_its_slot() {
    for suite in SUITES {
        let (sender, contexts) = mpsc::channel();
        let asking = Asking(sender);
        let (value, _) = Header::create(suite, &Keyring::new(NOW).unwrap(), &asking).unwrap();
        let header = Header::parse(&value).unwrap();
        let slot = header.unlock(&asking).unwrap().slot;
        for at in [contexts.try_recv().unwrap(), contexts.try_recv().unwrap()] {
            assert_eq!(at.vault(), header.vault());
            assert_eq!((at.kind(), at.slot(), at.suite()), (0x7002, slot, suite));
        }
    }
}

#[test]
fn each_sealing_of_header_uses_fresh_salts() {
    let vault = vault(SUITES[0]);
    let twice = [1, 1].map(|generation| {
        (vault.header)
            .sealed_with(&vault.root, &vault.keyring, generation)
            .unwrap()
    });
    let [(frame, first), (same, second)] = [split_header(&twice[0]), split_header(&twice[1])];
    assert_eq!(frame, same);
    assert_ne!(first[..64], second[..64]);
    assert_ne!(first[68..], second[68..]);
}

#[test]
fn slot_changes_keep_root_key() {
    let mut vault = vault(SUITES[0]);
    let first = vault.header.slots()[0].id;
    let second = vault.header.add_slot(&vault.root, &Fixed(2), None).unwrap();
    vault.store();
    assert_eq!(vault.header.generation(), 2);
    assert_eq!(vault.header.unlock(&Fixed(1)).unwrap().slot, first);
    assert_eq!(vault.header.unlock(&Fixed(2)).unwrap().slot, second);

    (vault.header)
        .replace_slot(&vault.root, first, &Fixed(3))
        .unwrap();
    vault.store();
    assert_eq!(vault.header.slots()[0].id, first);
    assert_eq!(vault.header.unlock(&Fixed(3)).unwrap().slot, first);
    assert_eq!(vault.header.unlock(&Fixed(1)).unwrap_err(), Error::WrongKey);

    vault.header.remove_slot(second).unwrap();
    assert_eq!(vault.header.remove_slot(second), Err(Error::NoSuchSlot));
    let absent = vault.header.replace_slot(&vault.root, second, &Fixed(1));
    assert_eq!(absent, Err(Error::NoSuchSlot));
    assert_eq!(vault.header.remove_slot(first), Err(Error::LastSlot));
    vault.store();
    assert_eq!(vault.header.unlock(&Fixed(2)).unwrap_err(), Error::WrongKey);
    vault.header.unlock(&Fixed(3)).unwrap();
}

#[test]
fn slot_rewritten_with_same_secret_has_fresh_salt_and_ciphertext() {
    let mut vault = vault(SUITES[0]);
    let id = vault.header.slots()[0].id;
    let before = split_header(&vault.value).0.to_vec();
    (vault.header)
        .replace_slot(&vault.root, id, &Fixed(1))
        .unwrap();
    vault.store();
    let after = split_header(&vault.value).0;
    // The kind, id, length and parameters must not change. The salt, commitment and wrapped key
    // must change.
    assert_eq!(before[36..52], after[36..52]);
    for field in [52..84, 84..116, 116..164] {
        assert_ne!(before[field.clone()], after[field]);
    }
}

#[test]
fn header_accepts_at_most_16_slots() {
    let mut vault = vault(SUITES[0]);
    for n in 2..=16 {
        vault.header.add_slot(&vault.root, &Fixed(n), None).unwrap();
    }
    let full = vault.header.add_slot(&vault.root, &Fixed(17), None);
    assert_eq!(full, Err(Error::TooManySlots));
    vault.store();
    for n in 1..=16 {
        let opened = vault.header.unlock(&Fixed(n)).unwrap().slot;
        assert_eq!(opened, vault.header.slots()[usize::from(n) - 1].id);
    }
}

#[test]
fn slot_change_keeps_other_slots_byte_for_byte() {
    let mut vault = vault(SUITES[1]);
    let first = vault.header.slots()[0].id;
    let unknown = vault.header.add_slot(&vault.root, &Unknown, None).unwrap();
    vault.store();
    // The slot has a head of 8 bytes, 261 bytes of parameters with the name, and a tail of 112 bytes.
    let slot = |value: &[u8], unknown_first: bool| {
        let from = if unknown_first { 36 } else { 36 + 8 + 8 + 112 };
        value[from..from + 8 + 261 + 112].to_vec()
    };
    let before = slot(&vault.value, false);
    assert_eq!(before[..2], 0x7fff_u16.to_le_bytes());
    (vault.header)
        .replace_slot(&vault.root, first, &Fixed(2))
        .unwrap();
    vault.keyring.add_master(NOW).unwrap();
    vault.store();
    assert_eq!(slot(&vault.value, false), before);
    vault.header.add_slot(&vault.root, &Fixed(3), None).unwrap();
    vault.header.remove_slot(first).unwrap();
    vault.store();
    assert_eq!(slot(&vault.value, true), before);
    assert_eq!(vault.header.slots()[0].id, unknown);
}

#[test]
fn stale_slot_does_not_block_later_slot() {
    let mut vault = vault(SUITES[0]);
    let stale = RootKey::random().unwrap();
    vault.header.add_slot(&stale, &Fixed(2), None).unwrap();
    vault.store();
    assert_eq!(
        vault.header.unlock(&Fixed(2)).unwrap_err(),
        Error::HeaderDamaged
    );
    let good = vault.header.add_slot(&vault.root, &Fixed(2), None).unwrap();
    vault.store();
    assert_eq!(vault.header.unlock(&Fixed(2)).unwrap().slot, good);
}

#[test]
fn unavailable_slot_does_not_block_later_slot() {
    let mut vault = vault(SUITES[0]);
    let refused = vault.header.unlock(&Brittle::unavailable(2)).unwrap_err();
    assert_eq!(refused, Error::Credential(CredentialFailure::Other));
    let slot = vault
        .header
        .add_slot(&vault.root, &Brittle::unavailable(2), None)
        .unwrap();
    vault.store();
    assert_eq!(
        vault.header.unlock(&Brittle::unavailable(2)).unwrap().slot,
        slot
    );
}

#[test]
fn header_opened_with_former_root_key_returns_root_key_changed() {
    let mut vault = vault(SUITES[0]);
    vault.header.open_keyring(&vault.root).unwrap();
    let former = std::mem::replace(
        &mut vault.root,
        vault
            .header
            .clone()
            .rotate_root(&[&Fixed(1)], &[], journal(&vault.keyring))
            .unwrap(),
    );
    vault.store();
    let seen = vault.header.open_keyring(&former).unwrap_err();
    assert_eq!(seen, Error::RootKeyChanged);
}

/// Creates a vault with slots for `Fixed(1)`, `Fixed(2)` and `Unknown`.
fn three_slots() -> (Vault, [u16; 3]) {
    let mut vault = vault(SUITES[0]);
    vault.header.add_slot(&vault.root, &Fixed(2), None).unwrap();
    vault.header.add_slot(&vault.root, &Unknown, None).unwrap();
    vault.store();
    let ids: Vec<u16> = vault.header.slots().iter().map(|slot| slot.id).collect();
    (vault, ids.try_into().unwrap())
}

#[test]
fn root_rotation_keeps_listed_slots_and_drops_other_slots() {
    let (mut vault, [first, second, unknown]) = three_slots();
    let keep: [&dyn Credential; 2] = [&Fixed(2), &Fixed(1)];
    let former = vault.root;
    vault.root = vault
        .header
        .rotate_root(&keep, &[unknown], journal(&vault.keyring))
        .unwrap();
    assert_ne!(former.expose(), vault.root.expose());
    vault.store();
    let ids: Vec<u16> = vault.header.slots().iter().map(|slot| slot.id).collect();
    assert_eq!(ids, [first, second]);
    assert_eq!(vault.header.unlock(&Fixed(1)).unwrap().slot, first);
    assert_eq!(vault.header.unlock(&Fixed(2)).unwrap().slot, second);

    let former = vault.root;
    vault.root = vault
        .header
        .rotate_root(&[&Fixed(2)], &[first], journal(&vault.keyring))
        .unwrap();
    vault.store();
    assert_eq!(vault.header.unlock(&Fixed(1)).unwrap_err(), Error::WrongKey);
    let opened = vault.header.unlock(&Fixed(2)).unwrap();
    assert_eq!(opened.root.expose(), vault.root.expose());
    let seen = vault.header.open_keyring(&former).unwrap_err();
    assert_eq!(seen, Error::RootKeyChanged);
}

#[test]
fn root_rotation_refuses_to_lose_unlisted_slots() {
    let (mut vault, [first, second, unknown]) = three_slots();
    let before = vault.value.clone();
    let mut refused = |keep: &[&dyn Credential], drop: &[u16]| {
        let error = vault
            .header
            .rotate_root(keep, drop, journal(&vault.keyring))
            .unwrap_err();
        let (frame, _) = split_header(&before);
        let after = (vault.header)
            .sealed_with(&vault.root, &vault.keyring, 2)
            .unwrap();
        assert_eq!(
            split_header(&after).0,
            frame,
            "a refusal must change nothing"
        );
        error
    };
    let lost = Error::SlotsWouldBeLost;
    assert_eq!(refused(&[&Fixed(1)], &[]), lost);
    assert_eq!(refused(&[&Fixed(1)], &[unknown]), lost);
    assert_eq!(refused(&[&Fixed(1), &Fixed(2)], &[]), lost);
    assert_eq!(refused(&[&Fixed(1), &Unknown], &[second]), lost);
    assert_eq!(refused(&[], &[]), lost);
    assert_eq!(refused(&[], &[first, second, unknown]), Error::LastSlot);
    let absent = (0..=u16::MAX)
        .find(|id| ![first, second, unknown].contains(id))
        .unwrap();
    let all = [second, unknown, absent];
    assert_eq!(refused(&[&Fixed(1)], &all), Error::NoSuchSlot);
    // A credential to keep must have a slot that is not dropped. `Fixed(2)` has only a dropped
    // slot, and `Fixed(3)` has none.
    let drop = [second, unknown];
    assert_eq!(refused(&[&Fixed(1), &Fixed(2)], &drop), Error::WrongKey);
    assert_eq!(refused(&[&Fixed(1), &Fixed(3)], &drop), Error::WrongKey);
    // The key service is unavailable for the only slot that this credential could open.
    let down = refused(&[&Fixed(1), &Brittle::unavailable(9)], &[unknown]);
    assert_eq!(down, Error::Credential(CredentialFailure::Other));
}

#[test]
fn root_rotation_succeeds_if_credential_fails_on_another_slot() {
    let (mut vault, [first, second, unknown]) = three_slots();
    let keep: [&dyn Credential; 2] = [&Fixed(1), &Brittle::unavailable(2)];
    vault.root = vault
        .header
        .rotate_root(&keep, &[unknown], journal(&vault.keyring))
        .unwrap();
    vault.store();
    assert_eq!(vault.header.unlock(&Fixed(1)).unwrap().slot, first);
    assert_eq!(
        vault.header.unlock(&Brittle::unavailable(2)).unwrap().slot,
        second
    );
}

#[test]
fn root_rotation_refuses_stale_slot_unless_dropped() {
    let mut vault = vault(SUITES[0]);
    let stale = RootKey::random().unwrap();
    let stale = vault.header.add_slot(&stale, &Fixed(2), None).unwrap();
    vault.store();
    let keep: [&dyn Credential; 2] = [&Fixed(1), &Fixed(2)];
    let refused = vault
        .header
        .rotate_root(&keep, &[], journal(&vault.keyring))
        .unwrap_err();
    assert_eq!(refused, Error::SlotsWouldBeLost);
    vault
        .header
        .rotate_root(&[&Fixed(1)], &[stale], journal(&vault.keyring))
        .unwrap();
}

#[test]
fn oversized_slot_parameters_are_refused() {
    #[derive(Debug)]
    struct LongParameters(usize);
    impl Credential for LongParameters {
        fn kind(&self) -> u16 {
            0x7002
        }

        fn name(&self) -> &str {
            "test"
        }
        fn enrol(&self, _: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
            Ok((vec![0; self.0], SlotSecret::from_bytes(&[5; 32])))
        }
        fn secret(&self, _: &[u8], _: &SlotContext) -> Result<Option<SlotSecret>, Error> {
            Ok(Some(SlotSecret::from_bytes(&[5; 32])))
        }
    }
    let keyring = Keyring::new(NOW).unwrap();
    let (value, _) = Header::create(SUITES[0], &keyring, &LongParameters(3979)).unwrap();
    let header = Header::parse(&value).unwrap();
    header.unlock(&LongParameters(0)).unwrap();
    let error = Header::create(SUITES[0], &keyring, &LongParameters(3980)).unwrap_err();
    assert_eq!(error, Error::InvalidCredential);
}

#[test]
fn master_rotation_keeps_former_key_until_destroyed() {
    let mut vault = vault(SUITES[0]);
    let first = vault.keyring.active_master().number;
    let name_key = vault.keyring.active_name_key().number;
    let second = vault.keyring.add_master(NOW + 1).unwrap();
    assert_eq!(vault.keyring.active_master().number, second);
    vault.store();
    let mut keyring = vault.header.open_keyring(&vault.root).unwrap();
    let numbers: Vec<u32> = keyring.masters().map(|key| key.number).collect();
    assert_eq!(numbers, [second, first]);
    assert_eq!(keyring.active_master().created, NOW + 1);
    assert_eq!(keyring.destroy_master(second), Err(Error::NoSuchKey));
    assert!(!keyring.was_destroyed(first));
    keyring.destroy_master(first).unwrap();
    assert_eq!(keyring.destroy_master(first), Err(Error::NoSuchKey));
    vault.keyring = keyring;
    vault.store();
    let keyring = vault.header.open_keyring(&vault.root).unwrap();
    assert!(keyring.was_destroyed(first) && !keyring.was_destroyed(second));
    assert!(keyring.master(first).is_none());
    assert_eq!(keyring.active_name_key().number, name_key);
}

#[test]
fn keyring_retains_newest_1024_destroyed_key_numbers() {
    let mut keyring = Keyring::new(NOW).unwrap();
    let mut retired = Vec::new();
    for _ in 0..1030 {
        let former = keyring.active_master().number;
        keyring.add_master(NOW).unwrap();
        keyring.destroy_master(former).unwrap();
        retired.push(former);
    }
    for (n, number) in retired.iter().enumerate() {
        assert_eq!(keyring.was_destroyed(*number), n >= 6, "{n}");
    }
}

/// Passphrase that stretches nothing, and counts how often it is asked.
#[derive(Debug)]
struct Counting(Passphrase, AtomicUsize);

impl Credential for Counting {
    fn kind(&self) -> u16 {
        self.0.kind()
    }

    fn enrol(&self, context: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
        self.0.enrol(context)
    }

    fn secret(&self, _: &[u8], _: &SlotContext) -> Result<Option<SlotSecret>, Error> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Ok(None)
    }
}

/// Returns a header with one cheap passphrase slot and `count` planted slots of the greatest cost,
/// as an attacker who writes the storage can make it.
fn with_planted_slots(count: u8) -> (Header, RootKey) {
    const FIXED: usize = 36;
    const SLOT: usize = 8 + 44 + 112;
    let cost = Cost {
        memory_kib: 8 * 1024,
        passes: 1,
        lanes: 1,
    };
    let passphrase = Passphrase::new("correct horse battery staple").with_cost(cost);
    let keyring = Keyring::new(NOW).unwrap();
    let (mut value, root) = Header::create(SUITES[0], &keyring, &passphrase).unwrap();
    let mut slot = value[FIXED..FIXED + SLOT].to_vec();
    slot[8..12].copy_from_slice(&(1024_u32 * 1024).to_le_bytes());
    slot[12..16].copy_from_slice(&4_u32.to_le_bytes());
    value[11] += count;
    for id in 0..count {
        slot[2..4].copy_from_slice(&(0xf000 + u16::from(id)).to_le_bytes());
        value.splice(FIXED..FIXED, slot.iter().copied());
    }
    (Header::parse(&value).unwrap(), root)
}

#[test]
fn planted_passphrase_slots_cost_bounded_work() {
    let (header, _) = with_planted_slots(15);
    let counting = Counting(Passphrase::new("x"), AtomicUsize::new(0));
    assert_eq!(header.unlock(&counting).unwrap_err(), Error::WrongKey);
    // The cheap slot, and three slots of 4 GiB.
    assert_eq!(counting.1.load(Ordering::SeqCst), 4);
}

#[test]
fn slot_beyond_the_bounded_work_is_refused() {
    let cost = Cost {
        memory_kib: 8 * 1024,
        passes: 1,
        lanes: 1,
    };
    let cheap = Passphrase::new("staple").with_cost(cost).allow_weak();
    let (mut header, root) = with_planted_slots(4);
    assert_eq!(
        header.add_slot(&root, &cheap, None),
        Err(Error::TooManySlots)
    );
    header.add_slot(&root, &Fixed(2), None).unwrap();
    let (mut header, root) = with_planted_slots(3);
    header.add_slot(&root, &cheap, None).unwrap();
}
