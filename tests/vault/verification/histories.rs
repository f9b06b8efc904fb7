//! Random histories, tampered with at random: found is exactly what was tampered with.

use std::collections::BTreeSet;

use chartlock::{
    Vault,
    verify::{JournalFault, JournalFinding, VerifyReport},
};
use proptest::prelude::*;

use super::is_clean;
use crate::common::Fixed;
use crate::raw::{self, Objects};
use crate::stage::{Stage, record, session, subject};

const PATIENTS: u8 = 3;
const NAMES: u8 = 3;

/// Something that a user does.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Put(u8, u8),
    Remove(u8, u8),
    Expunge(u8, u8),
    RotatePatient(u8),
    RotateMaster,
    Reencrypt(u8),
    Erase(u8),
    Readmit(u8),
    /// Another process goes on.
    Reopen,
    Checkpoint,
}

/// Something that somebody does who can write the storage.
#[derive(Debug, Clone, Copy)]
enum Tampering {
    /// A bit of an object is flipped.
    Flip(u16, u16),
    Remove(u16),
    /// An object is put back to an older state, or brought back.
    PutBack(u16),
    /// Two objects of one class are exchanged.
    Exchange(u16, u16),
}

fn deed() -> impl Strategy<Value = Deed> {
    let patient = 0..PATIENTS;
    let name = 0..NAMES;
    prop_oneof![
        12 => (patient.clone(), name.clone()).prop_map(|(patient, name)| Deed::Put(patient, name)),
        2 => (patient.clone(), name.clone()).prop_map(|(patient, name)| Deed::Remove(patient, name)),
        1 => (patient.clone(), name).prop_map(|(patient, name)| Deed::Expunge(patient, name)),
        1 => patient.clone().prop_map(Deed::RotatePatient),
        1 => Just(Deed::RotateMaster),
        1 => patient.clone().prop_map(Deed::Reencrypt),
        1 => patient.clone().prop_map(Deed::Erase),
        1 => patient.prop_map(Deed::Readmit),
        2 => Just(Deed::Reopen),
        1 => Just(Deed::Checkpoint),
    ]
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let any = any::<u16>;
    prop_oneof![
        (any(), any()).prop_map(|(object, bit)| Tampering::Flip(object, bit)),
        any().prop_map(Tampering::Remove),
        any().prop_map(Tampering::PutBack),
        (any(), any()).prop_map(|(one, other)| Tampering::Exchange(one, other)),
    ]
}

fn patient(number: u8) -> String {
    format!("MRN-{number}")
}

/// Does it; what is refused is refused.
fn act(vault: &Vault, deed: Deed, turn: usize) {
    let chart = session(vault);
    let content = turn.to_le_bytes();
    let id = |number: u8, name: u8| record(&patient(number), &format!("Observation/{name}"));
    let _ = match deed {
        Deed::Put(number, name) => chart.put(&id(number, name), &content).map(drop),
        Deed::Remove(number, name) => chart.retract(&id(number, name)).map(drop),
        Deed::Expunge(number, name) => chart.expunge(&id(number, name), "asked for").map(drop),
        Deed::RotatePatient(number) => vault
            .rotate_subject_key(&subject(&patient(number)))
            .map(drop),
        Deed::RotateMaster => vault.rotate_master_key().map(drop),
        Deed::Reencrypt(number) => vault
            .reencrypt_subject(&subject(&patient(number)))
            .map(drop),
        Deed::Erase(number) => {
            let subject = subject(&patient(number));
            chart.erase_subject(&subject, "asked for").map(drop)
        }
        Deed::Readmit(number) => chart.reopen_chart(&subject(&patient(number))),
        Deed::Checkpoint => vault.checkpoint().map(drop),
        Deed::Reopen => Ok(()),
    };
}

/// Lives through a history. Answers what stood at its turns.
fn live(stage: &Stage, deeds: &[Deed]) -> Vec<Objects> {
    let mut vault = stage.create();
    let mut then = Vec::new();
    for (turn, deed) in deeds.iter().enumerate() {
        if let Deed::Reopen = deed {
            drop(vault);
            then.push(raw::everything(&stage.storage));
            vault = stage.open();
        }
        act(&vault, *deed, turn);
    }
    drop(vault);
    // So that the end of the journal is seen.
    is_clean(stage);
    then
}

fn pick(number: u16, of: usize) -> Option<usize> {
    (of > 0).then(|| usize::from(number) % of)
}

/// What stands when it was tampered with.
fn tamper(tampering: Tampering, then: &[Objects], now: &Objects) -> Objects {
    let mut objects = now.clone();
    // What the last process left is not seen by anybody: it may go unnoticed.
    let keys: Vec<_> = now.keys().filter(|key| key[0] != b'j').collect();
    let key = |number| pick(number, keys.len()).map(|place| keys[place].clone());
    match tampering {
        Tampering::Flip(object, bit) => {
            if let Some(value) = key(object).and_then(|key| objects.get_mut(&key)) {
                let bit = usize::from(bit) % (8 * value.len());
                value[bit / 8] ^= 1 << (bit % 8);
            }
        }
        Tampering::Remove(object) => {
            if let Some(key) = key(object) {
                objects.remove(&key);
            }
        }
        Tampering::PutBack(object) => {
            let olds = then.iter().flat_map(|then| {
                let older = then.iter().filter(|(key, value)| {
                    matches!(key[0], b'r' | b'h') && now.get(*key) != Some(value)
                });
                older.map(|(key, value)| (key.clone(), value.clone()))
            });
            let olds: Vec<_> = olds.collect();
            if let Some(place) = pick(object, olds.len()) {
                let (key, value) = olds[place].clone();
                objects.insert(key, value);
            }
        }
        Tampering::Exchange(one, other) => {
            if let (Some(one), Some(other)) = (key(one), key(other))
                && one[0] == other[0]
            {
                let value = objects.insert(one.clone(), now[&other].clone());
                objects.insert(other, value.unwrap());
            }
        }
    }
    objects
}

/// What must be found, and what may be.
#[derive(Debug, Default)]
struct Expected {
    records: BTreeSet<Vec<u8>>,
    /// Where only the wrapping of a data key was put back: where that opens, nothing was lost.
    rewrapped: BTreeSet<Vec<u8>>,
    entries: usize,
    header: bool,
}

impl Expected {
    fn new(before: &Objects, after: &Objects) -> Self {
        let mut expected = Self::default();
        let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        for key in keys {
            let (then, now) = (before.get(key), after.get(key));
            if then == now {
                continue;
            }
            match key[0] {
                b'v' => expected.header = true,
                b'p' => expected.entries += 1,
                b'r' | b'h' if then.map(|then| &then[96..]) == now.map(|now| &now[96..]) => {
                    expected.rewrapped.insert(key[1..33].to_vec());
                }
                _ => drop(expected.records.insert(key[1..33].to_vec())),
            }
        }
        expected
    }

    fn is_found(&self, report: &VerifyReport) -> bool {
        // What is back below a marker is no alarm, for nobody is told of it, but named.
        let found = report.records.iter().chain(&report.leftovers);
        let found: BTreeSet<_> = found
            .map(|found| [found.chart, found.record].concat())
            .collect();
        let only = |found: &JournalFinding| found.fault == JournalFault::Incomplete;
        self.records.is_subset(&found)
            && found
                .iter()
                .all(|found| self.records.contains(found) || self.rewrapped.contains(found))
            && report.entries.len() == self.entries
            && report.header.is_some() == self.header
            && report.journal.iter().all(only)
    }
}

fn found_exactly(deeds: &[Deed], tamperings: &[Tampering]) {
    let stage = Stage::memory();
    let then = live(&stage, deeds);
    is_clean(&stage);
    let before = raw::everything(&stage.storage);
    for tampering in tamperings {
        let after = tamper(*tampering, &then, &before);
        raw::reset(&stage.storage, &after);
        let expected = Expected::new(&before, &after);
        if let Ok(vault) = stage.options().open(stage.shared(), &Fixed(1)) {
            // However little is held at a time.
            for facts in [1, u64::MAX] {
                let report = vault.verification().max_facts(facts).finish().unwrap();
                assert!(
                    expected.is_found(&report),
                    "{tampering:?}: {expected:?} {report:#?}"
                );
            }
        } else {
            assert!(expected.header);
        }
        raw::reset(&stage.storage, &before);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_found_is_what_was_tampered_with(
        deeds in prop::collection::vec(deed(), 1..60),
        tamperings in prop::collection::vec(tampering(), 12),
    ) {
        found_exactly(&deeds, &tamperings);
    }
}
