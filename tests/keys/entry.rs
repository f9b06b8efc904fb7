//! Lifecycle of a patient entry: key rotation, erasure, holds and retention.

use chartlock::Error;
use chartlock::internals::keys::{ChartState, EntryState, KeyState, PatientEntry};

use crate::fixtures::*;

#[test]
fn sealed_patient_entry_reopens_unchanged() {
    for suite in SUITES {
        let vault = vault(suite);
        let mut entry = PatientEntry::new(subject(), NOW).unwrap();
        let value = vault.seal(&mut entry);
        let opened = vault.open(&value, &subject()).unwrap();
        assert_eq!(opened.subject(), &subject());
        assert_eq!((opened.sequence(), opened.generation()), (1, 1));
        let (chart, made) = (opened.chart().unwrap(), entry.chart().unwrap());
        assert_eq!(chart.id(), made.id());
        assert_eq!(chart.created(), NOW);
        assert_eq!(chart.name_key().expose(), made.name_key().expose());
        let (key, made) = (chart.active_key(), made.active_key());
        assert_eq!(key.number, made.number);
        assert_eq!(key.key.expose(), made.key.expose());
    }
}

#[test]
fn typical_patient_entry_has_less_than_300_bytes() {
    let vault = vault(SUITES[0]);
    let value = vault.seal(&mut PatientEntry::new(subject(), NOW).unwrap());
    assert_eq!(value.len(), 88 + 183 + subject().identifier().len());
}

#[test]
fn resealed_patient_entry_has_next_sequence_and_fresh_salt() {
    let vault = vault(SUITES[0]);
    let mut entry = PatientEntry::new(subject(), NOW).unwrap();
    let first = vault.seal(&mut entry);
    let mut opened = vault.open(&first, &subject()).unwrap();
    let second = vault.seal(&mut opened);
    assert_ne!(first[8..72], second[8..72]);
    assert_eq!(vault.open(&second, &subject()).unwrap().sequence(), 2);
}

#[test]
fn former_patient_keys_are_kept_until_destroyed() {
    let vault = vault(SUITES[0]);
    let mut entry = PatientEntry::new(subject(), NOW).unwrap();
    let first = entry.chart().unwrap().active_key().number;
    let second = entry.rotate_key(NOW + 1).unwrap();
    let third = entry.rotate_key(NOW + 2).unwrap();
    let mut entry = vault.open(&vault.seal(&mut entry), &subject()).unwrap();
    let stored: Vec<(u32, KeyState)> = (entry.chart().unwrap().keys())
        .map(|key| (key.number, key.state))
        .collect();
    let expected = [
        (third, KeyState::Active),
        (second, KeyState::Inactive),
        (first, KeyState::Inactive),
    ];
    assert_eq!(stored, expected);
    assert_eq!(entry.key(first).unwrap().created, NOW);
    assert_eq!(entry.destroy_inactive().unwrap(), [first, second]);
    assert!(entry.destroy_inactive().unwrap().is_empty());
    let entry = vault.open(&vault.seal(&mut entry), &subject()).unwrap();
    assert!(entry.key(first).is_none() && entry.key(second).is_none());
    assert!(entry.was_destroyed(first) && entry.was_destroyed(second));
    assert!(!entry.was_destroyed(third));
    assert_eq!(entry.chart().unwrap().active_key().number, third);
}

#[test]
fn erasure_destroys_keys_and_reopening_creates_fresh_keys() {
    let vault = vault(SUITES[0]);
    let mut entry = PatientEntry::new(subject(), NOW).unwrap();
    let first = *entry.chart().unwrap().id();
    assert_eq!(entry.finish_erasure(), Err(Error::Conflict));
    assert_eq!(entry.reopen(NOW), Err(Error::NotErased));

    assert_eq!(entry.begin_erasure(NOW), Ok(first));
    let value = vault.seal(&mut entry);
    // The value contains the head, the chart id and the identifier, and has no space for a key of
    // 32 bytes.
    assert_eq!(value.len(), 88 + 81 + subject().identifier().len());
    let mut entry = vault.open(&value, &subject()).unwrap();
    assert!(matches!(entry.state(), EntryState::Erasing { chart } if *chart == first));
    assert!(entry.chart().is_none());
    assert_eq!(entry.begin_erasure(NOW), Ok(first));
    assert_eq!(entry.reopen(NOW), Err(Error::Erased));
    assert_eq!(entry.rotate_key(NOW), Err(Error::Erased));
    assert_eq!(entry.destroy_inactive(), Err(Error::Erased));
    let marked = entry.set_chart_state(ChartState::Reencrypting);
    assert_eq!(marked, Err(Error::Erased));

    entry.finish_erasure().unwrap();
    assert_eq!(entry.finish_erasure(), Err(Error::Erased));
    assert_eq!(entry.begin_erasure(NOW), Err(Error::Erased));
    let mut entry = vault.open(&vault.seal(&mut entry), &subject()).unwrap();
    assert!(matches!(entry.state(), EntryState::Erased));
    assert_eq!(entry.dead_charts(), [first]);

    entry.reopen(NOW + 1).unwrap();
    let entry = vault.open(&vault.seal(&mut entry), &subject()).unwrap();
    assert_ne!(entry.chart().unwrap().id(), &first);
    assert_eq!(entry.dead_charts(), [first]);
    assert_eq!(entry.sequence(), 3);
}

#[test]
fn chart_state_survives_resealing() {
    let vault = vault(SUITES[0]);
    let mut entry = PatientEntry::new(subject(), NOW).unwrap();
    for state in [ChartState::Reencrypting, ChartState::Steady] {
        entry.set_chart_state(state).unwrap();
        entry = vault.open(&vault.seal(&mut entry), &subject()).unwrap();
        assert_eq!(entry.chart().unwrap().state(), state);
    }
}

#[test]
fn legal_holds_and_retention_block_erasure() {
    let vault = vault(SUITES[0]);
    let mut entry = PatientEntry::new(subject(), NOW).unwrap();
    let id = entry.free_hold_id().unwrap();
    assert!(id < 1 << 53);
    entry.put_hold(id, "subpoena", NOW + 3).unwrap();
    entry.retain_until(Some(NOW + 10)).unwrap();
    let mut entry = vault.open(&vault.seal(&mut entry), &subject()).unwrap();
    let [hold] = entry.holds() else {
        panic!("not exactly one hold");
    };
    let fields = (hold.id(), hold.since(), hold.reason());
    assert_eq!(fields, (id, NOW + 3, "subpoena"));
    assert_eq!(entry.retention(), Some(NOW + 10));

    assert_eq!(entry.begin_erasure(NOW + 10), Err(Error::OnHold));
    assert_eq!(entry.release_hold(id ^ 1), Err(Error::NoSuchHold));
    entry.release_hold(id).unwrap();
    assert_eq!(entry.begin_erasure(NOW + 9), Err(Error::Retained));
    assert!(entry.chart().is_some());
    entry.begin_erasure(NOW + 10).unwrap();
    // An erasure that has begun continues even if the clock is set back.
    entry.begin_erasure(NOW).unwrap();
    for _ in 0..2 {
        assert_eq!(entry.put_hold(id, "late", NOW), Err(Error::Erased));
        assert_eq!(entry.release_hold(id), Err(Error::Erased));
        assert_eq!(entry.retain_until(Some(NOW)), Err(Error::Erased));
        assert_eq!(entry.retention(), None);
        let _ = entry.finish_erasure();
    }
}

#[test]
fn hold_ids_use_all_53_bits_that_json_represents_exactly() {
    let mut entry = PatientEntry::new(subject(), NOW).unwrap();
    let (mut seen, mut bits) = (Vec::new(), 0);
    for _ in 0..64 {
        let id = entry.free_hold_id().unwrap();
        entry.put_hold(id, "inquiry", NOW).unwrap();
        assert!(!seen.contains(&id));
        seen.push(id);
        bits |= id;
    }
    assert_eq!(bits, (1 << 53) - 1);
}
