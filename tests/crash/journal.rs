//! What the journal tells after a kill, compared with what was acknowledged.

use std::collections::BTreeMap;

use chartlock::audit::AuditItem;
use chartlock::{Checkpoint, Operation, RecordId, Vault, verify::CheckpointStanding};

use crate::common::{session, subject};
use crate::content::NAMES;
use crate::model::patients;

/// Of whom, which record, and which version; of an erasure only of whom.
type What = (Operation, String, Option<String>, Option<u64>);

/// Changes that the journal must tell of, and how often, for who was erased may return.
#[derive(Default, Clone)]
pub(crate) struct Told {
    changes: BTreeMap<What, u64>,
    /// The last one of the child, and the one before it of its parent.
    checkpoints: [Option<Checkpoint>; 2],
}

impl Told {
    pub(crate) fn wrote(&mut self, patient: &str, name: &str, version: usize, retracted: bool) {
        let operation = if retracted {
            Operation::Retract
        } else {
            Operation::Put
        };
        let name = Some(name.to_owned());
        let what = (operation, patient.to_owned(), name, Some(version as u64));
        *self.changes.entry(what).or_default() += 1;
    }

    pub(crate) fn erased(&mut self, patient: &str) {
        let what = (Operation::Erase, patient.to_owned(), None, None);
        *self.changes.entry(what).or_default() += 1;
    }

    pub(crate) fn checkpoint(&mut self, text: &str) {
        self.checkpoints[0] = Some(text.parse().unwrap());
    }

    /// A verification finds nothing, with no checkpoint and with those of before the kill; and each
    /// change that was acknowledged has its entry. Says how many entries were asked for.
    ///
    /// Where a change is announced first and settled later, the entry of the last may not be settled yet.
    pub(crate) fn compare(&mut self, vault: &Vault, is_settled: bool) -> u64 {
        let report = vault.verify(None).unwrap();
        assert!(report.is_clean(), "{report:#?}");
        for checkpoint in self.checkpoints.iter().flatten() {
            let report = vault.verify(Some(checkpoint)).unwrap();
            assert!(report.is_clean(), "{report:#?}");
            assert_eq!(report.checkpoint, Some(CheckpointStanding::Intact));
        }
        let told = entries(vault, is_settled);
        for (change, times) in &self.changes {
            let told = told.get(change).copied().unwrap_or(0);
            assert!(told >= *times, "{change:?} is told {told} of {times} times");
        }
        self.checkpoints = [None, Some(vault.checkpoint().unwrap())];
        self.changes.values().sum()
    }
}

/// What the journal tells was written and erased.
fn entries(vault: &Vault, is_settled: bool) -> BTreeMap<What, u64> {
    let office = session(vault);
    let mut trail = office.audit().unwrap();
    for patient in (0..2).flat_map(patients) {
        let subject = subject(&patient);
        for name in NAMES {
            trail = trail.resolve_record(&RecordId::new(subject.clone(), name).unwrap());
        }
    }
    let mut told = BTreeMap::new();
    for item in trail.entries(..).unwrap() {
        let entry = match item.unwrap() {
            AuditItem::Entry(entry) => entry,
            other => panic!("a page of the journal is at fault: {other:?}"),
        };
        let operation = entry.operation;
        let (Some(patient), true) = (
            entry
                .subject
                .as_ref()
                .and_then(|mark| mark.identifier.clone()),
            entry.was_done() || !is_settled && !entry.settled,
        ) else {
            continue;
        };
        let name = entry.record.as_ref().and_then(|mark| mark.name.clone());
        let what = (
            operation,
            patient.into(),
            name.map(String::from),
            entry.version,
        );
        *told.entry(what).or_default() += 1;
    }
    told
}
