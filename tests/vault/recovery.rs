//! Recovery kits: a kit restores a lost header, and never replaces an intact or newer header.

use chartlock::internals::journal::Target;
use chartlock::keys::CredentialFailure;
use chartlock::storage::{FaultAction, FaultPoint};
use chartlock::{Error, Operation, RecoveryKit, Vault};

use crate::common::journal::pages;
use crate::common::{Brittle, Fixed};
use crate::model::{small_clinic, smaller_clinic};
use crate::raw;
use crate::stage::{ACTIONS, Stage, action_at, lost_header_answer, record, session_on, subject};
use crate::verification::authority::forge;

everywhere!(
    kit_restores_missing_or_damaged_header,
    kit_with_earlier_master_key_is_stale,
    kit_from_before_interrupted_rotation_is_stale,
    kit_of_earlier_header_generation_is_stale,
    kit_with_all_needed_keys_is_restored_without_journal,
    kit_older_than_journaled_header_is_stale,
    kit_from_before_root_rotation_does_not_replace_later_header,
    kit_from_before_removed_slot_replaces_header_only_by_force,
    kit_is_restored_over_forged_page_of_later_header,
    kit_is_restored_over_header_of_impossible_generation,
    restore_anyway_takes_higher_generation_than_damaged_header,
    restores_are_journaled,
    restore_after_any_fault_can_be_repeated,
    kit_with_orphaned_entry_present_is_restored,
    kit_of_another_vault_is_refused,
    kit_with_unavailable_credential_is_not_restored,
    kit_does_not_replace_header_of_newer_format,
    restore_with_lost_answer_is_unknown_while_the_storage_is_down,
);

fn kit_restores_missing_or_damaged_header(stage: &Stage) {
    let vault = stage.create();
    let model = small_clinic(&vault);
    let kit = vault.recovery_kit().unwrap();
    let kit = RecoveryKit::from_bytes(kit.as_bytes()).unwrap();
    let restore = |credential| kit.restore(stage.shared(), &Fixed(credential));
    let whole = raw::objects(&stage.storage);
    assert_eq!(restore(1), Err(Error::HeaderPresent));
    assert_eq!(restore(2), Err(Error::WrongKey));
    assert!(raw::objects(&stage.storage) == whole);
    let lost = |damaged: Option<&[u8]>| match damaged {
        None => raw::delete(&stage.storage, b"v"),
        Some(value) => raw::put(&stage.storage, b"v", value),
    };
    let mut flipped = whole[&b"v"[..]].clone();
    *flipped.last_mut().unwrap() ^= 1;
    for damaged in [None, Some(&b"garbage"[..]), Some(&[]), Some(&flipped)] {
        lost(damaged);
        assert_eq!(restore(2), Err(Error::WrongKey));
        assert!(stage.options().open(stage.shared(), &Fixed(1)).is_err());
        restore(1).unwrap();
        assert!(raw::objects(&stage.storage) == whole);
        model.verify(&stage.open());
    }
    for garbage in [&b""[..], b"no kit", &kit.as_bytes()[1..]] {
        assert_eq!(RecoveryKit::from_bytes(garbage), Err(Error::BadKit));
    }
}

/// Asserts that `restore` refuses the kit without changes, and that `restore_anyway` restores it under
/// a higher generation.
fn assert_stale(stage: &Stage, kit: &RecoveryKit) {
    let before = raw::all_objects(&stage.storage);
    let restored = kit.restore(stage.shared(), &Fixed(1));
    assert_eq!(restored, Err(Error::StaleKit));
    let wrong = kit.restore_anyway(stage.shared(), &Fixed(2));
    assert_eq!(wrong, Err(Error::WrongKey));
    assert!(raw::all_objects(&stage.storage) == before);
    let report = kit.restore_anyway(stage.shared(), &Fixed(1)).unwrap();
    assert_eq!(report.replaced.as_ref(), before.get(&b"v"[..]));
    assert!(report.root_rotation_due);
    let (header, _) = raw::header(&raw::header_value(&stage.storage), &Fixed(1));
    let (exported, _) = raw::header(kit.as_bytes(), &Fixed(1));
    assert_eq!(header.generation(), report.generation);
    assert!(header.generation() > exported.generation());
    assert_eq!(header.slots(), exported.slots());
    // An intact header is not replaced even by `restore_anyway`.
    let again = kit.restore_anyway(stage.shared(), &Fixed(1));
    assert_eq!(again, Err(Error::HeaderPresent));
}

fn kit_with_earlier_master_key_is_stale(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let stale = vault.recovery_kit().unwrap();
    assert!(vault.rotate_master_key().unwrap().recovery_kits_stale);
    let fresh = vault.recovery_kit().unwrap();
    raw::delete(&stage.storage, b"v");
    assert_stale(stage, &stale);
    let vault = stage.open();
    let got = session_on(&vault).get(&record("MRN-1", "Observation/amended"));
    assert_eq!(got.unwrap_err(), Error::UnknownMasterKey);
    raw::delete(&stage.storage, b"v");
    // The header that the stale kit restored has a higher generation.
    let restored = fresh.restore(stage.shared(), &Fixed(1));
    assert_eq!(restored, Err(Error::StaleKit));
    fresh.restore_anyway(stage.shared(), &Fixed(1)).unwrap();
    model.verify(&stage.open());
}

/// Interrupts a rotation after one of several entries is sealed under the newer master key.
fn kit_from_before_interrupted_rotation_is_stale(stage: &Stage) {
    let vault = stage.create();
    let mut model = small_clinic(&vault);
    let kit = vault.recovery_kit().unwrap();
    let (interrupted, _) = stage.open_with(move |_, point| {
        let reseals = matches!(point, FaultPoint::Commit(operations)
            if raw::puts(operations).any(|(key, _)| key[0] == b'p'));
        match reseals {
            true => FaultAction::Stop,
            false => FaultAction::Proceed,
        }
    });
    interrupted.rotate_master_key().unwrap_err();
    let id = record("MRN-1", "Observation/amended");
    model.put(&session_on(&stage.open()), &id, b"seals one entry again");
    let header = raw::header_value(&stage.storage);
    raw::put(&stage.storage, b"v", b"garbage");
    assert_stale(stage, &kit);
    assert_eq!(stage.open().key_usage().unwrap().unreadable_entries, 1);
    raw::put(&stage.storage, b"v", &header);
    assert_eq!(
        stage.open().rotate_master_key().unwrap().entries_blocking,
        0
    );
    model.verify(&stage.open());
}

/// The vault has no newer key, but the kit would restore removed slots.
fn kit_of_earlier_header_generation_is_stale(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let kit = vault.recovery_kit().unwrap();
    vault.add_slot(&Fixed(2)).unwrap();
    vault.rotate_subject_key(&subject("MRN-2")).unwrap();
    raw::delete(&stage.storage, b"v");
    assert_stale(stage, &kit);
    let id = record("MRN-2", "Observation/1");
    let vault = stage.open();
    session_on(&vault).get(&id).unwrap().unwrap();
    model.verify(&vault);
}

/// Without a journal, only an entry can show that a later header was written.
fn kit_with_all_needed_keys_is_restored_without_journal(stage: &Stage) {
    let vault = stage.create_by(stage.options().without_journal());
    let model = smaller_clinic(&vault);
    let kit = vault.recovery_kit().unwrap();
    vault.add_slot(&Fixed(2)).unwrap();
    raw::delete(&stage.storage, b"v");
    kit.restore(stage.shared(), &Fixed(1)).unwrap();
    model.verify(&stage.open());
}

fn kit_older_than_journaled_header_is_stale(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let kit = vault.recovery_kit().unwrap();
    vault.add_slot(&Fixed(2)).unwrap();
    drop(vault);
    raw::delete(&stage.storage, b"v");
    assert_stale(stage, &kit);
    model.verify(&stage.open());
}

/// Creates a vault that the credential 1 no longer opens. Returns a kit from before.
fn leave(stage: &Stage, leave: impl FnOnce(&Vault, u16)) -> RecoveryKit {
    let vault = stage.create();
    smaller_clinic(&vault);
    let kit = vault.recovery_kit().unwrap();
    vault.add_slot(&Fixed(2)).unwrap();
    let first = vault.slots().unwrap()[0].id;
    leave(&vault, first);
    drop(vault);
    assert!(stage.options().open(stage.shared(), &Fixed(1)).is_err());
    kit
}

fn kit_from_before_root_rotation_does_not_replace_later_header(stage: &Stage) {
    let kit = leave(stage, |vault, first| {
        vault.rotate_root_key(&[&Fixed(2)], &[first]).unwrap();
    });
    let later = raw::header_value(&stage.storage);
    assert_stale(stage, &kit);
    assert!(stage.options().open(stage.shared(), &Fixed(2)).is_err());
    let vault = stage.open();
    assert_eq!(vault.verify(None).unwrap().header, None);
    // The kit's slots stay until the root key is rotated again.
    vault.rotate_root_key(&[&Fixed(1)], &[]).unwrap();
    assert!(Vault::open(stage.shared(), &Fixed(1)).is_ok());
    raw::put(&stage.storage, b"v", &later);
    assert!(Vault::open(stage.shared(), &Fixed(2)).is_ok());
}

/// The kit's root key opens the later header, but no credential of the test does.
fn kit_from_before_removed_slot_replaces_header_only_by_force(stage: &Stage) {
    let kit = leave(stage, |vault, first| vault.remove_slot(first).unwrap());
    let later = raw::header_value(&stage.storage);
    let restored = kit.restore(stage.shared(), &Fixed(1));
    assert_eq!(restored, Err(Error::HeaderPresent));
    let report = kit.restore_anyway(stage.shared(), &Fixed(1)).unwrap();
    assert_eq!(report.replaced, Some(later));
    drop(stage.open());
}

fn kit_is_restored_over_forged_page_of_later_header(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let kit = vault.recovery_kit().unwrap();
    drop(vault);
    let target = Target::Header {
        generation: 9,
        digest: [1; 32],
    };
    forge(&stage.storage, true, Operation::AddSlot, target);
    raw::delete(&stage.storage, b"v");
    kit.restore(stage.shared(), &Fixed(1)).unwrap();
    assert_eq!(raw::header_value(&stage.storage), kit.as_bytes());
    model.verify(&stage.open());
}

/// Returns a damaged header of the kit's vault that claims a generation.
fn claiming(kit: &RecoveryKit, generation: u64) -> Vec<u8> {
    let mut value = kit.as_bytes()[..40].to_vec();
    value[28..36].copy_from_slice(&generation.to_le_bytes());
    value
}

/// Eight bytes that nothing authenticates must not make every kit stale.
fn kit_is_restored_over_header_of_impossible_generation(stage: &Stage) {
    let kit = stage.create().recovery_kit().unwrap();
    for generation in [1 << 63, u64::MAX - 1, u64::MAX] {
        raw::put(&stage.storage, b"v", &claiming(&kit, generation));
        kit.restore(stage.shared(), &Fixed(1)).unwrap();
        assert_eq!(raw::header_value(&stage.storage), kit.as_bytes());
        raw::put(&stage.storage, b"v", &claiming(&kit, generation));
        let report = kit.restore_anyway(stage.shared(), &Fixed(1)).unwrap();
        assert_eq!(report.generation, 2);
        let pages = raw::objects_of(&stage.storage, b"j").into_keys();
        pages.for_each(|page| raw::delete(&stage.storage, &page));
    }
}

fn restore_anyway_takes_higher_generation_than_damaged_header(stage: &Stage) {
    let kit = stage.create().recovery_kit().unwrap();
    for generation in [2, (1 << 63) - 1] {
        raw::put(&stage.storage, b"v", &claiming(&kit, generation));
        let restored = kit.restore(stage.shared(), &Fixed(1));
        assert_eq!(restored, Err(Error::StaleKit));
        let report = kit.restore_anyway(stage.shared(), &Fixed(1)).unwrap();
        assert_eq!(report.generation, generation + 1);
        let vault = stage.open();
        vault.add_slot(&Fixed(2)).unwrap();
        assert!(vault.verify(None).unwrap().is_clean());
    }
    // The header of another vault shows nothing about this one.
    let mut foreign = claiming(&kit, 1 << 62);
    foreign[12] ^= 1;
    raw::delete(&stage.storage, b"v");
    let pages = raw::objects_of(&stage.storage, b"j").into_keys();
    pages.for_each(|page| raw::delete(&stage.storage, &page));
    raw::put(&stage.storage, b"v", &foreign);
    kit.restore(stage.shared(), &Fixed(1)).unwrap();
}

fn restores_are_journaled(stage: &Stage) {
    let kit = stage.create().recovery_kit().unwrap();
    raw::delete(&stage.storage, b"v");
    kit.restore(stage.shared(), &Fixed(1)).unwrap();
    raw::delete(&stage.storage, b"v");
    kit.restore_anyway(stage.shared(), &Fixed(1)).unwrap();
    let mut generations = Vec::new();
    for (_, page) in pages(&*stage.storage) {
        for entry in &page.entries {
            if let Target::Header { generation, .. } = entry.target
                && entry.operation == Operation::RestoreKit
            {
                generations.push(generation);
            }
        }
    }
    generations.sort_unstable();
    assert_eq!(generations, [1, 2]);
    let report = stage.open().verify(None).unwrap();
    assert!(report.is_clean(), "{report:#?}");
}

fn restore_after_any_fault_can_be_repeated(stage: &Stage) {
    let kit = stage.create().recovery_kit().unwrap();
    raw::delete(&stage.storage, b"v");
    let before = raw::all_objects(&stage.storage);
    for action in ACTIONS {
        for step in 0.. {
            raw::reset(&stage.storage, &before);
            let faulty = stage.faulty(action_at(step, action));
            let first = kit.restore(faulty.clone(), &Fixed(1));
            // Later requests of the failed restore arrive.
            drop(faulty);
            match kit.restore(stage.shared(), &Fixed(1)) {
                Ok(()) => assert!(first.is_err()),
                again => assert_eq!(again, Err(Error::HeaderPresent)),
            }
            assert_eq!(raw::header_value(&stage.storage), kit.as_bytes());
            assert!(stage.open().verify(None).unwrap().is_clean());
            if step > 12 {
                break;
            }
        }
    }
}

/// An entry under a key that the kit's keyring lists as destroyed may come from a late request.
/// Such an entry must not make the kit stale.
fn kit_with_orphaned_entry_present_is_restored(stage: &Stage) {
    let vault = stage.create();
    smaller_clinic(&vault);
    let (key, value) = raw::objects_of(&stage.storage, b"p").pop_last().unwrap();
    vault.rotate_master_key().unwrap();
    let kit = vault.recovery_kit().unwrap();
    raw::put(&stage.storage, &key, &value);
    raw::delete(&stage.storage, b"v");
    kit.restore(stage.shared(), &Fixed(1)).unwrap();
    assert_eq!(stage.open().key_usage().unwrap().unreadable_entries, 1);
}

fn kit_of_another_vault_is_refused(stage: &Stage) {
    smaller_clinic(&stage.create());
    let foreign = Stage::memory();
    let kit = foreign.create().recovery_kit().unwrap();
    raw::delete(&stage.storage, b"v");
    // The entries reference master keys that the kit does not contain, so the kit looks stale.
    let restored = kit.restore(stage.shared(), &Fixed(1));
    assert_eq!(restored, Err(Error::StaleKit));
    // Each entry now references the number of the kit's key, but does not open under that key.
    let (_, keyring) = raw::header(kit.as_bytes(), &Fixed(1));
    let number = keyring.active_master().number.to_le_bytes();
    for (key, mut value) in raw::objects_of(&stage.storage, b"p") {
        value[4..8].copy_from_slice(&number);
        raw::put(&stage.storage, &key, &value);
    }
    let restored = kit.restore(stage.shared(), &Fixed(1));
    assert_eq!(restored, Err(Error::ForeignKit));
    let restored = kit.restore_anyway(stage.shared(), &Fixed(1));
    assert_eq!(restored, Err(Error::ForeignKit));
    assert!(raw::objects_of(&stage.storage, b"v").is_empty());
}

fn kit_with_unavailable_credential_is_not_restored(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let kit = vault.recovery_kit().unwrap();
    let [first] = vault.slots().unwrap()[..] else {
        panic!("one slot");
    };
    vault.add_slot(&Fixed(2)).unwrap();
    vault.rotate_root_key(&[&Fixed(2)], &[first.id]).unwrap();
    let before = raw::objects(&stage.storage);
    for error in [
        Error::Credential(CredentialFailure::Unreachable),
        Error::Stretching,
    ] {
        let restored = kit.restore(stage.shared(), &Brittle(1, error.clone()));
        assert_eq!(restored, Err(error));
    }
    assert!(raw::objects(&stage.storage) == before);
    for error in [
        Error::Credential(CredentialFailure::Other),
        Error::Credential(CredentialFailure::Denied),
        Error::Credential(CredentialFailure::Locked),
        Error::Credential(CredentialFailure::LogExposesSecrets),
        Error::Stretching,
    ] {
        let restored = kit.restore_anyway(stage.shared(), &Brittle(1, error.clone()));
        assert_eq!(restored.unwrap_err(), error);
    }
    assert!(raw::objects(&stage.storage) == before);
    // After a permanent failure, it is unknown whether the stored header opens.
    let gone = Brittle(1, Error::Credential(CredentialFailure::KeyGone));
    kit.restore_anyway(stage.shared(), &gone).unwrap();
    model.verify(&stage.open());
}

fn kit_does_not_replace_header_of_newer_format(stage: &Stage) {
    let vault = stage.create();
    smaller_clinic(&vault);
    let kit = vault.recovery_kit().unwrap();
    let mut newer = raw::header_value(&stage.storage);
    newer[8] = 2;
    raw::put(&stage.storage, b"v", &newer);
    let restored = kit.restore(stage.shared(), &Fixed(1));
    assert_eq!(restored, Err(Error::Unsupported));
    assert!(raw::header_value(&stage.storage) == newer);
}

fn restore_with_lost_answer_is_unknown_while_the_storage_is_down(stage: &Stage) {
    let kit = stage.create().recovery_kit().unwrap();
    raw::delete(&stage.storage, b"v");
    let faulty = stage.faulty(lost_header_answer(&Default::default()));
    let restored = kit.restore(faulty, &Fixed(1));
    assert_eq!(restored, Err(Error::CommitUnknown));
    assert_eq!(raw::header_value(&stage.storage), kit.as_bytes());
}
