//! Header tests: rollback, slots and the root key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chartlock::internals::keys::Header;
use chartlock::{Error, Vault};

use crate::common::Fixed;
use crate::model::smaller_clinic;
use crate::raw;
use crate::stage::{Stage, lost_header_answer, record, session_on, subject};

everywhere!(
    header_rolled_back_is_refused_until_made_writable,
    header_rolled_back_past_master_rotation_returns_unknown_master_key,
    slots_can_be_added_replaced_and_removed,
    auditor_slot_opens_only_the_journal,
    root_key_rotation_drops_requested_slots,
    header_change_with_lost_answer_is_unknown_while_the_storage_is_down,
    creation_with_lost_answer_is_unknown_while_the_storage_is_down,
);

fn open(stage: &Stage, credential: u8) -> Result<Vault, Error> {
    stage.options().open(stage.shared(), &Fixed(credential))
}

fn header_rolled_back_is_refused_until_made_writable(stage: &Stage) {
    let vault = stage.create();
    let mut model = smaller_clinic(&vault);
    let old = raw::header_value(&stage.storage);
    vault.add_slot(&Fixed(2)).unwrap();
    // The rotated entries record the generation of the newer header.
    for patient in ["MRN-1", "MRN-2"] {
        vault.rotate_subject_key(&subject(patient)).unwrap();
    }
    let newer = raw::header_value(&stage.storage);
    raw::put(&stage.storage, b"v", &old);
    let before = raw::objects(&stage.storage);
    assert_eq!(vault.slots().unwrap_err(), Error::HeaderRolledBack);
    let behind = open(stage, 1).unwrap();
    let id = record("MRN-1", "Observation/amended");
    assert_eq!(
        session_on(&behind).get(&id).unwrap_err(),
        Error::HeaderRolledBack
    );
    assert_eq!(
        session_on(&behind).put(&id, b"x"),
        Err(Error::HeaderRolledBack)
    );
    assert!(raw::objects(&stage.storage) == before);

    let options = stage.options();
    let vault = options.open_rolled_back(stage.shared(), &Fixed(1)).unwrap();
    model.verify(&vault);
    let session = session_on(&vault);
    assert_eq!(session.put(&id, b"x"), Err(Error::ReadOnly));
    assert_eq!(session.retract(&id), Err(Error::ReadOnly));
    assert_eq!(
        session.erase_subject(id.subject(), "asked for"),
        Err(Error::ReadOnly)
    );
    assert_eq!(vault.rotate_master_key().unwrap_err(), Error::ReadOnly);
    assert_eq!(vault.reencrypt().unwrap_err(), Error::ReadOnly);
    assert_eq!(vault.add_slot(&Fixed(3)).unwrap_err(), Error::ReadOnly);
    assert!(raw::objects(&stage.storage) == before);
    vault.make_writable().unwrap();
    vault.make_writable().unwrap();
    model.put(&session, &id, b"after");
    assert_eq!(vault.slots().unwrap().len(), 1);
    model.verify(&vault);
    model.verify(&stage.open());
    vault.rotate_subject_key(id.subject()).unwrap();
    // The replaced header now counts as rolled back.
    raw::put(&stage.storage, b"v", &newer);
    assert_eq!(vault.slots().unwrap_err(), Error::HeaderRolledBack);
    let late = open(stage, 2).unwrap();
    assert_eq!(
        session_on(&late).get(&id).unwrap_err(),
        Error::HeaderRolledBack
    );
}

fn header_rolled_back_past_master_rotation_returns_unknown_master_key(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let old = raw::header_value(&stage.storage);
    vault.rotate_master_key().unwrap();
    let new = raw::header_value(&stage.storage);
    raw::put(&stage.storage, b"v", &old);
    let id = record("MRN-1", "Observation/amended");
    for vault in [
        open(stage, 1).unwrap(),
        stage
            .options()
            .open_rolled_back(stage.shared(), &Fixed(1))
            .unwrap(),
    ] {
        assert_eq!(
            session_on(&vault).get(&id).unwrap_err(),
            Error::UnknownMasterKey
        );
        assert_eq!(vault.key_usage().unwrap().unreadable_entries, 2);
    }
    // An unknown master key must not lead to a second chart for the subject.
    let vault = open(stage, 1).unwrap();
    assert_eq!(
        session_on(&vault).put(&id, b"x"),
        Err(Error::UnknownMasterKey)
    );
    raw::put(&stage.storage, b"v", &new);
    model.verify(&stage.open());
}

fn slots_can_be_added_replaced_and_removed(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let [first] = vault.slots().unwrap()[..] else {
        panic!("one slot");
    };
    assert_eq!(vault.remove_slot(first.id), Err(Error::LastSlot));
    let second = vault.add_slot(&Fixed(2)).unwrap();
    assert_eq!(vault.slots().unwrap().len(), 2);
    model.verify(&open(stage, 2).unwrap());
    vault.replace_slot(second, &Fixed(3)).unwrap();
    assert_eq!(open(stage, 2).unwrap_err(), Error::WrongKey);
    model.verify(&open(stage, 3).unwrap());
    vault.remove_slot(first.id).unwrap();
    assert_eq!(open(stage, 1).unwrap_err(), Error::WrongKey);
    for gone in [first.id, second.wrapping_add(1)] {
        assert_eq!(vault.remove_slot(gone), Err(Error::NoSuchSlot));
        assert_eq!(vault.replace_slot(gone, &Fixed(9)), Err(Error::NoSuchSlot));
    }
    for credential in 10..25 {
        vault.add_slot(&Fixed(credential)).unwrap();
    }
    let before = raw::header_value(&stage.storage);
    assert_eq!(vault.add_slot(&Fixed(99)), Err(Error::TooManySlots));
    assert!(raw::header_value(&stage.storage) == before);
    for credential in [3, 10, 24] {
        model.verify(&open(stage, credential).unwrap());
    }
    // Slot changes do not change the master keys, so cached entries of other processes stay valid.
    model.verify(&vault);
}

fn auditor_slot_opens_only_the_journal(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let [first] = vault.slots().unwrap()[..] else {
        panic!("one slot");
    };
    let journal_key = |credential| {
        let header = Header::parse(&raw::header_value(&stage.storage)).unwrap();
        let unlocked = header.unlock_journal(&Fixed(credential));
        unlocked.map(|(keys, slot)| (*keys.active().1.expose(), slot))
    };
    let slot = vault.add_auditor_slot(&Fixed(2)).unwrap();
    let listed = vault.slots().unwrap().into_iter();
    let listed: Vec<_> = listed.map(|slot| (slot.id, slot.journal_only)).collect();
    assert_eq!(listed, [(first.id, false), (slot, true)]);
    let own = journal_key(2).unwrap();
    assert_eq!(own.1, slot);
    let wrong = Error::WrongKey;
    assert_eq!(open(stage, 2).unwrap_err(), wrong);
    let rolled_back = (stage.options()).open_rolled_back(stage.shared(), &Fixed(2));
    assert_eq!(rolled_back.unwrap_err(), wrong);
    let kit = vault.recovery_kit().unwrap();
    assert_eq!(kit.restore(stage.shared(), &Fixed(2)).unwrap_err(), wrong);
    assert_eq!(vault.remove_slot(first.id), Err(Error::LastSlot));

    let refused = Err(Error::AuditorSlot);
    assert_eq!(vault.replace_slot(slot, &Fixed(3)), refused);
    assert_eq!(vault.remove_slot(slot), refused);
    vault.rotate_master_key().unwrap();
    let lost = vault.rotate_root_key(&[&Fixed(1)], &[]);
    assert_eq!(lost.unwrap_err(), Error::SlotsWouldBeLost);
    let report = vault.rotate_root_key(&[&Fixed(1), &Fixed(2)], &[]).unwrap();
    let counts = |report: &chartlock::report::RootRotationReport| {
        let kept = (report.slots_kept, report.auditor_slots_kept);
        (kept, report.slots_dropped)
    };
    assert_eq!(counts(&report), ((1, 1), 0));
    assert!(report.journal_pages.unwrap() > 0);
    let (today, id) = journal_key(2).unwrap();
    assert_eq!(id, slot);
    assert_ne!(today, own.0);
    let report = vault.rotate_root_key(&[&Fixed(1)], &[slot]).unwrap();
    assert_eq!(counts(&report), ((1, 0), 1));
    assert_eq!(journal_key(2).unwrap_err(), Error::NoSlotOfKind);

    let slot = vault.add_auditor_slot(&Fixed(4)).unwrap();
    assert_ne!(journal_key(4).unwrap().0, today);
    let report = vault.rotate_journal_keys(&[], &[slot]).unwrap();
    assert_eq!((report.slots_kept, report.slots_dropped), (0, 1));
    assert_eq!(journal_key(4).unwrap_err(), Error::NoSlotOfKind);
    model.verify(&open(stage, 1).unwrap());
    // An old header still opens with the credential of a slot that was removed later.
    raw::put(&stage.storage, b"v", kit.as_bytes());
    assert_eq!(journal_key(2), Ok(own));
}

fn root_key_rotation_drops_requested_slots(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let second = vault.add_slot(&Fixed(2)).unwrap();
    let third = vault.add_slot(&Fixed(3)).unwrap();
    let other = open(stage, 2).unwrap();
    let kit = vault.recovery_kit().unwrap();
    let before = raw::objects(&stage.storage);
    let lost = vault.rotate_root_key(&[&Fixed(1), &Fixed(2)], &[]);
    assert_eq!(lost.unwrap_err(), Error::SlotsWouldBeLost);
    let unknown = vault.rotate_root_key(&[&Fixed(1), &Fixed(2), &Fixed(9)], &[third]);
    assert_eq!(unknown.unwrap_err(), Error::WrongKey);
    let slots = vault.slots().unwrap();
    let unused = (0..=u16::MAX).find(|id| slots.iter().all(|slot| slot.id != *id));
    let gone = vault.rotate_root_key(&[&Fixed(1)], &[second, third, unused.unwrap()]);
    assert_eq!(gone.unwrap_err(), Error::NoSuchSlot);
    assert!(raw::objects(&stage.storage) == before);
    let report = vault
        .rotate_root_key(&[&Fixed(1), &Fixed(2)], &[third])
        .unwrap();
    assert_eq!((report.slots_kept, report.slots_dropped), (2, 1));
    assert!(report.recovery_kits_stale);
    assert_eq!(report.purge_deferred, stage.defers_purges);
    assert_eq!(open(stage, 3).unwrap_err(), Error::WrongKey);
    for credential in [1, 2] {
        model.verify(&open(stage, credential).unwrap());
    }
    model.verify(&vault);
    // The other process detects the change when it next reads the header.
    assert_eq!(other.slots().unwrap_err(), Error::RootKeyChanged);
    assert_eq!(
        other.rotate_master_key().unwrap_err(),
        Error::RootKeyChanged
    );
    // Rotating the root key does not stop a removed credential from opening an old copy of the
    // header.
    raw::put(&stage.storage, b"v", kit.as_bytes());
    model.verify(&open(stage, 3).unwrap());
}

/// A storage error would claim that no slot was added.
fn header_change_with_lost_answer_is_unknown_while_the_storage_is_down(stage: &Stage) {
    drop(stage.create());
    let is_down = Arc::new(AtomicBool::new(false));
    let (vault, _) = stage.open_with(lost_header_answer(&is_down));
    assert_eq!(vault.add_slot(&Fixed(2)).unwrap_err(), Error::CommitUnknown);
    assert!(is_down.load(Ordering::SeqCst));
    drop(vault);
    let vault = open(stage, 2).unwrap();
    assert_eq!(vault.slots().unwrap().len(), 2);
    assert!(vault.verify(None).unwrap().is_clean());
}

fn creation_with_lost_answer_is_unknown_while_the_storage_is_down(stage: &Stage) {
    let faulty = stage.faulty(lost_header_answer(&Arc::default()));
    let created = stage.options().create(faulty, &Fixed(1));
    assert_eq!(created.unwrap_err(), Error::CommitUnknown);
    drop(stage.open());
}
