//! Interrupted rotations: a rotation can be repeated after an interruption at any step and loses
//! nothing.

use chartlock::internals::envelope::{Head, Kind};
use chartlock::storage::FaultAction;

use super::{ROTATIONS, Rotation};
use crate::model::{Model, smaller_clinic};
use crate::raw::{self, Objects};
use crate::stage::{Stage, action_at};

everywhere!(
    master_rotation_interrupted_at_any_step_can_be_repeated,
    subject_rotation_interrupted_at_any_step_can_be_repeated,
    subject_reencryption_interrupted_at_any_step_can_be_repeated,
    reencryption_interrupted_at_any_step_can_be_repeated
);

fn master_rotation_interrupted_at_any_step_can_be_repeated(stage: &Stage) {
    interrupt_every_step(stage, Rotation::Master);
}

fn subject_rotation_interrupted_at_any_step_can_be_repeated(stage: &Stage) {
    interrupt_every_step(stage, Rotation::Subject);
}

fn subject_reencryption_interrupted_at_any_step_can_be_repeated(stage: &Stage) {
    interrupt_every_step(stage, Rotation::ReencryptSubject);
}

fn reencryption_interrupted_at_any_step_can_be_repeated(stage: &Stage) {
    interrupt_every_step(stage, Rotation::Reencrypt);
}

fn interrupt_every_step(stage: &Stage, rotation: Rotation) {
    let model = smaller_clinic(&stage.create());
    let before = raw::all_objects(&stage.storage);
    let steps = steps(stage, rotation);
    for step in (0..steps).step_by(stage.stride) {
        for action in [FaultAction::Stop, FaultAction::StopAfter] {
            raw::reset(&stage.storage, &before);
            let (vault, _) = stage.open_with(action_at(step, action));
            rotation.run(&vault).unwrap_err();
            drop(vault);
            assert_repeatable(stage, rotation, &model, &before);
        }
    }
}

/// Returns the number of storage steps of an undisturbed rotation.
fn steps(stage: &Stage, rotation: Rotation) -> u64 {
    let before = raw::all_objects(&stage.storage);
    let (vault, faulty) = stage.open_with(|_, _| FaultAction::Proceed);
    let opened = faulty.steps();
    assert!(rotation.run(&vault).unwrap().is_complete());
    raw::reset(&stage.storage, &before);
    faulty.steps() - opened
}

fn assert_repeatable(stage: &Stage, rotation: Rotation, model: &Model, before: &Objects) {
    let vault = stage.open();
    model.verify(&vault);
    assert_eq!(raw::key_usage(&vault), raw::brute_force(&stage.storage));
    // The repeated rotation also rotates a version that was put after the interruption.
    let mut model = model.clone();
    let id = crate::stage::record("MRN-1", "Observation/amended");
    model.put(&crate::stage::session_on(&vault), &id, b"in between");
    let again = rotation.run(&vault).unwrap();
    assert!(again.is_complete(), "{again:?}");
    model.verify(&vault);
    let usage = raw::key_usage(&vault);
    assert_eq!(usage, raw::brute_force(&stage.storage));
    assert_eq!(usage.masters.len(), 1);
    if rotation == Rotation::Master {
        return;
    }
    assert_eq!(usage.by_subject["MRN-1"].len(), 1);
    let after = raw::objects(&stage.storage);
    let renewed =
        |key: &[u8]| rotation == Rotation::Reencrypt || raw::belongs_to(stage, key, "MRN-1");
    for (key, value) in after
        .iter()
        .filter(|(key, _)| matches!(key[0], b'r' | b'h'))
    {
        if rotation == Rotation::Subject || !renewed(key) {
            continue;
        }
        assert!(before.get(key) != Some(value), "a former version was kept");
        // Former segments may remain, but no record references them.
        if Head::parse(value).unwrap().kind == Kind::Segmented {
            let stream = [b"s", &key[1..17], &value[96..112]].concat();
            assert!(!before.keys().any(|key| key.starts_with(&stream)));
        }
    }
}

#[test]
fn every_rotation_has_steps_to_interrupt() {
    for rotation in ROTATIONS {
        let stage = Stage::per_operation();
        smaller_clinic(&stage.create());
        assert!(steps(&stage, rotation) >= 10, "{rotation:?}");
    }
}
