//! Labels and creation times of slots.

use std::time::Duration;

use chartlock::Vault;
use chartlock::input::InputField;
use chartlock::internals::clock::Clock;
use chartlock::keys::{Credential, Labelled, SlotInfo, SlotLabel};

use crate::common::invalid::invalid_text;
use crate::common::objects::value_of;
use crate::common::{Fixed, Stage};

fn label(text: &str) -> SlotLabel {
    SlotLabel::new(text).unwrap()
}

fn slot(vault: &Vault, id: u16) -> SlotInfo {
    let slots = vault.slots().unwrap();
    slots.into_iter().find(|slot| slot.id == id).unwrap()
}

fn create(stage: &Stage, credential: &dyn Credential) -> Vault {
    let options = stage.options_on_clock().without_background();
    let options = options.key_removal_delay(Duration::ZERO);
    options.create(stage.shared(), credential).unwrap()
}

/// Returns creation time and label of a slot.
fn name(vault: &Vault, id: u16) -> (Option<i64>, Option<String>) {
    let slot = slot(vault, id);
    (slot.created(), slot.label().map(str::to_owned))
}

#[test]
fn first_and_added_slots_have_labels_and_times() {
    let stage = Stage::memory();
    let vault = create(&stage, &Labelled::new(&Fixed(1), label("first")));
    let start = stage.clock.now();
    let first = vault.slots().unwrap()[0].id;
    assert_eq!(name(&vault, first), (Some(start), Some("first".into())));
    stage.clock.shift_calendar(1000);
    let plain = vault.add_slot(&Fixed(2)).unwrap();
    let auditor = Labelled::new(&Fixed(3), label("auditor"));
    let auditor = vault.add_auditor_slot(&auditor).unwrap();
    for vault in [&vault, &stage.open()] {
        assert_eq!(name(vault, first), (Some(start), Some("first".into())));
        assert_eq!(name(vault, plain), (Some(start + 1000), None));
        let expected = (Some(start + 1000), Some("auditor".into()));
        assert_eq!(name(vault, auditor), expected);
    }
    let json = serde_json::to_value(slot(&vault, plain)).unwrap();
    assert_eq!(json["created"], start + 1000);
    assert!(json.get("label").is_none());
    // Only the sealed keyring contains the label.
    let header = value_of(&*stage.storage, b"v").unwrap();
    assert!(!header.windows(7).any(|bytes| bytes == b"auditor"));
    assert!(!format!("{:?}", slot(&vault, first)).contains("first"));
}

#[test]
fn replaced_slot_gets_new_time_and_keeps_label_without_another() {
    let stage = Stage::memory();
    let vault = create(&stage, &Labelled::new(&Fixed(1), label("safe")));
    let id = vault.slots().unwrap()[0].id;
    stage.clock.shift_calendar(5);
    vault.replace_slot(id, &Fixed(4)).unwrap();
    let now = stage.clock.now();
    assert_eq!(name(&vault, id), (Some(now), Some("safe".into())));
    vault
        .replace_slot(id, &Labelled::new(&Fixed(5), label("vault")))
        .unwrap();
    assert_eq!(name(&vault, id).1.as_deref(), Some("vault"));
}

#[test]
fn rotations_keep_names_of_slots_that_stay_and_drop_others() {
    let stage = Stage::memory();
    let vault = create(&stage, &Labelled::new(&Fixed(1), label("one")));
    let first = vault.slots().unwrap()[0].id;
    let add = |kind: u8, text: &str| {
        vault
            .add_slot(&Labelled::new(&Fixed(kind), label(text)))
            .unwrap()
    };
    let (second, third) = (add(2, "two"), add(3, "three"));
    let auditor = Labelled::new(&Fixed(4), label("auditor"));
    let auditor = vault.add_auditor_slot(&auditor).unwrap();
    let before = [first, second].map(|id| name(&vault, id));
    stage.clock.shift_calendar(1000);
    vault.remove_slot(third).unwrap();
    vault.rotate_journal_keys(&[], &[auditor]).unwrap();
    vault.rotate_root_key(&[&Fixed(1), &Fixed(2)], &[]).unwrap();
    vault.rotate_master_key().unwrap();
    assert_eq!([first, second].map(|id| name(&vault, id)), before);
    let reopened = stage.open();
    assert_eq!([first, second].map(|id| name(&reopened, id)), before);
    assert_eq!(vault.slots().unwrap().len(), 2);
}

#[test]
fn label_out_of_bounds_is_invalid() {
    for text in ["", &"x".repeat(65), "a\nb", "a\u{85}", &"é".repeat(33)] {
        assert_eq!(
            SlotLabel::new(text),
            Err(invalid_text(InputField::SlotLabel, text))
        );
    }
    for text in ["x", &"x".repeat(64), &"é".repeat(32)] {
        assert_eq!(label(text).text(), text);
    }
}
