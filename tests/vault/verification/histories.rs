//! Random histories with random tampering: verify finds exactly the tampering.

use std::collections::BTreeSet;

use chartlock::{
    Vault,
    verify::{JournalFault, JournalFinding, VerifyReport},
};
use proptest::prelude::*;

use super::assert_clean;
use crate::common::Fixed;
use crate::raw::{self, Objects};
use crate::stage::{Stage, record, session_on, subject};

const PATIENTS: u8 = 3;
const NAMES: u8 = 3;

#[derive(Debug, Clone, Copy)]
enum UserOperation {
    Put(u8, u8),
    Retract(u8, u8),
    Expunge(u8, u8),
    RotatePatient(u8),
    RotateMaster,
    Reencrypt(u8),
    Erase(u8),
    ReopenChart(u8),
    /// Closes the vault and opens it again, as another process does.
    ReopenVault,
    Checkpoint,
}

/// An action of an attacker who can write the storage.
#[derive(Debug, Clone, Copy)]
enum Tampering {
    /// Flips a bit of an object.
    Flip(u16, u16),
    Remove(u16),
    /// Restores an older state of an object, or a deleted object.
    PutBack(u16),
    /// Exchanges two objects of one class.
    Exchange(u16, u16),
}

fn operation() -> impl Strategy<Value = UserOperation> {
    let patient = 0..PATIENTS;
    let name = 0..NAMES;
    prop_oneof![
        12 => (patient.clone(), name.clone()).prop_map(|(patient, name)| UserOperation::Put(patient, name)),
        2 => (patient.clone(), name.clone()).prop_map(|(patient, name)| UserOperation::Retract(patient, name)),
        1 => (patient.clone(), name).prop_map(|(patient, name)| UserOperation::Expunge(patient, name)),
        1 => patient.clone().prop_map(UserOperation::RotatePatient),
        1 => Just(UserOperation::RotateMaster),
        1 => patient.clone().prop_map(UserOperation::Reencrypt),
        1 => patient.clone().prop_map(UserOperation::Erase),
        1 => patient.prop_map(UserOperation::ReopenChart),
        2 => Just(UserOperation::ReopenVault),
        1 => Just(UserOperation::Checkpoint),
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

/// Runs an operation, which may be refused.
fn run(vault: &Vault, operation: UserOperation, turn: usize) {
    let session = session_on(vault);
    let content = turn.to_le_bytes();
    let id = |number: u8, name: u8| record(&patient(number), &format!("Observation/{name}"));
    let _ = match operation {
        UserOperation::Put(number, name) => session.put(&id(number, name), &content).map(drop),
        UserOperation::Retract(number, name) => session.retract(&id(number, name)).map(drop),
        UserOperation::Expunge(number, name) => {
            session.expunge(&id(number, name), "asked for").map(drop)
        }
        UserOperation::RotatePatient(number) => vault
            .rotate_subject_key(&subject(&patient(number)))
            .map(drop),
        UserOperation::RotateMaster => vault.rotate_master_key().map(drop),
        UserOperation::Reencrypt(number) => vault
            .reencrypt_subject(&subject(&patient(number)))
            .map(drop),
        UserOperation::Erase(number) => {
            let subject = subject(&patient(number));
            session.erase_subject(&subject, "asked for").map(drop)
        }
        UserOperation::ReopenChart(number) => session.reopen_chart(&subject(&patient(number))),
        UserOperation::Checkpoint => vault.checkpoint().map(drop),
        UserOperation::ReopenVault => Ok(()),
    };
}

/// Runs a history, and returns a snapshot of the objects at each reopening.
fn run_history(stage: &Stage, operations: &[UserOperation]) -> Vec<Objects> {
    let mut vault = stage.create();
    let mut former = Vec::new();
    for (turn, operation) in operations.iter().enumerate() {
        if let UserOperation::ReopenVault = operation {
            drop(vault);
            former.push(raw::all_objects(&stage.storage));
            vault = stage.open();
        }
        run(&vault, *operation, turn);
    }
    drop(vault);
    // Opening the vault for verification begins a later chain, which pins the end of the
    // journal.
    assert_clean(stage);
    former
}

fn pick(number: u16, of: usize) -> Option<usize> {
    (of > 0).then(|| usize::from(number) % of)
}

/// Returns the objects after tampering.
fn tamper(tampering: Tampering, former: &[Objects], now: &Objects) -> Objects {
    let mut objects = now.clone();
    // Exclude journal pages: no later chain pins the last chain, so verify may miss its
    // removal. The object of covered heads proves nothing, so verify does not read it.
    let keys: Vec<_> = (now.keys())
        .filter(|key| !b"aj".contains(&key[0]))
        .collect();
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
            let older = former.iter().flat_map(|former| {
                let older = former.iter().filter(|(key, value)| {
                    matches!(key[0], b'r' | b'h') && now.get(*key) != Some(value)
                });
                older.map(|(key, value)| (key.clone(), value.clone()))
            });
            let older: Vec<_> = older.collect();
            if let Some(place) = pick(object, older.len()) {
                let (key, value) = older[place].clone();
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

/// The findings that are required or allowed.
#[derive(Debug, Default)]
struct Expected {
    records: BTreeSet<Vec<u8>>,
    /// Records of which only the head, the commitment or the wrapped data key changed. A finding is
    /// allowed but not required, because such a version may still open.
    rewrapped: BTreeSet<Vec<u8>>,
    entries: usize,
    header: bool,
}

impl Expected {
    fn new(before: &Objects, after: &Objects) -> Self {
        let mut expected = Self::default();
        let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        for key in keys {
            let (former, now) = (before.get(key), after.get(key));
            if former == now {
                continue;
            }
            match key[0] {
                b'v' => expected.header = true,
                b'p' => expected.entries += 1,
                b'r' | b'h' if former.map(|former| &former[96..]) == now.map(|now| &now[96..]) => {
                    expected.rewrapped.insert(key[1..33].to_vec());
                }
                _ => drop(expected.records.insert(key[1..33].to_vec())),
            }
        }
        expected
    }

    fn is_found(&self, report: &VerifyReport) -> bool {
        // A restored version below a marker is only a leftover, because no read returns this
        // version.
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

fn assert_exact_findings(operations: &[UserOperation], tamperings: &[Tampering]) {
    let stage = Stage::memory();
    let former = run_history(&stage, operations);
    assert_clean(&stage);
    let before = raw::all_objects(&stage.storage);
    for tampering in tamperings {
        let after = tamper(*tampering, &former, &before);
        raw::reset(&stage.storage, &after);
        let expected = Expected::new(&before, &after);
        if let Ok(vault) = stage.options().open(stage.shared(), &Fixed(1)) {
            // The limit on facts in memory must not change the findings.
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
    fn findings_match_random_tampering(
        operations in prop::collection::vec(operation(), 1..60),
        tamperings in prop::collection::vec(tampering(), 12),
    ) {
        assert_exact_findings(&operations, &tamperings);
    }
}
