//! A rotation that breaks off, before or after any step, is taken up again and loses nothing.

use chartlock::internals::envelope::{Head, Kind};
use chartlock::storage::FaultAction;

use super::{VERBS, Verb};
use crate::model::{Model, smaller_clinic};
use crate::raw::{self, Objects};
use crate::stage::{Stage, verdict_at};

everywhere!(master, patient, reencrypt_subject, reencrypt);

fn master(stage: &Stage) {
    broken_off_anywhere(stage, Verb::Master);
}

fn patient(stage: &Stage) {
    broken_off_anywhere(stage, Verb::Patient);
}

fn reencrypt_subject(stage: &Stage) {
    broken_off_anywhere(stage, Verb::ReencryptPatient);
}

fn reencrypt(stage: &Stage) {
    broken_off_anywhere(stage, Verb::Reencrypt);
}

fn broken_off_anywhere(stage: &Stage, verb: Verb) {
    let model = smaller_clinic(&stage.create());
    let before = raw::everything(&stage.storage);
    let steps = steps(stage, verb);
    for step in (0..steps).step_by(stage.stride) {
        for verdict in [FaultAction::Stop, FaultAction::StopAfter] {
            raw::reset(&stage.storage, &before);
            let (vault, _) = stage.open_with(verdict_at(step, verdict));
            verb.run(&vault).unwrap_err();
            drop(vault);
            taken_up(stage, verb, &model, &before);
        }
    }
}

/// How many steps it takes when nothing fails.
fn steps(stage: &Stage, verb: Verb) -> u64 {
    let before = raw::everything(&stage.storage);
    let (vault, faulty) = stage.open_with(|_, _| FaultAction::Proceed);
    let opened = faulty.steps();
    assert!(verb.run(&vault).unwrap().is_complete());
    raw::reset(&stage.storage, &before);
    faulty.steps() - opened
}

fn taken_up(stage: &Stage, verb: Verb, model: &Model, before: &Objects) {
    let vault = stage.open();
    model.verify(&vault);
    assert_eq!(raw::census(&vault), raw::brute_force(&stage.storage));
    // What is put in between is rotated like the rest.
    let mut model = model.clone();
    let id = crate::stage::record("MRN-1", "Observation/amended");
    model.put(&crate::stage::session(&vault), &id, b"in between");
    let again = verb.run(&vault).unwrap();
    assert!(again.is_complete(), "{again:?}");
    model.verify(&vault);
    let census = raw::census(&vault);
    assert_eq!(census, raw::brute_force(&stage.storage));
    assert_eq!(census.masters.len(), 1);
    if verb == Verb::Master {
        return;
    }
    assert_eq!(census.by_subject["MRN-1"].len(), 1);
    let after = raw::objects(&stage.storage);
    let renewed = |key: &[u8]| verb == Verb::Reencrypt || raw::is_of(stage, key, "MRN-1");
    for (key, value) in after
        .iter()
        .filter(|(key, _)| matches!(key[0], b'r' | b'h'))
    {
        if verb == Verb::Patient || !renewed(key) {
            continue;
        }
        assert!(before.get(key) != Some(value), "a version of before");
        // Segments of before may be left where they stood, and nothing names them.
        if Head::parse(value).unwrap().kind == Kind::Segmented {
            let stream = [b"s", &key[1..17], &value[96..112]].concat();
            assert!(!before.keys().any(|key| key.starts_with(&stream)));
        }
    }
}

#[test]
fn there_are_steps_to_break_off_at() {
    for verb in VERBS {
        let stage = Stage::per_operation();
        smaller_clinic(&stage.create());
        assert!(steps(&stage, verb) >= 10, "{verb:?}");
    }
}
