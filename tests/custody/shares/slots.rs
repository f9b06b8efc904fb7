//! Slots of recovery shares in vaults.

use std::sync::Arc;

use chartlock::audit::Auditor;
use chartlock::internals::keys::{Header, Keyring};
use chartlock::keys::{Cost, Passphrase, Shares};
use chartlock::{Actor, CipherSuite, Error, MemoryStorage, Purpose, RecordId, Vault};

use super::{subsets, texts_of};

fn passphrase() -> Passphrase {
    let (memory_kib, passes, lanes) = (8 * 1024, 1, 1);
    Passphrase::new("correct horse battery staple").with_cost(Cost {
        memory_kib,
        passes,
        lanes,
    })
}

fn opened(storage: &Arc<MemoryStorage>, shares: &Shares) -> Result<Vault, Error> {
    Vault::open(Arc::clone(storage), shares)
}

fn actor() -> Actor {
    Actor::new("dr.garcia").unwrap()
}

fn record() -> RecordId {
    RecordId::patient("MRN-1042", "Observation/1").unwrap()
}

#[test]
fn every_choice_of_threshold_shares_opens_a_vault() {
    for (threshold, count) in [(3, 5), (2, 3)] {
        let storage = Arc::new(MemoryStorage::new());
        let texts = {
            let shares = Shares::split(threshold, count).unwrap();
            let vault = Vault::create(Arc::clone(&storage), &shares).unwrap();
            let session = vault.session(actor(), Purpose::Treatment);
            session.put(&record(), b"{}").unwrap();
            assert_eq!(vault.slots().unwrap()[0].kind, 3);
            vault.close().unwrap();
            texts_of(&shares)
        };
        for chosen in subsets(&texts, threshold.into()) {
            let shares = Shares::from_texts(&chosen).unwrap();
            let vault = opened(&storage, &shares).unwrap();
            let session = vault.session(actor(), Purpose::Treatment);
            assert_eq!(&session.get(&record()).unwrap().unwrap()[..], b"{}");
        }
        for chosen in subsets(&texts, usize::from(threshold) - 1) {
            assert!(Shares::from_texts(&chosen).is_err());
        }
    }
}

#[test]
fn shares_of_another_set_open_nothing() {
    let storage = Arc::new(MemoryStorage::new());
    let shares = Shares::split(2, 3).unwrap();
    drop(Vault::create(Arc::clone(&storage), &shares).unwrap());
    let other = Shares::split(2, 3).unwrap();
    assert_eq!(opened(&storage, &other).unwrap_err(), Error::WrongKey);
}

#[test]
fn forged_share_with_right_check_opens_nothing() {
    let storage = Arc::new(MemoryStorage::new());
    let shares = Shares::split(2, 3).unwrap();
    drop(Vault::create(Arc::clone(&storage), &shares).unwrap());
    let forged = super::written::Written {
        index: 2,
        id: id_of(&shares),
        bytes: [7; 32],
        ..Default::default()
    };
    let texts = [texts_of(&shares)[0].clone(), forged.code()];
    let combined = Shares::from_texts(&texts).unwrap();
    assert_eq!(opened(&storage, &combined).unwrap_err(), Error::WrongKey);
}

/// Returns the id of a set, from the parameters of a slot.
fn id_of(shares: &Shares) -> [u8; 5] {
    let value = header(shares);
    value[44..49].try_into().unwrap()
}

#[test]
fn shares_open_after_root_rotation() {
    let storage = Arc::new(MemoryStorage::new());
    let shares = Shares::split(3, 5).unwrap();
    let texts = texts_of(&shares);
    let vault = Vault::create(Arc::clone(&storage), &passphrase()).unwrap();
    let slot = vault.add_slot(&shares).unwrap();
    vault
        .rotate_root_key(&[&shares, &passphrase()], &[])
        .unwrap();
    for chosen in subsets(&texts, 3) {
        let combined = Shares::from_texts(&chosen).unwrap();
        // A set that was combined keeps the slot as well.
        vault
            .rotate_root_key(&[&combined, &passphrase()], &[])
            .unwrap();
        drop(opened(&storage, &combined).unwrap());
    }
    assert!(
        vault
            .slots()
            .unwrap()
            .iter()
            .any(|info| info.id == slot && info.kind == 3)
    );
    let refused = vault.rotate_root_key(&[&passphrase()], &[]).unwrap_err();
    assert_eq!(refused, Error::SlotsWouldBeLost);
    vault.rotate_root_key(&[&passphrase()], &[slot]).unwrap();
    assert_eq!(opened(&storage, &shares).unwrap_err(), Error::NoSlotOfKind);
}

#[test]
fn only_slot_of_shares_survives_root_rotation() {
    let storage = Arc::new(MemoryStorage::new());
    let shares = Shares::split(2, 3).unwrap();
    let vault = Vault::create(Arc::clone(&storage), &shares).unwrap();
    vault.rotate_root_key(&[&shares], &[]).unwrap();
    drop(vault);
    let combined = Shares::from_texts(&texts_of(&shares)[1..]).unwrap();
    opened(&storage, &combined).unwrap();
}

#[test]
fn renewed_set_opens_in_place_of_the_former() {
    let storage = Arc::new(MemoryStorage::new());
    let (former, renewed) = (Shares::split(2, 3).unwrap(), Shares::split(3, 5).unwrap());
    let vault = Vault::create(Arc::clone(&storage), &passphrase()).unwrap();
    let slot = vault.add_slot(&former).unwrap();
    vault.replace_slot(slot, &renewed).unwrap();
    assert_eq!(opened(&storage, &former).unwrap_err(), Error::WrongKey);
    drop(opened(&storage, &renewed).unwrap());
    vault.remove_slot(slot).unwrap();
    assert_eq!(opened(&storage, &renewed).unwrap_err(), Error::NoSlotOfKind);
}

#[test]
fn two_sets_open_their_own_slots() {
    let storage = Arc::new(MemoryStorage::new());
    let (first, second) = (Shares::split(2, 3).unwrap(), Shares::split(2, 3).unwrap());
    let vault = Vault::create(Arc::clone(&storage), &first).unwrap();
    let slot = vault.add_slot(&second).unwrap();
    drop(opened(&storage, &second).unwrap());
    vault.remove_slot(slot).unwrap();
    assert_eq!(opened(&storage, &second).unwrap_err(), Error::WrongKey);
    drop(opened(&storage, &first).unwrap());
}

#[test]
fn auditor_slot_of_shares_survives_journal_key_rotation() {
    let storage = Arc::new(MemoryStorage::new());
    let shares = Shares::split(2, 3).unwrap();
    let vault = Vault::create(Arc::clone(&storage), &passphrase()).unwrap();
    vault.add_auditor_slot(&shares).unwrap();
    vault.rotate_journal_keys(&[&shares], &[]).unwrap();
    vault
        .rotate_root_key(&[&passphrase(), &shares], &[])
        .unwrap();
    let combined = Shares::from_texts(&texts_of(&shares)[..2]).unwrap();
    let auditor = Auditor::open(
        Arc::clone(&storage),
        &combined,
        actor(),
        Purpose::Operations,
    );
    assert!(auditor.unwrap().trail().entries(..).unwrap().count() > 0);
    assert!(opened(&storage, &combined).is_err());
}

/// Creates the header of a vault with one slot, which begins at byte 36: kind u16, id u16, length u32,
/// parameters of 7 bytes, and 112 further bytes.
fn header(shares: &Shares) -> Vec<u8> {
    let keyring = Keyring::new(1_764_000_000_000).unwrap();
    Header::create(CipherSuite::default(), &keyring, shares)
        .unwrap()
        .0
}

fn unlock(value: &[u8], shares: &Shares) -> Result<(), Error> {
    Header::parse(value).unwrap().unlock(shares).map(drop)
}

#[test]
fn slot_moved_to_another_id_or_kind_does_not_open() {
    let shares = Shares::split(2, 3).unwrap();
    let value = header(&shares);
    assert_eq!(unlock(&value, &shares), Ok(()));
    assert_eq!(value[36..38], [3, 0]);
    let mut moved = value.clone();
    moved[38] ^= 1;
    assert_eq!(unlock(&moved, &shares), Err(Error::WrongKey));
    let mut auditor = value.clone();
    auditor[37] = 0x80;
    let auditor = Header::parse(&auditor).unwrap();
    assert!(auditor.unlock_journal(&shares).is_err());
}

#[test]
fn slot_moved_to_another_vault_does_not_open() {
    // The set has a slot in both vaults, so only the vault's id differs.
    let shares = Shares::split(2, 3).unwrap();
    let (from, to) = (header(&shares), header(&shares));
    let slot = 36..36 + 8 + 7 + 112;
    let mut moved = to.clone();
    moved[slot.clone()].copy_from_slice(&from[slot]);
    assert_eq!(unlock(&to, &shares), Ok(()));
    assert_eq!(unlock(&moved, &shares), Err(Error::WrongKey));
}

#[test]
fn every_changed_byte_of_a_slot_is_found() {
    let shares = Shares::split(2, 3).unwrap();
    let value = header(&shares);
    for place in (36..36 + 8 + 7 + 112).filter(|place| !(40..44).contains(place)) {
        let mut changed = value.clone();
        changed[place] ^= 1;
        assert!(unlock(&changed, &shares).is_err(), "{place}");
    }
}
